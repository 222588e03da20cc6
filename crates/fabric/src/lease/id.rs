//! Who a host is, whatever its name and address are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The letters of an id: 128 bits.
const LETTERS: usize = 32;

/// Who a host is: 128 random bits, made at its first start and kept on its disk, as 32 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(String);

impl HostId {
    /// The id of these random bits.
    #[must_use]
    pub fn of(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A number below `most` that is the host's own, and the same every time; 0 if there is no other.
    pub(super) fn below(&self, most: u128) -> u128 {
        u128::from_str_radix(&self.0, 16).unwrap_or(0).checked_rem(most).unwrap_or(0)
    }
}

impl TryFrom<String> for HostId {
    type Error = BadHostId;

    fn try_from(text: String) -> Result<Self, BadHostId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == LETTERS && text.bytes().all(is_digit) { Ok(Self(text)) } else { Err(BadHostId) }
    }
}

impl From<HostId> for String {
    fn from(id: HostId) -> Self {
        id.0
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a host has {LETTERS} of the digits 0-9 a-f")]
pub struct BadHostId;
