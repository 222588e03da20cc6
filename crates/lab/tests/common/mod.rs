//! What the tests on the real kernel share.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "for tests only")]

use byway_lab::{Lab, Options, Topology};

/// The program that stands in for `byway`.
pub const STAND_IN: &str = env!("CARGO_BIN_EXE_byway-lab-stand-in");

/// A lab without agents.
pub fn bare(topology: &Topology) -> Lab {
    Lab::up(topology, &Options::private(STAND_IN.as_ref()).without_agents(), |_| {}).unwrap()
}

/// Whether one ping is answered within a second.
pub fn reaches(lab: &Lab, from: &str, to: &str) -> bool {
    lab.command(from, "ping").args(["-n", "-c1", "-W1", to]).output().unwrap().status.success()
}

/// What a command writes; it must succeed.
pub fn output(lab: &Lab, node: &str, command: &[&str]) -> String {
    let out = lab.command(node, command[0]).args(&command[1..]).output().unwrap();
    assert!(out.status.success(), "{node}: {command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}
