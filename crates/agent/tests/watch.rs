//! Watch points on the real kernel, each test in a network namespace of its own that ends with its thread.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a kernel that refuses here is a failed test")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use byway_agent::edge::watch::{self, Captured, Watch, WatchError};
use byway_wire::{Frame, PacketKey};
use common::{add_veth, change, in_a_namespace, link_up, named};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkAttribute;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, setsockopt, sockopt,
};

/// How long a packet may take that never leaves this machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_ping_is_seen_going_out_and_coming_in_there_and_back() {
    in_a_namespace(|| {
        link_up("lo");
        for (address, protocol) in
            [(IpAddr::from(Ipv4Addr::LOCALHOST), "ICMP"), (Ipv6Addr::LOCALHOST.into(), "ICMPv6")]
        {
            let mut watch = Watch::open("lo", &watch::icmp()).unwrap();
            ping(address, b"a payload of more than 32 bytes, so the key covers it");
            let seen: Vec<Captured> = (0..4).map(|_| next(&mut watch)).collect();
            let told: Vec<String> = seen.iter().map(|captured| line(&watch, captured)).collect();
            let packet = |way: &str, what: &str| {
                format!("{way} {address} > {address} {protocol} echo {what} id 7 seq 1 ttl 64")
            };
            let expected = [("out", "request"), ("in", "request"), ("out", "reply"), ("in", "reply")];
            assert_eq!(told, expected.map(|(way, what)| packet(way, what)));
            assert!(seen.is_sorted_by_key(|captured| captured.time_ns), "{seen:?}");
            let keys: Vec<PacketKey> = seen.iter().map(|captured| key(&watch, captured)).collect();
            assert!(keys[0] == keys[1] && keys[2] == keys[3] && keys[0] != keys[2]);
            assert!(seen.iter().all(|captured| captured.frame.len() == captured.original_len));
            assert_eq!(watch.lost().unwrap(), 0);
        }
    });
}

#[test]
fn the_kernel_stamps_packets_with_the_time_of_day() {
    in_a_namespace(|| {
        link_up("lo");
        let now_ns = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let before = now_ns();
        let mut watch = Watch::open("lo", &watch::icmp()).unwrap();
        ping(Ipv4Addr::LOCALHOST.into(), b"");
        let seen = u128::from(next(&mut watch).time_ns);
        assert!(before <= seen && seen <= now_ns(), "{before} {seen}");
    });
}

#[test]
fn a_packet_through_a_veth_pair_goes_out_here_and_comes_in_there() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        let (mut here, mut there) = (watch_icmp("bwa"), watch_icmp("bwb"));
        // To everybody on this link: that needs no addresses, routes or neighbours.
        let socket = raw_socket(AddressFamily::Inet, SockProtocol::Icmp);
        setsockopt(&socket, sockopt::Broadcast, &true).unwrap();
        setsockopt(&socket, sockopt::BindToDevice, &"bwa".into()).unwrap();
        send(&socket, Ipv4Addr::BROADCAST.into(), &echo_request(8, b"hello"));
        let (left, came) = (next_ping(&mut here), next_ping(&mut there));
        assert!(left.outgoing && !came.outgoing);
        assert_eq!(key(&here, &left), key(&there, &came));
        assert!(left.time_ns <= came.time_ns);
    });
}

#[test]
fn the_filter_takes_icmp_alone_and_cuts_it() {
    in_a_namespace(|| {
        link_up("lo");
        let mut watch = watch_icmp("lo");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.send_to(b"not this", udp.local_addr().unwrap()).unwrap();
        let udp6 = UdpSocket::bind("[::1]:0").unwrap();
        udp6.send_to(b"nor this", udp6.local_addr().unwrap()).unwrap();
        ping(Ipv4Addr::LOCALHOST.into(), &[0x5a; 1000]);
        let seen = next(&mut watch);
        assert!(line(&watch, &seen).contains("ICMP echo request"), "{seen:?}");
        assert_eq!((seen.frame.len(), seen.original_len), (256, 14 + 20 + 8 + 1000));
    });
}

#[test]
fn every_fragment_of_a_large_ping_is_seen() {
    in_a_namespace(|| {
        let mut lo = named("lo");
        lo.attributes.push(LinkAttribute::Mtu(1500));
        change(RouteNetlinkMessage::SetLink(lo), 0);
        link_up("lo");
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let mut watch = watch_icmp("lo");
            ping(address, &[0x5a; 3000]);
            let seen: Vec<Captured> = (0..6).map(|_| next(&mut watch)).collect();
            let seen: Vec<String> = seen.iter().map(|captured| fragment(&watch, captured)).collect();
            let offset = if address.is_ipv4() { 1480 } else { 1448 };
            let offsets = [0, offset, 2 * offset];
            for way in ["out", "in"] {
                let parts: Vec<&String> = seen.iter().filter(|part| part.starts_with(way)).collect();
                assert_eq!(parts, offsets.map(|at| format!("{way} {at}")).iter().collect::<Vec<_>>());
            }
        }
    });
}

#[test]
fn without_a_filter_everything_is_seen_whole() {
    in_a_namespace(|| {
        link_up("lo");
        let mut watch = Watch::open("lo", &[]).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.send_to(&vec![0x5a; 60_000], udp.local_addr().unwrap()).unwrap();
        let seen = next(&mut watch);
        assert_eq!((seen.frame.len(), seen.original_len), (14 + 20 + 8 + 60_000, 14 + 20 + 8 + 60_000));
        assert!(line(&watch, &seen).contains("UDP length 60008"));
    });
}

#[test]
fn what_the_socket_cannot_hold_is_counted() {
    in_a_namespace(|| {
        link_up("lo");
        let mut watch = Watch::open("lo", &[]).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = udp.local_addr().unwrap();
        let sent: u64 = 400;
        for _ in 0..sent {
            udp.send_to(&vec![0; 60_000], to).unwrap();
        }
        let mut taken = 0;
        while watch.next(Instant::now()).unwrap().is_some() {
            taken += 1;
        }
        let lost = watch.lost().unwrap();
        assert!(lost > 0, "24 MB fitted into 4 MiB");
        assert_eq!(taken + lost, 2 * sent, "each goes out and comes in");
        assert_eq!(watch.lost().unwrap(), lost, "asking again does not forget");
    });
}

#[test]
fn nothing_comes_before_the_deadline_is_no_error() {
    in_a_namespace(|| {
        link_up("lo");
        let mut watch = watch_icmp("lo");
        let start = Instant::now();
        assert_eq!(watch.next(start + Duration::from_millis(20)).unwrap(), None);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(watch.next(start).unwrap(), None);
    });
}

#[test]
fn an_interface_that_goes_away_ends_the_watch_with_the_reason() {
    in_a_namespace(|| {
        add_veth("bwa", "bwb");
        let mut watch = watch_icmp("bwa");
        change(RouteNetlinkMessage::DelLink(named("bwb")), 0);
        let gone = loop {
            match watch.next(Instant::now() + PATIENCE) {
                Ok(seen) => assert!(seen.is_some(), "the watch did not end"),
                Err(gone) => break gone,
            }
        };
        assert_eq!(told(&gone), "receive packets from bwa: Network is down (os error 100)");
    });
}

#[test]
fn an_interface_that_is_not_there_is_told() {
    in_a_namespace(|| {
        let refused = Watch::open("nowhere0", &watch::icmp()).unwrap_err();
        let expected =
            "watch nowhere0: no such interface in this network namespace: No such device (os error 19)";
        assert_eq!(told(&refused), expected);
    });
}

#[test]
fn a_filter_that_the_kernel_refuses_is_told() {
    in_a_namespace(|| {
        let endless = vec![watch::Instruction { code: 0, jt: 0, jf: 0, k: 0 }; 5000];
        let refused = Watch::open("lo", &endless).unwrap_err();
        let expected = "watch lo: attach a filter of 5000 instructions: Invalid argument (os error 22)";
        assert_eq!(told(&refused), expected);
    });
}

#[test]
fn without_permission_the_capability_is_named() {
    in_a_namespace(|| {
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).unwrap();
        let refused = Watch::open("lo", &watch::icmp()).unwrap_err();
        assert!(matches!(refused, WatchError::NotAllowed { .. }), "{refused:?}");
        assert!(told(&refused).contains("CAP_NET_RAW"));
    });
}

fn watch_icmp(interface: &str) -> Watch {
    Watch::open(interface, &watch::icmp()).unwrap()
}

fn next(watch: &mut Watch) -> Captured {
    watch.next(Instant::now() + PATIENCE).unwrap().expect("a packet in time")
}

/// The next echo request over IPv4; IPv6 talks to itself on a new link.
fn next_ping(watch: &mut Watch) -> Captured {
    loop {
        let seen = next(watch);
        if line(watch, &seen).contains(" ICMP echo request") {
            return seen;
        }
    }
}

fn line(watch: &Watch, captured: &Captured) -> String {
    let way = if captured.outgoing { "out" } else { "in" };
    let frame = Frame::decode(watch.link(), &captured.frame);
    format!("{way} {}", frame.packet().unwrap())
}

/// The way of a fragment and where it starts.
fn fragment(watch: &Watch, captured: &Captured) -> String {
    let way = if captured.outgoing { "out" } else { "in" };
    let frame = Frame::decode(watch.link(), &captured.frame);
    format!("{way} {}", frame.packet().unwrap().fragment.unwrap().offset)
}

fn key(watch: &Watch, captured: &Captured) -> PacketKey {
    Frame::decode(watch.link(), &captured.frame).packet().unwrap().key().unwrap()
}

/// An error with all its causes.
fn told(error: &WatchError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn ping(address: IpAddr, payload: &[u8]) {
    match address {
        IpAddr::V4(_) => {
            let socket = raw_socket(AddressFamily::Inet, SockProtocol::Icmp);
            send(&socket, address, &echo_request(8, payload));
        }
        IpAddr::V6(_) => {
            let socket = raw_socket(AddressFamily::Inet6, SockProtocol::IcmpV6);
            send(&socket, address, &echo_request(128, payload));
        }
    }
}

fn raw_socket(family: AddressFamily, protocol: SockProtocol) -> OwnedFd {
    socket::socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap()
}

fn send(socket: &OwnedFd, address: IpAddr, message: &[u8]) {
    let to = socket::SockaddrStorage::from(std::net::SocketAddr::new(address, 0));
    let sent = socket::sendto(socket.as_raw_fd(), message, &to, MsgFlags::empty()).unwrap();
    assert_eq!(sent, message.len());
}

/// Type, code 0, checksum (the kernel makes that of IPv6), id 7, seq 1, payload.
fn echo_request(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0, 0, 7, 0, 1], payload].concat();
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = message.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}
