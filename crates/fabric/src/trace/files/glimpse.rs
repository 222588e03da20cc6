//! What is kept of a packet that passed a point: as little as possible, as there are millions.

use byway_wire::{Direction, IcmpMessage, Packet, PacketKey, TcpFlags, Transport, protocol};

use crate::journey::End;

/// A packet that passed a point, as far as it is told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// What is the same wherever it is seen.
    pub key: PacketKey,
    /// When, by the file's clock, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Which way it passed, if the file says.
    pub direction: Option<Direction>,
    /// From whom. The port of an ICMP echo is its identifier, which NAT changes like one.
    pub source: End,
    /// To whom.
    pub destination: End,
    /// Its protocol's number.
    pub protocol: u8,
    /// Routers that may still pass it on.
    pub ttl: u8,
    /// In bytes with all headers.
    pub length: u16,
    /// Whether routers may not cut it.
    pub dont_fragment: bool,
    /// Whether it is a part of a larger packet.
    pub fragment: bool,
    /// The flags of TCP, the type of ICMP.
    pub sign: u8,
    /// What tells it from others of its conversation: TCP's sequence, ICMP's code or echo sequence, IP's identification.
    pub detail: u32,
}

impl Passage {
    /// What of a packet is kept; `None` if it was cut too short to be told from others.
    #[must_use]
    pub fn of(time_ns: u64, direction: Option<Direction>, packet: &Packet<'_>) -> Option<Self> {
        Some(Self { time_ns, direction, ..Self::read(packet.key()?, packet) })
    }

    fn read(key: PacketKey, packet: &Packet<'_>) -> Self {
        let (source_port, destination_port) = packet.transport.ports().unzip();
        let identification = packet.identification.unwrap_or(0);
        let (sign, detail, echo) = match &packet.transport {
            Transport::Tcp(tcp) => (tcp.flags.0, tcp.sequence, None),
            Transport::TcpStart(start) => (0, start.sequence, None),
            Transport::Icmp(icmp) => match icmp.message {
                IcmpMessage::EchoRequest(echo) | IcmpMessage::EchoReply(echo) => {
                    (icmp.kind, echo.sequence.into(), Some(echo.id))
                }
                _ => (icmp.kind, icmp.code.into(), None),
            },
            Transport::Udp(_) | Transport::Other(_) => (0, identification, None),
        };
        Self {
            key,
            time_ns: 0,
            direction: None,
            source: End { address: packet.source, port: source_port.or(echo) },
            destination: End { address: packet.destination, port: destination_port },
            protocol: packet.protocol,
            ttl: packet.ttl,
            length: u16::try_from(packet.length).unwrap_or(u16::MAX),
            dont_fragment: packet.dont_fragment,
            fragment: packet.fragment.is_some(),
            sign,
            detail,
        }
    }
}

/// The packet that an ICMP error is about, and the error in words.
pub(super) fn error(packet: &Packet<'_>) -> Option<(Passage, String)> {
    let Transport::Icmp(icmp) = packet.transport else { return None };
    let IcmpMessage::Error(error) = icmp.message else { return None };
    let about = error.about().ok()?;
    // The quoted packet is cut, so its own key tells nothing.
    let passage = Passage::read(packet.key()?, &about);
    Some((passage, format!("{icmp} from {}", packet.source)))
}

/// A passage in 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glimpse {
    pub(super) key: PacketKey,
    pub(super) time_ns: u64,
    /// Which packet of its file, from 1.
    pub(super) number: u32,
    pub(super) detail: u32,
    pub(super) flow: Flow,
    pub(super) length: u16,
    pub(super) point: u16,
    pub(super) ttl: u8,
    pub(super) sign: u8,
    traits: u8,
}

/// From whom to whom, by the numbers of their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) source: u32,
    pub(super) destination: u32,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) protocol: u8,
}

/// A point, and the way in which packets pass it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Station {
    pub(super) point: u16,
    pub(super) direction: Option<Direction>,
}

const IN: u8 = 1;
const OUT: u8 = 2;
const DONT_FRAGMENT: u8 = 4;
const FRAGMENT: u8 = 8;

impl Glimpse {
    pub(super) fn new(point: u16, number: u32, (source, destination): (u32, u32), passage: &Passage) -> Self {
        let way = passage.direction.map_or(0, |way| if way == Direction::In { IN } else { OUT });
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        Self {
            key: passage.key,
            time_ns: passage.time_ns,
            number,
            detail: passage.detail,
            flow: Flow {
                source,
                destination,
                source_port: passage.source.port.unwrap_or(0),
                destination_port: passage.destination.port.unwrap_or(0),
                protocol: passage.protocol,
            },
            length: passage.length,
            point,
            ttl: passage.ttl,
            sign: passage.sign,
            traits: way | flag(passage.dont_fragment, DONT_FRAGMENT) | flag(passage.fragment, FRAGMENT),
        }
    }

    pub(super) fn direction(&self) -> Option<Direction> {
        match self.traits & (IN | OUT) {
            IN => Some(Direction::In),
            OUT => Some(Direction::Out),
            _ => None,
        }
    }

    pub(super) fn station(&self) -> Station {
        Station { point: self.point, direction: self.direction() }
    }

    pub(super) fn must_not_be_cut(&self) -> bool {
        self.traits & DONT_FRAGMENT != 0
    }

    pub(super) fn is_fragment(&self) -> bool {
        self.traits & FRAGMENT != 0
    }

    /// Whether it asks for a TCP connection.
    pub(super) fn is_syn(&self) -> bool {
        let flags = TcpFlags(self.sign);
        self.flow.protocol == protocol::TCP && flags.contain(TcpFlags::SYN) && !flags.contain(TcpFlags::ACK)
    }
}

impl Flow {
    /// Whether one goes where the other comes from, so that NAT cannot have made one of the other.
    fn meets(&self, other: &Self) -> bool {
        self.source == other.destination || self.destination == other.source
    }

    /// How likely it is that NAT made `other` of this: 0 is not at all, 2 that one end stayed what it was.
    pub(super) fn likeness(&self, other: &Self) -> u8 {
        if self.protocol != other.protocol || self == other || self.meets(other) {
            return 0;
        }
        let same_source = self.source == other.source && self.source_port == other.source_port;
        let same_destination =
            self.destination == other.destination && self.destination_port == other.destination_port;
        // Packets of a scanner differ in the port of one address, too: that alone is no sign of NAT.
        let is_one_end = same_destination || (same_source && self.destination != other.destination);
        1 + u8::from(is_one_end)
    }
}
