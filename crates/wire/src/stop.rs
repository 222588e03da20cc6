//! Where decoding ended before the end of the packet, and why; and the one way to take bytes that can say so.

use std::fmt;

/// A part of a frame, from the outside in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The Ethernet II header.
    Ethernet,
    /// The header of Linux's cooked captures.
    Cooked,
    /// The address family before a packet of a BSD loopback.
    Null,
    /// An 802.1Q or 802.1ad tag.
    Vlan,
    /// An ARP message.
    Arp,
    /// The first byte of a packet without a link header, which says the IP version.
    Ip,
    /// The IPv4 header with its options.
    Ipv4,
    /// The fixed IPv6 header.
    Ipv6,
    /// An IPv6 extension header.
    Ipv6Extension,
    /// An ICMP message.
    Icmp,
    /// An `ICMPv6` message.
    Icmpv6,
    /// The TCP header with its options.
    Tcp,
    /// The UDP header.
    Udp,
    /// What the IP header promised beyond the headers that were read.
    Payload,
}

/// Why decoding ended early. What was read before it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The bytes end inside this layer: cut by a snap length, or by whoever sent or quoted them.
    CutShort {
        /// Where.
        layer: Layer,
        /// Bytes that the layer has by its own word, counted from its first; at least this many.
        needed: usize,
        /// Bytes that were there.
        had: usize,
    },
    /// A value that the layer cannot have.
    Malformed {
        /// Where.
        layer: Layer,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ethernet => "Ethernet header",
            Self::Cooked => "Linux cooked header",
            Self::Null => "loopback header",
            Self::Vlan => "VLAN tag",
            Self::Arp => "ARP message",
            Self::Ip => "IP version",
            Self::Ipv4 => "IPv4 header",
            Self::Ipv6 => "IPv6 header",
            Self::Ipv6Extension => "IPv6 extension header",
            Self::Icmp => "ICMP message",
            Self::Icmpv6 => "ICMPv6 message",
            Self::Tcp => "TCP header",
            Self::Udp => "UDP datagram",
            Self::Payload => "payload",
        })
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutShort { layer, needed, had } => write!(f, "{layer} cut short: {had} of {needed} bytes"),
            Self::Malformed { layer, what } => write!(f, "{layer} malformed: {what}"),
        }
    }
}

impl std::error::Error for Stop {}

/// The first `N` bytes of a layer and what follows them.
pub(crate) fn take<const N: usize>(bytes: &[u8], layer: Layer) -> Result<(&[u8; N], &[u8]), Stop> {
    bytes.split_first_chunk::<N>().ok_or(Stop::CutShort { layer, needed: N, had: bytes.len() })
}

/// The 16 bits at `at`, which the caller knows to be inside.
pub(crate) fn u16_at<const N: usize>(bytes: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The 32 bits at `at`, which the caller knows to be inside.
pub(crate) fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
