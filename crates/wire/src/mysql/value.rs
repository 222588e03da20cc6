//! Values of the binary protocol, as the literals that the server's general log writes for them.
//!
//! Sources: MySQL's "Binary Protocol Resultset", <https://mariadb.com/kb/en/com_stmt_execute/>, and the general log of
//! MariaDB 10.11 for every type. A value that a server would not take as it is (a month 13, a number with letters)
//! becomes what MariaDB makes of it.

mod number;
mod quoted;
mod substitute;
mod time;

use super::text::Charset;
use crate::sql::Backslashes;

pub use substitute::{Filled, substitute};

/// Bytes of one value that are written at most; a longer one is cut and marked. As many as are kept of a request if
/// nothing else is asked for: what was kept is written.
pub const LITERAL_BYTES_MAX: usize = 36 << 20;

/// What stands behind a literal that is not whole.
const CUT: &[u8] = b"/* cut */";

/// One parameter as it lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// NULL.
    Null,
    /// The column's default.
    Default,
    /// Leave the column as it is.
    Ignore,
    /// It came in pieces of its own.
    Long {
        /// What was kept of them.
        bytes: &'a [u8],
        /// Whether that is not all.
        cut: bool,
    },
    /// A value, with its length in front if its type has one.
    Value {
        /// `enum_field_types`: 3 for an integer of 4 bytes.
        kind: u8,
        /// Whether a number has no sign.
        unsigned: bool,
        /// Its bytes, as many as [`length`] says.
        bytes: &'a [u8],
    },
}

/// Whose log is written like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Server {
    /// `DATE'2024-02-29'`, `TIMESTAMP'…'`, `TIME'…'`; strings of GBK, Shift-JIS and Big5 as `X'…'`.
    #[default]
    MariaDb,
    /// The same without the words before the quotes; strings of those character sets as `0x…`. From its sources;
    /// not compared with a log.
    MySql,
}

/// How literals are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Writing {
    /// Whose log is written like.
    pub server: Server,
    /// What the client speaks; literals are written in it.
    pub charset: Charset,
    /// Whether the session's strings know escapes.
    pub backslashes: Backslashes,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// All of the value.
    Whole,
    /// Its beginning, and `/* cut */`: it is longer than [`LITERAL_BYTES_MAX`] or was not kept whole.
    Cut,
    /// Nothing: the type is not known or its bytes are not a value of it.
    Nothing,
}

/// The types, by their numbers on the wire. Those that are not here are never sent.
mod kind {
    pub(super) const DECIMAL: u8 = 0;
    pub(super) const TINY: u8 = 1;
    pub(super) const SHORT: u8 = 2;
    pub(super) const LONG: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const NULL: u8 = 6;
    pub(super) const TIMESTAMP: u8 = 7;
    pub(super) const LONGLONG: u8 = 8;
    pub(super) const INT24: u8 = 9;
    pub(super) const DATE: u8 = 10;
    pub(super) const TIME: u8 = 11;
    pub(super) const DATETIME: u8 = 12;
    pub(super) const YEAR: u8 = 13;
    pub(super) const NEWDATE: u8 = 14;
    pub(super) const VARCHAR: u8 = 15;
    pub(super) const BIT: u8 = 16;
    /// MySQL 9: numbers of four bytes, sent as a string.
    pub(super) const VECTOR: u8 = 242;
    pub(super) const JSON: u8 = 245;
    pub(super) const NEWDECIMAL: u8 = 246;
    pub(super) const ENUM: u8 = 247;
    pub(super) const GEOMETRY: u8 = 255;
}

/// How many bytes the value at the start of `bytes` has, with the length in front of it if its type has one.
///
/// None if the type is not known, or if not all of the value is there.
#[must_use]
pub fn length(kind: u8, bytes: &[u8]) -> Option<usize> {
    let length = match kind {
        kind::NULL => 0,
        kind::TINY => 1,
        kind::SHORT | kind::YEAR => 2,
        kind::LONG | kind::INT24 | kind::FLOAT => 4,
        kind::LONGLONG | kind::DOUBLE => 8,
        kind::DATE | kind::NEWDATE | kind::TIME | kind::DATETIME | kind::TIMESTAMP => {
            1 + usize::from(*bytes.first()?)
        }
        kind::DECIMAL
        | kind::VARCHAR
        | kind::BIT
        | kind::VECTOR
        | kind::JSON
        | kind::NEWDECIMAL
        | kind::ENUM..=kind::GEOMETRY => {
            let (prefix, length) = length_encoded(bytes)?;
            prefix.checked_add(length)?
        }
        _ => return None,
    };
    (length <= bytes.len()).then_some(length)
}

/// How many bytes a length-encoded integer has, and what it is: 1, 3, 4 or 9 bytes.
fn length_encoded(bytes: &[u8]) -> Option<(usize, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfa => return Some((1, first.into())),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        // 0xfb is NULL in rows of text and 0xff an error; neither is a length.
        _ => return None,
    };
    let value = rest.get(..width)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((1 + width, usize::try_from(value).ok()?))
}

/// What is behind the length in front of a value, if the length is right.
fn behind_length(bytes: &[u8]) -> Option<&[u8]> {
    let (prefix, length) = length_encoded(bytes)?;
    bytes.get(prefix..).filter(|rest| rest.len() == length)
}

/// Writes a parameter to the end of `out`, in the character set of the client.
///
/// MariaDB 10.11 takes a `YEAR`, an integer of three bytes, a `BIT` and a `GEOMETRY` for NULL and logs that; here they
/// are what the client sent. `DEFAULT` and `IGNORE` are those words: no server logs them.
pub fn literal(raw: Raw<'_>, writing: Writing, out: &mut Vec<u8>) -> Written {
    match raw {
        Raw::Null => out.extend_from_slice(b"NULL"),
        Raw::Default => out.extend_from_slice(b"DEFAULT"),
        Raw::Ignore => out.extend_from_slice(b"IGNORE"),
        Raw::Long { bytes, cut } => return string(bytes, cut, writing, out),
        Raw::Value { kind, unsigned, bytes } => {
            return value(kind, unsigned, bytes, writing, out).unwrap_or(Written::Nothing);
        }
    }
    Written::Whole
}

fn value(kind: u8, unsigned: bool, bytes: &[u8], writing: Writing, out: &mut Vec<u8>) -> Option<Written> {
    if length(kind, bytes)? != bytes.len() {
        return None;
    }
    match kind {
        kind::NULL => out.extend_from_slice(b"NULL"),
        kind::TINY | kind::SHORT | kind::LONG | kind::LONGLONG | kind::INT24 | kind::YEAR => {
            number::integer(bytes, unsigned, out);
        }
        kind::FLOAT => number::double(f32::from_le_bytes(*bytes.first_chunk()?).into(), out),
        kind::DOUBLE => number::double(f64::from_le_bytes(*bytes.first_chunk()?), out),
        kind::DATE | kind::NEWDATE => time::date(bytes.get(1..)?, writing.server, out)?,
        kind::DATETIME | kind::TIMESTAMP => time::datetime(bytes.get(1..)?, writing.server, out)?,
        kind::TIME => time::time(bytes.get(1..)?, writing.server, out)?,
        kind::DECIMAL | kind::NEWDECIMAL => number::decimal(behind_length(bytes)?, out),
        _ => return Some(string(behind_length(bytes)?, false, writing, out)),
    }
    Some(Written::Whole)
}

fn string(bytes: &[u8], cut: bool, writing: Writing, out: &mut Vec<u8>) -> Written {
    let kept = &bytes[..bytes.len().min(LITERAL_BYTES_MAX)];
    quoted::string(kept, writing, out);
    if !cut && kept.len() == bytes.len() {
        return Written::Whole;
    }
    out.extend_from_slice(CUT);
    Written::Cut
}
