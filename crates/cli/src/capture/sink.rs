//! Where packets go, and what they bring along.

use std::io::{self, IsTerminal as _, Write};
use std::net::IpAddr;

use byway_wire::capture::{Interface, Record};
use byway_wire::{Direction, Frame, LinkType};

/// One packet, on its way from a source to a sink.
pub(crate) struct Seen<'a> {
    pub(crate) record: Record<'a>,
    pub(crate) interface: &'a Interface,
    /// All that were met so far.
    pub(crate) interfaces: &'a [Interface],
    /// From 1.
    pub(crate) number: u64,
    /// When the first packet was seen, and the one before this.
    pub(crate) first_ns: Option<u64>,
    pub(crate) previous_ns: Option<u64>,
    /// What it is; `None` if nobody reads frames of such a link here.
    pub(crate) frame: Option<Frame<'a>>,
}

impl<'a> Seen<'a> {
    /// `None` if the packet's interface is none of these.
    pub(crate) fn new(
        record: Record<'a>,
        interfaces: &'a [Interface],
        number: u64,
        first_ns: Option<u64>,
        previous_ns: Option<u64>,
    ) -> Option<Self> {
        let interface = interfaces.get(record.interface)?;
        let frame = LinkType::from_number(interface.link).map(|link| Frame::decode(link, record.bytes));
        Some(Self { record, interface, interfaces, number, first_ns, previous_ns, frame })
    }

    /// Which way it passed: as the file says, or the cooked header.
    pub(crate) fn direction(&self) -> Option<Direction> {
        let cooked = || Some(self.frame?.cooked?.direction());
        self.record.direction.or_else(cooked)
    }

    /// What the interface is called.
    pub(crate) fn interface_name(&self) -> String {
        match (&self.interface.name, self.frame.and_then(|frame| frame.cooked?.interface)) {
            (Some(name), _) => name.clone(),
            (None, Some(index)) => format!("if{index}"),
            (None, None) => "-".to_owned(),
        }
    }
}

/// Takes packets.
pub(crate) trait Sink {
    /// Hears names of addresses, which hold from now on; who shows none need not listen.
    fn learn(&mut self, _: &[(IpAddr, String)]) {}
    /// Takes one.
    fn packet(&mut self, seen: &Seen<'_>) -> io::Result<()>;
    /// No more come. `time_ns`: when the last one was seen.
    fn end(&mut self, interfaces: &[Interface], time_ns: Option<u64>) -> io::Result<()>;
}

/// What is gathered before it is written: large enough that writing costs nothing beside making it.
const OUT_BYTES: usize = 64 << 10;

/// An output that is written in large pieces, or line by line to a terminal.
pub(crate) struct Out {
    to: Box<dyn Write>,
    pub(crate) buffer: Vec<u8>,
    keep: usize,
}

impl Out {
    pub(crate) fn stdout() -> Self {
        let keep = if io::stdout().is_terminal() { 0 } else { OUT_BYTES };
        // The raw descriptor: what Rust keeps for standard output is flushed at every line.
        Self { to: Box::new(io::stdout().lock()), buffer: Vec::with_capacity(2 * OUT_BYTES), keep }
    }

    pub(crate) fn to(to: impl Write + 'static) -> Self {
        Self { to: Box::new(to), buffer: Vec::with_capacity(2 * OUT_BYTES), keep: OUT_BYTES }
    }

    /// A line or a block is complete.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        if self.buffer.len() > self.keep { self.flush() } else { Ok(()) }
    }

    /// Writes out what there is.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.to.write_all(&self.buffer)?;
        self.buffer.clear();
        self.to.flush()
    }
}
