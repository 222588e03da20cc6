//! One line for all statements that differ only in their values, as `pt-query-digest` of Percona Toolkit makes it.
//!
//! Whoever knows that tool's reports finds the same lines and the same identifiers here: values and runs of digits
//! within names become `?`, lists of values `(?+)`, blanks one blank, letters small; comments go. It takes a statement
//! for text without structure, though; where that lets a value through, mixes two statements up or eats names, we
//! differ. `tests/sql.rs` has all of that in a table, with reasons.

use std::fmt;

use md5::{Digest as _, Md5};

use super::token::{Backslashes, Kind, Token, Tokens};
use super::union::collapse_unions;

/// What the tool's own commands begin with; they stay as they are.
const ADMINISTRATOR: &[u8] = b"administrator command: ";

/// What `mysqldump` sends for every table: one digest for all of them.
const DUMP: &[u8] = b"SELECT /*!40001 SQL_NO_CACHE */ * FROM `";

/// The identifier of a fingerprint: its MD5. As text 32 digits in capitals, as `pt-query-digest` 3.2.1 prints after
/// `0x` (`# Query 1: … ID 0xE630D2FEB6D5BB9184AFF9783CD458FF`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestId(pub [u8; 16]);

impl DigestId {
    /// The identifier of what [`fingerprint`] wrote.
    #[must_use]
    pub fn of(fingerprint: &[u8]) -> Self {
        Self(Md5::digest(fingerprint).into())
    }
}

impl fmt::Display for DigestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// Writes the fingerprint of a statement to the end of `out`: at most twice as long as it
/// (and 16 bytes), in time that grows with its length.
pub fn fingerprint(text: &[u8], backslashes: Backslashes, out: &mut Vec<u8>) {
    if text.starts_with(ADMINISTRATOR) {
        out.extend_from_slice(text);
        return;
    }
    if text.starts_with(DUMP) {
        out.extend_from_slice(b"mysqldump");
        return;
    }
    let start = out.len();
    let mut line = Line::new(text, out);
    for token in Tokens::new(text, backslashes) {
        if line.take(token) == Go::Stop {
            break;
        }
    }
    line.finish();
    debug_assert!(out.len() - start <= text.len() * 2 + 16, "a fingerprint is bounded by its text");
}

/// From `in` to `replace`.
const KEYWORD_LENGTHS: std::ops::RangeInclusive<usize> = 2..=7;

/// Whether there is more to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Stop,
}

/// Where a list of values is that may become `(?+)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    No,
    /// After `in`, `value`, `values` or a list that became `(?+)`; all of it begins at that place in `out`.
    Between(usize),
    /// Within parentheses with nothing but values so far.
    Inside(usize),
}

/// How far an `INSERT INTO … VALUES (…), (…)` is, which ends after its first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Insert {
    /// Not one, or not at the very start.
    No,
    /// After `INSERT` or `REPLACE`.
    Verb,
    /// After `INTO`.
    Into,
    /// After `VALUES`, within so many parentheses.
    Row(usize),
    /// After the first row.
    Rest,
    /// After the comma behind it.
    Comma,
}

struct Line<'t, 'o> {
    text: &'t [u8],
    out: &'o mut Vec<u8>,
    /// Where the line begins in `out`.
    start: usize,
    /// How many blanks wait to be written, as one.
    blanks: usize,
    /// Whether a comment stood between the last token and the next.
    is_after_comment: bool,
    /// Where in the text a number or sign ended that is a `?` by now.
    number_end: usize,
    list: List,
    insert: Insert,
    /// Where the last word begins in `out`.
    word: usize,
    is_ordered: bool,
    has_union: bool,
    limit: Option<usize>,
}

impl<'t, 'o> Line<'t, 'o> {
    fn new(text: &'t [u8], out: &'o mut Vec<u8>) -> Self {
        out.reserve(text.len());
        Self {
            text,
            start: out.len(),
            blanks: 0,
            is_after_comment: false,
            // No token ends there.
            number_end: usize::MAX,
            list: List::No,
            insert: Insert::No,
            word: usize::MAX,
            is_ordered: false,
            has_union: false,
            limit: None,
            out,
        }
    }

    #[inline]
    fn take(&mut self, token: Token) -> Go {
        let bytes = self.text.get(token.start..token.end).unwrap_or_default();
        match token.kind {
            Kind::Space => self.blanks += bytes.len(),
            Kind::Comment | Kind::Hint => return self.comment(bytes),
            Kind::Word => return self.word(bytes, token),
            Kind::QuotedName => self.name(bytes, token),
            Kind::String => self.string(bytes),
            Kind::Number => self.number(token),
            Kind::PlaceHolder => self.value(),
            Kind::CodeStart => self.code_start(bytes),
            Kind::CodeEnd => self.other(bytes),
            Kind::Symbol => return self.symbol(bytes, token),
        }
        Go::On
    }

    /// Writes the blank that waits, if any.
    #[inline]
    fn gap(&mut self) {
        if self.blanks > 0 {
            if self.out.len() > self.start {
                self.out.push(b' ');
            }
            self.blanks = 0;
        }
        self.is_after_comment = false;
    }

    /// Checksum tools of the toolkit mark their statements so: `/*db.table:1/9*/`. All of them are one.
    fn comment(&mut self, bytes: &[u8]) -> Go {
        self.is_after_comment = true;
        if !is_toolkit_mark(bytes) {
            return Go::On;
        }
        self.out.truncate(self.start);
        self.out.extend_from_slice(b"percona-toolkit");
        self.has_union = false;
        self.limit = None;
        self.blanks = 0;
        Go::Stop
    }

    fn code_start(&mut self, bytes: &[u8]) {
        let version = bytes.iter().position(u8::is_ascii_digit);
        self.other(&bytes[..version.unwrap_or(bytes.len())]);
        if version.is_some() {
            self.out.push(b'?');
        }
    }

    fn other(&mut self, bytes: &[u8]) {
        self.gap();
        self.list = List::No;
        self.out.extend_from_slice(bytes);
    }

    /// A `?` does not end a list of values.
    #[inline]
    fn value(&mut self) {
        self.gap();
        if matches!(self.list, List::Between(_)) {
            self.list = List::No;
        }
        self.out.push(b'?');
    }

    fn string(&mut self, bytes: &[u8]) {
        self.gap();
        // The toolkit leaves this prefix of a string as it is, and no other.
        if let [b'n' | b'N', b'\'', ..] = bytes {
            self.list = List::No;
            self.out.push(b'n');
        }
        self.value();
    }

    /// Numbers and signs that touch are one value: `-1`, `1+2`.
    #[inline]
    fn number(&mut self, token: Token) {
        if self.number_end != token.start {
            self.value();
        }
        self.number_end = token.end;
    }

    #[inline]
    fn symbol(&mut self, bytes: &[u8], token: Token) -> Go {
        match bytes {
            b"+" | b"-" => self.number(token),
            b"(" => return self.open(),
            b")" => self.close(),
            b"," => {
                self.gap();
                self.out.push(b',');
                self.insert = if self.insert == Insert::Rest { Insert::Comma } else { self.insert };
            }
            _ => {
                self.other(bytes);
                self.end_insert();
            }
        }
        Go::On
    }

    fn open(&mut self) -> Go {
        if self.insert == Insert::Comma {
            self.cut_after_row();
            return Go::Stop;
        }
        self.gap();
        self.list = match self.list {
            List::Between(at) => List::Inside(at),
            List::Inside(_) | List::No => List::No,
        };
        if let Insert::Row(depth) = &mut self.insert {
            *depth += 1;
        }
        self.out.push(b'(');
        Go::On
    }

    fn close(&mut self) {
        self.gap();
        self.insert = match self.insert {
            Insert::Row(1) => Insert::Rest,
            Insert::Row(depth) => Insert::Row(depth.saturating_sub(1)),
            other => other,
        };
        if let List::Inside(at) = self.list {
            self.out.truncate(at);
            self.out.extend_from_slice(b"(?+)");
            self.list = List::Between(at);
        } else {
            self.out.push(b')');
            self.list = List::No;
        }
    }

    /// Drops the comma and blanks behind the first row.
    fn cut_after_row(&mut self) {
        self.blanks = 0;
        let end = self.out.iter().rposition(|byte| *byte == b')').map_or(self.start, |at| at + 1);
        self.out.truncate(end);
    }

    /// After the first row of an insert only a comma matters.
    fn end_insert(&mut self) {
        if matches!(self.insert, Insert::Rest | Insert::Comma) {
            self.insert = Insert::No;
        }
    }

    fn name(&mut self, bytes: &[u8], token: Token) {
        self.gap_before_name();
        self.list = List::No;
        self.end_insert();
        self.word = self.out.len();
        self.digits_become_marks(bytes, token);
    }

    /// The comment between two names may have been all that kept them apart.
    #[inline]
    fn gap_before_name(&mut self) {
        if self.is_after_comment && self.out.last().is_some_and(|last| is_name(*last)) {
            self.blanks += 1;
        }
        self.gap();
    }

    #[inline]
    fn word(&mut self, bytes: &[u8], token: Token) -> Go {
        let is_first = self.out.len() == self.start;
        let blanks = self.blanks;
        self.gap_before_name();
        let at = self.out.len();
        // In one pass, as most of a statement is words.
        let mut has_digits = false;
        self.out.extend(bytes.iter().map(|byte| {
            has_digits |= byte.is_ascii_digit();
            byte.to_ascii_lowercase()
        }));
        if has_digits {
            self.out.truncate(at);
            self.name(bytes, token);
            return Go::On;
        }
        let previous = std::mem::replace(&mut self.word, at);
        self.end_insert();
        if KEYWORD_LENGTHS.contains(&bytes.len()) {
            return self.keyword(Keyword { at, previous, blanks, is_first, token });
        }
        self.list = List::No;
        self.insert = if self.insert == Insert::Verb { Insert::No } else { self.insert };
        Go::On
    }

    fn keyword(&mut self, word: Keyword) -> Go {
        let list = std::mem::replace(&mut self.list, List::No);
        let (before, written) = self.out.split_at(word.at);
        let Keyword { token, .. } = word;
        match written {
            b"in" | b"value" => self.list = List::Between(self.out.len()),
            b"values" => {
                self.list = List::Between(self.out.len());
                self.insert = if self.insert == Insert::Into { Insert::Row(0) } else { self.insert };
            }
            b"null" | b"true" | b"false" => {
                self.out.truncate(word.at);
                self.list = list;
                self.value();
            }
            b"asc" if self.is_ordered && word.blanks > 0 => self.out.truncate(word.at.saturating_sub(1)),
            b"by" if before.get(word.previous..) == Some(b"order ") => {
                self.is_ordered |= self.text.get(token.end).is_some_and(u8::is_ascii_whitespace);
            }
            b"union" => self.has_union = true,
            b"limit" => self.limit = self.limit.or(Some(word.at)),
            b"insert" | b"replace" if token.start == 0 => self.insert = Insert::Verb,
            b"into" => self.insert = if self.insert == Insert::Verb { Insert::Into } else { self.insert },
            b"ignore" => {}
            b"call" if word.is_first => return self.call(token.end),
            b"use" if word.is_first => return self.use_database(token.end),
            _ => self.insert = if self.insert == Insert::Verb { Insert::No } else { self.insert },
        }
        Go::On
    }

    /// `CALL name(…)` is its name, whatever the arguments.
    fn call(&mut self, end: usize) -> Go {
        let rest = self.text.get(end..).unwrap_or_default().trim_ascii_start();
        let stop =
            rest.iter().position(|byte| matches!(byte, b'(' | b'\'' | b'"') || byte.is_ascii_whitespace());
        let Some((name, b'(')) = stop.and_then(|at| Some((rest.get(..at)?, *rest.get(at)?))) else {
            return Go::On;
        };
        if name.is_empty() {
            return Go::On;
        }
        self.out.push(b' ');
        self.out.extend(name.iter().map(u8::to_ascii_lowercase));
        Go::Stop
    }

    fn use_database(&mut self, end: usize) -> Go {
        let name = self.text.get(end..).unwrap_or_default().trim_ascii();
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Go::On;
        }
        self.out.extend_from_slice(b" ?");
        Go::Stop
    }

    /// Writes a name small. Of a run of hexadecimal digits that begins with a decimal one a `?` stays.
    fn digits_become_marks(&mut self, bytes: &[u8], token: Token) {
        let (mut run, mut previous) = (Run::No, 0);
        for byte in bytes {
            run = match (run, byte) {
                (_, b'0'..=b'9') => {
                    // The toolkit takes these for the prefix of x'…' and b'…': `db1` is `d?`.
                    if run == Run::No && matches!(previous, b'x' | b'b') {
                        self.out.pop();
                    }
                    Run::Digits.after(run, self.out)
                }
                (_, b'+' | b'-') => Run::Sign.after(run, self.out),
                (Run::Digits, b'a'..=b'f' | b'x') => Run::Digits,
                (_, other) => {
                    self.out.push(other.to_ascii_lowercase());
                    Run::No
                }
            };
            previous = *byte;
        }
        if run != Run::No {
            self.number_end = token.end;
        }
    }

    fn finish(self) {
        // A line end at the very end goes; blanks stay one, as in the toolkit.
        let is_line_end = self.blanks == 1 && self.text.last() == Some(&b'\n');
        if self.blanks > 0 && !is_line_end && self.out.len() > self.start {
            self.out.push(b' ');
        }
        if self.has_union {
            collapse_unions(self.out, self.start);
        }
        if let Some(limit) = self.limit {
            shorten_limit(self.out, if self.has_union { self.start } else { limit });
        }
    }
}

/// A word that may be one that matters, as it was written.
#[derive(Clone, Copy)]
struct Keyword {
    at: usize,
    previous: usize,
    blanks: usize,
    is_first: bool,
    token: Token,
}

/// What became a `?` within a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    No,
    /// A sign: letters after it are letters.
    Sign,
    /// Digits: letters after it may be hexadecimal ones.
    Digits,
}

impl Run {
    /// This kind of run after another; a new one is a `?`.
    fn after(self, before: Self, out: &mut Vec<u8>) -> Self {
        if before == Self::No {
            out.push(b'?');
        }
        self
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'?' | 0x80..)
}

fn is_toolkit_mark(comment: &[u8]) -> bool {
    let Some(inner) = comment.strip_prefix(b"/*").and_then(|inner| inner.strip_suffix(b"*/")) else {
        return false;
    };
    let [name @ .., b':', chunk, b'/', chunks] = inner else { return false };
    let is_word = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
    };
    let mut parts = name.split(|byte| *byte == b'.');
    let (database, table, more) = (parts.next(), parts.next(), parts.next());
    chunk.is_ascii_digit()
        && chunks.is_ascii_digit()
        && database.is_some_and(is_word)
        && table.is_some_and(is_word)
        && more.is_none()
}

/// The first `limit ?, ?` or `limit ? offset ?` becomes `limit ?`.
fn shorten_limit(out: &mut Vec<u8>, from: usize) {
    const LIMIT: &[u8] = b"limit ?";
    let Some(line) = out.get(from..) else { return };
    let is_start = |at: &usize| *at == 0 || !line.get(at - 1).is_some_and(|before| is_name(*before));
    let mut places = line.windows(LIMIT.len()).enumerate().filter(|(_, window)| *window == LIMIT);
    let Some(at) = places.by_ref().map(|(at, _)| at).find(is_start) else { return };
    let at = from + at + LIMIT.len();
    let rest = out.get(at..).unwrap_or_default();
    let tail = [&b", ?"[..], b",?", b" offset ?"].into_iter().find(|tail| rest.starts_with(tail));
    if let Some(tail) = tail {
        out.drain(at..at + tail.len());
    }
}
