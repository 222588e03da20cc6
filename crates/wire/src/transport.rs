//! What an IP packet carries: TCP and UDP, and the door to ICMP.

use crate::icmp::{Icmp, IcmpVersion};
use crate::packet::protocol;
use crate::stop::{Layer, Stop, take, u16_at, u32_at};

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'a> {
    /// ICMP or `ICMPv6`.
    Icmp(Icmp<'a>),
    /// A TCP segment.
    Tcp(Tcp<'a>),
    /// A TCP header cut after its first 8 bytes, as old routers quote it in their ICMP errors.
    TcpStart(TcpStart),
    /// A UDP datagram.
    Udp(Udp<'a>),
    /// The bytes of a later fragment, of a protocol that is not read here, or of a header that was cut.
    Other(&'a [u8]),
}

/// A TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp<'a> {
    /// From which port.
    pub source_port: u16,
    /// To which port.
    pub destination_port: u16,
    /// The number of its first byte.
    pub sequence: u32,
    /// The number of the byte that is expected back; meant only with the ACK flag.
    pub acknowledgement: u32,
    /// What it says about the connection.
    pub flags: TcpFlags,
    /// Bytes that may come back, before scaling.
    pub window: u16,
    /// Its options, unread.
    pub options: &'a [u8],
    /// Its data, as far as it is there.
    pub payload: &'a [u8],
}

/// The flags of a TCP header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpFlags(pub u8);

/// The first 8 bytes of a TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpStart {
    /// From which port.
    pub source_port: u16,
    /// To which port.
    pub destination_port: u16,
    /// The number of its first byte.
    pub sequence: u32,
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp<'a> {
    /// From which port.
    pub source_port: u16,
    /// To which port.
    pub destination_port: u16,
    /// In bytes with the 8 of its header, by its own word; in a first fragment that of the whole datagram.
    pub length: u16,
    /// Its data, as far as it is there.
    pub payload: &'a [u8],
}

impl Transport<'_> {
    /// The source and the destination port, if it has ports and they were read.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        match self {
            Self::Tcp(tcp) => Some((tcp.source_port, tcp.destination_port)),
            Self::TcpStart(start) => Some((start.source_port, start.destination_port)),
            Self::Udp(udp) => Some((udp.source_port, udp.destination_port)),
            Self::Icmp(_) | Self::Other(_) => None,
        }
    }
}

impl TcpFlags {
    /// The sender has nothing more to say.
    pub const FIN: Self = Self(1);
    /// Opens a connection.
    pub const SYN: Self = Self(2);
    /// Refuses or breaks a connection.
    pub const RST: Self = Self(4);
    /// Hand this to the program now.
    pub const PSH: Self = Self(8);
    /// The acknowledgement is meant.
    pub const ACK: Self = Self(16);

    /// Whether all flags of `wanted` are set.
    #[must_use]
    pub fn contain(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

/// Reads what `protocol` carries. `whole`: neither a fragment nor cut, so lengths within must fit.
#[inline]
pub(crate) fn decode(number: u8, bytes: &[u8], whole: bool) -> (Transport<'_>, Option<Stop>) {
    match number {
        protocol::ICMP => Icmp::decode(IcmpVersion::V4, bytes),
        protocol::ICMPV6 => Icmp::decode(IcmpVersion::V6, bytes),
        protocol::TCP => tcp(bytes),
        protocol::UDP => udp(bytes, whole),
        _ => (Transport::Other(bytes), None),
    }
}

#[inline]
fn tcp(bytes: &[u8]) -> (Transport<'_>, Option<Stop>) {
    let (header, _) = match take::<20>(bytes, Layer::Tcp) {
        Ok(parts) => parts,
        Err(stop) => return (tcp_start(bytes), Some(stop)),
    };
    let header_length = usize::from(header[12] >> 4) * 4;
    let (options, payload, stop) = match bytes.get(20..header_length) {
        Some(options) => (options, &bytes[header_length..], None),
        None if header_length < 20 => {
            let what = "the header is shorter than 20 bytes";
            (&[][..], &[][..], Some(Stop::Malformed { layer: Layer::Tcp, what }))
        }
        None => {
            let cut = Stop::CutShort { layer: Layer::Tcp, needed: header_length, had: bytes.len() };
            (&bytes[20..], &[][..], Some(cut))
        }
    };
    let tcp = Tcp {
        source_port: u16_at(header, 0),
        destination_port: u16_at(header, 2),
        sequence: u32_at(header, 4),
        acknowledgement: u32_at(header, 8),
        flags: TcpFlags(header[13]),
        window: u16_at(header, 14),
        options,
        payload,
    };
    (Transport::Tcp(tcp), stop)
}

fn tcp_start(bytes: &[u8]) -> Transport<'_> {
    bytes.first_chunk::<8>().map_or(Transport::Other(bytes), |start| {
        Transport::TcpStart(TcpStart {
            source_port: u16_at(start, 0),
            destination_port: u16_at(start, 2),
            sequence: u32_at(start, 4),
        })
    })
}

fn udp(bytes: &[u8], whole: bool) -> (Transport<'_>, Option<Stop>) {
    let (header, rest) = match take::<8>(bytes, Layer::Udp) {
        Ok(parts) => parts,
        Err(stop) => return (Transport::Other(bytes), Some(stop)),
    };
    let length = u16_at(header, 4);
    let (payload, stop) = udp_payload(rest, length, whole);
    let (source_port, destination_port) = (u16_at(header, 0), u16_at(header, 2));
    (Transport::Udp(Udp { source_port, destination_port, length, payload }), stop)
}

fn udp_payload(rest: &[u8], length: u16, whole: bool) -> (&[u8], Option<Stop>) {
    match usize::from(length) {
        // A jumbogram, or left to the network card.
        0 => (rest, None),
        1..8 => {
            let what = "the length is less than its header's";
            (&[], Some(Stop::Malformed { layer: Layer::Udp, what }))
        }
        needed if needed - 8 <= rest.len() => (&rest[..needed - 8], None),
        needed if whole => (rest, Some(Stop::CutShort { layer: Layer::Udp, needed, had: rest.len() + 8 })),
        _ => (rest, None),
    }
}
