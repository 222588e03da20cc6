//! Time for the digest, the mask and the tokens of one statement of 230 bytes.

use std::hint::black_box;

use byway_wire::sql::{self, Backslashes, DigestId, Tokens};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SELECT: &str = "SELECT o.id, o.customer_id, o.total, c.name, c.email FROM orders o JOIN customers c ON c.id = \
    o.customer_id WHERE o.status IN ('paid', 'sent') AND o.created_at > '2024-02-29 12:00:00' AND c.country = 'CH' \
    ORDER BY o.id LIMIT 50";

fn statement(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sql");
    group.throughput(Throughput::Bytes(SELECT.len() as u64));
    let mut out = Vec::new();
    group.bench_function("tokens", |bencher| {
        bencher.iter(|| Tokens::new(black_box(SELECT.as_bytes()), Backslashes::Escape).count());
    });
    group.bench_function("fingerprint", |bencher| {
        bencher.iter(|| {
            out.clear();
            sql::fingerprint(black_box(SELECT.as_bytes()), Backslashes::Escape, &mut out);
        });
    });
    group.bench_function("mask", |bencher| {
        bencher.iter(|| {
            out.clear();
            sql::mask(black_box(SELECT.as_bytes()), Backslashes::Escape, &mut out);
        });
    });
    group.bench_function("digest id", |bencher| bencher.iter(|| DigestId::of(black_box(SELECT.as_bytes()))));
    group.finish();
}

criterion_group!(benches, statement);
criterion_main!(benches);
