//! One item after the other out of the bytes of a capture file.
//!
//! ```text
//! needs(bytes) -> n      shown what is there; more is fetched until n bytes are
//! take(bytes[..n])       the item; the next one starts n bytes later
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::flaw::Flaw;
use super::pcapng::{self, Clock, Section};
use super::{Interface, PacketAt, SNAPLEN_MAX};

/// Reads a capture file.
#[derive(Debug)]
pub struct Reader {
    kind: Kind,
    /// Where the next item starts in the file.
    pub(super) offset: u64,
    pub(super) interfaces: Vec<Interface>,
    /// As the interfaces.
    pub(super) clocks: Vec<Clock>,
    pub(super) names: Vec<(IpAddr, String)>,
    /// Of whom a name was met.
    pub(super) named: BTreeSet<IpAddr>,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A packet.
    Packet(PacketAt),
    /// Something else: a header, an interface, counters, names, or what is not read here.
    Other,
}

#[derive(Debug)]
enum Kind {
    /// Nothing was read yet.
    Unknown,
    Pcap {
        big_endian: bool,
        /// Nanoseconds in a unit of the fraction of a second: 1 or 1000.
        unit_ns: u32,
    },
    Pcapng(Section),
}

const PCAP_HEADER_BYTES: usize = 24;
const PCAP_RECORD_BYTES: usize = 16;
/// The type of a Section Header Block: the same in both byte orders.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Starts at the start of a file.
    #[must_use]
    pub fn new() -> Self {
        Self {
            kind: Kind::Unknown,
            offset: 0,
            interfaces: Vec::new(),
            clocks: Vec::new(),
            names: Vec::new(),
            named: BTreeSet::new(),
        }
    }

    /// The interfaces that were met so far.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// The names of addresses that were met so far, in their order, one for each; at most [`super::NAMES_MAX`].
    #[must_use]
    pub fn names(&self) -> &[(IpAddr, String)] {
        &self.names
    }

    /// Where the next item starts, in bytes from the start of the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes the next item has, as far as `bytes` tell; it can be taken once that many are there.
    ///
    /// # Errors
    /// Where the file is none of ours, or its next item cannot be.
    pub fn needs(&self, bytes: &[u8]) -> Result<usize, Flaw> {
        match &self.kind {
            Kind::Unknown => start(bytes),
            Kind::Pcap { big_endian, .. } => self.record_length(bytes, *big_endian),
            Kind::Pcapng(section) => pcapng::length(bytes, section.big_endian, self.offset),
        }
    }

    /// Takes the next item out of its bytes: as many as [`Reader::needs`] said, or more.
    ///
    /// # Errors
    /// Where it cannot be.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Item, Flaw> {
        let needed = self.needs(bytes)?;
        let Some(bytes) = bytes.get(..needed) else { return Err(self.cut_short(bytes)) };
        let item = match &self.kind {
            Kind::Unknown => self.begin(bytes)?,
            Kind::Pcap { big_endian, unit_ns } => record(bytes, *big_endian, *unit_ns),
            Kind::Pcapng(section) => {
                let mut section = *section;
                let item = self.block(bytes, &mut section)?;
                self.kind = Kind::Pcapng(section);
                item
            }
        };
        self.offset += needed as u64;
        Ok(item)
    }

    /// What is wrong if the file ends after `rest`.
    #[must_use]
    pub fn cut_short(&self, rest: &[u8]) -> Flaw {
        if self.offset == 0 && rest.is_empty() {
            return Flaw::Empty;
        }
        match self.needs(rest) {
            Ok(needed) => Flaw::CutShort { offset: self.offset, needed, had: rest.len() },
            Err(flaw) => flaw,
        }
    }

    fn record_length(&self, bytes: &[u8], big_endian: bool) -> Result<usize, Flaw> {
        let Some(length) = u32_in(bytes, 8, big_endian) else { return Ok(PCAP_RECORD_BYTES) };
        let length = length as usize;
        if length > SNAPLEN_MAX {
            let what = "a packet longer than 256 KiB";
            return Err(Flaw::Malformed { offset: self.offset, what, value: length as u64 });
        }
        Ok(PCAP_RECORD_BYTES + length)
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<Item, Flaw> {
        if bytes.starts_with(&SECTION) {
            let mut section = Section::default();
            let item = self.block(bytes, &mut section)?;
            self.kind = Kind::Pcapng(section);
            return Ok(item);
        }
        let (big_endian, unit_ns) = magic(bytes).ok_or(Flaw::NotACapture { start: first_four(bytes) })?;
        let word = |at| u32_in(bytes, at, big_endian).unwrap_or_default();
        // The upper bits tell the length of a frame check sequence.
        let link = word(20) & 0x0fff_ffff;
        self.interfaces.push(Interface { link, snaplen: word(16), ..Interface::default() });
        self.kind = Kind::Pcap { big_endian, unit_ns };
        Ok(Item::Other)
    }
}

/// How long the first item is, by the first bytes of a file.
fn start(bytes: &[u8]) -> Result<usize, Flaw> {
    if bytes.len() < 4 {
        return Ok(PCAP_HEADER_BYTES);
    }
    if bytes.starts_with(&SECTION) {
        return pcapng::length(bytes, false, 0);
    }
    match first_four(bytes) {
        _ if magic(bytes).is_some() => Ok(PCAP_HEADER_BYTES),
        [0xa1, 0xb2, 0xcd, 0x34] | [0x34, 0xcd, 0xb2, 0xa1] => Err(Flaw::Modified),
        // gzip, xz, zstd, lz4.
        [0x1f, 0x8b, ..] | [0xfd, b'7', b'z', b'X'] | [0x28, 0xb5, 0x2f, 0xfd] | [4, 0x22, 0x4d, 0x18] => {
            Err(Flaw::Compressed)
        }
        start => Err(Flaw::NotACapture { start }),
    }
}

/// Whether it is big-endian, and the unit of its fractions in nanoseconds.
fn magic(bytes: &[u8]) -> Option<(bool, u32)> {
    Some(match first_four(bytes) {
        [0xd4, 0xc3, 0xb2, 0xa1] => (false, 1_000),
        [0xa1, 0xb2, 0xc3, 0xd4] => (true, 1_000),
        [0x4d, 0x3c, 0xb2, 0xa1] => (false, 1),
        [0xa1, 0xb2, 0x3c, 0x4d] => (true, 1),
        _ => return None,
    })
}

fn record(bytes: &[u8], big_endian: bool, unit_ns: u32) -> Item {
    let word = |at| u32_in(bytes, at, big_endian).unwrap_or_default();
    let time_ns = u64::from(word(0)) * 1_000_000_000 + u64::from(word(4)) * u64::from(unit_ns);
    Item::Packet(PacketAt {
        time_ns: Some(time_ns),
        interface: 0,
        data: PCAP_RECORD_BYTES..bytes.len(),
        original_len: word(12),
        direction: None,
        options: 0..0,
        big_endian,
    })
}

fn first_four(bytes: &[u8]) -> [u8; 4] {
    bytes.first_chunk().copied().unwrap_or_default()
}

/// The 32 bits at `at`, if they are there.
pub(super) fn u32_in(bytes: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let four = *bytes.get(at..)?.first_chunk::<4>()?;
    Some(if big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
}

/// The 16 bits at `at`, if they are there.
pub(super) fn u16_in(bytes: &[u8], at: usize, big_endian: bool) -> Option<u16> {
    let two = *bytes.get(at..)?.first_chunk::<2>()?;
    Some(if big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
}
