//! How much is kept at most, and what became of everything.

/// How much is kept at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections. One takes some 400 bytes here, and what its reader takes.
    pub connections: u32,
    /// Bytes that wait in one connection for others before them, with what it takes to keep them.
    pub waiting_per_connection: usize,
    /// The same of all connections together.
    pub waiting_in_all: usize,
}

impl Default for Limits {
    /// For a process that must stay far below 64 MiB.
    fn default() -> Self {
        Self {
            // As many as one address can have with another on one port: some 26 MiB when all are there.
            connections: 64 << 10,
            // 32 segments of 64 KiB, as a network card with segmentation offload shows them.
            waiting_per_connection: 2 << 20,
            waiting_in_all: 8 << 20,
        }
    }
}

/// What became of everything that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// TCP segments, with data or without.
    pub segments: u64,
    /// Connections that were met; one whose ports were used again counts again.
    pub connections: u64,
    /// Connections whose place was needed for others.
    pub connections_given_up: u64,
    /// Connections that could not be followed any longer, as their numbers no longer fitted.
    pub connections_lost: u64,
    /// Bytes that were handed out.
    pub bytes: u64,
    /// Bytes that were told as missing: acknowledged, and not seen.
    pub bytes_lost: u64,
    /// Bytes that were told as missing: cut off when they were captured.
    pub bytes_cut: u64,
    /// Bytes that were told as missing: too much waited for them, or the capture ended first.
    pub bytes_given_up: u64,
    /// Bytes before the first one that was seen of a side, which came after it.
    pub bytes_before_start: u64,
    /// Segments with data that had to wait for others.
    pub waited: u64,
    /// Segments with known data only, in a packet seen at another point, or just before at the same one.
    pub copies: u64,
    /// Segments with known data only that were sent once more.
    pub retransmissions: u64,
    /// Probes whether the other side is still there: at most one byte, the last one before the next.
    pub probes: u64,
    /// Segments whose numbers fit to nothing, or that came after the end of their connection.
    pub strays: u64,
    /// IP fragments of TCP segments.
    pub fragments: u64,
    /// Segments that were put together from fragments.
    pub fragments_joined: u64,
    /// Fragments that were refused: overlapping, cut, contradicting each other, or too many.
    pub fragments_refused: u64,
    /// Segments of which not all fragments came in time, or whose room was needed.
    pub fragments_given_up: u64,
}
