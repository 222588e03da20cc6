//! A peer that dies is refused, and one that only seems to is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "for tests only")]

mod common;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use byway_api::PeerHealth;
use byway_fabric::health::State;
use byway_lab::{Lab, Signal, Topology};
use common::{Ear, PATIENCE, end, lab, ping, quiet_lab, run, start, status, write};
use nix::libc;

const INVENTORY: &str = "/etc/byway/inventory.toml";

/// How docker41 sees docker42.
fn health(lab: &Lab) -> PeerHealth {
    let hosts = status(lab, "docker41").hosts;
    let host = hosts.into_iter().find(|host| host.name.as_str() == "docker42").unwrap();
    host.health.expect("it is tried")
}

fn until(lab: &Lab, what: &str, is_so: impl Fn(&PeerHealth) -> bool) -> PeerHealth {
    Ear::open(lab, "docker41").until(what, || {
        let health = health(lab);
        if is_so(&health) { Ok(health) } else { Err(format!("{health:?}")) }
    })
}

fn until_answers(lab: &Lab) -> PeerHealth {
    until(lab, "it answers", |health| health.state == State::Answers)
}

/// Two hosts that have tried each other along the data path.
fn tried_lab() -> Lab {
    let lab = lab(&Topology::two_hosts());
    for host in ["docker41", "docker42"] {
        run(&lab, host, "echo 1 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down");
    }
    until_answers(&lab);
    lab
}

fn cut(lab: &Lab) {
    run(lab, "docker42", "ip link set eth0 down");
}

fn mend(lab: &Lab) {
    run(lab, "docker42", "ip link set eth0 up");
}

/// Our routes of both families on docker41, as `ip` prints them.
fn routes(lab: &Lab) -> String {
    run(lab, "docker41", "ip route show proto 172; ip -6 route show proto 172")
}

fn refusals(lab: &Lab) -> usize {
    routes(lab).lines().filter(|line| line.starts_with("unreachable")).count()
}

/// What becomes of a connection from a container to one on the other host; none if it stands.
fn connect(lab: &Lab, to: &str) -> Option<i32> {
    let to: SocketAddr = to.parse().unwrap();
    let outcome = lab.inside("c41", || TcpStream::connect_timeout(&to, PATIENCE)).unwrap();
    outcome.err().map(|error| error.raw_os_error().unwrap_or_else(|| panic!("{to}: {error}")))
}

#[test]
fn a_dead_peer_is_refused_at_once_and_reached_again_when_it_is_back() {
    let lab = tried_lab();
    cut(&lab);
    let told = until(&lab, "it is gone", |health| health.state == State::Gone);
    assert!(told.because.contains("neither echoes nor its agent are answered"), "{told:?}");
    Ear::open(&lab, "docker41").until("its routes refuse", || match refusals(&lab) {
        2 => Ok(()),
        _ => Err(routes(&lab)),
    });
    // For IPv6 the kernel says "no route", which clients read as an unreachable network.
    for (to, refusal) in [("172.42.0.2:80", libc::EHOSTUNREACH), ("[fd00:172:42::2]:80", libc::ENETUNREACH)] {
        assert_eq!(connect(&lab, to), Some(refusal), "{to}");
    }
    let problems = common::problems(&lab, "docker41");
    assert!(problems[0].starts_with("gone: host docker42 does not answer: neither"), "{problems:?}");
    mend(&lab);
    let back = until(&lab, "it is back", |health| health.state == State::Answers);
    assert_eq!(back.flaps, 1);
    assert_eq!(
        back.history.iter().map(|turn| turn.state).collect::<Vec<_>>(),
        [State::NeverAnswered, State::Answers, State::Gone, State::Answers]
    );
    common::until_reaching(&lab);
    assert_eq!(common::problems(&lab, "docker41"), [""; 0]);
}

#[test]
fn an_agent_that_is_killed_or_stands_still_is_no_dead_peer() {
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let lab = tried_lab();
        until(&lab, "its agent answers", |health| health.agent.as_ref().is_some_and(|agent| agent.answers));
        if signal == Signal::SIGKILL {
            end(&lab, "docker42", signal);
        } else {
            lab.kill_agent("docker42", signal).unwrap();
        }
        let told = until(&lab, "its agent is away", |health| {
            health.agent.as_ref().is_some_and(|agent| !agent.answers)
        });
        assert_eq!(told.state, State::Answers);
        assert_eq!(common::problems(&lab, "docker41"), [""; 0]);
        common::assert_reaching(&lab);
        assert_eq!(refusals(&lab), 0);
        if signal == Signal::SIGSTOP {
            lab.kill_agent("docker42", Signal::SIGCONT).unwrap();
        }
    }
}

#[test]
fn where_only_echoes_are_filtered_nobody_is_gone() {
    let lab = tried_lab();
    let filter = "nft 'add table inet deaf; add chain inet deaf in { type filter hook input priority 0; };
        add rule inet deaf in icmp type echo-request drop; add rule inet deaf in icmpv6 type echo-request drop'";
    run(&lab, "docker42", filter);
    let told = until(&lab, "it is vouched for", |health| health.state == State::Vouched);
    assert!(told.because.contains("something filters ICMP"), "{told:?}");
    assert_eq!(refusals(&lab), 0);
    let seen = common::source_seen(&lab, "c41", "c42", "172.42.0.2");
    assert_eq!(seen.to_string(), "172.41.0.2");
    run(&lab, "docker42", "nft delete table inet deaf");
    until_answers(&lab);
}

#[test]
fn a_peer_that_comes_and_goes_is_held_back() {
    let lab = tried_lab();
    for nth in 1..=2 {
        cut(&lab);
        let gone = until(&lab, "it is gone", |health| matches!(health.state, State::Gone | State::HeldBack));
        assert_eq!(gone.held_until.is_some(), nth > 1, "{gone:?}");
        mend(&lab);
        let back = until_answers(&lab);
        assert_eq!(back.flaps, nth);
    }
    let (code, out, _) = common::byway(&lab, "docker41", &["status"]);
    assert!(code == Some(0) && out.contains("docker42 came back 2 times"), "{out}");
}

#[test]
fn a_peer_that_never_answered_keeps_its_routes() {
    let lab = tried_lab();
    let seed = run(&lab, "docker41", &format!("cat {INVENTORY}"));
    let more =
        "[[host]]\nname = \"docker49\"\naddresses = [\"192.168.199.49\"]\nsubnets = [\"172.49.0.0/16\"]\n";
    write(&lab, "docker41", INVENTORY, &format!("{seed}\n{more}"));
    let told = Ear::open(&lab, "docker41").until("it is tried", || {
        let host = status(&lab, "docker41").hosts.into_iter().find(|host| host.name.as_str() == "docker49");
        host.and_then(|host| host.health).filter(|health| !health.tried.is_empty()).ok_or_else(String::new)
    });
    assert_eq!(told.state, State::NeverAnswered, "{told:?}");
    assert!(routes(&lab).contains("172.49.0.0/16 via 192.168.199.49"), "{}", routes(&lab));
    assert_eq!(common::problems(&lab, "docker41"), [""; 0]);
}

#[test]
fn an_agent_that_stops_refuses_nobody_and_one_that_was_killed_makes_up_for_it() {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let lab = tried_lab();
        cut(&lab);
        Ear::open(&lab, "docker41").until("its routes refuse", || match refusals(&lab) {
            2 => Ok(()),
            _ => Err(routes(&lab)),
        });
        end(&lab, "docker41", signal);
        assert_eq!(refusals(&lab), if signal == Signal::SIGTERM { 0 } else { 2 }, "{}", routes(&lab));
        start(&lab, "docker41");
        assert_eq!(refusals(&lab), 0, "it has not tried anybody yet: {}", routes(&lab));
    }
}

#[test]
fn somebody_who_talks_without_end_at_the_place_of_an_agent_is_told_and_nothing_more() {
    let lab = tried_lab();
    end(&lab, "docker42", Signal::SIGKILL);
    let ended = AtomicBool::new(false);
    let listen = |at: &str| {
        let at: SocketAddr = at.parse().unwrap();
        lab.inside("docker42", || TcpListener::bind(at)).unwrap().unwrap()
    };
    let listeners = ["192.168.199.42:7172", "[fd00:199::42]:7172"].map(listen);
    std::thread::scope(|scope| {
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
            scope.spawn(|| babble(listener, &ended));
        }
        let told = until(&lab, "it is told", |health| {
            let why = health.agent.as_ref().and_then(|agent| agent.why.clone());
            why.is_some_and(|why| !why.contains("refused"))
        });
        ended.store(true, Ordering::Relaxed);
        assert_eq!(told.state, State::Answers);
    });
    assert_eq!(common::problems(&lab, "docker41"), [""; 0]);
    common::assert_reaching(&lab);
}

/// Talks to whoever connects, as if it were TLS, as long as they listen.
fn babble(listener: &TcpListener, ended: &AtomicBool) {
    let record = [[22, 3, 3, 0x40, 0].as_slice(), &[0; 0x4000]].concat();
    let mut talks: Vec<TcpStream> = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true).unwrap();
            talks.push(stream);
        }
        for talk in &mut talks {
            // Whoever has hung up misses nothing.
            let _ = talk.write(&record);
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn whoever_switches_it_off_has_routes_that_stay_whatever_happens() {
    let lab = quiet_lab(&Topology::two_hosts());
    for host in ["docker41", "docker42"] {
        run(&lab, host, "echo 'health = \"off\"' >> /etc/byway/byway.toml");
        start(&lab, host);
    }
    assert!(status(&lab, "docker41").hosts.iter().all(|host| host.health.is_none()));
    assert!(ping(&lab, "c41", "172.42.0.2").is_ok());
}
