//! Where the tokens of a statement begin and end.

/// Whether a backslash within a string escapes the next byte.
///
/// The server says so in the status flags of every answer: `SERVER_STATUS_NO_BACKSLASH_ESCAPES`, 0x0200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backslashes {
    /// They escape, as always but in the SQL mode `NO_BACKSLASH_ESCAPES`.
    #[default]
    Escape,
    /// They are bytes like others.
    Plain,
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Blanks, tabs, line ends.
    Space,
    /// `-- …`, `# …`, `/* … */`; the line end is not part of it.
    Comment,
    /// An optimizer hint, `/*+ … */`, whole.
    Hint,
    /// The start of a comment that is code, with its version: `/*!50001`, `/*M!100100`.
    CodeStart,
    /// Its end, `*/`.
    CodeEnd,
    /// A keyword or name without quotes.
    Word,
    /// A name in backticks.
    QuotedName,
    /// A string in either quotes, `X'…'`, `B'…'`, `N'…'` or `$$…$$`, with its prefix.
    ///
    /// Under `ANSI_QUOTES` what is in double quotes is a name; that mode cannot be seen on the wire.
    String,
    /// A number without its sign: decimal, with a fraction or an exponent, `0x…`, `0b…`.
    Number,
    /// `?`
    PlaceHolder,
    /// One byte of punctuation.
    Symbol,
}

/// A token and where it is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last one; always after `start`.
    pub end: usize,
}

/// The tokens of a text. One after the other they are the whole text, byte for byte.
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
    backslashes: Backslashes,
    before: Before,
    is_in_code: bool,
}

/// What stands right before a token, where that decides what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A name: a dot after it separates.
    Name,
    /// That dot, or `@`: what begins with a digit or a `$` after it is a name.
    Separator,
    Other,
}

impl<'a> Tokens<'a> {
    /// The tokens of this text.
    #[must_use]
    pub fn new(text: &'a [u8], backslashes: Backslashes) -> Self {
        Self { text, at: 0, backslashes, before: Before::Other, is_in_code: false }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The kind of the next token and its length, which is not 0.
    #[inline]
    fn measure(&self, first: u8) -> (Kind, usize) {
        let rest = self.rest();
        match CLASS[usize::from(first)] {
            Class::Space => (Kind::Space, run(rest, Class::is_space)),
            Class::Letter => self.word(rest),
            Class::Digit if self.before == Before::Separator => (Kind::Word, run(rest, Class::is_name)),
            Class::Digit => number_or_name(rest),
            Class::Quote => (Kind::String, self.quoted(rest, 0)),
            Class::Backtick => (Kind::QuotedName, quoted(rest, 0, Backslashes::Plain)),
            Class::Question => (Kind::PlaceHolder, 1),
            Class::Other => self.punctuation(rest),
        }
    }

    #[inline]
    fn quoted(&self, rest: &[u8], prefix: usize) -> usize {
        quoted(rest, prefix, self.backslashes)
    }

    #[inline]
    fn word(&self, rest: &[u8]) -> (Kind, usize) {
        if self.before == Before::Separator {
            return (Kind::Word, run(rest, Class::is_name));
        }
        if let [b'x' | b'X' | b'b' | b'B' | b'n' | b'N', b'\'', ..] = rest {
            return (Kind::String, self.quoted(rest, 1));
        }
        if rest.first() == Some(&b'$')
            && let Some(length) = dollar_quoted(rest)
        {
            return (Kind::String, length);
        }
        (Kind::Word, run(rest, Class::is_name))
    }

    fn punctuation(&self, rest: &[u8]) -> (Kind, usize) {
        match rest {
            [b'#', ..] => (Kind::Comment, line(rest)),
            [b'-', b'-'] => (Kind::Comment, 2),
            [b'-', b'-', third, ..] if *third <= b' ' || *third == 0x7f => (Kind::Comment, line(rest)),
            [b'/', b'*', b'!', more @ ..] => (Kind::CodeStart, 3 + version(more)),
            [b'/', b'*', b'M', b'!', more @ ..] => (Kind::CodeStart, 4 + version(more)),
            [b'/', b'*', b'+', ..] => (Kind::Hint, block(rest)),
            [b'/', b'*', ..] => (Kind::Comment, block(rest)),
            [b'*', b'/', ..] if self.is_in_code => (Kind::CodeEnd, 2),
            [b'.', digit, ..] if digit.is_ascii_digit() && self.before != Before::Name => {
                (Kind::Number, decimal(rest))
            }
            _ => (Kind::Symbol, 1),
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        let first = *self.text.get(self.at)?;
        let (kind, length) = self.measure(first);
        let start = self.at;
        self.at += length;
        self.before = match (kind, first) {
            (Kind::Word | Kind::QuotedName, _) => Before::Name,
            (Kind::Symbol, b'@') => Before::Separator,
            (Kind::Symbol, b'.') if self.before == Before::Name => Before::Separator,
            _ => Before::Other,
        };
        match kind {
            Kind::CodeStart => self.is_in_code = true,
            Kind::CodeEnd => self.is_in_code = false,
            _ => {}
        }
        Some(Token { kind, start, end: self.at })
    }
}

/// What a byte may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    Letter,
    Digit,
    Quote,
    Backtick,
    Question,
    Other,
}

impl Class {
    #[inline]
    fn is_space(self) -> bool {
        self == Self::Space
    }

    #[inline]
    fn is_name(self) -> bool {
        matches!(self, Self::Letter | Self::Digit)
    }
}

/// By byte. What is not ASCII is part of a name.
const CLASS: [Class; 256] = {
    let mut table = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 256")]
        let class = class(byte as u8);
        table[byte] = class;
        byte += 1;
    }
    table
};

const fn class(byte: u8) -> Class {
    match byte {
        b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Space,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80..=0xff => Class::Letter,
        b'0'..=b'9' => Class::Digit,
        b'\'' | b'"' => Class::Quote,
        b'`' => Class::Backtick,
        b'?' => Class::Question,
        _ => Class::Other,
    }
}

/// Whether a byte may be part of a name without quotes.
pub(super) fn is_name(byte: u8) -> bool {
    CLASS[usize::from(byte)].is_name()
}

/// How many bytes from the start are of a class.
#[inline]
fn run(bytes: &[u8], of: impl Fn(Class) -> bool) -> usize {
    bytes.iter().position(|byte| !of(CLASS[usize::from(*byte)])).unwrap_or(bytes.len())
}

/// How many bytes a text in quotes has, which begins after a prefix; all of them if it does not end.
#[inline]
fn quoted(bytes: &[u8], prefix: usize, backslashes: Backslashes) -> usize {
    let Some(&quote) = bytes.get(prefix) else { return bytes.len() };
    let mut at = prefix + 1;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\\' && backslashes == Backslashes::Escape {
            at += 2;
        } else if byte != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    bytes.len()
}

/// `$$ … $$`, `$name$ … $name$`: MySQL takes the text of a function in another language so.
fn dollar_quoted(bytes: &[u8]) -> Option<usize> {
    let inner = bytes.strip_prefix(b"$")?;
    let tag = 2 + inner.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')?;
    let tag = bytes.get(..tag).filter(|tag| tag.ends_with(b"$"))?;
    let body = bytes.get(tag.len()..)?;
    let end = body.windows(tag.len()).position(|window| window == tag);
    Some(end.map_or(bytes.len(), |end| tag.len() + end + tag.len()))
}

/// A number, or a name that begins with digits. One that is cut within its exponent is still a number.
fn number_or_name(bytes: &[u8]) -> (Kind, usize) {
    let word = run(bytes, Class::is_name);
    if let [b'0', b'x' | b'X' | b'b' | b'B', digits @ ..] = &bytes[..word]
        && digits.iter().all(u8::is_ascii_hexdigit)
    {
        return (Kind::Number, word);
    }
    let number = decimal(bytes);
    if number >= word { (Kind::Number, number) } else { (Kind::Word, word) }
}

/// How many bytes a decimal number has, with its fraction and exponent.
fn decimal(bytes: &[u8]) -> usize {
    let digits =
        |from: usize| from + run(bytes.get(from..).unwrap_or_default(), |class| class == Class::Digit);
    let mut at = digits(0);
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1);
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end > at + 1 + sign || end == bytes.len() {
            return end;
        }
    }
    at
}

/// How many bytes there are to the end of the line.
fn line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len())
}

/// How many bytes a comment between `/*` and `*/` has; all of them if it does not end.
fn block(bytes: &[u8]) -> usize {
    let body = bytes.get(2..).unwrap_or_default();
    body.windows(2).position(|window| window == b"*/").map_or(bytes.len(), |end| end + 4)
}

/// How many digits the version of code in a comment has: five, or six.
fn version(bytes: &[u8]) -> usize {
    bytes.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count()
}
