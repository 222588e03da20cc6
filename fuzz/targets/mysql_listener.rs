//! Any bytes as frames of Ethernet at several points: no panic, bounded memory, and what is told fits together.
//!
//! The input is read as steps: a byte that says what happens (bits 0 and 1: the point; 2: the time goes on by a quarter of
//! a second; 3: nothing comes for a while; 4: a TCP segment is made of the bytes, else they are a frame as they are), two
//! bytes of length, and that many bytes. A made segment has of its bytes: side and connection, number (2), acknowledgement
//! (2), flags; the rest is its data.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use byway_wire::mysql::{Event, Hear, Limits, Listener, News, Options, Outcome, Peers, Timed, Timing};
use byway_wire::{Frame, LinkType};
use libfuzzer_sys::fuzz_target;

/// What a connection may take here: so small that every bound is met.
const LIMITS: Limits =
    Limits { request_bytes_max: 512, pending_bytes_max: 1024, statements_bytes_max: 2048, long_data_bytes_max: 64 };
/// What few connections take with these limits, compression and the table of all.
const MEMORY_MAX: usize = 16 << 20;
/// Secrets of no connection: they are looked up all the same.
const KEYS: &[u8] = b"CLIENT_RANDOM 00 00\nCLIENT_HANDSHAKE_TRAFFIC_SECRET";

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let ports = if first & 1 == 0 { Vec::new() } else { vec![3306] };
    let mut listener =
        Listener::new(Options { ports, limits: LIMITS, keys_may_come: first & 2 != 0 }, u64::from(*first));
    listener.keys().take(KEYS);
    let (mut told, mut time_ns, mut packets) = (Told::default(), 1_000_000_000_u64, 0_u64);
    while let [kind, high, low, behind @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high & 7, *low]));
        let (bytes, later) = behind.split_at(behind.len().min(length));
        rest = later;
        time_ns += if kind & 4 == 0 { 1000 } else { 250_000_000 };
        if kind & 8 != 0 {
            listener.settle(time_ns, &mut told);
        }
        let made = (kind & 16 != 0).then(|| segment(bytes)).flatten();
        let frame = Frame::decode(LinkType::Ethernet, made.as_deref().unwrap_or(bytes));
        if let Some(packet) = frame.packet() {
            listener.packet(usize::from(kind & 3), time_ns, packet, &mut told);
            packets += 1;
        }
        assert!(listener.memory() < MEMORY_MAX);
    }
    listener.finish(&mut told);
    assert!(told.timed.is_empty(), "all timings are told");
    assert_eq!(listener.memory(), 0);
    let counts = listener.counts();
    assert!(counts.connections <= packets && told.over.len() as u64 <= counts.connections);
});

/// A segment as a frame: its ends, number, acknowledgement and flags, and what it carries.
fn segment(bytes: &[u8]) -> Option<Vec<u8>> {
    let ([ends, number_high, number_low, known_high, known_low, flags], data) = bytes.split_first_chunk()?;
    let client = 40_000_u16 + u16::from(ends >> 1 & 3);
    let server = if ends & 8 == 0 { 3306_u16 } else { 4000 };
    let (from, to, last) = if ends & 1 == 0 { (client, server, [1, 2]) } else { (server, client, [2, 1]) };
    let length = u16::try_from(40 + data.len()).ok()?.to_be_bytes();
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, length[0], length[1], 0, *number_low, 0x40, 0, 64, 6, 0, 0]);
    frame.extend([10, 0, 0, last[0], 10, 0, 0, last[1]]);
    frame.extend(from.to_be_bytes());
    frame.extend(to.to_be_bytes());
    frame.extend([0, 0, *number_high, *number_low, 0, 0, *known_high, *known_low]);
    frame.extend([0x50, *flags, 1, 0, 0, 0, 0, 0]);
    frame.extend(data);
    Some(frame)
}

fn check(timing: Timing) {
    assert!(timing.server_ns.is_none() || timing.points > 1);
    assert!(timing.network_ns().is_none_or(|network| Some(network) <= timing.first_ns));
}

/// What is checked of what is told.
#[derive(Default)]
struct Told {
    /// Statements whose timing is to come, by number, and whose they are.
    timed: BTreeMap<u64, u64>,
    last: u64,
    over: BTreeSet<u64>,
}

impl Hear for Told {
    fn hear(&mut self, peers: &Peers, news: News<'_>) {
        assert!(!self.over.contains(&peers.number), "nothing is told behind the end");
        match news {
            News::Said(Event::Statement(statement), timed) => {
                let is_seen = !matches!(statement.answer.outcome, Outcome::NotDue | Outcome::Unseen);
                assert!(!is_seen || statement.answered.is_some());
                match timed {
                    Some(Timed::Later(number)) => {
                        assert!(number > self.last);
                        self.last = number;
                        self.timed.insert(number, peers.number);
                    }
                    Some(Timed::Now(timing)) => check(timing),
                    None => panic!("a statement has a timing"),
                }
            }
            News::Said(..) => {}
            News::Timing(number, timing) => {
                assert_eq!(self.timed.remove(&number), Some(peers.number));
                check(timing);
            }
            News::Agreed(agreed) => assert!(!agreed.to_string().is_empty()),
            News::Sealed(why) => assert!(!why.to_string().is_empty()),
            News::Over(..) => {
                assert!(!self.timed.values().any(|number| *number == peers.number), "all timings are told");
                self.over.insert(peers.number);
            }
        }
    }
}
