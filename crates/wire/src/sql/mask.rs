//! A statement without its values, for whatever leaves the host.

use super::token::{Backslashes, Kind, Tokens, is_name};

/// Writes the statement to the end of `out`, with `?` for every literal and everything else letter for letter.
///
/// Literals are strings, numbers, `TRUE`, `FALSE` and `NULL` (the last three not after `IS` or `NOT`, nor as
/// part of a name). A string that is cut is one to its end. The words of a comment are for people and may be anything,
/// so a comment becomes `/*?*/`, `-- ?` or `#?`; code in comments and hints are code. Names stay, as does the version
/// of code in a comment.
pub fn mask(text: &[u8], backslashes: Backslashes, out: &mut Vec<u8>) {
    out.reserve(text.len());
    let mut previous: &[u8] = b"";
    for token in Tokens::new(text, backslashes) {
        let bytes = text.get(token.start..token.end).unwrap_or_default();
        match token.kind {
            Kind::String | Kind::Number => out.push(b'?'),
            Kind::Word if is_value(bytes, previous) && !is_qualifier(text, token.end) => out.push(b'?'),
            Kind::Comment => comment(bytes, out),
            Kind::Hint => hint(bytes, backslashes, out),
            _ => out.extend_from_slice(bytes),
        }
        if !matches!(token.kind, Kind::Space | Kind::Comment) {
            previous = bytes;
        }
    }
}

fn is_value(word: &[u8], previous: &[u8]) -> bool {
    let is_one = [&b"true"[..], b"false", b"null"].iter().any(|value| word.eq_ignore_ascii_case(value));
    let is_test = [&b"is"[..], b"not", b"."].iter().any(|test| previous.eq_ignore_ascii_case(test));
    is_one && !is_test
}

/// A dot and a name right after a word make it a name itself, even a keyword (MySQL's `sql/sql_lex.cc`).
fn is_qualifier(text: &[u8], end: usize) -> bool {
    matches!(text.get(end..), Some([b'.', next, ..]) if is_name(*next))
}

fn comment(bytes: &[u8], out: &mut Vec<u8>) {
    let (start, end): (&[u8], &[u8]) = match bytes {
        [b'/', ..] if bytes.len() >= 4 && bytes.ends_with(b"*/") => (b"/*", b"*/"),
        [b'/', ..] => (b"/*", b""),
        [b'#', ..] => (b"#", b""),
        _ => (b"-- ", b""),
    };
    let has_words = bytes.len() > start.len() + end.len();
    out.extend_from_slice(if has_words { start } else { bytes });
    if has_words {
        out.push(b'?');
        out.extend_from_slice(end);
    }
}

/// A hint is code; it holds no other hint.
fn hint(bytes: &[u8], backslashes: Backslashes, out: &mut Vec<u8>) {
    let (start, inner) = bytes.split_at(bytes.len().min(3));
    let (inner, end) = inner.strip_suffix(b"*/").map_or((inner, &b""[..]), |inner| (inner, b"*/"));
    out.extend_from_slice(start);
    for token in Tokens::new(inner, backslashes) {
        match token.kind {
            Kind::String | Kind::Number | Kind::Comment | Kind::Hint => out.push(b'?'),
            _ => out.extend_from_slice(inner.get(token.start..token.end).unwrap_or_default()),
        }
    }
    out.extend_from_slice(end);
}
