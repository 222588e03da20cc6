//! The agent dies or is told to go: traffic goes on, the next start finds everything, and `byway down` leaves the
//! host as it was found.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use byway_lab::{Lab, Signal, Snapshot, Topology, Until};
use common::{BYWAY, Ear, agent, assert_reaching, byway, end, lab, quiet_lab, run, start, write};

/// A ping that goes on while something happens.
struct Pings {
    child: Child,
    said: BufReader<ChildStdout>,
    answered: u32,
}

impl Pings {
    fn start(lab: &Lab, from: &str, to: &str) -> Self {
        let mut ping = lab.command(from, "ping");
        let mut child = ping.args(["-n", "-i0.01", to]).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said, answered: 0 }
    }

    /// Waits for so many answers; none may be missing between them.
    fn expect(&mut self, count: u32) {
        for _ in 0..count {
            let mut line = String::new();
            while !line.contains("icmp_seq=") {
                line.clear();
                assert!(self.said.read_line(&mut line).unwrap() > 0, "ping ended");
            }
            self.answered += 1;
            assert!(
                line.contains(&format!("icmp_seq={} ", self.answered)),
                "answer {}: {line}",
                self.answered
            );
        }
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn kill_9_of_the_agent_costs_no_packet_and_the_next_start_finds_nothing_to_do() {
    let lab = lab(&Topology::two_hosts());
    let mut both = ["172.42.0.2", "fd00:172:42::2"].map(|to| Pings::start(&lab, "c41", to));
    let mut expect_more = || {
        for pings in &mut both {
            pings.expect(5);
        }
    };
    expect_more();
    end(&lab, "docker41", Signal::SIGKILL);
    expect_more();
    start(&lab, "docker41");
    expect_more();
    let agent = agent(&lab, "docker41");
    assert_eq!((agent.repairs, agent.last_repair), (0, None), "nothing was missing");
    end(&lab, "docker41", Signal::SIGTERM);
    expect_more();
}

#[test]
fn what_was_broken_while_no_agent_ran_is_repaired_at_the_next_start() {
    let lab = lab(&Topology::two_hosts());
    end(&lab, "docker41", Signal::SIGKILL);
    run(
        &lab,
        "docker41",
        "nft flush ruleset; ip route del 172.42.0.0/16; echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding",
    );
    let (code, out, _) = byway(&lab, "docker41", &["status"]);
    assert!(code == Some(1) && out.contains("no agent runs here"), "{out}");
    let sentences = common::due(&lab, "docker41");
    assert_eq!(sentences.len(), 3, "{sentences:?}");
    start(&lab, "docker41");
    assert_eq!(agent(&lab, "docker41").last_repair.unwrap().steps, sentences, "the plan was told before");
    assert_reaching(&lab);
}

/// Hosts that fill a plan with thousands of steps.
const CROWD: usize = 2000;

fn crowded() -> String {
    let mut text = Topology::two_hosts().inventory().unwrap();
    for nth in 0x1000..0x1000 + CROWD {
        text += &format!(
            "\n[[host]]\nname = \"h{nth:x}\"\naddresses = [\"fd00:199::1:{nth:x}\"]\nsubnets = [\"fd00:{nth:x}::/64\"]\n"
        );
    }
    text
}

#[test]
fn kill_9_in_the_middle_of_a_plan_is_made_good_by_the_next_start() {
    let lab = quiet_lab(&Topology::two_hosts());
    write(&lab, "docker41", "/etc/byway/inventory.toml", &crowded());
    start(&lab, "docker42");
    let ours = || {
        // By its number: the agent may be killed before it has given it a name.
        let text = run(&lab, "docker41", "ip route show proto 172; ip -6 route show proto 172");
        text.lines().count()
    };
    for notices in [1, 2, 10, 100, 500, 1000, 1500] {
        let ear = Ear::open(&lab, "docker41");
        lab.start_agent("docker41").unwrap();
        let heard = ear.await_notices(notices);
        assert!(heard >= notices, "{heard} of {notices} notices:\n{}", common::log(&lab, "docker41"));
        end(&lab, "docker41", Signal::SIGKILL);
        let half = ours();
        start(&lab, "docker41");
        assert_eq!(ours(), CROWD + 2, "after {half}, killed at notice {notices}");
        ear.until_at_rest();
        assert_reaching(&lab);
        let (code, out, errors) = byway(&lab, "docker41", &["down", "--json"]);
        assert_eq!(code, Some(0), "{out}{errors}");
        lab.await_agent("docker41", Until::Gone).unwrap();
        assert_eq!(ours(), 0);
    }
}

/// The kernel gives a link its own IPv6 address some time after its wire is up.
fn until_links_are_settled(lab: &Lab, node: &str) {
    Ear::open(lab, node).until("every link has its own address", || {
        let links = run(lab, node, "ip -o link show up");
        let addresses = run(lab, node, "ip -o -6 address show scope link -tentative");
        let wired = links.lines().filter(|line| !line.contains("LOOPBACK")).count();
        if addresses.lines().count() == wired { Ok(()) } else { Err(links + &addresses) }
    });
}

fn snapshot(lab: &Lab, node: &str) -> Snapshot {
    serde_json::from_str(&run(lab, node, &format!("{BYWAY} lab snapshot"))).unwrap()
}

/// From before the first start to after the last `down` nothing of the host has changed.
fn check(prepare: &str, live: impl FnOnce(&Lab)) {
    let lab = quiet_lab(&Topology::two_hosts());
    run(&lab, "docker41", prepare);
    until_links_are_settled(&lab, "docker41");
    let before = snapshot(&lab, "docker41");
    start(&lab, "docker41");
    start(&lab, "docker42");
    let meanwhile = snapshot(&lab, "docker41");
    assert!(before.differences(&meanwhile).len() > 10, "{:?}", before.differences(&meanwhile));
    live(&lab);
    let (code, out, errors) = byway(&lab, "docker41", &["down"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    assert!(out.contains("this host is as it was found"), "{out}");
    assert_eq!(before.differences(&snapshot(&lab, "docker41")), [""; 0]);
    let left = run(&lab, "docker41", "ls /var/lib/byway 2> /dev/null || true; ls /run/byway");
    assert!(!left.contains("state.json") && !left.contains("byway.sock"), "{left}");
    let (code, out, _) = byway(&lab, "docker41", &["down"]);
    assert!(code == Some(0) && out.contains("nothing of byway's was here"), "twice is fine: {out}");
    assert_eq!(before.differences(&snapshot(&lab, "docker41")), [""; 0]);
}

#[test]
fn down_with_a_running_agent_leaves_the_host_as_it_was() {
    check("true", |lab| {
        assert_reaching(lab);
        let (code, out, _) = byway(lab, "docker41", &["plan"]);
        assert_eq!(code, Some(0), "{out}");
    });
}

#[test]
fn down_without_an_agent_leaves_the_host_as_it_was() {
    check("true", |lab| end(lab, "docker41", Signal::SIGKILL));
}

#[test]
fn down_after_repairs_and_restarts_leaves_the_host_as_it_was() {
    check("true", |lab| {
        let ear = Ear::open(lab, "docker41");
        run(lab, "docker41", "nft delete table inet byway");
        ear.until_at_rest();
        run(lab, "docker41", "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding");
        ear.until_at_rest();
        end(lab, "docker41", Signal::SIGKILL);
        start(lab, "docker41");
        end(lab, "docker41", Signal::SIGTERM);
        start(lab, "docker41");
    });
}

#[test]
fn down_puts_back_what_was_there_before() {
    check(
        "echo 1 > /proc/sys/net/ipv4/conf/eth0/forwarding
         nft add table inet mine; nft add chain inet mine forward '{ type filter hook forward priority 5; }'
         ip route add 10.1.0.0/16 via 192.168.199.42 proto static; ip rule add to 10.2.0.0/16 lookup main",
        |_| {},
    );
}

#[test]
fn down_on_a_host_that_forwards_everything_leaves_it_forwarding() {
    check("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding", |_| {});
}

#[test]
fn down_leaves_forwarding_on_where_others_have_come_to_rely_on_it() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(&lab, "docker41", "echo 1 > /proc/sys/net/ipv4/ip_forward");
    ear.until_at_rest();
    let (code, out, errors) = byway(&lab, "docker41", &["down"]);
    assert_eq!(code, Some(0), "{errors}");
    let left =
        "net.ipv4.conf.eth0.forwarding stays 1: somebody switched net.ipv4.conf.all.forwarding on after us";
    assert!(out.contains(left), "{out}");
    let settings = run(
        &lab,
        "docker41",
        "cd /proc/sys/net; cat ipv4/conf/eth0/forwarding ipv6/conf/eth0/force_forwarding",
    );
    assert_eq!(settings, "1\n0\n");
}

#[test]
fn down_with_an_inventory_that_went_missing_works() {
    check("cp /etc/byway/inventory.toml /run/good.toml", |lab| {
        end(lab, "docker41", Signal::SIGKILL);
        run(lab, "docker41", "rm /etc/byway/inventory.toml");
    });
}

#[test]
fn without_its_route_after_down_a_far_container_is_out_of_reach() {
    let lab = lab(&Topology::two_hosts());
    assert_eq!(byway(&lab, "docker41", &["down"]).0, Some(0));
    lab.await_agent("docker41", Until::Gone).unwrap();
    let said = run(&lab, "docker41", "ip route get 172.42.0.2 2>&1 || true");
    assert!(said.contains("Network is unreachable"), "{said}");
}
