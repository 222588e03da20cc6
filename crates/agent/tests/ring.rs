//! Rings on the real kernel, each test in a network namespace of its own that ends with its thread.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a kernel that refuses here is a failed test")]

mod common;

use std::net::UdpSocket;
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use byway_agent::edge::netns;
use byway_agent::edge::ring::{Direction, Event, Losses, Options, Ring, RingError, RingId, Rings, State};
use byway_agent::edge::watch::Vlan;
use caps::{CapSet, Capability};
use common::{add_veth, in_a_namespace, link_down, link_up, remove};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};

/// How long a packet may take that never leaves this machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a test looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    ring: usize,
    time_ns: u64,
    direction: Direction,
    vlan: Option<Vlan>,
    bytes: Vec<u8>,
    original_len: u32,
}

fn rings(interfaces: &[&str], options: &Options) -> Rings {
    let mut rings = Rings::default();
    for interface in interfaces {
        rings.add(Ring::open(interface, options).unwrap()).unwrap();
    }
    rings
}

fn filtered(filter: &str) -> Options {
    Options { filter: Some(filter.to_owned()), ..Options::default() }
}

fn keep(ring: RingId, frame: &byway_agent::edge::ring::Frame<'_>) -> Seen {
    let byway_agent::edge::ring::Frame { time_ns, direction, vlan, bytes, original_len, .. } = *frame;
    Seen { ring: ring.0, time_ns, direction, vlan, bytes: bytes.to_vec(), original_len }
}

/// Everything that came, to the last packet.
fn all(rings: &mut Rings) -> (Vec<Seen>, Vec<Losses>) {
    let mut seen = Vec::new();
    let take = |ring, frame: byway_agent::edge::ring::Frame<'_>| {
        seen.push(keep(ring, &frame));
        Ok::<_, RingError>(())
    };
    let losses = rings.finish(take).unwrap();
    (seen, losses)
}

/// The next frame that a waiting reader gets.
fn next(rings: &mut Rings) -> Seen {
    let other = match rings.next(Instant::now() + PATIENCE).unwrap() {
        Event::Frame(ring, frame) => return keep(ring, &frame),
        other => format!("{other:?}"),
    };
    panic!("no frame: {other}: {:?} of {rings:?}", rings.losses())
}

fn next_state(rings: &mut Rings) -> (usize, State) {
    loop {
        match rings.next(Instant::now() + PATIENCE).unwrap() {
            Event::State(ring, state) => return (ring.0, state),
            Event::Frame(..) => {}
            other => panic!("no news: {other:?}"),
        }
    }
}

/// Sends datagrams over lo to somebody who does not read them; to which port.
fn datagrams(count: usize, bytes: usize) -> u16 {
    let to = UdpSocket::bind("127.0.0.1:0").unwrap();
    let from = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..count {
        from.send_to(&vec![0x5a; bytes], to.local_addr().unwrap()).unwrap();
    }
    to.local_addr().unwrap().port()
}

/// Sends a frame as it is out of an interface.
fn send(interface: &str, frame: &[u8]) {
    let packets: OwnedFd =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let index = nix::net::if_::if_nametoindex(interface).unwrap();
    let address = libc::sockaddr_ll {
        sll_family: 17,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(index).unwrap(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
    // SAFETY: the pointer and the length are those of `address`.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) }.unwrap();
    assert_eq!(sendto(packets.as_raw_fd(), frame, &address, MsgFlags::empty()).unwrap(), frame.len());
}

/// A frame to everybody, of a kind that nobody here knows.
fn frame(tag: &[u8], text: &str) -> Vec<u8> {
    [&[0xff; 6], &[2, 0, 0, 0, 0, 1], tag, &[0x88, 0xb5], text.as_bytes(), &[0; 46]].concat()
}

#[test]
fn both_directions_are_seen_with_the_kernels_times() {
    in_a_namespace(|| {
        link_up("lo");
        let now_ns = || u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
        let before = now_ns();
        let mut rings = rings(&["lo"], &Options::default());
        datagrams(1, 100);
        let seen = [next(&mut rings), next(&mut rings)];
        assert_eq!(seen.clone().map(|seen| seen.direction), [Direction::Out, Direction::In]);
        assert!(seen.iter().all(|seen| seen.original_len == 142 && seen.bytes.len() == 142));
        assert!(
            before <= seen[0].time_ns && seen[0].time_ns <= seen[1].time_ns && seen[1].time_ns <= now_ns()
        );
    });
}

#[test]
fn what_is_in_a_block_that_is_not_full_comes_at_the_end() {
    in_a_namespace(|| {
        link_up("lo");
        let mut rings = rings(&["lo"], &Options::default());
        datagrams(7, 100);
        let (seen, losses) = all(&mut rings);
        assert_eq!(seen.len(), 14);
        assert_eq!(losses, [Losses { received: 14, taken: 14, ..Losses::default() }]);
        datagrams(1, 100);
        assert!(matches!(rings.next(Instant::now()).unwrap(), Event::End), "nothing comes after the end");
    });
}

#[test]
fn the_filter_is_in_the_kernel() {
    in_a_namespace(|| {
        link_up("lo");
        let wanted = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = wanted.local_addr().unwrap().port();
        let mut rings = rings(&["lo"], &filtered(&format!("udp dst port {port}")));
        datagrams(50, 100);
        wanted.send_to(b"this", wanted.local_addr().unwrap()).unwrap();
        let (seen, losses) = all(&mut rings);
        assert!(seen.len() == 2 && seen.iter().all(|seen| seen.bytes.ends_with(b"this")), "{seen:?}");
        assert_eq!(losses[0].received, 2, "the others never came to us");
    });
}

#[test]
fn what_snaplen_cuts_is_counted() {
    in_a_namespace(|| {
        link_up("lo");
        for filter in [None, Some("udp".to_owned())] {
            let options = Options { snaplen: 96, filter, ..Options::default() };
            let mut rings = rings(&["lo"], &options);
            datagrams(3, 1000);
            datagrams(2, 10);
            let (seen, losses) = all(&mut rings);
            let lengths: Vec<_> = seen.iter().map(|seen| (seen.bytes.len(), seen.original_len)).collect();
            assert_eq!(lengths, [vec![(96, 1042); 6], vec![(52, 52); 4]].concat());
            assert_eq!(losses, [Losses { received: 10, taken: 10, cut_by_snaplen: 6, ..Losses::default() }]);
        }
    });
}

#[test]
fn what_the_ring_cannot_hold_is_counted_to_the_packet() {
    in_a_namespace(|| {
        link_up("lo");
        let mut rings = rings(&["lo"], &Options { blocks: 3, ..Options::default() });
        datagrams(100, 60_000);
        let (seen, losses) = all(&mut rings);
        assert!(
            losses[0].kernel_drops > 0 && losses[0].freezes > 0,
            "6 MB twice fitted into 384 KiB: {losses:?}"
        );
        assert_eq!(losses[0].received, 200, "each goes out and comes in");
        assert_eq!(u64::try_from(seen.len()).unwrap() + losses[0].kernel_drops, 200);
        assert_eq!(rings.losses().unwrap(), losses, "asking again does not forget");
    });
}

#[test]
fn a_ring_that_was_full_goes_on_when_it_is_read() {
    in_a_namespace(|| {
        link_up("lo");
        let mut rings = rings(&["lo"], &Options { blocks: 3, ..Options::default() });
        datagrams(100, 60_000);
        while let Event::Frame(..) = rings.next(Instant::now()).unwrap() {}
        for _ in 0..5 {
            datagrams(1, 123);
            let mut fresh =
                std::iter::repeat_with(|| next(&mut rings)).filter(|seen| seen.original_len == 165);
            assert_eq!(fresh.next().unwrap().direction, Direction::Out);
            assert_eq!(fresh.next().unwrap().direction, Direction::In);
        }
    });
}

#[test]
fn a_vlan_tag_is_kept_and_can_be_filtered_and_put_back() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        let (tagged, other) = (frame(&[0x81, 0, 0x60, 41], "tagged"), frame(&[0x81, 0, 0, 42], "other"));
        let mut rings = rings(&["bwa", "bwb"], &filtered("vlan 41"));
        send("bwa", &frame(&[], "untagged"));
        send("bwa", &other);
        send("bwa", &tagged);
        let mut whole = Vec::new();
        let take = |ring: RingId, frame: byway_agent::edge::ring::Frame<'_>| {
            let mut room = Vec::new();
            let (bytes, length) = frame.whole(&mut room);
            whole.push((ring.0, frame.direction, bytes.to_vec(), length));
            Ok::<_, RingError>(())
        };
        rings.finish(take).unwrap();
        let length = u32::try_from(tagged.len()).unwrap();
        let expected =
            [(0, Direction::Out, tagged.clone(), length), (1, Direction::Broadcast, tagged, length)];
        assert_eq!(whole, expected);
    });
}

#[test]
fn the_kernel_takes_the_tag_out_and_tells_it() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        let mut rings = rings(&["bwb"], &filtered("ether proto 0x88b5"));
        send("bwa", &frame(&[0x88, 0xa8, 0x60, 41], "tagged"));
        let seen = next(&mut rings);
        assert_eq!(seen.vlan, Some(Vlan { ethertype: 0x88a8, tag: 0x6029 }));
        assert_eq!(seen.bytes, frame(&[], "tagged"));
    });
}

#[test]
fn frames_of_several_interfaces_come_in_the_order_of_time() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        link_up("lo");
        let mut rings = rings(&["bwb", "lo", "bwa"], &filtered("udp or ether proto 0x88b5"));
        for nth in 0..200 {
            send("bwa", &frame(&[], &format!("{nth}")));
            datagrams(1, nth);
        }
        let mut seen: Vec<Seen> = (0..500).map(|_| next(&mut rings)).collect();
        let (rest, losses) = all(&mut rings);
        seen.extend(rest);
        assert_eq!(losses.iter().map(|losses| losses.taken).collect::<Vec<_>>(), [200, 400, 200]);
        assert!(seen.is_sorted_by_key(|seen| seen.time_ns));
    });
}

#[test]
fn an_interface_that_goes_away_is_told_and_the_others_go_on() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        link_up("lo");
        let mut rings = rings(&["bwa", "lo"], &filtered("udp or ether proto 0x88b5"));
        send("bwa", &frame(&[], "the last"));
        remove("bwb");
        datagrams(1, 100);
        let (mut frames, mut states) = (Vec::new(), Vec::new());
        while frames.len() < 3 || !states.contains(&(0, State::Gone)) {
            match rings.next(Instant::now() + PATIENCE).unwrap() {
                Event::Frame(ring, _) => frames.push(ring.0),
                Event::State(ring, state) => states.push((ring.0, state)),
                other => panic!("{other:?}: {frames:?} {states:?}"),
            }
        }
        assert_eq!(frames, [0, 1, 1]);
        datagrams(1, 100);
        assert_eq!([next(&mut rings).ring, next(&mut rings).ring], [1, 1]);
    });
}

#[test]
fn when_all_interfaces_are_gone_it_ends_with_what_there_was() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        let mut rings = rings(&["bwa", "bwb"], &filtered("ether proto 0x88b5"));
        send("bwa", &frame(&[], "the last"));
        remove("bwb");
        let mut frames = 0;
        loop {
            match rings.next(Instant::now() + PATIENCE).unwrap() {
                Event::Frame(..) => frames += 1,
                Event::State(..) => {}
                Event::Quiet => panic!("it does not end"),
                Event::End => break,
            }
        }
        assert_eq!(frames, 2);
    });
}

#[test]
fn an_interface_that_is_down_for_a_while_is_captured_again() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        let mut rings = rings(&["bwb"], &filtered("ether proto 0x88b5"));
        link_down("bwb");
        assert_eq!(next_state(&mut rings), (0, State::Down));
        link_up("bwb");
        assert_eq!(next_state(&mut rings), (0, State::Listening));
        common::notice_carrier("bwa");
        common::notice_carrier("bwb");
        send("bwb", &frame(&[], "again"));
        assert_eq!(next(&mut rings).direction, Direction::Out);
    });
}

#[test]
fn a_ring_can_be_in_another_namespace_than_its_reader() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        let there = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        let mut rings = Rings::default();
        in_a_namespace(|| {
            let refused = Ring::open("bwb", &Options::default()).unwrap_err();
            assert!(matches!(refused, RingError::Watch(_)), "{refused}");
            let open = || Ring::open("bwb", &filtered("vlan 41")).unwrap();
            rings.add(netns::inside(there.as_fd(), open).unwrap()).unwrap();
        });
        send("bwa", &frame(&[0x81, 0, 0, 41], "there"));
        assert_eq!(next(&mut rings).direction, Direction::Broadcast);
    });
}

#[test]
fn what_is_not_there_is_told() {
    in_a_namespace(|| {
        let told = Ring::open("nowhere0", &Options::default()).unwrap_err().to_string();
        assert_eq!(told, "watch nowhere0: no such interface in this network namespace");
        let nothing = std::fs::File::open("/dev/null").unwrap();
        let refused = netns::inside(nothing.as_fd(), || ()).unwrap_err();
        assert_eq!(refused.to_string(), "work inside of another network namespace");
    });
}

#[test]
fn the_capability_that_is_missing_is_named() {
    in_a_namespace(|| {
        let ours = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
        caps::drop(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap();
        let refused = netns::inside(ours.as_fd(), || ()).unwrap_err();
        assert!(refused.to_string().contains("CAP_SYS_ADMIN"), "{refused}");
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap();
        let refused = Ring::open("lo", &Options::default()).unwrap_err();
        assert!(refused.to_string().contains("CAP_NET_RAW"), "{refused}");
    });
}

#[test]
fn a_filter_that_libpcap_refuses_is_told() {
    in_a_namespace(|| {
        let refused = Ring::open("lo", &filtered("tcp prot 80")).unwrap_err();
        assert!(refused.to_string().starts_with("filter: can't parse filter expression"), "{refused}");
    });
}
