//! Time to count one statement of 230 bytes in its group: among a few groups, among many, and where each is a new one.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use std::hint::black_box;

use byway_fabric::mysql::digest::{Digests, End, Sample, Settings};
use byway_wire::mysql::Command;
use byway_wire::mysql::text::Charset;
use byway_wire::sql::Backslashes;
use criterion::{Criterion, criterion_group, criterion_main};

/// Statements of so many kinds, their columns named in letters, as digits make no difference.
fn texts(kinds: usize) -> Vec<String> {
    let name = |mut number: usize| {
        let mut name = String::from("c");
        for _ in 0..5 {
            name.push(char::from(b'g' + u8::try_from(number % 16).unwrap()));
            number /= 16;
        }
        name
    };
    let text = |kind| {
        format!(
            "SELECT o.id, o.customer_id, o.{}, c.name, c.email FROM orders o JOIN customers c ON c.id = o.customer_id \
             WHERE o.status IN ('paid', 'sent') AND o.created_at > '2024-02-29 12:00:00' AND c.country = 'CH' \
             ORDER BY o.id LIMIT 50",
            name(kind)
        )
    };
    (0..kinds).map(text).collect()
}

fn sample(text: &str, nth: u64) -> Sample<'_> {
    Sample {
        command: Command::Query,
        text: Some(text.as_bytes()),
        charset: Charset::Utf8,
        backslashes: Backslashes::Escape,
        database: Some(b"shop"),
        user: Some(b"shop"),
        client: "172.41.0.2".parse().unwrap(),
        server: "172.42.0.2:3306".parse().unwrap(),
        time_ns: nth * 1_000_000,
        whole_ns: Some(200_000 + nth % 1_000 * 1_000),
        end: End::Ok,
        rows: 3,
        affected: 0,
        bytes: 200,
        is_certain: true,
    }
}

fn note(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("digest");
    for kinds in [10, 5_000, 1 << 20] {
        let texts = texts(kinds);
        let mut digests = Digests::new(Settings::default(), 7);
        let mut nth = 0;
        group.bench_function(format!("statement, of {kinds} kinds"), |bencher| {
            bencher.iter(|| {
                nth += 1;
                digests.note(black_box(&sample(&texts[nth % kinds], nth as u64)))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, note);
criterion_main!(benches);
