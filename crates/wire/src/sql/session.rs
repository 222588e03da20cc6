//! What a statement does to its session, as far as later statements are read by it.

use std::borrow::Cow;

use super::token::{Backslashes, Kind, Token, Tokens};

/// Words of a statement that are looked at to see whether its semicolons are its own: enough for
/// `CREATE OR REPLACE DEFINER=user@host AGGREGATE FUNCTION`.
const HEAD_WORDS_MAX: usize = 8;

/// What has a body with semicolons.
const ROUTINES: [&str; 5] = ["procedure", "function", "trigger", "event", "package"];

/// The first word of a statement as it was written: `select`, `CALL`; none if there is no word.
#[must_use]
pub fn verb(text: &[u8], backslashes: Backslashes) -> Option<&[u8]> {
    let token = Words::new(text, backslashes).next().filter(|token| token.kind == Kind::Word)?;
    text.get(token.start..token.end)
}

/// The database that a `USE name` chooses, without its quotes.
///
/// Of several statements give it each of [`statements`].
#[must_use]
pub fn used_database(text: &[u8], backslashes: Backslashes) -> Option<Cow<'_, [u8]>> {
    let mut words = Words::new(text, backslashes);
    is(text, words.next()?, b"use").then_some(())?;
    let name = words.next()?;
    let bytes = text.get(name.start..name.end)?;
    match name.kind {
        Kind::QuotedName => Some(unquoted(bytes)),
        // Without quotes everything to the blank or semicolon: the server takes `USE a-b` for an error.
        Kind::Word | Kind::Number => Some(Cow::Borrowed(bytes)),
        _ => None,
    }
}

/// The character set that `SET NAMES name` or `SET CHARACTER SET name` chooses for what the client sends, without
/// quotes; `DEFAULT` is given as it is.
#[must_use]
pub fn client_charset(text: &[u8], backslashes: Backslashes) -> Option<Cow<'_, [u8]>> {
    let mut words = Words::new(text, backslashes);
    is(text, words.next()?, b"set").then_some(())?;
    let second = words.next()?;
    if is(text, second, b"character") {
        is(text, words.next()?, b"set").then_some(())?;
    } else if !is(text, second, b"names") && !is(text, second, b"charset") {
        return None;
    }
    let name = words.next()?;
    let bytes = text.get(name.start..name.end)?;
    match name.kind {
        Kind::String => {
            let inner = bytes.get(1..)?;
            Some(Cow::Borrowed(inner.strip_suffix(&bytes[..1]).unwrap_or(inner)))
        }
        Kind::Word => Some(Cow::Borrowed(bytes)),
        _ => None,
    }
}

/// The statements of a text, one after the other, without the semicolons between them and blanks around them.
///
/// Semicolons within strings, comments and the body of a routine are not between statements. The body of a routine is
/// known by its `BEGIN` and `END`; nothing is parsed. One that is empty, or a comment alone, is left out.
#[must_use]
pub fn statements(text: &[u8], backslashes: Backslashes) -> Statements<'_> {
    Statements { text, tokens: Tokens::new(text, backslashes) }
}

/// See [`statements`].
#[derive(Debug, Clone)]
pub struct Statements<'a> {
    text: &'a [u8],
    tokens: Tokens<'a>,
}

impl<'a> Iterator for Statements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut start = None;
        let mut body = Body::default();
        // A copy leaves the token in `self` to be taken.
        for token in self.tokens.by_ref() {
            let bytes = self.text.get(token.start..token.end)?;
            if bytes == b";" && token.kind == Kind::Symbol && body.depth == 0 {
                if body.has_words
                    && let Some(start) = start
                {
                    return self.text.get(start..token.start).map(<[u8]>::trim_ascii);
                }
                start = None;
                continue;
            }
            if token.kind != Kind::Space {
                start = start.or(Some(token.start));
                body.take(token.kind, bytes);
            }
        }
        let start = start.filter(|_| body.has_words)?;
        self.text.get(start..).map(<[u8]>::trim_ascii)
    }
}

/// How deep in the body of a routine a place is.
#[derive(Default)]
struct Body {
    has_words: bool,
    head: Head,
    /// Whether the last word was `END`, which the next one may say more of.
    is_after_end: bool,
    depth: usize,
}

/// What the first words of a statement say.
#[derive(Default)]
enum Head {
    /// There was none yet.
    #[default]
    Start,
    /// `BEGIN`: of a transaction, or of a block.
    Begin,
    /// `CREATE`, and so many more words may say of what.
    Create(usize),
    /// It has a body.
    Routine,
    /// It has none.
    Plain,
}

impl Body {
    fn take(&mut self, kind: Kind, bytes: &[u8]) {
        if kind == Kind::Comment {
            return;
        }
        self.has_words = true;
        if kind != Kind::Word {
            self.is_after_end = false;
            return;
        }
        match self.head {
            Head::Routine => self.nest(bytes),
            Head::Plain => {}
            _ => self.read_head(bytes),
        }
    }

    fn read_head(&mut self, word: &[u8]) {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        self.head = match self.head {
            Head::Start if is("begin") => Head::Begin,
            Head::Start if is("create") => Head::Create(HEAD_WORDS_MAX),
            // MariaDB takes a block by itself: BEGIN NOT ATOMIC … END.
            Head::Begin if is("not") => {
                self.depth = 1;
                Head::Routine
            }
            Head::Create(_) if ROUTINES.iter().any(|routine| is(routine)) => Head::Routine,
            Head::Create(left @ 1..) => Head::Create(left - 1),
            _ => Head::Plain,
        };
    }

    /// `END IF`, `END LOOP` and so on end what was not counted. `END CASE` was counted at `END`.
    fn nest(&mut self, word: &[u8]) {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        let ends_uncounted = is("if") || is("loop") || is("while") || is("repeat");
        let begins_counted = is("begin") || (is("case") && !self.is_after_end);
        if begins_counted || (self.is_after_end && ends_uncounted) {
            self.depth = self.depth.saturating_add(1);
        } else if is("end") {
            self.depth = self.depth.saturating_sub(1);
        }
        self.is_after_end = is("end");
    }
}

/// The tokens that are neither blanks nor comments, nor the frame of code in comments.
struct Words<'a> {
    tokens: Tokens<'a>,
}

impl<'a> Words<'a> {
    fn new(text: &'a [u8], backslashes: Backslashes) -> Self {
        Self { tokens: Tokens::new(text, backslashes) }
    }
}

impl Iterator for Words<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let is_word = |token: &Token| {
            !matches!(token.kind, Kind::Space | Kind::Comment | Kind::Hint | Kind::CodeStart | Kind::CodeEnd)
        };
        self.tokens.by_ref().find(is_word)
    }
}

fn is(text: &[u8], token: Token, word: &[u8]) -> bool {
    text.get(token.start..token.end).is_some_and(|bytes| bytes.eq_ignore_ascii_case(word))
}

/// A name without its backticks, of which two within are one.
fn unquoted(bytes: &[u8]) -> Cow<'_, [u8]> {
    let inner = bytes.strip_prefix(b"`").unwrap_or(bytes);
    let inner = inner.strip_suffix(b"`").unwrap_or(inner);
    if !inner.contains(&b'`') {
        return Cow::Borrowed(inner);
    }
    let mut name = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    // Ends: every step takes a byte.
    while let Some(&byte) = bytes.next() {
        name.push(byte);
        if byte == b'`' {
            bytes.next();
        }
    }
    Cow::Owned(name)
}
