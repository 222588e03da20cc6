//! Stories of packets that do not arrive: one fault each, and what `byway trace` says of it.
//!
//! The routes are made by hand, as people did before Byway, and the agents keep their hands off: they only look.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::process::Stdio;

use byway_lab::{Lab, Options, Spread, Topology};
use common::traces::{check, trace};
use common::{BYWAY, Ear, run};

/// Hosts with routes by hand, forwarding on, and no rules at all.
fn by_hand(hosts: usize) -> Lab {
    let topology = Spread { hosts, ..Spread::default() }.topology();
    let lab = hands_off(&topology);
    for host in 41..41 + hosts {
        let me = format!("docker{host}");
        run(
            &lab,
            &me,
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
        );
        for other in (41..41 + hosts).filter(|other| *other != host) {
            run(
                &lab,
                &me,
                &format!(
                    "ip route add 172.{other}.0.0/16 via 192.168.199.{other}
                     ip route add fd00:172:{other}::/64 via fd00:199::{other}"
                ),
            );
        }
    }
    lab
}

fn hands_off(topology: &Topology) -> Lab {
    let options = Options::private(BYWAY.as_ref()).with_agent([BYWAY, "agent", "--hands-off"]);
    Lab::up(topology, &options, |_| {}).unwrap()
}

/// Before the fault it arrives, with it the verdict is that one.
#[track_caller]
fn story(arguments: &str, at: &str, fault: &str, cause: &str, host: &str, words: &[&str]) {
    let lab = by_hand(2);
    run(&lab, at, fault);
    check(&trace(&lab, arguments), cause, host, words);
}

const PING: &str = "c41 172.42.0.2";

#[test]
fn without_a_fault_everything_arrives_there_and_back_in_both_families_and_all_protocols() {
    let lab = by_hand(2);
    run(
        &lab,
        "c42",
        "python3 -c '
import os, socket
tcp = socket.create_server((\"\", 80), family=socket.AF_INET6, dualstack_ipv6=True)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); udp.bind((\"\", 53))
if os.fork() == 0:
    while True: tcp.accept()[0].close()
if os.fork() == 0:
    while True: udp.sendto(*udp.recvfrom(65536))
' >/dev/null 2>&1",
    );
    for (source, destination) in [("172.41.0.2", "172.42.0.2"), ("fd00:172:41::2", "fd00:172:42::2")] {
        let end = if destination.contains(':') { format!("[{destination}]") } else { destination.to_owned() };
        for how in [destination.to_owned(), format!("{end}:80"), format!("{end}:53 --proto udp")] {
            let traced = trace(&lab, &format!("{source} {how}"));
            let probe = &traced["probes"][0];
            check(&traced, "arrived", "-", &["c41", "c42"]);
            for (way, ttls) in
                [("there", [64, 64, 64, 63, 63, 62, 62, 62]), ("back", [64, 64, 64, 63, 63, 62, 62, 62])]
            {
                let hops = probe[way]["hops"].as_array().unwrap();
                let seen: Vec<u64> =
                    hops.iter().map(|hop| hop["seen"]["ttl"].as_u64().unwrap_or(0)).collect();
                assert_eq!(seen, ttls, "{how} {way}");
            }
            let first = &probe["there"]["hops"][0]["at"];
            assert_eq!(
                (first["container"].as_str(), first["interface"].as_str()),
                (Some("c41"), Some("eth0"))
            );
            assert_eq!(traced["lost"], 0);
        }
    }
}

#[test]
fn a_rule_that_drops_is_named_with_table_chain_and_text() {
    story(
        PING,
        "docker42",
        "nft 'add table ip mine; add chain ip mine ward { type filter hook forward priority 0; }
              add rule ip mine ward ip saddr 172.41.0.0/16 counter drop'",
        "rule",
        "docker42",
        &["dropped", "table ip mine, chain ward", "ip saddr 172.41.0.0/16", "administrator"],
    );
}

#[test]
fn a_rule_that_drops_the_answer_is_named_too() {
    story(
        PING,
        "docker41",
        "nft 'add table inet mine; add chain inet mine ward { type filter hook forward priority 0; }
              add rule inet mine ward icmp type echo-reply drop'",
        "rule",
        "docker41",
        &["the answer was dropped", "table inet mine, chain ward"],
    );
}

#[test]
fn the_drop_policy_of_somebodys_table_is_told_from_a_rule() {
    story(
        PING,
        "docker42",
        "nft 'add table inet theirs; add chain inet theirs deny { type filter hook forward priority 10; policy drop; }'",
        "policy",
        "docker42",
        &["table inet theirs, chain deny"],
    );
}

#[test]
fn firewalld_rejects_and_is_named() {
    story(
        PING,
        "docker42",
        "nft 'add table inet firewalld
              add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; }
              add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited'",
        "rule",
        "docker42",
        &["rejected", "firewalld's rule", "chain filter_FORWARD"],
    );
}

#[test]
fn a_reset_by_a_rule_is_not_taken_for_a_closed_port() {
    story(
        "c41 172.42.0.2:80",
        "docker42",
        "nft 'add table ip mine; add chain ip mine ward { type filter hook forward priority 0; }
              add rule ip mine ward tcp dport 80 reject with tcp reset'",
        "rule",
        "docker42",
        &["rejected", "tcp dport 80"],
    );
}

#[test]
fn a_missing_route_there() {
    story(
        PING,
        "docker41",
        "ip route del 172.42.0.0/16",
        "no-route",
        "docker41",
        &["no route to 172.42.0.2"],
    );
}

#[test]
fn a_missing_route_back() {
    story(
        PING,
        "docker42",
        "ip route del 172.41.0.0/16",
        "no-route",
        "docker42",
        &["no route to 172.41.0.2", "the answer"],
    );
}

#[test]
fn a_wrong_next_hop() {
    let lab = by_hand(3);
    run(&lab, "docker41", "ip route replace 172.42.0.0/16 via 192.168.199.43");
    run(&lab, "docker43", "ip route replace blackhole 172.42.0.0/16");
    check(
        &trace(&lab, PING),
        "wrong-next-hop",
        "docker41",
        &["192.168.199.43, which is docker43", "it is on docker42"],
    );
}

#[test]
fn a_next_hop_that_is_dead() {
    let lab = by_hand(2);
    run(&lab, "docker42", "ip link set eth0 down");
    run(&lab, "docker41", "ip neigh flush dev eth0");
    check(
        &trace(&lab, PING),
        "next-hop-silent",
        "docker41",
        &["docker42 (192.168.199.42)", "nobody answers"],
    );
}

#[test]
fn a_blackhole_route() {
    story(
        PING,
        "docker41",
        "ip route replace blackhole 172.42.0.0/16",
        "route-refuses",
        "docker41",
        &["blackhole route for 172.42.0.2"],
    );
}

#[test]
fn a_prohibit_route_in_ipv6() {
    story(
        "c41 fd00:172:42::2",
        "docker41",
        "ip route del fd00:172:42::/64; ip route add prohibit fd00:172:42::/64",
        "route-refuses",
        "docker41",
        &["prohibit route for fd00:172:42::2"],
    );
}

#[test]
fn a_strict_reverse_path_where_the_way_back_is_another() {
    let lab = by_hand(2);
    // docker42 would answer by another interface than the one that packets come in by.
    run(
        &lab,
        "docker42",
        "ip link add other type veth peer name far; ip link set other up; ip link set far up
         ip address add 10.9.9.1/24 dev other
         ip route replace 172.41.0.0/16 via 10.9.9.2
         echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter",
    );
    check(&trace(&lab, PING), "reverse-path", "docker42", &["eth0", "rp_filter", "172.41.0.2"]);
}

#[test]
fn forwarding_that_is_off() {
    story(
        PING,
        "docker41",
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
        "forwarding-off",
        "docker41",
        &["does not forward", "docker0"],
    );
}

#[test]
fn forwarding_that_is_off_at_the_other_host_in_ipv6() {
    story(
        "c41 fd00:172:42::2",
        "docker42",
        "echo 0 > /proc/sys/net/ipv6/conf/all/forwarding",
        "forwarding-off",
        "docker42",
        &["does not forward"],
    );
}

#[test]
fn an_mtu_that_is_too_small_and_no_fragments_allowed() {
    story(
        "c41 172.42.0.2 --size 1400 --df",
        "docker41",
        "ip link set eth0 mtu 1300",
        "too-big",
        "docker41",
        &["1300 bytes", "docker41"],
    );
}

#[test]
fn a_packet_that_is_cut_on_its_way_is_told_with_the_mtu_that_cuts_it() {
    let lab = by_hand(2);
    // On both hosts: what is larger than the receiver's interface takes does not come in there.
    run(&lab, "docker41", "ip link set eth0 mtu 1300");
    run(&lab, "docker42", "ip link set eth0 mtu 1300");
    let traced = trace(&lab, "c41 172.42.0.2 --size 1400");
    check(&traced, "arrived", "-", &[]);
    let there = traced["probes"][0]["there"].to_string();
    assert!(there.contains("\"change\":\"cut\""), "{there}");
    let told = run(&lab, "docker41", "byway trace c41 172.42.0.2 --size 1400");
    for words in ["cut into fragments by docker41", "mtu 1500, then 1300 at eth0 on docker41"] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
}

#[test]
fn a_packet_that_is_larger_than_the_receivers_interface_takes() {
    // Only there: the sender's host knows nothing of it and sends the packet whole.
    story(
        "c41 172.42.0.2 --size 1400",
        "docker42",
        "ip link set eth0 mtu 1300",
        "too-big",
        "docker42",
        &["it has 1428 bytes", "eth0 of docker42 takes 1300"],
    );
}

#[test]
fn a_packet_that_is_larger_than_its_own_interface_takes() {
    let lab = by_hand(2);
    check(&trace(&lab, "c41 172.42.0.2 --size 3000 --df"), "too-big", "docker41", &["never left", "c41"]);
}

#[test]
fn a_ttl_of_one() {
    story("c41 172.42.0.2 --ttl 1", "docker41", "true", "ttl-expired", "docker41", &["TTL", "docker41"]);
}

#[test]
fn a_bridge_that_is_down() {
    story(PING, "docker42", "ip link set docker0 down", "interface-down", "docker42", &["docker0 is down"]);
}

#[test]
fn a_veth_that_is_down() {
    story(PING, "docker42", "ip link set vethc42 down", "interface-down", "docker42", &["vethc42 is down"]);
}

#[test]
fn a_container_that_is_gone() {
    let lab = by_hand(2);
    check(
        &trace(&lab, "c41 172.42.0.99"),
        "nobody-there",
        "docker42",
        &["no container of docker42 has 172.42.0.99"],
    );
}

#[test]
fn a_port_that_is_closed() {
    let lab = by_hand(2);
    check(
        &trace(&lab, "c41 172.42.0.2:80"),
        "port-closed",
        "docker42",
        &["nobody listens at port 80", "RST"],
    );
    check(&trace(&lab, "c41 172.42.0.2:80 --proto udp"), "port-closed", "docker42", &["port unreachable"]);
}

#[test]
fn a_program_that_listens_at_another_address() {
    let lab = by_hand(2);
    run(
        &lab,
        "c42",
        "python3 -c 'import os, socket
server = socket.create_server((\"127.0.0.1\", 3306))
if os.fork() == 0: server.accept()' >/dev/null 2>&1",
    );
    check(&trace(&lab, "c41 172.42.0.2:3306"), "other-address", "docker42", &["127.0.0.1 only"]);
}

#[test]
fn a_neighbour_entry_with_somebody_elses_station() {
    story(
        PING,
        "docker42",
        "ip neigh replace 172.42.0.2 lladdr 02:00:00:00:00:99 dev docker0 nud permanent",
        "wrong-neighbour",
        "docker42",
        &["02:00:00:00:00:99", "c42"],
    );
}

#[test]
fn a_subnet_that_two_hosts_have() {
    story(
        PING,
        "docker41",
        "ip route del 172.42.0.0/16; ip route add 172.42.0.0/16 via 192.168.199.42 metric 172
         ip link add dup type bridge; ip link set dup up; ip address add 172.42.0.1/16 dev dup",
        "duplicate-subnet",
        "docker41",
        &["docker42 by the inventory", "dup"],
    );
}

#[test]
fn masquerade_in_the_way_is_shown_with_the_hosts_address_and_the_rule() {
    let lab = by_hand(2);
    run(
        &lab,
        "docker41",
        "nft 'add table ip nat; add chain ip nat POSTROUTING { type nat hook postrouting priority 100; }
              add rule ip nat POSTROUTING ip saddr 172.41.0.0/16 oifname != \"docker0\" masquerade'",
    );
    let traced = trace(&lab, PING);
    check(
        &traced,
        "arrived-rewritten",
        "docker41",
        &["192.168.199.41 instead of 172.41.0.2", "chain POSTROUTING", "masquerade"],
    );
    let rules = traced["probes"][0]["rewritten_by"].to_string();
    assert!(rules.contains("chain POSTROUTING") && rules.contains("masquerade"), "{rules}");
    let hops = traced["probes"][0]["there"]["hops"].as_array().unwrap();
    let sources: Vec<&str> =
        hops.iter().map(|hop| hop["seen"]["source"]["address"].as_str().unwrap()).collect();
    assert_eq!(sources[2..5], ["172.41.0.2", "192.168.199.41", "192.168.199.41"]);
}

#[test]
fn a_firewall_inside_of_the_container() {
    story(
        PING,
        "c42",
        "nft 'add table ip own; add chain ip own in { type filter hook input priority 0; policy drop; }'",
        "kernel-drop",
        "docker42",
        &["whose own kernel dropped it", "firewall"],
    );
}

#[test]
fn a_firewall_that_keeps_the_sender_in() {
    story(
        PING,
        "c41",
        "nft 'add table ip own; add chain ip own out { type filter hook output priority 0; policy drop; }'",
        "sender-refused",
        "docker41",
        &["never left c41", "firewall in its own network namespace"],
    );
}

#[test]
fn a_host_that_cannot_be_asked_is_a_gap_and_not_an_error() {
    let lab = by_hand(2);
    common::end(&lab, "docker42", byway_lab::Signal::SIGKILL);
    let traced = trace(&lab, PING);
    check(&traced, "arrived", "-", &[]);
    let gaps = traced["gaps"].to_string();
    assert!(gaps.contains("docker42 is not watched"), "{gaps}");
}

#[test]
fn nothing_is_left_of_a_trace() {
    let lab = by_hand(2);
    let rules = |host: &str| run(&lab, host, "nft list ruleset");
    let before = (rules("docker41"), rules("docker42"));
    trace(&lab, PING);
    assert_eq!((rules("docker41"), rules("docker42")), before);
    // A trace that is killed leaves nothing either: the kernel and the other agent notice.
    let (here, there) = (Ear::open(&lab, "docker41"), Ear::open(&lab, "docker42"));
    let arguments = ["trace", "c41", "172.42.0.2", "--count", "100", "--interval", "1000"];
    let mut long = lab.command("docker41", BYWAY).args(arguments).stdout(Stdio::null()).spawn().unwrap();
    let traces = |host: &str| rules(host).contains("table ip byway");
    let is = |is: bool| if is { Ok(()) } else { Err("not yet".to_owned()) };
    here.until("traced here", || is(traces("docker41")));
    there.until("traced there", || is(traces("docker42")));
    long.kill().unwrap();
    long.wait().unwrap();
    here.until("gone here", || is(rules("docker41") == before.0));
    there.until("gone there", || is(rules("docker42") == before.1));
}
