//! Capture files: pcap (both orders, micro- and nanoseconds) and pcapng, read piece by piece; pcapng, written.
//!
//! Nothing is opened here. [`Reader`] is shown the bytes that come next and says how many it needs for one item, so
//! whoever has the file keeps one buffer of bounded size, however long the file is. Writing appends to a `Vec`.
//!
//! Why not a library: `pcap-parser` 0.17 reads both orders, several sections and comments in constant memory too, nearly as
//! fast, and counts the bytes that it has read. But it knows no clock of a power of 2 (`if_tsresol`), reads `if_tsoffset`
//! of a big-endian section the wrong way round, leaves the old Packet Block unread, takes the padding of a Simple Packet
//! Block for data, and does not say what is wrong with a block. `pcap-file` takes every time stamp for nanoseconds.

mod flaw;
mod pcapng;
mod read;
mod write;

use std::ops::Range;

use crate::Direction;

pub use flaw::Flaw;
pub use read::{Item, Reader};
pub use write::{comments, interface, names, packet, section, statistics};

/// The longest packet that is taken from a file: the bound of libpcap (`MAXIMUM_SNAPLEN`) and of Wireshark.
pub const SNAPLEN_MAX: usize = 256 << 10;
/// The longest block of a pcapng file: Wireshark's own bound (`MAX_BLOCK_SIZE` is 16 MiB).
pub const BLOCK_BYTES_MAX: usize = 16 << 20;
/// Interfaces of one file, all its sections together: some hundred hosts with some hundred interfaces each.
pub const INTERFACES_MAX: usize = 64 << 10;
/// Names of addresses that are kept of a file.
pub const NAMES_MAX: usize = 16 << 10;
/// Bytes that are kept of an interface's name, its description, or an address's name.
pub const NAME_BYTES_MAX: usize = 256;

/// Where packets of a file were captured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Its name; ours are `docker41/c41/eth0`.
    pub name: Option<String>,
    /// What somebody wrote about it.
    pub description: Option<String>,
    /// How its frames start, as a number of <https://www.tcpdump.org/linktypes.html>.
    pub link: u32,
    /// Bytes that are kept of a packet at most; 0 is no limit.
    pub snaplen: u32,
    /// Whether the file tells of it; a pcap has one interface and says nothing about it.
    pub is_told: bool,
    /// What its own counters say, if the file told.
    pub counts: Counts,
}

/// What an interface counted while it was captured; of pcapng's Interface Statistics Block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets that came.
    pub received: Option<u64>,
    /// Packets that were lost, for want of room here or in the system below.
    pub dropped: Option<u64>,
}

/// One packet of a file, as places in the bytes that [`Reader::take`] was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketAt {
    /// When, in nanoseconds since 1970; a Simple Packet Block does not say.
    pub time_ns: Option<u64>,
    /// Which interface of [`Reader::interfaces`].
    pub interface: usize,
    /// Where its bytes are.
    pub data: Range<usize>,
    /// How long it was on the link, in bytes.
    pub original_len: u32,
    /// Which way it passed, if the file says.
    pub direction: Option<Direction>,
    /// Where its options are, with its comments.
    pub options: Range<usize>,
    /// Whether they are big-endian.
    pub big_endian: bool,
}

/// A packet, borrowed from wherever it was read or heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// When, in nanoseconds since 1970, if that is known.
    pub time_ns: Option<u64>,
    /// Which interface, by the source's own count.
    pub interface: usize,
    /// Which way it passed.
    pub direction: Option<Direction>,
    /// Its first bytes.
    pub bytes: &'a [u8],
    /// How long it was on the link.
    pub original_len: u32,
    /// What people or programs wrote about it.
    pub comments: Comments<'a>,
}

/// The comments of a packet, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Comments<'a> {
    options: &'a [u8],
    big_endian: bool,
}

impl<'a> Comments<'a> {
    /// Those among the options of a block.
    #[must_use]
    pub fn among(options: &'a [u8], big_endian: bool) -> Self {
        Self { options, big_endian }
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.into_iter()
    }
}

/// Goes through [`Comments`].
#[derive(Debug, Clone)]
pub struct EachComment<'a>(Comments<'a>);

impl<'a> IntoIterator for Comments<'a> {
    type Item = &'a [u8];
    type IntoIter = EachComment<'a>;

    fn into_iter(self) -> EachComment<'a> {
        EachComment(self)
    }
}

/// `opt_comment`
const COMMENT: u16 = 1;

impl<'a> Iterator for EachComment<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // Ends: every step takes at least 4 bytes.
        while let Some((code, value, rest)) = pcapng::option(self.0.options, self.0.big_endian) {
            self.0.options = rest;
            if code == COMMENT {
                return Some(value);
            }
        }
        None
    }
}

impl PacketAt {
    /// The packet in the bytes that [`Reader::take`] was shown.
    #[must_use]
    pub fn of<'a>(&self, shown: &'a [u8]) -> Record<'a> {
        let part = |range: &Range<usize>| shown.get(range.clone()).unwrap_or_default();
        Record {
            time_ns: self.time_ns,
            interface: self.interface,
            direction: self.direction,
            bytes: part(&self.data),
            original_len: self.original_len,
            comments: Comments::among(part(&self.options), self.big_endian),
        }
    }
}
