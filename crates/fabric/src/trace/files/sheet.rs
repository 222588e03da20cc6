//! Tells what was found out: counts, the busiest conversations, and the ways that are worth a look.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_wire::{TcpFlags, protocol};

use super::Captures;
use super::alike;
use super::clocks::{Ahead, Clocks};
use super::glimpse::{Flow, Glimpse, Station};
use super::group::Packets;
use super::loss::{Fate, Losses};
use super::report::{
    Becomes, Clock, ClockBetween, Conversation, Hop, Loss, Place, Point, Stitched, Took, Totals, Way,
};
use crate::journey::{Change, Direction, End, Whom};

/// Pairs of addresses that are told apart; what is between others is counted together.
const CONVERSATIONS_MAX: usize = 64 << 10;

/// Pairs of places that are told, those with the most losses: for each, all packets are looked at once more.
const LOSSES_MAX: usize = 64;

/// All that is needed to tell.
pub(super) struct Sheet<'a> {
    pub(super) captures: &'a Captures,
    pub(super) packets: &'a Packets,
    pub(super) clocks: &'a Clocks,
    pub(super) losses: &'a Losses,
    pub(super) files: &'a [u16],
}

/// Counts of one conversation.
#[derive(Debug, Clone, Default)]
struct Tally {
    packets: u64,
    arrived: u64,
    lost: u64,
    at_edges: u64,
    seen_once: u64,
    lost_after: BTreeMap<Station, u64>,
    first: Option<u32>,
    becomes: Option<(u32, u32)>,
}

/// ICMP errors by the packets that they are about.
type Errors<'a> = BTreeMap<(End, End, u8, u32), &'a str>;

impl Sheet<'_> {
    pub(super) fn stitched(&self, list: usize) -> Stitched {
        let errors = self.errors();
        let (tallies, beyond) = self.tallies();
        let (conversations, firsts) = self.conversations(&tallies, list);
        let told = conversations.len() as u64;
        Stitched {
            points: self.points(),
            clocks: self.clock_offsets(),
            conversations,
            conversations_more: tallies.len() as u64 - told + beyond,
            losses: self.gaps(&errors),
            journeys: self.journeys(list, &firsts, &errors),
            totals: self.totals(),
        }
    }

    fn glimpse(&self, member: u32) -> &Glimpse {
        &self.captures.glimpses[member as usize]
    }

    fn address(&self, number: u32) -> IpAddr {
        self.captures.addresses.address(number)
    }

    fn place(&self, station: Station) -> Place {
        let spot = &self.captures.points[usize::from(station.point)];
        let direction = station.direction.map(|way| match way {
            byway_wire::Direction::In => Direction::In,
            byway_wire::Direction::Out => Direction::Out,
        });
        Place {
            file: self.captures.files[usize::from(spot.file)].clone(),
            interface: spot.interface.clone(),
            direction,
        }
    }

    fn totals(&self) -> Totals {
        let glimpses = &self.captures.glimpses;
        let mut totals = Totals {
            passages: glimpses.len() as u64,
            keys: glimpses.chunk_by(|a, b| a.key == b.key).count() as u64,
            packets: self.packets.len() as u64,
            repeated: (0..self.packets.len()).filter(|nth| !self.packets.sure(*nth)).count() as u64,
            ..self.captures.totals
        };
        for fate in &self.losses.fates {
            match fate {
                Fate::Complete => totals.complete += 1,
                Fate::Once => totals.seen_once += 1,
                Fate::Lost(_) => totals.lost += 1,
                Fate::AtEdge(_) => totals.at_edges += 1,
            }
        }
        totals
    }

    fn points(&self) -> Vec<Point> {
        let mut counts = vec![[0_u64; 3]; self.captures.points.len()];
        for glimpse in &self.captures.glimpses {
            let count = &mut counts[usize::from(glimpse.point)];
            count[0] += 1;
            match glimpse.direction() {
                Some(byway_wire::Direction::In) => count[1] += 1,
                Some(byway_wire::Direction::Out) => count[2] += 1,
                None => {}
            }
        }
        let mut order: Vec<u16> = self.longest().iter().map(|at| self.glimpse(*at).point).collect();
        order.extend((0..).take(counts.len()));
        let mut seen = vec![false; counts.len()];
        order.retain(|point| !std::mem::replace(&mut seen[usize::from(*point)], true));
        let point = |point: u16| {
            let [packets, came_in, went_out] = counts[usize::from(point)];
            Point { place: self.place(Station { point, direction: None }), packets, came_in, went_out }
        };
        order.into_iter().map(point).collect()
    }

    /// The members of a packet that was seen at the most points, a request rather than an answer.
    fn longest(&self) -> &[u32] {
        let asks = |first: &Glimpse| {
            let is_echo =
                matches!((first.flow.protocol, first.sign), (protocol::ICMP, 8) | (protocol::ICMPV6, 128));
            is_echo || first.is_syn() || first.flow.destination_port < first.flow.source_port
        };
        let score = |nth: &usize| {
            let members = self.packets.of(*nth);
            (members.len(), members.first().is_some_and(|at| asks(self.glimpse(*at))))
        };
        (0..self.packets.len()).max_by_key(score).map_or(&[], |nth| self.packets.of(nth))
    }

    fn clock_offsets(&self) -> Vec<ClockBetween> {
        let name = |file: u16| self.captures.files[usize::from(file)].clone();
        let bounded = |ns: i128| i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX });
        let between = |((than, file), ahead): (&(u16, u16), &Ahead)| ClockBetween {
            file: name(*file),
            than: name(*than),
            ahead: match ahead {
                Ahead::Known(offset) => {
                    Clock::Offset { ns: offset.ns, uncertainty_ns: offset.uncertainty_ns }
                }
                Ahead::AtMost(ns) => Clock::AtMost { ns: bounded(*ns) },
                Ahead::AtLeast(ns) => Clock::AtLeast { ns: bounded(*ns) },
            },
        };
        self.clocks.pairs.iter().map(between).collect()
    }

    /// The counts of each conversation, and how many packets are of none.
    fn tallies(&self) -> (BTreeMap<(u32, u32, u8), Tally>, u64) {
        let (mut tallies, mut beyond) = (BTreeMap::<_, Tally>::new(), 0);
        for (nth, fate) in self.losses.fates.iter().enumerate() {
            let members = self.packets.of(nth);
            let (Some(first), Some(last)) = (members.first(), members.last()) else { continue };
            let (first, last) = (self.glimpse(*first), self.glimpse(*last));
            let key = (first.flow.source, first.flow.destination, first.flow.protocol);
            if tallies.len() >= CONVERSATIONS_MAX && !tallies.contains_key(&key) {
                beyond += 1;
                continue;
            }
            let tally = tallies.entry(key).or_default();
            tally.packets += 1;
            match fate {
                Fate::Complete => tally.arrived += 1,
                Fate::Once => tally.seen_once += 1,
                Fate::AtEdge(_) => tally.at_edges += 1,
                Fate::Lost(_) => {
                    tally.lost += 1;
                    *tally.lost_after.entry(last.station()).or_default() += 1;
                }
            }
            let ends = (last.flow.source, last.flow.destination);
            if (first.flow.source, first.flow.destination) != ends {
                tally.becomes = Some(ends);
            }
            let earlier = |other: &u32| {
                let other = self.glimpse(self.packets.of(*other as usize)[0]);
                self.stands(other) <= self.stands(first)
            };
            // There are fewer than 2^32 packets.
            tally.first = tally.first.filter(earlier).or(u32::try_from(nth).ok());
        }
        (tallies, beyond)
    }

    /// Where a passage stands: its file and its number there.
    fn stands(&self, glimpse: &Glimpse) -> (u16, u32) {
        (self.files[usize::from(glimpse.point)], glimpse.number)
    }

    /// The busiest conversations, and the first packet of each.
    fn conversations(
        &self,
        tallies: &BTreeMap<(u32, u32, u8), Tally>,
        list: usize,
    ) -> (Vec<Conversation>, Vec<u32>) {
        let mut all: Vec<_> = tallies
            .iter()
            .map(|((source, destination, protocol), tally)| {
                let ends = (self.address(*source), self.address(*destination), *protocol);
                (std::cmp::Reverse(tally.packets), ends, tally)
            })
            .collect();
        all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        all.truncate(list);
        let told = |(_, (source, destination, protocol), tally): &(_, (IpAddr, IpAddr, u8), &Tally)| {
            let most = tally
                .lost_after
                .iter()
                .max_by_key(|(station, count)| (**count, std::cmp::Reverse(**station)));
            Conversation {
                source: *source,
                destination: *destination,
                protocol: alike::name(*protocol),
                becomes: tally.becomes.map(|(source, destination)| Becomes {
                    source: self.address(source),
                    destination: self.address(destination),
                }),
                packets: tally.packets,
                arrived: tally.arrived,
                lost: tally.lost,
                lost_after: most.map(|(station, _)| self.place(*station)),
                at_edges: tally.at_edges,
                seen_once: tally.seen_once,
            }
        };
        (all.iter().map(told).collect(), all.iter().filter_map(|(_, _, tally)| tally.first).collect())
    }

    fn errors(&self) -> Errors<'_> {
        let about = |heard: &'_ super::Heard| {
            (heard.about.source, heard.about.destination, heard.about.protocol, heard.about.detail)
        };
        // Of several about one packet the first by their words, whatever the order of the files.
        let mut errors = Errors::new();
        for heard in &self.captures.errors {
            let text = errors.entry(about(heard)).or_insert(heard.text.as_str());
            *text = (*text).min(heard.text.as_str());
        }
        errors
    }

    fn error<'e>(&self, nth: usize, errors: &Errors<'e>) -> Option<&'e str> {
        if errors.is_empty() {
            return None;
        }
        self.packets.of(nth).iter().find_map(|at| {
            let it = self.glimpse(*at);
            let (source, destination) = self.ends(it);
            errors.get(&(source, destination, it.flow.protocol, it.detail)).copied()
        })
    }

    fn ends(&self, glimpse: &Glimpse) -> (End, End) {
        let Flow { source, destination, source_port, destination_port, .. } = glimpse.flow;
        let port = |port: u16| Some(port).filter(|port| *port != 0);
        (
            End { address: self.address(source), port: port(source_port) },
            End { address: self.address(destination), port: port(destination_port) },
        )
    }

    fn gaps(&self, errors: &Errors<'_>) -> Vec<Loss> {
        let mut gaps: Vec<_> = self.losses.gaps.iter().collect();
        gaps.sort_by_key(|gap| (std::cmp::Reverse(gap.lost.len()), gap.after, gap.before));
        gaps.truncate(LOSSES_MAX);
        let told = |gap: &&super::loss::Gap| {
            let lost: Vec<&Glimpse> = gap
                .lost
                .iter()
                .filter_map(|nth| self.packets.of(*nth as usize).last())
                .map(|at| self.glimpse(*at))
                .collect();
            let about: Vec<&str> =
                gap.lost.iter().filter_map(|nth| self.error(*nth as usize, errors)).collect();
            Loss {
                after: self.place(gap.after),
                before: self.place(gap.before),
                went_on: gap.went_on,
                lost: lost.len() as u64,
                at_edges: gap.at_edge,
                in_common: alike::sentence(&lost, &self.went_on(gap), |number| self.address(number)),
                errors: about.len() as u64,
                error: about.iter().min().map(|text| (*text).to_owned()),
            }
        };
        gaps.iter().map(told).collect()
    }

    /// The packets that passed both stations, at the first.
    fn went_on(&self, gap: &super::loss::Gap) -> Vec<&Glimpse> {
        if gap.lost.is_empty() {
            return Vec::new();
        }
        let mut went_on = Vec::new();
        for nth in 0..self.packets.len() {
            for pair in self.packets.of(nth).windows(2) {
                let [here, next] = [pair[0], pair[1]].map(|at| self.glimpse(at));
                if here.station() == gap.after && next.station() == gap.before {
                    went_on.push(here);
                }
            }
        }
        went_on
    }

    fn journeys(&self, list: usize, firsts: &[u32], errors: &Errors<'_>) -> Vec<Way> {
        let mut told: Vec<u32> = self.losses.gaps.iter().flat_map(|gap| &gap.lost).copied().collect();
        told.sort_by_key(|nth| self.stands(self.glimpse(self.packets.of(*nth as usize)[0])));
        told.truncate(list);
        let others: Vec<u32> = firsts.iter().filter(|nth| !told.contains(nth)).copied().collect();
        told.into_iter().chain(others).map(|nth| self.way(nth as usize, errors)).collect()
    }

    fn way(&self, nth: usize, errors: &Errors<'_>) -> Way {
        let members = self.packets.of(nth);
        let before = |at: usize| self.place(self.losses.gaps[at].before);
        let (end, before) = match self.losses.fates[nth] {
            Fate::Complete => ("arrived", None),
            Fate::Once => ("seen-once", None),
            Fate::Lost(at) => ("lost", Some(before(at))),
            Fate::AtEdge(at) => ("at-edge", Some(before(at))),
        };
        let hop = |at: usize| {
            let previous = at.checked_sub(1).map(|before| self.glimpse(members[before]));
            self.hop(previous, self.glimpse(members[at]))
        };
        Way {
            packet: members.first().map(|at| self.words(self.glimpse(*at))).unwrap_or_default(),
            end,
            before,
            error: self.error(nth, errors).map(str::to_owned),
            order_assumed: self.packets.ends[nth].assumed,
            repeated: !self.packets.sure(nth),
            hops: (0..members.len()).map(hop).collect(),
        }
    }

    fn hop(&self, previous: Option<&Glimpse>, here: &Glimpse) -> Hop {
        let (source, destination) = self.ends(here);
        Hop {
            place: self.place(here.station()),
            number: here.number,
            time_ns: here.time_ns,
            ttl: here.ttl,
            source,
            destination,
            took: previous.and_then(|previous| self.took(previous, here)),
            changes: previous.map_or_else(Vec::new, |previous| self.changes(previous, here)),
        }
    }

    fn took(&self, previous: &Glimpse, here: &Glimpse) -> Option<Took> {
        let [from, to] = [previous, here].map(|it| self.files[usize::from(it.point)]);
        if from == to {
            // Where the TTL says that a later time was first, there is no duration.
            return Some(Took { ns: here.time_ns.checked_sub(previous.time_ns)?, uncertainty_ns: 0 });
        }
        let offset = self.clocks.offset(from, to)?;
        let ns = i128::from(here.time_ns) - i128::from(previous.time_ns) - i128::from(offset.ns);
        Some(Took { ns: u64::try_from(ns.max(0)).ok()?, uncertainty_ns: offset.uncertainty_ns })
    }

    fn changes(&self, previous: &Glimpse, here: &Glimpse) -> Vec<Change> {
        let [from, to] = [previous, here].map(|it| self.captures.points[usize::from(it.point)].file);
        let name = |file: u16| self.captures.files[usize::from(file)].clone();
        let by = if from == to { Whom::One(name(from)) } else { Whom::Between(name(from), name(to)) };
        let mut changes = Vec::new();
        match previous.ttl.checked_sub(here.ttl) {
            Some(0) => {}
            Some(times) => changes.push(Change::Routed { by: by.clone(), times }),
            None => changes.push(Change::TtlRaised { by: by.clone(), from: previous.ttl, to: here.ttl }),
        }
        let (was, is) = (self.ends(previous), self.ends(here));
        if was.0 != is.0 {
            changes.push(Change::SourceRewritten { by: by.clone(), from: was.0, to: is.0 });
        }
        if was.1 != is.1 {
            changes.push(Change::DestinationRewritten { by, from: was.1, to: is.1 });
        }
        changes
    }

    /// The packet in one line, as far as it was kept.
    fn words(&self, it: &Glimpse) -> String {
        let (source, destination) = self.ends(it);
        let what = match (it.flow.protocol, it.sign) {
            (protocol::TCP, sign) => format!("TCP {} seq {}", TcpFlags(sign), it.detail),
            (protocol::ICMP, 8) | (protocol::ICMPV6, 128) => echo("request", it),
            (protocol::ICMP, 0) | (protocol::ICMPV6, 129) => echo("reply", it),
            (protocol::ICMP | protocol::ICMPV6, kind) => {
                format!("{} type {kind} code {}", alike::name(it.flow.protocol), it.detail)
            }
            (number, _) => alike::name(number),
        };
        let is_icmp = matches!(it.flow.protocol, protocol::ICMP | protocol::ICMPV6);
        let source = if is_icmp { End { port: None, ..source } } else { source };
        format!("{source} > {destination} {what} {} bytes", it.length)
    }
}

fn echo(what: &str, it: &Glimpse) -> String {
    format!("{} echo {what} id {} seq {}", alike::name(it.flow.protocol), it.flow.source_port, it.detail)
}
