//! Reads a TOML text that a person wrote, and collects everything that is wrong with it.
//!
//! Knows the language, not the subject: what keys mean is for the inventory and the configuration. After a
//! syntax error it goes on, so that one round of corrections is enough.

use std::cell::OnceCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::mistake::{Mistake, Mistakes};

/// How many mistakes are told one by one: more is a wrong file, not a list of slips.
pub(crate) const MISTAKES_MAX: usize = 100;

/// How much of a foreign word is repeated in a sentence: a line of a terminal.
const QUOTE_CHARS_MAX: usize = 60;

/// How alike two words must be for "did you mean" (0 to 1, Jaro-Winkler): `dokcer41` and `docker41` are 0.96.
const ALIKE_MIN: f64 = 0.8;

/// A text being read, with the mistakes found so far.
pub(crate) struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    syntax_lines: Vec<usize>,
    mistakes: Vec<Mistake>,
    left_out: usize,
    line_starts: OnceCell<Vec<usize>>,
}

impl<'a> Reading<'a> {
    /// Starts to read: the tables that could be made out, and a reading that holds the syntax errors.
    ///
    /// # Errors
    /// When nothing can be made of the text at all: too long, empty, or with NUL bytes.
    pub(crate) fn open(
        file: &'a str,
        text: &'a str,
        bytes_max: usize,
    ) -> Result<(Self, DeTable<'a>), Mistakes> {
        refuse_at_sight(file, text, bytes_max)?;
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reading = Self {
            file,
            text,
            syntax_lines: Vec::new(),
            mistakes: Vec::new(),
            left_out: 0,
            line_starts: OnceCell::new(),
        };
        for error in errors {
            reading.syntax_error(error.span().unwrap_or(0..0), error.message());
        }
        Ok((reading, table.into_inner()))
    }

    /// Whether parts of the text could not be made out: then what seems missing may be there.
    pub(crate) fn is_broken(&self) -> bool {
        !self.syntax_lines.is_empty()
    }

    /// Whether nothing was wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// The line of a byte offset, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        let starts = self.line_starts.get_or_init(|| {
            let after_newline =
                self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after_newline).collect()
        });
        starts.partition_point(|start| *start <= at)
    }

    /// Notes a mistake, unless its line is one that could not be made out anyway.
    pub(crate) fn mistake(&mut self, span: Range<usize>, what: impl Into<String>, hint: Option<String>) {
        if self.is_broken() && self.syntax_lines.contains(&self.line(span.start)) {
            return;
        }
        self.note(Mistake { span, what: what.into(), hint });
    }

    /// One syntax error per line: the ones behind it on the same line follow from it.
    fn syntax_error(&mut self, span: Range<usize>, message: &str) {
        let line = self.line(span.start);
        if self.syntax_lines.contains(&line) || self.syntax_lines.len() > MISTAKES_MAX {
            return;
        }
        self.syntax_lines.push(line);
        let (what, hint) = self.syntax_words(&span, message);
        self.note(Mistake { span, what: what.into(), hint: hint.map(str::to_owned) });
    }

    /// A syntax error in words for people who write addresses, not parsers.
    fn syntax_words<'m>(&self, span: &Range<usize>, message: &'m str) -> (&'m str, Option<&'static str>) {
        if span.start >= self.text.trim_end().len() {
            return (message, Some("the file ends in the middle: half written?"));
        }
        // What an address or a word without quotes looks like to a TOML reader.
        let unquoted =
            ["must be quoted", "invalid float", "invalid integer", "invalid datetime", "invalid boolean"];
        if unquoted.iter().any(|start| message.contains(start)) {
            return (
                "this is neither a number nor a text in quotes",
                Some("write texts and addresses in quotes"),
            );
        }
        let hint = message
            .starts_with("invalid basic string")
            .then_some("a text ends with a quote, on the same line");
        (message, hint)
    }

    fn note(&mut self, mistake: Mistake) {
        if self.mistakes.len() < MISTAKES_MAX { self.mistakes.push(mistake) } else { self.left_out += 1 }
    }

    /// Complains about every key of `table` that is not among `known`.
    pub(crate) fn unknown_keys(&mut self, table: &DeTable<'_>, place: &str, known: &[&str]) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            if self.mistakes.len() >= MISTAKES_MAX {
                self.left_out += 1;
                continue; // A suggestion costs more than it is worth here.
            }
            let hint = match nearest(key.get_ref(), known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.mistake(key.span(), format!("unknown key {} {place}", quoted(key.get_ref())), Some(hint));
        }
    }

    /// The text in `value`, which is called `what`.
    pub(crate) fn string<'v>(&mut self, what: &str, value: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        self.expect(what, value, text, "a text in quotes")
    }

    /// The list in `value`, which stands at `key`.
    pub(crate) fn list<'v, 'i>(
        &mut self,
        key: &str,
        value: &'v Spanned<DeValue<'i>>,
    ) -> &'v [Spanned<DeValue<'i>>] {
        let list = value.get_ref().as_array().map(|array| &array[..]);
        self.expect(&format!("`{key}`"), value, list, "a list in [ ]").unwrap_or_default()
    }

    /// The table in `value`, which stands at `key`.
    pub(crate) fn table<'v, 'i>(
        &mut self,
        key: &str,
        value: &'v Spanned<DeValue<'i>>,
    ) -> Option<&'v DeTable<'i>> {
        self.expect(&format!("`{key}`"), value, value.get_ref().as_table(), "a table")
    }

    /// The number in `value`, which stands at `key` and must be in `range`.
    pub(crate) fn number(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let integer =
            self.expect(&format!("`{key}`"), value, value.get_ref().as_integer(), "a whole number")?;
        let number =
            u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| range.contains(n));
        if number.is_none() {
            let what = format!("`{key}` is {}: it can be {} to {}", integer, range.start(), range.end());
            self.mistake(value.span(), what, None);
        }
        number
    }

    fn expect<T>(
        &mut self,
        what: &str,
        value: &Spanned<DeValue<'_>>,
        got: Option<T>,
        wanted: &str,
    ) -> Option<T> {
        if got.is_none() {
            let what = format!("{what} must be {wanted}, not {}", kind(value.get_ref()));
            self.mistake(value.span(), what, None);
        }
        got
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All mistakes, in the order of their places.
    pub(crate) fn close(mut self) -> Result<(), Mistakes> {
        if self.is_clean() {
            return Ok(());
        }
        self.mistakes.sort_by_key(|mistake| mistake.span.start);
        if let (true, Some(last)) = (self.left_out > 0, self.mistakes.last()) {
            let what = format!("and {} mistakes more", self.left_out);
            self.mistakes.push(Mistake { span: last.span.clone(), what, hint: None });
        }
        Err(Mistakes { file: self.file.into(), text: self.text.into(), list: self.mistakes })
    }
}

/// The text of a file as it came from the disk.
///
/// # Errors
/// A single mistake at the first byte that is not UTF-8, or at the start when there are more than `bytes_max`.
pub(crate) fn decode<'a>(file: &str, bytes: &'a [u8], bytes_max: usize) -> Result<&'a str, Mistakes> {
    if bytes.len() > bytes_max {
        return Err(too_long(file, bytes.len(), bytes_max));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let is_utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let what = if is_utf16 { "the file is UTF-16, not UTF-8" } else { "a byte that is not UTF-8" };
        let hint = "save the file as UTF-8".to_owned();
        single(file, &String::from_utf8_lossy(bytes), at..at + 1, what, Some(hint))
    })
}

fn refuse_at_sight(file: &str, text: &str, bytes_max: usize) -> Result<(), Mistakes> {
    if text.len() > bytes_max {
        return Err(too_long(file, text.len(), bytes_max));
    }
    if let Some(at) = text.find('\0') {
        let hint = "the file is damaged, as after a power failure: copy it from another host or a backup";
        return Err(single(file, text, at..at + 1, "a NUL byte", Some(hint.into())));
    }
    Ok(())
}

fn too_long(file: &str, bytes: usize, bytes_max: usize) -> Mistakes {
    // Without its text: nobody wants to see a line of it.
    single(file, "", 0..0, &format!("the file has {bytes} bytes, more than {bytes_max}"), None)
}

/// A file with one mistake.
pub(crate) fn single(
    file: &str,
    text: &str,
    span: Range<usize>,
    what: &str,
    hint: Option<String>,
) -> Mistakes {
    Mistakes { file: file.into(), text: text.into(), list: vec![Mistake { span, what: what.into(), hint }] }
}

/// A foreign word in backticks, cut to a line and without control characters that a terminal would obey.
pub(crate) fn quoted(word: &str) -> String {
    let mut shown: String = word.chars().take(QUOTE_CHARS_MAX).flat_map(tamed).collect();
    if word.chars().nth(QUOTE_CHARS_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

fn tamed(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = (!c.is_control()).then_some(c);
    plain.into_iter().chain(escaped.into_iter().flatten())
}

/// The one of `words` that was probably meant by `word`; of two that are as near, the first.
pub(crate) fn nearest<'w>(word: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.chars().take(QUOTE_CHARS_MAX).collect::<String>().to_lowercase();
    let scored = words.into_iter().map(|other| (strsim::jaro_winkler(&word, &other.to_lowercase()), other));
    let alike = scored.filter(|(score, _)| *score >= ALIKE_MIN);
    alike.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, other)| other)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
