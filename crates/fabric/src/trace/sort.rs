//! Which of the frames that were seen belong to which probe: the probe itself, its answer, an error about it.
//!
//! NAT may change addresses, ports and the id of an echo. What it leaves alone is what the probes are known by: the
//! first bytes of their data, and for TCP, which has none yet, the sequence number.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_wire::{Frame as Decoded, Icmp, IcmpMessage, Packet, PacketKey, TcpFlags, Transport};
use serde::Serialize;

use super::watch::{Frame, ProbeKind};
use crate::journey::{End, Sighting, WatchPoint};

/// What all probes of one order have in common, and the ports that each was sent from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probes {
    /// How they go.
    pub kind: ProbeKind,
    /// To whom they were sent.
    pub to: End,
    /// What their data start with.
    pub nonce: u64,
    /// The sender's own port of each.
    pub ports: Vec<u16>,
}

/// The frames of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sorted {
    /// The probe itself.
    pub request: Vec<Sighting>,
    /// The answer of its receiver.
    pub reply: Vec<Sighting>,
    /// What the answer was.
    pub answer: Option<Answer>,
    /// Errors about it that somebody sent, as they were first seen.
    pub errors: Vec<ErrorSeen>,
}

/// What came back from the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// An echo, or a datagram.
    Answered,
    /// A connection was accepted.
    Accepted,
    /// A connection was refused (RST).
    Refused,
}

/// An ICMP error about a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorSeen {
    /// Who says it.
    pub from: IpAddr,
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
    /// The largest packet that would pass, in errors about that.
    pub mtu: Option<u32>,
    /// Everywhere where it was seen.
    pub seen: Vec<Sighting>,
}

/// The data that a probe starts with: the nonce and its number, both big-endian.
#[must_use]
pub fn marker(nonce: u64, nth: u16) -> [u8; 10] {
    let mut marker = [0; 10];
    marker[..8].copy_from_slice(&nonce.to_be_bytes());
    marker[8..].copy_from_slice(&nth.to_be_bytes());
    marker
}

/// The id of the echoes of an order.
#[must_use]
pub fn echo_id(nonce: u64) -> u16 {
    let [.., high, low] = nonce.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Sorts frames to the probes; what belongs to none is left out.
#[must_use]
pub fn sort<'a>(probes: &Probes, frames: &'a [(WatchPoint, &'a Frame)]) -> Vec<Sorted> {
    let decoded: Vec<(&WatchPoint, u64, Decoded<'_>)> = frames
        .iter()
        .map(|(at, frame)| (at, frame.time_ns, Decoded::decode(frame.link(), &frame.bytes)))
        .collect();
    let packets: Vec<(&WatchPoint, u64, &Packet<'_>)> =
        decoded.iter().filter_map(|(at, time, frame)| Some((*at, *time, frame.packet()?))).collect();
    let known = Known::learn(probes, &packets);
    let mut sorted = vec![Sorted::default(); probes.ports.len()];
    for (at, time_ns, packet) in packets {
        let Some((nth, role)) = known.role(probes, packet) else { continue };
        let (Some(slot), Some(sighting)) =
            (sorted.get_mut(usize::from(nth)), Sighting::of(at.clone(), time_ns, packet))
        else {
            continue;
        };
        slot.take(&role, sighting);
    }
    sorted
}

/// What a frame is to a probe.
enum Role {
    Request,
    Reply(Answer),
    Error { kind: u8, code: u8, mtu: Option<u32> },
}

impl Sorted {
    fn take(&mut self, role: &Role, sighting: Sighting) {
        match *role {
            Role::Request => self.request.push(sighting),
            Role::Reply(answer) => {
                self.answer = Some(answer);
                self.reply.push(sighting);
            }
            Role::Error { kind, code, mtu } => {
                let known = self.errors.iter_mut().find(|error| {
                    (error.kind, error.code) == (kind, code)
                        && error.seen.first().is_some_and(|first| first.key == sighting.key)
                });
                if let Some(error) = known {
                    error.seen.push(sighting);
                } else {
                    let from = sighting.source.address;
                    self.errors.push(ErrorSeen { from, kind, code, mtu, seen: vec![sighting] });
                }
            }
        }
    }
}

/// What has to be seen first: sequence numbers of connections, keys of answers.
#[derive(Default)]
struct Known {
    /// The sequence number of each connection's start.
    starts: BTreeMap<u32, u16>,
    /// Answers of UDP, as NAT leaves them to be told.
    answers: BTreeMap<PacketKey, u16>,
}

impl Known {
    fn learn(probes: &Probes, packets: &[(&WatchPoint, u64, &Packet<'_>)]) -> Self {
        let mut known = Self::default();
        for (_, _, packet) in packets {
            if let (Transport::Tcp(tcp), ProbeKind::Tcp) = (&packet.transport, probes.kind) {
                let is_start = tcp.flags.contain(TcpFlags::SYN) && !tcp.flags.contain(TcpFlags::ACK);
                if let Some(nth) = probes.of_port(tcp.source_port).filter(|_| is_start) {
                    known.starts.entry(tcp.sequence).or_insert(nth);
                }
            }
            if let (Transport::Udp(udp), ProbeKind::Udp) = (&packet.transport, probes.kind)
                && let Some(nth) = probes.of_port(udp.destination_port)
                && Some(udp.source_port) == probes.to.port
            {
                known.answers.extend(packet.key().map(|key| (key, nth)));
            }
        }
        known
    }

    fn role(&self, probes: &Probes, packet: &Packet<'_>) -> Option<(u16, Role)> {
        match (&packet.transport, probes.kind) {
            (Transport::Icmp(icmp), kind) => {
                if let (IcmpMessage::EchoRequest(echo), ProbeKind::Icmp) = (&icmp.message, kind) {
                    return Some((probes.of_data(echo.payload)?, Role::Request));
                }
                if let (IcmpMessage::EchoReply(echo), ProbeKind::Icmp) = (&icmp.message, kind) {
                    return Some((probes.of_data(echo.payload)?, Role::Reply(Answer::Answered)));
                }
                self.error(probes, icmp)
            }
            (Transport::Tcp(tcp), ProbeKind::Tcp) => {
                if let Some(nth) = self.starts.get(&tcp.sequence) {
                    return tcp.flags.contain(TcpFlags::SYN).then_some((*nth, Role::Request));
                }
                let nth = *self.starts.get(&tcp.acknowledgement.wrapping_sub(1))?;
                if tcp.flags.contain(TcpFlags::RST) {
                    Some((nth, Role::Reply(Answer::Refused)))
                } else {
                    tcp.flags.contain(TcpFlags::SYN).then_some((nth, Role::Reply(Answer::Accepted)))
                }
            }
            (Transport::Udp(udp), ProbeKind::Udp) => {
                // A program that sends back what it got makes an answer with the key of the question: its port tells.
                let is_question =
                    Some(udp.destination_port) == probes.to.port && Some(udp.source_port) != probes.to.port;
                match self.answers.get(&packet.key()?).filter(|_| !is_question) {
                    Some(nth) => Some((*nth, Role::Reply(Answer::Answered))),
                    None => Some((probes.of_data(udp.payload)?, Role::Request)),
                }
            }
            // A later fragment of a probe has no header that would tell.
            _ => None,
        }
    }

    fn error(&self, probes: &Probes, icmp: &Icmp<'_>) -> Option<(u16, Role)> {
        let IcmpMessage::Error(error) = icmp.message else { return None };
        let about = error.about().ok()?;
        let nth = match (&about.transport, probes.kind) {
            (Transport::Icmp(Icmp { message: IcmpMessage::EchoRequest(echo), .. }), ProbeKind::Icmp) => {
                let by_id = || (echo.id == echo_id(probes.nonce)).then(|| echo.sequence.wrapping_sub(1));
                probes.of_data(echo.payload).or_else(by_id)?
            }
            (Transport::Tcp(tcp), ProbeKind::Tcp) => *self.starts.get(&tcp.sequence)?,
            (Transport::TcpStart(start), ProbeKind::Tcp) => *self.starts.get(&start.sequence)?,
            (Transport::Udp(udp), ProbeKind::Udp) => {
                probes.of_data(udp.payload).or_else(|| probes.of_port(udp.source_port))?
            }
            _ => return None,
        };
        Some((nth, Role::Error { kind: icmp.kind, code: icmp.code, mtu: error.mtu }))
    }
}

impl Probes {
    fn of_data(&self, data: &[u8]) -> Option<u16> {
        let (nonce, rest) = data.split_first_chunk::<8>()?;
        let (nth, _) = rest.split_first_chunk::<2>()?;
        (u64::from_be_bytes(*nonce) == self.nonce).then_some(u16::from_be_bytes(*nth))
    }

    fn of_port(&self, port: u16) -> Option<u16> {
        self.ports
            .iter()
            .position(|known| *known == port && port != 0)
            .and_then(|nth| u16::try_from(nth).ok())
    }
}
