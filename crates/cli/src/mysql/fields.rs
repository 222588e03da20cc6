//! The fields of `-e`: by tshark's names where it has them, printed as `tshark -T fields` prints them.
//!
//! A line for each statement that has one of them. tshark prints one for each frame, and joins the statements of a frame
//! with commas, which stand in statements too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use byway_fabric::mysql::spoken::{Counts, Reply, Spoken, told};
use byway_wire::mysql::text::{Charset, parts, tshark};
use byway_wire::mysql::{Asked, Command, Doubt, Peers};

use super::ear::Show;
use super::note::Note;
use crate::capture::Format;
use crate::capture::sink::Out;
use crate::complaint::Advised;

/// What a field is read of.
enum Subject<'a> {
    Asked(&'a Peers, &'a Asked<'a>),
    Spoken(&'a Spoken<'a>),
}

type Write = fn(&Subject<'_>, &BTreeMap<IpAddr, String>, &mut Vec<u8>);
type Text = for<'a> fn(&'a Subject<'a>) -> Option<(Cow<'a, [u8]>, Charset)>;

/// How a field is read.
enum Read {
    Short(Write),
    /// It may be too long to be kept once more.
    Long(Text),
}

struct Field {
    name: &'static str,
    about: &'static str,
    /// Whether the request alone has it.
    of_request: bool,
    /// Whether it is one of the statement, not of its connection: a line has at least one of these.
    of_statement: bool,
    read: Read,
}

const fn field(
    name: &'static str,
    about: &'static str,
    of_request: bool,
    of_statement: bool,
    write: Write,
) -> Field {
    Field { name, about, of_request, of_statement, read: Read::Short(write) }
}

const fn statement(name: &'static str, about: &'static str, of_request: bool, text: Text) -> Field {
    Field { name, about, of_request, of_statement: true, read: Read::Long(text) }
}

const FIELDS: &[Field] = &[
    field(
        "frame.time_epoch",
        "when its first byte was seen, in seconds since 1970",
        true,
        false,
        |s, _, out| {
            let time_ns = s.time_ns();
            push(out, format_args!("{}.{:09}", time_ns / 1_000_000_000, time_ns % 1_000_000_000));
        },
    ),
    field("ip.src", "who asks, by IPv4", true, false, |s, _, out| address(out, s.peers().client, true)),
    field("ip.dst", "who is asked, by IPv4", true, false, |s, _, out| address(out, s.peers().server, true)),
    field("ipv6.src", "who asks, by IPv6", true, false, |s, _, out| address(out, s.peers().client, false)),
    field("ipv6.dst", "who is asked, by IPv6", true, false, |s, _, out| {
        address(out, s.peers().server, false);
    }),
    field("tcp.srcport", "from which port", true, false, |s, _, out| push(out, s.peers().client.port())),
    field("tcp.dstport", "to which port", true, false, |s, _, out| push(out, s.peers().server.port())),
    statement("mysql.query", "the text of a query, or of what is prepared", true, query),
    field("mysql.command", "the command's number", true, true, |s, _, out| push(out, s.command().code())),
    field("mysql.user", "who asked", false, false, |s, _, out| {
        name(out, s.spoken().and_then(|s| s.user.as_deref()));
    }),
    field("mysql.schema", "in which database", false, false, |s, _, out| {
        name(out, s.spoken().and_then(|s| s.database.as_deref()));
    }),
    field("mysql.num_fields", "columns of the result", false, true, |s, _, out| count(out, s, |c| c.columns)),
    field("mysql.affected_rows", "rows that were changed", false, true, |s, _, out| {
        count(out, s, |c| c.affected);
    }),
    field("mysql.insert_id", "the last number that was given out", false, true, |s, _, out| {
        count(out, s, |c| c.insert_id);
    }),
    field("mysql.warnings", "warnings", false, true, |s, _, out| count(out, s, |c| c.warnings.into())),
    field("mysql.error_code", "the server's error", false, true, |s, _, out| {
        if let Some(Reply::Error { code, .. }) = s.spoken().map(|s| &s.reply) {
            push(out, code);
        }
    }),
    field("mysql.sqlstate", "the error's state", false, true, |s, _, out| {
        if let Some(Reply::Error { state, .. }) = s.spoken().map(|s| &s.reply) {
            tshark(state, Charset::default(), out);
        }
    }),
    field("mysql.error.message", "the error's message", false, true, |s, _, out| {
        if let Some(Reply::Error { message, .. }) = s.spoken().map(|s| &s.reply) {
            tshark(message, Charset::default(), out);
        }
    }),
    statement("byway.statement", "the statement, with the parameters of a prepared one put in", false, |s| {
        s.spoken().filter(|spoken| spoken.is_sql()).map(text)
    }),
    field("byway.rows", "rows of the answer", false, true, |s, _, out| count(out, s, |c| c.rows)),
    field("byway.latency", "to the first byte of the answer, in seconds", false, true, |s, _, out| {
        seconds(out, s.spoken().and_then(|s| s.timing.first_ns));
    }),
    field("byway.duration", "to the last byte of the answer, in seconds", false, true, |s, _, out| {
        seconds(out, s.spoken().and_then(|s| s.timing.whole_ns));
    }),
    field(
        "byway.network",
        "the part of byway.latency between the points, in seconds",
        false,
        true,
        |s, _, out| {
            seconds(out, s.spoken().and_then(|s| s.timing.network_ns()));
        },
    ),
    field("byway.doubts", "why it is not certain", false, true, |s, _, out| {
        let context = s.spoken().filter(|s| s.is_context_inferred()).map(|_| Doubt::ContextInferred.words());
        let doubts: Vec<_> = s.spoken().into_iter().flat_map(Spoken::doubts).chain(context).collect();
        out.extend_from_slice(doubts.join("; ").as_bytes());
    }),
    field("byway.client", "who asks, by name", true, false, |s, names, out| {
        named(out, s.peers().client, names);
    }),
    field("byway.server", "who is asked, by name", true, false, |s, names, out| {
        named(out, s.peers().server, names);
    }),
];

/// Fields that are there even if they are empty.
const TEXTS: [&str; 2] = ["mysql.query", "byway.statement"];

impl Subject<'_> {
    /// Whether it has a text, be it an empty one.
    fn has_text(&self) -> bool {
        matches!(self.command(), Command::Query | Command::StmtPrepare)
    }

    fn peers(&self) -> &Peers {
        match self {
            Self::Asked(peers, _) => peers,
            Self::Spoken(spoken) => &spoken.peers,
        }
    }

    fn time_ns(&self) -> u64 {
        match self {
            Self::Asked(_, asked) => asked.request.first.time_ns,
            Self::Spoken(spoken) => spoken.time_ns,
        }
    }

    fn command(&self) -> Command {
        match self {
            Self::Asked(_, asked) => asked.command,
            Self::Spoken(spoken) => spoken.command,
        }
    }

    fn spoken(&self) -> Option<&Spoken<'_>> {
        match self {
            Self::Asked(..) => None,
            Self::Spoken(spoken) => Some(spoken),
        }
    }
}

fn query<'a>(subject: &'a Subject<'a>) -> Option<(Cow<'a, [u8]>, Charset)> {
    if !subject.has_text() {
        return None;
    }
    Some(match subject {
        Subject::Asked(_, asked) => {
            let charset = asked.context.collation.map_or_else(Charset::default, Charset::of_collation);
            (told(&asked.text), charset)
        }
        Subject::Spoken(spoken) => text(spoken),
    })
}

fn text<'a>(spoken: &'a Spoken<'a>) -> (Cow<'a, [u8]>, Charset) {
    (Cow::Borrowed(&spoken.text), spoken.writing.charset)
}

fn push(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    use io::Write as _;
    // A Vec takes everything.
    let _ = write!(out, "{value}");
}

fn address(out: &mut Vec<u8>, address: SocketAddr, is_v4: bool) {
    if address.is_ipv4() == is_v4 {
        push(out, address.ip());
    }
}

fn named(out: &mut Vec<u8>, address: SocketAddr, names: &BTreeMap<IpAddr, String>) {
    match names.get(&address.ip()) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => push(out, address.ip()),
    }
}

fn name(out: &mut Vec<u8>, name: Option<&[u8]>) {
    tshark(name.unwrap_or_default(), Charset::default(), out);
}

fn count(out: &mut Vec<u8>, subject: &Subject<'_>, of: impl Fn(&Counts) -> u64) {
    if let Some(Reply::Ok(counts)) = subject.spoken().map(|spoken| &spoken.reply) {
        push(out, of(counts));
    }
}

fn seconds(out: &mut Vec<u8>, ns: Option<u64>) {
    if let Some(ns) = ns {
        push(out, format_args!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000));
    }
}

/// A line of fields for each statement.
pub(super) struct Table {
    out: Out,
    fields: Vec<&'static Field>,
    format: Format,
    names: BTreeMap<IpAddr, String>,
}

impl Table {
    pub(super) fn new(
        mut out: Out,
        wanted: &[String],
        format: Format,
        names: BTreeMap<IpAddr, String>,
    ) -> Result<Self, Advised> {
        let find =
            |name: &String| FIELDS.iter().find(|field| field.name == *name).ok_or_else(|| unknown(name));
        let fields = wanted.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        if format.header {
            let header: Vec<&[u8]> = fields.iter().map(|field| field.name.as_bytes()).collect();
            out.buffer.extend_from_slice(&header.join(&format.separator));
            out.buffer.push(b'\n');
        }
        Ok(Self { out, fields, format, names })
    }

    fn line(&mut self, subject: &Subject<'_>) -> io::Result<()> {
        let start = self.out.buffer.len();
        let mut is_statements = self.fields.iter().all(|field| !field.of_statement);
        for (nth, field) in self.fields.iter().enumerate() {
            if nth > 0 {
                self.out.buffer.push(self.format.separator);
            }
            let is_written = write(field, subject, &self.names, self.format, &mut self.out)?;
            // A text of no bytes is there all the same, and tshark prints a line of it.
            let is_empty_text = subject.has_text() && TEXTS.contains(&field.name);
            is_statements |= field.of_statement && (is_written || is_empty_text);
        }
        if !is_statements {
            self.out.buffer.truncate(start);
            return Ok(());
        }
        self.out.buffer.push(b'\n');
        self.out.complete()
    }
}

/// Writes a field in its quotes; whether there was something to write.
fn write(
    field: &Field,
    subject: &Subject<'_>,
    names: &BTreeMap<IpAddr, String>,
    format: Format,
    out: &mut Out,
) -> io::Result<bool> {
    let start = out.buffer.len();
    out.buffer.extend(format.quote);
    let is_there = match field.read {
        Read::Short(write) => {
            let begin = out.buffer.len();
            write(subject, names, &mut out.buffer);
            out.buffer.len() > begin
        }
        Read::Long(text) => match text(subject) {
            Some((text, charset)) => write_long(&text, charset, out)?,
            None => false,
        },
    };
    if is_there {
        out.buffer.extend(format.quote);
    } else {
        out.buffer.truncate(start);
    }
    Ok(is_there)
}

/// Writes a text part by part; whether there was something to write.
fn write_long(text: &[u8], charset: Charset, out: &mut Out) -> io::Result<bool> {
    for part in parts(text) {
        tshark(part, charset, &mut out.buffer);
        out.make_room()?;
        // There the text is over, as tshark has it.
        if part.len() < text.len() && part.contains(&0) {
            break;
        }
    }
    Ok(text.first().is_some_and(|byte| *byte != 0))
}

impl Show for Table {
    fn shows_requests(&self) -> bool {
        self.fields.iter().all(|field| field.of_request)
    }

    fn asked(&mut self, peers: &Peers, asked: &Asked<'_>) -> io::Result<()> {
        self.line(&Subject::Asked(peers, asked))
    }

    fn spoken(&mut self, spoken: &Spoken<'_>) -> io::Result<()> {
        self.line(&Subject::Spoken(spoken))
    }

    fn note(&mut self, _: &Note) -> io::Result<()> {
        Ok(())
    }

    fn learn(&mut self, names: &[(IpAddr, String)]) {
        self.names.extend(names.iter().cloned());
    }

    fn pause(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn unknown(name: &str) -> Advised {
    let near = FIELDS.iter().map(|field| (strsim::jaro_winkler(name, field.name), field.name));
    let nearest = near.max_by(|one, other| one.0.total_cmp(&other.0)).map_or("", |(_, name)| name);
    let hint = format!("did you mean {nearest}? `byway mysql --list-fields` lists all");
    Advised { what: format!("no field of statements is called {name} here"), hint, cause: None }
}

pub(super) fn list() -> String {
    let width = FIELDS.iter().map(|field| field.name.len()).max().unwrap_or(0);
    let lines = FIELDS.iter().map(|field| format!("{:width$}  {}\n", field.name, field.about));
    lines.collect::<Vec<_>>().concat()
}
