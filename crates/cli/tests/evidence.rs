//! By whose hand a packet ended, on the real kernel: rules are named with table, chain, text and owner, drops with the
//! kernel's reason, ways with the route or its absence.
//!
//! docker41 and docker42 pass packets on between their containers; what stands in the way is put there by each story.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a kernel that refuses here is a failed test")]

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use byway_agent::edge::drops::Drops;
use byway_agent::edge::fib::{self, Counted};
use byway_agent::edge::netlink::Netlink;
use byway_agent::edge::rule_trace::{RuleTrace, Tie};
use byway_fabric::evidence::{
    Flow, KernelDrop, NoRoute, Owner, RouteAnswer, RouteQuestion, TracedPacket, Verdict, Way,
};
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

/// Commands of nft, one to a line.
fn nft(lab: &Lab, host: &str, commands: &str) {
    run(lab, host, &format!("nft -f - <<'END'\n{commands}\nEND"));
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
    nft(
        &lab,
        "docker42",
        "add table ip guard
         add chain ip guard ward
         add rule ip guard ward ip saddr 172.41.0.2 counter drop comment \"not you\"
         add chain ip guard forward { type filter hook forward priority filter - 5; policy accept; }
         add rule ip guard forward jump ward
         add table ip6 filter
         add chain ip6 filter FORWARD { type filter hook forward priority filter; policy drop; }
         add table inet refuse
         add chain inet refuse forward { type filter hook forward priority 5; policy accept; }
         add rule inet refuse forward tcp dport 80 reject with tcp reset",
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

    run(&lab, "docker42", "nft delete table ip guard");
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
    nft(
        &lab,
        "docker42",
        "add table ip filter
         add chain ip filter FORWARD { type filter hook forward priority 0; policy accept; }
         add rule ip filter FORWARD counter",
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
        assert_eq!(verdicts, [&Verdict::Continue, &Verdict::PolicyAccept], "{packets:#?}");
        assert!(packet.rewritten.is_none() || packet.steps.len() > 1);
    }
}

#[test]
fn an_icmp_error_about_the_flow_is_traced() {
    let lab = two_hosts();
    run(&lab, "docker41", "ip route replace unreachable 172.42.0.0/16");
    let drop_all = "add table ip filter
         add chain ip filter OUTPUT { type filter hook output priority 0; policy drop; }";
    nft(&lab, "docker41", drop_all);
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
    let others = "add table ip t
         add chain ip t c { type filter hook forward priority 0; policy drop; }
         flush ruleset";
    nft(&lab, "docker42", others);
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

/// The network namespace of a node, by its inode.
fn namespace(lab: &Lab, node: &str) -> u32 {
    let read = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let text = lab.inside(node, read).unwrap().into_os_string().into_string().unwrap();
    text.trim_start_matches("net:[").trim_end_matches(']').parse().unwrap()
}

/// Hears of drops of a flow on all nodes while something happens, until one has come for that reason.
fn one_drop(lab: &Lab, node: &str, flow: &Flow, reason: &str, happen: impl FnOnce()) -> KernelDrop {
    let namespaces = ["c41", "docker41", "docker42", "c42"].map(|node| namespace(lab, node));
    let mut drops = Drops::open(flow, &namespaces).unwrap();
    happen();
    while drops.take() == 0 {
        await_readable(&drops);
    }
    let (mut found, lost) = drops.finish().unwrap();
    assert_eq!(lost, 0);
    found.retain(|drop| !drop.is_harmless());
    let drop = found.iter().find(|drop| drop.reason == reason);
    let drop = drop.unwrap_or_else(|| panic!("{reason}: {found:#?}")).clone();
    assert_eq!(drop.namespace, namespace(lab, node), "{found:#?}");
    assert!(drop.sentence().is_some() && drop.location.is_some(), "{drop:?}");
    drop
}

#[test]
fn what_the_kernel_lets_go_is_told_with_its_reason_and_its_place() {
    let lab = two_hosts();
    let pings = flow(1, &[C42]);
    let started = std::time::UNIX_EPOCH.elapsed().unwrap();
    nft(
        &lab,
        "docker42",
        "add table ip guard
         add chain ip guard forward { type filter hook forward priority 0; policy accept; }
         add rule ip guard forward ip saddr 172.41.0.2 drop",
    );
    let drop = one_drop(&lab, "docker42", &pings, "NETFILTER_DROP", || ping(&lab, "c41", C42));
    assert_eq!(drop.interface.as_deref(), Some("eth0"));
    let packet = drop.packet.unwrap();
    assert_eq!((packet.icmp.unwrap().kind, packet.ttl), (8, 62));
    let ended = std::time::UNIX_EPOCH.elapsed().unwrap();
    let when = Duration::from_nanos(drop.time_ns);
    // The two clocks are read one after the other.
    let slack = Duration::from_millis(1);
    assert!(started <= when + slack && when <= ended + slack, "{started:?} {when:?} {ended:?}");
    run(&lab, "docker42", "nft delete table ip guard");

    // The last router.
    one_drop(&lab, "docker42", &pings, "IP_INHDR", || {
        attempt(&lab, "c41", &format!("ping -n -c1 -W0.2 -t2 {C42} || true"));
    });

    // Nobody listens.
    one_drop(&lab, "c42", &flow(17, &["172.42.0.2:53"]), "NO_SOCKET", || {
        let ask =
            || std::net::UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"who?", "172.42.0.2:53").unwrap();
        lab.inside("c41", ask).unwrap();
    });

    // Nobody is there.
    let drop = one_drop(&lab, "docker42", &flow(1, &["172.42.0.99"]), "NEIGH_FAILED", || {
        attempt(&lab, "c41", "ping -n -c1 -W4 172.42.0.99 || true");
    });
    assert_eq!(drop.interface.as_deref(), Some("docker0"));
    let neighbour = lab.inside("docker42", || {
        fib::neighbour(&mut Netlink::open().unwrap(), "docker0", "172.42.0.99".parse().unwrap()).unwrap()
    });
    assert_eq!(neighbour.unwrap().map(|neighbour| neighbour.is_usable()), Some(false));
}

#[test]
fn a_route_that_drops_and_a_way_back_that_is_another_are_told_by_drops_and_by_questions() {
    let lab = two_hosts();
    let pings = flow(1, &[C42]);
    let came = || came_in(C41, C42);
    run(&lab, "docker42", "ip route replace blackhole 172.42.0.2/32");
    // Linux gives no reason here (6.18), but the place says it.
    let drop = one_drop(&lab, "docker42", &pings, "NOT_SPECIFIED", || ping(&lab, "c41", C42));
    assert!(drop.sentence().unwrap().contains("drops it"), "{drop:?}");
    assert_eq!(no_route(&lab, "docker42", &came()), NoRoute::Blackhole);
    run(&lab, "docker42", "ip route del blackhole 172.42.0.2/32");

    run(
        &lab,
        "docker42",
        "ip route replace 172.41.0.0/16 dev docker0; echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter",
    );
    let counted = lab.inside("docker42", Counted::look).unwrap().unwrap();
    one_drop(&lab, "docker42", &pings, "IP_RPFILTER", || ping(&lab, "c41", C42));
    let changes = lab.inside("docker42", || counted.changes()).unwrap().unwrap();
    assert!(changes.iter().any(|change| change.name == "TcpExt IPReversePathFilter"), "{changes:?}");
    assert_eq!(no_route(&lab, "docker42", &came()), NoRoute::WrongSource);
}

/// A packet that came in by `eth0`.
fn came_in(from: &str, to: &str) -> RouteQuestion {
    RouteQuestion {
        source: Some(from.parse().unwrap()),
        destination: to.parse().unwrap(),
        iif: Some("eth0".to_owned()),
        protocol: None,
        ports: None,
        mark: None,
    }
}

fn asked(lab: &Lab, node: &str, question: &RouteQuestion) -> RouteAnswer {
    lab.inside(node, || fib::route(&mut Netlink::open().unwrap(), question).unwrap()).unwrap()
}

fn no_route(lab: &Lab, node: &str, question: &RouteQuestion) -> NoRoute {
    match asked(lab, node, question) {
        RouteAnswer::None { why, .. } => why,
        way @ RouteAnswer::Way(_) => panic!("{way:?}"),
    }
}

#[test]
fn the_kernel_says_where_it_would_send_a_packet() {
    let lab = two_hosts();
    run(&lab, "docker42", "ip route add 198.51.100.0/24 via 172.42.0.2 metric 7 proto 172");
    let way = |question: &RouteQuestion| match asked(&lab, "docker42", question) {
        RouteAnswer::Way(way) => way,
        none @ RouteAnswer::None { .. } => panic!("{question:?}: {none:?}"),
    };
    let far = Way {
        via: Some(C42.parse().unwrap()),
        dev: Some("docker0".to_owned()),
        source: None,
        table: 254,
        metric: Some(7),
        is_local: false,
        protocol: 172,
        mtu: None,
    };
    assert_eq!(way(&came_in(C41, "198.51.100.1")), far);
    let mut with_ports = came_in(C41, "198.51.100.1");
    (with_ports.protocol, with_ports.ports, with_ports.mark) = (Some(6), Some((9, 80)), Some(5));
    assert_eq!(way(&with_ports).via, far.via);
    let near = way(&came_in("fd00:172:41::2", C42_V6));
    assert_eq!((near.via, near.dev.as_deref(), near.is_local), (None, Some("docker0"), false));
    assert!(way(&came_in(C41, "192.168.199.42")).is_local);
    let own = RouteQuestion { source: None, iif: None, ..came_in(C41, C41) };
    assert_eq!(way(&own).dev.as_deref(), Some("eth0"));

    for (route, why) in [
        ("unreachable", NoRoute::Unreachable),
        ("prohibit", NoRoute::Prohibit),
        ("blackhole", NoRoute::Blackhole),
    ] {
        run(
            &lab,
            "docker42",
            &format!("ip route replace {route} 198.51.100.7; ip route replace {route} 2001:db8::7"),
        );
        assert_eq!(no_route(&lab, "docker42", &came_in(C41, "198.51.100.7")), why);
        assert_eq!(no_route(&lab, "docker42", &came_in("fd00:172:41::2", "2001:db8::7")), why);
    }
    assert_eq!(no_route(&lab, "docker42", &came_in(C41, "203.0.113.1")), NoRoute::NoRoute);
    assert_eq!(no_route(&lab, "docker42", &came_in("fd00:172:41::2", "2001:db8::1")), NoRoute::NoRoute);
    run(
        &lab,
        "docker42",
        "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding",
    );
    assert_eq!(no_route(&lab, "docker42", &came_in(C41, C42)), NoRoute::NotForwarding);
    assert_eq!(no_route(&lab, "docker42", &came_in("fd00:172:41::2", C42_V6)), NoRoute::NotForwarding);
}

#[test]
fn interfaces_neighbours_and_listeners_are_told_as_they_are() {
    let lab = two_hosts();
    let of = |name: &'static str| {
        lab.inside("docker42", move || fib::link(&mut Netlink::open().unwrap(), name).unwrap()).unwrap()
    };
    let eth0 = of("eth0").unwrap();
    assert_eq!((eth0.up, eth0.carrier, eth0.mtu, eth0.master.as_deref()), (true, true, 1500, None));
    assert_eq!((eth0.forwarding4, eth0.forwarding6), (Some(true), Some(true)));
    assert!(eth0.rp_filter.is_some() && of("nowhere0").is_none());
    let neighbour = |address: &'static str| {
        let ask = move || {
            fib::neighbour(&mut Netlink::open().unwrap(), "docker0", address.parse().unwrap()).unwrap()
        };
        lab.inside("docker42", ask).unwrap()
    };
    let known = neighbour(C42).unwrap();
    assert!(known.is_usable() && known.lladdr.is_some(), "{known:?}");
    assert_eq!(neighbour("172.42.0.98"), None);

    let (found, other) = lab
        .inside("c42", || {
            let _tcp = std::net::TcpListener::bind("127.0.0.1:3306").unwrap();
            let _udp = std::net::UdpSocket::bind("[::]:3306").unwrap();
            let found = [6, 17].map(|protocol| fib::listeners(protocol, 3306).unwrap());
            (found, fib::listeners(6, 3307).unwrap())
        })
        .unwrap();
    let told = found
        .map(|found| found.iter().map(|it| format!("{} {}", it.address, it.maybe_both)).collect::<Vec<_>>());
    assert_eq!(told, [["127.0.0.1 false"], [":: true"]]);
    assert_eq!(other, []);
}

#[test]
fn other_flows_and_other_namespaces_are_not_told() {
    let lab = two_hosts();
    let refuse = "add table inet guard
         add chain inet guard forward { type filter hook forward priority 0; policy drop; }";
    nft(&lab, "docker41", refuse);
    let flow = flow(58, &[C42_V6]);
    let mut drops = Drops::open(&flow, &[namespace(&lab, "docker41")]).unwrap();
    let mut elsewhere = Drops::open(&flow, &[namespace(&lab, "docker42")]).unwrap();
    ping(&lab, "c41", C42);
    ping(&lab, "c41", "fd00:172:42::1");
    ping(&lab, "c41", C42_V6);
    while drops.take() == 0 {
        await_readable(&drops);
    }
    assert_eq!(elsewhere.take(), 0);
    let (found, _) = drops.finish().unwrap();
    let to: Vec<String> =
        found.iter().map(|drop| drop.packet.as_ref().unwrap().destination.address.to_string()).collect();
    assert_eq!(to, [C42_V6]);
}

#[test]
fn without_the_capability_it_is_said_and_nothing_is_silent() {
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| {
            use caps::{CapSet, Capability};
            for capability in [Capability::CAP_SYS_ADMIN, Capability::CAP_BPF, Capability::CAP_PERFMON] {
                caps::drop(None, CapSet::Effective, capability).unwrap();
            }
            Drops::open(&flow(1, &[C42]), &[1]).unwrap_err().to_string()
        });
        let refused = refused.join().unwrap();
        assert!(refused.contains("CAP_BPF and CAP_PERFMON"), "{refused}");
    });
}

/// Waits for a state that nobody tells of.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}

/// Waits until something can be read.
fn await_readable(fd: &impl AsFd) {
    let mut polled = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let patience: Duration = PATIENCE;
    assert_eq!(
        poll(&mut polled, PollTimeout::try_from(patience).unwrap()).unwrap(),
        1,
        "nothing came in time"
    );
}
