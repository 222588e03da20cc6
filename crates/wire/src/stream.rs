//! The bytes of TCP connections in their order, put together from segments as they were seen.
//!
//! ```text
//! packets of many points ──> fragments put together ──> Streams: one table of connections
//!                                                          └─> Connection: both halves, what waits, holes
//!                                                                 └─> Readers: sighting | piece | gap | end
//! ```
//!
//! Every byte is handed out once, at its offset, whatever the segments were: split anew, repeated, out of order, seen at
//! several points. Across the two directions the order is that of cause: what somebody sent after having acknowledged
//! some bytes comes after these bytes, also where the file has it the other way round.
//!
//! Nothing waits for ever. Bytes count as missing when the other side has acknowledged them and
//! [`PATIENCE_PACKETS`] more packets of the connection or [`PATIENCE_NS`] have passed, when too much waits for them, or
//! when the capture ends. What was missing is a [`Gap`]; what comes after all is too late and only counted.
//!
//! A connection is its addresses and ports. One that is seen before and behind a NAT is two, and whoever knows of the
//! NAT joins them.

mod ages;
mod connection;
mod counts;
mod fragments;
mod half;
mod readers;
mod segment;
mod streams;
mod table;
mod waiting;

pub use connection::{PATIENCE_NS, PATIENCE_PACKETS, STRAYS_MAX, WINDOW_MAX};
pub use counts::{Counts, Limits};
pub use fragments::{FRAGMENT_BYTES_MAX, FRAGMENT_PATIENCE_NS, FRAGMENTS_MAX, PARTS_MAX};
pub use half::POINTS_MAX;
pub use readers::{End, Ends, Interest, Readers, Seen, Sighting};
pub use streams::Streams;

/// One end of a connection. Which of them is a server is for the reader of the bytes to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Who opened the connection; where that was not seen, whose segment was seen first.
    First,
    /// The other.
    Second,
}

impl Side {
    /// The end across.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Bytes of one side, in their order and each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The bytes; never none.
    pub bytes: &'a [u8],
    /// How many bytes the side had sent before them: 0 is the first one after its SYN, or the first one seen.
    pub offset: u64,
    /// When they were seen first, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Whether a segment begins with the first of them: there a message may begin.
    pub starts_segment: bool,
}

/// Bytes of one side that will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How many.
    pub missing: u64,
    /// How many bytes the side had sent before them.
    pub offset: u64,
    /// When it was clear that they will not come, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Why.
    pub why: Missing,
}

/// Why bytes will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// The other side has acknowledged them, and they were not seen. Where nothing is seen of the other side: others came
    /// from behind them long ago.
    Lost,
    /// They were cut off when the packet was captured.
    Cut,
    /// What was waiting for them became too much, or the connection or the capture ended before they were acknowledged.
    GivenUp,
}
