//! A TCP segment with all that its place in a connection hangs on.

use std::net::{IpAddr, SocketAddr};

use super::readers::Ends;
use crate::stop::{Layer, Stop};
use crate::{Packet, Tcp, TcpFlags, Transport};

/// The fixed part of a TCP header.
const HEADER_BYTES: u32 = 20;

/// A segment, borrowed from its packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) point: u32,
    pub(super) time_ns: u64,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) tcp: Tcp<'a>,
    /// Bytes of data that it had on the wire; `tcp.payload` can be shorter.
    pub(super) length: u32,
    /// What the sender numbered the packet with.
    pub(super) identification: u32,
}

/// Two ends as the table knows them: the lower first, so that both directions have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Key {
    pub(super) low: Address,
    pub(super) high: Address,
}

/// An address (IPv4 as IPv6 maps it) and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Address {
    pub(super) ip: u128,
    pub(super) port: u16,
}

impl<'a> Segment<'a> {
    /// The segment in a packet that is whole, not a fragment; `None` if there is none, or its header is malformed.
    #[inline]
    pub(super) fn of(point: usize, time_ns: u64, packet: &Packet<'a>) -> Option<Self> {
        let Transport::Tcp(tcp) = packet.transport else { return None };
        let header = match packet.stop {
            Some(Stop::Malformed { .. }) => return None,
            // Cut inside of the options: nothing of the data is there, but how much it was is known.
            Some(Stop::CutShort { layer: Layer::Tcp, needed, .. }) => {
                u32::try_from(needed).unwrap_or(HEADER_BYTES)
            }
            _ => HEADER_BYTES + length_of(tcp.options),
        };
        Some(Self {
            point: u32::try_from(point).unwrap_or(u32::MAX),
            time_ns,
            source: packet.source,
            destination: packet.destination,
            tcp,
            length: packet.carried_length.saturating_sub(header).max(length_of(tcp.payload)),
            identification: packet.identification.unwrap_or_default(),
        })
    }

    /// The ends, and whether the sender is the lower one.
    #[inline]
    pub(super) fn key(&self) -> (Key, bool) {
        let from = Address { ip: number(self.source), port: self.tcp.source_port };
        let to = Address { ip: number(self.destination), port: self.tcp.destination_port };
        if from <= to { (Key { low: from, high: to }, true) } else { (Key { low: to, high: from }, false) }
    }

    /// The number of its first byte of data: a SYN takes the one before.
    #[inline]
    pub(super) fn data_sequence(&self) -> u32 {
        self.tcp.sequence.wrapping_add(u32::from(self.has(TcpFlags::SYN)))
    }

    #[inline]
    pub(super) fn has(&self, flags: TcpFlags) -> bool {
        self.tcp.flags.contain(flags)
    }

    #[inline]
    pub(super) fn acknowledgement(&self) -> Option<u32> {
        self.has(TcpFlags::ACK).then_some(self.tcp.acknowledgement)
    }

    /// The same for every copy of this packet, and different when the data is sent once more: the sender gives the packet
    /// another number, or its time stamp (RFC 7323) has gone on.
    #[inline]
    pub(super) fn mark(&self) -> u32 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let numbers = u64::from(self.tcp.sequence) << 32 | u64::from(self.tcp.acknowledgement);
        let rest = u64::from(self.identification) << 32 | u64::from(self.tcp.window) << 16;
        let mut mixed = (numbers ^ ODD).wrapping_mul(ODD) ^ rest ^ u64::from(self.length);
        for word in self.tcp.options.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            mixed = (mixed.rotate_left(29) ^ u64::from_ne_bytes(bytes)).wrapping_mul(ODD);
        }
        u32::try_from(mixed.wrapping_mul(ODD) >> 32).unwrap_or_default()
    }
}

impl Key {
    /// As its readers know it.
    pub(super) fn ends(&self, first_is_low: bool) -> Ends {
        let (first, second) = if first_is_low { (self.low, self.high) } else { (self.high, self.low) };
        Ends { first: first.socket(), second: second.socket() }
    }
}

impl Address {
    fn socket(self) -> SocketAddr {
        SocketAddr::new(std::net::Ipv6Addr::from_bits(self.ip).to_canonical(), self.port)
    }
}

#[inline]
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => 0xffff << 32 | u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[inline]
pub(super) fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
