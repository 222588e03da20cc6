//! Two hosts that talk over TCP, and what a bad capture makes of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use byway_wire::stream::Side;
use byway_wire::{Layer, Packet, Stop, Tcp, TcpFlags, Transport, protocol};
use proptest::prelude::*;

/// How far packets may change places. Far less than what is waited for.
const DISORDER: usize = 8;
/// So much later is something sent once more: no sender does that before it can have an answer.
const LATER: usize = DISORDER * 3;

/// Packets in the order of cause.
#[derive(Debug, Clone)]
pub(crate) struct Conversation {
    pub(crate) isns: [u32; 2],
    pub(crate) packets: Vec<Sent>,
    /// How many bytes each side sent.
    pub(crate) lengths: [u64; 2],
}

/// A packet as it was sent.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) side: Side,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) acknowledges: u64,
    pub(crate) flags: u8,
    pub(crate) identification: u32,
    pub(crate) point: usize,
    /// Bytes that were not captured.
    pub(crate) cut: usize,
}

const SIDES: [Side; 2] = [Side::First, Side::Second];

/// What a side sends at an offset: nothing that a byte at a wrong place could be taken for.
pub(crate) fn byte(side: Side, offset: u64) -> u8 {
    let mixed = (offset + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (40 + 8 * side as u64);
    u8::try_from(mixed & 0xff).unwrap()
}

impl Conversation {
    /// A handshake, turns of (side, length, whether everything is acknowledged), and the end.
    fn of(isns: [u32; 2], turns: &[(bool, u64, bool)]) -> Self {
        let mut talk = Self { isns, packets: Vec::new(), lengths: [0, 0] };
        let mut acknowledged = [0, 0];
        talk.send(Side::First, 0, 0, 2);
        talk.send(Side::Second, 0, 0, 2 | 16);
        talk.send(Side::First, 0, 0, 16);
        for (is_first, length, all) in turns {
            let side = if *is_first { Side::First } else { Side::Second };
            if *all {
                acknowledged[side as usize] = talk.lengths[side.other() as usize];
            }
            talk.send(side, *length, acknowledged[side as usize], 16);
        }
        // More than one byte at the end: that one byte is missing there cannot be told from a FIN that is.
        for side in SIDES {
            talk.send(side, 2, talk.lengths[side.other() as usize], 16);
        }
        for side in SIDES {
            talk.send(side, 0, talk.lengths[side.other() as usize], 1 | 16);
        }
        // The FIN takes a number.
        talk.send(Side::First, 0, talk.lengths[1] + 1, 16);
        talk.send(Side::Second, 0, talk.lengths[0] + 1, 16);
        talk
    }

    fn send(&mut self, side: Side, length: u64, acknowledges: u64, flags: u8) {
        let offset = self.lengths[side as usize];
        self.lengths[side as usize] += length;
        let identification = u32::try_from(self.packets.len()).unwrap();
        self.packets.push(Sent {
            side,
            offset,
            length,
            acknowledges,
            flags,
            identification,
            point: 0,
            cut: 0,
        });
    }

    /// Some bytes are sent once more, with other boundaries and by a sender who has heard more since.
    pub(crate) fn repeat(&mut self, choices: &[(usize, u64)]) {
        for (number, (at, more)) in (10_000..).zip(choices) {
            let at = at % self.packets.len();
            let sent = self.packets[at];
            let (known, later) = (at + LATER, at + 2 * LATER);
            if sent.length == 0 || later + 4 > self.packets.len() {
                continue;
            }
            let before = &self.packets[..later];
            let ends = before[..known].iter().filter(|other| other.side == sent.side);
            let sent_until = ends.map(|other| other.offset + other.length).max().unwrap_or(0);
            let heard =
                before.iter().filter(|other| other.side == sent.side).map(|other| other.acknowledges).max();
            let length = (sent.length + more).min(sent_until - sent.offset);
            let acknowledges = heard.unwrap_or(0);
            self.packets.insert(later, Sent { length, acknowledges, identification: number, ..sent });
        }
    }

    /// Every packet is seen at several points, each a little later than at the one before.
    pub(crate) fn see_at(&mut self, points: usize) {
        let copies = |sent: &Sent| (0..points).map(|point| Sent { point, ..*sent }).collect::<Vec<_>>();
        self.packets = self.packets.iter().flat_map(copies).collect();
    }

    /// Packets change places, but not those of the handshake; and a FIN is not acknowledged before it is there, as it
    /// could then be taken for a byte.
    pub(crate) fn disorder(&mut self, choices: &[usize]) {
        let handshake = self.packets.iter().position(|sent| sent.length > 0).unwrap_or(0);
        let last_fin = self.packets.iter().rposition(|sent| sent.flags & 1 != 0).unwrap_or(0);
        let end = self.packets.split_off(last_fin + 1);
        let place = |nth: usize| nth + choices.iter().cycle().nth(nth).map_or(0, |choice| choice % DISORDER);
        let mut placed: Vec<(usize, Sent)> = self
            .packets
            .split_off(handshake)
            .into_iter()
            .enumerate()
            .map(|(nth, sent)| (place(nth), sent))
            .collect();
        placed.sort_by_key(|(place, _)| *place);
        self.packets.extend(placed.into_iter().map(|(_, sent)| sent).chain(end));
    }

    /// What the other side had when a byte was sent first.
    pub(crate) fn acknowledged_with(&self, side: Side) -> Vec<u64> {
        let mut needs = Vec::new();
        for sent in self.packets.iter().filter(|sent| sent.side == side) {
            if sent.offset == needs.len() as u64 {
                needs.extend((0..sent.length).map(|_| sent.acknowledges));
            }
        }
        needs
    }
}

/// Short, as a failure prints a hundred of them.
impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, offset, length, acknowledges, flags, .. } = self;
        f.write_fmt(format_args!("{side:?} {offset}+{length} ack {acknowledges} flags {flags}"))
    }
}

impl Sent {
    pub(crate) fn with_packet(&self, isns: [u32; 2], then: &mut dyn FnMut(&Packet<'_>)) {
        let number = |side: Side, offset: u64| {
            isns[side as usize].wrapping_add(1).wrapping_add(u32::try_from(offset).unwrap())
        };
        let is_syn = self.flags & 2 != 0;
        let payload: Vec<u8> =
            (self.offset..self.offset + self.length).map(|at| byte(self.side, at)).collect();
        let captured = payload.len().saturating_sub(self.cut);
        let ends = [(10, 40_000), (20, 3_306)];
        let (from, to) = (ends[self.side as usize], ends[self.side.other() as usize]);
        let address = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let needed = 20 + payload.len();
        let tcp = Tcp {
            source_port: from.1,
            destination_port: to.1,
            sequence: number(self.side, self.offset).wrapping_sub(u32::from(is_syn)),
            acknowledgement: number(self.side.other(), self.acknowledges),
            flags: TcpFlags(self.flags),
            window: 1_000,
            options: &[],
            payload: &payload[..captured],
        };
        let cut = Stop::CutShort { layer: Layer::Payload, needed, had: 20 + captured };
        then(&Packet {
            source: address(from.0),
            destination: address(to.0),
            ttl: 64,
            identification: Some(self.identification),
            dont_fragment: true,
            fragment: None,
            protocol: protocol::TCP,
            length: u32::try_from(20 + needed).unwrap(),
            carried_length: u32::try_from(needed).unwrap(),
            transport: Transport::Tcp(tcp),
            stop: (captured < payload.len()).then_some(cut),
        });
    }
}

/// Any conversation; the numbers wrap in many of them.
pub(crate) fn any_conversation() -> impl Strategy<Value = Conversation> {
    let isn = prop_oneof![any::<u32>(), (u32::MAX - 2_000)..=u32::MAX];
    let turn = (any::<bool>(), prop_oneof![1..4u64, 1..60u64], prop::bool::weighted(0.7));
    ([isn.clone(), isn], prop::collection::vec(turn, 0..120))
        .prop_map(|(isns, turns)| Conversation::of(isns, &turns))
}
