//! Where and when bytes were on the wire.

/// One byte on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// How many bytes its side had sent before it.
    pub offset: u64,
    /// When it was seen first, in nanoseconds since 1970.
    pub time_ns: u64,
}

/// From one byte of a side to another, both included.
///
/// Where bytes were compressed or encrypted, these are the first and the last byte of the frames that held them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub first: Mark,
    /// The last byte.
    pub last: Mark,
}

/// Bytes that are missing in what was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Before which of the kept bytes they would be.
    pub at: usize,
    /// How many.
    pub missing: u64,
}

/// Bytes to be read, and where they were on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct Feed<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) place: Place,
    pub(super) time_ns: u64,
}

/// How bytes lie on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// As they are: the first of them is there.
    Plain(u64),
    /// Within the frame from the one to the other, compressed or encrypted.
    Within(u64, u64),
}

impl<'a> Feed<'a> {
    /// Takes the next bytes, of which there must be `length`; less if there are less.
    pub(super) fn split(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        self.bytes = rest;
        if let Place::Plain(offset) = &mut self.place {
            *offset += taken.len() as u64;
        }
        taken
    }

    /// The next byte.
    pub(super) fn first(&self) -> Mark {
        let (Place::Plain(offset) | Place::Within(offset, _)) = self.place;
        Mark { offset, time_ns: self.time_ns }
    }

    /// The byte that was taken last.
    pub(super) fn last(&self) -> Mark {
        let offset = match self.place {
            Place::Plain(offset) => offset.saturating_sub(1),
            Place::Within(_, last) => last,
        };
        Mark { offset, time_ns: self.time_ns }
    }
}
