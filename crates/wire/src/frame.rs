//! The link layer: Ethernet II with VLAN tags, bare IP, what `tcpdump -i any` writes, and ARP.

use std::net::Ipv4Addr;

use crate::cooked::{self, Cooked};
use crate::packet::Packet;
use crate::stop::{Layer, Stop, take, u16_at};

/// VLAN tags that are read one after the other. Two (802.1ad) are in use; more is somebody's test or attack.
pub const VLAN_TAGS_MAX: usize = 4;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and the number that switches used for stacked tags before 802.1ad.
const ETHERTYPES_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// How frames start at a watch point, or in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkType {
    /// With an Ethernet II header: Ethernet, veth, bridges, loopback.
    Ethernet,
    /// With the IP header itself: tun, `WireGuard`, IP tunnels.
    RawIp,
    /// With 4 bytes of address family: the loopback of BSD and macOS.
    Null,
    /// With the 16 bytes that Linux puts before the packets of `any` interface.
    LinuxSll,
    /// With the newer 20 bytes of the same, which name the interface.
    LinuxSll2,
}

impl LinkType {
    /// From its number in a capture file (<https://www.tcpdump.org/linktypes.html>); `None` if it is not read here.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Ethernet,
            // 12 and 14 are what some systems wrote before 101 was given out; 228 and 229 are one family only.
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            0 | 108 => Self::Null,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            _ => return None,
        })
    }

    /// Its number in a capture file.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Ethernet => 1,
            Self::RawIp => 101,
            Self::Null => 0,
            Self::LinuxSll => 113,
            Self::LinuxSll2 => 276,
        }
    }
}

/// One frame, as far as it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The Ethernet header, if the link has one and it is there whole.
    pub ethernet: Option<Ethernet>,
    /// What Linux told in place of the link's own header, if the link type has that.
    pub cooked: Option<Cooked>,
    /// The VLAN tags that were in the bytes. (Linux takes the outermost out of a captured frame and tells it aside.)
    pub vlans: VlanTags,
    /// What the link carries.
    pub body: Body<'a>,
}

/// An Ethernet II header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ethernet {
    /// To which station.
    pub destination: [u8; 6],
    /// From which station.
    pub source: [u8; 6],
    /// What the header says that follows; with VLAN tags, the kind of the first tag.
    pub ethertype: u16,
}

/// Up to [`VLAN_TAGS_MAX`] tags, the outermost first; each is priority (3 bits), drop mark (1) and VLAN (12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VlanTags {
    tags: [u16; VLAN_TAGS_MAX],
    count: usize,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// An IPv4 or IPv6 packet, with a [`Packet::stop`] of its own.
    Packet(Packet<'a>),
    /// An ARP message for IPv4 over Ethernet.
    Arp(Arp),
    /// Something that is not read here.
    Other {
        /// Its `EtherType`; below 0x0600 it is an 802.3 length instead.
        ethertype: u16,
        /// Its bytes.
        payload: &'a [u8],
    },
    /// Nothing could be read.
    Unread(Stop),
}

/// An ARP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// The asker's or answerer's station.
    pub sender_station: [u8; 6],
    /// The asker's or answerer's address.
    pub sender: Ipv4Addr,
    /// The station of `target`; not meant in a question.
    pub target_station: [u8; 6],
    /// Who is asked for, or who is answered.
    pub target: Ipv4Addr,
}

impl<'a> Frame<'a> {
    /// Reads a frame as far as it goes. Total: every input has an answer.
    #[must_use]
    pub fn decode(link: LinkType, bytes: &'a [u8]) -> Self {
        match link {
            LinkType::Ethernet => Self::decode_ethernet(bytes),
            LinkType::RawIp => Self::bare(ip_body(bytes)),
            LinkType::Null => Self::bare(null_body(bytes).unwrap_or_else(Body::Unread)),
            LinkType::LinuxSll => Self::decode_cooked(cooked::sll(bytes)),
            LinkType::LinuxSll2 => Self::decode_cooked(cooked::sll2(bytes)),
        }
    }

    fn bare(body: Body<'a>) -> Self {
        Self { ethernet: None, cooked: None, vlans: VlanTags::default(), body }
    }

    fn decode_cooked(read: Result<(Cooked, &'a [u8]), Stop>) -> Self {
        let (cooked, rest) = match read {
            Ok(parts) => parts,
            Err(stop) => return Self::bare(Body::Unread(stop)),
        };
        let mut vlans = VlanTags::default();
        let body = match untag(cooked.protocol, rest, &mut vlans) {
            Ok((ethertype, rest)) => body(ethertype, rest),
            Err(stop) => Body::Unread(stop),
        };
        Self { ethernet: None, cooked: Some(cooked), vlans, body }
    }

    /// The IP packet in it, if there is one.
    #[must_use]
    pub fn packet(&self) -> Option<&Packet<'a>> {
        match &self.body {
            Body::Packet(packet) => Some(packet),
            _ => None,
        }
    }

    /// Where reading ended before the end, if it did.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        match &self.body {
            Body::Packet(packet) => packet.stop,
            Body::Unread(stop) => Some(*stop),
            Body::Arp(_) | Body::Other { .. } => None,
        }
    }

    fn decode_ethernet(bytes: &'a [u8]) -> Self {
        let (header, rest) = match take::<14>(bytes, Layer::Ethernet) {
            Ok(parts) => parts,
            Err(stop) => return Self::bare(Body::Unread(stop)),
        };
        let ethernet = Ethernet {
            destination: [header[0], header[1], header[2], header[3], header[4], header[5]],
            source: [header[6], header[7], header[8], header[9], header[10], header[11]],
            ethertype: u16_at(header, 12),
        };
        let mut vlans = VlanTags::default();
        let body = match untag(ethernet.ethertype, rest, &mut vlans) {
            Ok((ethertype, rest)) => body(ethertype, rest),
            Err(stop) => Body::Unread(stop),
        };
        Self { ethernet: Some(ethernet), cooked: None, vlans, body }
    }
}

impl VlanTags {
    /// The tags, the outermost first.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        &self.tags[..self.count]
    }

    fn push(&mut self, tag: u16) -> Result<(), Stop> {
        let place = self.tags.get_mut(self.count);
        *place.ok_or(Stop::Malformed { layer: Layer::Vlan, what: "more than 4 tags" })? = tag;
        self.count += 1;
        Ok(())
    }
}

/// Takes the tags off; what the frame carries without them.
fn untag<'a>(mut ethertype: u16, mut bytes: &'a [u8], vlans: &mut VlanTags) -> Result<(u16, &'a [u8]), Stop> {
    // Ends: a fifth tag is refused.
    while ETHERTYPES_VLAN.contains(&ethertype) {
        let (tag, rest) = take::<4>(bytes, Layer::Vlan)?;
        vlans.push(u16_at(tag, 0))?;
        (ethertype, bytes) = (u16_at(tag, 2), rest);
    }
    Ok((ethertype, bytes))
}

#[inline]
fn body(ethertype: u16, bytes: &[u8]) -> Body<'_> {
    match ethertype {
        ETHERTYPE_IPV4 => Packet::decode_v4(bytes).map_or_else(Body::Unread, Body::Packet),
        ETHERTYPE_IPV6 => Packet::decode_v6(bytes).map_or_else(Body::Unread, Body::Packet),
        ETHERTYPE_ARP => arp(bytes).unwrap_or_else(Body::Unread),
        _ => Body::Other { ethertype, payload: bytes },
    }
}

fn ip_body(bytes: &[u8]) -> Body<'_> {
    Packet::decode(bytes).map_or_else(Body::Unread, Body::Packet)
}

/// The family is in the byte order of the machine that captured, or in the network's (`LINKTYPE_LOOP`): no family is
/// so large that both could be meant.
fn null_body(bytes: &[u8]) -> Result<Body<'_>, Stop> {
    let (family, rest) = take::<4>(bytes, Layer::Null)?;
    match cooked::null_family(*family) {
        2 => Packet::decode_v4(rest).map(Body::Packet),
        family if cooked::is_inet6(family) => Packet::decode_v6(rest).map(Body::Packet),
        _ => Err(Stop::Malformed { layer: Layer::Null, what: "the family is neither IPv4 nor IPv6" }),
    }
}

fn arp(bytes: &[u8]) -> Result<Body<'_>, Stop> {
    let (message, _) = take::<28>(bytes, Layer::Arp)?;
    // Hardware Ethernet, protocol IPv4, addresses of 6 and 4 bytes: the only kind that Linux speaks on these links.
    if message[..6] != [0, 1, 8, 0, 6, 4] {
        return Ok(Body::Other { ethertype: ETHERTYPE_ARP, payload: bytes });
    }
    let station = |at: usize| std::array::from_fn(|nth| message[at + nth]);
    let address = |at: usize| Ipv4Addr::new(message[at], message[at + 1], message[at + 2], message[at + 3]);
    Ok(Body::Arp(Arp {
        operation: u16_at(message, 6),
        sender_station: station(8),
        sender: address(14),
        target_station: station(18),
        target: address(24),
    }))
}
