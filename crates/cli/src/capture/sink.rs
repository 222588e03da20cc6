//! Where packets go, and what they bring along.

use std::cell::OnceCell;
use std::fs::File;
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
    /// What it is, once somebody has asked: [`Seen::frame`]. It is large, so a packet is made where it stays.
    pub(crate) read: OnceCell<Option<Frame<'a>>>,
}

impl<'a> Seen<'a> {
    /// What it is; `None` if nobody reads frames of such a link here.
    pub(crate) fn frame(&self) -> Option<&Frame<'a>> {
        let decode = || {
            let link = LinkType::from_number(self.interface.link)?;
            Some(Frame::decode(link, self.record.bytes))
        };
        self.read.get_or_init(decode).as_ref()
    }

    /// Which way it passed: as the file says, or the cooked header.
    pub(crate) fn direction(&self) -> Option<Direction> {
        let cooked = || Some(self.frame()?.cooked?.direction());
        self.record.direction.or_else(cooked)
    }

    /// What the interface is called.
    pub(crate) fn interface_name(&self) -> String {
        match (&self.interface.name, self.frame().and_then(|frame| frame.cooked?.interface)) {
            (Some(name), _) => name.clone(),
            (None, Some(index)) => format!("if{index}"),
            (None, None) => "-".to_owned(),
        }
    }
}

/// Takes packets.
pub(crate) trait Sink {
    /// Whether it reads packets; one that only passes them on knows of none that it could not be read.
    fn reads(&self) -> bool {
        true
    }
    /// Hears names of addresses, which hold from now on; who shows none need not listen.
    fn learn(&mut self, _: &[(IpAddr, String)]) {}
    /// Takes one.
    fn packet(&mut self, seen: &Seen<'_>) -> io::Result<()>;
    /// None come for a while: whoever reads along may see what there was.
    fn pause(&mut self, interfaces: &[Interface]) -> io::Result<()>;
    /// No more come. `time_ns`: when the last one was seen.
    fn end(&mut self, interfaces: &[Interface], time_ns: Option<u64>) -> io::Result<()>;
    /// How many of those that it took could not be written out.
    fn unwritten(&self) -> u64;
}

/// What is gathered before it is written: large enough that writing costs nothing beside making it.
const OUT_BYTES: usize = 64 << 10;

/// An output that is written in large pieces, or line by line to a terminal.
pub(crate) struct Out {
    to: To,
    pub(crate) buffer: Vec<u8>,
    keep: usize,
    /// What was written out so far, in bytes.
    written: u64,
    /// Lines or blocks with a packet in the buffer.
    waiting: u64,
    /// It could not be written: that was told, and nothing is tried again.
    is_broken: bool,
}

enum To {
    Stream(Box<dyn Write>),
    File(File),
}

impl Out {
    pub(crate) fn stdout() -> Self {
        let keep = if io::stdout().is_terminal() { 0 } else { OUT_BYTES };
        // The raw descriptor: what Rust keeps for standard output is flushed at every line.
        Self::new(To::Stream(Box::new(io::stdout().lock())), keep)
    }

    pub(crate) fn file(file: File) -> Self {
        Self::new(To::File(file), OUT_BYTES)
    }

    fn new(to: To, keep: usize) -> Self {
        let buffer = Vec::with_capacity(2 * OUT_BYTES);
        Self { to, buffer, keep, written: 0, waiting: 0, is_broken: false }
    }

    /// A packet's line or block is complete.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        self.waiting += 1;
        if self.buffer.len() > self.keep { self.flush() } else { Ok(()) }
    }

    /// More of the line follows, and there may be much of it: it is not kept until the line is complete.
    pub(crate) fn make_room(&mut self) -> io::Result<()> {
        if self.buffer.len() > OUT_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes out what there is. After a failure it does nothing any more; a file is cut where it was whole.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.is_broken {
            self.buffer.clear();
            return Ok(());
        }
        let done = match &mut self.to {
            To::Stream(to) => to.write_all(&self.buffer).and_then(|()| to.flush()),
            To::File(file) => file.write_all(&self.buffer),
        };
        if let Err(cause) = done {
            self.is_broken = true;
            if let To::File(file) = &self.to {
                // A pipe or a device has no end to cut; then there is nothing better to be had.
                let _ = file.set_len(self.written);
            }
            return Err(cause);
        }
        self.written += self.buffer.len() as u64;
        self.waiting = 0;
        self.buffer.clear();
        Ok(())
    }

    /// How many bytes it took, written out or not.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// How many packets were completed and are not written out.
    pub(crate) fn unwritten(&self) -> u64 {
        self.waiting
    }
}
