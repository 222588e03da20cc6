//! Routes of others into the cluster are told, with the command that ends them, and left alone.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use byway_lab::{Lab, Topology};
use common::{Ear, assert_reaching, byway, lab, quiet_lab, run, start};

fn until_problems(ear: &Ear<'_>, lab: &Lab, count: usize) -> Vec<String> {
    ear.until(&format!("{count} problems"), || match common::problems(lab, "docker41") {
        told if told.len() == count => Ok(told),
        told => Err(told.join("\n")),
    })
}

/// A foreign route is told so, is left alone by the agent, and is gone after the command in the hint.
fn check(deed: &str, left_alone: &str, told: &str, hint: &str) {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(&lab, "docker41", deed);
    let problems = until_problems(&ear, &lab, 1);
    assert!(problems[0].starts_with(&format!("conflict: {told}")), "{problems:?}");
    assert!(problems[0].contains(hint), "{problems:?}");
    let (code, out, _) = byway(&lab, "docker41", &["status"]);
    assert_eq!(code, Some(1), "somebody should look: {out}");
    assert!(out.contains(hint), "{out}");
    let family = if left_alone.contains(':') { "ip -6" } else { "ip" };
    let routes = run(&lab, "docker41", &format!("{family} route"));
    assert!(routes.contains(left_alone), "it is left alone: {routes}");
    assert_eq!(common::due(&lab, "docker41"), [""; 0]);
    // What the hint says is typed as it is.
    let cure = hint.strip_prefix("to end it: ").unwrap_or("ip link del bwdocker");
    run(&lab, "docker41", cure);
    until_problems(&ear, &lab, 0);
    ear.until_at_rest();
    assert_reaching(&lab);
    assert_eq!(byway(&lab, "docker41", &["status"]).0, Some(0));
}

#[test]
fn a_route_to_a_peers_subnet_that_wins_over_ours() {
    check(
        "ip route add 172.42.0.0/16 via 192.168.199.99 proto static metric 50",
        "172.42.0.0/16 via 192.168.199.99 dev eth0 proto static metric 50",
        "somebody else routes to the subnet of host docker42: 172.42.0.0/16 via 192.168.199.99 dev eth0 \
         (proto static, metric 50), and it wins over ours",
        "to end it: ip route del 172.42.0.0/16 via 192.168.199.99 dev eth0 proto static metric 50",
    );
}

#[test]
fn an_ipv6_route_to_a_peers_subnet_that_loses() {
    check(
        "ip -6 route add fd00:172:42::/64 via fd00:199::99 proto static metric 1024",
        "fd00:172:42::/64 via fd00:199::99 dev eth0 proto static metric 1024",
        "somebody else routes to the subnet of host docker42: fd00:172:42::/64 via fd00:199::99 dev eth0 \
         (proto static, metric 1024), with a metric that loses against ours",
        "to end it: ip -6 route del fd00:172:42::/64 via fd00:199::99 dev eth0 proto static metric 1024",
    );
}

#[test]
fn the_same_route_by_hand() {
    check(
        "ip route add 172.42.0.0/16 via 192.168.199.42",
        "172.42.0.0/16 via 192.168.199.42 dev eth0 \n",
        "somebody else already routes to host docker42, the same way",
        "to end it: ip route del 172.42.0.0/16 via 192.168.199.42 dev eth0 proto boot metric 0",
    );
}

#[test]
fn the_same_ipv6_route_by_hand() {
    check(
        "ip -6 route add fd00:172:42::/64 via fd00:199::42",
        "fd00:172:42::/64 via fd00:199::42 dev eth0 metric 1024 pref medium",
        "somebody else already routes to host docker42, the same way",
        "to end it: ip -6 route del fd00:172:42::/64 via fd00:199::42 dev eth0 proto boot metric 1024",
    );
}

#[test]
fn a_route_to_a_part_of_a_peers_subnet() {
    check(
        "ip route add 172.42.7.0/24 via 192.168.199.99 proto 186",
        "172.42.7.0/24 via 192.168.199.99",
        "172.42.7.0/24 via 192.168.199.99 dev eth0 (proto bgp) takes a part of 172.42.0.0/16, which host docker42 holds",
        "to end it: ip route del 172.42.7.0/24 via 192.168.199.99 dev eth0 proto bgp metric 0",
    );
}

#[test]
fn a_blackhole_for_a_part_of_a_peers_subnet() {
    check(
        "ip -6 route add blackhole fd00:172:42::7/128 proto static",
        "blackhole fd00:172:42::7",
        "blackhole fd00:172:42::7/128",
        "to end it: ip -6 route del blackhole fd00:172:42::7/128",
    );
}

#[test]
fn a_route_of_ours_that_was_replaced_by_a_foreign_one_stays_replaced_until_it_goes() {
    check(
        "ip route replace 172.42.0.0/16 via 192.168.199.42 metric 172",
        "172.42.0.0/16 via 192.168.199.42 dev eth0 metric 172",
        "somebody else already routes to host docker42, the same way",
        "to end it: ip route del 172.42.0.0/16 via 192.168.199.42 dev eth0 proto boot metric 172",
    );
}

#[test]
fn an_ipv6_route_of_ours_that_was_replaced_by_a_foreign_one_stays_replaced_until_it_goes() {
    check(
        "ip -6 route replace fd00:172:42::/64 via fd00:199::42 metric 172",
        "fd00:172:42::/64 via fd00:199::42 dev eth0 metric 172",
        "somebody else already routes to host docker42, the same way",
        "to end it: ip -6 route del fd00:172:42::/64 via fd00:199::42 dev eth0 proto boot metric 172",
    );
}

#[test]
fn a_route_over_two_hops_is_not_ours_to_judge() {
    check(
        "ip route add 172.42.0.0/16 proto static nexthop via 192.168.199.98 nexthop via 192.168.199.99",
        "172.42.0.0/16 proto static \n",
        "somebody else routes to the subnet of host docker42",
        "to end it: ip route del 172.42.0.0/16 proto static metric 0",
    );
}

#[test]
fn a_docker_network_that_takes_a_peers_subnet() {
    check(
        "ip link add bwdocker type bridge; ip address add 172.42.0.1/16 dev bwdocker; ip link set bwdocker up",
        "172.42.0.0/16 dev bwdocker proto kernel",
        "a network of this host uses 172.42.0.0/16, which host docker42 holds: 172.42.0.0/16 dev bwdocker",
        "give that network another subnet",
    );
}

#[test]
fn a_docker_network_that_takes_a_peers_ipv6_subnet() {
    check(
        "ip link add bwdocker type bridge; ip link set bwdocker up; ip address add fd00:172:42::1/64 dev bwdocker nodad",
        "fd00:172:42::/64 dev bwdocker proto kernel",
        "a network of this host uses fd00:172:42::/64, which host docker42 holds: fd00:172:42::/64 dev bwdocker",
        "give that network another subnet",
    );
}

#[test]
fn the_route_that_was_there_before_the_agent_is_left_alone_and_serves() {
    let lab = quiet_lab(&Topology::two_hosts());
    run(&lab, "docker41", "ip route add 172.42.0.0/16 via 192.168.199.42");
    start(&lab, "docker41");
    start(&lab, "docker42");
    let ear = Ear::open(&lab, "docker41");
    until_problems(&ear, &lab, 1);
    let ours = run(&lab, "docker41", "ip route show 172.42.0.0/16 proto byway");
    assert_eq!(ours, "", "nothing is put beside it");
    assert_reaching(&lab);
    run(&lab, "docker41", "ip route del 172.42.0.0/16");
    until_problems(&ear, &lab, 0);
    ear.until_at_rest();
    assert_reaching(&lab);
}
