//! `byway trace … --mysql`: the statements that pass are told under each place where they were seen, by the hosts themselves.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;
#[path = "mysql/rig/stage.rs"]
#[allow(dead_code, unreachable_pub, reason = "it can do more than these stories need")]
mod stage;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use byway_lab::{Engines, Signal};
use common::{BYWAY, byway, run, start, until_reaching};
use serde_json::Value;
use stage::{CLIENTS, ODD_PORT, PORT, Road, SERVER_V4, Stage};

/// What a packet passes from the clients to the server.
const WAY: [(&str, &str); 8] = [
    ("docker41", "c41/eth0"),
    ("docker41", "vethc41"),
    ("docker41", "docker0"),
    ("docker41", "eth0"),
    ("docker42", "eth0"),
    ("docker42", "docker0"),
    ("docker42", "vethc42"),
    ("docker42", "c42/eth0"),
];
const SAID: &str = "select 'ann', 42 from dual";
const MASKED: &str = "select ?, ? from dual";

/// A server and clients, and an agent on each host.
fn raise() -> Stage {
    let stage = Stage::raise(Road::Plain);
    for (host, other) in [("docker41", 42), ("docker42", 41)] {
        // The agents put routes of their own in the place of those by hand.
        run(
            &stage.lab,
            host,
            &format!("ip route del 172.{other}.0.0/16; ip route del fd00:172:{other}::/64"),
        );
        start(&stage.lab, host);
    }
    until_reaching(&stage.lab);
    stage
}

/// Says something to the server.
fn say(stage: &Stage, from: &str, port: u16, options: &[&str], statement: &str) {
    let root = Engines::of_this_user().unwrap().mariadb().unwrap();
    let mut command = stage.lab.command(from, "chroot");
    command.arg(root).args(["mariadb", "--no-defaults", "--user=bare", "--batch", "--host", SERVER_V4]);
    command.arg(format!("--port={port}")).args(options).args(["--execute", statement]);
    let out = command.stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{statement}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A trace that listens to statements until it is told to end.
struct Trace(Child);

impl Trace {
    fn start(stage: &Stage, arguments: &[&str]) -> Self {
        let mut command = stage.lab.command("docker41", BYWAY);
        command.arg("trace").args(arguments).args(["--mysql", "--duration", "60"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening to statements") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "{arguments:?}: the trace has ended");
        }
        child.stderr = Some(said.into_inner());
        Self(child)
    }

    /// Ends it; what it has told.
    fn end(mut self) -> String {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        nix::sys::signal::kill(pid, Signal::SIGINT).unwrap();
        let mut told = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(self.0.wait().unwrap().success(), "{told}");
        told
    }

    fn end_json(self) -> Value {
        let told = self.end();
        serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"))
    }
}

/// The statements of the scene by the places where they were seen.
fn statements<'a>(told: &'a Value, host: &str, interface: &str) -> Vec<&'a Value> {
    let all = told["statements"].as_array().unwrap_or_else(|| panic!("{told:#}"));
    let is_here = |one: &&Value| one["host"] == host && one["interface"] == interface;
    all.iter()
        .filter(is_here)
        .filter(|one| one["statement"].as_str().unwrap().starts_with("select "))
        .collect()
}

#[test]
fn what_passes_anyhow_is_told_under_each_place_of_its_way_without_its_literals() {
    let stage = raise();
    let trace = Trace::start(&stage, &["--follow", "tcp port 3306", "--json"]);
    say(&stage, CLIENTS, PORT, &["--ssl=0", "--database=shop"], SAID);
    let told = trace.end_json();
    for (host, interface) in WAY {
        let said = statements(&told, host, interface);
        let [one] = said[..] else { panic!("{host} {interface}: once: {told:#}") };
        assert_eq!((&one["statement"], &one["masked"]), (&MASKED.into(), &true.into()), "{one:#}");
        assert_eq!((&one["user"], &one["database"]), (&"bare".into(), &"shop".into()), "{one:#}");
        assert_eq!((&one["answer"]["outcome"], &one["answer"]["rows"]), (&"ok".into(), &1.into()), "{one:#}");
        assert!(one["first_ns"].as_u64().unwrap() > 0 && one["doubts"].is_null(), "{one:#}");
    }
    // The nearer to the server, the less of the network is in it.
    let first = |at: usize| statements(&told, WAY[at].0, WAY[at].1)[0]["first_ns"].as_u64().unwrap();
    assert!(first(0) > first(3) && first(4) > first(7), "{told:#}");
    assert_eq!(told["gaps"], Value::Array(Vec::new()), "{told:#}");
    assert_eq!(told["totals"]["lost"], 0, "whole packets are read, and beginnings told: {told:#}");
}

#[test]
fn literals_are_told_to_who_asks_for_them() {
    let stage = raise();
    let trace = Trace::start(&stage, &["--follow", "tcp port 3306", "--unmasked"]);
    say(&stage, CLIENTS, PORT, &["--ssl=0"], SAID);
    let told = trace.end();
    let (_, told) = told.split_once("\nstatements\n").unwrap_or_else(|| panic!("{told}"));
    let mut lines = told.lines();
    for (host, interface) in WAY {
        assert_eq!(
            lines.next(),
            Some(format!("  {host}  {interface}").as_str()),
            "in the order of the way: {told}"
        );
        let here: Vec<&str> = lines.by_ref().take(1).collect();
        assert!(here[0].contains(" c41:") && here[0].contains(" → c42:3306 bare  "), "{told}");
        assert!(here[0].ends_with(&format!("  1 row  {SAID}")), "{told}");
        assert_eq!(lines.next().map(|line| line.ends_with("Quit")), Some(true), "{told}");
    }
    assert!(!told.contains("--unmasked"), "{told}");
}

#[test]
fn what_a_source_says_to_a_destination_is_told_under_the_hops_of_its_probe() {
    let stage = raise();
    for port in [PORT, ODD_PORT] {
        let to = format!("c42:{port}");
        let trace = Trace::start(&stage, &["c41", &to]);
        say(&stage, "docker41", port, &["--ssl=0"], "select count(*) from mysql.user");
        say(&stage, CLIENTS, port, &["--ssl=0"], SAID);
        let told = trace.end();
        let lines: Vec<&str> = told.lines().collect();
        let hops = lines.iter().position(|line| line.starts_with("  docker41  c41  eth0  ")).unwrap();
        let mut rest = lines[hops..].iter();
        for (host, interface) in WAY {
            let hop = rest.next().unwrap();
            let interface = interface.rsplit('/').next().unwrap();
            assert!(hop.starts_with(&format!("  {host}  ")) && hop.contains(interface), "{hop}\n{told}");
            let said = rest.next().unwrap();
            assert!(said.starts_with("      ") && said.contains(MASKED), "{said}\n{told}");
            assert!(rest.next().unwrap().ends_with("Quit"), "{told}");
        }
        assert!(!told.contains("mysql.user"), "what somebody else says to it: {told}");
        assert!(told.contains("arrived: c41") && told.contains("literals are shown as ?"), "{told}");
    }
    let (code, _, errors) = byway(&stage.lab, "docker41", &["trace", "c41", "c42", "--mysql"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("statements pass over TCP") && errors.contains("c42:3306"), "{errors}");
}

#[test]
fn what_is_encrypted_is_a_gap_that_is_told() {
    let stage = raise();
    let trace = Trace::start(&stage, &["--follow", "tcp port 3306", "--json"]);
    say(&stage, CLIENTS, PORT, &["--ssl", "--skip-ssl-verify-server-cert"], SAID);
    let told = trace.end_json();
    assert_eq!(statements(&told, "docker42", "eth0").len(), 0, "{told:#}");
    for host in ["docker41", "docker42"] {
        let gap = format!("on {host} a connection became encrypted, whose statements are not read");
        assert!(told["gaps"].as_array().unwrap().contains(&gap.clone().into()), "{gap}: {told:#}");
    }
}

#[test]
fn long_statements_are_read_whole_and_their_beginnings_told() {
    let stage = raise();
    let trace = Trace::start(&stage, &["--follow", "tcp port 3306", "--json", "--unmasked"]);
    let long = format!("select length('{}') as sentence", "long ".repeat(4000));
    say(&stage, CLIENTS, PORT, &["--ssl=0"], &long);
    let told = trace.end_json();
    for (host, interface) in WAY {
        let said = statements(&told, host, interface);
        let [one] = said[..] else { panic!("{host} {interface}: once: {told:#}") };
        let statement = one["statement"].as_str().unwrap();
        assert!(long.starts_with(statement) && statement.len() == 2048, "{one:#}");
        assert_eq!(one["beyond"], long.len() - 2048, "{one:#}");
        assert!(one["doubts"].is_null(), "{one:#}");
    }
}

#[test]
fn of_a_flood_so_many_are_told_and_the_others_counted() {
    /// What a place tells in one second.
    const PER_SECOND: usize = 200;
    const FLOOD: usize = 2000;
    let stage = raise();
    let trace = Trace::start(&stage, &["--follow", "tcp port 3306", "--json"]);
    say(&stage, CLIENTS, PORT, &["--ssl=0"], &"do 1;".repeat(FLOOD));
    let told = trace.end_json();
    let all = told["statements"].as_array().unwrap();
    for host in ["docker41", "docker42"] {
        let here = all.iter().filter(|one| one["host"] == host).count();
        assert!(here >= 4 * PER_SECOND, "{here} are told on {host}");
        let gaps = told["gaps"].as_array().unwrap().iter().map(|gap| gap.as_str().unwrap());
        let left_out = gaps.filter(|gap| gap.contains(&format!("statements on {host} are not told")));
        let left_out: usize =
            left_out.map(|gap| gap.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        // Four places; the last one says that it quits.
        assert_eq!(here + left_out, 4 * (FLOOD + 1), "{host}: none without a word: {:#}", told["gaps"]);
        assert!(left_out > 0, "{host}");
    }
}
