//! IP fragments become the segments that they were.

use byway_wire::Packet;
use byway_wire::stream::{Counts, Limits};
use etherparse::PacketBuilder;

use super::scene::{Scene, Told};

const TEXT: &[u8] =
    b"select a text that is long enough to be cut into more than two parts, each a multiple of eight";

/// A whole packet without its IP header.
fn segment() -> Vec<u8> {
    let mut bytes = Vec::new();
    let ipv4 = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    ipv4.tcp(40_000, 1_000, 1, 64_000).write(&mut bytes, TEXT).unwrap();
    bytes.split_off(20)
}

fn v4(identification: u16, from: usize, to: usize) -> Vec<u8> {
    let segment = segment();
    let flags = u16::from(to < segment.len()) << 13 | u16::try_from(from / 8).unwrap();
    let length = u16::try_from(20 + to - from).unwrap();
    let mut packet = vec![0x45, 0];
    for word in [length, identification, flags, 0x4006, 0] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(&segment[from..to]);
    packet
}

fn v6(identification: u16, from: usize, to: usize) -> Vec<u8> {
    let segment = segment();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(8 + to - from).unwrap().to_be_bytes());
    packet.extend([44, 64]);
    packet.extend([0xfd; 16]);
    packet.extend([0xfe; 16]);
    packet.extend([6, 0]);
    packet.extend((u16::try_from(from).unwrap() | u16::from(to < segment.len())).to_be_bytes());
    packet.extend(u32::from(identification).to_be_bytes());
    packet.extend(&segment[from..to]);
    packet
}

/// Takes fragments, one at a time with its point, and returns what was read.
fn read(fragments: &[(usize, Vec<u8>)]) -> (String, Counts) {
    let mut scene = Scene::new(Limits::default(), Told::default());
    for (nth, (point, bytes)) in fragments.iter().enumerate() {
        scene.streams.take(*point, nth as u64, &Packet::decode(bytes).unwrap(), &mut scene.told);
    }
    (scene.told.lines, scene.streams.counts())
}

fn whole() -> String {
    format!("c 0 \"{}\"\n", std::str::from_utf8(TEXT).unwrap())
}

#[test]
fn fragments_are_put_together_in_any_order_and_both_families() {
    let end = segment().len();
    for cut in [v4, v6] {
        let (text, counts) = read(&[(0, cut(7, 64, end)), (0, cut(7, 0, 24)), (0, cut(7, 24, 64))]);
        assert_eq!(text, whole());
        assert_eq!((counts.fragments, counts.fragments_joined, counts.fragments_refused), (3, 1, 0));
    }
}

#[test]
fn a_first_fragment_of_nothing_but_the_header_is_enough() {
    let end = segment().len();
    // The header has 20 bytes, so the first part of 24 has 4 of the data.
    assert_eq!(read(&[(0, v4(7, 24, end)), (0, v4(7, 0, 24))]).0, whole());
}

#[test]
fn copies_of_fragments_at_other_points_are_copies_of_the_segment() {
    let end = segment().len();
    let parts = [(1, v4(7, 0, 64)), (2, v4(7, 0, 64)), (1, v4(7, 64, end)), (2, v4(7, 64, end))];
    let (text, counts) = read(&parts);
    assert_eq!(text, whole());
    assert_eq!((counts.copies, counts.retransmissions, counts.fragments_joined), (1, 0, 2));
}

#[test]
fn a_fragment_that_comes_twice_is_taken_once() {
    let end = segment().len();
    assert_eq!(read(&[(0, v4(7, 0, 64)), (0, v4(7, 0, 64)), (0, v4(7, 64, end))]).0, whole());
}

#[test]
fn overlapping_fragments_are_refused_with_their_packet() {
    let end = segment().len();
    for cut in [v4, v6] {
        let (text, counts) = read(&[(0, cut(7, 0, 64)), (0, cut(7, 32, end)), (0, cut(7, 64, end))]);
        assert_eq!((&*text, counts.fragments_refused), ("", 2));
    }
    // Into the TCP header, whichever comes first.
    for order in [[0, 1], [1, 0]] {
        let parts = [(0, v4(7, 0, 64)), (0, v4(7, 8, 64))];
        let (_, counts) = read(&order.map(|nth: usize| parts[nth].clone()));
        assert_eq!(counts.fragments_refused, 1);
    }
}

#[test]
fn fragments_that_were_cut_are_refused() {
    let end = segment().len();
    let mut cut = v4(7, 0, 64);
    cut.truncate(60);
    let (text, counts) = read(&[(0, cut), (0, v4(7, 64, end))]);
    assert_eq!((&*text, counts.fragments_refused), ("", 2));
}

#[test]
fn fragments_that_nobody_completes_make_room() {
    let mut scene = Scene::new(Limits::default(), Told::default());
    for identification in 0..5_000 {
        let bytes = v4(identification, 0, 64);
        scene.streams.take(0, 1, &Packet::decode(&bytes).unwrap(), &mut scene.told);
    }
    assert!(scene.streams.waiting_bytes() < 1 << 20);
    assert!(scene.streams.counts().fragments_given_up > 3_000);
    let late = v4(1, 64, 72);
    scene.streams.take(0, u64::MAX, &Packet::decode(&late).unwrap(), &mut scene.told);
    scene.streams.finish(&mut scene.told);
    assert_eq!((scene.streams.waiting_bytes(), scene.streams.counts().fragments_given_up), (0, 5_001));
}
