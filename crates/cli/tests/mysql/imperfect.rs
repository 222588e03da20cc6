//! Captures that are made worse on purpose are worse in the way that was asked for, and in no other.

use byway_wire::{Frame, LinkType};

use crate::rig::rewrite::{Dice, Format, Packet, Recording};

/// Frames with different lengths and times, of UDP from one address to another.
fn recording() -> Recording {
    let packet = |nth: u8| {
        let mut bytes = vec![2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10, 8, 0];
        bytes.extend([0x45, 0, 0, 28 + nth, 0, nth, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        bytes.extend([0, 98, 0, 99, 0, 8 + nth, 0, 0]);
        bytes.extend(vec![nth; nth.into()]);
        let original_len = u32::try_from(bytes.len()).unwrap();
        Packet { time_ns: 1_700_000_000_000_001_000 + u64::from(nth) * 1_001_000, bytes, original_len }
    };
    Recording { link: 1, packets: (0..200).map(packet).collect() }
}

/// The lengths of what is in the packets, which are their numbers.
fn numbers(recording: &Recording) -> Vec<u32> {
    recording.packets.iter().map(|packet| packet.original_len - 42).collect()
}

#[test]
fn files_of_both_orders_are_read_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let mut exact = recording();
    exact.packets[0].time_ns += 1;
    for (format, whole) in [(Format::Usual, recording()), (Format::BigEndianNanoseconds, exact)] {
        let path = folder.path().join(format!("{format:?}"));
        whole.write(&path, format);
        assert_eq!(Recording::read(&path), whole);
    }
}

#[test]
fn what_is_lost_and_what_is_kept_are_all() {
    let whole = recording();
    let (kept, lost) = whole.with_loss(10, &mut Dice(1));
    assert!((5..40).contains(&lost.len()), "one in ten: {}", lost.len());
    let mut all = [kept.packets, lost].concat();
    all.sort_by_key(|packet| packet.time_ns);
    assert_eq!(all, whole.packets);
    assert_eq!(numbers(&whole.without_first(150)), (150..200).collect::<Vec<_>>());
}

#[test]
fn packets_change_places_within_the_window_and_time_goes_on() {
    let whole = recording();
    let moved = whole.reordered(5, &mut Dice(2));
    let numbers = numbers(&moved);
    assert_ne!(numbers, (0..200).collect::<Vec<_>>());
    for (place, number) in (0_u32..).zip(&numbers) {
        assert!(place.abs_diff(*number) < 5, "{number} is at {place}");
    }
    assert!(moved.packets.is_sorted_by_key(|packet| packet.time_ns));
    let mut sorted = numbers;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..200).collect::<Vec<_>>());
}

#[test]
fn doubles_are_there_twice_and_soon() {
    let doubled = recording().with_doubles(10, 4, &mut Dice(3));
    let numbers = numbers(&doubled);
    assert!((205..240).contains(&numbers.len()), "one in ten: {}", numbers.len());
    for number in 0..200 {
        let places: Vec<usize> = (0..numbers.len()).filter(|place| numbers[*place] == number).collect();
        assert!(places.len() == 1 || places.len() == 2, "{number}: {places:?}");
    }
    assert!(doubled.packets.is_sorted_by_key(|packet| packet.time_ns));
}

#[test]
fn what_is_cut_keeps_its_length_and_what_is_tagged_its_packet() {
    let whole = recording();
    let cut = whole.cut(60);
    assert_eq!(numbers(&cut), numbers(&whole));
    assert!(cut.packets.iter().all(|packet| packet.bytes.len() <= 60));
    for (tagged, plain) in whole.tagged(7).packets.iter().zip(&whole.packets) {
        let (tagged, plain) = (&tagged.bytes, &plain.bytes);
        let [tagged, plain] = [tagged, plain].map(|bytes| Frame::decode(LinkType::Ethernet, bytes));
        assert_eq!(tagged.vlans.as_slice(), [7]);
        assert_eq!(tagged.packet(), plain.packet());
    }
}

#[test]
fn the_same_seed_makes_the_same() {
    let whole = recording();
    assert_eq!(whole.with_loss(7, &mut Dice(9)), whole.with_loss(7, &mut Dice(9)));
    assert_ne!(whole.with_loss(7, &mut Dice(9)), whole.with_loss(7, &mut Dice(10)));
}
