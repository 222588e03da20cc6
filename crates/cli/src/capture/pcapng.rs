//! `-w`: the packets as a pcapng file, which every other program reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use byway_wire::capture::{self, Counts, Interface};

use super::sink::{Out, Seen, Sink};
use super::source::Files;
use crate::complaint::Advised;

/// A pcapng file that is being written.
pub(crate) struct Writer {
    out: Out,
    /// How many of the source's interfaces were told: in their order, so that the numbers stay the same.
    told: usize,
    snaplen: Option<u32>,
}

impl Writer {
    /// Makes the file; `-` is standard output. It must be none of those that are read.
    pub(crate) fn create(path: &Path, source: &Files, snaplen: Option<u32>) -> anyhow::Result<Self> {
        let mut out = if path == Path::new("-") { Out::stdout() } else { Out::to(create(path, source)?) };
        capture::section(&mut out.buffer, concat!("byway ", env!("CARGO_PKG_VERSION")));
        Ok(Self { out, told: 0, snaplen })
    }

    /// Tells the interfaces up to that one.
    fn tell(&mut self, interfaces: &[Interface]) {
        for interface in interfaces.iter().skip(self.told) {
            let snaplen = match (self.snaplen, interface.snaplen) {
                (Some(ours), 0) => ours,
                (Some(ours), theirs) => ours.min(theirs),
                (None, theirs) => theirs,
            };
            capture::interface(&mut self.out.buffer, &Interface { snaplen, ..interface.clone() });
        }
        self.told = self.told.max(interfaces.len());
    }
}

fn create(path: &Path, source: &Files) -> Result<File, Advised> {
    let same = |one: &Path| {
        let (one, other) = (std::fs::metadata(one).ok()?, std::fs::metadata(path).ok()?);
        Some((one.dev(), one.ino()) == (other.dev(), other.ino()))
    };
    if source.paths().any(|read| same(read) == Some(true)) {
        return Err(Advised {
            what: format!("{} is being read, so it cannot be written", path.display()),
            hint: "write to another file".to_owned(),
            cause: None,
        });
    }
    File::create(path).map_err(|cause| Advised {
        what: format!("write the capture {}", path.display()),
        hint: "is the folder there, and may you write in it?".to_owned(),
        cause: Some(cause),
    })
}

impl Sink for Writer {
    fn packet(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        self.tell(&seen.interfaces[..=seen.record.interface]);
        // Bounded by capture::INTERFACES_MAX for each file.
        let id = u32::try_from(seen.record.interface).map_err(io::Error::other)?;
        capture::packet(&mut self.out.buffer, id, &seen.record);
        self.out.complete()
    }

    fn end(&mut self, interfaces: &[Interface], time_ns: Option<u64>) -> io::Result<()> {
        self.tell(interfaces);
        for (id, interface) in (0..).zip(interfaces) {
            if interface.counts != Counts::default() {
                capture::statistics(&mut self.out.buffer, id, time_ns.unwrap_or_default(), interface.counts);
            }
        }
        self.out.flush()
    }
}
