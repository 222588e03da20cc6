//! Which packets went in and never came out.
//!
//! Nobody says where a packet should have gone; others that were alike say it. Most alike are those to the same port of
//! the same address, then those to the same address, then all that passed the same point, if most of them went on. Who
//! answers from behind the point itself is reached by a way that nobody watched: nothing to it is lost.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use byway_wire::Direction;

use super::glimpse::{Glimpse, Station};
use super::group::Packets;

/// What is kept of where packets go on to: services of addresses at points. A scanner's are told by their point alone.
const WAYS_MAX: usize = 256 << 10;
/// Stations that are kept to follow one.
const NEXT_MAX: usize = 32;

/// What became of a packet, as far as the files tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was seen at all points where it had to be, at two or more.
    Complete,
    /// It was seen at one point, and nothing says that it had to go on.
    Once,
    /// It went in and never came out: of which [`Gap`].
    Lost(usize),
    /// The same, but where it had to come out the capture began later or had ended.
    AtEdge(usize),
}

/// Two stations that packets pass one after the other, and some did not.
#[derive(Debug, Clone)]
pub(super) struct Gap {
    pub(super) after: Station,
    pub(super) before: Station,
    pub(super) went_on: u64,
    /// By their place among the packets.
    pub(super) lost: Vec<u32>,
    pub(super) at_edge: u64,
}

#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Of each packet.
    pub(super) fates: Vec<Fate>,
    /// By their stations.
    pub(super) gaps: Vec<Gap>,
}

/// How often packets went on from a station, and to which.
#[derive(Debug, Clone, Default)]
struct Next {
    to: Vec<(Station, u64)>,
    ended: u64,
}

/// How many packets passed two stations one after the other, and how much later by the clock of the second.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    count: u64,
    took_ns: Option<(i128, i128)>,
}

/// A station, an address, a protocol and a port.
type Service = (Station, u32, u8, u16);

#[derive(Debug, Default)]
struct Ways {
    all: BTreeMap<Station, Next>,
    to_address: BTreeMap<(Station, u32), Next>,
    to_service: BTreeMap<Service, Next>,
    pairs: BTreeMap<(Station, Station), Pair>,
    /// Where packets from an address were first seen, and how many there were of it.
    starts: BTreeMap<(Station, u32), u64>,
    sent: BTreeMap<u32, u64>,
    /// When each file saw its first and last packet.
    spans: BTreeMap<u16, (u64, u64)>,
}

/// Says of every packet what became of it.
pub(super) fn judge(packets: &Packets, glimpses: &[Glimpse], files: &[u16]) -> Losses {
    let ways = Ways::of(packets, glimpses, files);
    let mut losses = Losses::default();
    let mut known: BTreeMap<(Station, Station), usize> = BTreeMap::new();
    for nth in 0..packets.len() {
        let members = packets.of(nth);
        let last = members.last().map(|at| &glimpses[*at as usize]);
        let next = last
            .and_then(|last| ways.expected(last))
            .filter(|next| members.iter().all(|at| glimpses[*at as usize].station() != *next));
        let (Some(last), Some(before)) = (last, next) else {
            losses.fates.push(if members.len() > 1 { Fate::Complete } else { Fate::Once });
            continue;
        };
        let after = last.station();
        let at = *known.entry((after, before)).or_insert_with(|| {
            let went_on = ways.pairs.get(&(after, before)).map_or(0, |pair| pair.count);
            losses.gaps.push(Gap { after, before, went_on, lost: Vec::new(), at_edge: 0 });
            losses.gaps.len() - 1
        });
        if ways.is_covered(last, before, files) {
            // There are fewer than 2^32 packets.
            losses.gaps[at].lost.push(u32::try_from(nth).unwrap_or(u32::MAX));
            losses.fates.push(Fate::Lost(at));
        } else {
            losses.gaps[at].at_edge += 1;
            losses.fates.push(Fate::AtEdge(at));
        }
    }
    losses
}

impl Ways {
    fn of(packets: &Packets, glimpses: &[Glimpse], files: &[u16]) -> Self {
        let mut ways = Self::default();
        for glimpse in glimpses {
            let time = glimpse.time_ns;
            let span = ways.spans.entry(files[usize::from(glimpse.point)]).or_insert((time, time));
            *span = (span.0.min(time), span.1.max(time));
        }
        for nth in 0..packets.len() {
            let members = packets.of(nth);
            for (at, member) in members.iter().enumerate() {
                let next = members.get(at + 1).map(|next| &glimpses[*next as usize]);
                ways.pass(&glimpses[*member as usize], next, packets.sure(nth));
            }
            if let Some(first) = members.first().map(|at| &glimpses[*at as usize]) {
                add(&mut ways.sent, first.flow.source);
                add(&mut ways.starts, (first.station(), first.flow.source));
            }
        }
        ways
    }

    fn pass(&mut self, here: &Glimpse, next: Option<&Glimpse>, sure: bool) {
        let (station, flow) = (here.station(), here.flow);
        let to = next.map(Glimpse::station);
        self.all.entry(station).or_default().add(to);
        let address = (station, flow.destination);
        if self.to_address.len() < WAYS_MAX || self.to_address.contains_key(&address) {
            self.to_address.entry(address).or_default().add(to);
        }
        let service = (station, flow.destination, flow.protocol, flow.destination_port);
        if self.to_service.len() < WAYS_MAX || self.to_service.contains_key(&service) {
            self.to_service.entry(service).or_default().add(to);
        }
        let Some(next) = next else { return };
        let pair = self.pairs.entry((station, next.station())).or_default();
        pair.count += 1;
        if sure {
            let took = i128::from(next.time_ns) - i128::from(here.time_ns);
            let known = pair.took_ns.get_or_insert((took, took));
            *known = (known.0.min(took), known.1.max(took));
        }
    }

    /// Where a packet that was last seen here had to be seen next.
    fn expected(&self, last: &Glimpse) -> Option<Station> {
        let (station, flow) = (last.station(), last.flow);
        let service = (station, flow.destination, flow.protocol, flow.destination_port);
        if let Some(next) = self.to_service.get(&service).and_then(Next::most) {
            return Some(next);
        }
        if self.is_reached_otherwise(station, flow.destination) {
            return None;
        }
        if let Some(next) = self.to_address.get(&(station, flow.destination)).and_then(Next::most) {
            return Some(next);
        }
        self.all.get(&station)?.usual()
    }

    /// Whether what comes from that address is first seen where packets to it are last seen.
    fn is_reached_otherwise(&self, station: Station, address: u32) -> bool {
        let direction = station.direction.map(|way| match way {
            Direction::In => Direction::Out,
            Direction::Out => Direction::In,
        });
        let started = self.starts.get(&(Station { direction, ..station }, address)).copied().unwrap_or(0);
        started > 0 && started * 2 >= self.sent.get(&address).copied().unwrap_or(0)
    }

    /// Whether the file of the next point was being written when the packet had to come out there.
    fn is_covered(&self, last: &Glimpse, before: Station, files: &[u16]) -> bool {
        let took = self.pairs.get(&(last.station(), before)).and_then(|pair| pair.took_ns);
        let Some((shortest, longest)) = took else { return true };
        let Some((begin, end)) = self.spans.get(&files[usize::from(before.point)]) else { return true };
        let left = i128::from(last.time_ns);
        left + shortest >= i128::from(*begin) && left + longest <= i128::from(*end)
    }
}

impl Next {
    fn add(&mut self, to: Option<Station>) {
        let Some(to) = to else {
            self.ended += 1;
            return;
        };
        if let Some((_, count)) = self.to.iter_mut().find(|(station, _)| *station == to) {
            *count += 1;
        } else if self.to.len() < NEXT_MAX {
            self.to.push((to, 1));
        }
    }

    /// The station to which most went on that went on.
    fn most(&self) -> Option<Station> {
        self.to.iter().max_by_key(|(station, count)| (*count, Reverse(*station))).map(|(station, _)| *station)
    }

    /// The same, if at least as many went on to it as ended here.
    fn usual(&self) -> Option<Station> {
        let went_on = self.to.iter().map(|(_, count)| count).max()?;
        self.most().filter(|_| *went_on >= self.ended)
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count += 1;
    } else if counts.len() < WAYS_MAX {
        counts.insert(key, 1);
    }
}
