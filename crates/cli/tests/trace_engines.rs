//! `byway trace` on real Docker engines: the seed's scene with names, and what each engine's own rules do to packets.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use byway_lab::{Lab, Options};
use common::engines::{PAIRS, addresses, engines, topology};
use common::traces::{check, trace};
use common::{BYWAY, run};
use serde_json::Value;

/// Engines as they are, with routes by hand and agents that only look: the recipe of old.
fn by_hand(releases: [&str; 2]) -> Lab {
    let options = Options::private(BYWAY.as_ref()).with_agent([BYWAY, "agent", "--hands-off"]);
    let lab = Lab::up(&topology(releases), &options, |_| {}).unwrap_or_else(|error| panic!("{error:#}"));
    for (host, other) in [("docker41", 42), ("docker42", 41)] {
        run(&lab, host, &format!("ip route add 172.{other}.0.0/16 via 192.168.199.{other}"));
    }
    lab
}

fn v4(lab: &Lab, container: &str) -> String {
    addresses(lab, container).iter().find(|address| address.is_ipv4()).unwrap().to_string()
}

#[test]
fn the_seeds_scene_on_every_pair_of_engines_there_and_back_with_names() {
    for pair in PAIRS {
        let lab = engines(pair);
        for address in addresses(&lab, "c42") {
            let family = if address.is_ipv4() { "-4" } else { "-6" };
            for how in ["c42", "c42:80", "c42:9 --proto udp"] {
                let traced = trace(&lab, &format!("c41 {how} {family}"));
                let cause = if how == "c42" { "arrived" } else { "port-closed" };
                assert_eq!(traced["probes"][0]["verdict"]["cause"], cause, "{pair:?} {traced:#}");
                let ends = [&traced["source"]["name"], &traced["destination"]["name"]].map(Value::as_str);
                assert_eq!(ends, [Some("c41"), Some("c42")]);
                let hops = traced["probes"][0]["there"]["hops"].as_array().unwrap();
                let ttls: Vec<u64> =
                    hops.iter().map(|hop| hop["seen"]["ttl"].as_u64().unwrap_or(0)).collect();
                assert_eq!(ttls, [64, 64, 64, 63, 63, 62, 62, 62], "{pair:?} {how} {family}");
            }
        }
    }
}

#[test]
fn docker_28_drops_in_raw_and_its_own_rule_is_named_on_the_right_host() {
    let lab = by_hand(["28.5", "28.5"]);
    let (c41, c42) = (v4(&lab, "c41"), v4(&lab, "c42"));
    // Docker's masquerade is out of the way, so that the packet keeps its source as a route by hand would want it.
    let traced = trace(&lab, "c41 c42 -4");
    let rule = format!("-A PREROUTING -d {c42}/32 ! -i docker0 -j DROP");
    check(&traced, "rule", "docker42", &["Docker's rule in table ip raw, chain PREROUTING", &rule]);
    let seen = traced["probes"][0]["there"]["hops"].as_array().unwrap();
    let sources: Vec<&str> =
        seen.iter().filter_map(|hop| hop["seen"]["source"]["address"].as_str()).collect();
    assert_eq!(
        sources,
        [&c41, &c41, &c41, "192.168.199.41", "192.168.199.41"],
        "Docker masquerades on the way"
    );
}

#[test]
fn docker_20_drops_by_the_policy_of_forward() {
    let lab = by_hand(["20.10", "20.10"]);
    let traced = trace(&lab, "c41 c42 -4");
    check(&traced, "policy", "docker42", &["table ip filter, chain FORWARD"]);
}

#[test]
fn docker_keeps_its_networks_apart_and_its_isolation_is_named() {
    let lab = engines(["20.10", "28.5"]);
    for host in ["docker41", "docker42"] {
        run(
            &lab,
            host,
            "docker network create other; docker run -d --name apart --network other busybox sleep 1000",
        );
    }
    check(
        &trace(&lab, "c41 docker41/apart -4"),
        "rule",
        "docker41",
        &["Docker's rule", "chain DOCKER-ISOLATION-STAGE-2"],
    );
    let (_, out, errors) =
        common::byway(&lab, "docker42", &["trace", "--json", "c42", "docker42/apart", "-4"]);
    let traced = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}"));
    check(&traced, "rule", "docker42", &["Docker's rule"]);
}

#[test]
fn an_admins_drop_in_docker_user_is_the_admins() {
    let lab = engines(["28.5", "20.10"]);
    let c41 = v4(&lab, "c41");
    run(&lab, "docker42", &format!("iptables -I DOCKER-USER -s {c41} -j DROP"));
    let words = format!("-A DOCKER-USER -s {c41}/32 -j DROP");
    check(&trace(&lab, "c41 c42 -4"), "rule", "docker42", &["administrator", "chain DOCKER-USER", &words]);
    run(&lab, "docker42", "iptables -F DOCKER-USER; iptables -I FORWARD -p icmp -j DROP");
    check(&trace(&lab, "c41 c42 -4"), "rule", "docker42", &["-A FORWARD -p icmp -j DROP"]);
}

#[test]
fn a_rule_of_iptables_legacy_is_found_by_its_counter() {
    let mut topology = topology(["28.5", "28.5"]);
    for host in &mut topology.hosts {
        host.engine.as_mut().unwrap().iptables = byway_lab::Iptables::Legacy;
    }
    let lab = common::engines::raise(&topology);
    let c41 = v4(&lab, "c41");
    run(&lab, "docker42", &format!("iptables -I DOCKER-USER -s {c41} -j DROP"));
    check(
        &trace(&lab, "c41 c42 -4"),
        "rule",
        "docker42",
        &["iptables-legacy", "DOCKER-USER", &format!("-s {c41}/32 -j DROP")],
    );
}

#[test]
fn a_container_that_was_stopped_is_told() {
    let lab = engines(["28.5", "28.5"]);
    let c42 = v4(&lab, "c42");
    run(&lab, "docker42", "docker stop -t 0 c42");
    check(&trace(&lab, &format!("c41 {c42}")), "nobody-there", "docker42", &["no container of docker42 has"]);
}
