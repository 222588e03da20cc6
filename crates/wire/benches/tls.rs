//! How fast TLS is opened: megabytes of an answer in full records, and of small statements, in segments of 1448 bytes.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use std::hint::black_box;

use byway_wire::stream::{Piece, Side};
use byway_wire::tls::{Event, KeyLog, Tls};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustls::crypto::ring::cipher_suite as suite;
use talk::{CLIENT, Ends, SERVER};

#[path = "../tests/tls/talk.rs"]
#[expect(dead_code, reason = "the stories use more of it")]
mod talk;

/// So much that the handshake does not count.
const BYTES: usize = 8 << 20;
const SEGMENT_BYTES: usize = 1448;

fn open(criterion: &mut Criterion) {
    let suites = [
        ("TLS 1.3 AES-128-GCM", suite::TLS13_AES_128_GCM_SHA256),
        ("TLS 1.3 AES-256-GCM", suite::TLS13_AES_256_GCM_SHA384),
        ("TLS 1.3 ChaCha20-Poly1305", suite::TLS13_CHACHA20_POLY1305_SHA256),
        ("TLS 1.2 AES-256-GCM", suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ];
    for (name, suite) in suites {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(20);
        for (what, side, length) in [("answers", SERVER, 16 << 10), ("statements of 100 bytes", CLIENT, 100)]
        {
            let mut talk = Ends::with(suite).meet();
            let mut wire = talk.shake();
            for _ in 0..BYTES / length {
                wire.push((side, talk.say(side, &vec![b'x'; length])));
            }
            let mut keys = KeyLog::new();
            keys.take(talk.keys().as_bytes());
            group.bench_function(what, |bencher| bencher.iter(|| read_along(&wire, &keys)));
        }
        group.finish();
    }
}

fn read_along(wire: &[(Side, Vec<u8>)], keys: &KeyLog) {
    let (mut tls, mut plain, mut sent) = (Tls::new(CLIENT, 0), 0, [0; 2]);
    for (side, bytes) in wire {
        for bytes in bytes.chunks(SEGMENT_BYTES) {
            let offset = &mut sent[usize::from(*side == SERVER)];
            let piece = Piece { bytes, offset: *offset, time_ns: *offset, starts_segment: true };
            *offset += bytes.len() as u64;
            tls.piece(*side, &piece, keys, &mut |event| {
                if let Event::Plain(_, piece) = event {
                    plain += black_box(piece.bytes).len();
                }
            });
        }
    }
    assert!(plain > BYTES - (16 << 10), "{:?}", tls.state());
}

criterion_group!(benches, open);
criterion_main!(benches);
