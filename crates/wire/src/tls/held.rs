//! What came before its keys did, in its order.

use crate::stream::{Gap, Piece, Side};

/// Bytes and gaps of both sides that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    parts: Vec<Part>,
}

/// What was fed.
#[derive(Clone, Copy)]
pub(super) enum Fed<'a> {
    Piece(Piece<'a>),
    Gap(Gap),
}

#[derive(Debug)]
struct Part {
    side: Side,
    what: What,
}

#[derive(Debug)]
enum What {
    Piece { length: usize, offset: u64, time_ns: u64, starts_segment: bool },
    Gap(Gap),
}

impl Held {
    /// Keeps one more, if everything stays within `room` bytes of memory; `false` if it does not.
    pub(super) fn keep(&mut self, side: Side, fed: &Fed<'_>, room: usize) -> bool {
        let bytes = match fed {
            Fed::Piece(piece) => piece.bytes,
            Fed::Gap(_) => &[],
        };
        let needed = (self.parts.len() + 1) * size_of::<Part>() + self.bytes.len() + bytes.len();
        if needed > room {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        let what = match *fed {
            Fed::Piece(Piece { bytes, offset, time_ns, starts_segment }) => {
                What::Piece { length: bytes.len(), offset, time_ns, starts_segment }
            }
            Fed::Gap(gap) => What::Gap(gap),
        };
        self.parts.push(Part { side, what });
        true
    }

    /// Shows all of it as it came.
    pub(super) fn each(&self, mut each: impl FnMut(Side, Fed<'_>)) {
        let mut rest = &self.bytes[..];
        for Part { side, what } in &self.parts {
            let fed = match *what {
                What::Piece { length, offset, time_ns, starts_segment } => {
                    let (bytes, later) = rest.split_at(length);
                    rest = later;
                    Fed::Piece(Piece { bytes, offset, time_ns, starts_segment })
                }
                What::Gap(gap) => Fed::Gap(gap),
            };
            each(*side, fed);
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.parts.capacity() * size_of::<Part>()
    }
}
