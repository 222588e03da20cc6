//! What is told of connections, and to whom.

use std::net::SocketAddr;

use super::{Gap, Piece, Side};

/// Who reads the connections, and keeps something of its own for each of them.
pub trait Readers {
    /// What is kept of a connection. Small is good: as many may be kept as [`super::Limits::connections`] says.
    type Reader;

    /// A connection sends its first byte. `None`: it is of no interest, and its segments cost next to nothing.
    fn open(&mut self, ends: &Ends, time_ns: u64) -> Option<Self::Reader>;

    /// The next bytes of a side. The bytes that their sender had acknowledged were handed out, or told as missing, before.
    fn piece(&mut self, reader: &mut Self::Reader, side: Side, piece: &Piece<'_>) -> Interest;

    /// Bytes of a side will not come; its next piece starts behind them.
    fn gap(&mut self, reader: &mut Self::Reader, side: Side, gap: &Gap) -> Interest;

    /// Bytes were seen at a point, for the first time or again. Told when they come: a piece that has to wait for others
    /// comes later.
    fn sighting(&mut self, reader: &mut Self::Reader, side: Side, sighting: &Sighting) {
        let _ = (reader, side, sighting);
    }

    /// Nothing more comes. [`Interest::More`] keeps the reader for sightings at slower points, until its place is needed.
    fn end(&mut self, reader: &mut Self::Reader, how: End) -> Interest;
}

/// Whether a reader wants to hear more of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interest {
    /// Yes.
    More,
    /// No: the reader is dropped, without [`Readers::end`], and the connection's segments cost next to nothing.
    Nothing,
}

/// The addresses and ports of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ends {
    /// Of [`Side::First`].
    pub first: SocketAddr,
    /// Of [`Side::Second`].
    pub second: SocketAddr,
}

/// Bytes of one side as one segment had them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Where it was seen, in the caller's own numbers.
    pub point: usize,
    /// The offset of its first byte.
    pub from: u64,
    /// The offset behind its last byte, by the length that it had on the wire.
    pub to: u64,
    /// When it was seen, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Whether its bytes were known.
    pub seen: Seen,
}

/// How bytes were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    /// Some of them for the first time.
    First,
    /// In a packet that another point has seen, or the same point just before.
    Copy,
    /// Sent once more.
    Again,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// Both sides said that they have no more.
    Finished,
    /// This side broke it off.
    Reset {
        /// Who.
        by: Side,
    },
    /// Another connection uses its addresses and ports.
    Replaced,
    /// Its place in the table was needed, or its numbers could not be followed any longer.
    GivenUp,
    /// The capture ended before it.
    CaptureEnded,
}
