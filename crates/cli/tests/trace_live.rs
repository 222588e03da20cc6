//! Packets that pass anyhow, and what is written of them.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::process::Stdio;

use byway_lab::Topology;
use common::{BYWAY, byway, lab, run};
use serde_json::Value;

#[test]
fn what_passes_anyhow_is_followed_over_both_hosts_and_nothing_is_called_lost_that_is_not() {
    let lab = lab(&Topology::two_hosts());
    let mut ping = lab
        .command("c41", "ping")
        .args(["-n", "-i0.05", "172.42.0.2"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let arguments = ["trace", "--follow", "icmp", "--count", "400", "--duration", "20", "--json"];
    let (code, out, errors) = byway(&lab, "docker41", &arguments);
    ping.kill().unwrap();
    ping.wait().unwrap();
    let told: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{errors}"));
    assert_eq!(code, Some(0), "{told:#}");
    assert_eq!((&told["gaps"], &told["lost_while_watching"]), (&Value::Array(Vec::new()), &0.into()));
    let totals = &told["totals"];
    assert_eq!(totals["lost"], 0, "{told:#}");
    assert!(totals["complete"].as_u64().unwrap() >= 20, "{totals:#}");
    assert_eq!(told["points"].as_array().unwrap().len(), 8);
}

#[test]
fn a_filter_that_does_not_compile_is_told_in_libpcaps_words() {
    let lab = lab(&Topology::two_hosts());
    let (code, _, errors) = byway(&lab, "docker41", &["trace", "--follow", "icmp and frob"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("icmp and frob"), "{errors}");
}

#[test]
fn what_all_hosts_saw_is_one_file_with_the_findings_as_comments() {
    let lab = lab(&Topology::two_hosts());
    let script = "byway trace c41 c42 -w /run/way.pcapng >/dev/null
         byway capture -r /run/way.pcapng -T fields -e frame.interface_name -e ip.ttl -e frame.comment";
    let told = run(&lab, "docker41", script);
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split('\t').collect()).collect();
    let points: Vec<(&str, &str)> = lines.iter().take(8).map(|line| (line[0], line[1])).collect();
    assert_eq!(
        points,
        [
            ("docker41/c41/eth0", "64"),
            ("docker41/vethc41", "64"),
            ("docker41/docker0", "64"),
            ("docker41/eth0", "63"),
            ("docker42/eth0", "63"),
            ("docker42/docker0", "62"),
            ("docker42/vethc42", "62"),
            ("docker42/c42/eth0", "62"),
        ]
    );
    assert_eq!(lines.len(), 16, "{told}");
    assert!(lines[3][2].contains("routed by docker41"), "{told}");
    assert!(lines[15][2].contains("arrived: c41 (172.41.0.2) reaches c42"), "{told}");
}

#[test]
fn a_name_that_two_other_hosts_have_must_be_told_apart() {
    let lab = lab(&byway_lab::Spread { hosts: 3, ..byway_lab::Spread::default() }.topology());
    for host in [42, 43] {
        let script = format!(
            "ip netns add twin; ip link add vtwin type veth peer name eth0 netns twin
             ip link set vtwin master docker0 up; ip -n twin link set eth0 up
             ip -n twin address add 172.{host}.0.77/16 dev eth0
             ip -n twin route add default via 172.{host}.0.1"
        );
        run(&lab, &format!("docker{host}"), &script);
    }
    let (code, _, errors) = byway(&lab, "docker41", &["trace", "c41", "twin"]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("there is a container twin on docker42 and on docker43"), "{errors}");
    let told = run(&lab, "docker41", "byway trace c41 docker43/twin");
    assert!(told.contains("twin(172.43.0.77)") && told.contains("arrived: c41"), "{told}");
}

#[test]
fn the_text_names_containers_and_explains_the_ttl() {
    let lab = lab(&Topology::two_hosts());
    let told = run(&lab, "docker41", "byway trace c41 c42");
    for words in [
        "c41(172.41.0.2) > c42(172.42.0.2) ICMP echo request",
        "ttl 64 → 63 → 62: each router takes one off; here docker41, then docker42",
        "the clock of docker42",
        "no packet was lost while watching",
    ] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    for (arguments, words) in [
        ("trace nobody c42", "no host or running container is called nobody"),
        ("trace c41 c42:99999", "is no port"),
        ("trace c41 c42 --proto tcp", "TCP and UDP need a port"),
        ("trace c41 c42:80 --proto icmp", "ICMP has no ports"),
        ("trace 172.41.0.2 fd00:172:42::2", "no addresses of one family"),
        ("trace 10.9.8.7 c42", "nobody can send from it"),
    ] {
        let words_of: Vec<&str> = arguments.split(' ').collect();
        let (code, _, errors) = byway(&lab, "docker41", &words_of);
        assert_eq!(code, Some(1), "{arguments}: {errors}");
        assert!(errors.contains(words), "{arguments}: {errors}");
    }
    assert!(run(&lab, "docker41", &format!("{BYWAY} trace --help")).contains("--follow"));
}
