//! Time for one segment in its connection, with decoding its frame: in order, seen at two points, with reordering, and of
//! no interest. Beside them, what the decoding alone takes. The frames are few enough to stay in the cache, as a frame
//! does that was just read.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use std::hint::black_box;

use byway_wire::stream::{End, Ends, Gap, Interest, Limits, Piece, Readers, Side, Streams};
use byway_wire::{Frame, LinkType};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::PacketBuilder;

/// As in the capture that the speed of `byway mysql` is measured with.
const CONNECTIONS: u16 = 64;
const ROUNDS: u32 = 20;
const REQUEST: u32 = 60;
const ANSWER: u32 = 100;

/// Counts bytes, or wants nothing.
struct Counting {
    bytes: u64,
    interest: Interest,
}

impl Readers for Counting {
    type Reader = ();

    fn open(&mut self, _: &Ends, _: u64) -> Option<()> {
        (self.interest == Interest::More).then_some(())
    }

    fn piece(&mut self, (): &mut (), _: Side, piece: &Piece<'_>) -> Interest {
        self.bytes += piece.bytes.len() as u64;
        Interest::More
    }

    fn gap(&mut self, (): &mut (), _: Side, _: &Gap) -> Interest {
        Interest::More
    }

    fn end(&mut self, (): &mut (), _: End) -> Interest {
        Interest::Nothing
    }
}

/// Requests and answers of many connections by turns, as Ethernet frames over IPv4 with time stamps.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let stamp = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut add = |from: [u8; 4], to: [u8; 4], ports: (u16, u16), sequence: u32, ack: u32, length: u32| {
        let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4(from, to, 64);
        let tcp = ethernet.tcp(ports.0, ports.1, sequence, 64_240).ack(ack).options_raw(&stamp).unwrap();
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, &vec![0x5a; length as usize]).unwrap();
        frames.push(bytes);
    };
    let (client, server) = ([172, 41, 0, 2], [172, 42, 0, 2]);
    for round in 0..ROUNDS {
        for port in 40_000..40_000 + CONNECTIONS {
            let (asked, answered) = (1 + round * REQUEST, 1 + round * ANSWER);
            add(client, server, (port, 3306), asked, answered, REQUEST);
            add(server, client, (3306, port), answered, asked + REQUEST, ANSWER);
            add(client, server, (port, 3306), asked + REQUEST, answered + ANSWER, 0);
        }
    }
    frames
}

fn decode(bytes: &[u8]) -> Frame<'_> {
    Frame::decode(LinkType::Ethernet, bytes)
}

fn run(frames: &[Vec<u8>], points: usize, interest: Interest) -> u64 {
    let mut readers = Counting { bytes: 0, interest };
    let mut streams = Streams::new(Limits::default(), 7);
    for (number, bytes) in frames.iter().enumerate() {
        let (time_ns, frame) = (number as u64 * 1_000, decode(bytes));
        for point in 0..points {
            streams.take(point, time_ns, frame.packet().unwrap(), &mut readers);
        }
    }
    streams.finish(&mut readers);
    readers.bytes
}

fn stream(criterion: &mut Criterion) {
    let frames = frames();
    let mut swapped = frames.clone();
    swapped.chunks_exact_mut(97).for_each(|some| some.swap(3, 90));

    let mut group = criterion.benchmark_group("segments");
    group.throughput(Throughput::Elements(frames.len() as u64));
    group.bench_function("decode only", |bencher| {
        bencher.iter(|| frames.iter().filter(|bytes| black_box(decode(bytes)).stop().is_some()).count());
    });
    let mut measure = |name, frames: &[Vec<u8>], points, interest| {
        group.bench_function(name, |bencher| bencher.iter(|| run(black_box(frames), points, interest)));
    };
    measure("in order", &frames, 1, Interest::More);
    measure("at two points", &frames, 2, Interest::More);
    measure("two of 97 swapped", &swapped, 1, Interest::More);
    measure("of no interest", &frames, 1, Interest::Nothing);
    group.finish();
}

criterion_group!(benches, stream);
criterion_main!(benches);
