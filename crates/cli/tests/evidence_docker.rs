//! Docker's own rules on a real engine are named with Docker as their owner, in the words of iptables.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use byway_agent::edge::rule_trace::RuleTrace;
use byway_fabric::evidence::{Flow, Owner, TracedPacket};
use byway_fabric::journey::End;
use byway_lab::{Lab, Options};
use common::engines::{addresses, answers, let_an_outsider_in, topology};
use common::{BYWAY, run};
use nix::sched::{CloneFlags, setns, unshare};

/// What an agent of this host would see: its network, and its own programs.
fn as_on<T: Send>(lab: &Lab, host: &str, work: impl FnOnce() -> T + Send) -> T {
    // A command that has joined the host shows its mounts, as long as it runs.
    let mut command = lab.command(host, "sh");
    command.args(["-c", "echo joined; read end"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut joined = command.spawn().unwrap();
    let mut said = [0; 7];
    joined.stdout.take().unwrap().read_exact(&mut said).unwrap();
    let mounts = File::open(format!("/proc/{}/ns/mnt", joined.id())).unwrap();
    drop(joined.stdin.take());
    joined.wait().unwrap();
    let done = lab.inside(host, || {
        unshare(CloneFlags::CLONE_FS).unwrap();
        setns(&mounts, CloneFlags::CLONE_NEWNS).unwrap();
        work()
    });
    done.unwrap()
}

#[test]
fn the_raw_drop_of_docker_28_is_named_as_dockers_in_the_words_of_iptables() {
    let options = Options::private(BYWAY.as_ref()).without_agents();
    let lab = Lab::up(&topology(["28.5", "28.5"]), &options, |_| {}).unwrap();
    let_an_outsider_in(&lab);
    let to = addresses(&lab, "docker41/c41")[0];
    let flow = Flow { protocol: 1, ends: vec![End { address: to, port: None }] };
    let before = run(&lab, "docker41", "nft list tables");
    let trace = as_on(&lab, "docker41", || RuleTrace::open(&flow)).unwrap();
    assert!(!answers(&lab, "switch", &to.to_string()), "Docker keeps outsiders out");
    let finish = || {
        let tools = format!("/run/engine/bin:{}", std::env::var("PATH").unwrap());
        // SAFETY: nextest gives each test a process of its own, and no other thread reads the environment here.
        unsafe { std::env::set_var("PATH", tools) };
        trace.finish()
    };
    let (packets, _) = as_on(&lab, "docker41", finish).unwrap();
    let drops: Vec<_> = packets.iter().filter_map(TracedPacket::end).collect();
    let end = drops.first().unwrap_or_else(|| panic!("{packets:#?}"));
    assert_eq!(
        (end.table.as_str(), end.chain.as_str(), end.owner),
        ("raw", "PREROUTING", Owner::Docker),
        "{end:?}"
    );
    assert_eq!(end.rule.as_deref(), Some(format!("-A PREROUTING -d {to}/32 ! -i docker0 -j DROP").as_str()));
    assert_eq!(run(&lab, "docker41", "nft list tables"), before);
}
