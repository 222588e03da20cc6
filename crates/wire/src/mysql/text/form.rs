//! Three forms of a text: for people, for programs, and as tshark has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Charset;
use super::charset::Part;

/// What stands for bytes that are no character.
const REPLACEMENT: &str = "\u{fffd}";

/// How much of a long text is written at once, in bytes.
const PART_BYTES: usize = 64 << 10;

/// The parts of a text, some 64 KiB each, for who does not want to have all that is written of it at once: written one
/// after the other, they give the same as the text.
pub fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // Below 0x80 is either a character or the last byte of one, in every character set; but a digit may also be the
        // second of four (GB 18030).
        let ends = |byte: &u8| byte.is_ascii() && !byte.is_ascii_digit();
        let end = rest.get(PART_BYTES..).and_then(|behind| behind.iter().position(ends));
        let (part, behind) = rest.split_at(end.map_or(rest.len(), |end| PART_BYTES + end + 1));
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

/// Writes a text for people: in one line, without anything that acts on a terminal, and so that no two texts of a
/// character set look the same.
///
/// | in the text | printed |
/// |---|---|
/// | backslash, line feed, carriage return, tab, NUL | `\\` `\n` `\r` `\t` `\0` |
/// | other control characters of ASCII | `\x1b` |
/// | other control, format and direction characters | `\u{202e}` |
/// | bytes that are no character | `\xff` |
///
/// Everything else is itself, as UTF-8. (A byte that is no character is never one of ASCII, so `\x` is not two things.)
pub fn print(bytes: &[u8], charset: Charset, out: &mut Vec<u8>) {
    // The second byte of a character is never taken for one of ASCII: the first of them ends the stretch.
    let (plain, rest) = split_plain(bytes);
    out.extend_from_slice(plain);
    if rest.is_empty() {
        return;
    }
    charset.read(rest, |part| match part {
        Part::Text(text) => print_text(text, out),
        Part::Bytes(bytes) => bytes.iter().for_each(|byte| hexadecimal(*byte, out)),
    });
}

/// What stands for itself, and the rest. Most statements are one stretch of it, with all of it in the first part.
#[inline]
fn split_plain(bytes: &[u8]) -> (&[u8], &[u8]) {
    // As many bytes as are looked at at once, without a branch for each.
    const STRIDE: usize = 32;
    let strides = bytes
        .chunks_exact(STRIDE)
        .take_while(|stride| stride.iter().fold(true, |all, byte| all & is_plain(*byte)))
        .count();
    let (strides, rest) = bytes.split_at(strides * STRIDE);
    let plain = strides.len() + rest.iter().take_while(|byte| is_plain(**byte)).count();
    bytes.split_at(plain)
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\\'
}

fn print_text(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match character {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0' => out.extend_from_slice(b"\\0"),
            ' '..='~' => out.extend(u8::try_from(character)),
            other if other.is_ascii() => out.extend(u8::try_from(other).into_iter().flat_map(escape)),
            other if acts(other) => {
                out.extend_from_slice(format!("\\u{{{:x}}}", u32::from(other)).as_bytes());
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Whether a character shows nothing of itself but does something to others: controls, directions, joiners, tags.
fn acts(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

const HEX: [u8; 16] = *b"0123456789abcdef";

fn escape(byte: u8) -> [u8; 4] {
    [b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

fn hexadecimal(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&escape(byte));
}

/// Writes a member of a JSON object: `"name":"text"`. If bytes of it are no characters, U+FFFD stands for them, and a
/// member with all bytes follows: `,"name_base64":"…"`. The name is taken as it is.
pub fn json(name: &str, bytes: &[u8], charset: Charset, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    let is_whole = json_characters(bytes, charset, out);
    out.push(b'"');
    if !is_whole {
        json_base64(name, bytes, out);
    }
}

/// Writes what stands within the quotes of [`json`]; whether all bytes are characters.
pub fn json_characters(bytes: &[u8], charset: Charset, out: &mut Vec<u8>) -> bool {
    let mut is_whole = true;
    charset.read(bytes, |part| match part {
        Part::Text(text) => json_text(text, out),
        Part::Bytes(_) => {
            is_whole = false;
            out.extend_from_slice(REPLACEMENT.as_bytes());
        }
    });
    is_whole
}

/// Writes the member that follows if they are not.
pub fn json_base64(name: &str, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!(",\"{name}_base64\":\"{}\"", STANDARD.encode(bytes)).as_bytes());
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            other if acts(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Writes a text as tshark 4.6 prints `mysql.query` with `-T fields`: up to the first NUL, controls escaped as in C,
/// U+FFFD for bytes that are no character.
///
/// tshark 4.0 differs: it takes every text for ASCII, so that each other byte is U+FFFD, and does not escape the
/// backslash, so that `\n` typed and a line feed look alike. 4.6 knows UTF-8, `latin1`, `latin2`, `latin5`, `latin7`,
/// `greek`, `hebrew`, `macroman`, GBK and a few more; where it takes another character set for UTF-8 (`koi8r`, `sjis`,
/// `ujis`, `tis620`), here the text is decoded.
pub fn tshark(bytes: &[u8], charset: Charset, out: &mut Vec<u8>) {
    let (plain, rest) = split_plain(bytes);
    out.extend_from_slice(plain);
    if rest.is_empty() {
        return;
    }
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    charset.read(&rest[..end], |part| match part {
        Part::Text(text) => text.chars().for_each(|character| tshark_character(character, out)),
        Part::Bytes(_) => out.extend_from_slice(REPLACEMENT.as_bytes()),
    });
}

fn tshark_character(character: char, out: &mut Vec<u8>) {
    let escaped: &[u8] = match character {
        '\\' => b"\\\\",
        '\n' => b"\\n",
        '\r' => b"\\r",
        '\t' => b"\\t",
        '\u{7}' => b"\\a",
        '\u{8}' => b"\\b",
        '\u{b}' => b"\\v",
        '\u{c}' => b"\\f",
        other if other.is_control() => {
            return u8::try_from(u32::from(other)).into_iter().for_each(|byte| hexadecimal(byte, out));
        }
        other => return out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    };
    out.extend_from_slice(escaped);
}
