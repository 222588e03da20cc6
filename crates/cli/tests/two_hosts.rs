//! Two hosts come up, and their containers reach each other by plain routes; what that means for addresses.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::net::IpAddr;

use byway_lab::{Spread, Topology};
use common::{BYWAY, assert_reaching, byway, lab, ping, run, source_seen, status};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn two_hosts_come_up_routed_and_their_containers_reach_each_other() {
    let lab = lab(&Topology::two_hosts());
    assert_reaching(&lab);
    for host in ["docker41", "docker42"] {
        assert_eq!(common::due(&lab, host), [""; 0]);
        let (code, out, errors) = byway(&lab, host, &["status"]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains("well") && out.contains("routes 2 of 2 present"), "{out}");
    }
    let routes = run(&lab, "docker41", "ip route show proto byway; ip -6 route show proto byway");
    let lines: Vec<&str> = routes.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        [
            "172.42.0.0/16 via 192.168.199.42 dev eth0 src 172.41.0.1 metric 172",
            "fd00:172:42::/64 via fd00:199::42 dev eth0 src fd00:172:41::1 metric 172 pref medium",
        ]
    );
}

#[test]
fn a_container_is_seen_with_its_own_address_at_the_far_container_and_at_the_far_host() {
    let lab = lab(&Topology::two_hosts());
    assert_eq!(source_seen(&lab, "c41", "c42", "172.42.0.2"), ip("172.41.0.2"));
    assert_eq!(source_seen(&lab, "c41", "c42", "fd00:172:42::2"), ip("fd00:172:41::2"));
    assert_eq!(source_seen(&lab, "c42", "docker41", "172.41.0.1"), ip("172.42.0.2"));
    assert_eq!(source_seen(&lab, "c42", "docker41", "fd00:172:41::1"), ip("fd00:172:42::2"));
}

#[test]
fn a_host_talks_to_far_containers_with_its_bridges_address() {
    let lab = lab(&Topology::two_hosts());
    assert_eq!(source_seen(&lab, "docker41", "c42", "172.42.0.2"), ip("172.41.0.1"));
    assert_eq!(source_seen(&lab, "docker41", "c42", "fd00:172:42::2"), ip("fd00:172:41::1"));
}

#[test]
fn what_leaves_the_cluster_is_masqueraded() {
    // The router knows nothing of the containers' subnets, so only a masqueraded packet is answered.
    let lab = lab(&Spread { hosts: 2, containers: 1, segments: 2 }.topology());
    assert_eq!(source_seen(&lab, "c41", "router", "192.168.199.1"), ip("192.168.199.41"));
    assert_eq!(source_seen(&lab, "c41", "router", "fd00:199::1"), ip("fd00:199::41"));
    assert_eq!(source_seen(&lab, "c41", "docker42", "192.168.198.42"), ip("192.168.199.41"));
}

#[test]
fn containers_of_one_host_see_each_other_as_they_are() {
    let lab = lab(&Spread { hosts: 2, containers: 2, segments: 1 }.topology());
    assert_eq!(source_seen(&lab, "c41", "c41-2", "172.41.0.3"), ip("172.41.0.2"));
    assert_eq!(source_seen(&lab, "docker41", "c41-2", "fd00:172:41::3"), ip("fd00:172:41::1"));
}

/// The agent at rest in a lab of a hundred hosts, in KiB: most of it is the program itself, which is larger in a build for
/// tests. `cargo xtask bench rest` holds the one that people get to 15 MiB.
const AGENT_KIB_MAX: u64 = 20 << 10;
/// What of that is its own and not the program's, whatever the build: 1.5 MiB when this was written.
const AGENT_OWN_KIB_MAX: u64 = 3 << 10;

#[test]
fn a_hundred_hosts_come_up_routed_and_their_agents_stay_small() {
    let lab = lab(&Spread { hosts: 100, containers: 1, segments: 1 }.topology());
    for (from, to) in [("c41", "172.140.0.2"), ("c140", "fd00:172:41::2"), ("c90", "172.41.0.2")] {
        assert!(ping(&lab, from, to).unwrap().contains("ttl=62"), "{from} to {to}");
    }
    let status = status(&lab, "docker41");
    assert_eq!(status.hosts.iter().map(|host| host.routes_present).sum::<usize>(), 198);
    for number in 41..=140 {
        let pid = lab.agent_pid(&format!("docker{number}")).unwrap();
        let process = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for (what, most) in [("VmRSS:", AGENT_KIB_MAX), ("RssAnon:", AGENT_OWN_KIB_MAX)] {
            let resident = process.lines().find_map(|line| line.strip_prefix(what)).unwrap();
            let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
            assert!(kib < most, "{what} the agent of docker{number} takes {kib} KiB");
        }
    }
    lab.down().unwrap();
}

#[test]
fn a_lab_is_made_looked_at_entered_and_ended_by_hand() {
    let name = format!("by-hand-{}", std::process::id());
    let byway = |arguments: &[&str]| {
        let out = std::process::Command::new(BYWAY).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.code(), out.stdout, told)
    };
    let json = |arguments: &[&str]| -> serde_json::Value {
        let (code, out, told) = byway(&[&["--json"], arguments].concat());
        assert_eq!(code, Some(0), "{told}");
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {told}"))
    };
    let up = json(&["lab", "up", "--name", &name]);
    assert_eq!((&up["name"], &up["hosts"], &up["containers"]), (&name.as_str().into(), &2.into(), &2.into()));
    let status = json(&["lab", "status", "--name", &name]);
    assert_eq!(status["nodes"].as_array().unwrap().len(), 5);
    let (code, _, told) =
        byway(&["lab", "exec", "--name", &name, "c41", "--", "ping", "-c1", "-W5", "172.42.0.2"]);
    assert_eq!(code, Some(0), "{told}");
    let (code, _, told) = byway(&["lab", "status", "--name", &name]);
    assert!(code == Some(0) && told.contains("docker42") && told.contains("ready"), "{told}");
    let (code, _, told) = byway(&["lab", "up", "--name", &name]);
    assert!(code == Some(1) && told.contains("is up already"), "{told}");
    let killed = json(&["lab", "agent", "--name", &name, "docker41", "kill"]);
    assert!(killed["agent"]["state"]["gone"].is_string(), "{killed}");
    let started = json(&["lab", "agent", "--name", &name, "docker41", "start"]);
    assert_eq!(started["agent"]["state"], "ready");
    assert_eq!(json(&["lab", "down", "--name", &name])["ended"], true);
    let (code, _, told) = byway(&["lab", "status", "--name", &name]);
    assert!(code == Some(1) && told.contains(&format!("there is no lab called {name}")), "{told}");
}
