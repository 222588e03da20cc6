//! A line for each packet: time of day, interface, direction, and what it is.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::IpAddr;

use byway_wire::capture::Interface;
use byway_wire::{Direction, Named};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::sink::{Out, Seen, Sink};

/// Lines on standard output.
pub(crate) struct Lines {
    out: Out,
    names: BTreeMap<IpAddr, String>,
    zone: TimeZone,
    /// The second that was printed last, and how: most packets share it with the one before.
    second: Option<(u64, String)>,
}

impl Lines {
    pub(crate) fn new(out: Out, names: BTreeMap<IpAddr, String>) -> Self {
        Self { out, names, zone: TimeZone::system(), second: None }
    }

    /// The date and time of day of this place, to the second.
    fn second(&mut self, second: u64) -> &str {
        if self.second.as_ref().is_none_or(|(known, _)| *known != second) {
            let text = i64::try_from(second)
                .ok()
                .and_then(|second| Timestamp::from_second(second).ok())
                .map(|time| time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string());
            self.second = Some((second, text.unwrap_or_else(|| second.to_string())));
        }
        self.second.as_ref().map_or("", |(_, text)| text)
    }
}

impl Sink for Lines {
    fn learn(&mut self, names: &[(IpAddr, String)]) {
        self.names.extend(names.iter().cloned());
    }

    fn packet(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let mut line = std::mem::take(&mut self.out.buffer);
        match seen.record.time_ns {
            Some(time) => {
                let second = self.second(time / 1_000_000_000);
                write!(line, "{second}.{:09}", time % 1_000_000_000)?;
            }
            None => line.extend_from_slice(b"-"),
        }
        let direction = match seen.direction() {
            Some(Direction::In) => "in",
            Some(Direction::Out) => "out",
            None => "-",
        };
        write!(line, " {} {direction} ", seen.interface_name())?;
        if let Some(frame) = seen.frame() {
            write!(line, "{}", Named { frame, names: &self.names })?;
        } else {
            let (kind, length) = (seen.interface.link, seen.record.bytes.len());
            write!(line, "link type {kind}, which is not read here, {length} bytes")?;
        }
        for comment in seen.record.comments {
            let comment = String::from_utf8_lossy(comment);
            write!(line, " # {}", comment.escape_debug())?;
        }
        line.push(b'\n');
        self.out.buffer = line;
        self.out.complete()
    }

    fn pause(&mut self, _: &[Interface]) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self, _: &[Interface], _: Option<u64>) -> io::Result<()> {
        self.out.flush()
    }

    fn unwritten(&self) -> u64 {
        self.out.unwritten()
    }
}
