//! Whatever a capture does to two streams, they come out as they were, or with gaps where something is missing.

use byway_wire::stream::{Counts, End, Ends, Gap, Interest, Limits, Piece, Readers, Side, Sighting, Streams};
use proptest::prelude::*;

use super::conversation::{Sent, any_conversation, byte};

/// Reads one connection after the other and checks what must always hold.
#[derive(Default)]
struct Checked {
    /// How far each side has come.
    next: [u64; 2],
    missing: [u64; 2],
    /// By side, what the other must have had for each byte; empty if nothing must.
    needs: [Vec<u64>; 2],
    is_open: bool,
    ended: Vec<End>,
}

impl Readers for Checked {
    type Reader = ();

    fn open(&mut self, _: &Ends, _: u64) -> Option<()> {
        assert!(!self.is_open, "the last one has not ended");
        (self.is_open, self.next, self.missing) = (true, [0, 0], [0, 0]);
        Some(())
    }

    fn piece(&mut self, (): &mut (), side: Side, piece: &Piece<'_>) -> Interest {
        assert!(self.is_open && !piece.bytes.is_empty());
        assert_eq!(piece.offset, self.next[side as usize], "{side:?}");
        for (at, found) in (piece.offset..).zip(piece.bytes) {
            assert_eq!(*found, byte(side, at), "{side:?} at {at}");
            let needs = usize::try_from(at).ok().and_then(|at| self.needs[side as usize].get(at)).copied();
            assert!(
                self.next[side.other() as usize] >= needs.unwrap_or(0),
                "{side:?} at {at} came too early"
            );
        }
        self.next[side as usize] += piece.bytes.len() as u64;
        Interest::More
    }

    fn gap(&mut self, (): &mut (), side: Side, gap: &Gap) -> Interest {
        assert!(self.is_open && gap.missing > 0);
        assert_eq!(gap.offset, self.next[side as usize], "{side:?}");
        self.next[side as usize] += gap.missing;
        self.missing[side as usize] += gap.missing;
        Interest::More
    }

    fn sighting(&mut self, (): &mut (), _: Side, sighting: &Sighting) {
        assert!(self.is_open && sighting.from <= sighting.to);
    }

    fn end(&mut self, (): &mut (), how: End) -> Interest {
        assert!(self.is_open);
        self.is_open = false;
        self.ended.push(how);
        Interest::Nothing
    }
}

fn run(packets: &[Sent], isns: [u32; 2], needs: [Vec<u64>; 2], times: &[u64]) -> (Checked, Counts) {
    let mut checked = Checked { needs, ..Checked::default() };
    let mut streams = Streams::new(Limits::default(), 3);
    for (nth, sent) in packets.iter().enumerate() {
        let time_ns = times.get(nth % times.len().max(1)).copied().unwrap_or(nth as u64 * 1_000);
        sent.with_packet(isns, &mut |packet| streams.take(sent.point, time_ns, packet, &mut checked));
    }
    streams.finish(&mut checked);
    assert_eq!((streams.waiting_bytes(), streams.connections()), (0, 0));
    assert!(!checked.is_open);
    (checked, streams.counts())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_streams_come_out_whole_and_in_the_order_of_cause(
        talk in any_conversation(),
        repeats in prop::collection::vec((0..200usize, 0..80u64), 0..6),
        points in 1..5usize,
        places in prop::collection::vec(any::<usize>(), 1..50),
    ) {
        let mut talk = talk;
        let needs = [talk.acknowledged_with(Side::First), talk.acknowledged_with(Side::Second)];
        talk.repeat(&repeats);
        let sent = talk.packets.iter().filter(|sent| sent.length > 0).count() as u64;
        talk.see_at(points);
        talk.disorder(&places);
        let (checked, counts) = run(&talk.packets, talk.isns, needs, &[]);
        prop_assert_eq!((checked.next, checked.missing), (talk.lengths, [0, 0]));
        prop_assert_eq!(checked.ended, vec![End::Finished]);
        prop_assert_eq!(counts.bytes, talk.lengths[0] + talk.lengths[1]);
        // Every packet with data is new, a copy, sent again, or taken for a probe; copies only where more than one looks.
        prop_assert!(counts.copies + counts.retransmissions + counts.probes <= sent * points as u64);
        prop_assert!(points > 1 || counts.copies == 0, "{:?}", counts);
        prop_assert_eq!((counts.strays, counts.bytes_before_start), (0, 0));
    }

    #[test]
    fn every_byte_is_handed_out_or_missing_once(
        talk in any_conversation(),
        losses in prop::collection::vec(0..10u8, 1..60),
        cuts in prop::collection::vec(prop_oneof![Just(0), 0..40usize], 1..20),
        repeats in prop::collection::vec((0..200usize, 0..80u64), 0..6),
        points in 1..3usize,
        places in prop::collection::vec(any::<usize>(), 1..50),
        times in prop::collection::vec(0..3_000_000_000u64, 0..10),
    ) {
        let mut talk = talk;
        talk.repeat(&repeats);
        talk.see_at(points);
        talk.disorder(&places);
        let lost = losses.iter().cycle();
        let mut packets: Vec<Sent> = talk.packets.iter().zip(lost).filter(|(sent, lost)| **lost > 1 || sent.length == 0).map(|(sent, _)| *sent).collect();
        packets.iter_mut().zip(cuts.iter().cycle()).for_each(|(sent, cut)| sent.cut = *cut);
        let (checked, counts) = run(&packets, talk.isns, [vec![], vec![]], &times);
        prop_assert_eq!(checked.next, talk.lengths);
        prop_assert_eq!(checked.ended.len(), 1);
        let total = talk.lengths[0] + talk.lengths[1];
        prop_assert_eq!(counts.bytes + checked.missing[0] + checked.missing[1], total);
        prop_assert_eq!(counts.bytes_lost + counts.bytes_cut + counts.bytes_given_up, checked.missing[0] + checked.missing[1]);
    }

    #[test]
    fn joined_midway_the_rest_comes_out_whole(talk in any_conversation(), skipped in 0..200usize) {
        let rest = &talk.packets[skipped.min(talk.packets.len() - 1)..];
        let first = |side| rest.iter().find(|sent| sent.side == side && sent.length > 0).map(|sent| sent.offset);
        let expected: Vec<u64> = [Side::First, Side::Second].into_iter()
            .map(|side| first(side).map_or(0, |from| talk.lengths[side as usize] - from)).collect();
        let mut bytes = 0;
        let mut streams = Streams::new(Limits::default(), 3);
        let mut counting = Counting { bytes: &mut bytes };
        for (nth, sent) in rest.iter().enumerate() {
            sent.with_packet(talk.isns, &mut |packet| streams.take(0, nth as u64, packet, &mut counting));
        }
        streams.finish(&mut counting);
        prop_assert_eq!(bytes, expected[0] + expected[1]);
        let counts = streams.counts();
        prop_assert_eq!((counts.bytes_lost, counts.bytes_given_up, counts.waited), (0, 0, 0));
    }
}

struct Counting<'a> {
    bytes: &'a mut u64,
}

impl Readers for Counting<'_> {
    type Reader = ();

    fn open(&mut self, _: &Ends, _: u64) -> Option<()> {
        Some(())
    }

    fn piece(&mut self, (): &mut (), _: Side, piece: &Piece<'_>) -> Interest {
        *self.bytes += piece.bytes.len() as u64;
        Interest::More
    }

    fn gap(&mut self, (): &mut (), _: Side, _: &Gap) -> Interest {
        Interest::More
    }

    fn end(&mut self, (): &mut (), _: End) -> Interest {
        Interest::Nothing
    }
}
