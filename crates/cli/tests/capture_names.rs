//! `byway capture -r` calls addresses by their names: by those that the file has, by those that the agent here knows,
//! and where none runs, by those of the inventory.

#![allow(clippy::unwrap_used, reason = "for tests only")]

#[path = "capture_shapes/blocks.rs"]
mod blocks;
mod common;

use blocks::{Blocks, PING, SECOND};
use byway_lab::Topology;
use common::{byway, quiet_lab, start, write};

const INVENTORY: &str = "/etc/byway/inventory.toml";
const TIME: u64 = SECOND * 1_000_000;

/// A ping from one host to the other, with nobody else's words; and once more behind a name for the first.
fn capture() -> Vec<u8> {
    let mut ping = PING;
    ping[26..30].copy_from_slice(&[192, 168, 199, 41]);
    ping[30..34].copy_from_slice(&[192, 168, 199, 42]);
    let mut file = Blocks::default();
    file.big_endian().interface(0, &[]).captured(0, TIME, &ping, &[]);
    file.named([192, 168, 199, 41], b"then-41\0also-41\0").named([192, 168, 199, 41], b"later\0");
    file.captured(0, TIME, &ping, &[]);
    file.bytes
}

/// From whom to whom the packets of a capture go, as it is told on the first host, and what is said aside.
fn ways(lab: &byway_lab::Lab, options: &[&str]) -> (Vec<String>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ping.pcapng");
    std::fs::write(&path, capture()).unwrap();
    let arguments = [&["capture", "-r", path.to_str().unwrap()], options].concat();
    let (status, out, aside) = byway(lab, "docker41", &arguments);
    assert_eq!(status, Some(0), "{out}{aside}");
    let way = |line: &str| {
        let (_, packet) = line.split_once(" - - ")?;
        Some(packet.split_once(" ICMP ")?.0.to_owned())
    };
    (out.lines().filter_map(way).collect(), aside)
}

#[test]
fn names_are_those_of_the_file_then_of_the_agent_then_of_the_inventory() {
    let lab = quiet_lab(&Topology::two_hosts());
    let told = [
        "docker41(192.168.199.41) > docker42(192.168.199.42)",
        "then-41(192.168.199.41) > docker42(192.168.199.42)",
    ];
    let (said, aside) = ways(&lab, &[]);
    assert_eq!((said, aside.as_str()), (told.map(str::to_owned).to_vec(), ""), "by the inventory");

    start(&lab, "docker41");
    let good = Topology::two_hosts().inventory().unwrap();
    write(&lab, "docker41", INVENTORY, &good.replace("docker42", "docker 42"));
    let (said, aside) = ways(&lab, &[]);
    assert_eq!((said, aside.as_str()), (told.map(str::to_owned).to_vec(), ""), "by the agent");

    let bare = ["192.168.199.41 > 192.168.199.42"; 2].map(str::to_owned).to_vec();
    assert_eq!(ways(&lab, &["-n"]), (bare, String::new()), "without names");

    // Somewhere else no agent is found.
    let (said, aside) = ways(&lab, &["--run-dir", "/run/nowhere"]);
    assert_eq!(said, ["192.168.199.41 > 192.168.199.42", "then-41(192.168.199.41) > 192.168.199.42"]);
    assert!(aside.starts_with("no names of hosts are known here: ") && aside.contains(INVENTORY), "{aside}");
}
