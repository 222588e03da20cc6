//! Agents ask each other: who may, who may not, and what both sides are told about it.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use byway_api::Status;
use byway_lab::{Lab, Signal, Spread, Topology};
use common::{Ear, PATIENCE, byway, end, lab, quiet_lab, run, start, status, write};
use serde_json::Value;

const INVENTORY: &str = "/etc/byway/inventory.toml";
const PORT: u16 = 7172;

/// `byway status --all --json` on docker41: its exit status, and what it says of each host.
fn all(lab: &Lab) -> (Option<i32>, Vec<Value>) {
    let (code, out, errors) = byway(lab, "docker41", &["status", "--all", "--json"]);
    let answer: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}"));
    (code, answer["hosts"].as_array().unwrap_or_else(|| panic!("{out}")).clone())
}

/// What docker41 says of docker42 when it cannot ask it: the sort of gap, and all words.
fn gap(lab: &Lab) -> (String, String) {
    let (code, hosts) = all(lab);
    assert_eq!(code, Some(1), "{hosts:?}");
    assert_eq!(hosts[0]["well"], true, "the other is well: {hosts:?}");
    let gap = &hosts[1]["gap"];
    (gap["kind"].as_str().unwrap_or_else(|| panic!("{hosts:?}")).to_owned(), gap.to_string())
}

fn key(lab: &Lab, host: &str) -> String {
    let (code, out, errors) = byway(lab, host, &["key"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    out.trim_end().to_owned()
}

/// Waits until the status of a host says so.
fn until(lab: &Lab, host: &str, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    Ear::open(lab, host).until(what, || {
        let status = status(lab, host);
        if is_so(&status) { Ok(status) } else { Err(format!("{status:?}")) }
    })
}

/// Who was refused at a host, in words and hints.
fn refused(lab: &Lab, host: &str) -> Vec<(String, String)> {
    let peers = status(lab, host).peers.unwrap();
    peers.refused.into_iter().map(|refused| (refused.what, refused.hint)).collect()
}

/// Installs a host anew: it has another key then.
fn reinstall(lab: &Lab, host: &str) {
    end(lab, host, Signal::SIGKILL);
    run(lab, host, "rm /var/lib/byway/key");
    start(lab, host);
}

fn address(lab: &Lab, host: &str) -> SocketAddr {
    status(lab, host).peers.unwrap().listening[0]
}

#[test]
fn all_hosts_tell_each_other_how_they_stand() {
    let lab = lab(&Topology::two_hosts());
    for from in ["docker41", "docker42"] {
        let (code, out, errors) = byway(&lab, from, &["status", "--all"]);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
        let version = env!("CARGO_PKG_VERSION");
        let expected = format!(
            "HOST      STATE  ROUTES  PROBLEMS  VERSION\n\
             docker41  well   2/2     0         {version}\n\
             docker42  well   2/2     0         {version}\n"
        );
        assert_eq!(out, expected);
    }
    let listening = status(&lab, "docker41").peers.unwrap().listening;
    let expected = ["192.168.199.41:7172", "[fd00:199::41]:7172"].map(|at| at.parse().unwrap());
    assert_eq!(listening, expected);
    let (_, hosts) = all(&lab);
    assert_eq!(hosts[1]["status"]["host"], "docker42");
}

#[test]
fn a_host_that_needs_a_look_says_why_to_the_others() {
    let lab = lab(&Topology::two_hosts());
    run(&lab, "docker42", "ip route add 172.41.0.0/16 via 192.168.199.77 proto static");
    until(&lab, "docker42", "a conflict", |status| !status.problems.is_empty());
    let (code, out, _) = byway(&lab, "docker41", &["status", "--all"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("docker42  needs a look"), "{out}");
    assert!(out.contains("conflict:") && out.contains("192.168.199.77"), "{out}");
}

#[test]
fn a_host_whose_agent_is_gone_or_stands_still_is_a_gap_within_three_seconds() {
    let lab = lab(&Spread { hosts: 4, containers: 1, segments: 1 }.topology());
    end(&lab, "docker42", Signal::SIGKILL);
    lab.kill_agent("docker43", Signal::SIGSTOP).unwrap();
    run(&lab, "docker44", "ip link set eth0 down");
    let begun = Instant::now();
    let (code, hosts) = all(&lab);
    let took = begun.elapsed();
    lab.kill_agent("docker43", Signal::SIGCONT).unwrap();
    assert_eq!(code, Some(1));
    let gaps: Vec<&Value> = hosts.iter().map(|host| &host["gap"]["kind"]).collect();
    assert_eq!(
        gaps,
        [&Value::Null, &"unreachable".into(), &"late".into(), &"unreachable".into()],
        "{hosts:?}"
    );
    let told = hosts[1]["gap"].to_string();
    assert!(told.contains("192.168.199.42:7172: connection refused"), "{told}");
    assert!(told.contains("no agent listens there"), "{told}");
    // The bound is the program's own; what is beyond it is the machine's.
    assert!(took < PATIENCE, "{took:?}");
}

#[test]
fn an_unknown_key_is_refused_and_both_sides_are_told() {
    let lab = lab(&Topology::two_hosts());
    let key = key(&lab, "docker41");
    run(&lab, "docker42", &format!("sed -i '\\|{key}|d' {INVENTORY}"));
    until(&lab, "docker42", "docker41 is not known", |_| gap(&lab).0 == "refused");
    let what =
        format!("docker41 at fd00:199::41 shows key {key}, but the inventory of docker42 has none for it");
    let what_ipv4 = what.replace("fd00:199::41", "192.168.199.41");
    let hint = format!("`byway host key docker41 {key}` on docker42 lists it");
    let (_, told) = gap(&lab);
    assert!(told.contains(&what) || told.contains(&what_ipv4), "{told}");
    assert!(told.contains(&hint), "{told}");
    let refused = refused(&lab, "docker42");
    assert!(
        refused.iter().all(|(told, h)| (*told == what || *told == what_ipv4) && *h == hint),
        "{refused:?}"
    );
    let (code, out, _) = byway(&lab, "docker42", &["status"]);
    assert_eq!(code, Some(0), "a knock at the door makes nobody unwell: {out}");
    assert!(out.contains(&hint), "{out}");

    let (code, out, errors) = byway(&lab, "docker42", &["host", "key", "docker41", &key]);
    assert_eq!(code, Some(0), "{out}{errors}");
    until(&lab, "docker42", "it is known", |status| status.peers.as_ref().unwrap().refused.is_empty());
    assert_eq!(all(&lab).0, Some(0), "what was advised has helped");
}

#[test]
fn a_key_of_no_host_at_all_is_refused_by_its_address() {
    let lab = lab(&Topology::two_hosts());
    let seed = Topology::two_hosts().inventory().unwrap();
    let only_42 = &seed[seed.rfind("\n[[host]]").unwrap()..];
    let key = key(&lab, "docker42");
    write(&lab, "docker42", INVENTORY, &format!("{only_42}key = \"{key}\"\n"));
    until(&lab, "docker42", "it is alone", |status| status.hosts.len() == 1);
    assert_eq!(gap(&lab).0, "refused");
    let refused = refused(&lab, "docker42");
    assert!(refused[0].0.contains(", which no host of the inventory of docker42 has"), "{refused:?}");
    assert!(refused[0].1.contains("`byway host key NAME "), "{refused:?}");
}

#[test]
fn a_host_that_was_installed_anew_is_told_apart_on_both_sides() {
    let lab = lab(&Topology::two_hosts());
    let old = key(&lab, "docker42");
    reinstall(&lab, "docker42");
    let new = key(&lab, "docker42");
    assert_ne!(old, new);
    let (kind, told) = gap(&lab);
    assert_eq!(kind, "other-key", "{told}");
    assert!(told.contains(&format!("shows key {new}, but the inventory has key {old} for it")), "{told}");
    // docker42 hears that docker41 hung up, and knows by itself that the inventory has another key for it.
    let heard =
        until(&lab, "docker42", "it is told", |status| !status.peers.as_ref().unwrap().refused.is_empty());
    assert!(heard.peers.unwrap().refused[0].what.contains("hung up: it expects another key of docker42"));
    let problem = heard.problems[0].to_string();
    assert!(
        problem
            .starts_with(&format!("peers: the inventory has key {old} for docker42, but its key is {new}")),
        "{problem}"
    );
    // And when it asks itself, it is refused in words, and docker41 tells who it was.
    let (code, out, _) = byway(&lab, "docker42", &["status", "--all"]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains(&format!("shows key {new}, but the inventory of docker41 has key {old} for it")),
        "{out}"
    );
    let refused = refused(&lab, "docker41");
    assert!(refused[0].1.contains(&format!("`byway host key docker42 {new}` on docker41")), "{refused:?}");

    for host in ["docker41", "docker42"] {
        assert_eq!(byway(&lab, host, &["host", "key", "docker42", &new]).0, Some(0));
    }
    until(&lab, "docker42", "it is well", |status| status.problems.is_empty());
    until(&lab, "docker41", "it knows", |_| all(&lab).0 == Some(0));
}

#[test]
fn hosts_without_keys_stay_well_and_are_told_what_to_do_only_if_others_have_some() {
    let lab = quiet_lab(&Topology::two_hosts());
    let keys = ["docker41", "docker42"].map(|host| key(&lab, host));
    let seed = Topology::two_hosts().inventory().unwrap();
    for host in ["docker41", "docker42"] {
        write(&lab, host, INVENTORY, &seed);
    }
    for host in ["docker41", "docker42"] {
        start(&lab, host);
    }
    let hint = |status: &Status| status.peers.clone().unwrap().hint;
    until(&lab, "docker41", "no keys", |status| hint(status).is_none());
    let (code, out, _) = byway(&lab, "docker41", &["status"]);
    assert!(code == Some(0) && !out.contains("key"), "{out}");
    let (kind, told) = gap(&lab);
    assert_eq!(kind, "no-key");
    assert!(told.contains("the inventory has no key for docker42"), "{told}");

    assert_eq!(byway(&lab, "docker41", &["host", "key", "docker42", &keys[1]]).0, Some(0));
    let told = until(&lab, "docker41", "a hint", |status| hint(status).is_some());
    assert!(hint(&told).unwrap().contains(&format!("`byway host key docker41 {}`", keys[0])));
    let (code, out, _) = byway(&lab, "docker41", &["status"]);
    assert!(code == Some(0) && out.contains(&keys[0]), "{out}");
}

#[test]
fn a_port_that_is_taken_is_told_and_tried_again_and_the_agent_goes_on() {
    let lab = quiet_lab(&Topology::two_hosts());
    let at: SocketAddr = "192.168.199.41:7172".parse().unwrap();
    let thief = lab.inside("docker41", || TcpListener::bind(at)).unwrap().unwrap();
    start(&lab, "docker41");
    start(&lab, "docker42");
    let told = until(&lab, "docker41", "it is told", |status| !status.problems.is_empty());
    let problem = told.problems[0].to_string();
    assert!(
        problem.starts_with(
            "peers: other hosts cannot ask this one at 192.168.199.41:7172: something else listens"
        ),
        "{problem}"
    );
    assert_eq!(told.pending, 0, "routes are kept meanwhile");
    common::assert_reaching(&lab);
    let (code, out, _) = byway(&lab, "docker42", &["status", "--all"]);
    assert!(code == Some(1) && out.contains("docker41  needs a look"), "over IPv6 it can be asked: {out}");
    drop(thief);
    until(&lab, "docker41", "it listens", |status| status.problems.is_empty());
    assert_eq!(all(&lab).0, Some(0));
}

#[test]
fn another_port_for_all_is_a_setting() {
    let lab = quiet_lab(&Topology::two_hosts());
    for host in ["docker41", "docker42"] {
        run(&lab, host, "echo 'port = 7999' >> /etc/byway/byway.toml");
        start(&lab, host);
    }
    assert_eq!(all(&lab).0, Some(0));
    assert_eq!(address(&lab, "docker42"), "192.168.199.42:7999".parse().unwrap());
}

#[test]
fn a_bad_key_ends_neither_the_agent_nor_its_routes() {
    let lab = quiet_lab(&Topology::two_hosts());
    run(&lab, "docker41", "echo garbage > /var/lib/byway/key");
    start(&lab, "docker41");
    start(&lab, "docker42");
    common::assert_reaching(&lab);
    let told = status(&lab, "docker41");
    let problem = told.problems[0].to_string();
    assert!(
        problem.starts_with("peers: other hosts cannot ask this one: /var/lib/byway/key holds no key"),
        "{problem}"
    );
    assert_eq!(told.peers.unwrap().key, None);
    for command in [&["key"][..], &["status", "--all"]] {
        let (code, out, errors) = byway(&lab, "docker41", command);
        assert_eq!(code, Some(1), "{out}");
        assert!(
            errors.contains("holds no key") && errors.contains("hint: copy it from a backup"),
            "{errors}"
        );
    }
    assert_eq!(run(&lab, "docker41", "cat /var/lib/byway/key"), "garbage\n", "it is never written over");
}

#[test]
fn the_key_is_made_once_and_printed_without_an_agent() {
    let lab = quiet_lab(&Topology::two_hosts());
    run(&lab, "docker41", "rm /var/lib/byway/key");
    let (code, out, errors) = byway(&lab, "docker41", &["status", "--all"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(errors.contains("this host has no key"), "{errors}");
    let (code, made, errors) = byway(&lab, "docker41", &["key"]);
    assert_eq!((code, made.len()), (Some(0), 45), "{made}");
    assert_eq!(errors, "made a key for this host: /var/lib/byway/key\n");
    assert_eq!(key(&lab, "docker41"), made.trim_end());
    let (_, out, _) = byway(&lab, "docker41", &["key", "--json"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["key"], &told["made"]), (&made.trim_end().into(), &false.into()));
    assert_eq!(run(&lab, "docker41", "stat -c %a /var/lib/byway/key"), "600\n");
}

#[test]
fn connections_that_say_nothing_or_garbage_hold_nobody_up() {
    let lab = lab(&Topology::two_hosts());
    let to = address(&lab, "docker42");
    let connect = || TcpStream::connect_timeout(&to, PATIENCE);
    let silent: Vec<TcpStream> = (0..64).map(|_| lab.inside("docker41", connect).unwrap().unwrap()).collect();
    // The silent ones have taken all places of this address; the other family is another address, and is let in.
    assert_eq!(all(&lab).0, Some(0));
    drop(silent);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for length in (0..200).map(|nth| nth * 11) {
        let mut garbage = Vec::with_capacity(length);
        for _ in 0..length {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            garbage.push(seed.to_le_bytes()[0]);
        }
        if length % 2 == 0 {
            // As a TLS record that begins well.
            garbage.splice(0..0, [22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]);
        }
        let mut stream = lab.inside("docker41", connect).unwrap().unwrap();
        // Either way may find the connection closed already.
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    until(&lab, "docker42", "it is well", |status| status.problems.is_empty() && status.pending == 0);
    until(&lab, "docker41", "all are well", |_| all(&lab).0 == Some(0));
    common::assert_reaching(&lab);
}

#[test]
fn nobody_listens_but_on_the_hosts_own_addresses() {
    let lab = lab(&Topology::two_hosts());
    let ports = run(&lab, "docker41", "cat /proc/net/tcp /proc/net/tcp6");
    // State 0A is listening; addresses are little-endian words.
    let listening: Vec<&str> = ports
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (words.get(3) == Some(&"0A")).then(|| words[1])
        })
        .collect();
    let port = format!(":{PORT:04X}");
    assert_eq!(listening.len(), 2, "{listening:?}");
    assert!(listening.iter().all(|at| at.ends_with(&port) && !at.starts_with("00000000:")), "{listening:?}");
}
