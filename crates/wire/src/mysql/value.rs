//! How long a value of the binary protocol is.

/// One parameter as it lies on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Raw<'a> {
    /// NULL.
    Null,
    /// The column's default.
    Default,
    /// Leave the column as it is.
    Ignore,
    /// It came in pieces of its own.
    Long {
        /// What was kept of them.
        bytes: &'a [u8],
        /// Whether that is not all.
        cut: bool,
    },
    /// A value, with its length in front if its type has one.
    Value {
        /// `enum_field_types`.
        kind: u8,
        /// Whether a number has no sign.
        unsigned: bool,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

/// How long the value at the start of `bytes` is, with the length in front of it if its type has one.
#[must_use]
pub fn length(kind: u8, bytes: &[u8]) -> Option<usize> {
    let fixed = match kind {
        6 => Some(0),
        1 => Some(1),
        2 | 13 => Some(2),
        3 | 4 | 9 => Some(4),
        5 | 8 => Some(8),
        7 | 10 | 11 | 12 => Some(1 + usize::from(*bytes.first()?)),
        0 | 15 | 16 | 245..=255 => None,
        _ => return None,
    };
    let length = if let Some(length) = fixed {
        length
    } else {
        let mut rest = super::bytes::Bytes(bytes);
        let length = usize::try_from(rest.lenenc()?).ok()?;
        (bytes.len() - rest.0.len()).checked_add(length)?
    };
    (length <= bytes.len()).then_some(length)
}
