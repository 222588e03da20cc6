//! A statement with its answer: what a line, an object or a table is made of. Shown at once, it borrows what was said,
//! which may be 36 MiB; what has to wait is kept.

use std::borrow::Cow;

use byway_wire::mysql::text::{Bytes, Charset};
use byway_wire::mysql::value::{self, Server, Writing};
use byway_wire::mysql::{
    Answer, Command, Context, Doubt, Hole, Outcome, Parameters, Peers, Request, Rows, ServerError, Statement,
    Sureness, Text, Timing,
};
use byway_wire::sql::{self, Backslashes};

/// `SERVER_STATUS_NO_BACKSLASH_ESCAPES`
const NO_BACKSLASH_ESCAPES: u16 = 0x0200;
/// Rows of a bulk that are shown.
const BULK_ROWS_MAX: usize = 100;

/// A statement with its answer, as far as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken<'a> {
    /// The connection's number, and its ends.
    pub peers: Peers,
    /// When its first byte was seen, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Who asked; `None` if the login was not seen.
    pub user: Option<Cow<'a, [u8]>>,
    /// In which database; `None` if that is not known, empty if in none.
    pub database: Option<Cow<'a, [u8]>>,
    /// What was asked for.
    pub command: Command,
    /// The statement with its parameters put in, or what else the command names; in the character set of the client.
    pub text: Cow<'a, [u8]>,
    /// How it is written.
    pub writing: Writing,
    /// Rows of parameters of a bulk, each as `(1, 'a')`, the first hundred of them.
    pub bulk: Vec<Vec<u8>>,
    /// How many there were.
    pub bulk_rows: u64,
    /// What was answered.
    pub reply: Reply,
    /// How long that took.
    pub timing: Timing,
    /// Why it is not certain, if it is not.
    pub sureness: Sureness,
    /// Place holders that could not be filled in, and values that were not kept whole.
    pub unfilled: usize,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It went well.
    Ok(Counts),
    /// The server refused.
    Error {
        /// Such as 1146.
        code: u16,
        /// Such as `42S02`.
        state: Vec<u8>,
        /// What it says.
        message: Vec<u8>,
    },
    /// There is none by the protocol.
    NotDue,
    /// It was not seen.
    Unseen,
}

/// What an answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Results; more than one of CALL and of several statements in one.
    pub results: u32,
    /// Columns of the last result with rows.
    pub columns: u64,
    /// Rows of all results.
    pub rows: u64,
    /// Bytes of these rows.
    pub row_bytes: u64,
    /// Rows that were changed.
    pub affected: u64,
    /// The last number that was given out.
    pub insert_id: u64,
    /// Warnings.
    pub warnings: u16,
    /// Bytes of the file that LOAD DATA LOCAL sent.
    pub local_infile: Option<u64>,
}

impl<'a> Spoken<'a> {
    /// What was told of a statement; its timing is not known yet.
    #[must_use]
    pub fn of(peers: Peers, statement: &Statement<'a>) -> Self {
        let writing = writing(&statement.context, statement.answer.status);
        let mut spoken = Self {
            peers,
            time_ns: statement.asked.first.time_ns,
            user: statement.context.user.map(Cow::Borrowed),
            database: statement.context.database.map(Cow::Borrowed),
            command: statement.command,
            text: Cow::Borrowed(&[]),
            writing,
            bulk: Vec::new(),
            bulk_rows: 0,
            reply: Reply::of(&statement.answer),
            timing: Timing::default(),
            sureness: statement.sureness,
            unfilled: 0,
        };
        spoken.request(&statement.request);
        spoken
    }

    /// The same, kept for as long as it has to wait.
    #[must_use]
    pub fn keep(self) -> Spoken<'static> {
        let kept = |bytes: Cow<'_, [u8]>| Cow::Owned(bytes.into_owned());
        Spoken {
            peers: self.peers,
            time_ns: self.time_ns,
            user: self.user.map(kept),
            database: self.database.map(kept),
            command: self.command,
            text: kept(self.text),
            writing: self.writing,
            bulk: self.bulk,
            bulk_rows: self.bulk_rows,
            reply: self.reply,
            timing: self.timing,
            sureness: self.sureness,
            unfilled: self.unfilled,
        }
    }

    /// Whether it is one of SQL.
    #[must_use]
    pub fn is_sql(&self) -> bool {
        matches!(
            self.command,
            Command::Query | Command::StmtPrepare | Command::StmtExecute | Command::StmtBulkExecute
        )
    }

    /// Whether its text is a statement's, or has one in it.
    fn quotes_sql(&self) -> bool {
        self.is_sql() || matches!(self.command, Command::StmtFetch | Command::StmtReset | Command::StmtClose)
    }

    /// Whether the server refused it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self.reply, Reply::Error { .. })
    }

    /// Whether user, database and character set are those that were known before something was lost.
    #[must_use]
    pub fn is_context_inferred(&self) -> bool {
        self.sureness.has(Doubt::ContextInferred)
    }

    /// Why the statement or its answer may not be told as they were, in words; for the rest see
    /// [`Spoken::is_context_inferred`].
    pub fn doubts(&self) -> impl Iterator<Item = &'static str> {
        let unfilled = (self.unfilled > 0).then_some("values are missing in it");
        self.sureness.beside_context().iter().map(Doubt::words).chain(unfilled)
    }

    /// Puts `?` in the place of every literal, in the server's message too.
    pub fn mask(&mut self) {
        // Behind a hole nobody knows whether a literal goes on.
        let kept = if self.sureness.has(Doubt::RequestHoled) || self.sureness.has(Doubt::PrepareHoled) {
            self.text.windows(HOLE.len()).position(|at| at == HOLE).unwrap_or(self.text.len())
        } else {
            self.text.len()
        };
        let text = &self.text[..kept];
        let mask = |text: &[u8]| {
            let mut masked = Vec::new();
            sql::mask(&self.writing.charset.decode(text), self.writing.backslashes, &mut masked);
            masked
        };
        let text = if self.quotes_sql() { mask(text) } else { text.to_vec() };
        let reply = match &self.reply {
            Reply::Error { code, state, message } => {
                Reply::Error { code: *code, state: state.clone(), message: mask(message) }
            }
            other => other.clone(),
        };
        self.bulk.clear();
        (self.text, self.reply) = (Cow::Owned(text), reply);
        // It was decoded where its bytes could be taken for others.
        if self.writing.charset.bytes() == Bytes::WithBackslash {
            self.writing.charset = Charset::default();
        }
    }

    fn request(&mut self, request: &Request<'a>) {
        match request {
            Request::Query { text, .. } | Request::Prepare { text, .. } | Request::Name(text) => {
                self.text = told(text);
            }
            Request::Execute { id, text, parameters, place_holders, .. } => {
                let parameters = parameters.map(|all| all.first(usize::from(*place_holders)));
                self.executed(*id, text.as_ref(), parameters);
            }
            Request::Bulk { id, text, rows } => {
                self.text = prepared(*id, text.as_ref());
                self.rows(rows.as_ref());
            }
            Request::Fetch { id, text, wanted, .. } => {
                let of = prepared(*id, text.as_ref());
                self.text = Cow::Owned([format!("{wanted} rows of: ").as_bytes(), &of].concat());
            }
            Request::Id { id, text } => self.text = prepared(*id, text.as_ref()),
            Request::LongData { id, parameter, length } => {
                let text = format!("{length} bytes for parameter {} of statement {id}", parameter + 1);
                self.text = Cow::Owned(text.into_bytes());
            }
            Request::ChangeUser { user, database } => {
                self.text = Cow::Owned([user, &b" in "[..], database].concat());
            }
            Request::Number(number) => self.text = Cow::Owned(number.to_string().into_bytes()),
            Request::Rest(_) => {}
        }
    }

    fn executed(&mut self, id: u32, text: Option<&Text<'a>>, parameters: Option<Parameters<'_>>) {
        let (Some(text), Some(parameters)) = (text, parameters) else {
            self.unfilled += usize::from(text.is_some());
            self.text = prepared(id, text);
            return;
        };
        let mut out = Vec::new();
        let raws = parameters.iter().map(|one| one.map(|(_, raw)| raw));
        let text = if text.holes.is_empty() { Cow::Borrowed(text.bytes) } else { told(text) };
        let filled = value::substitute(&text, raws, self.writing, &mut out);
        self.unfilled += filled.left + filled.cut + filled.beyond;
        self.text = Cow::Owned(out);
    }

    fn rows(&mut self, rows: Option<&Rows<'_>>) {
        let Some(rows) = rows else {
            self.unfilled += 1;
            return;
        };
        for row in rows.iter() {
            self.bulk_rows += 1;
            if self.bulk.len() < BULK_ROWS_MAX {
                self.bulk.push(self.row(row));
            }
        }
    }

    fn row(&self, row: Option<Parameters<'_>>) -> Vec<u8> {
        let mut text = vec![b'('];
        for (nth, one) in row.iter().flat_map(Parameters::iter).enumerate() {
            text.extend_from_slice(if nth == 0 { b"" } else { b", " });
            let written = one.map(|(_, raw)| value::literal(raw, self.writing, &mut text));
            if matches!(written, None | Some(value::Written::Nothing)) {
                text.push(b'?');
            }
        }
        text.push(b')');
        text
    }
}

impl Reply {
    fn of(answer: &Answer<'_>) -> Self {
        match answer.outcome {
            Outcome::Ok | Outcome::Text(_) | Outcome::Stream => Self::Ok(Counts {
                results: answer.results,
                columns: answer.columns,
                rows: answer.rows,
                row_bytes: answer.row_bytes,
                affected: answer.affected_rows,
                insert_id: answer.last_insert_id,
                warnings: answer.warnings,
                local_infile: answer.local_infile,
            }),
            Outcome::Error(ServerError { code, state, message }) => {
                Self::Error { code, state: state.to_vec(), message: message.to_vec() }
            }
            Outcome::NotDue => Self::NotDue,
            Outcome::Unseen => Self::Unseen,
        }
    }
}

/// How a connection writes its literals.
#[must_use]
pub fn writing(context: &Context<'_>, status: u16) -> Writing {
    let is_mysql = context.version.is_some_and(|version| !version.windows(7).any(|at| at == b"MariaDB"));
    Writing {
        server: if is_mysql { Server::MySql } else { Server::MariaDb },
        charset: context.collation.map_or_else(Charset::default, Charset::of_collation),
        backslashes: if status & NO_BACKSLASH_ESCAPES == 0 {
            Backslashes::Escape
        } else {
            Backslashes::Plain
        },
    }
}

/// The statement that was prepared, or that it is not known.
fn prepared<'a>(id: u32, text: Option<&Text<'a>>) -> Cow<'a, [u8]> {
    let unknown = match (text, id) {
        (Some(text), _) => return told(text),
        // MariaDB's clients name so what the PREPARE before has prepared.
        (None, u32::MAX) => "a statement whose PREPARE was refused or not seen".to_owned(),
        (None, id) => format!("statement {id}, whose PREPARE was not seen"),
    };
    Cow::Owned(unknown.into_bytes())
}

/// What stands at the beginning of the words for bytes that were not seen: hardly a text has it by chance, and every
/// character set has it.
const HOLE: &[u8] = b"[...";

/// A text, with `[...12 bytes not seen]` where some are missing.
#[must_use]
pub fn told<'a>(text: &Text<'a>) -> Cow<'a, [u8]> {
    let known = text.holes.iter().map(|hole| hole.missing).fold(text.bytes.len() as u64, u64::saturating_add);
    if text.holes.is_empty() && text.length <= known {
        return Cow::Borrowed(text.bytes);
    }
    let (mut out, mut from) = (Vec::new(), 0);
    for Hole { at, missing } in text.holes {
        out.extend_from_slice(text.bytes.get(from..*at).unwrap_or_default());
        out.extend_from_slice(HOLE);
        out.extend_from_slice(format!("{missing} bytes not seen]").as_bytes());
        from = *at;
    }
    out.extend_from_slice(text.bytes.get(from..).unwrap_or_default());
    if text.length > known {
        out.extend_from_slice(HOLE);
        out.extend_from_slice(format!("{} bytes more]", text.length - known).as_bytes());
    }
    Cow::Owned(out)
}
