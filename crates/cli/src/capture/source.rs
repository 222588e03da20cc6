//! Where packets come from: here capture files, several of them merged by time; `live.rs` has interfaces.

use std::net::IpAddr;
use std::path::PathBuf;

use byway_agent::edge::capture_file::{CaptureFile, CaptureFileError};
use byway_wire::capture::{Interface, Record};

/// Packets with the interfaces that they passed, one after the other.
pub(crate) trait Source {
    /// Goes to the next packet.
    fn advance(&mut self) -> anyhow::Result<Step>;
    /// The packet it went to; its interface is one of [`Source::interfaces`].
    fn record(&self) -> Option<Record<'_>>;
    /// The interfaces that were met so far.
    fn interfaces(&self) -> &[Interface];
    /// The names of addresses that came with the packets so far, in their order.
    fn names(&self) -> &[(IpAddr, String)] {
        &[]
    }
    /// No more is taken from it: its interfaces' counts are final.
    fn end(&mut self) -> anyhow::Result<()>;
    /// How many packets came and were not taken; known at the end.
    fn left(&self) -> u64;
    /// What could not be read, by now.
    fn troubles(&mut self) -> Vec<anyhow::Error>;
}

/// Where a source went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// To a packet.
    Packet,
    /// Nowhere: none came for a while, but some may.
    Quiet,
    /// To the end.
    End,
}

/// Capture files, merged by time. Within a file the order stays as it is.
pub(crate) struct Files {
    all: Vec<Merged>,
    /// Which file's packet it is now.
    current: Option<usize>,
    interfaces: Vec<Interface>,
    names: Vec<(IpAddr, String)>,
    troubles: Vec<CaptureFileError>,
}

struct Merged {
    file: CaptureFile,
    /// Of its interfaces, which they are among all.
    places: Vec<usize>,
    /// How many of its names are among all.
    named: usize,
    /// Whether it stands at a packet.
    waits: bool,
    /// The time by which it is sorted: a packet without one follows the packet before it.
    time_ns: u64,
}

impl Files {
    /// Opens all and goes to their first packets.
    pub(crate) fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let open = |path: &PathBuf| {
            CaptureFile::open(path).map(|file| Merged {
                file,
                places: Vec::new(),
                named: 0,
                waits: false,
                time_ns: 0,
            })
        };
        let files = paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let (interfaces, names, troubles) = (Vec::new(), Vec::new(), Vec::new());
        let mut files = Self { all: files, current: None, interfaces, names, troubles };
        (0..files.all.len()).for_each(|nth| files.step(nth));
        Ok(files)
    }

    /// Goes to the next packet of one file. Where it is damaged, the others go on.
    fn step(&mut self, nth: usize) {
        let merged = &mut self.all[nth];
        merged.waits = match merged.file.advance() {
            Ok(found) => found,
            Err(error) => {
                self.troubles.push(error);
                false
            }
        };
        merged.time_ns = merged.file.time_ns().unwrap_or(merged.time_ns);
        for interface in &merged.file.interfaces()[merged.places.len()..] {
            merged.places.push(self.interfaces.len());
            self.interfaces.push(interface.clone());
        }
        let names = merged.file.reader().names();
        self.names.extend_from_slice(&names[merged.named..]);
        merged.named = names.len();
        // Its counters come at its end.
        if !merged.waits {
            for (interface, place) in merged.file.interfaces().iter().zip(&merged.places) {
                self.interfaces[*place].counts = interface.counts;
            }
        }
    }
}

impl Source for Files {
    fn advance(&mut self) -> anyhow::Result<Step> {
        if let Some(current) = self.current.take() {
            self.step(current);
        }
        let waiting = self.all.iter().enumerate().filter(|(_, merged)| merged.waits);
        self.current = waiting.min_by_key(|(_, merged)| merged.time_ns).map(|(nth, _)| nth);
        Ok(if self.current.is_some() { Step::Packet } else { Step::End })
    }

    fn record(&self) -> Option<Record<'_>> {
        let merged = &self.all[self.current?];
        let record = merged.file.packet()?;
        Some(Record { interface: *merged.places.get(record.interface)?, ..record })
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    fn names(&self) -> &[(IpAddr, String)] {
        &self.names
    }

    fn end(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Nobody counts what is not read of a file.
    fn left(&self) -> u64 {
        0
    }

    fn troubles(&mut self) -> Vec<anyhow::Error> {
        self.troubles.drain(..).map(Into::into).collect()
    }
}
