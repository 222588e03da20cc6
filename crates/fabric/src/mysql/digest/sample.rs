//! One statement, as it is counted: what it says, as whom, and how it went.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use byway_wire::mysql::text::Charset;
use byway_wire::mysql::{Command, Outcome, Request, Statement, Text};
use byway_wire::sql::Backslashes;

use super::TEXT_BYTES_MAX;

/// Bytes of the name of a database or user; the servers allow 64 and 128 characters.
const NAME_BYTES_MAX: usize = 512;

/// A statement and its answer.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Which command.
    pub command: Command,
    /// The SQL as it was on the wire; `None` if the command has none, or it is not known. Of a text with a hole what is
    /// before it.
    pub text: Option<&'a [u8]>,
    /// The text's character set.
    pub charset: Charset,
    /// What a backslash is in it.
    pub backslashes: Backslashes,
    /// In which database; `None` if that is not known, empty if in none.
    pub database: Option<&'a [u8]>,
    /// As whom; `None` if that is not known.
    pub user: Option<&'a [u8]>,
    /// Who asked.
    pub client: IpAddr,
    /// Who was asked.
    pub server: SocketAddr,
    /// When it was asked, in nanoseconds since 1970.
    pub time_ns: u64,
    /// From the last byte of the request to the last one of the answer, in nanoseconds; `None` if that was not seen.
    pub whole_ns: Option<u64>,
    /// How it ended.
    pub end: End,
    /// Rows that were sent.
    pub rows: u64,
    /// Rows that were changed.
    pub affected: u64,
    /// Bytes of the rows that were sent.
    pub bytes: u64,
    /// Whether nothing is to be doubted about it.
    pub is_certain: bool,
}

/// How a statement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Well.
    Ok,
    /// With an error.
    Error,
    /// There is no answer to it, or none that ends.
    NotDue,
    /// Nobody has seen how.
    Unseen,
}

impl From<&Outcome<'_>> for End {
    fn from(outcome: &Outcome<'_>) -> Self {
        match outcome {
            Outcome::Ok | Outcome::Text(_) => Self::Ok,
            Outcome::Error(_) => Self::Error,
            Outcome::Stream | Outcome::NotDue => Self::NotDue,
            Outcome::Unseen => Self::Unseen,
        }
    }
}

/// What parts statements with the same fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Nothing.
    #[default]
    Nothing,
    /// The database.
    Database,
    /// The user.
    User,
    /// The client's address, without its port.
    Client,
    /// The server's address and port.
    Server,
}

/// Whose the statements of a group are: what they have in common by [`By`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose<B> {
    /// Anybody's.
    Anybody,
    /// Of a database, which may not be known, or of none, which is empty.
    Database(Option<B>),
    /// Of a user, who may not be known.
    User(Option<B>),
    /// Of a client.
    Client(IpAddr),
    /// To a server.
    Server(SocketAddr),
}

impl<B: AsRef<[u8]>> Whose<B> {
    /// The same, borrowed.
    pub fn borrowed(&self) -> Whose<&[u8]> {
        match self {
            Self::Anybody => Whose::Anybody,
            Self::Database(name) => Whose::Database(name.as_ref().map(AsRef::as_ref)),
            Self::User(name) => Whose::User(name.as_ref().map(AsRef::as_ref)),
            Self::Client(address) => Whose::Client(*address),
            Self::Server(address) => Whose::Server(*address),
        }
    }

    /// The same, owned.
    pub(super) fn owned(&self) -> Whose<Box<[u8]>> {
        match self.borrowed() {
            Whose::Anybody => Whose::Anybody,
            Whose::Database(name) => Whose::Database(name.map(Into::into)),
            Whose::User(name) => Whose::User(name.map(Into::into)),
            Whose::Client(address) => Whose::Client(address),
            Whose::Server(address) => Whose::Server(address),
        }
    }

    /// Bytes on the heap, once it is owned.
    pub(super) fn heap_bytes(&self) -> usize {
        match self.borrowed() {
            Whose::Database(name) | Whose::User(name) => name.map_or(0, <[u8]>::len),
            Whose::Anybody | Whose::Client(_) | Whose::Server(_) => 0,
        }
    }
}

impl<'a> Sample<'a> {
    /// Of a statement that was seen between these two; `charset` and `backslashes` as its connection has them.
    #[must_use]
    pub fn of(
        statement: &Statement<'a>,
        charset: Charset,
        backslashes: Backslashes,
        client: IpAddr,
        server: SocketAddr,
    ) -> Self {
        let asked_ns = statement.asked.last.time_ns;
        let end = End::from(&statement.answer.outcome);
        let is_whole = matches!(end, End::Ok | End::Error);
        let answered = statement.answered.filter(|_| is_whole);
        Self {
            command: statement.command,
            text: text_of(&statement.request),
            charset,
            backslashes,
            database: statement.context.database,
            user: statement.context.user,
            client,
            server,
            time_ns: statement.asked.first.time_ns,
            whole_ns: answered.map(|answered| answered.last.time_ns.saturating_sub(asked_ns)),
            end,
            rows: statement.answer.rows,
            affected: statement.answer.affected_rows,
            bytes: statement.answer.row_bytes,
            is_certain: statement.sureness.is_certain(),
        }
    }

    /// The time that it took, if it was answered.
    pub(super) fn response_ns(&self) -> Option<u64> {
        self.whole_ns.filter(|_| matches!(self.end, End::Ok | End::Error))
    }

    /// The part of it that tells groups apart; names are cut to [`NAME_BYTES_MAX`].
    pub(super) fn whose(&self, by: By) -> Whose<&'a [u8]> {
        let cut = |name: &'a [u8]| &name[..name.len().min(NAME_BYTES_MAX)];
        match by {
            By::Nothing => Whose::Anybody,
            By::Database => Whose::Database(self.database.map(cut)),
            By::User => Whose::User(self.user.map(cut)),
            By::Client => Whose::Client(self.client),
            By::Server => Whose::Server(self.server),
        }
    }

    /// The SQL so that every byte below 0x80 in it is ASCII, cut to [`TEXT_BYTES_MAX`], and its character set then.
    pub(super) fn sql(&self) -> Option<(Cow<'a, [u8]>, Charset)> {
        let text = self.text?;
        match self.charset.decode(&text[..text.len().min(TEXT_BYTES_MAX)]) {
            Cow::Borrowed(text) => Some((Cow::Borrowed(text), self.charset)),
            Cow::Owned(text) => Some((Cow::Owned(text), Charset::Utf8)),
        }
    }

    /// The words of which the fingerprint is made, as `pt-query-digest` puts them: the SQL alone, with `PREPARE` or
    /// `EXECUTE` before it, or `administrator command:` and the command's name. `FETCH` is ours: the tool does not tell
    /// what is fetched.
    ///
    /// They are the SQL itself where that will do, else they are written to `out`.
    pub(super) fn words<'w>(&self, sql: Option<&'w [u8]>, out: &'w mut Vec<u8>) -> &'w [u8] {
        let (prefix, rest): (&[u8], &[u8]) = match (self.command, sql) {
            (Command::Query, Some(sql)) => return sql,
            (Command::StmtPrepare, Some(sql)) => (b"PREPARE ", sql),
            (Command::StmtExecute | Command::StmtBulkExecute, Some(sql)) => (b"EXECUTE ", sql),
            (Command::StmtFetch, Some(sql)) => (b"FETCH ", sql),
            (Command::StmtClose, _) => (b"DEALLOCATE PREPARE ?", b""),
            (command, _) => (ADMINISTRATOR, administrator_name(command).as_bytes()),
        };
        out.extend_from_slice(prefix);
        out.extend_from_slice(rest);
        out
    }
}

/// What the tool puts before commands without SQL.
const ADMINISTRATOR: &[u8] = b"administrator command: ";

/// A command's name as the tool writes it; those that it does not know, in the same manner.
fn administrator_name(command: Command) -> &'static str {
    match command {
        Command::Sleep => "Sleep",
        Command::Quit => "Quit",
        Command::InitDb => "Init_db",
        Command::Query => "Query",
        Command::FieldList => "Field_list",
        Command::CreateDb => "Create_db",
        Command::DropDb => "Drop_db",
        Command::Refresh => "Refresh",
        Command::Shutdown => "Shutdown",
        Command::Statistics => "Statistics",
        Command::ProcessInfo => "Process_info",
        Command::Connect => "Connect",
        Command::ProcessKill => "Process_kill",
        Command::Debug => "Debug",
        Command::Ping => "Ping",
        Command::Time => "Time",
        Command::DelayedInsert => "Delayed_insert",
        Command::ChangeUser => "Change_user",
        Command::BinlogDump => "Binlog_dump",
        Command::TableDump => "Table_dump",
        Command::ConnectOut => "Connect_out",
        Command::RegisterReplica => "Register_slave",
        Command::StmtPrepare => "Stmt_prepare",
        Command::StmtExecute => "Stmt_execute",
        Command::StmtSendLongData => "Stmt_send_long_data",
        Command::StmtClose => "Stmt_close",
        Command::StmtReset => "Stmt_reset",
        Command::SetOption => "Set_option",
        Command::StmtFetch => "Stmt_fetch",
        Command::Daemon => "Daemon",
        Command::BinlogDumpGtid => "Binlog_dump_gtid",
        Command::ResetConnection => "Reset_connection",
        Command::Clone => "Clone",
        Command::SubscribeGroupReplication => "Subscribe_group_replication_stream",
        Command::StmtBulkExecute => "Stmt_bulk_execute",
        Command::Other(_) => "Unknown",
    }
}

/// What a command says in SQL.
fn text_of<'a>(request: &Request<'a>) -> Option<&'a [u8]> {
    match request {
        Request::Query { text, .. } | Request::Prepare { text, .. } => Some(before_hole(text)),
        Request::Execute { text, .. }
        | Request::Bulk { text, .. }
        | Request::Fetch { text, .. }
        | Request::Id { text, .. } => text.as_ref().map(before_hole),
        Request::LongData { .. }
        | Request::ChangeUser { .. }
        | Request::Name(_)
        | Request::Number(_)
        | Request::Rest(_) => None,
    }
}

fn before_hole<'a>(text: &Text<'a>) -> &'a [u8] {
    let end = text.holes.first().map_or(text.bytes.len(), |hole| hole.at);
    text.bytes.get(..end).unwrap_or(text.bytes)
}
