//! What only earlier packets tell: which connection a segment belongs to, and what its sequence numbers are counted from.
//!
//! Numbered and counted as Wireshark does (`epan/dissectors/packet-tcp.c`, `dissect_tcp`): by the first segment of each
//! side, one before it if that was no SYN; and a SYN with another number on the same ports is a new connection.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::layers::{FlowAt, Kind, LayerAt, Layers, Quoted};
use crate::TcpFlags;

/// Connections and pairs of UDP ports that are remembered, each kind for itself: some 8 MiB. Where there are more, the
/// one that was met first is forgotten, and gets a new number if it goes on.
pub const FLOWS_MAX: usize = 64 << 10;

/// Follows the connections of a capture.
#[derive(Debug, Default)]
pub struct Flows {
    tcp: Table,
    udp: Table,
}

#[derive(Debug, Default)]
struct Table {
    flows: BTreeMap<Ends, Flow>,
    order: VecDeque<Ends>,
    next: u64,
}

type End = (IpAddr, u16);

/// Both ends, the smaller first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ends(End, End);

#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    stream: u64,
    /// By direction: from the smaller end, from the larger.
    sides: [Side; 2],
}

#[derive(Debug, Clone, Copy, Default)]
struct Side {
    base: Option<u32>,
    /// Whether the base is that of a SYN+ACK.
    answered: bool,
}

impl Flows {
    /// No connection yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the connections of a frame's segments and datagrams and notes them in the layers.
    pub fn follow(&mut self, layers: &mut Layers, bytes: &[u8]) {
        let mut addresses = None;
        for layer in layers.as_mut_slice() {
            match layer.kind {
                Kind::Ipv4 => addresses = v4_addresses(layer, bytes),
                Kind::Ipv6 => addresses = v6_addresses(layer, bytes),
                Kind::Tcp => {
                    if let Some((ends, side)) = ends(addresses, layer, bytes) {
                        layer.flow = self.segment(ends, side, layer, bytes);
                    }
                }
                Kind::Udp => {
                    if let Some((ends, _)) = ends(addresses, layer, bytes) {
                        layer.flow.stream = self.udp.flow(ends).stream;
                    }
                }
                _ => {}
            }
        }
    }

    fn segment(&mut self, ends: Ends, side: usize, layer: &LayerAt, bytes: &[u8]) -> FlowAt {
        let word = |at| layer.number(bytes, at, 4).and_then(|word| u32::try_from(word).ok());
        let flow = self.tcp.flow(ends);
        // What an ICMP error quotes is shown in the connection's own numbers.
        let (Some(sequence), Some(acknowledgement), Some(flags), Quoted::No) =
            (word(4), word(8), layer.part(bytes, 13, 1), layer.quoted)
        else {
            return FlowAt { stream: flow.stream, ..FlowAt::default() };
        };
        let flags = TcpFlags(flags[0]);
        let (syn, ack) = (flags.contain(TcpFlags::SYN), flags.contain(TcpFlags::ACK));
        let flow = if syn && !ack && flow.is_another(side, sequence) { self.tcp.again(ends) } else { flow };
        if flow.sides[side].base.is_none() {
            let base = if syn { sequence } else { sequence.wrapping_sub(1) };
            flow.sides[side] = Side { base: Some(base), answered: syn && ack };
        }
        if flow.sides[1 - side].base.is_none() && ack {
            flow.sides[1 - side].base = Some(acknowledgement.wrapping_sub(1));
        }
        FlowAt {
            stream: flow.stream,
            sequence_base: flow.sides[side].base.unwrap_or_default(),
            acknowledgement_base: if ack { flow.sides[1 - side].base.unwrap_or_default() } else { 0 },
        }
    }
}

impl Flow {
    /// Whether a SYN with that number opens another connection than this.
    fn is_another(&self, side: usize, sequence: u32) -> bool {
        let Side { base, answered } = self.sides[side];
        base.is_some_and(|base| base != sequence || answered)
    }
}

impl Table {
    fn flow(&mut self, ends: Ends) -> &mut Flow {
        if !self.flows.contains_key(&ends) {
            if self.order.len() >= FLOWS_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.flows.remove(&oldest);
            }
            self.order.push_back(ends);
            let stream = self.number();
            self.flows.insert(ends, Flow { stream, ..Flow::default() });
        }
        self.flows.entry(ends).or_default()
    }

    /// The ports are used again.
    fn again(&mut self, ends: Ends) -> &mut Flow {
        let stream = self.number();
        let flow = self.flow(ends);
        *flow = Flow { stream, ..Flow::default() };
        flow
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

fn v4_addresses(layer: &LayerAt, bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let address = |at| Some(Ipv4Addr::from(*layer.part(bytes, at, 4)?.first_chunk::<4>()?).into());
    Some((address(12)?, address(16)?))
}

fn v6_addresses(layer: &LayerAt, bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let address = |at| Some(Ipv6Addr::from(*layer.part(bytes, at, 16)?.first_chunk::<16>()?).into());
    Some((address(8)?, address(24)?))
}

/// The ends of a segment or datagram, and from which of them it comes.
fn ends(addresses: Option<(IpAddr, IpAddr)>, layer: &LayerAt, bytes: &[u8]) -> Option<(Ends, usize)> {
    let (from, to) = addresses?;
    let port = |at| u16::try_from(layer.number(bytes, at, 2)?).ok();
    let (from, to) = ((from, port(0)?), (to, port(2)?));
    Some(if from <= to { (Ends(from, to), 0) } else { (Ends(to, from), 1) })
}
