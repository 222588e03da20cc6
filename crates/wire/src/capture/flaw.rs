//! What is wrong with a capture file, where, and what to do about it.

use std::fmt;

/// Why reading a capture file ended before its end. What was read before it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The file is empty.
    Empty,
    /// It starts like no capture file.
    NotACapture {
        /// Its first four bytes.
        start: [u8; 4],
    },
    /// The pcap of a patched libpcap of the nineties: its records are longer than they say.
    Modified,
    /// It is compressed.
    Compressed,
    /// The file ends in the middle of a record or block.
    CutShort {
        /// Where it starts, in bytes from the start of the file.
        offset: u64,
        /// How long it is, as far as is known.
        needed: usize,
        /// How much of it is there.
        had: usize,
    },
    /// A value that cannot be.
    Malformed {
        /// Where the record or block starts, in bytes from the start of the file.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
        /// The value.
        value: u64,
    },
}

impl Flaw {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("was the capture ended before its first packet was written?"),
            Self::NotACapture { .. } => {
                Some("pcap and pcapng are read; `tshark -r FILE -w OUT.pcapng` knows many other formats")
            }
            Self::Modified => Some("`editcap -F pcap OLD NEW` of Wireshark makes an ordinary one of it"),
            Self::Compressed => {
                Some("unpack it on the way: `zcat FILE | byway capture -r -`, or xzcat, zstdcat")
            }
            Self::CutShort { .. } => {
                Some("the packets before it were read; the rest was never written, or lost")
            }
            Self::Malformed { .. } => Some("the packets before it were read; the file was damaged there"),
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::NotACapture { start: [a, b, c, d] } => {
                write!(f, "no capture file: it starts with {a:02x} {b:02x} {c:02x} {d:02x}")
            }
            Self::Modified => f.write_str("a \"modified\" pcap (magic a1b2cd34), which is not read"),
            Self::Compressed => f.write_str("the file is compressed"),
            Self::CutShort { offset, needed, had } => {
                write!(f, "cut short at byte {offset}: {had} of {needed} bytes are there")
            }
            Self::Malformed { offset, what, value } => {
                write!(f, "damaged at byte {offset}: {what} ({value})")
            }
        }
    }
}

impl std::error::Error for Flaw {}
