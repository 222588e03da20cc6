//! What a connection tells, event by event. Texts are borrowed and as they were on the wire.

use super::capabilities::Capabilities;
use super::command::Command;
use super::compressed::Compression;
use super::greeting::{Greeting, Login};
use super::parameters::{Parameters, Rows};
use super::place::{Hole, Mark, Span};
use super::sureness::Sureness;
use crate::stream::Missing;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Who asks.
    Client,
    /// Who answers.
    Server,
}

/// One thing that a connection tells.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "it is shown for a moment and never kept")]
pub enum Event<'a> {
    /// The server's first words.
    Greeting(Greeting<'a>, Mark),
    /// The client's first words, without what proves who it is.
    Login(Login<'a>, Mark),
    /// How the login ended.
    LoggedIn(LoggedIn<'a>, Mark),
    /// TLS from here on.
    Encrypted(Encrypted),
    /// Compressed from here on.
    Compressed(Compression),
    /// A command was asked, and all of it has been seen. Its [`Event::Statement`] follows with the answer.
    Asked(Asked<'a>),
    /// A command and its answer.
    Statement(Statement<'a>),
    /// The server said something that nobody had asked for, such as that it ends the connection.
    Unasked(ServerError<'a>, Mark),
    /// Something could not be seen.
    Missed(Missed),
}

/// Where the TLS of a connection begins, in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encrypted {
    /// The offset of the client's first byte of TLS.
    pub client_from: u64,
    /// The offset of the server's first byte of TLS.
    pub server_from: u64,
    /// When the client asked for it, in nanoseconds since 1970.
    pub time_ns: u64,
    /// What the client said before it that it can.
    pub capabilities: Capabilities,
}

/// How a login ended.
#[derive(Debug, Clone, Copy)]
pub struct LoggedIn<'a> {
    /// Who, and to which database.
    pub context: Context<'a>,
    /// Why not, if it was refused.
    pub refused: Option<ServerError<'a>>,
    /// The authentication plugin that was used in the end.
    pub plugin: &'a [u8],
    /// How many messages the authentication took after the login, both directions together.
    pub rounds: u32,
    /// What both sides can.
    pub capabilities: Capabilities,
}

/// As whom and where a statement ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// The user; `None` if the login was not seen.
    pub user: Option<&'a [u8]>,
    /// The database; `None` if it is not known, empty if there is none.
    pub database: Option<&'a [u8]>,
    /// The server's version; `None` if the greeting was not seen.
    pub version: Option<&'a [u8]>,
    /// The collation by whose character set the client's texts are written; `None` if it is not known.
    pub collation: Option<u16>,
}

/// A text as it was on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<'a> {
    /// What was kept of it.
    pub bytes: &'a [u8],
    /// How long it was, in bytes, as far as that is known.
    pub length: u64,
    /// What is missing within `bytes`, by place in them.
    pub holes: &'a [Hole],
}

/// A command at the moment when all of it had been seen.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Which.
    pub command: Command,
    /// Of QUERY, PREPARE and INIT DB: the text. Else the message without its first byte.
    pub text: Text<'a>,
    /// Where and when.
    pub request: Span,
    /// As whom; the database may still be changed by what is before it.
    pub context: Context<'a>,
    /// How sure it is.
    pub sureness: Sureness,
}

/// A command with its answer.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// Which command.
    pub command: Command,
    /// What it said.
    pub request: Request<'a>,
    /// Where and when it was asked.
    pub asked: Span,
    /// Where and when it was answered: from the first byte to the last one. `None` if no answer was seen or is due.
    pub answered: Option<Span>,
    /// The answer.
    pub answer: Answer<'a>,
    /// As whom and where, as it was before the answer.
    pub context: Context<'a>,
    /// How sure all that is.
    pub sureness: Sureness,
}

/// What a command said.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// `COM_QUERY`.
    Query {
        /// The SQL.
        text: Text<'a>,
        /// Query attributes.
        attributes: Parameters<'a>,
    },
    /// `COM_STMT_PREPARE`.
    Prepare {
        /// The SQL.
        text: Text<'a>,
        /// The statement's number and its parameters and columns, if it was prepared.
        prepared: Option<Prepared>,
    },
    /// `COM_STMT_EXECUTE`.
    Execute {
        /// Which statement.
        id: u32,
        /// The SQL that was prepared; `None` if that was not seen.
        text: Option<Text<'a>>,
        /// What stands for the place holders, and behind them attributes; `None` if it cannot be read.
        parameters: Option<Parameters<'a>>,
        /// How many of them are place holders.
        place_holders: u16,
        /// Whether the rows are fetched later on.
        opens_cursor: bool,
        /// The message behind statement, flags and iterations, as it was.
        raw: &'a [u8],
    },
    /// `COM_STMT_BULK_EXECUTE`.
    Bulk {
        /// Which statement.
        id: u32,
        /// The SQL that was prepared; `None` if that was not seen.
        text: Option<Text<'a>>,
        /// The rows of parameters; `None` if they cannot be read.
        rows: Option<Rows<'a>>,
    },
    /// `COM_STMT_FETCH`: more rows of a cursor. It is one logical query with the EXECUTE before it.
    Fetch {
        /// Which statement.
        id: u32,
        /// The SQL that was prepared; `None` if that was not seen.
        text: Option<Text<'a>>,
        /// How many rows were asked for.
        wanted: u32,
        /// Which FETCH since the EXECUTE it is, from 1 on.
        nth: u32,
        /// The rows of all of them so far.
        rows: u64,
    },
    /// `COM_STMT_SEND_LONG_DATA`.
    LongData {
        /// Which statement.
        id: u32,
        /// Which parameter, from 0 on.
        parameter: u16,
        /// How many bytes.
        length: u64,
    },
    /// `COM_STMT_CLOSE` and `COM_STMT_RESET`.
    Id {
        /// Which statement.
        id: u32,
        /// The SQL that was prepared; `None` if that was not seen.
        text: Option<Text<'a>>,
    },
    /// `COM_CHANGE_USER`.
    ChangeUser {
        /// The new user.
        user: &'a [u8],
        /// The new database.
        database: &'a [u8],
    },
    /// What names something: `COM_INIT_DB`, `COM_FIELD_LIST`, `COM_CREATE_DB`, `COM_DROP_DB`, and `COM_BINLOG_DUMP` its file.
    Name(Text<'a>),
    /// `COM_KILL` and `COM_SET_OPTION`.
    Number(u32),
    /// Nothing that is read here; how many bytes there were behind the first one.
    Rest(u64),
}

/// What PREPARE is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// The statement's number.
    pub id: u32,
    /// Its place holders.
    pub place_holders: u16,
    /// The columns of its rows.
    pub columns: u16,
}

/// An answer, with all its results added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// How it ended.
    pub outcome: Outcome<'a>,
    /// Results, with and without rows; more than one of CALL and of several statements in one.
    pub results: u32,
    /// Columns of the last result with rows.
    pub columns: u64,
    /// Rows of all of them.
    pub rows: u64,
    /// Bytes of these rows, without the headers of packets.
    pub row_bytes: u64,
    /// Rows that were changed, of all results together.
    pub affected_rows: u64,
    /// The last number that was given out (`AUTO_INCREMENT`).
    pub last_insert_id: u64,
    /// Warnings of the last result.
    pub warnings: u16,
    /// `SERVER_STATUS_*` of the last result.
    pub status: u16,
    /// Bytes of the file that LOAD DATA LOCAL sent.
    pub local_infile: Option<u64>,
    /// Reports of progress.
    pub progress_reports: u32,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Well.
    Ok,
    /// The server refused, or gave up in between.
    Error(ServerError<'a>),
    /// With a text that is neither: `COM_STATISTICS`.
    Text(&'a [u8]),
    /// It goes on for as long as the connection does: binary logs.
    Stream,
    /// The command has no answer.
    NotDue,
    /// Its end was not seen.
    Unseen,
}

/// An error of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerError<'a> {
    /// Such as 1146.
    pub code: u16,
    /// Such as `42S02`; empty before the login.
    pub state: &'a [u8],
    /// What it says.
    pub message: &'a [u8],
}

/// Something that could not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// Whose bytes.
    pub role: Role,
    /// What.
    pub what: MissedWhat,
    /// How many bytes.
    pub bytes: u64,
    /// Where the first of them is, and when that was clear.
    pub at: Mark,
}

/// What could not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MissedWhat {
    /// Bytes that did not come.
    Gap(Missing),
    /// Bytes that came, but it was not known where a message begins in them.
    Unaligned,
    /// Answers to requests that were not seen.
    WithoutRequest,
    /// A compressed frame that could not be opened.
    Damaged,
}
