//! The commands of a client, by their first byte.

use std::fmt;

/// What a client asks for.
///
/// Source: `enum_server_command` as in <https://mariadb.com/kb/en/2-text-protocol/> and MySQL's "Command Phase".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "they are the names of the protocol, and nothing else")]
pub enum Command {
    Sleep,
    Quit,
    InitDb,
    Query,
    FieldList,
    CreateDb,
    DropDb,
    Refresh,
    Shutdown,
    Statistics,
    ProcessInfo,
    Connect,
    ProcessKill,
    Debug,
    Ping,
    Time,
    DelayedInsert,
    ChangeUser,
    BinlogDump,
    TableDump,
    ConnectOut,
    RegisterReplica,
    StmtPrepare,
    StmtExecute,
    StmtSendLongData,
    StmtClose,
    StmtReset,
    SetOption,
    StmtFetch,
    Daemon,
    BinlogDumpGtid,
    ResetConnection,
    Clone,
    SubscribeGroupReplication,
    StmtBulkExecute,
    /// Its first byte is not known here, or was not seen.
    Other(u8),
}

impl Command {
    /// From the first byte of a client's message.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        TABLE.get(usize::from(code)).map_or_else(
            || match code {
                0xfa => Self::StmtBulkExecute,
                other => Self::Other(other),
            },
            |(command, _)| *command,
        )
    }

    /// Its first byte.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::StmtBulkExecute => 0xfa,
            Self::Other(code) => code,
            known => {
                let place = TABLE.iter().position(|(command, _)| *command == known);
                place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
            }
        }
    }

    /// Its name as the servers' status variables have it, such as `Query` or `Stmt Execute`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StmtBulkExecute => "Bulk Execute",
            Self::Other(_) => "Unknown",
            known => TABLE.iter().find(|(command, _)| *command == known).map_or("Unknown", |(_, name)| name),
        }
    }

    /// Whether the server answers it.
    #[must_use]
    pub fn has_answer(self) -> bool {
        !matches!(self, Self::Quit | Self::StmtClose | Self::StmtSendLongData)
    }

    /// Whether a client may send it: some have numbers only so that a server has a name for what it does.
    pub(super) fn is_sent(self) -> bool {
        !matches!(
            self,
            Self::Sleep
                | Self::Connect
                | Self::Time
                | Self::DelayedInsert
                | Self::ConnectOut
                | Self::Daemon
                | Self::Other(_)
        )
    }

    /// The shortest and the longest that its message can be, in bytes, the first byte included.
    pub(super) fn lengths(self) -> (u64, u64) {
        const ANY: u64 = u64::MAX;
        match self {
            Self::Quit
            | Self::Statistics
            | Self::ProcessInfo
            | Self::Debug
            | Self::Ping
            | Self::ResetConnection => (1, 1),
            Self::SetOption => (3, 3),
            Self::StmtClose | Self::StmtReset | Self::ProcessKill => (5, 5),
            Self::StmtFetch => (9, 9),
            Self::StmtExecute => (10, ANY),
            Self::StmtSendLongData | Self::StmtBulkExecute => (7, ANY),
            Self::BinlogDump => (11, 11 + 4096),
            Self::BinlogDumpGtid | Self::RegisterReplica => (15, 1 << 20),
            Self::Refresh | Self::Shutdown => (1, 2),
            Self::Query | Self::StmtPrepare | Self::InitDb => (1, ANY),
            Self::FieldList | Self::CreateDb | Self::DropDb => (2, 4096),
            Self::ChangeUser => (3, 1 << 17),
            _ => (1, 1 << 16),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// By their first bytes, from 0 on.
const TABLE: [(Command, &str); 34] = [
    (Command::Sleep, "Sleep"),
    (Command::Quit, "Quit"),
    (Command::InitDb, "Init DB"),
    (Command::Query, "Query"),
    (Command::FieldList, "Field List"),
    (Command::CreateDb, "Create DB"),
    (Command::DropDb, "Drop DB"),
    (Command::Refresh, "Refresh"),
    (Command::Shutdown, "Shutdown"),
    (Command::Statistics, "Statistics"),
    (Command::ProcessInfo, "Processlist"),
    (Command::Connect, "Connect"),
    (Command::ProcessKill, "Kill"),
    (Command::Debug, "Debug"),
    (Command::Ping, "Ping"),
    (Command::Time, "Time"),
    (Command::DelayedInsert, "Delayed insert"),
    (Command::ChangeUser, "Change user"),
    (Command::BinlogDump, "Binlog Dump"),
    (Command::TableDump, "Table Dump"),
    (Command::ConnectOut, "Connect Out"),
    (Command::RegisterReplica, "Register Replica"),
    (Command::StmtPrepare, "Prepare"),
    (Command::StmtExecute, "Execute"),
    (Command::StmtSendLongData, "Long Data"),
    (Command::StmtClose, "Close stmt"),
    (Command::StmtReset, "Reset stmt"),
    (Command::SetOption, "Set option"),
    (Command::StmtFetch, "Fetch"),
    (Command::Daemon, "Daemon"),
    (Command::BinlogDumpGtid, "Binlog Dump GTID"),
    (Command::ResetConnection, "Reset connection"),
    (Command::Clone, "Clone"),
    (Command::SubscribeGroupReplication, "Group Replication Data Stream"),
];
