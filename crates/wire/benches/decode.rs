//! Time for one frame: decode, decode with the key, decode with its line of text; beside `etherparse` in the same run.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use std::hint::black_box;

use byway_wire::{Frame, LinkType};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use etherparse::{LaxSlicedPacket, PacketBuilder, SlicedPacket};

/// As much as `ping` sends.
const PAYLOAD: [u8; 56] = [0x5a; 56];

fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let v4 = || ethernet().ipv4([172, 41, 0, 2], [172, 42, 0, 2], 64);
    let v6 = || ethernet().ipv6([0xfd; 16], [0xfe; 16], 64);
    let (mut ping, mut ping6, mut tcp, mut tcp6) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let stamp = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    v4().icmpv4_echo_request(7, 1).write(&mut ping, &PAYLOAD).unwrap();
    v6().icmpv6_echo_request(7, 1).write(&mut ping6, &PAYLOAD).unwrap();
    v4().tcp(4000, 3306, 1, 64_240).ack(1).options_raw(&stamp).unwrap().write(&mut tcp, &PAYLOAD).unwrap();
    v6().tcp(4000, 3306, 1, 64_240).ack(1).options_raw(&stamp).unwrap().write(&mut tcp6, &PAYLOAD).unwrap();
    vec![("ping", ping), ("ping6", ping6), ("tcp", tcp), ("tcp6", tcp6)]
}

fn decode(criterion: &mut Criterion) {
    for (name, bytes) in frames() {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        let frame = || Frame::decode(LinkType::Ethernet, black_box(&bytes));
        group.bench_function("decode", |bencher| bencher.iter(|| black_box(frame()).stop()));
        group.bench_function("decode and key", |bencher| {
            bencher.iter(|| frame().packet().and_then(byway_wire::Packet::key));
        });
        group.bench_function("decode and text", |bencher| bencher.iter(|| frame().to_string()));
        group.bench_function("etherparse strict", |bencher| {
            bencher.iter(|| black_box(SlicedPacket::from_ethernet(black_box(&bytes))).is_ok());
        });
        group.bench_function("etherparse lax", |bencher| {
            bencher.iter(|| black_box(LaxSlicedPacket::from_ethernet(black_box(&bytes))).is_ok());
        });
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
