//! What is told of a TLS connection, in types and in words.

use std::fmt;

use super::key_log::RANDOM_BYTES;
use super::suite::{CipherSuite, Version};
use crate::stream::{Missing, Piece, Side};

/// What comes out of a connection.
#[derive(Debug)]
pub enum Event<'a> {
    /// Both hellos were read, or the server's was lost and the key log says as much.
    Agreed(&'a Agreed),
    /// Bytes of the application. `offset` is that of their ciphertext, byte by byte, in the side's stream: between two
    /// records it jumps over what is not the application's, and that is no gap. `starts_segment` says that a record
    /// starts there, which is as good a place for a message to begin. One record comes as several pieces if its parts
    /// were seen at several times.
    Plain(Side, Piece<'a>),
    /// Bytes of the application that cannot be shown. Told before anything that comes behind them.
    Lost(Side, Loss),
    /// Nothing more of this side will be opened.
    Sealed(Side, Sealed),
}

/// What the hellos agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The version that the server chose.
    pub version: Version,
    /// The cipher suite that it chose.
    pub suite: CipherSuite,
    /// The name of the server that the client asked for (RFC 6066, 3).
    pub server_name: Option<String>,
    /// By this the key log's lines are found.
    pub client_random: [u8; RANDOM_BYTES],
    /// Whether the client meant to send data ahead of the handshake's end (RFC 8446, 2.3), which is not opened.
    pub offers_early_data: bool,
}

/// Bytes of the application that cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Where in the side's stream they begin.
    pub offset: u64,
    /// How many of the application's: exact if it is one record, unless somebody pads; `None` if records began and ended
    /// unseen. Then the next piece starts somewhere.
    pub missing: Option<u64>,
    /// When it was clear, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Why; [`Missing::GivenUp`] also for a record that was there and did not open.
    pub why: Missing,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The hellos are not both there.
    Handshake,
    /// The key log does not have the keys yet, and bytes are held.
    Waiting,
    /// At least one side is being opened.
    Open,
    /// Nothing more will be opened.
    Sealed(Sealed),
}

/// Why nothing more will be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// The first bytes are no record of TLS.
    NotTls,
    /// The first record seen is not of a handshake.
    Midstream,
    /// A hello was not seen whole.
    HelloLost,
    /// A version that is not opened here.
    Version(Version),
    /// A cipher suite that is not opened here.
    Suite(CipherSuite),
    /// TLS compresses the records.
    Compressed,
    /// The key log had no keys of it in time.
    NoKeys,
    /// The keys that the log has do not open its records.
    KeysDoNotFit,
    /// So much was lost that no record was found again.
    Lost,
    /// The ends made new keys by another handshake within the first.
    Renegotiated,
}

/// What was counted of one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bytes that were seen, from the client hello on.
    pub wire_bytes: u64,
    /// Bytes that will not come.
    pub missing_bytes: u64,
    /// Records that were opened.
    pub records: u64,
    /// Records that were whole and did not open though those before them had.
    pub records_unopened: u64,
    /// Bytes of the application that were opened.
    pub plain_bytes: u64,
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("it is not TLS"),
            Self::Midstream => f.write_str("its handshake was before the capture"),
            Self::HelloLost => f.write_str("bytes of its handshake were not seen"),
            Self::Version(version) => write!(f, "{version} is not opened here"),
            Self::Suite(suite) => write!(f, "{suite} is not opened here"),
            Self::Compressed => f.write_str("TLS compresses it"),
            Self::NoKeys => f.write_str("the key log has no keys of it"),
            Self::KeysDoNotFit => f.write_str("the keys of the key log do not open it"),
            Self::Lost => f.write_str("so much of it was not seen that no record was found again"),
            Self::Renegotiated => f.write_str("its ends made new keys within, which is not followed here"),
        }
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.suite)?;
        if let Some(name) = &self.server_name {
            write!(f, " for {name}")?;
        }
        Ok(())
    }
}
