//! A statement as one host tells it to another: as text, of bounded length, and masked unless somebody has asked for more.

use std::net::SocketAddr;

use byway_wire::mysql::text::{Charset, print};
use byway_wire::mysql::{Command, Timing};
use serde::{Deserialize, Serialize};

use super::spoken::{Counts, Reply, Spoken};

/// Bytes of a statement that are told, as it is printed: what a screen holds.
pub const TEXT_BYTES_MAX: usize = 2048;
/// Bytes of each name and of an error's message: names have 64 characters, messages 512 bytes.
const WORDS_BYTES_MAX: usize = 512;

/// A statement with its answer, seen at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Where: its place in the order.
    pub spot: usize,
    /// When its first byte was seen there, in nanoseconds since 1970 by that host's clock.
    pub time_ns: u64,
    /// Who asked, as seen there.
    pub client: SocketAddr,
    /// Who answered, as seen there.
    pub server: SocketAddr,
    /// As whom; none if the login was not seen.
    pub user: Option<String>,
    /// In which database; none if that is not known, empty if in none.
    pub database: Option<String>,
    /// The command's name, such as `Query`.
    pub command: String,
    /// The statement as it is printed, without control characters.
    pub statement: String,
    /// How many bytes more of it are not told.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub beyond: usize,
    /// Whether literals are `?`.
    pub masked: bool,
    /// What was answered.
    pub answer: Answered,
    /// From the last byte of the request to the first one of the answer, at this place, in nanoseconds.
    pub first_ns: Option<u64>,
    /// To the last byte of the answer.
    pub whole_ns: Option<u64>,
    /// Why it is not certain, if it is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Answered {
    /// It went well.
    Ok {
        /// Columns of the last result with rows; 0 if there was none.
        columns: u64,
        /// Rows of all results.
        rows: u64,
        /// Rows that were changed.
        affected: u64,
        /// Bytes of the file that LOAD DATA LOCAL sent.
        local_infile: Option<u64>,
    },
    /// The server refused.
    Error {
        /// Such as 1146.
        code: u16,
        /// Such as `42S02`.
        state: String,
        /// What it says; masked as the statement is.
        message: String,
    },
    /// There is none by the protocol.
    NotDue,
    /// It was not seen.
    Unseen,
}

/// What one place could not tell, of all places of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unsaid {
    /// Statements that were seen and are not told, because they came too fast.
    pub left_out: u64,
    /// Connections that were encrypted, at the place with the most of them.
    pub encrypted: u64,
}

impl Said {
    /// What is told of a statement that was seen at a place. Mask it first ([`Spoken::mask`]) unless its literals may be
    /// told; `masked` says so to who reads it.
    #[must_use]
    pub fn of(spot: usize, spoken: &Spoken, masked: bool) -> Self {
        let words = |bytes: &[u8]| printed(bytes, Charset::default(), WORDS_BYTES_MAX).0;
        let (mut statement, mut beyond) = printed(&spoken.text, spoken.writing.charset, TEXT_BYTES_MAX);
        if let Some(row) = spoken.bulk.first() {
            let (row, more) = printed(row, spoken.writing.charset, TEXT_BYTES_MAX);
            statement += &format!("  # with {row}");
            beyond += more;
        }
        if spoken.bulk_rows > 1 {
            statement += &format!("  # {} rows of values", spoken.bulk_rows);
        }
        Self {
            spot,
            time_ns: spoken.time_ns,
            client: spoken.peers.client,
            server: spoken.peers.server,
            user: spoken.user.as_deref().map(words),
            database: spoken.database.as_deref().map(words),
            command: spoken.command.name().to_owned(),
            statement,
            beyond,
            masked,
            answer: Answered::of(&spoken.reply),
            first_ns: spoken.timing.first_ns,
            whole_ns: spoken.timing.whole_ns,
            doubts: spoken.doubts().map(str::to_owned).collect(),
        }
    }

    /// Whether it is a plain query, whose command need not be named.
    #[must_use]
    pub fn is_query(&self) -> bool {
        self.command == Command::Query.name()
    }

    /// How long the answer took, at this one place.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing { first_ns: self.first_ns, whole_ns: self.whole_ns, server_ns: None, points: 1 }
    }
}

impl Answered {
    fn of(reply: &Reply) -> Self {
        let words = |bytes: &[u8]| printed(bytes, Charset::default(), WORDS_BYTES_MAX).0;
        match reply {
            Reply::Ok(counts) => Self::Ok {
                columns: counts.columns,
                rows: counts.rows,
                affected: counts.affected,
                local_infile: counts.local_infile,
            },
            Reply::Error { code, state, message } => {
                Self::Error { code: *code, state: words(state), message: words(message) }
            }
            Reply::NotDue => Self::NotDue,
            Reply::Unseen => Self::Unseen,
        }
    }

    /// The same, as far as it was told.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Ok { columns, rows, affected, local_infile } => Reply::Ok(Counts {
                columns: *columns,
                rows: *rows,
                affected: *affected,
                local_infile: *local_infile,
                ..Counts::default()
            }),
            Self::Error { code, state, message } => {
                Reply::Error { code: *code, state: state.clone().into(), message: message.clone().into() }
            }
            Self::NotDue => Reply::NotDue,
            Self::Unseen => Reply::Unseen,
        }
    }
}

/// A text as it is printed, up to so many bytes; and how many more there are.
fn printed(bytes: &[u8], charset: Charset, most: usize) -> (String, usize) {
    let mut out = Vec::new();
    print(bytes, charset, &mut out);
    let mut text = String::from_utf8_lossy(&out).into_owned();
    let kept = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let beyond = text.len() - kept;
    text.truncate(kept);
    (text, beyond)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "for tests only")]

    use byway_wire::mysql::{Peers, Sureness};

    use super::*;

    fn spoken(text: &[u8], reply: Reply) -> Spoken<'static> {
        let at = |text: &str| text.parse().unwrap();
        Spoken {
            peers: Peers { number: 1, client: at("172.41.0.2:40000"), server: at("172.42.0.2:3306") },
            time_ns: 1,
            user: Some(b"web"[..].into()),
            database: Some(b"shop"[..].into()),
            command: Command::Query,
            text: text.to_vec().into(),
            writing: byway_wire::mysql::value::Writing::default(),
            bulk: Vec::new(),
            bulk_rows: 0,
            reply,
            timing: Timing::default(),
            sureness: Sureness::default(),
            unfilled: 0,
        }
    }

    #[test]
    fn a_statement_travels_as_json_and_comes_back_as_it_was() {
        let message = b"Duplicate entry 'ann' for key 'name'".to_vec();
        let mut refused = spoken(
            b"insert into t values ('ann')",
            Reply::Error { code: 1062, state: b"23000".to_vec(), message },
        );
        refused.mask();
        for said in [Said::of(3, &refused, true), Said::of(0, &spoken(b"select 1", Reply::Unseen), false)] {
            let line = serde_json::to_string(&said).unwrap();
            assert!(!line.contains("ann"), "{line}");
            assert_eq!(serde_json::from_str::<Said>(&line).unwrap(), said);
        }
    }

    #[test]
    fn whatever_has_the_text_of_a_statement_is_masked() {
        for command in [
            Command::Query,
            Command::StmtPrepare,
            Command::StmtExecute,
            Command::StmtBulkExecute,
            Command::StmtFetch,
            Command::StmtReset,
            Command::StmtClose,
        ] {
            let mut spoken = spoken(b"select 'ann'", Reply::NotDue);
            spoken.command = command;
            spoken.mask();
            assert_eq!(Said::of(0, &spoken, true).statement, "select ?", "{command}");
        }
    }

    #[test]
    fn nothing_in_it_reaches_a_terminal_as_a_command_and_nothing_is_longer_than_is_told() {
        let said = Said::of(0, &spoken("\u{1b}[2Jé".repeat(4000).as_bytes(), Reply::NotDue), false);
        assert!(said.statement.len() <= TEXT_BYTES_MAX && said.beyond > 4000, "{}", said.beyond);
        assert!(!said.statement.contains('\u{1b}'));
        assert!(said.is_query());
    }
}
