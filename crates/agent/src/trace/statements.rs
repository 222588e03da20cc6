//! The statements of `MySQL` that pass the places of an order: decoded here, so that nothing but what they say, masked unless
//! somebody asked for more, leaves this host.
//!
//! Each place has a listener of its own: what is told of it is what can be read there, and a statement that was hurt on
//! its way is whole before that and in doubt behind it.

use byway_fabric::mysql::said::{Said, Unsaid};
use byway_fabric::mysql::spoken::Spoken;
use byway_fabric::trace::watch::{Event, Statements as Wanted};
use byway_wire::mysql::{self, Event as Speech, Hear, Limits, Listener, News, Options, Peers, Timed};
use byway_wire::{Frame, LinkType};

use crate::edge::watch::Captured;

/// Statements of one place that are told in each second of its clock: somebody reads them. What is beyond is counted.
const PER_SECOND_MAX: u32 = 200;
/// Ports of servers that an order names.
const PORTS_MAX: usize = 16;
/// Bytes that the connections of all places of an order may keep together, and again as many that wait to be put in order.
const MEMORY_MAX: usize = 32 << 20;
/// Connections that each place knows at once: 400 KiB.
const CONNECTIONS_MAX: u32 = 1024;
const NS_PER_SECOND: u64 = 1_000_000_000;
/// How often what waits for missing packets is looked at.
const SETTLE_NS: u64 = 200_000_000;

/// Listens at the places of an order.
pub(super) struct Statements {
    places: Vec<Place>,
    is_masked: bool,
    settled_ns: u64,
}

/// One place.
struct Place {
    spot: usize,
    listener: Listener,
    told: Told,
}

/// What was told of a place.
#[derive(Default)]
struct Told {
    second: u64,
    in_second: u32,
    left_out: u64,
    encrypted: u64,
}

/// Tells what is heard at a place.
struct Ear<'a> {
    spot: usize,
    is_masked: bool,
    told: &'a mut Told,
    tell: &'a mut dyn FnMut(Event) -> bool,
}

impl Statements {
    /// Begins to listen at these places.
    pub(super) fn open(wanted: &Wanted, spots: impl ExactSizeIterator<Item = usize>) -> Self {
        let each = MEMORY_MAX / spots.len().max(1);
        let bounds = mysql::Bounds { connections: CONNECTIONS_MAX, waiting_bytes: each, memory_bytes: each };
        let options = Options {
            ports: wanted.ports.iter().copied().take(PORTS_MAX).collect(),
            limits: limits(each),
            ..Options::default()
        };
        let place = |spot| Place {
            spot,
            listener: Listener::within(options.clone(), seed(), bounds),
            told: Told::default(),
        };
        Self { places: spots.map(place).collect(), is_masked: !wanted.unmasked, settled_ns: 0 }
    }

    /// Takes a whole packet that passed a place.
    pub(super) fn packet(
        &mut self,
        spot: usize,
        link: LinkType,
        captured: &Captured,
        tell: &mut dyn FnMut(Event) -> bool,
    ) {
        let is_masked = self.is_masked;
        let Some(place) = self.places.iter_mut().find(|place| place.spot == spot) else { return };
        if let Some(packet) = Frame::decode(link, &captured.frame).packet() {
            let mut ear = Ear { spot, is_masked, told: &mut place.told, tell };
            place.listener.packet(0, captured.time_ns, packet, &mut ear);
        }
    }

    /// By this clock: what has waited for long enough goes on. To be called now and then.
    pub(super) fn settle(&mut self, now_ns: u64, tell: &mut dyn FnMut(Event) -> bool) {
        if now_ns.abs_diff(self.settled_ns) < SETTLE_NS {
            return;
        }
        self.settled_ns = now_ns;
        self.each(tell, |listener, ear| listener.settle(now_ns, ear));
    }

    /// Nothing more comes; what was not told.
    pub(super) fn finish(mut self, tell: &mut dyn FnMut(Event) -> bool) -> Unsaid {
        self.each(tell, Listener::finish);
        let told = || self.places.iter().map(|place| &place.told);
        Unsaid {
            left_out: told().map(|told| told.left_out).sum(),
            encrypted: told().map(|told| told.encrypted).max().unwrap_or(0),
        }
    }

    fn each(
        &mut self,
        tell: &mut dyn FnMut(Event) -> bool,
        mut work: impl FnMut(&mut Listener, &mut dyn Hear),
    ) {
        for place in &mut self.places {
            let (spot, is_masked) = (place.spot, self.is_masked);
            work(&mut place.listener, &mut Ear { spot, is_masked, told: &mut place.told, tell });
        }
    }
}

impl Hear for Ear<'_> {
    fn hear(&mut self, peers: &Peers, news: News<'_>) {
        let (statement, timed) = match &news {
            News::Said(Speech::Statement(statement), timed) => (statement, timed),
            News::Said(Speech::Encrypted(_), _) => {
                self.told.encrypted += 1;
                return;
            }
            _ => return,
        };
        if !self.told.has_room(statement.asked.first.time_ns / NS_PER_SECOND) {
            self.told.left_out += 1;
            return;
        }
        let mut spoken = Spoken::of(*peers, statement);
        // One place has nothing to wait for.
        if let Some(Timed::Now(timing)) = timed {
            spoken.timing = *timing;
        }
        if self.is_masked {
            spoken.mask();
        }
        let said = Said::of(self.spot, &spoken, self.is_masked);
        self.told.left_out += u64::from(!(self.tell)(Event::Statement(said)));
    }
}

impl Told {
    /// Whether one more may be told of this second.
    fn has_room(&mut self, second: u64) -> bool {
        if second != self.second {
            (self.second, self.in_second) = (second, 0);
        }
        self.in_second += 1;
        self.in_second <= PER_SECOND_MAX
    }
}

/// What one connection may take, where all of a place may take `each`.
fn limits(each: usize) -> Limits {
    Limits {
        request_bytes_max: (each / 4).min(256 << 10),
        pending_bytes_max: (each / 4).min(1 << 20),
        statements_bytes_max: (each / 4).min(1 << 20),
        long_data_bytes_max: (each / 16).min(64 << 10),
    }
}

/// By chance: it keeps those who are listened to from choosing where their connections are kept.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_each_second_are_told() {
        let mut told = Told::default();
        let count = |told: &mut Told, second| (0..1000).filter(|_| told.has_room(second)).count();
        assert_eq!([count(&mut told, 1), count(&mut told, 2)], [PER_SECOND_MAX as usize; 2]);
    }
}
