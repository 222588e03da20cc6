//! `byway capture -i` on the real kernel, in a lab: what it says, how it ends, and what it writes.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

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
    let counted = format!("{}, 0 unreadable", said.lines().last().unwrap());
    assert_eq!(read.lines().last().unwrap(), counted, "who writes them does not read them");
    assert!(read.contains(" docker0 ") && read.contains(" eth0 "), "{read}");
}

#[test]
fn a_capture_takes_the_names_along_that_were_known_where_it_was_made() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    for (options, expected) in [
        (&[][..], " docker41(192.168.199.41) > docker42(192.168.199.42) "),
        (&["-n"], " 192.168.199.41 > 192.168.199.42 "),
        (&["--ring-size", "1MB"], " docker41(192.168.199.41) > docker42(192.168.199.42) "),
    ] {
        let file = folder.path().join("named.pcapng");
        let base = ["-i", "eth0", "-f", "icmp", "--count", "2", "-w", file.to_str().unwrap()];
        let mut child = start(&lab, "docker41", &[&base[..], options].concat());
        while child.try_wait().unwrap().is_none() {
            ping(&lab, "docker41", "192.168.199.42").unwrap();
        }
        let written = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        // Where nobody knows these hosts.
        let read = Command::new(BYWAY).args(["capture", "-r"]).arg(&written).output().unwrap();
        let read = String::from_utf8(read.stdout).unwrap();
        assert!(read.lines().next().unwrap().contains(expected), "{options:?}: {read}");
        std::fs::remove_file(written).unwrap();
    }
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

/// Sends pings from `from` to `to` until `enough`.
fn pinging<T>(lab: &Lab, from: &str, to: &str, enough: impl FnOnce() -> T) -> T {
    let mut pings = lab.command(from, "ping");
    let mut pings = pings.args(["-n", "-q", "-i0.02", to]).stdout(Stdio::null()).spawn().unwrap();
    let done = enough();
    pings.kill().unwrap();
    pings.wait().unwrap();
    done
}

/// Reads packets of a JSON capture while pings pass, until all of these interfaces were seen; then the summary.
fn until_seen(
    lab: &Lab,
    arguments: &[&str],
    is_wanted: impl Fn(&BTreeSet<String>) -> bool,
) -> BTreeSet<String> {
    let mut child = start(lab, "docker41", arguments);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = BTreeSet::new();
    pinging(lab, "c41", "172.42.0.2", || {
        while !is_wanted(&seen) {
            let packet: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            seen.insert(packet["interface"].as_str().unwrap().to_owned());
        }
    });
    signal(&child, nix::sys::signal::Signal::SIGINT);
    let last = lines.last().unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["summary"]["dropped"], 0, "{last}");
    assert!(child.wait().unwrap().success());
    seen
}

/// The host's end of the container's cable.
fn veth(lab: &Lab) -> String {
    let links: Value = serde_json::from_str(&run(lab, "docker41", "ip -j link show master docker0")).unwrap();
    links[0]["ifname"].as_str().unwrap().to_owned()
}

#[test]
fn a_container_is_its_own_interfaces_and_the_ends_of_its_cables() {
    let lab = lab();
    let expected = BTreeSet::from(["c41/eth0".to_owned(), veth(&lab)]);
    let seen = until_seen(&lab, &["--json", "-c", "c41", "-f", "icmp"], |seen| *seen == expected);
    assert_eq!(seen, expected);
    let (status, _, errors) = byway(&lab, "docker41", &["capture", "-c", "c99"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("there is no container c99 with a cable on this host"), "{errors}");
    assert!(errors.contains("these are there: ") && errors.contains("c41"), "{errors}");
}

#[test]
fn all_is_every_interface_that_the_cluster_passes() {
    let lab = lab();
    let expected = BTreeSet::from(["eth0".to_owned(), "docker0".to_owned(), veth(&lab)]);
    let seen = until_seen(&lab, &["--json", "--all", "-i", "eth0", "-f", "icmp"], |seen| *seen == expected);
    assert_eq!(seen, expected);
}

#[test]
fn containers_and_hosts_have_their_names() {
    let lab = lab();
    let first = |arguments: &[&str], from: &str, to: &str| {
        let mut child =
            start(&lab, "docker41", &[arguments, &["-f", "icmp[icmptype] == icmp-echo"]].concat());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = pinging(&lab, from, to, || lines.next().unwrap().unwrap());
        signal(&child, nix::sys::signal::Signal::SIGINT);
        assert!(lines.last().unwrap().unwrap().contains(" 0 lost in the capture"));
        assert!(child.wait().unwrap().success());
        line
    };
    let line = first(&["-i", "docker0"], "c41", "172.42.0.2");
    assert!(line.contains(" c41(172.41.0.2) > 172.42.0.2 "), "{line}");
    let line = first(&["-n", "-i", "docker0"], "c41", "172.42.0.2");
    assert!(line.contains(" 172.41.0.2 > 172.42.0.2 "), "{line}");
    // The hosts are those of the inventory; no agent is asked.
    let line = first(&["-i", "eth0", "--run-dir", "/nowhere"], "docker41", "192.168.199.42");
    assert!(line.contains(" docker41(") && line.contains(" > docker42("), "{line}");
}

#[test]
fn a_ring_of_files_keeps_the_newest_and_each_is_whole() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("db.pcapng");
    let arguments = [
        "-i",
        "docker0",
        "-f",
        "icmp",
        "-w",
        base.to_str().unwrap(),
        "--ring-files",
        "3",
        "--ring-size",
        "2kB",
    ];
    let child = start(&lab, "docker41", &[&arguments[..], &["--count", "100"]].concat());
    let out = pinging(&lab, "c41", "172.42.0.2", || child.wait_with_output().unwrap());
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && said.starts_with("100 packets, "), "{said}");
    let files: BTreeSet<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let number = |name: &str| name["db_".len().."db_00000".len()].parse::<u32>().unwrap();
    assert!(names.windows(2).all(|pair| number(pair[0]) + 1 == number(pair[1])), "{names:?}");
    for file in &files {
        assert!(file.metadata().unwrap().len() < 2_200, "{file:?}");
        let (status, read, errors) = byway(&lab, "docker41", &["capture", "-r", file.to_str().unwrap()]);
        assert_eq!((status, errors.as_str()), (Some(0), ""), "{read}");
        // Its own statistics are in it, so its losses are told.
        assert!(read.lines().last().unwrap().contains(" 0 lost in the capture"), "{read}");
    }
}

#[test]
fn a_ring_of_files_goes_on_by_time_and_begins_no_empty_file() {
    let lab = lab();
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("slow");
    let child =
        start(&lab, "docker41", &["-i", "docker0", "-w", base.to_str().unwrap(), "--ring-time", "250ms"]);
    let files = || std::fs::read_dir(&folder).unwrap().count();
    while files() < 3 {
        let _ = ping(&lab, "c41", "172.42.0.2");
    }
    signal(&child, nix::sys::signal::Signal::SIGTERM);
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    for file in std::fs::read_dir(&folder).unwrap() {
        let file = file.unwrap().path();
        let (status, read, _) = byway(&lab, "docker41", &["capture", "-r", file.to_str().unwrap()]);
        assert!(status == Some(0) && !read.starts_with("0 packets"), "{read}");
    }
}

#[test]
fn what_cannot_be_written_is_told_and_the_last_line_too() {
    let lab = lab();
    let child = start(&lab, "docker41", &["-i", "docker0", "-f", "icmp", "-w", "/dev/full", "--count", "5"]);
    let out = pinging(&lab, "c41", "172.42.0.2", || child.wait_with_output().unwrap());
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.to_lowercase().contains("no space"), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("0 packets, ") && last.ends_with(" more came and are not shown"), "{said}");
}

#[test]
fn a_capability_that_is_missing_is_named() {
    let lab = lab();
    for (without, arguments, named) in [
        ("-net_raw", ["-i", "eth0"], "CAP_NET_RAW"),
        ("-sys_admin", ["-c", "c41"], "CAP_SYS_ADMIN"),
        ("-net_admin", ["--all", "--duration=1s"], "CAP_NET_ADMIN"),
    ] {
        let mut command = lab.command("docker41", "setpriv");
        command.args(["--bounding-set", without, BYWAY, "capture"]).args(arguments).stdin(Stdio::null());
        let out = command.output().unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(!out.status.success() && said.contains(named), "{without}: {said}");
    }
}

#[test]
fn rings_of_files_need_to_know_when_one_is_done() {
    let lab = lab();
    for (arguments, said) in [
        (vec!["-w", "x.pcapng", "--ring-files", "2"], "nothing says when one is done"),
        (vec!["-w", "-", "--ring-size", "1MB"], "standard output is one file"),
        (vec!["-w", "x.pcapng", "--ring-size", "12"], "10MB"),
    ] {
        let (status, _, errors) =
            byway(&lab, "docker41", &[&["capture", "-i", "lo"], arguments.as_slice()].concat());
        assert!(status != Some(0) && errors.contains(said), "{errors}");
    }
}
