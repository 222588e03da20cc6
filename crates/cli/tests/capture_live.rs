//! `byway capture -i` on the real kernel, in a lab: what it says, how it ends, and what it writes.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use byway_lab::{Lab, Options, Topology};
use common::{BYWAY, byway, ping, run, until_reaching};
use serde_json::Value;

fn lab() -> Lab {
    let lab = Lab::up(&Topology::two_hosts(), &Options::private(BYWAY.as_ref()), |_| {}).unwrap();
    until_reaching(&lab);
    lab
}

/// A capture that runs: its file begins, so it listens.
fn start(lab: &Lab, node: &str, arguments: &[&str]) -> Child {
    let mut command = lab.command(node, BYWAY);
    command.arg("capture").args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn an_interface_is_shown_until_sigint_and_then_the_summary() {
    let lab = lab();
    for end in [nix::sys::signal::Signal::SIGINT, nix::sys::signal::Signal::SIGTERM] {
        let mut child = start(&lab, "docker41", &["--json", "-i", "docker0", "-f", "icmp"]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It may not listen yet when the first of them pass.
        let mut pings = lab.command("c41", "ping");
        let mut pings =
            pings.args(["-n", "-q", "-i0.05", "172.42.0.2"]).stdout(Stdio::null()).spawn().unwrap();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        pings.kill().unwrap();
        pings.wait().unwrap();
        assert_eq!(first["interface"], "docker0");
        signal(&child, end);
        let rest: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        let summary = &rest.last().unwrap()["summary"];
        assert_eq!(summary["shown"], rest.len(), "{rest:?}");
        assert_eq!(summary["dropped"], 0);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn what_is_written_is_what_was_counted() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("live.pcapng");
    let file = file.to_str().unwrap();
    let child = start(
        &lab,
        "docker41",
        &["-i", "docker0", "-i", "eth0", "-f", "icmp", "-w", file, "--duration", "3s"],
    );
    let started = || std::fs::metadata(file).is_ok();
    while !started() {
        ping(&lab, "c41", "172.42.0.2").unwrap();
    }
    run(&lab, "c41", "ping -n -q -c20 -i0.01 172.42.0.2");
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.contains(" 0 lost in the capture"), "{said}");
    let (status, read, errors) = byway(&lab, "docker41", &["capture", "-r", file]);
    assert_eq!(status, Some(0), "{errors}");
    assert_eq!(read.lines().last().unwrap(), said.lines().last().unwrap());
    assert!(read.contains(" docker0 ") && read.contains(" eth0 "), "{read}");
}

#[test]
fn an_interface_that_is_not_there_is_told_with_those_that_are() {
    let lab = lab();
    let (status, _, errors) = byway(&lab, "docker41", &["capture", "-i", "eth7"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("there is no interface eth7 here"), "{errors}");
    assert!(errors.contains("these are there: ") && errors.contains("docker0"), "{errors}");
}

#[test]
fn a_count_and_a_duration_end_it() {
    let lab = lab();
    let mut child = start(&lab, "c41", &["-i", "lo", "--count", "2"]);
    while child.try_wait().unwrap().is_none() {
        ping(&lab, "c41", "127.0.0.1").unwrap();
    }
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.lines().last().unwrap().starts_with("2 packets, "), "{said}");
    let (status, said, _) = byway(&lab, "c41", &["capture", "-i", "lo", "--duration", "50ms"]);
    assert_eq!(
        (status, said.lines().last().unwrap().contains(" 0 lost in the capture")),
        (Some(0), true),
        "{said}"
    );
}
