//! What of a frame follows a layer, and numbers in it.

use super::Quoted;

/// What follows a layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) wire_end: usize,
    pub(super) quoted: Quoted,
    pub(super) fragment: bool,
}

impl Rest {
    pub(super) fn after(self, bytes: usize) -> Self {
        // Beyond the end there is nothing, but what was on the link goes on.
        Self { start: self.start + bytes, ..self }
    }

    pub(super) fn quoted_by(self, by: Quoted) -> Self {
        Self { quoted: if self.quoted == Quoted::No { by } else { self.quoted }, ..self }
    }

    pub(super) fn has(self, bytes: usize) -> bool {
        self.start + bytes <= self.end
    }

    /// Whether there was anything on the link.
    pub(super) fn is_there(self) -> bool {
        self.start < self.wire_end
    }
}

/// Not longer than its own header says.
pub(super) fn bound(rest: Rest, length: usize) -> Rest {
    let end = rest.start + length;
    Rest { end: rest.end.min(end), wire_end: rest.wire_end.min(end), ..rest }
}

pub(super) fn u8_in(bytes: &[u8], rest: Rest, at: usize) -> Option<u8> {
    rest.has(at + 1).then(|| bytes.get(rest.start + at).copied())?
}

pub(super) fn u16_in(bytes: &[u8], rest: Rest, at: usize) -> Option<u16> {
    let two = bytes.get(rest.start + at..)?.first_chunk::<2>()?;
    rest.has(at + 2).then_some(u16::from_be_bytes(*two))
}

pub(super) fn u32_in(bytes: &[u8], rest: Rest, at: usize) -> Option<u32> {
    let four = bytes.get(rest.start + at..)?.first_chunk::<4>()?;
    rest.has(at + 4).then_some(u32::from_be_bytes(*four))
}
