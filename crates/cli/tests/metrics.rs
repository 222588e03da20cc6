//! What Prometheus reads of an agent: on the local socket and over TCP, and what others can do to that.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use byway_api::Status;
use byway_lab::{Lab, Signal, Topology};
use common::{Ear, PATIENCE, agent, assert_reaching, byway, end, quiet_lab, run, start, status};

const AT: &str = "192.168.199.41:9172";
const ASK: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// Two hosts, whose docker41 lets its metrics be read at `at`.
fn lab(at: &str) -> Lab {
    let lab = quiet_lab(&Topology::two_hosts());
    run(&lab, "docker41", &format!("echo 'metrics = \"{at}\"' >> /etc/byway/byway.toml"));
    start(&lab, "docker42");
    start(&lab, "docker41");
    lab
}

/// Numbers by their names and labels.
type Page = BTreeMap<String, f64>;

/// The numbers of an answer, which must be one.
fn page(answer: &str) -> Page {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    let number = |line: &str| {
        let (name, number) = line.rsplit_once(' ')?;
        Some((name.to_owned(), number.parse().ok()?))
    };
    lines.map(|line| number(line).unwrap_or_else(|| panic!("{line} in {answer}"))).collect()
}

fn say(mut stream: impl Read + Write, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    // Whoever is hung up on while it still speaks gets a reset.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn connect(lab: &Lab, from: &str, at: &str) -> TcpStream {
    let at: SocketAddr = at.parse().unwrap();
    let stream = lab.inside(from, || TcpStream::connect_timeout(&at, PATIENCE)).unwrap().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// As Prometheus reads them over TCP, from another host.
fn over_tcp(lab: &Lab) -> Page {
    page(&say(connect(lab, "docker42", AT), ASK))
}

/// As they are read on the local socket. It is in docker41's own `/run`, which a process of that host shows.
fn on_the_socket(lab: &Lab) -> Page {
    let mut there =
        lab.command("docker41", "cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // Once it echoes, it has joined.
    there.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    there.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let stream = UnixStream::connect(format!("/proc/{}/root/run/byway/byway.sock", there.id()));
    drop(there.stdin.take());
    assert!(there.wait().unwrap().success());
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    page(&say(stream, ASK))
}

/// Waits until the status of docker41 says so.
fn until(lab: &Lab, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    Ear::open(lab, "docker41").until(what, || {
        let status = status(lab, "docker41");
        if is_so(&status) { Ok(status) } else { Err(format!("{:?}", status.problems)) }
    })
}

/// How much a number has grown.
fn growth(before: &Page, after: &Page, name: &str) -> f64 {
    after[name] - before[name]
}

#[test]
fn a_deleted_route_is_one_repair_of_a_route() {
    let lab = lab(AT);
    let ear = Ear::open(&lab, "docker41");
    ear.until_at_rest();
    let before = on_the_socket(&lab);
    run(&lab, "docker41", "ip route del 172.42.0.0/16");
    ear.until_blamed("deleted the route to 172.42.0.0/16");
    ear.until_at_rest();
    let after = on_the_socket(&lab);
    for (name, grown) in [
        ("byway_repairs_total{cause=\"route\"}", 1.0),
        ("byway_repairs_total{cause=\"table\"}", 0.0),
        ("byway_repairs_total{cause=\"start\"}", 0.0),
        ("byway_steps_applied_total{kind=\"route\"}", 1.0),
        ("byway_steps_failed_total{kind=\"route\"}", 0.0),
        ("byway_foreign_changes_total{kind=\"route\",by=\"process\"}", 1.0),
        ("byway_loop_failures_total", 0.0),
    ] {
        assert!((growth(&before, &after, name) - grown).abs() < 0.5, "{name}: {before:#?} {after:#?}");
    }
    for name in
        ["byway_looks_total", "byway_events_total{source=\"kernel\"}", "byway_loop_duration_seconds_count"]
    {
        assert!(growth(&before, &after, name) > 0.5, "{name}: {before:#?} {after:#?}");
    }
    for (name, number) in [
        ("byway_repairs_total{cause=\"start\"}", 1.0),
        ("byway_routes_expected{family=\"ipv4\"}", 1.0),
        ("byway_routes_present{family=\"ipv4\"}", 1.0),
        ("byway_routes_present{family=\"ipv6\"}", 1.0),
        ("byway_peers{state=\"routed\"}", 1.0),
        ("byway_steps_pending", 0.0),
        ("byway_conflicts", 0.0),
        ("byway_inventory_rejected", 0.0),
    ] {
        assert!((after[name] - number).abs() < 0.5, "{name}: {after:#?}");
    }
    // The sum is what the status tells.
    let repairs = after.iter().filter(|(name, _)| name.starts_with("byway_repairs_total"));
    let repairs: f64 = repairs.map(|(_, number)| number).sum();
    let told = u32::try_from(agent(&lab, "docker41").repairs).unwrap();
    assert!((repairs - f64::from(told)).abs() < 0.5, "{told}: {after:#?}");
}

#[test]
fn a_flushed_ruleset_is_a_repair_of_the_table_and_a_setting_one_of_a_setting() {
    let lab = lab(AT);
    let ear = Ear::open(&lab, "docker41");
    for (deed, cause, changed) in [
        ("nft flush ruleset", "table", "kind=\"table\",by=\"process\""),
        ("sysctl -qw net.ipv4.conf.eth0.forwarding=0", "setting", "kind=\"setting\",by=\"unknown\""),
    ] {
        ear.until_at_rest();
        let before = on_the_socket(&lab);
        run(&lab, "docker41", deed);
        let repairs = format!("byway_repairs_total{{cause=\"{cause}\"}}");
        let changes = format!("byway_foreign_changes_total{{{changed}}}");
        ear.until(&repairs, || {
            let after = on_the_socket(&lab);
            let both = [&repairs, &changes].map(|name| growth(&before, &after, name));
            if both.iter().all(|grown| *grown > 0.5) { Ok(()) } else { Err(format!("{both:?} {after:#?}")) }
        });
    }
    assert_reaching(&lab);
}

#[test]
fn the_socket_and_tcp_tell_the_same_and_reading_wakes_nobody() {
    let lab = lab(AT);
    let ear = Ear::open(&lab, "docker41");
    ear.until_at_rest();
    ear.until("nothing happens between three readings", || {
        let pages = [on_the_socket(&lab), over_tcp(&lab), on_the_socket(&lab)];
        if pages[0] == pages[1] && pages[1] == pages[2] { Ok(()) } else { Err(format!("{pages:#?}")) }
    });
    let before = over_tcp(&lab);
    for _ in 0..100 {
        over_tcp(&lab);
    }
    let asked = growth(&before, &over_tcp(&lab), "byway_events_total{source=\"command\"}");
    assert!(asked < 0.5, "nobody has asked the loop");
}

#[test]
fn a_conflict_and_an_inventory_with_mistakes_are_numbers() {
    let lab = lab(AT);
    run(&lab, "docker41", "ip route add 172.42.0.0/16 via 192.168.199.77 proto static");
    run(&lab, "docker41", "echo garbage >> /etc/byway/inventory.toml");
    until(&lab, "both are told", |status| !status.problems.is_empty() && status.inventory.rejected.is_some());
    let page = over_tcp(&lab);
    for name in [
        "byway_conflicts",
        "byway_problems{kind=\"conflict\"}",
        "byway_peers{state=\"conflict\"}",
        "byway_inventory_rejected",
    ] {
        assert!((page[name] - 1.0).abs() < 0.5, "{name}: {page:#?}");
    }
}

#[test]
fn nothing_but_metrics_is_served_over_tcp() {
    let lab = lab("[fd00:199::41]:9172");
    let at = "[fd00:199::41]:9172";
    for request in ["GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n", "POST /v1/down HTTP/1.1\r\nhost: x\r\n\r\n"]
    {
        let answer = say(connect(&lab, "docker42", at), request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    page(&say(connect(&lab, "docker42", at), ASK));
    assert_reaching(&lab);
}

#[test]
fn requests_without_end_and_without_sense_hold_nobody_up() {
    let lab = lab(AT);
    let ear = Ear::open(&lab, "docker41");
    let mut held = Vec::new();
    for nth in 0..200 {
        let mut stream = connect(&lab, "docker42", AT);
        let begin = [&b"GET /metrics HTTP/1.1\r\nx: "[..], &[0xff; 64], b"", &[b'x'; 9_000]][nth % 4];
        // One that has been refused already may have been hung up on.
        let _ = stream.write_all(begin);
        held.push(stream);
    }
    let page = over_tcp(&lab);
    assert!(page.keys().any(|name| name.contains("host=\"docker41\"")), "{page:#?}");
    run(&lab, "docker41", "ip route flush table main proto byway");
    ear.until_at_rest();
    assert_reaching(&lab);
    drop(held);
}

#[test]
fn a_port_that_is_taken_is_told_and_tried_again_and_the_agent_goes_on() {
    let lab = quiet_lab(&Topology::two_hosts());
    let at: SocketAddr = AT.parse().unwrap();
    let thief = lab.inside("docker41", || TcpListener::bind(at)).unwrap().unwrap();
    run(&lab, "docker41", &format!("echo 'metrics = \"{AT}\"' >> /etc/byway/byway.toml"));
    start(&lab, "docker41");
    start(&lab, "docker42");
    let told = until(&lab, "it is told", |status| !status.problems.is_empty());
    let problem = told.problems[0].to_string();
    assert!(
        problem.starts_with(&format!("metrics: nobody can read the metrics at {AT}: something else listens")),
        "{problem}"
    );
    assert!(on_the_socket(&lab)["byway_problems{kind=\"metrics\"}"] > 0.5);
    assert_eq!(told.pending, 0, "routes are kept meanwhile");
    assert_reaching(&lab);
    assert_eq!(byway(&lab, "docker41", &["status"]).0, Some(1), "somebody should look");
    drop(thief);
    until(&lab, "it listens", |status| status.problems.is_empty());
    over_tcp(&lab);
}

#[test]
fn an_address_that_comes_later_is_listened_at_then() {
    let lab = lab("192.168.199.99:9172");
    let told = until(&lab, "it is told", |status| !status.problems.is_empty());
    let problem = told.problems[0].to_string();
    assert!(problem.contains("at 192.168.199.99:9172: this host does not have that address"), "{problem}");
    run(&lab, "docker41", "ip address add 192.168.199.99/32 dev eth0");
    until(&lab, "it listens", |status| status.problems.is_empty());
    page(&say(connect(&lab, "docker42", "192.168.199.99:9172"), ASK));
    end(&lab, "docker41", Signal::SIGTERM);
}

#[test]
fn nobody_listens_where_nothing_is_set() {
    let lab = common::lab(&Topology::two_hosts());
    let listening = run(&lab, "docker41", "cat /proc/net/tcp /proc/net/tcp6");
    assert!(!listening.contains(&format!(":{:04X} ", 9172)), "{listening}");
    assert!(on_the_socket(&lab)["byway_looks_total"] > 0.5, "the socket tells always");
}
