//! Frames that were seen, sorted to probes, and judged: whatever strangers send meanwhile, and whatever is missing.

#![expect(clippy::unwrap_used, reason = "the frames are written by us")]

use std::collections::BTreeMap;

use byway_fabric::cluster::{Cluster, HostName};
use byway_fabric::journey::{Direction, End, WatchPoint};
use byway_fabric::trace::Whereabouts;
use byway_fabric::trace::path::{Path, Side};
use byway_fabric::trace::report::Seen;
use byway_fabric::trace::sort::{Probes, echo_id, marker, sort};
use byway_fabric::trace::watch::{Frame, ProbeKind, ProbeReport, Sent};
use proptest::prelude::*;

const NONCE: u64 = 0x1122_3344_5566_7788;

fn at(host: &str, interface: &str, direction: Direction) -> WatchPoint {
    let host = HostName::try_from(host.to_owned()).unwrap();
    WatchPoint { host, container: None, interface: interface.to_owned(), direction }
}

fn frame(time_ns: u64, bytes: Vec<u8>) -> Frame {
    let original_len = bytes.len();
    Frame { spot: 0, time_ns, outgoing: false, vlan: None, ethernet: false, original_len, bytes }
}

/// An IPv4 packet around a payload; checksums are nobody's business here.
fn ip(protocol: u8, ttl: u8, from: [u8; 4], to: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 7, 0, 0, ttl, protocol, 0, 0];
    packet.extend(from);
    packet.extend(to);
    packet.extend(payload);
    packet
}

fn echo(kind: u8, id: u16, nth: u16, nonce: u64) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend((nth + 1).to_be_bytes());
    message.extend(marker(nonce, nth));
    message
}

fn udp(from: u16, to: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap();
    let words = [from, to, length, 0].map(u16::to_be_bytes).concat();
    [words, data.to_vec()].concat()
}

const A: [u8; 4] = [172, 41, 0, 2];
const B: [u8; 4] = [172, 42, 0, 2];
const HOST: [u8; 4] = [192, 168, 199, 41];

fn probes(kind: ProbeKind, port: Option<u16>, ports: Vec<u16>) -> Probes {
    Probes { kind, to: End { address: B.into(), port }, nonce: NONCE, ports }
}

fn counts(probes: &Probes, frames: &[(WatchPoint, Frame)]) -> Vec<(usize, usize, usize)> {
    let frames: Vec<(WatchPoint, &Frame)> = frames.iter().map(|(at, frame)| (at.clone(), frame)).collect();
    let count = |sorted: byway_fabric::trace::sort::Sorted| {
        (sorted.request.len(), sorted.reply.len(), sorted.errors.iter().map(|error| error.seen.len()).sum())
    };
    sort(probes, &frames).into_iter().map(count).collect()
}

#[test]
fn a_probe_is_known_behind_nat_that_changed_its_source_and_its_id() {
    let here = at("a", "eth0", Direction::Out);
    let frames = [
        (here.clone(), frame(1, ip(1, 64, A, B, &echo(8, echo_id(NONCE), 0, NONCE)))),
        (here.clone(), frame(2, ip(1, 63, HOST, B, &echo(8, 999, 0, NONCE)))),
        (here.clone(), frame(3, ip(1, 62, B, HOST, &echo(0, 999, 0, NONCE)))),
        (here, frame(4, ip(1, 61, B, A, &echo(0, echo_id(NONCE), 1, NONCE)))),
    ];
    assert_eq!(counts(&probes(ProbeKind::Icmp, None, vec![0, 0]), &frames), [(2, 1, 0), (0, 1, 0)]);
}

#[test]
fn pings_of_others_between_the_same_two_are_nobodys() {
    let here = at("a", "eth0", Direction::Out);
    let frames = [(here, frame(1, ip(1, 64, A, B, &echo(8, echo_id(NONCE), 0, NONCE + 1))))];
    assert_eq!(counts(&probes(ProbeKind::Icmp, None, vec![0]), &frames), [(0, 0, 0)]);
}

#[test]
fn a_program_that_sends_back_what_it_got_answers_and_does_not_ask() {
    let here = at("a", "eth0", Direction::Out);
    let data = marker(NONCE, 0);
    let frames = [
        (here.clone(), frame(1, ip(17, 64, A, B, &udp(4000, 53, &data)))),
        (here, frame(2, ip(17, 62, B, A, &udp(53, 4000, &data)))),
    ];
    assert_eq!(counts(&probes(ProbeKind::Udp, Some(53), vec![4000]), &frames), [(1, 1, 0)]);
}

#[test]
fn an_error_about_a_probe_is_known_by_what_it_quotes() {
    let here = at("a", "eth0", Direction::Out);
    let quoted = ip(1, 1, A, B, &echo(8, echo_id(NONCE), 0, NONCE));
    // An old router quotes 8 bytes of the message: the id and the number must do.
    for length in [quoted.len(), 28] {
        let error = [&[11, 0, 0, 0, 0, 0, 0, 0][..], &quoted[..length]].concat();
        let frames = [(here.clone(), frame(1, ip(1, 64, HOST, A, &error)))];
        assert_eq!(counts(&probes(ProbeKind::Icmp, None, vec![0]), &frames), [(0, 0, 1)], "{length} bytes");
    }
}

proptest! {
    /// Whatever passes, there is an answer for each probe, and the words are there.
    #[test]
    fn any_frames_give_a_verdict(
        frames in proptest::collection::vec((0_u8..4, any::<u64>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..120)), 0..20),
        kind in prop_oneof![Just(ProbeKind::Icmp), Just(ProbeKind::Tcp), Just(ProbeKind::Udp)],
        answered in any::<bool>(),
        errno in proptest::option::of(0_i32..140),
    ) {
        let points = [
            at("a", "veth", Direction::In),
            at("a", "eth0", Direction::Out),
            at("b", "eth0", Direction::In),
            at("b", "veth", Direction::Out),
        ];
        let back: Vec<WatchPoint> = points.iter().rev().cloned().collect();
        let frames: Vec<(WatchPoint, Frame)> = frames
            .into_iter()
            .map(|(nth, time, ethernet, mut bytes)| {
                // Half of them are made to look like something.
                if bytes.len() > 40 && !ethernet {
                    bytes[0] = 0x45;
                    bytes[9] = [1, 6, 17][usize::from(nth) % 3];
                }
                (points[usize::from(nth)].clone(), Frame { ethernet, ..frame(time, bytes) })
            })
            .collect();
        let frames: Vec<(WatchPoint, &Frame)> = frames.iter().map(|(at, frame)| (at.clone(), frame)).collect();
        let probes = probes(kind, Some(80), vec![4000, 4001]);
        let sent = Sent { port: 4000, error: errno.map(|errno| errno.to_string()), errno, answered };
        let sent = ProbeReport { sent: vec![sent.clone(), sent] };
        let side = |host: &str| Side {
            host: HostName::try_from(host.to_owned()).unwrap(),
            this: Whereabouts::Own { interface: "lo".to_owned() },
            other: Whereabouts::Away { interface: "eth0".to_owned(), via: None },
            doors: Vec::new(),
        };
        let (from, to) = (side("a"), side("b"));
        let path = Path { there: points.to_vec(), back };
        let seen = Seen {
            cluster: &Cluster::default(),
            probes: &probes,
            from: End { address: A.into(), port: None },
            sides: (&from, Some(&to)),
            path: &path,
            sent: &sent,
            frames: &frames,
            rules: &[],
            counters: &[],
            drops: &[],
            silent: &BTreeMap::new(),
        };
        let told = seen.told(&BTreeMap::new());
        prop_assert_eq!(told.len(), 2);
        for told in told {
            prop_assert!(!told.verdict.sentence.is_empty());
        }
        let _ = seen.clocks();
    }
}
