//! `-w`: the packets as a pcapng file, which every other program reads, or as a ring of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use byway_wire::capture::{self, Counts, Interface};
use jiff::{Timestamp, Zoned};

use super::rotation::{Filled, Names, Rule};
use super::sink::{Out, Seen, Sink};
use crate::complaint::Advised;

/// A pcapng file that is being written, or those of a ring.
pub(crate) struct Writer {
    /// None between two files of a ring.
    out: Option<Out>,
    /// How many of the source's interfaces were told: in their order, so that the numbers stay the same.
    told: usize,
    snaplen: Option<u32>,
    rule: Rule,
    files: Names,
    /// Names of addresses, which each file tells.
    names: Vec<(IpAddr, String)>,
    first_ns: Option<u64>,
    last_ns: u64,
    /// What the interfaces had counted when the file before this one was done: each file tells its own share.
    before: Vec<Counts>,
    /// Packets that could not be written out.
    unwritten: u64,
}

impl Writer {
    /// Makes the file; `-` is standard output. It must be none of those that are read.
    pub(crate) fn create(
        path: &Path,
        reads: &[PathBuf],
        snaplen: Option<u32>,
        rule: Rule,
        names: BTreeMap<IpAddr, String>,
    ) -> anyhow::Result<Self> {
        let mut writer = Self {
            out: None,
            told: 0,
            snaplen,
            rule,
            files: Names::new(path, rule),
            names: names.into_iter().collect(),
            first_ns: None,
            last_ns: 0,
            before: Vec::new(),
            unwritten: 0,
        };
        if rule.is_some() {
            writer.open_next().map_err(|cause| cannot_write(path, cause))?;
        } else if path == Path::new("-") {
            writer.start(Out::stdout());
        } else {
            writer.start(Out::file(create(path, reads)?));
        }
        Ok(writer)
    }

    fn start(&mut self, mut out: Out) {
        capture::section(&mut out.buffer, concat!("byway ", env!("CARGO_PKG_VERSION")));
        put_names(&mut out, &self.names);
        (self.out, self.told, self.first_ns) = (Some(out), 0, None);
    }

    /// Opens the next file of the ring; the oldest one goes.
    fn open_next(&mut self) -> io::Result<()> {
        let time = Zoned::now().strftime("%Y%m%d%H%M%S").to_string();
        let name = self.files.next(&time);
        let of = |path: &Path, doing: &str, cause: io::Error| {
            io::Error::new(cause.kind(), format!("{doing} {}: {cause}", path.display()))
        };
        let file = File::create(&name).map_err(|cause| of(&name, "make", cause))?;
        self.start(Out::file(file));
        match self.files.opened(name) {
            Some(oldest) => match std::fs::remove_file(&oldest) {
                // Somebody else took it away.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.map_err(|cause| of(&oldest, "remove", cause)),
            },
            None => Ok(()),
        }
    }

    /// Completes the file, so that nothing is missing when the next one is begun.
    fn close(&mut self, interfaces: &[Interface], time_ns: u64) -> io::Result<()> {
        self.tell(interfaces.len(), interfaces);
        let Some(mut out) = self.out.take() else { return Ok(()) };
        for ((id, nth), interface) in (0..).zip(0..).zip(interfaces) {
            let counts = share(interface.counts, self.before.get(nth).copied().unwrap_or_default());
            if counts != Counts::default() {
                capture::statistics(&mut out.buffer, id, time_ns, counts);
            }
        }
        self.before = interfaces.iter().map(|interface| interface.counts).collect();
        let flushed = out.flush();
        self.unwritten += out.unwritten();
        flushed
    }

    /// Tells the first so many interfaces.
    fn tell(&mut self, count: usize, interfaces: &[Interface]) {
        let Some(out) = &mut self.out else { return };
        for interface in interfaces.iter().take(count).skip(self.told) {
            let snaplen = match (self.snaplen, interface.snaplen) {
                (Some(ours), 0) => ours,
                (Some(ours), theirs) => ours.min(theirs),
                (None, theirs) => theirs,
            };
            capture::interface(&mut out.buffer, &Interface { snaplen, ..interface.clone() });
        }
        self.told = self.told.max(count);
    }

    /// How far the file is filled.
    fn filled(&self) -> Filled {
        Filled { bytes: self.out.as_ref().map_or(0, Out::bytes), first_ns: self.first_ns }
    }

    /// Whether the time of the file is over by the clock.
    fn is_over(&self) -> bool {
        let now = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default();
        self.rule.is_some() && self.rule.is_over(self.filled(), now)
    }
}

fn put_names(out: &mut Out, names: &[(IpAddr, String)]) {
    capture::names(&mut out.buffer, names.iter().map(|(address, name)| (*address, name.as_str())));
}

/// What was counted since.
fn share(now: Counts, before: Counts) -> Counts {
    let since = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before.unwrap_or(0)));
    Counts { received: since(now.received, before.received), dropped: since(now.dropped, before.dropped) }
}

fn create(path: &Path, reads: &[PathBuf]) -> Result<File, Advised> {
    let same = |one: &Path| {
        let (one, other) = (std::fs::metadata(one).ok()?, std::fs::metadata(path).ok()?);
        Some((one.dev(), one.ino()) == (other.dev(), other.ino()))
    };
    if reads.iter().any(|read| same(read) == Some(true)) {
        return Err(Advised {
            what: format!("{} is being read, so it cannot be written", path.display()),
            hint: "write to another file".to_owned(),
            cause: None,
        });
    }
    File::create(path).map_err(|cause| cannot_write(path, cause))
}

fn cannot_write(path: &Path, cause: io::Error) -> Advised {
    Advised {
        what: format!("write the capture {}", path.display()),
        hint: "is the folder there, and may you write in it?".to_owned(),
        cause: Some(cause),
    }
}

impl Sink for Writer {
    fn reads(&self) -> bool {
        false
    }

    fn learn(&mut self, names: &[(IpAddr, String)]) {
        if let Some(out) = &mut self.out {
            put_names(out, names);
        }
        self.names.extend_from_slice(names);
    }

    fn packet(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let record = &seen.record;
        if self.rule.is_some() && self.rule.is_full(self.filled(), record.bytes.len(), record.time_ns) {
            self.close(seen.interfaces, self.last_ns)?;
        }
        if self.out.is_none() {
            self.open_next()?;
        }
        if record.interface >= self.told {
            self.tell(record.interface + 1, seen.interfaces);
        }
        // Bounded by capture::INTERFACES_MAX for each file.
        let id = u32::try_from(record.interface).map_err(io::Error::other)?;
        self.last_ns = record.time_ns.unwrap_or(self.last_ns);
        // A packet without a time is as old as the one before it.
        self.first_ns.get_or_insert(self.last_ns);
        let Some(out) = &mut self.out else { return Ok(()) };
        capture::packet(&mut out.buffer, id, record);
        out.complete()
    }

    fn pause(&mut self, interfaces: &[Interface]) -> io::Result<()> {
        if self.is_over() {
            return self.close(interfaces, self.last_ns);
        }
        self.out.as_mut().map_or(Ok(()), Out::flush)
    }

    fn end(&mut self, interfaces: &[Interface], time_ns: Option<u64>) -> io::Result<()> {
        self.close(interfaces, time_ns.unwrap_or_default())
    }

    fn unwritten(&self) -> u64 {
        self.unwritten + self.out.as_ref().map_or(0, Out::unwritten)
    }
}
