//! By whose hand a packet ended, on the real kernel: rules are named with table, chain, text and owner, drops with the
//! kernel's reason, ways with the route or its absence.
//!
//! docker41 and docker42 pass packets on between their containers; what stands in the way is put there by each story.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a kernel that refuses here is a failed test")]

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use byway_agent::edge::rule_trace::{RuleTrace, Tie};
use byway_fabric::evidence::{Flow, Owner, TracedPacket, Verdict};
use byway_fabric::journey::End;
use byway_lab::{Lab, Topology};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::common::{PATIENCE, attempt, quiet_lab, run};

mod common;

const C41: &str = "172.41.0.2";
const C42: &str = "172.42.0.2";
const C42_V6: &str = "fd00:172:42::2";

/// Two hosts that pass packets on, without agents.
fn two_hosts() -> Lab {
    let lab = quiet_lab(&Topology::two_hosts());
    for (host, other) in [("docker41", 42), ("docker42", 41)] {
        let script = format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             ip route replace 172.{other}.0.0/16 via 192.168.199.{other}
             ip -6 route replace fd00:172:{other}::/64 via fd00:199::{other}"
        );
        run(&lab, host, &script);
    }
    // From here on links are up and neighbours known.
    for to in [C42, C42_V6] {
        let said = run(&lab, "c41", &format!("ping -n -c1 -i0.2 -w20 {to}"));
        assert!(said.contains("1 received"), "{said}");
    }
    lab
}

fn flow(protocol: u8, ends: &[&str]) -> Flow {
    let end = |text: &&str| match text.parse::<std::net::SocketAddr>() {
        Ok(end) => End { address: end.ip(), port: Some(end.port()) },
        Err(_) => End { address: text.parse::<IpAddr>().unwrap(), port: None },
    };
    Flow { protocol, ends: ends.iter().map(end).collect() }
}

/// Pings once, whatever comes of it.
fn ping(lab: &Lab, from: &str, to: &str) {
    attempt(lab, from, &format!("ping -n -c1 -W0.2 {to} || true"));
}

/// Traces a flow on a host while something happens; what was traced, and whether all was heard.
fn trace(lab: &Lab, host: &str, flow: &Flow, happen: impl FnOnce()) -> Vec<TracedPacket> {
    let trace = lab.inside(host, || RuleTrace::open(flow)).unwrap().unwrap();
    assert_eq!(trace.tie(), Tie::Owned);
    happen();
    let (packets, lost) = lab.inside(host, || trace.finish()).unwrap().unwrap();
    assert_eq!(lost, byway_agent::edge::rule_trace::Lost::default());
    packets
}

/// The steps of the first packet that goes from one to another, as lines.
fn steps(packets: &[TracedPacket], from: &str, to: &str) -> Vec<String> {
    packet(packets, from, to).steps.iter().map(ToString::to_string).collect()
}

fn packet<'a>(packets: &'a [TracedPacket], from: &str, to: &str) -> &'a TracedPacket {
    let (from, to): (IpAddr, IpAddr) = (from.parse().unwrap(), to.parse().unwrap());
    let goes = |packet: &&TracedPacket| {
        packet.packet.as_ref().is_some_and(|it| it.source.address == from && it.destination.address == to)
    };
    packets.iter().find(goes).unwrap_or_else(|| panic!("{from} > {to}: {packets:#?}"))
}

#[test]
fn a_rule_that_drops_is_named_with_table_chain_text_and_owner() {
    let lab = two_hosts();
    run(
        &lab,
        "docker42",
        "nft 'table ip guard { chain ward { ip saddr 172.41.0.2 counter drop comment \"not you\"; }
           chain forward { type filter hook forward priority filter - 5; policy accept; jump ward; } }'
         nft 'table ip6 filter { chain FORWARD { type filter hook forward priority filter; policy drop; } }'
         nft 'table inet refuse { chain forward { type filter hook forward priority 5; policy accept;
           tcp dport 80 reject with tcp reset; } }'",
    );
    let packets = trace(&lab, "docker42", &flow(1, &[C41]), || ping(&lab, "c41", C42));
    let dropped = packet(&packets, C41, C42);
    assert_eq!(
        steps(&packets, C41, C42),
        [
            "table ip guard, chain forward: jump ward (an admin's): jump ward",
            "table ip guard, chain ward: ip saddr 172.41.0.2 counter drop comment \"not you\" (an admin's): drop",
        ]
    );
    let end = dropped.end().unwrap();
    assert!(end.handle.is_some() && end.hook.is_none());
    let jump = &dropped.steps[0];
    assert_eq!((jump.hook.as_deref(), jump.priority.as_deref()), (Some("forward"), Some("filter - 5")));
    assert_eq!((dropped.iif.as_deref(), dropped.oif.as_deref()), (Some("eth0"), Some("docker0")));
    assert_eq!(dropped.packet.as_ref().unwrap().ttl, 63);

    // A policy, of the other family.
    let packets = trace(&lab, "docker42", &flow(58, &[C42_V6]), || ping(&lab, "c41", C42_V6));
    let steps = steps(&packets, "fd00:172:41::2", C42_V6);
    assert_eq!(steps, ["table ip6 filter, chain FORWARD: policy (somebody's): policy drop"]);

    // A reject, which is a drop and an answer: the answer is of the flow too.
    let packets = trace(&lab, "docker42", &flow(6, &["172.42.0.2:80"]), || {
        let refused = lab.inside("c41", || run_connect((C42.parse::<IpAddr>().unwrap(), 80).into()));
        refused.unwrap().unwrap_err();
    });
    let dropped = packet(&packets, C41, C42);
    assert_eq!(dropped.end().unwrap().rule.as_deref(), Some("tcp dport 80 reject with tcp reset"));
    let answer = packet(&packets, C42, C41);
    assert!(answer.iif.is_none() && answer.end().is_none(), "{answer:?}");
}

fn run_connect(to: std::net::SocketAddr) -> std::io::Result<std::net::TcpStream> {
    std::net::TcpStream::connect_timeout(&to, PATIENCE)
}

#[test]
fn packets_of_the_flow_alone_are_traced_there_and_back_each_as_one() {
    let lab = two_hosts();
    run(
        &lab,
        "docker42",
        "nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; policy accept; ct state established counter; } }'",
    );
    let packets = trace(&lab, "docker42", &flow(1, &[C42]), || {
        run(&lab, "c41", &format!("ping -n -c3 -i0.01 {C42}"));
        run(&lab, "c41", "ping -n -c1 172.42.0.1");
    });
    let texts: Vec<&str> =
        packets.iter().map(|packet| packet.packet.as_ref().unwrap().text.as_str()).collect();
    assert_eq!(texts.len(), 6, "{texts:#?}");
    for (nth, packet) in packets.iter().enumerate() {
        let icmp = packet.packet.as_ref().unwrap().icmp.unwrap();
        assert_eq!(icmp.sequence, Some(u16::try_from(nth / 2 + 1).unwrap()), "{texts:#?}");
        let verdicts: Vec<&Verdict> = packet.steps.iter().map(|step| &step.verdict).collect();
        let expected = [Verdict::Continue, Verdict::PolicyAccept];
        let from = if icmp.kind == 8 && nth == 0 { 1 } else { 0 };
        assert_eq!(verdicts, expected[from..].iter().collect::<Vec<_>>(), "{texts:#?}");
        assert!(packet.rewritten.is_none() || packet.steps.len() > 1);
    }
}

#[test]
fn an_icmp_error_about_the_flow_is_traced() {
    let lab = two_hosts();
    run(
        &lab,
        "docker41",
        "ip route replace unreachable 172.42.0.0/16
         nft 'table ip filter { chain OUTPUT { type filter hook output priority 0; policy drop; } }'",
    );
    let packets = trace(&lab, "docker41", &flow(17, &["172.42.0.2:53"]), || {
        lab.inside("c41", || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"who?", "172.42.0.2:53").unwrap();
        })
        .unwrap();
    });
    let error = packet(&packets, "172.41.0.1", C41);
    assert_eq!(error.packet.as_ref().unwrap().icmp.unwrap().kind, 3);
    assert_eq!(error.end().unwrap().verdict, Verdict::PolicyDrop);
    assert_eq!(error.end().unwrap().owner, Owner::Unknown);
}

#[test]
fn traces_leave_nothing_and_stand_beside_each_other_and_flushes() {
    let lab = two_hosts();
    let ruleset = || run(&lab, "docker42", "nft list ruleset");
    let before = ruleset();
    let flow = flow(1, &[C41, C42_V6]);
    let open = || lab.inside("docker42", || RuleTrace::open(&flow)).unwrap().unwrap();
    let (one, two) = (open(), open());
    assert_eq!((one.table(), two.table()), ("byway", "byway-2"));
    assert!(ruleset().contains("table ip6 byway-2"));
    // What others flush is not ours: tables with an owner stay.
    run(
        &lab,
        "docker42",
        "nft 'table ip t { chain c { type filter hook forward priority 0; drop; } }'; nft flush ruleset",
    );
    assert!(ruleset().contains("table ip byway "), "{}", ruleset());
    run(&lab, "c41", &format!("ping -n -c1 {C42}"));
    for trace in [one, two] {
        let (packets, _) = lab.inside("docker42", || trace.finish()).unwrap().unwrap();
        assert_eq!(packets.len(), 2, "{packets:#?}");
        assert!(packets.iter().all(|packet| packet.steps.is_empty()), "{packets:#?}");
    }
    assert_eq!(ruleset(), before);
    drop(open());
    assert_eq!(ruleset(), before);
}

#[test]
fn a_trace_that_is_killed_leaves_nothing() {
    let lab = two_hosts();
    let before = run(&lab, "docker42", "nft list ruleset");
    let flow = flow(1, &[C41]);
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let child = lab
        .inside("docker42", || {
            // SAFETY: the child only makes system calls and allocates, for which glibc keeps its locks across a fork.
            match unsafe { nix::unistd::fork() }.unwrap() {
                nix::unistd::ForkResult::Parent { child } => child,
                nix::unistd::ForkResult::Child => {
                    let trace = RuleTrace::open(&flow);
                    let _ = nix::unistd::write(&writer, &[u8::from(trace.is_ok())]);
                    loop {
                        nix::unistd::pause();
                    }
                }
            }
        })
        .unwrap();
    let mut ok = [0];
    nix::unistd::read(reader.as_fd(), &mut ok).unwrap();
    let during = run(&lab, "docker42", "nft list ruleset");
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
    nix::sys::wait::waitpid(child, None).unwrap();
    assert_eq!(ok, [1]);
    assert!(during.contains("table ip byway"), "{during}");
    until("the table is gone", || run(&lab, "docker42", "nft list ruleset") == before);
}

/// Waits for a state that nobody tells of.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}

/// Waits until something can be read.
#[expect(dead_code, reason = "for the drops")]
fn await_readable(fd: &impl AsFd) {
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let patience: Duration = PATIENCE;
    assert_eq!(
        poll(&mut polled, PollTimeout::try_from(patience).unwrap()).unwrap(),
        1,
        "nothing came in time"
    );
}
