//! Packets of many points in, what MySQL's connections tell out.

use super::dialogue::{Dialogue, Hear, Room};
use super::session::Limits;
use crate::Packet;
use crate::stream::{self, Counts, End, Ends, Gap, Interest, Piece, Readers, Side, Sighting, Streams};
use crate::tls::{HELD_BYTES, KeyLog};

/// The port that MySQL has of IANA: a connection there is one of MySQL, whatever it looks like, unless ports are told.
pub const PORT: u16 = 3306;
/// Connections that are known at once: some 400 bytes each in the table, 6 MiB.
const CONNECTIONS_MAX: u32 = 16 << 10;
/// Bytes that all dialogues may keep together. Beyond it those that were quiet for longest are given up, but for the last
/// one, which has bounds of its own.
const MEMORY_MAX: usize = 40 << 20;

/// How much a listener may keep, of all connections together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections that are known at once.
    pub connections: u32,
    /// Bytes that wait for others before them, so that each side is in order.
    pub waiting_bytes: usize,
    /// Bytes that dialogues keep. Beyond it those that were quiet for longest are given up.
    pub memory_bytes: usize,
}

impl Default for Bounds {
    /// For a process that listens once, and must stay below 64 MiB.
    fn default() -> Self {
        let waiting_bytes = stream::Limits::default().waiting_in_all;
        Self { connections: CONNECTIONS_MAX, waiting_bytes, memory_bytes: MEMORY_MAX }
    }
}

/// What is listened to, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The servers' ports. Without any, all connections are looked at, and those of [`PORT`] are taken for MySQL's.
    pub ports: Vec<u16>,
    /// What one connection may take.
    pub limits: Limits,
    /// Whether more keys may come while packets come: then bytes are held for them.
    pub keys_may_come: bool,
}

/// Listens to all connections of a capture.
#[derive(Debug)]
pub struct Listener {
    streams: Streams<Box<Dialogue>>,
    shared: Shared,
    keys: KeyLog,
    memory_max: usize,
}

/// What becomes of dialogues, beside what they tell.
#[derive(Debug)]
struct Shared {
    options: Options,
    numbers: u64,
    /// Dialogues that are kept now.
    dialogues: u64,
    timed: u64,
    /// Connections that are not MySQL's.
    others: u64,
    /// Bytes that dialogues keep.
    memory: usize,
}

/// [`Readers`] for the time of one packet.
struct Ears<'a> {
    shared: &'a mut Shared,
    keys: &'a KeyLog,
    hear: &'a mut dyn Hear,
}

impl Listener {
    /// Nothing heard yet. `seed` is by chance: see [`Streams::new`].
    #[must_use]
    pub fn new(options: Options, seed: u64) -> Self {
        Self::within(options, seed, Bounds::default())
    }

    /// The same, in other bounds: several listeners of one process share what one may have.
    #[must_use]
    pub fn within(options: Options, seed: u64, bounds: Bounds) -> Self {
        let usual = stream::Limits::default();
        let limits = stream::Limits {
            connections: bounds.connections,
            waiting_per_connection: usual.waiting_per_connection.min(bounds.waiting_bytes),
            waiting_in_all: bounds.waiting_bytes,
        };
        let shared = Shared { options, numbers: 0, dialogues: 0, timed: 0, others: 0, memory: 0 };
        let (streams, keys) = (Streams::new(limits, seed), KeyLog::new());
        Self { streams, shared, keys, memory_max: bounds.memory_bytes }
    }

    /// The keys by which TLS is opened; they may grow.
    pub fn keys(&mut self) -> &mut KeyLog {
        &mut self.keys
    }

    /// Takes a packet that was seen at a point, in nanoseconds since 1970.
    #[inline]
    pub fn packet(&mut self, point: usize, time_ns: u64, packet: &Packet<'_>, hear: &mut dyn Hear) {
        let mut ears = Ears { shared: &mut self.shared, keys: &self.keys, hear };
        self.streams.take(point, time_ns, packet, &mut ears);
        while ears.shared.memory > self.memory_max
            && ears.shared.dialogues > 1
            && self.streams.give_up_oldest(&mut ears)
        {}
    }

    /// Nothing has come for a while, by this clock: what waits for more goes on.
    pub fn settle(&mut self, now_ns: u64, hear: &mut dyn Hear) {
        let mut ears = Ears { shared: &mut self.shared, keys: &self.keys, hear };
        self.streams.settle(now_ns, &mut ears);
    }

    /// Nothing more comes.
    pub fn finish(&mut self, hear: &mut dyn Hear) {
        let mut ears = Ears { shared: &mut self.shared, keys: &self.keys, hear };
        self.streams.finish(&mut ears);
    }

    /// What became of everything so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.streams.counts()
    }

    /// Bytes that wait for others before them, and that connections keep, as of when that was counted last.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.streams.waiting_bytes() + self.shared.memory
    }

    /// How many connections were looked at and are not MySQL's.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.shared.others
    }
}

impl Shared {
    /// Counts what a dialogue keeps after what it has heard; nothing when it is let go.
    #[inline]
    fn count(&mut self, dialogue: &mut Dialogue, interest: Interest) {
        let keeps = match interest {
            Interest::More => dialogue.memory(),
            Interest::Nothing => {
                self.others += 1;
                self.dialogues -= 1;
                0
            }
        };
        let counted = std::mem::replace(&mut dialogue.counted, keeps);
        self.memory = self.memory + keeps - counted;
    }

    /// Which side is a server by its port.
    fn server(&self, ends: &Ends) -> Option<Side> {
        let ports = &self.options.ports;
        let (first, second) = (ends.first.port(), ends.second.port());
        let known = |port: u16| if ports.is_empty() { port == PORT } else { ports.contains(&port) };
        match (known(first), known(second)) {
            // Who opens a connection is no server.
            (_, true) => Some(Side::Second),
            (true, false) => Some(Side::First),
            (false, false) => None,
        }
    }
}

impl Readers for Ears<'_> {
    type Reader = Box<Dialogue>;

    fn open(&mut self, ends: &Ends, _: u64) -> Option<Box<Dialogue>> {
        let server = self.shared.server(ends);
        if server.is_none() && !self.shared.options.ports.is_empty() {
            return None;
        }
        self.shared.numbers += 1;
        self.shared.dialogues += 1;
        let dialogue = Dialogue::new(self.shared.numbers, *ends, server, self.shared.options.limits);
        Some(Box::new(dialogue))
    }

    fn piece(&mut self, dialogue: &mut Box<Dialogue>, side: Side, piece: &Piece<'_>) -> Interest {
        let interest = dialogue.piece(side, piece, &mut self.room());
        self.shared.count(dialogue, interest);
        interest
    }

    fn gap(&mut self, dialogue: &mut Box<Dialogue>, side: Side, gap: &Gap) -> Interest {
        let interest = dialogue.gap(side, gap, &mut self.room());
        self.shared.count(dialogue, interest);
        interest
    }

    #[inline]
    fn sighting(&mut self, dialogue: &mut Box<Dialogue>, side: Side, sighting: &Sighting) {
        dialogue.sighting(side, sighting, &mut self.room());
    }

    fn end(&mut self, dialogue: &mut Box<Dialogue>, how: End) -> Interest {
        dialogue.end(how, &mut self.room());
        self.shared.memory -= dialogue.counted;
        self.shared.dialogues -= 1;
        Interest::Nothing
    }
}

impl Ears<'_> {
    #[inline]
    fn room(&mut self) -> Room<'_> {
        Room {
            hear: self.hear,
            keys: self.keys,
            held_max: if self.shared.options.keys_may_come { HELD_BYTES } else { 0 },
            timed: &mut self.shared.timed,
        }
    }
}
