//! A prepared statement with its parameters put in.

use super::{Raw, Writing, Written, literal};
use crate::sql::{Kind, Tokens};

/// How well the parameters fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Place holders that stayed `?`, as their value is missing or not known.
    pub left: usize,
    /// Values that were not written whole, with `/* cut */` behind them.
    pub cut: usize,
    /// Values beyond the last place holder: the text is not whole, or not the right one.
    pub beyond: usize,
}

impl Filled {
    /// Whether the statement is what the server ran.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self == Self { left: 0, cut: 0, beyond: 0 }
    }
}

/// Writes a prepared statement to the end of `out` with a literal for each place holder.
///
/// `None` among the parameters is one that could not be read: its place holder stays. So do all behind the last
/// parameter. A `?` within strings, comments and names is none. Text and literals are in the client's character set.
pub fn substitute<'a>(
    text: &[u8],
    parameters: impl IntoIterator<Item = Option<Raw<'a>>>,
    writing: Writing,
    out: &mut Vec<u8>,
) -> Filled {
    let mut parameters = parameters.into_iter();
    let mut filled = Filled { left: 0, cut: 0, beyond: 0 };
    let mut from = 0;
    let readable = writing.charset.without_backslashes(text);
    let holders = Tokens::new(&readable, writing.backslashes).filter(|token| token.kind == Kind::PlaceHolder);
    for holder in holders {
        out.extend_from_slice(text.get(from..holder.start).unwrap_or_default());
        from = holder.end;
        let written = parameters.next().flatten().map_or(Written::Nothing, |raw| literal(raw, writing, out));
        match written {
            Written::Whole => {}
            Written::Cut => filled.cut += 1,
            Written::Nothing => {
                out.push(b'?');
                filled.left += 1;
            }
        }
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    filled.beyond = parameters.count();
    filled
}
