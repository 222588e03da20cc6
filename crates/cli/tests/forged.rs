//! What does not come from where it must come from is dropped, outsiders stay outside, and the policies of others
//! stay in force.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;

use byway_lab::{Lab, Spread, Topology};
use common::{Ear, assert_reaching, counted, lab, ping, quiet_lab, run, source_seen, start, write};
use nix::libc;
use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto};

/// An IPv4 packet with an empty UDP datagram in it; the kernel fills in length and checksum.
fn packet_v4(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([from.octets(), to.octets()].concat());
    packet.extend([0, 9, 0, 9, 0, 8, 0, 0]);
    packet
}

fn packet_v6(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    packet.extend([from.octets(), to.octets()].concat());
    packet.extend([0, 9, 0, 9, 0, 8, 1, 1]);
    packet
}

/// Sends a packet from a node with a source address that is not its own.
fn forge(lab: &Lab, node: &str, from: &str, to: &str) {
    let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let (family, packet) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (libc::AF_INET, packet_v4(from, to)),
        (IpAddr::V6(from), IpAddr::V6(to)) => (libc::AF_INET6, packet_v6(from, to)),
        _ => unreachable!("both of one family"),
    };
    let socket = lab.socket(node, family, libc::SOCK_RAW, libc::IPPROTO_RAW).unwrap();
    let to = SockaddrStorage::from(SocketAddr::new(to, 0));
    assert_eq!(sendto(socket.as_raw_fd(), &packet, &to, MsgFlags::empty()).unwrap(), packet.len());
}

fn until_counted(lab: &Lab, chain: &str, comment: &str, expected: [u64; 2]) {
    Ear::open(lab, "docker41").until(comment, || match counted(lab, "docker41", chain, comment) {
        packets if packets == expected => Ok(()),
        packets => Err(format!("{packets:?}")),
    });
}

#[test]
fn a_container_that_takes_a_peers_address_is_not_heard() {
    let lab = lab(&Topology::two_hosts());
    until_counted(&lab, "admit", "peers come in by an uplink only", [0, 0]);
    forge(&lab, "c41", "172.42.0.77", "172.42.0.2");
    forge(&lab, "c41", "172.42.0.77", "172.41.0.1");
    forge(&lab, "c41", "fd00:172:42::77", "fd00:172:42::2");
    until_counted(&lab, "admit", "peers come in by an uplink only", [2, 1]);
    assert_reaching(&lab);
}

#[test]
fn our_own_subnet_as_source_does_not_come_in_through_the_uplink() {
    let lab = quiet_lab(&Topology::two_hosts());
    for host in ["docker41", "docker42"] {
        // The agents' own echoes are packets of peers, and counted as such.
        run(&lab, host, "echo 'health = \"off\"' >> /etc/byway/byway.toml");
        start(&lab, host);
    }
    forge(&lab, "docker42", "172.41.0.77", "172.41.0.2");
    forge(&lab, "docker42", "fd00:172:41::77", "fd00:172:41::2");
    forge(&lab, "docker42", "fd00:172:41::1", "fd00:199::41");
    until_counted(&lab, "admit", "our containers are inside only", [1, 2]);
    until_counted(&lab, "forward", "from peers to our containers", [0, 0]);
    until_counted(&lab, "admit", "what Docker may let in", [0, 0]);
    assert_reaching(&lab);
}

/// Three hosts on a segment, of which the third is not in the cluster.
fn with_an_outsider() -> Lab {
    let lab = quiet_lab(&Spread { hosts: 3, containers: 1, segments: 1 }.topology());
    for host in ["docker41", "docker42"] {
        write(&lab, host, "/etc/byway/inventory.toml", &Topology::two_hosts().inventory().unwrap());
        start(&lab, host);
    }
    run(
        &lab,
        "docker43",
        "ip route add 172.41.0.0/16 via 192.168.199.41; ip -6 route add fd00:172:41::/64 via fd00:199::41",
    );
    lab
}

#[test]
fn an_outsider_with_a_route_does_not_reach_the_containers() {
    let lab = with_an_outsider();
    for to in ["172.41.0.2", "fd00:172:41::2"] {
        assert!(run(&lab, "docker43", &format!("ping -n -c1 -W1 {to} || true")).contains("0 received"));
    }
    until_counted(&lab, "forward", "the rest is not for outsiders", [1, 1]);
    assert_reaching(&lab);
}

#[test]
fn an_outsiders_answers_come_back_to_the_containers_that_asked() {
    let lab = with_an_outsider();
    let host = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(source_seen(&lab, "c41", "docker43", "192.168.199.43"), host("192.168.199.41"));
    assert_eq!(source_seen(&lab, "c41", "docker43", "fd00:199::43"), host("fd00:199::41"));
}

#[test]
fn a_published_port_is_open_to_outsiders() {
    let lab = with_an_outsider();
    run(
        &lab,
        "docker41",
        "nft add table inet mine
         nft add chain inet mine pre '{ type nat hook prerouting priority -100; }'
         nft add rule inet mine pre iifname eth0 meta l4proto tcp ip daddr 192.168.199.41 dnat ip to 172.41.0.2
         nft add rule inet mine pre iifname eth0 meta l4proto tcp ip6 daddr fd00:199::41 dnat ip6 to fd00:172:41::2",
    );
    for (published, address) in [("192.168.199.41", "172.41.0.2"), ("fd00:199::41", "fd00:172:41::2")] {
        let at: IpAddr = address.parse().unwrap();
        let listener = lab.inside("c41", || std::net::TcpListener::bind((at, 0))).unwrap().unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = SocketAddr::new(published.parse().unwrap(), port);
        let connect = || std::net::TcpStream::connect_timeout(&to, common::PATIENCE);
        lab.inside("docker43", connect).unwrap().unwrap_or_else(|error| panic!("{to}: {error}"));
    }
}

#[test]
fn what_the_hosts_own_policy_drops_stays_dropped() {
    let lab = lab(&Topology::two_hosts());
    run(
        &lab,
        "docker41",
        "nft add table inet admin; nft add chain inet admin forward '{ type filter hook forward priority 10; policy drop; }'",
    );
    assert!(run(&lab, "c41", "ping -n -c1 -W1 172.42.0.2 || true").contains("0 received"));
    assert!(run(&lab, "c42", "ping -n -c1 -W1 fd00:172:41::2 || true").contains("0 received"));
    run(&lab, "docker41", "nft delete table inet admin");
    assert_reaching(&lab);
}

#[test]
fn source_addresses_are_kept_though_docker_masquerades_everything() {
    let lab = lab(&Topology::two_hosts());
    for (host, number) in [("docker41", 41), ("docker42", 42)] {
        run(
            &lab,
            host,
            &format!(
                "for family in ip ip6; do
                    nft add table $family nat
                    nft add chain $family nat POSTROUTING '{{ type nat hook postrouting priority 100; }}'
                 done
                 nft add rule ip nat POSTROUTING ip saddr 172.{number}.0.0/16 oifname != docker0 masquerade
                 nft add rule ip6 nat POSTROUTING ip6 saddr fd00:172:{number}::/64 oifname != docker0 masquerade"
            ),
        );
    }
    let seen = |from: &str, there: &str, at: &str| source_seen(&lab, from, there, at).to_string();
    assert_eq!(seen("c41", "c42", "172.42.0.2"), "172.41.0.2");
    assert_eq!(seen("c42", "c41", "fd00:172:41::2"), "fd00:172:42::2");
    assert_eq!(
        seen("c41", "docker42", "192.168.199.42"),
        "192.168.199.41",
        "what leaves is masqueraded once"
    );
    assert!(ping(&lab, "docker41", "172.42.0.2").is_ok());
}
