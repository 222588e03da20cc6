//! However a lab ends, the machine is as it was before.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use byway_lab::{Lab, Options, Signal, Topology, Until};
use common::{STAND_IN, bare};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// The user that owns nothing, on Debian and elsewhere.
const NOBODY: u32 = 65534;

/// All that a lab could leave behind: processes with its namespaces, mounts, links, names of sockets.
fn traces(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let command = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if command.split('\0').any(|word| word == name) {
            found.push(format!("process {}", command.replace('\0', " ")));
        }
    }
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    found.extend(sockets.lines().filter(|line| line.ends_with(&format!("/{name}"))).map(str::to_owned));
    found
}

/// What the machine has apart from processes. Other labs have nothing of this in our namespaces either.
fn machine() -> BTreeSet<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let links =
        fs::read_dir("/sys/class/net").unwrap().map(|link| link.unwrap().path().display().to_string());
    // Fields 6 and 7 of an IPv6 route count its users.
    let uncounted = |line: String| {
        line.split_whitespace()
            .enumerate()
            .filter(|(nth, _)| !(6..8).contains(nth))
            .map(|(_, field)| field.to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let routes =
        read("/proc/net/route").into_iter().chain(read("/proc/net/ipv6_route").into_iter().map(uncounted));
    read("/proc/self/mountinfo").into_iter().chain(links).chain(routes).collect()
}

/// The namespaces that the processes of a lab live in are gone when no process is in them.
fn inhabited(namespaces: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        for kind in ["net", "mnt", "pid", "uts"] {
            let link = fs::read_link(process.path().join("ns").join(kind)).unwrap_or_default();
            found.extend(namespaces.iter().filter(|one| **one == link.to_string_lossy()).cloned());
        }
    }
    found
}

/// The namespaces of all nodes, as `/proc` writes them.
fn namespaces(lab: &Lab) -> Vec<String> {
    let nodes =
        lab.topology().unwrap().nodes().into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    let read =
        |node: &String| common::output(lab, node, &["readlink", "/proc/self/ns/net", "/proc/self/ns/mnt"]);
    nodes.iter().flat_map(|node| read(node).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn kill_9_of_the_holder_leaves_nothing() {
    let before = machine();
    let options = Options::private(STAND_IN.as_ref()).with_agent([STAND_IN, "agent", "ready"]);
    let lab = Lab::up(&Topology::two_hosts(), &options, |_| {}).unwrap();
    let mut sleeper = lab.command("c41", "sleep").arg("1000").spawn().unwrap();
    let namespaces = namespaces(&lab);
    assert_ne!(traces(&options.name), [""; 0]);
    kill(Pid::from_raw(lab.pid()), Signal::SIGKILL).unwrap();
    lab.await_end().unwrap();
    assert_eq!(sleeper.wait().unwrap().code(), Some(128 + 9), "what ran in a container is gone too");
    assert_eq!(inhabited(&namespaces), [""; 0]);
    assert_eq!(traces(&options.name), [""; 0]);
    assert_eq!(machine(), before);
}

#[test]
fn down_leaves_nothing() {
    let before = machine();
    let lab = bare(&Topology::two_hosts());
    let (name, namespaces) = (lab.name().to_owned(), namespaces(&lab));
    lab.down().unwrap();
    assert_eq!((traces(&name), inhabited(&namespaces)), (vec![], vec![]));
    assert_eq!(machine(), before);
}

#[test]
fn a_panic_leaves_nothing() {
    let name = std::thread::spawn(|| {
        let lab = bare(&Topology::two_hosts());
        std::panic::panic_any(lab.name().to_owned());
    });
    let name = *name.join().unwrap_err().downcast::<String>().unwrap();
    assert_eq!(traces(&name), [""; 0]);
}

#[test]
fn kill_9_of_whoever_made_the_lab_ends_it() {
    let mut maker = Command::new(STAND_IN).args(["make", "and-wait"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(maker.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    let holder = byway_lab::Holder::find(line.trim()).unwrap();
    maker.kill().unwrap();
    maker.wait().unwrap();
    holder.await_end().unwrap();
    assert_eq!(traces(holder.name()), [""; 0]);
}

#[test]
fn a_lab_that_was_let_go_stays_until_it_is_taken_down() {
    let holder = bare(&Topology::two_hosts()).detach().unwrap();
    assert_eq!(holder.status().unwrap().nodes.len(), 5);
    holder.down().unwrap();
    assert_eq!(traces(holder.name()), [""; 0]);
}

#[test]
fn a_lab_whose_agent_fails_tells_its_last_words_and_leaves_nothing() {
    let options = Options::private(STAND_IN.as_ref()).with_agent([STAND_IN, "agent", "fails"]);
    let error = Lab::up(&Topology::two_hosts(), &options, |_| {}).unwrap_err();
    let told = format!("{error:#}");
    assert!(told.contains("exited with status 1 before it was ready"), "{told}");
    assert!(told.contains("no agent of mine"), "{told}");
    assert_eq!(traces(&options.name), [""; 0]);
}

#[test]
fn an_agent_that_cannot_be_started_is_named() {
    let options = Options::private(STAND_IN.as_ref()).with_agent(["/nowhere/byway", "agent"]);
    let error = Lab::up(&Topology::two_hosts(), &options, |_| {}).unwrap_err();
    assert!(format!("{error:#}").contains("docker41: start /nowhere/byway"), "{error:#}");
}

#[test]
fn agents_are_heard_ended_and_started_again() {
    let options = Options::private(STAND_IN.as_ref()).with_agent([STAND_IN, "agent", "ready"]);
    let lab = Lab::up(&Topology::two_hosts(), &options, |_| {}).unwrap();
    let told = |lab: &Lab| {
        let status = lab.status().unwrap();
        let agents = status.nodes.iter().filter_map(|node| Some((node.name.clone(), node.agent.clone()?)));
        agents.map(|(name, agent)| format!("{name} {:?} {:?}", agent.state, agent.said)).collect::<Vec<_>>()
    };
    let ready = |host: &str| format!(r#"{host} Ready Some("host = \"{host}\" knows 2 hosts")"#);
    assert_eq!(told(&lab), [ready("docker41"), ready("docker42")]);
    let agent = lab.agent("docker42").unwrap();
    let command = fs::read_to_string(format!("/proc/{}/cmdline", agent.pid)).unwrap();
    assert_eq!(command, format!("{STAND_IN}\0agent\0ready\0"));
    lab.kill_agent("docker42", Signal::SIGKILL).unwrap();
    lab.await_agent("docker42", Until::Gone).unwrap();
    assert!(told(&lab)[1].starts_with(r#"docker42 Gone("ended by SIGKILL")"#), "{:?}", told(&lab));
    assert!(lab.agent_pid("docker42").is_err());
    lab.start_agent("docker42").unwrap();
    lab.await_agent("docker42", Until::Ready).unwrap();
    assert_eq!(told(&lab), [ready("docker41"), ready("docker42")]);
    assert!(lab.start_agent("docker42").unwrap_err().to_string().contains("runs already"));
}

#[test]
fn somebody_without_root_has_a_whole_lab_too() {
    // Nobody may not be able to read the folders above the program: it gets a copy of its own.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("byway");
    fs::copy(STAND_IN, &program).unwrap();
    let mut maker = Command::new(&program);
    // In a user namespace that knows no such user we are nobody ourselves.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let users: u64 =
        map.lines().map(|line| line.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap()).sum();
    if users > u64::from(NOBODY) {
        maker.uid(NOBODY).gid(NOBODY);
    }
    let mut maker = maker.args(["make", "and-look"]).current_dir("/").stdout(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    maker.stdout.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(maker.wait().unwrap().success(), "{told}");
    let lines: Vec<&str> = told.lines().collect();
    let expected = [
        "agents ready: 2",
        "docker41 reaches 192.168.199.42",
        "docker41 reaches fd00:199::42",
        "c41 reaches 172.41.0.1",
        "down",
    ];
    assert_eq!(lines[1..], expected);
    assert_eq!(traces(lines[0]), [""; 0]);
}

#[test]
fn where_no_lab_is_allowed_the_setting_that_forbids_it_is_named() {
    // The setting holds for one user namespace and those below, so the machine's own is not touched.
    let script =
        "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all $0 make and-look";
    let out = Command::new("unshare").args(["-Ur", "sh", "-c", script, STAND_IN]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success());
    assert!(
        told.contains("a lab needs root, or user namespaces for everyone: user.max_user_namespaces is 0"),
        "{told}"
    );
}
