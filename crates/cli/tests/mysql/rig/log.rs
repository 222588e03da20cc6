//! The general log of a `MariaDB`, read byte by byte: the truth about what the server was asked.
//!
//! It is read from the file, as only there a statement is what was sent: `mysql.general_log` is UTF-8, writes `\xE9`
//! for what is not, and ends a text at the first character of four bytes (10.11, also with a column of bytes).
//!
//! What the file does not say, or says otherwise than the wire, as seen with 10.11:
//!
//! - Spaces and semicolons at the end of a text, and spaces at its start, are gone before it is logged.
//! - Several statements in one text are one entry, as on the wire.
//! - PREPARE is logged if it succeeds. EXECUTE is logged with the values put in: FLOAT and DOUBLE in the shortest form
//!   that a DOUBLE is known by (a FLOAT of 0.1 is `0.10000000149011612`, -0.0 is `0`), dates as
//!   `DATE'…'`, `TIMESTAMP'…'` and `TIME'…'` (days counted as hours), texts and bytes quoted alike. A parameter of
//!   the type YEAR is logged as NULL, whatever its value.
//! - A bulk execute is logged with its question marks: once where the server takes all rows together (INSERT), else
//!   once for each row.
//! - FETCH, PING, SET OPTION and RESET CONNECTION are not logged, nor is an INIT DB that failed.
//! - A login that failed is a `Connect` with the refusal, behind the one that tells who.

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The server's number of the connection, the same as in its greeting.
    pub thread: u64,
    /// What was asked for.
    pub command: &'static str,
    /// Its argument, byte for byte.
    pub text: Vec<u8>,
}

/// A text statement.
pub const QUERY: &str = "Query";
/// A statement that is prepared.
pub const PREPARE: &str = "Prepare";
/// An execution of one, or a row of a bulk execution.
pub const EXECUTE: &str = "Execute";
/// A login.
pub const CONNECT: &str = "Connect";

/// What an entry may be called (`command_name` of MariaDB's `sql_parse.cc`, as far as clients can ask for it).
const COMMANDS: [&str; 26] = [
    QUERY,
    PREPARE,
    EXECUTE,
    CONNECT,
    "Quit",
    "Init DB",
    "Field List",
    "Create DB",
    "Drop DB",
    "Refresh",
    "Shutdown",
    "Statistics",
    "Processlist",
    "Kill",
    "Debug",
    "Ping",
    "Time",
    "Change user",
    "Binlog Dump",
    "Register Slave",
    "Long Data",
    "Close stmt",
    "Reset stmt",
    "Set option",
    "Fetch",
    "Reset connection",
];

/// The entries of a log, or of a part of it that starts with a line.
///
/// A text has as many lines as it likes. A line starts an entry if it looks like the start of one, so no script may
/// send a text with such a line in it.
pub fn entries(log: &[u8]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut is_inside = false;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        if let Some(entry) = start(line) {
            entries.push(entry);
            is_inside = true;
        } else if is_heading(line) {
            is_inside = false;
        } else if let (true, Some(entry)) = (is_inside, entries.last_mut()) {
            entry.text.extend(line);
        }
    }
    for entry in &mut entries {
        // Each entry ends with a line feed that is not the text's.
        entry.text.pop();
    }
    entries
}

/// What is logged at a start, and after `flush logs`.
fn is_heading(line: &[u8]) -> bool {
    line.starts_with(b"/usr/sbin/mariadbd, Version: ")
}

/// The entry that starts with this line: time or nothing, tab, the thread in 6 places or more, command, tab, argument.
fn start(line: &[u8]) -> Option<Entry> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (time, rest) = (&line[..tab], &line[tab + 1..]);
    let rest = if time.is_empty() { rest.strip_prefix(b"\t")? } else { rest };
    if !(time.is_empty() || is_time(time)) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let thread = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let rest = rest[digits..].strip_prefix(b" ")?;
    let command = COMMANDS
        .into_iter()
        .find(|command| rest.strip_prefix(command.as_bytes()).is_some_and(|rest| rest.starts_with(b"\t")))?;
    Some(Entry { thread, command, text: rest[command.len() + 1..].to_vec() })
}

/// `261122  5:46:11`
fn is_time(text: &[u8]) -> bool {
    const FORM: &[u8] = b"dddddd dd:dd:dd";
    text.len() == FORM.len()
        && text.iter().zip(FORM).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit() || *byte == b' ',
            other => byte == other,
        })
}
