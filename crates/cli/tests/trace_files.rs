//! Captures that the real tcpdump made, followed: on any interface of a router, one file per host, both sides of NAT.

#![expect(clippy::unwrap_used, reason = "a kernel that refuses here is a failed test")]

mod common;

use std::io::Read as _;
use std::path::Path;

use byway_agent::edge::capture_file::CaptureFile;
use byway_lab::{Lab, Topology};
use byway_wire::{Frame, LinkType};
use common::tcpdump::Tcpdump;
use common::{BYWAY, attempt, quiet_lab, run};
use serde_json::Value;

const C42: &str = "172.42.0.2";
/// Sent last, and waited for at every file: what was sent before it is there then.
const LAST: &str = "ping -n -c1 -W5 -p 6c617374 -s 333 172.42.0.2";
/// Its length with all headers.
const LAST_BYTES: u32 = 333 + 28;

/// Two hosts that pass packets on, without agents; `nat`: the first masquerades its container.
fn two_hosts(nat: bool) -> Lab {
    let lab = quiet_lab(&Topology::two_hosts());
    for (host, other) in [("docker41", 42), ("docker42", 41)] {
        let script = format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward
             ip route replace 172.{other}.0.0/16 via 192.168.199.{other}"
        );
        run(&lab, host, &script);
    }
    if nat {
        let rules = "add table ip nat
             add chain ip nat postrouting { type nat hook postrouting priority srcnat; }
             add rule ip nat postrouting oifname eth0 ip saddr 172.41.0.0/16 masquerade";
        run(&lab, "docker41", &format!("nft -f - <<'END'\n{rules}\nEND"));
    }
    // From here on links are up and neighbours known.
    let said = run(&lab, "c41", &format!("ping -n -c1 -i0.2 -w20 {C42}"));
    assert!(said.contains("1 received"), "{said}");
    lab
}

/// Starts a tcpdump for the traffic of these stories.
fn listen(lab: &Lab, node: &str, file: &Path, options: &[&str]) -> Tcpdump {
    Tcpdump::start(lab, node, file, &[options, &["icmp or udp port 98 or udp port 99"]].concat())
}

/// How many of the last packets are in a file that is being written.
fn lasts(file: &Path) -> usize {
    let Ok(mut capture) = CaptureFile::open(file) else { return 0 };
    let mut count = 0;
    // A file that is being written may end in the middle of a packet.
    while let Ok(true) = capture.advance() {
        let record = capture.packet().unwrap();
        let link = LinkType::from_number(capture.interfaces()[record.interface].link).unwrap();
        let frame = Frame::decode(link, record.bytes);
        count += usize::from(frame.packet().is_some_and(|packet| packet.length == LAST_BYTES));
    }
    count
}

/// `byway trace -r …`: its exit status and its JSON.
fn trace(files: &[&Path]) -> (Option<i32>, Value) {
    let out = std::process::Command::new(BYWAY)
        .args(["--json", "trace", "--list", "1000"])
        .args(files.iter().flat_map(|file| [Path::new("-r"), file]))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    let value = serde_json::from_str(&said);
    (
        out.status.code(),
        value.unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&out.stderr))),
    )
}

/// The TTLs of the ways of packets that say this.
fn ttls(traced: &Value, what: &str) -> Vec<Vec<u64>> {
    let ways = traced["journeys"].as_array().unwrap().iter();
    let ways = ways.filter(|way| way["packet"].as_str().unwrap().contains(what));
    ways.map(|way| way["hops"].as_array().unwrap().iter().map(|hop| hop["ttl"].as_u64().unwrap()).collect())
        .collect()
}

fn traffic(lab: &Lab) {
    run(lab, "c41", &format!("ping -n -c5 -i0.01 -W5 {C42}"));
}

#[test]
fn a_router_that_captures_on_any_interface_shows_the_way_in_and_out() {
    let lab = two_hosts(false);
    let folder = tempfile::tempdir().unwrap();
    // SLL2 tells interfaces; SLL does not. In: veth, bridge; out: eth0.
    for (name, options) in
        [("sll2.pcap", &["-i", "any"][..]), ("sll.pcap", &["-i", "any", "-y", "LINUX_SLL"])]
    {
        let file = folder.path().join(name);
        let tcpdump = listen(&lab, "docker41", &file, options);
        traffic(&lab);
        run(&lab, "c41", LAST);
        tcpdump.finish(|file| lasts(file) >= 6);
        let (code, traced) = trace(&[&file]);
        assert_eq!(code, Some(0), "{traced:#}");
        assert_eq!(ttls(&traced, "echo request"), [[64, 64, 63]], "{traced:#}");
        assert_eq!(ttls(&traced, "echo reply"), [[63, 62, 62]], "{traced:#}");
        assert_eq!((&traced["totals"]["packets"], &traced["totals"]["complete"]), (&12.into(), &12.into()));
    }
}

#[test]
fn one_file_per_host_whose_clocks_are_an_hour_apart() {
    let lab = two_hosts(false);
    let folder = tempfile::tempdir().unwrap();
    let [near, far] = ["c41.pcap", "c42.pcap"].map(|name| folder.path().join(name));
    let here = listen(&lab, "c41", &near, &["-i", "eth0"]);
    let there = listen(&lab, "c42", &far, &["-i", "eth0"]);
    traffic(&lab);
    run(&lab, "c41", LAST);
    here.finish(|file| lasts(file) >= 2);
    there.finish(|file| lasts(file) >= 2);
    set_clock(&far, 3600);
    let (code, traced) = trace(&[&far, &near]);
    assert_eq!(code, Some(0), "{traced:#}");
    assert_eq!(ttls(&traced, "echo request"), [[64, 62]], "{traced:#}");
    assert_eq!(ttls(&traced, "echo reply"), [[64, 62]], "{traced:#}");
    let clock = &traced["clocks"][0];
    let (ns, uncertainty) = (clock["ns"].as_i64().unwrap(), clock["uncertainty_ns"].as_i64().unwrap());
    assert!((ns - 3_600_000_000_000).abs() <= uncertainty, "{clock}");
}

#[test]
fn both_sides_of_nat_and_a_rule_that_drops_a_port_behind_it() {
    let lab = two_hosts(true);
    let rules = "add table ip guard
         add chain ip guard forward { type filter hook forward priority -5; }
         add rule ip guard forward udp dport 99 drop";
    run(&lab, "docker42", &format!("nft -f - <<'END'\n{rules}\nEND"));
    let folder = tempfile::tempdir().unwrap();
    let [inside, outside, beyond] =
        ["1-inside.pcap", "2-outside.pcap", "3-c42.pcap"].map(|name| folder.path().join(name));
    let captures = [
        listen(&lab, "c41", &inside, &["-i", "eth0"]),
        listen(&lab, "docker42", &outside, &["-i", "eth0"]),
        listen(&lab, "c42", &beyond, &["-i", "eth0"]),
    ];
    // What all files have before and after shows that they were being written in between.
    traffic(&lab);
    let socket = lab.inside("c41", || std::net::UdpSocket::bind("0.0.0.0:5000")).unwrap().unwrap();
    for nth in 0..20 {
        let port = if nth % 4 == 0 { 99 } else { 98 };
        socket.send_to(format!("packet {nth}").as_bytes(), (C42, port)).unwrap();
    }
    run(&lab, "c41", LAST);
    for capture in captures {
        capture.finish(|file| lasts(file) >= 2);
    }
    set_clock(&outside, 86_400);
    let (code, traced) = trace(&[&inside, &outside, &beyond]);
    assert_eq!(code, Some(1), "{traced:#}");
    let udp =
        traced["conversations"].as_array().unwrap().iter().find(|told| told["protocol"] == "UDP").unwrap();
    assert_eq!(
        (&udp["packets"], &udp["arrived"], &udp["lost"]),
        (&20.into(), &15.into(), &5.into()),
        "{udp:#}"
    );
    assert_eq!(udp["becomes"]["source"], "192.168.199.41");
    let loss = &traced["losses"][0];
    assert_eq!(
        (&loss["after"]["file"], &loss["before"]["file"]),
        (&"2-outside.pcap".into(), &"3-c42.pcap".into())
    );
    assert!(loss["in_common"].as_str().unwrap().contains("UDP port 99"), "{loss:#}");
    assert_eq!(ttls(&traced, "echo request"), [[64, 63, 62]], "{traced:#}");
}

#[test]
fn a_file_that_was_cut_gives_what_was_readable_and_the_place() {
    let lab = two_hosts(false);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("any.pcap");
    let tcpdump = listen(&lab, "docker41", &file, &["-i", "any"]);
    run(&lab, "c41", LAST);
    tcpdump.finish(|file| lasts(file) >= 6);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    let (code, traced) = trace(&[&file]);
    assert_eq!(code, Some(1));
    assert_eq!(traced["totals"]["passages"], 5);
    assert!(
        traced["errors"][0]["error"][1].as_str().unwrap().starts_with("cut short at byte "),
        "{traced:#}"
    );
    let out = attempt(&lab, "c41", &format!("{BYWAY} trace -r {0} -r {0}", file.display()));
    assert!(String::from_utf8_lossy(&out.stderr).contains("is given twice"));
}

/// Sets the clock of a pcap forward, as if its machine's had been wrong.
fn set_clock(file: &Path, seconds: u32) {
    let mut bytes = Vec::new();
    std::fs::File::open(file).unwrap().read_to_end(&mut bytes).unwrap();
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let mut at = 24;
    while at < bytes.len() {
        let later = word(&bytes, at) + seconds;
        bytes[at..at + 4].copy_from_slice(&later.to_le_bytes());
        at += 16 + word(&bytes, at + 8) as usize;
    }
    std::fs::write(file, bytes).unwrap();
}
