//! A line for each statement: when, who asked whom, as whom and where, how long it took, what came of it, and its text.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use byway_fabric::mysql::spoken::{Reply, Spoken};
use byway_wire::mysql::text::{Charset, parts, print};
use byway_wire::mysql::{Command, Timing};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::ear::Show;
use super::note::Note;
use crate::capture::sink::Out;
use crate::show::duration;

/// Lines on standard output.
pub(super) struct Lines {
    out: Out,
    names: BTreeMap<IpAddr, String>,
    zone: TimeZone,
}

impl Lines {
    pub(super) fn new(out: Out, names: BTreeMap<IpAddr, String>) -> Self {
        Self { out, names, zone: TimeZone::system() }
    }

    fn head(&mut self, time_ns: Option<u64>, client: SocketAddr, server: SocketAddr) -> io::Result<()> {
        let time = time_ns.map_or_else(|| "-".to_owned(), |time_ns| time(time_ns, &self.zone));
        let (client, server) = (named(client, &self.names), named(server, &self.names));
        write!(self.out.buffer, "{time} {client} → {server}")
    }
}

impl Show for Lines {
    fn spoken(&mut self, spoken: &Spoken<'_>) -> io::Result<()> {
        self.head(Some(spoken.time_ns), spoken.peers.client, spoken.peers.server)?;
        let out = &mut self.out.buffer;
        out.push(b' ');
        who(spoken, out);
        write!(out, "  {}  {}  ", took(&spoken.timing), came_of(&spoken.reply))?;
        statement(spoken, &mut self.out)?;
        let out = &mut self.out.buffer;
        if let Reply::Error { message, .. } = &spoken.reply {
            out.extend_from_slice(b"  # ");
            print(message, Charset::default(), out);
        }
        for (nth, doubt) in spoken.doubts().enumerate() {
            write!(out, "{}{doubt}", if nth == 0 { "  # not certain: " } else { "; " })?;
        }
        out.push(b'\n');
        self.out.complete()
    }

    fn note(&mut self, note: &Note) -> io::Result<()> {
        self.head(note.time_ns, note.peers.client, note.peers.server)?;
        writeln!(self.out.buffer, "  -- {}", note.text)?;
        self.out.complete()
    }

    fn learn(&mut self, names: &[(IpAddr, String)]) {
        self.names.extend(names.iter().cloned());
    }

    fn pause(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// `root@shop`; `?` for what was not seen, and behind what may have changed unseen.
fn who(spoken: &Spoken<'_>, out: &mut Vec<u8>) {
    match &spoken.user {
        Some(user) => print(user, Charset::default(), out),
        None => out.push(b'?'),
    }
    match spoken.database.as_deref() {
        Some([]) => {}
        Some(database) => {
            out.push(b'@');
            print(database, Charset::default(), out);
        }
        None => out.extend_from_slice(b"@?"),
    }
    if spoken.is_context_inferred() && !out.ends_with(b"?") {
        out.push(b'?');
    }
}

/// How long the answer took: to its first byte, and to its end where that is another time, and the network's part.
pub(crate) fn took(timing: &Timing) -> String {
    let Some(first) = timing.first_ns else { return "-".to_owned() };
    let mut told = duration(first);
    if let Some(whole) = timing.whole_ns.filter(|whole| duration(*whole) != told) {
        told += &format!(" … {}", duration(whole));
    }
    if let (Some(network), Some(server)) = (timing.network_ns(), timing.server_ns) {
        told += &format!(" (network {}, server {})", duration(network), duration(server));
    }
    told
}

/// What was answered, in few words.
pub(crate) fn came_of(reply: &Reply) -> String {
    let plural = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    match reply {
        // Those of a FETCH are rows without columns.
        Reply::Ok(counts) if counts.columns > 0 || counts.rows > 0 => plural(counts.rows, "row"),
        Reply::Ok(counts) => match counts.local_infile {
            Some(bytes) => format!("{} changed, file of {bytes} bytes", counts.affected),
            None if counts.affected > 0 => format!("{} changed", counts.affected),
            None => "ok".to_owned(),
        },
        Reply::Error { code, state, .. } => format!("error {code} ({})", String::from_utf8_lossy(state)),
        Reply::NotDue => "no answer due".to_owned(),
        Reply::Unseen => "no answer seen".to_owned(),
    }
}

/// The text with the command in front of it, where that is not a plain query.
fn statement(spoken: &Spoken<'_>, out: &mut Out) -> io::Result<()> {
    if spoken.command != Command::Query {
        out.buffer.extend_from_slice(spoken.command.name().as_bytes());
        if !spoken.text.is_empty() {
            out.buffer.extend_from_slice(b": ");
        }
    }
    for part in parts(&spoken.text) {
        print(part, spoken.writing.charset, &mut out.buffer);
        out.make_room()?;
    }
    let out = &mut out.buffer;
    for (nth, row) in spoken.bulk.iter().enumerate() {
        out.extend_from_slice(if nth == 0 { b"  # with " } else { b", " });
        print(row, spoken.writing.charset, out);
    }
    let beyond = spoken.bulk_rows.saturating_sub(spoken.bulk.len() as u64);
    if beyond > 0 {
        out.extend_from_slice(format!(" and {beyond} rows more").as_bytes());
    }
    Ok(())
}

/// `web:40312`, `172.42.0.2:3306`, `[fd42::2]:3306`.
pub(crate) fn named(address: SocketAddr, names: &BTreeMap<IpAddr, String>) -> String {
    match names.get(&address.ip()) {
        Some(name) => format!("{name}:{}", address.port()),
        None => address.to_string(),
    }
}

/// The date and time of day of this place, to the microsecond.
pub(crate) fn time(time_ns: u64, zone: &TimeZone) -> String {
    let time = Timestamp::from_nanosecond(i128::from(time_ns));
    time.map_or_else(
        |_| time_ns.to_string(),
        |time| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.6f").to_string(),
    )
}
