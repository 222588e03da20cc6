//! The demo is a promise; here it is kept: as it is told, and without root.

#![allow(clippy::expect_used, reason = "a test may panic")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const BYWAY: &str = env!("CARGO_BIN_EXE_byway");
/// A user without a home, a name or a right.
const NOBODY: u32 = 65_534;

fn demo(program: &Path, arguments: &[&str], uid: Option<u32>) -> Output {
    let mut command = Command::new(program);
    command.args(["lab", "demo"]).args(arguments);
    if let Some(uid) = uid {
        command.uid(uid).gid(uid).current_dir("/");
    }
    command.output().expect("the demo can be run")
}

/// Nobody, where this namespace has such a user; without root we are nobody ourselves.
fn nobody() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("a process has a map of its users");
    let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    (counts.sum::<u64>() > u64::from(NOBODY)).then_some(NOBODY)
}

fn succeeded(output: &Output) {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_story_is_true_in_every_number() {
    let output = demo(BYWAY.as_ref(), &["--json"], None);
    succeeded(&output);
    let story: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(story["answered_before"], false);
    assert_eq!(story["source_seen"], "172.41.0.2");
    let journeys = story["journeys"].as_array().expect("journeys");
    assert_eq!(journeys.len(), 4, "there and back, IPv4 and IPv6");
    for journey in journeys {
        let hops = journey["hops"].as_array().expect("hops");
        let ttls: Vec<u64> = hops.iter().filter_map(|hop| hop["seen"]["ttl"].as_u64()).collect();
        assert_eq!(ttls, [64, 64, 64, 63, 63, 62, 62, 62], "{journey:#}");
    }
    assert_eq!(story["repair_ms"].as_array().map(Vec::len), Some(21));
    assert_eq!(story["left_on_hosts"], Value::Array(vec![]));
    assert_eq!(story["left_on_machine"], Value::Array(vec![]));
}

#[test]
fn the_story_is_told_in_its_order_to_anybody() {
    // Nobody may not be able to read the folders above the program: it gets a copy of its own.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("our folder");
    let program = folder.path().join("byway");
    std::fs::copy(BYWAY, &program).expect("a copy");
    let output = demo(&program, &[], nobody());
    succeeded(&output);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let scenes = [
        "1  Two hosts, a container on each",
        "2  Before: the ping that fails",
        "no answer",
        "3  What each agent is going to do, and why",
        "put route 172.42.0.0/16 via 192.168.199.42 dev eth0 src 172.41.0.1",
        "because host docker42 holds it",
        "4  After: the ping that works",
        "ttl=62",
        "arrived at eth0 in c42 on docker42 with ttl 62 from 172.41.0.2",
        "The far container sees 172.41.0.2",
        "5  A colleague deletes the route",
        "ms after its deletion",
        "6  Everything goes",
        "this machine: ",
        "as before",
        "All of it is so on this machine",
    ];
    let mut rest = text.as_str();
    for scene in scenes {
        let at =
            rest.find(scene).unwrap_or_else(|| panic!("`{scene}` is missing or out of order in\n{text}"));
        rest = &rest[at..];
    }
}
