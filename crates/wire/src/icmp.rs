//! ICMP and `ICMPv6`: echoes, and errors with the packet they are about.

use crate::packet::Packet;
use crate::stop::{Layer, Stop, take, u16_at, u32_at};
use crate::transport::Transport;

/// Which of the two numberings a type and code belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IcmpVersion {
    /// RFC 792.
    V4,
    /// RFC 4443.
    V6,
}

/// An ICMP or `ICMPv6` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp<'a> {
    /// Whose numbers these are.
    pub version: IcmpVersion,
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// What it says.
    pub message: IcmpMessage<'a>,
}

/// What an ICMP message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpMessage<'a> {
    /// Are you there?
    EchoRequest(Echo<'a>),
    /// I am.
    EchoReply(Echo<'a>),
    /// A packet could not be delivered.
    Error(IcmpError<'a>),
    /// Anything else: what follows the checksum.
    Other(&'a [u8]),
}

/// An echo request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo<'a> {
    /// Which conversation; source NAT may change it, like a port.
    pub id: u16,
    /// Which of its messages.
    pub sequence: u16,
    /// What is to be echoed.
    pub payload: &'a [u8],
}

/// An error about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError<'a> {
    /// The largest packet that would have passed, in bytes, if that was the trouble.
    pub mtu: Option<u32>,
    /// The start of the packet that it is about, from its IP header.
    pub quoted: &'a [u8],
}

impl<'a> IcmpError<'a> {
    /// The packet that it is about; usually cut short.
    ///
    /// # Errors
    /// Where not even its addresses could be read.
    pub fn about(&self) -> Result<Packet<'a>, Stop> {
        Packet::decode(self.quoted)
    }
}

impl<'a> Icmp<'a> {
    pub(crate) fn decode(version: IcmpVersion, bytes: &'a [u8]) -> (Transport<'a>, Option<Stop>) {
        let layer = match version {
            IcmpVersion::V4 => Layer::Icmp,
            IcmpVersion::V6 => Layer::Icmpv6,
        };
        match take::<4>(bytes, layer) {
            Err(stop) => (Transport::Other(bytes), Some(stop)),
            Ok((&[kind, code, ..], body)) => {
                let (message, stop) = message(version, kind, code, body);
                let cut = stop.then_some(Stop::CutShort { layer, needed: 8, had: bytes.len() });
                (Transport::Icmp(Self { version, kind, code, message }), cut)
            }
        }
    }
}

/// Reads what follows the checksum; true if it was cut before it said anything.
fn message(version: IcmpVersion, kind: u8, code: u8, body: &[u8]) -> (IcmpMessage<'_>, bool) {
    let Some((word, rest)) = body.split_first_chunk::<4>() else { return (IcmpMessage::Other(body), true) };
    let echo = Echo { id: u16_at(word, 0), sequence: u16_at(word, 2), payload: rest };
    let message = match (version, kind) {
        (IcmpVersion::V4, 8) | (IcmpVersion::V6, 128) => IcmpMessage::EchoRequest(echo),
        (IcmpVersion::V4, 0) | (IcmpVersion::V6, 129) => IcmpMessage::EchoReply(echo),
        (IcmpVersion::V4, 3 | 4 | 5 | 11 | 12) | (IcmpVersion::V6, 1..=4) => {
            IcmpMessage::Error(error(version, kind, code, *word, rest))
        }
        _ => IcmpMessage::Other(body),
    };
    (message, false)
}

fn error(version: IcmpVersion, kind: u8, code: u8, word: [u8; 4], rest: &[u8]) -> IcmpError<'_> {
    let mtu = match (version, kind, code) {
        (IcmpVersion::V4, 3, 4) => Some(u16_at(&word, 2).into()),
        (IcmpVersion::V6, 2, _) => Some(u32_at(&word, 0)),
        _ => None,
    };
    // Where extensions follow, the quoted packet's length comes first (RFC 4884, 4).
    let quoted_length = match (version, kind) {
        (IcmpVersion::V4, 3 | 11 | 12) => usize::from(word[1]) * 4,
        (IcmpVersion::V6, 1 | 3) => usize::from(word[0]) * 8,
        _ => 0,
    };
    let quoted = if quoted_length == 0 { rest } else { rest.get(..quoted_length).unwrap_or(rest) };
    IcmpError { mtu, quoted }
}
