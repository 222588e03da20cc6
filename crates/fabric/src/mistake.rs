//! What is wrong with a text that a person wrote: where, what, and what to do about it.
//!
//! A file is read to its end and all its mistakes are told at once; this is the one shape they have.

use std::fmt;
use std::ops::Range;

/// One mistake in a file, with its place in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is, as byte offsets into the text.
    pub span: Range<usize>,
    /// What is wrong, without the place.
    pub what: String,
    /// What to do about it, if we know.
    pub hint: Option<String>,
}

/// All mistakes of one file, in the order of their places. Never empty where it is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    /// The name of the file, as the user knows it.
    pub file: String,
    /// The text in which the mistakes were found.
    pub text: String,
    /// What was found.
    pub list: Vec<Mistake>,
}

impl Mistakes {
    /// The line and column of a byte offset, both from 1; columns count characters.
    #[must_use]
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

impl fmt::Display for Mistakes {
    /// One line each: `file:line:column: what (hint)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, mistake) in self.list.iter().enumerate() {
            if nth > 0 {
                writeln!(f)?;
            }
            let (line, column) = self.place(mistake.span.start);
            write!(f, "{}:{line}:{column}: {}", self.file, mistake.what)?;
            if let Some(hint) = &mistake.hint {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_in_lines_and_characters() {
        let mistakes = Mistakes {
            file: "a.toml".into(),
            text: "x = 1\nü = 2\n".into(),
            list: vec![
                Mistake { span: 9..10, what: "no two".into(), hint: None },
                Mistake { span: 400..401, what: "cut off".into(), hint: Some("write more".into()) },
            ],
        };
        assert_eq!(mistakes.to_string(), "a.toml:2:3: no two\na.toml:3:1: cut off (write more)");
    }
}
