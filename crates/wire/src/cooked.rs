//! What Linux tells in place of the link's own header where packets of `any` interface are captured: SLL and SLL2
//! (<https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>), and the family word of BSD loopbacks.

use crate::stop::{Layer, Stop, take, u16_at, u32_at};

/// Which way a packet passed the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// It came in.
    In,
    /// It went out.
    Out,
}

/// The header of a cooked capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cooked {
    /// For whom it was, or that it was sent from here: `PACKET_…` of `linux/if_packet.h`.
    pub packet_type: u16,
    /// The kind of link: `ARPHRD_…` of `linux/if_arp.h`.
    pub hardware: u16,
    /// The sender's station, padded with zeros; only the first `address_len` bytes are meant.
    pub address: [u8; 8],
    /// How many bytes the station has; more than 8 were cut.
    pub address_len: u16,
    /// What follows: an `EtherType`.
    pub protocol: u16,
    /// The number of the interface; SLL does not tell it.
    pub interface: Option<u32>,
}

/// `PACKET_OUTGOING`
const OUTGOING: u16 = 4;

impl Cooked {
    /// Which way the packet passed the interface.
    #[must_use]
    pub fn direction(&self) -> Direction {
        if self.packet_type == OUTGOING { Direction::Out } else { Direction::In }
    }
}

pub(crate) fn sll(bytes: &[u8]) -> Result<(Cooked, &[u8]), Stop> {
    let (header, rest) = take::<16>(bytes, Layer::Cooked)?;
    let cooked = Cooked {
        packet_type: u16_at(header, 0),
        hardware: u16_at(header, 2),
        address_len: u16_at(header, 4),
        address: std::array::from_fn(|nth| header[6 + nth]),
        protocol: u16_at(header, 14),
        interface: None,
    };
    Ok((cooked, rest))
}

pub(crate) fn sll2(bytes: &[u8]) -> Result<(Cooked, &[u8]), Stop> {
    let (header, rest) = take::<20>(bytes, Layer::Cooked)?;
    let cooked = Cooked {
        protocol: u16_at(header, 0),
        interface: Some(u32_at(header, 4)),
        hardware: u16_at(header, 8),
        packet_type: header[10].into(),
        address_len: header[11].into(),
        address: std::array::from_fn(|nth| header[12 + nth]),
    };
    Ok((cooked, rest))
}

/// The family before a packet, whichever byte order it was written in.
pub(crate) fn null_family(word: [u8; 4]) -> u32 {
    let family = u32::from_le_bytes(word);
    if family > 0xffff { family.swap_bytes() } else { family }
}

/// `AF_INET6` of Linux, `NetBSD`, FreeBSD and macOS.
pub(crate) fn is_inet6(family: u32) -> bool {
    matches!(family, 10 | 24 | 28 | 30)
}
