//! Any bytes as the conversation of a connection, in any pieces and with any gaps: no panic, bounded memory, and texts that
//! are not longer than what came.
//!
//! The input is read as steps: a byte that says whose turn it is and what happens, a byte of length, and that many bytes.

#![no_main]

use byway_wire::mysql::{Event, Limits, Request, Watcher};
use byway_wire::stream::{Gap, Missing, Piece, Side};
use libfuzzer_sys::fuzz_target;

/// What a connection may take here: so small that every bound is met.
const LIMITS: Limits =
    Limits { request_bytes_max: 512, pending_bytes_max: 1024, statements_bytes_max: 2048, long_data_bytes_max: 64 };
/// What all bounds together allow, with what buffers keep for later.
const MEMORY_MAX: usize = 40 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((first, mut rest)) = input.split_first() else { return };
    let mut watcher = Watcher::new(LIMITS, (first & 1 == 1).then_some(Side::Second));
    let (mut offsets, mut time_ns, came) = ([0_u64; 2], 0, input.len());
    let mut emit = |_: Side, event: Event<'_>| look(&event, came);
    while let [what, length, behind @ ..] = rest {
        let side = if what & 1 == 0 { Side::First } else { Side::Second };
        let offset = &mut offsets[usize::from(what & 1)];
        time_ns += 1;
        if what & 6 == 6 {
            let missing = u64::from(*length) + 1;
            watcher.gap(side, &Gap { missing, offset: *offset, time_ns, why: Missing::Lost }, &mut emit);
            *offset += missing;
            rest = behind;
            continue;
        }
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(*length)));
        if !bytes.is_empty() {
            let piece = Piece { bytes, offset: *offset, time_ns, starts_segment: what & 8 == 0 };
            watcher.piece(side, &piece, &mut emit);
            *offset += bytes.len() as u64;
        }
        assert!(watcher.memory() < MEMORY_MAX);
        rest = behind;
    }
    watcher.end(&mut emit);
});

fn look(event: &Event<'_>, came: usize) {
    let Event::Statement(statement) = event else { return };
    assert!(!statement.sureness.to_string().is_empty());
    assert!(statement.asked.first.offset <= statement.asked.last.offset);
    match statement.request {
        Request::Query { text, attributes } => {
            assert!(attributes.iter().count() <= came * 8 + 1);
            assert!(text.holes.iter().all(|hole| hole.at <= text.bytes.len()));
        }
        Request::Execute { parameters: Some(parameters), .. } => {
            assert!(parameters.iter().all(|value| value.is_some()));
        }
        Request::Bulk { rows: Some(rows), .. } => {
            for row in rows.iter().flatten() {
                assert!(row.iter().count() <= row.count());
            }
        }
        _ => {}
    }
}
