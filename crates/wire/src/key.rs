//! The key of a packet: the same wherever on its way the packet is seen.
//!
//! | covered | because |
//! |---|---|
//! | family, protocol | nothing on the way changes them |
//! | IPv4 identification | set once by the sender, kept by routers and by Linux's NAT |
//! | ICMP type, code, echo sequence | kept by all |
//! | ICMP error: the key of the packet it is about | NAT translates the quotation too, so its NAT'ed parts are left out as well |
//! | TCP sequence, acknowledgement, SYN FIN RST ACK, window, timestamp option | kept by all; tells a segment from its repetition |
//! | UDP length | kept by all; the first fragment still has that of the whole |
//! | the first [`KEY_PAYLOAD_BYTES`] of the payload | ping puts a time there, programs their data |
//! | later fragments: identification, offset, first bytes | they have no transport header |
//!
//! | not covered | because |
//! |---|---|
//! | TTL, header checksum | every router changes them |
//! | traffic class, flow label, options, ECE CWR | may be marked on the way |
//! | addresses, ports, echo id | NAT changes them (the echo id where two pings behind one address have the same) |
//! | transport checksums | NAT changes them, and a sender with offload has not yet made them |
//! | IP length, TCP length, PSH | a segment of 64 KiB is cut into small ones by the card: the first keeps the key |
//!
//! So two packets can share a key if only NAT could tell them apart: pings of two containers with the same
//! sequence and the same constant payload, over IPv6 or with identification 0. Who must tell these apart
//! adds the addresses where no NAT is, or sends a payload of its own.

use std::fmt;
use std::str::FromStr;

use crate::icmp::{Icmp, IcmpMessage};
use crate::packet::Packet;
use crate::transport::{Tcp, TcpFlags, Transport};

/// How much of the payload is part of the key. Long enough for ping's time stamp and pattern (16 + 16), and
/// short enough to be inside of any sensible snap length.
pub const KEY_PAYLOAD_BYTES: usize = 32;

/// A snap length with which every packet keeps its key: Ethernet (14), one VLAN tag that is left in (4), IPv4
/// with all options (60), an ICMP error (8) about a packet (60) with all TCP options (60) and its payload (32).
/// IPv6 with 80 bytes of extension headers before a whole TCP header and its payload fits too.
pub const KEY_SNAPLEN: u32 = 256;

/// What identifies one packet on its way, through routers and NAT. See the head of this file for what it covers.
///
/// It is a mark, not a secret: whoever can send packets can send two with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketKey(u64);

/// A text that is not a key: 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadPacketKey;

impl<'a> Packet<'a> {
    /// What identifies this packet wherever it is seen; `None` if it was cut before enough could be read
    /// (see [`KEY_SNAPLEN`]) or is malformed where the key needs it.
    #[must_use]
    pub fn key(&self) -> Option<PacketKey> {
        let mut mix = Mix::new();
        let payload = self.mix_headers(&mut mix, Depth::Outer)?;
        // A length of 0 does not tell whether something is missing.
        let missing = self.stop.is_some() || self.length == 0 || self.fragment.is_some_and(|part| part.more);
        if missing && payload.len() < KEY_PAYLOAD_BYTES {
            return None;
        }
        mix.bytes(payload);
        Some(PacketKey(mix.0))
    }

    /// Mixes the headers in and returns the payload behind them.
    fn mix_headers(&self, mix: &mut Mix, depth: Depth) -> Option<&'a [u8]> {
        let family = u64::from(self.source.is_ipv6());
        let offset = self.fragment.map_or(0, |part| part.offset);
        // A first fragment has the key of the whole packet. IPv6 numbers fragments only, so there the number
        // counts for later ones only.
        let counts = self.source.is_ipv4() || offset > 0;
        let identification = self.identification.filter(|_| counts).unwrap_or(0);
        mix.word(
            family << 56
                | u64::from(self.protocol) << 48
                | u64::from(offset) << 32
                | u64::from(identification),
        );
        match self.transport {
            Transport::Icmp(icmp) => Some(mix_icmp(mix, &icmp, depth)),
            Transport::Tcp(tcp) => {
                mix_tcp(mix, &tcp);
                Some(tcp.payload)
            }
            Transport::TcpStart(start) if depth == Depth::Quoted => {
                mix.word(start.sequence.into());
                Some(&[])
            }
            Transport::TcpStart(_) => None,
            Transport::Udp(udp) => {
                mix.word(udp.length.into());
                Some(udp.payload)
            }
            Transport::Other(bytes) => Some(bytes),
        }
    }
}

/// Whether this is the packet itself, or one quoted in an error: that is cut, but the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Quoted,
}

fn mix_icmp<'a>(mix: &mut Mix, icmp: &Icmp<'a>, depth: Depth) -> &'a [u8] {
    let kind = u64::from(icmp.kind) << 8 | u64::from(icmp.code);
    match icmp.message {
        IcmpMessage::EchoRequest(echo) | IcmpMessage::EchoReply(echo) => {
            mix.word(kind << 16 | u64::from(echo.sequence));
            echo.payload
        }
        IcmpMessage::Error(error) => {
            mix.word(kind << 32 | u64::from(error.mtu.unwrap_or(0)));
            // No errors are sent about errors (RFC 1122, 3.2.2), so one level is all; more is somebody's game.
            let about = if depth == Depth::Outer { error.about().ok() } else { None };
            about.and_then(|packet| packet.mix_headers(mix, Depth::Quoted)).unwrap_or(&[])
        }
        IcmpMessage::Other(body) => {
            mix.word(kind << 16);
            body
        }
    }
}

fn mix_tcp(mix: &mut Mix, tcp: &Tcp<'_>) {
    let told = TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0 | TcpFlags::ACK.0;
    mix.word(u64::from(tcp.sequence) << 32 | u64::from(tcp.acknowledgement));
    mix.word(u64::from(tcp.flags.0 & told) << 48 | u64::from(tcp.window) << 32 | timestamp(tcp.options));
}

/// The sender's time stamp (RFC 7323), or 0.
fn timestamp(mut options: &[u8]) -> u64 {
    // Ends: every round takes at least one byte of at most 40.
    loop {
        options = match options {
            [1, rest @ ..] => rest,
            [8, 10, a, b, c, d, ..] => return u32::from_be_bytes([*a, *b, *c, *d]).into(),
            [2..=u8::MAX, length @ 2..=u8::MAX, ..] => options.get(usize::from(*length)..).unwrap_or(&[]),
            _ => return 0,
        };
    }
}

/// A hash that is the same on every machine: a 64-bit multiplication whose halves are folded, word by word.
struct Mix(u64);

/// An odd number without pattern: the fraction of the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Mix {
    fn new() -> Self {
        Self(GOLDEN)
    }

    fn word(&mut self, word: u64) {
        let (low, high) = (self.0 ^ word).carrying_mul(GOLDEN, GOLDEN);
        self.0 = low ^ high.rotate_left(17);
    }

    /// The first [`KEY_PAYLOAD_BYTES`] and how many there were.
    fn bytes(&mut self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(KEY_PAYLOAD_BYTES)];
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
        self.word(bytes.len() as u64);
    }
}

impl fmt::Display for PacketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for PacketKey {
    type Err = BadPacketKey;

    fn from_str(text: &str) -> Result<Self, BadPacketKey> {
        let plain = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = if plain { u64::from_str_radix(text, 16).ok() } else { None };
        number.map(Self).ok_or(BadPacketKey)
    }
}

impl fmt::Display for BadPacketKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key of a packet has 16 of 0-9 a-f")
    }
}

impl std::error::Error for BadPacketKey {}
