//! Any key log and any bytes as a TLS connection: no panic, within the limits, and every byte from where it was seen.
//!
//! A line of a key log up to a NUL; then steps of a byte that says what it is, two bytes of length, and as many bytes:
//! of the client or the server (bit 0), seen or missing (bit 1), or more of the key log (bit 2).

#![no_main]

use byway_wire::stream::{Gap, Missing, Piece, Side};
use byway_wire::tls::{Event, KeyLog, Tls};
use libfuzzer_sys::fuzz_target;

const HELD_BYTES: usize = 8 << 10;
/// What two halves of records, messages and keys may take besides.
const MEMORY_MAX: usize = 3 * HELD_BYTES + 2 * (64 << 10);

fuzz_target!(|bytes: &[u8]| {
    let (lines, mut rest) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    rest = rest.get(1..).unwrap_or_default();
    let mut keys = KeyLog::new();
    keys.take(lines);
    let mut tls = Tls::new(Side::First, HELD_BYTES);
    let mut watch = Watch::default();
    let mut time_ns = 0;
    while let [kind, high, low, step @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let is_missing = kind & 2 != 0;
        let (step, later) =
            if is_missing { (&step[..0], step) } else { step.split_at(length.min(step.len())) };
        rest = later;
        time_ns += 1;
        let side = if kind & 1 == 0 { Side::First } else { Side::Second };
        let offset = watch.sent[side as usize];
        if kind & 4 != 0 {
            keys.take(step);
            tls.keys_came(&keys, &mut |event| watch.take(&event));
        } else if is_missing {
            watch.sent[side as usize] += length as u64;
            let gap = Gap { missing: length as u64, offset, time_ns, why: Missing::Lost };
            tls.gap(side, &gap, &keys, &mut |event| watch.take(&event));
        } else if !step.is_empty() {
            watch.sent[side as usize] += step.len() as u64;
            let piece = Piece { bytes: step, offset, time_ns, starts_segment: true };
            tls.piece(side, &piece, &keys, &mut |event| watch.take(&event));
        }
        assert!(tls.memory() <= MEMORY_MAX, "{} bytes", tls.memory());
        assert!(!format!("{tls:?} {keys:?}").is_empty());
    }
    tls.end(&mut |event| watch.take(&event));
});

#[derive(Default)]
struct Watch {
    sent: [u64; 2],
    /// Up to where the application's bytes were shown.
    shown: [u64; 2],
    is_sealed: [bool; 2],
}

impl Watch {
    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Agreed(agreed) => assert!(!agreed.to_string().is_empty()),
            Event::Plain(side, piece) => {
                let side = *side as usize;
                assert!(!self.is_sealed[side] && !piece.bytes.is_empty());
                assert!(piece.offset >= self.shown[side]);
                self.shown[side] = piece.offset + piece.bytes.len() as u64;
                assert!(self.shown[side] <= self.sent[side]);
            }
            Event::Lost(side, loss) => {
                assert!(!self.is_sealed[*side as usize]);
                assert!(loss.offset <= self.sent[*side as usize]);
            }
            Event::Sealed(side, why) => {
                assert!(!self.is_sealed[*side as usize], "twice");
                self.is_sealed[*side as usize] = true;
                assert!(!why.to_string().is_empty());
            }
        }
    }
}
