//! What bytes look like that nobody has introduced: for connections that were joined midstream or lost their place.

use super::bytes::Bytes;
use super::command::Command;
use super::compressed::{Compression, HEADER, Header, ZSTD_MAGIC};

/// A segment at least this long may hold only the beginning of a message: the smallest that hosts must take (RFC 9293).
const FULL_SEGMENT: usize = 536;

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A message.
    Plain,
    /// A compressed frame.
    Compressed(Compression),
}

/// How much must be seen before it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// It is a connection of MySQL.
    Known,
    /// It may be anything.
    Unknown,
}

/// What a client's segment begins with, if that is a command.
pub(super) fn command(segment: &[u8], care: Care) -> Option<Shape> {
    // The compressed form first: its marks are the stronger ones.
    if let Some(compression) = compressed(segment, 0) {
        let is_told = Header::starts(segment).is_some_and(|header| header.original > 0);
        if is_told || is_command(&segment[HEADER..], care) {
            return Some(Shape::Compressed(compression));
        }
    }
    is_command(segment, care).then_some(Shape::Plain)
}

/// Whether a client's command begins these bytes.
pub(super) fn is_command(segment: &[u8], care: Care) -> bool {
    let mut bytes = Bytes(segment);
    let (Some(length), Some(0), Some(code)) = (bytes.number(3), bytes.u8(), bytes.u8()) else { return false };
    let (command, rest) = (Command::from_code(code), bytes.0);
    let (shortest, longest) = command.lengths();
    if !command.is_sent() || length < shortest || length > longest {
        return false;
    }
    let seen = rest.len() as u64 + 1;
    let is_whole = length == seen || length > seen && segment.len() >= FULL_SEGMENT;
    match care {
        Care::Known => {
            is_whole || usize::try_from(length - 1).is_ok_and(|end| rest.get(end..).is_some_and(follows))
        }
        Care::Unknown => is_whole && is_telling(command, rest),
    }
}

/// Whether another command begins there: a client that does not wait for answers.
fn follows(rest: &[u8]) -> bool {
    rest.len() > 4 && rest[3] == 0 && Command::from_code(rest[4]).is_sent()
}

/// Whether the message cannot well be anything else.
fn is_telling(command: Command, rest: &[u8]) -> bool {
    match command {
        Command::Query | Command::StmtPrepare => {
            let text = rest.strip_prefix(&[0, 1]).unwrap_or(rest);
            let start = &text[..text.len().min(16)];
            let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
            start.len() > 3
                && start.iter().all(is_text)
                && matches!(start[0], b'a'..=b'z' | b'A'..=b'Z' | b'(' | b'/')
        }
        Command::StmtExecute => rest.get(5..9) == Some(&[1, 0, 0, 0]) && rest[4] & !0x0f == 0,
        Command::Ping
        | Command::Statistics
        | Command::ResetConnection
        | Command::StmtFetch
        | Command::StmtReset => true,
        _ => false,
    }
}

/// Whether an answer begins these bytes: a packet with sequence 1 that is not empty.
pub(super) fn is_answer(segment: &[u8]) -> bool {
    let mut bytes = Bytes(segment);
    let (Some(length), Some(1)) = (bytes.number(3), bytes.u8()) else { return false };
    length > 0 && (bytes.0.len() as u64 >= length || segment.len() >= FULL_SEGMENT)
}

/// The compression of a frame of that sequence which fills the segment, or is longer than a full one.
pub(super) fn compressed(segment: &[u8], sequence: u8) -> Option<Compression> {
    let (header, inner) = segment.split_first_chunk::<HEADER>()?;
    let Header { length, original } = Header::of(*header);
    let is_long_enough = length == inner.len() || segment.len() >= FULL_SEGMENT && length > 0;
    if header[3] != sequence || !is_long_enough {
        return None;
    }
    if original == 0 {
        // What is inside is a message of its own, whose packet fills the frame.
        let (inner_header, _) = inner.split_first_chunk::<4>()?;
        let inner_length =
            u32::from_le_bytes([inner_header[0], inner_header[1], inner_header[2], 0]) as usize;
        return (inner_header[3] <= sequence && inner_length + 4 == length).then_some(Compression::Zlib);
    }
    match inner {
        // RFC 1950: method 8, window up to 32 KiB, and a check over both bytes.
        [method, flags, ..]
            if *method == 0x78 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31) =>
        {
            Some(Compression::Zlib)
        }
        _ if inner.starts_with(&ZSTD_MAGIC) => Some(Compression::Zstd),
        _ => None,
    }
}
