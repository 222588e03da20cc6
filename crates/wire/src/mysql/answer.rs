//! Answers, message by message: which one it is hangs on the command and on what came before, never on a first byte alone.
//!
//! ```text
//! First ──OK/ERR──> done                        PREPARE: First ──> Parameters ──> Columns ──> done
//!   ├──columns──> Definitions ──> Rows ──EOF/OK/ERR──> done, or First again if more results follow
//!   └──0xfb──> File (the client sends) ──> First
//! ```
//!
//! Sources: <https://mariadb.com/kb/en/4-server-response-packets/> and MySQL's "Text Resultset".

use super::bytes::Bytes;
use super::command::Command;
use super::event::{Answer, Outcome, Prepared, ServerError};
use super::framing::Message;
use super::place::{Feed, Span};
use super::speech::Speech;

const OK: u8 = 0x00;
const MORE_DATA: u8 = 0x01;
const FILE: u8 = 0xfb;
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;

/// `SERVER_MORE_RESULTS_EXISTS`
const MORE_RESULTS: u16 = 0x0008;
/// `SERVER_STATUS_CURSOR_EXISTS`
const CURSOR: u16 = 0x0040;
/// `SERVER_SESSION_STATE_CHANGED`
const SESSION_CHANGED: u16 = 0x4000;
/// The code by which MariaDB tells of progress.
const PROGRESS: u16 = 0xffff;
/// An EOF is 5 bytes long.
const EOF_LENGTH: u64 = 5;
/// A packet that is as long as can be is part of a row.
const FULL: u64 = 0xff_ffff;
/// Changes of the session that are read of one OK.
const CHANGES_MAX: usize = 64;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// The first message of a result.
    #[default]
    First,
    /// Definitions of columns, that many.
    Definitions(u64),
    /// An EOF, if there is one, or the first row.
    DefinitionsEnd,
    /// Rows.
    Rows,
    /// PREPARE: definitions of place holders, that many, then of columns.
    PrepareParameters(u16, u16),
    /// PREPARE: an EOF, if there is one, then that many definitions of columns.
    PrepareParametersEnd(u16),
    /// PREPARE: definitions of columns, that many.
    PrepareColumns(u16),
    /// PREPARE: an EOF.
    PrepareColumnsEnd,
    /// The client sends a file.
    File,
    /// Binary logs, for as long as the connection lasts.
    Stream,
}

/// What one message means for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// More is to come.
    More,
    /// It was the last one.
    Done(Outcome<'a>),
    /// It was the last one if no EOF follows.
    DoneButEof,
    /// It does not belong to an answer to this command.
    Odd,
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Answering {
    pub(super) state: State,
    pub(super) span: Option<Span>,
    pub(super) results: u32,
    pub(super) columns: u64,
    pub(super) rows: u64,
    pub(super) row_bytes: u64,
    pub(super) affected_rows: u64,
    pub(super) last_insert_id: u64,
    pub(super) warnings: u16,
    pub(super) status: u16,
    pub(super) local_infile: Option<u64>,
    pub(super) progress_reports: u32,
    pub(super) prepared: Option<Prepared>,
    pub(super) database: Option<Vec<u8>>,
    pub(super) client_charset: Option<Vec<u8>>,
}

impl Answering {
    /// All of it, with its outcome.
    pub(super) fn answer<'a>(&self, outcome: Outcome<'a>) -> Answer<'a> {
        Answer {
            outcome,
            results: self.results,
            columns: self.columns,
            rows: self.rows,
            row_bytes: self.row_bytes,
            affected_rows: self.affected_rows,
            last_insert_id: self.last_insert_id,
            warnings: self.warnings,
            status: self.status,
            local_infile: self.local_infile,
            progress_reports: self.progress_reports,
        }
    }

    /// Whether the server has opened a cursor, whose rows are fetched.
    pub(super) fn opened_cursor(&self) -> bool {
        self.status & CURSOR != 0
    }

    /// Bytes of the answer are here.
    pub(super) fn saw(&mut self, span: Span) {
        self.span.get_or_insert(span).last = span.last;
    }

    /// Steps over whole definitions of columns, or rows, in one go. Only between messages.
    pub(super) fn pass(&mut self, feed: &mut Feed<'_>, sequence: &mut u8) {
        let (mut rest, before) = (feed.bytes, *sequence);
        while let [a, b, c, number, first, ..] = rest {
            let length = u32::from_le_bytes([*a, *b, *c, 0]);
            let is_plain = *first < EOF && *number == *sequence && length > 0 && u64::from(length) < FULL;
            let Some(next) = rest.get(4 + length as usize..).filter(|_| is_plain) else { break };
            match &mut self.state {
                State::Rows => {
                    self.rows += 1;
                    self.row_bytes += u64::from(length);
                }
                State::Definitions(left) if *left > 1 => *left -= 1,
                State::Definitions(_) => self.state = State::DefinitionsEnd,
                _ => break,
            }
            rest = next;
            *sequence = sequence.wrapping_add(1);
        }
        let passed = feed.bytes.len() - rest.len();
        if passed > 0 || *sequence != before {
            let first = feed.first();
            feed.split(passed);
            self.saw(Span { first, last: feed.last() });
        }
    }

    /// The next message of the server.
    pub(super) fn message<'m>(
        &mut self,
        command: Command,
        message: &'m Message<'_>,
        speech: &mut Speech,
    ) -> Step<'m> {
        self.saw(message.span);
        let bytes = message.payload.bytes();
        let Some(first) = bytes.first().copied() else { return Step::Odd };
        if first == ERR {
            return self.error(bytes);
        }
        match self.state {
            State::First => self.first(command, first, bytes, message.length, speech),
            State::Definitions(left) => self.definition(left),
            State::DefinitionsEnd => self.definitions_end(first, bytes, message.length, speech),
            State::Rows => self.row(first, bytes, message.length, speech),
            State::PrepareParameters(..)
            | State::PrepareParametersEnd(_)
            | State::PrepareColumns(_)
            | State::PrepareColumnsEnd => self.prepare(first, message.length, speech),
            State::File => Step::Odd,
            State::Stream => self.stream(first, message.length),
        }
    }

    fn error<'m>(&mut self, bytes: &'m [u8]) -> Step<'m> {
        match error(bytes) {
            Some(error) if error.code == PROGRESS => {
                self.progress_reports = self.progress_reports.saturating_add(1);
                Step::More
            }
            Some(error) => Step::Done(Outcome::Error(error)),
            None => Step::Odd,
        }
    }

    fn first<'m>(
        &mut self,
        command: Command,
        first: u8,
        bytes: &'m [u8],
        length: u64,
        speech: &Speech,
    ) -> Step<'m> {
        match command {
            Command::Statistics => Step::Done(Outcome::Text(bytes)),
            Command::StmtPrepare if first == OK => self.prepare_ok(bytes, speech),
            Command::FieldList => self.field(first, length),
            Command::StmtFetch => {
                self.state = State::Rows;
                self.row(first, bytes, length, speech)
            }
            Command::BinlogDump | Command::BinlogDumpGtid | Command::TableDump => {
                self.state = State::Stream;
                self.stream(first, length)
            }
            Command::ChangeUser if matches!(first, MORE_DATA | EOF) => Step::More,
            Command::Query | Command::StmtExecute | Command::StmtBulkExecute | Command::ProcessInfo => {
                self.result(first, bytes, length, speech)
            }
            _ if matches!(first, OK | EOF) => self.ok(bytes, speech),
            _ => Step::Odd,
        }
    }

    fn result<'m>(&mut self, first: u8, bytes: &'m [u8], length: u64, speech: &Speech) -> Step<'m> {
        match first {
            OK => self.ok(bytes, speech),
            EOF if length < 9 => self.end(bytes, speech),
            FILE => {
                self.state = State::File;
                self.local_infile = Some(self.local_infile.unwrap_or(0));
                Step::More
            }
            _ => {
                let mut rest = Bytes(bytes);
                let Some(columns) = rest.lenenc() else { return Step::Odd };
                // What may follow is whether definitions do; without it they do.
                let are_told = rest.u8() != Some(0);
                self.columns = columns;
                self.state =
                    if are_told && columns > 0 { State::Definitions(columns) } else { State::DefinitionsEnd };
                if length > 10 { Step::Odd } else { Step::More }
            }
        }
    }

    fn definition<'m>(&mut self, left: u64) -> Step<'m> {
        self.state = if left > 1 { State::Definitions(left - 1) } else { State::DefinitionsEnd };
        Step::More
    }

    fn definitions_end<'m>(
        &mut self,
        first: u8,
        bytes: &'m [u8],
        length: u64,
        speech: &mut Speech,
    ) -> Step<'m> {
        self.state = State::Rows;
        let is_eof = first == EOF && length == EOF_LENGTH;
        let deprecate = *speech.deprecate_eof.get_or_insert(!is_eof);
        if !is_eof || deprecate {
            return self.row(first, bytes, length, speech);
        }
        // A cursor: its rows are fetched later on.
        if eof(bytes).is_some_and(|(_, status)| status & CURSOR != 0) {
            return self.end(bytes, speech);
        }
        Step::More
    }

    fn row<'m>(&mut self, first: u8, bytes: &'m [u8], length: u64, speech: &Speech) -> Step<'m> {
        let longest = if speech.deprecate_eof == Some(false) { 9 } else { FULL };
        if first == EOF && length < longest {
            return self.end(bytes, speech);
        }
        self.rows += 1;
        self.row_bytes += length;
        Step::More
    }

    /// The end of rows: EOF or OK, with 0xfe in front.
    fn end<'m>(&mut self, bytes: &'m [u8], speech: &Speech) -> Step<'m> {
        let Some((warnings, status)) = eof(bytes).filter(|_| bytes.len() as u64 == EOF_LENGTH) else {
            return self.ok(bytes, speech);
        };
        (self.warnings, self.status) = (warnings, status);
        self.result_is_over()
    }

    fn ok<'m>(&mut self, bytes: &'m [u8], speech: &Speech) -> Step<'m> {
        if bytes.len() as u64 == EOF_LENGTH && bytes[0] == EOF {
            return self.end(bytes, speech);
        }
        if self.read_ok(bytes).is_none() {
            return Step::Odd;
        }
        self.result_is_over()
    }

    fn result_is_over<'m>(&mut self) -> Step<'m> {
        self.results = self.results.saturating_add(1);
        self.state = State::First;
        if self.status & MORE_RESULTS != 0 { Step::More } else { Step::Done(Outcome::Ok) }
    }

    fn read_ok(&mut self, bytes: &[u8]) -> Option<()> {
        let mut rest = Bytes(bytes);
        rest.u8()?;
        self.affected_rows = self.affected_rows.saturating_add(rest.lenenc()?);
        self.last_insert_id = rest.lenenc()?;
        self.status = rest.u16()?;
        self.warnings = rest.u16()?;
        if self.status & SESSION_CHANGED != 0 {
            self.read_changes(&mut rest);
        }
        Some(())
    }

    /// What changed in the session: `session_track` of the server.
    fn read_changes(&mut self, rest: &mut Bytes<'_>) -> Option<()> {
        rest.lenenc_bytes()?;
        let mut changes = Bytes(rest.lenenc_bytes()?);
        for _ in 0..CHANGES_MAX {
            let kind = changes.u8()?;
            let mut change = Bytes(changes.lenenc_bytes()?);
            match kind {
                0 => {
                    let (name, value) = (change.lenenc_bytes()?, change.lenenc_bytes()?);
                    if name == b"character_set_client" {
                        self.client_charset = Some(value.to_vec());
                    }
                }
                1 => self.database = Some(change.lenenc_bytes()?.to_vec()),
                _ => {}
            }
        }
        Some(())
    }

    fn field<'m>(&mut self, first: u8, length: u64) -> Step<'m> {
        if first == EOF && length < 9 {
            self.results = 1;
            return Step::Done(Outcome::Ok);
        }
        self.columns += 1;
        Step::More
    }

    fn stream<'m>(&mut self, first: u8, length: u64) -> Step<'m> {
        if first == EOF && length < 9 {
            return Step::Done(Outcome::Ok);
        }
        self.rows += 1;
        self.row_bytes += length;
        Step::More
    }

    fn prepare_ok<'m>(&mut self, bytes: &'m [u8], speech: &Speech) -> Step<'m> {
        let mut rest = Bytes(&bytes[1..]);
        let (Some(id), Some(columns), Some(place_holders)) = (rest.u32(), rest.u16(), rest.u16()) else {
            return Step::Odd;
        };
        rest.u8();
        self.warnings = rest.u16().unwrap_or(0);
        self.results = 1;
        self.prepared = Some(Prepared { id, place_holders, columns });
        // Behind it may stand whether definitions follow; without it they do.
        if rest.u8() == Some(0) {
            return Step::Done(Outcome::Ok);
        }
        self.prepare_parameters(place_holders, columns, speech)
    }

    fn prepare_parameters<'m>(&mut self, left: u16, columns: u16, speech: &Speech) -> Step<'m> {
        if left == 0 {
            return self.prepare_columns(columns, speech);
        }
        self.state = State::PrepareParameters(left, columns);
        Step::More
    }

    fn prepare_columns<'m>(&mut self, left: u16, speech: &Speech) -> Step<'m> {
        self.state = State::PrepareColumns(left);
        let is_new = self.prepared.is_some_and(|prepared| prepared.columns == left);
        match (left, speech.deprecate_eof) {
            (0, _) if is_new => Step::Done(Outcome::Ok),
            (0, Some(true)) => Step::Done(Outcome::Ok),
            (0, Some(false)) => {
                self.state = State::PrepareColumnsEnd;
                Step::More
            }
            (0, None) => Step::DoneButEof,
            _ => Step::More,
        }
    }

    fn prepare<'m>(&mut self, first: u8, length: u64, speech: &mut Speech) -> Step<'m> {
        let is_eof = first == EOF && length == EOF_LENGTH;
        match self.state {
            State::PrepareParameters(1, 0) if speech.deprecate_eof.is_none() => Step::DoneButEof,
            State::PrepareParameters(1, columns) => {
                self.state = State::PrepareParametersEnd(columns);
                if speech.deprecate_eof == Some(true) {
                    self.prepare_columns(columns, speech)
                } else {
                    Step::More
                }
            }
            State::PrepareParameters(left, columns) => self.prepare_parameters(left - 1, columns, speech),
            State::PrepareParametersEnd(columns) => {
                if !*speech.deprecate_eof.get_or_insert(!is_eof) && is_eof {
                    return self.prepare_columns(columns, speech);
                }
                // It was the first definition of a column already.
                self.prepare_columns(columns.saturating_sub(1), speech)
            }
            State::PrepareColumns(left) => self.prepare_columns(left.saturating_sub(1), speech),
            _ if is_eof => Step::Done(Outcome::Ok),
            _ => Step::Odd,
        }
    }
}

/// Warnings and status of an EOF.
fn eof(bytes: &[u8]) -> Option<(u16, u16)> {
    let mut rest = Bytes(bytes.get(1..)?);
    Some((rest.u16()?, rest.u16()?))
}

/// Whether a message is the EOF of old.
pub(super) fn is_eof(bytes: &[u8], length: u64) -> bool {
    bytes.first() == Some(&EOF) && length == EOF_LENGTH
}

/// Reads an error, with its first byte.
pub(super) fn error(bytes: &[u8]) -> Option<ServerError<'_>> {
    let mut rest = Bytes(bytes);
    if rest.u8()? != ERR {
        return None;
    }
    let code = rest.u16()?;
    let (state, message) = match rest.0 {
        [b'#', state_and_message @ ..] => state_and_message.split_at_checked(5)?,
        message => (&[][..], message),
    };
    Some(ServerError { code, state, message })
}
