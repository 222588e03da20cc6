//! As whom, where and in which character set a connection speaks.

use super::event::Context;

/// Bytes that are kept of a name: of a user, a database, a version, a plugin. The servers allow some 64 characters.
const NAME_MAX: usize = 512;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) user: Option<Vec<u8>>,
    pub(super) database: Option<Vec<u8>>,
    pub(super) version: Option<Vec<u8>>,
    pub(super) collation: Option<u16>,
    /// What a reset goes back to.
    pub(super) login_collation: Option<u16>,
}

impl Identity {
    pub(super) fn context(&self) -> Context<'_> {
        Context {
            user: self.user.as_deref(),
            database: self.database.as_deref(),
            version: self.version.as_deref(),
            collation: self.collation,
        }
    }

    /// Somebody logs in.
    pub(super) fn logs_in(&mut self, user: &[u8], database: &[u8], collation: Option<u16>) {
        self.user = Some(name(user));
        self.database = Some(name(database));
        if collation.is_some() {
            (self.collation, self.login_collation) = (collation, collation);
        }
    }

    pub(super) fn goes_to(&mut self, database: &[u8]) {
        self.database = Some(name(database));
    }

    /// The client's character set has changed to the one of that name.
    pub(super) fn writes_in(&mut self, charset: &[u8]) {
        self.collation = collation_of(charset);
    }

    pub(super) fn memory(&self) -> usize {
        let names = [&self.user, &self.database, &self.version];
        names.into_iter().flatten().map(Vec::capacity).sum()
    }
}

/// A name, up to the bound.
pub(super) fn name(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(NAME_MAX)].to_vec()
}

/// What a query that succeeded has changed, if it is the only statement in its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// `USE name`
    Database(&'a [u8]),
    /// `SET NAMES name` or `SET CHARACTER SET name`
    Charset(&'a [u8]),
}

/// Reads `USE name` and `SET NAMES name`.
pub(super) fn change(text: &[u8]) -> Option<Change<'_>> {
    let text = text.trim_ascii();
    if !matches!(text.first(), Some(b'u' | b'U' | b's' | b'S')) || text.len() > NAME_MAX {
        return None;
    }
    if let Some(rest) = word(text, b"use") {
        return Some(Change::Database(quoted(rest)));
    }
    let rest = word(text, b"set")?;
    let named = word(rest, b"names")
        .or_else(|| word(word(rest, b"character")?, b"set"))
        .or_else(|| word(rest, b"charset"));
    Some(Change::Charset(quoted(named?)))
}

/// What comes behind a word and white space.
fn word<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(word.len())?;
    let is_apart =
        rest.first().is_some_and(|byte| byte.is_ascii_whitespace() || matches!(byte, b'`' | b'\'' | b'"'));
    (start.eq_ignore_ascii_case(word) && is_apart).then(|| rest.trim_ascii_start())
}

/// A name in quotes or not.
fn quoted(text: &[u8]) -> &[u8] {
    match text {
        [quote @ (b'`' | b'\'' | b'"'), rest @ ..] => {
            &rest[..rest.iter().position(|byte| byte == quote).unwrap_or(rest.len())]
        }
        bare => {
            let is_end = |byte: &u8| byte.is_ascii_whitespace() || *byte == b';';
            &bare[..bare.iter().position(is_end).unwrap_or(bare.len())]
        }
    }
}

/// The first collation of a character set; `None` for one that is not known here.
fn collation_of(charset: &[u8]) -> Option<u16> {
    let known = CHARSETS.iter().find(|(name, _)| charset.eq_ignore_ascii_case(name.as_bytes()));
    known.map(|(_, collation)| *collation)
}

/// Character sets that a client may write in, and their default collations, as `information_schema.collations` has them.
const CHARSETS: [(&str, u16); 38] = [
    ("utf8mb4", 45),
    ("utf8mb3", 33),
    ("utf8", 33),
    ("latin1", 8),
    ("binary", 63),
    ("ascii", 11),
    ("armscii8", 32),
    ("big5", 1),
    ("cp1250", 26),
    ("cp1251", 51),
    ("cp1256", 57),
    ("cp1257", 59),
    ("cp850", 4),
    ("cp852", 40),
    ("cp866", 36),
    ("cp932", 95),
    ("dec8", 3),
    ("eucjpms", 97),
    ("euckr", 19),
    ("gb18030", 248),
    ("gb2312", 24),
    ("gbk", 28),
    ("geostd8", 92),
    ("greek", 25),
    ("hebrew", 16),
    ("hp8", 6),
    ("keybcs2", 37),
    ("koi8r", 7),
    ("koi8u", 22),
    ("latin2", 9),
    ("latin5", 30),
    ("latin7", 41),
    ("macce", 38),
    ("macroman", 39),
    ("sjis", 13),
    ("swe7", 10),
    ("tis620", 18),
    ("ujis", 12),
];
