//! From container to container: with their own addresses, in packets of any size.

use std::net::{IpAddr, UdpSocket};

use byway_lab::Lab;

use crate::common::engines::{C41, C42, PAIRS, addresses};
use crate::common::{Ear, PATIENCE, problems, run, source_seen};
use crate::networks::{HOSTS, On};

/// Three fragments on a wire of 1,500 bytes.
const LARGE_BYTES: usize = 4000;

fn check(on: On) {
    for pair in PAIRS {
        let lab = on.cluster(pair);
        for (from, to) in [(C41, C42), (C42, C41)] {
            for (own, at) in addresses(&lab, from).into_iter().zip(addresses(&lab, to)) {
                assert_eq!(source_seen(&lab, from, to, &at.to_string()), own, "{pair:?}");
                run(&lab, from, &format!("ping -n -c1 -W5 -s {LARGE_BYTES} {at}"));
                assert_eq!(source_of_a_large_datagram(&lab, from, to, at), own, "{pair:?}");
            }
        }
        for host in HOSTS {
            assert_eq!(problems(&lab, host), [""; 0], "{pair:?}");
        }
    }
}

/// Sends one there, and the same back: whom the far end has seen.
fn source_of_a_large_datagram(lab: &Lab, from: &str, to: &str, at: IpAddr) -> IpAddr {
    let any: IpAddr = if at.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let open = |node, address: IpAddr| {
        let socket = lab.inside(node, || UdpSocket::bind((address, 0))).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let (near, far) = (open(from, any), open(to, at));
    let sent: Vec<u8> = (0..=250).cycle().take(LARGE_BYTES).collect();
    let mut heard = vec![0; LARGE_BYTES + 1];
    near.send_to(&sent, far.local_addr().unwrap()).unwrap();
    let (bytes, source) = far.recv_from(&mut heard).unwrap();
    assert!(heard[..bytes] == sent, "{from} to {to}: {bytes} bytes");
    far.send_to(&sent, source).unwrap();
    let (bytes, answered) = near.recv_from(&mut heard).unwrap();
    assert!(heard[..bytes] == sent, "{to} to {from}: {bytes} bytes");
    assert_eq!(answered.ip(), at);
    source.ip()
}

#[test]
fn containers_on_docker0_reach_each_other_with_their_own_addresses_and_packets_of_any_size() {
    check(On::Docker0);
}

#[test]
fn containers_on_a_network_made_for_them_reach_each_other_with_their_own_addresses_and_packets_of_any_size() {
    check(On::Network);
}

#[test]
fn sources_are_kept_though_an_admin_masquerades_everything() {
    let lab = On::Docker0.cluster(["20.10", "28.5"]);
    for host in HOSTS {
        run(&lab, host, "for all in iptables ip6tables; do $all -t nat -I POSTROUTING -j MASQUERADE; done");
        Ear::open(&lab, host).until_at_rest();
    }
    for (from, to) in [(C41, C42), (C42, C41)] {
        for (own, at) in addresses(&lab, from).into_iter().zip(addresses(&lab, to)) {
            assert_eq!(source_seen(&lab, from, to, &at.to_string()), own);
        }
    }
}
