//! Real Docker engines in a lab: they come up, do what Docker does, and leave nothing. `cargo xtask engines` makes
//! them; without them these tests fail and say so.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use byway_lab::{
    Engine, EngineState, Engines, Holder, Iptables, Lab, NodeStatus, Options, Release, Signal, Spread,
    Topology,
};
use common::{STAND_IN, output, reaches};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// How long a process may take to end that has nothing to do but to end, ms.
const END_MS: u16 = 10_000;

fn release(text: &str) -> Release {
    text.parse().unwrap()
}

fn topology(releases: &[&str]) -> Topology {
    let releases: Vec<Release> = releases.iter().copied().map(release).collect();
    Spread { hosts: 2, containers: 1, segments: 1 }.topology().with_engines(&releases)
}

fn options() -> Options {
    Options::private(STAND_IN.as_ref()).without_agents()
}

fn up(topology: &Topology) -> Lab {
    Lab::up(topology, &options(), |_| {}).unwrap_or_else(|error| panic!("{error:#}"))
}

fn status(lab: &Lab, node: &str) -> NodeStatus {
    lab.status().unwrap().nodes.into_iter().find(|one| one.name == node).unwrap()
}

fn docker(lab: &Lab, host: &str, arguments: &[&str]) -> String {
    let command: Vec<&str> = ["docker"].iter().chain(arguments).copied().collect();
    output(lab, host, &command).trim().to_owned()
}

/// Two engines, a container on each: versions, programs, addresses, and who reaches whom.
fn check_pair(releases: &[&str], versions: [&str; 2]) {
    let lab = up(&topology(releases));
    for (host, container, gateway, own, version) in [
        ("docker41", "c41", "172.41.0.1", "192.168.199.41", versions[0]),
        ("docker42", "c42", "172.42.0.1", "192.168.199.42", versions[1]),
    ] {
        let engine = status(&lab, host).engine.unwrap();
        assert!(engine.version.clone().unwrap().starts_with(version), "{host}: {engine:?}");
        assert_eq!(engine.state, EngineState::Ready);
        for side in ["Client", "Server"] {
            let told = docker(&lab, host, &["version", "--format", &format!("{{{{.{side}.Version}}}}")]);
            assert!(told.starts_with(version), "{host}: {side} {told}");
        }
        assert_eq!(docker(&lab, host, &["ps", "--format", "{{.Names}}"]), container);
        let addresses = status(&lab, container).addresses;
        assert_eq!(addresses.len(), 2, "one of each family: {addresses:?}");
        let gateway_v6 = gateway.replace("172.", "fd00:172:").replace(".0.1", "::1");
        for to in [gateway, own, &gateway_v6] {
            assert!(reaches(&lab, container, to), "{container} reaches {to}");
            docker(&lab, host, &["run", "--rm", "busybox", "ping", "-c1", "-W5", to]);
        }
        for address in addresses {
            assert!(reaches(&lab, host, &address.addr().to_string()), "{host} reaches {address}");
        }
        assert_eq!(output(&lab, container, &["hostname"]).trim(), container);
    }
    assert!(reaches(&lab, "docker41", "192.168.199.42"));
    assert!(!reaches(&lab, "docker41", "172.42.0.2"), "no agent, no route");
}

#[test]
fn two_engines_of_20_10_run_containers() {
    check_pair(&["20.10"], ["20.10.", "20.10."]);
}

#[test]
fn two_engines_of_28_5_run_containers() {
    check_pair(&["28.5"], ["28.5.", "28.5."]);
}

#[test]
fn a_mixed_pair_runs_containers() {
    check_pair(&["20.10", "28.5"], ["20.10.", "28.5."]);
}

#[test]
fn an_engine_is_ended_and_started_again_with_its_data() {
    let lab = up(&topology(&["20.10"]));
    let first = lab.engine_pid("docker41").unwrap();
    lab.stop_engine("docker41").unwrap();
    let state = |lab: &Lab| status(lab, "docker41").engine.unwrap().state;
    assert_eq!(state(&lab), EngineState::Gone("exited with status 0".into()));
    assert!(lab.engine_pid("docker41").unwrap_err().to_string().contains("docker41"));
    lab.start_engine("docker41").unwrap();
    assert_ne!(lab.engine_pid("docker41").unwrap(), first);
    assert_eq!(docker(&lab, "docker41", &["start", "c41"]), "c41");
    lab.kill_engine("docker41").unwrap();
    assert_eq!(state(&lab), EngineState::Gone("ended by SIGKILL".into()));
    assert!(reaches(&lab, "c41", "172.41.0.1"), "the container goes on, and is found without its engine");
    lab.start_engine("docker41").unwrap();
    assert!(status(&lab, "c41").name == "c41");
}

#[test]
fn an_engine_is_upgraded_on_the_same_data() {
    let lab = up(&topology(&["20.10"]));
    docker(&lab, "docker41", &["volume", "create", "kept"]);
    lab.stop_engine("docker41").unwrap();
    lab.start_engine_as("docker41", &release("28.5").into()).unwrap();
    assert!(docker(&lab, "docker41", &["version", "--format", "{{.Server.Version}}"]).starts_with("28.5."));
    assert_eq!(docker(&lab, "docker41", &["volume", "ls", "--quiet"]), "kept");
    assert_eq!(docker(&lab, "docker41", &["start", "c41"]), "c41");
    assert!(reaches(&lab, "c41", "172.41.0.1"));
}

#[test]
fn with_live_restore_a_container_outlives_a_restart_of_its_engine() {
    for version in ["20.10", "28.5"] {
        let lab = up(&topology(&[version]));
        let told = "echo '{\"bip\": \"172.41.0.1/16\", \"live-restore\": true}' > /etc/docker/daemon.json";
        output(&lab, "docker41", &["sh", "-c", told]);
        let engine = Engine { arguments: vec!["--debug".into()], ..release(version).into() };
        lab.stop_engine("docker41").unwrap();
        lab.start_engine_as("docker41", &engine).unwrap();
        docker(&lab, "docker41", &["start", "c41"]);
        let process =
            || docker(&lab, "docker41", &["inspect", "--format", "{{.State.Pid}} {{.State.Running}}", "c41"]);
        let before = process();
        lab.stop_engine("docker41").unwrap();
        assert!(reaches(&lab, "c41", "172.41.0.1"), "{version}: it runs without its engine");
        lab.start_engine("docker41").unwrap();
        assert_eq!(process(), before, "{version}");
        assert!(before.ends_with(" true"), "{version}: {before}");
        docker(&lab, "docker41", &["exec", "c41", "ping", "-c1", "-W5", "172.41.0.1"]);
    }
}

#[test]
fn a_host_has_its_engines_own_tools_and_sees_what_the_engine_does() {
    let lab = up(&topology(&["20.10", "28.5"]));
    for (host, iptables) in [("docker41", "1.8.9"), ("docker42", "1.8.1")] {
        assert!(output(&lab, host, &["iptables", "--version"]).contains(iptables), "{host}");
        assert!(output(&lab, host, &["iptables-save"]).contains("-A FORWARD -j DOCKER-USER"), "{host}");
        assert!(output(&lab, host, &["nft", "list", "ruleset"]).contains("chain DOCKER-USER"), "{host}");
        assert!(output(&lab, host, &["ls", "/run/docker/netns"]).lines().count() > 0, "{host}");
        assert_eq!(output(&lab, host, &["readlink", "-f", "/var/run/docker.sock"]), "/run/docker.sock\n");
        docker(&lab, host, &["compose", "version"]);
    }
    docker(
        &lab,
        "docker42",
        &["run", "--detach", "--name", "web", "--hostname", "web", "busybox", "httpd", "-f"],
    );
    assert_eq!(output(&lab, "docker42/web", &["hostname"]), "web\n");
    assert_eq!(status(&lab, "docker42/web").addresses.len(), 2);
}

#[test]
fn a_host_may_have_the_older_iptables() {
    let mut topology = topology(&["28.5"]);
    topology.hosts[0].engine.as_mut().unwrap().iptables = Iptables::Legacy;
    let lab = up(&topology);
    let rules = |host: &str, which: &str| output(&lab, host, &[&format!("iptables-{which}-save")]);
    assert!(
        rules("docker41", "legacy").contains("DOCKER-USER")
            && !rules("docker41", "nft").contains("DOCKER-USER")
    );
    assert!(
        !rules("docker42", "legacy").contains("DOCKER-USER")
            && rules("docker42", "nft").contains("DOCKER-USER")
    );
    assert!(output(&lab, "docker41", &["iptables-save"]).contains("DOCKER-USER"));
}

#[test]
fn an_engine_that_fails_tells_its_last_words_and_leaves_nothing() {
    let before = machine();
    let mut topology = topology(&["28.5"]);
    topology.hosts[1].engine.as_mut().unwrap().arguments = vec!["--bip=10.0.0.1/8".into()];
    let options = options();
    let error = format!("{:#}", Lab::up(&topology, &options, |_| {}).unwrap_err());
    assert!(error.starts_with("docker42: dockerd is not ready; its last words:"), "{error}");
    assert!(error.contains("specified both as a flag and in the configuration file: bip"), "{error}");
    assert!(Holder::find(&options.name).is_err());
    assert_eq!(machine(), before);
}

#[test]
fn a_release_that_is_not_here_is_named_with_what_makes_it() {
    let error = Lab::up(&topology(&["99.9"]), &options(), |_| {}).unwrap_err().to_string();
    assert!(error.contains("Docker 99.9 is not in ") && error.contains("cargo xtask engines"), "{error}");
    assert!(Engines::of_this_user().unwrap().image("busybox").is_ok());
}

#[test]
fn without_root_an_engine_is_refused_in_words() {
    let program = "unshare --user --map-root-user \"$0\" make engines";
    let out = Command::new("sh").args(["-c", program, STAND_IN]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("real Docker engines need the machine's root"), "{told}");
}

#[test]
fn down_takes_engines_containers_and_groups_with_it() {
    let before = machine();
    let lab = up(&topology(&["20.10", "28.5"]));
    let (name, namespace, keeper) = (lab.name().to_owned(), pid_namespace(&lab), keeper(&lab));
    let alive = inhabitants(&name, &namespace).join(" ");
    for program in ["dockerd dockerd", "containerd containerd", "containerd-shim", "sleep sleep"] {
        assert!(alive.contains(program), "{alive}");
    }
    assert_ne!(machine(), before, "control groups have names on the machine");
    lab.down().unwrap();
    assert_eq!(inhabitants(&name, &namespace), [""; 0]);
    assert_eq!(machine(), before);
    await_end(&keeper);
}

#[test]
fn kill_9_of_the_holder_takes_engines_containers_and_groups_with_it() {
    let before = machine();
    let holder = up(&topology(&["20.10", "28.5"])).detach().unwrap();
    let (namespace, keeper) = (pid_namespace(&holder), keeper(&holder));
    kill(Pid::from_raw(holder.pid()), Signal::SIGKILL).unwrap();
    // Nobody but the keeper is left to tidy up.
    await_end(&keeper);
    assert_eq!(inhabitants(holder.name(), &namespace), [""; 0]);
    assert_eq!(machine(), before);
}

#[test]
fn what_a_killed_keeper_leaves_is_removed_by_the_next_lab() {
    let before = machine();
    let holder = up(&topology(&["28.5"])).detach().unwrap();
    let keeper = keeper(&holder);
    for process in [keeper.as_fd(), holder.as_fd()] {
        // SAFETY: takes numbers only.
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, 0_usize, 0)
        };
        assert_eq!(sent, 0);
        await_end(process);
    }
    assert_ne!(machine(), before);
    up(&topology(&["28.5"])).down().unwrap();
    assert_eq!(machine(), before);
}

/// The control groups of labs, in every tree.
fn groups() -> BTreeSet<String> {
    let out =
        Command::new("find").args(["/sys/fs/cgroup", "-name", "byway-lab-*", "-prune"]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What has names on the machine: mounts, links, network namespaces, control groups of this test's labs.
fn machine() -> BTreeSet<String> {
    let ours = format!("byway-lab-{}-", std::process::id());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let links =
        fs::read_dir("/sys/class/net").unwrap().map(|link| link.unwrap().path().display().to_string());
    let groups = groups().into_iter().filter(|path| path.contains(&ours));
    mounts.lines().map(str::to_owned).chain(links).chain(groups).collect()
}

/// All processes of a lab and of its containers: in its PID namespace, or in its control groups.
fn inhabitants(lab: &str, namespace: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok).map(|entry| entry.path()) {
        let group = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let is_in_namespace = fs::read_link(process.join("ns/pid")).is_ok_and(|link| link == namespace);
        // One that has ended and was not waited for yet has no command line any more.
        let has_ended = fs::read(process.join("cmdline")).unwrap_or_default().is_empty();
        let is_of_lab = is_in_namespace || group.contains(&format!("/byway-lab-{lab}/"));
        if is_of_lab && !has_ended {
            found.push(fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned());
        }
    }
    found.sort();
    found
}

fn pid_namespace(holder: &Holder) -> PathBuf {
    fs::read_link(format!("/proc/{}/ns/pid", holder.pid())).unwrap()
}

/// The process that waits for the holder's end: the other one that has the lab's name in its command line.
fn keeper(holder: &Holder) -> OwnedFd {
    let has_name = |process: &i32| {
        let command = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        command.split('\0').any(|word| word == holder.name()) && *process != holder.pid()
    };
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let found: Vec<i32> = processes.filter(has_name).collect();
    let [keeper] = found[..] else { panic!("one keeper: {found:?}") };
    // SAFETY: takes numbers only, and the file is nobody else's.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(libc::syscall(libc::SYS_pidfd_open, keeper, 0)).unwrap()) }
}

fn await_end(process: impl AsFd) {
    let mut polled = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    assert_eq!(
        poll(&mut polled, PollTimeout::from(END_MS)).unwrap(),
        1,
        "it has not ended after {END_MS} ms"
    );
}
