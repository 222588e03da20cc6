//! A string in quotes, escaped as the servers escape it for their logs.

use super::{Server, Writing};
use crate::mysql::text::Bytes;
use crate::sql::Backslashes;

/// Writes bytes as a literal.
pub(super) fn string(bytes: &[u8], writing: Writing, out: &mut Vec<u8>) {
    if writing.charset.bytes() == Bytes::WithBackslash && writing.backslashes == Backslashes::Escape {
        return hexadecimal(bytes, writing.server, out);
    }
    out.reserve(bytes.len() + 2);
    out.push(b'\'');
    match writing.backslashes {
        Backslashes::Escape => escaped(bytes, writing.charset.bytes(), out),
        Backslashes::Plain => doubled(bytes, out),
    }
    out.push(b'\'');
}

/// In these character sets a backslash may be half a character, so no escape is safe.
fn hexadecimal(bytes: &[u8], server: Server, out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
    out.extend_from_slice(if server == Server::MariaDb { b"X'" } else { b"0x" });
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    if server == Server::MariaDb {
        out.push(b'\'');
    }
}

fn doubled(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        if *byte == b'\'' {
            out.push(b'\'');
        }
        out.push(*byte);
    }
}

fn escaped(mut bytes: &[u8], charset: Bytes, out: &mut Vec<u8>) {
    // Ends: every step takes at least a byte.
    while let Some((&first, rest)) = bytes.split_first() {
        let length = if first < 0x80 { 1 } else { charset.character(bytes) };
        match first {
            0x80.. if length > 0 => out.extend_from_slice(bytes.get(..length).unwrap_or_default()),
            0 => out.extend_from_slice(b"\\0"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0x1a => out.extend_from_slice(b"\\Z"),
            // Half a character could become a whole one with what follows.
            0x80.. | b'\\' | b'\'' | b'"' => out.extend_from_slice(&[b'\\', first]),
            _ => out.push(first),
        }
        bytes = rest.get(length.saturating_sub(1)..).unwrap_or_default();
    }
}
