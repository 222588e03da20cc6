//! What holds for any cut of the bytes, any loss, and any bytes.

use proptest::prelude::*;

use super::talk::{CLIENT, Ends, SERVER, Watch};
use crate::{SUITES, TLS13, long_text, watch};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_gives_the_same_bytes(
        nth in 0..SUITES.len(),
        texts in prop::collection::vec((any::<bool>(), 1..40_000_usize), 1..6),
        cuts in prop::collection::vec(1..3000_usize, 1..20),
        learns_at in 0..200_usize,
    ) {
        let mut talk = Ends::with(SUITES[nth]).meet();
        let mut wire = talk.shake();
        let mut expected = [Vec::new(), Vec::new()];
        for (is_client, length) in texts {
            let text = long_text(length);
            let side = if is_client { CLIENT } else { SERVER };
            wire.push((side, talk.say(side, &text)));
            expected[usize::from(!is_client)].extend(text);
        }
        let mut watch = Watch::new("", 1 << 20);
        let (mut cuts, mut fed) = (cuts.iter().cycle(), 0);
        for (side, bytes) in &wire {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (part, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                watch.see(*side, part);
                rest = later;
                fed += 1;
                if fed == learns_at {
                    watch.learn(&talk.keys());
                }
            }
        }
        watch.learn(&talk.keys());
        prop_assert_eq!(&watch.notes.plain, &expected);
    }

    #[test]
    fn whatever_is_lost_the_rest_is_right_and_in_its_place(
        nth in 0..SUITES.len(),
        lengths in prop::collection::vec(1..6000_usize, 5..60),
        lost in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let mut talk = Ends::with(SUITES[nth]).meet();
        let mut watch = watch(&mut talk, 0);
        let first = usize::try_from(watch.tls.counts(SERVER).wire_bytes).unwrap();
        let explicit = if nth >= 3 && nth % 3 != 2 { 8 } else { 0 };
        // What lies where in the stream, and whether it was seen.
        let (mut wire, mut truth) = (vec![0; first], vec![None; first]);
        let mut records = Vec::new();
        for length in lengths {
            let text = long_text(length);
            let start = wire.len() + 5 + explicit;
            records.push((wire.len(), start, text.clone()));
            truth.resize(start, None);
            truth.extend(text.iter().copied().map(Some));
            wire.extend(talk.say(SERVER, &text));
            truth.resize(wire.len(), None);
        }
        let mut seen = vec![true; first];
        for (segment, chance) in wire[first..].chunks(1448).zip(lost.iter().cycle()) {
            let is_lost = *chance < 20;
            if is_lost {
                watch.miss(SERVER, segment.len());
            } else {
                watch.see(SERVER, segment);
            }
            seen.resize(seen.len() + segment.len(), !is_lost);
        }
        for (offset, bytes) in &watch.notes.places {
            let at = *offset;
            prop_assert!(truth[at..at + bytes.len()].iter().eq(bytes.iter().copied().map(Some).collect::<Vec<_>>().iter()));
        }
        for (offset, missing) in &watch.notes.holes {
            let at = *offset;
            let end = at + missing;
            prop_assert!(truth[at..end].iter().all(Option::is_some));
            prop_assert!(truth[at - 1].is_none() && truth[end].is_none());
        }
        // A record that was seen whole is opened, whatever was lost before it.
        let expected = records.iter().filter(|(from, at, text)| seen[*from..at + text.len() + 16].iter().all(|seen| *seen));
        let expected: Vec<u8> = expected.flat_map(|(_, _, text)| text.clone()).collect();
        prop_assert_eq!(&watch.notes.plain[1], &expected);
    }

    #[test]
    fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..600), cut in 1..100_usize) {
        let mut talk = Ends::with(TLS13).meet();
        let mut watch = watch(&mut talk, 0);
        for (nth, part) in bytes.chunks(cut).enumerate() {
            watch.see(if nth % 3 == 0 { CLIENT } else { SERVER }, part);
            if nth % 5 == 4 {
                watch.miss(SERVER, cut);
            }
        }
        prop_assert_eq!(&watch.notes.plain, &[Vec::<u8>::new(), Vec::new()]);
    }
}
