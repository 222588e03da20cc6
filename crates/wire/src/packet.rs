//! The network layer: IPv4 and IPv6 as one type.
//!
//! IPv6 extension headers are walked to the transport header, with a bound.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::stop::{Layer, Stop, take, u16_at, u32_at};
use crate::transport::{self, Transport};

/// Extension headers that are walked: as many as the kernel's own flow dissector (`MAX_FLOW_DISSECT_HDRS`).
pub const IPV6_EXTENSIONS_MAX: usize = 15;

/// Protocol numbers that are read or named here (IANA, "Protocol Numbers").
#[expect(missing_docs, reason = "the names are the registry's own")]
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AUTHENTICATION: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT: u8 = 59;
    pub const DESTINATION: u8 = 60;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// One IPv4 or IPv6 packet, as far as it could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Who sent it, by its own word.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// Routers that may still pass it on; IPv6 calls it the hop limit.
    pub ttl: u8,
    /// IPv4: the header's identification, which may be 0 where fragments are forbidden. IPv6: that of the
    /// fragment header, if there is one.
    pub identification: Option<u32>,
    /// Whether routers must not cut it into fragments; for IPv6 they never may.
    pub dont_fragment: bool,
    /// Which part of a larger packet this is; `None` if it is whole.
    pub fragment: Option<Fragment>,
    /// What it carries, after IPv6 extension headers: see [`protocol`].
    pub protocol: u8,
    /// Its length in bytes with all headers, by its own word; 0 where the sender left that to the network
    /// card (segmentation offload of more than 64 KiB).
    pub length: u32,
    /// How much of that is left for what it carries, with the transport's header; where the sender left the length
    /// to the network card, as many bytes as are there. A snap length does not make it less.
    pub carried_length: u32,
    /// What it carries.
    pub transport: Transport<'a>,
    /// Where reading ended before the end, if it did.
    pub stop: Option<Stop>,
}

/// The place of a fragment in the packet that it was cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Where it starts, in bytes; a multiple of 8.
    pub offset: u16,
    /// Whether others come after it.
    pub more: bool,
}

impl<'a> Packet<'a> {
    /// Reads a packet that starts with its IP header.
    ///
    /// # Errors
    /// Where not even the addresses could be read.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Stop> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => Self::decode_v4(bytes),
            Some(6) => Self::decode_v6(bytes),
            Some(_) => Err(Stop::Malformed { layer: Layer::Ip, what: "the version is neither 4 nor 6" }),
            None => Err(Stop::CutShort { layer: Layer::Ip, needed: 1, had: 0 }),
        }
    }

    #[inline]
    pub(crate) fn decode_v4(bytes: &'a [u8]) -> Result<Self, Stop> {
        let (header, _) = take::<20>(bytes, Layer::Ipv4)?;
        if header[0] >> 4 != 4 {
            return Err(Stop::Malformed { layer: Layer::Ipv4, what: "the version is not 4" });
        }
        let flags = u16_at(header, 6);
        let part = Fragment { offset: (flags & 0x1fff) * 8, more: flags & 0x2000 != 0 };
        let (fragment, protocol) = (part.is_part().then_some(part), header[9]);
        let (carried_length, (transport, stop)) = match v4_payload(bytes, header) {
            Ok((payload, cut)) => (promised(payload, cut), carried(protocol, payload, fragment, cut)),
            Err(stop) => (0, (Transport::Other(&[]), Some(stop))),
        };
        Ok(Self {
            source: Ipv4Addr::from(u32_at(header, 12)).into(),
            destination: Ipv4Addr::from(u32_at(header, 16)).into(),
            ttl: header[8],
            identification: Some(u16_at(header, 4).into()),
            dont_fragment: flags & 0x4000 != 0,
            fragment,
            protocol,
            length: u16_at(header, 2).into(),
            carried_length,
            transport,
            stop,
        })
    }

    pub(crate) fn decode_v6(bytes: &'a [u8]) -> Result<Self, Stop> {
        let (header, rest) = take::<40>(bytes, Layer::Ipv6)?;
        if header[0] >> 4 != 6 {
            return Err(Stop::Malformed { layer: Layer::Ipv6, what: "the version is not 6" });
        }
        let length = u16_at(header, 4);
        let address = |at: usize| Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|nth| header[at + nth]));
        // 0 promises nothing: a jumbogram, or the sender left the length to the network card.
        let (payload, cut) = if length == 0 { (rest, None) } else { bound(rest, length.into()) };
        let walk = Walk::over(header[6], payload);
        let fragment = walk.fragment.filter(|part| part.is_part());
        let (transport, stop) = match walk.stop {
            None => carried(walk.protocol, walk.rest, fragment, cut),
            stop => (Transport::Other(&[]), stop),
        };
        Ok(Self {
            source: address(8).into(),
            destination: address(24).into(),
            ttl: header[7],
            identification: walk.identification,
            dont_fragment: true,
            fragment,
            protocol: walk.protocol,
            length: if length == 0 { 0 } else { 40 + u32::from(length) },
            carried_length: promised(payload, cut).saturating_sub(bytes_of(payload) - bytes_of(walk.rest)),
            transport,
            stop,
        })
    }
}

/// Reads what a packet carries. `cut`: what of it is missing.
#[inline]
fn carried(
    protocol: u8,
    payload: &[u8],
    fragment: Option<Fragment>,
    cut: Option<Stop>,
) -> (Transport<'_>, Option<Stop>) {
    // Only the first fragment has a transport header.
    if fragment.is_some_and(|part| part.offset > 0) {
        return (Transport::Other(payload), cut);
    }
    let whole = cut.is_none() && fragment.is_none();
    let (transport, stop) = transport::decode(protocol, payload, whole);
    (transport, stop.or(cut))
}

impl Fragment {
    /// A first fragment after which nothing comes is a whole packet ("atomic", RFC 6946).
    fn is_part(self) -> bool {
        self.offset > 0 || self.more
    }
}

/// The bytes after the IPv4 header and its options, and whether some of them are missing.
fn v4_payload<'a>(bytes: &'a [u8], header: &[u8; 20]) -> Result<(&'a [u8], Option<Stop>), Stop> {
    let malformed = |what| Stop::Malformed { layer: Layer::Ipv4, what };
    let header_length = usize::from(header[0] & 15) * 4;
    if header_length < 20 {
        return Err(malformed("the header is shorter than 20 bytes"));
    }
    let cut = Stop::CutShort { layer: Layer::Ipv4, needed: header_length, had: bytes.len() };
    let rest = bytes.get(header_length..).ok_or(cut)?;
    match usize::from(u16_at(header, 2)) {
        // Left to the network card.
        0 => Ok((rest, None)),
        length if length < header_length => Err(malformed("the packet is shorter than its header")),
        length => Ok(bound(rest, length - header_length)),
    }
}

/// As many bytes as the IP header promised (the rest is Ethernet padding), and whether some are missing.
fn bound(rest: &[u8], needed: usize) -> (&[u8], Option<Stop>) {
    match rest.get(..needed) {
        Some(payload) => (payload, None),
        None => (rest, Some(Stop::CutShort { layer: Layer::Payload, needed, had: rest.len() })),
    }
}

/// As many bytes as were promised, whether they are there or not.
fn promised(payload: &[u8], cut: Option<Stop>) -> u32 {
    match cut {
        Some(Stop::CutShort { needed, .. }) => u32::try_from(needed).unwrap_or(u32::MAX),
        _ => bytes_of(payload),
    }
}

fn bytes_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// What lies behind the IPv6 extension headers.
struct Walk<'a> {
    protocol: u8,
    rest: &'a [u8],
    identification: Option<u32>,
    fragment: Option<Fragment>,
    stop: Option<Stop>,
}

impl<'a> Walk<'a> {
    fn over(first: u8, payload: &'a [u8]) -> Self {
        let mut walk =
            Self { protocol: first, rest: payload, identification: None, fragment: None, stop: None };
        for _ in 0..IPV6_EXTENSIONS_MAX {
            match walk.step() {
                Ok(true) => {}
                Ok(false) => return walk,
                Err(stop) => return Self { stop: Some(stop), ..walk },
            }
        }
        if is_extension(walk.protocol) {
            let what = "more than 15 extension headers";
            walk.stop = Some(Stop::Malformed { layer: Layer::Ipv6Extension, what });
        }
        walk
    }

    /// Passes one extension header; false if there is none here.
    fn step(&mut self) -> Result<bool, Stop> {
        let behind_a_later_part = self.fragment.is_some_and(|part| part.offset > 0);
        if !is_extension(self.protocol) || behind_a_later_part {
            return Ok(false);
        }
        let (start, _) = take::<8>(self.rest, Layer::Ipv6Extension)?;
        let needed = extension_length(self.protocol, start[1]);
        let cut = Stop::CutShort { layer: Layer::Ipv6Extension, needed, had: self.rest.len() };
        let rest = self.rest.get(needed..).ok_or(cut)?;
        if self.protocol == protocol::FRAGMENT {
            let place = u16_at(start, 2);
            self.fragment = Some(Fragment { offset: place & 0xfff8, more: place & 1 != 0 });
            self.identification = Some(u32_at(start, 4));
        }
        (self.protocol, self.rest) = (start[0], rest);
        Ok(true)
    }
}

fn is_extension(number: u8) -> bool {
    use protocol::{AUTHENTICATION, DESTINATION, FRAGMENT, HIP, HOP_BY_HOP, MOBILITY, ROUTING, SHIM6};
    matches!(number, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION | MOBILITY | HIP | SHIM6)
}

/// In bytes, from the header's length field (RFC 8200, 4.2; RFC 4302, 2.2 for authentication). At least 8.
fn extension_length(number: u8, field: u8) -> usize {
    match number {
        protocol::FRAGMENT => 8,
        protocol::AUTHENTICATION => (usize::from(field) * 4 + 8).max(8),
        _ => usize::from(field) * 8 + 8,
    }
}
