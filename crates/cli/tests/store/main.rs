//! Hosts whose cluster is in a real etcd: they claim what they have, hear of each other, and lose nothing when it is away.

#![allow(clippy::unwrap_used, reason = "for tests only")]

#[path = "../common/mod.rs"]
mod common;

mod both;
mod faults;
mod random;

use byway_lab::etcd::{Members, Tls};
use byway_lab::{Lab, Signal};
use common::stores::{ETCD, PREFIXES, STORE, begin, configure, lease, stage, three_hosts, until_routed};
use common::{Ear, assert_reaching, attempt, byway, end, ping, quiet_lab, run, start, write};
use nix::sys::signal::{Signal as Interrupt, kill};

fn subnets(lab: &Lab, host: &str) -> Vec<String> {
    lease(lab, host).subnets.iter().map(ToString::to_string).collect()
}

#[test]
fn hosts_claim_what_their_containers_have_and_reach_each_other() {
    let (lab, _members) = stage();
    begin(&lab);
    assert_reaching(&lab);
    assert_eq!(subnets(&lab, "docker41"), ["172.41.0.0/16", "fd00:172:41::/64"]);
    let (code, out, errors) = byway(&lab, "docker41", &["status"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    assert!(
        out.contains(
            "lease         172.41.0.0/16 fd00:172:41::/64 in etcd http://192.168.199.43:2379 /byway/"
        ),
        "{out}"
    );
    let (_, out, _) = byway(&lab, "docker43", &["--etcd", ETCD, "hosts"]);
    let expected = "\
HOST      ADDRESSES                     SUBNETS                          STATE
docker41  192.168.199.41, fd00:199::41  172.41.0.0/16, fd00:172:41::/64  there
docker42  192.168.199.42, fd00:199::42  172.42.0.0/16, fd00:172:42::/64  there
prefixes: 172.40.0.0/13, fd00:172::/32
";
    assert_eq!(out, expected);
    // Hosts ask each other with the keys that they published.
    let (code, out, errors) = byway(&lab, "docker41", &["status", "--all"]);
    assert_eq!(code, Some(0), "{out}{errors}");
}

#[test]
fn prefixes_are_widened_while_the_cluster_runs() {
    let (lab, _members) = stage();
    begin(&lab);
    let add = ["host", "add", "docker50", "--address", "192.168.199.50", "--subnet", "172.50.0.0/16"];
    let (code, _, errors) = byway(&lab, "docker41", &add);
    assert!(code == Some(1) && errors.contains("172.50.0.0/16 lies in none of the prefixes"), "{errors}");
    let wider = ["store", "init", "--prefix", "172.32.0.0/11,fd00:172::/32"];
    let (code, out, errors) = byway(&lab, "docker41", &wider);
    assert_eq!(code, Some(0), "{out}{errors}");
    assert_eq!(byway(&lab, "docker41", &add).0, Some(0));
    for host in ["docker41", "docker42"] {
        until_routed(&lab, host, 3);
    }
    assert_eq!(subnets(&lab, "docker41"), ["172.41.0.0/16", "fd00:172:41::/64"]);
    let (code, _, errors) =
        byway(&lab, "docker41", &["store", "init", "--prefix", "172.40.0.0/15,fd00:172::/32"]);
    assert!(code == Some(1) && errors.contains("would lie outside"), "{errors}");
    assert_reaching(&lab);
}

#[test]
fn a_host_with_other_bridges_gets_a_subnet_that_nobody_uses() {
    let (lab, _members) = stage();
    // Its bridge has addresses outside of the prefixes, it has a route into one of them, and another is answered for.
    run(
        &lab,
        "docker42",
        "ip addr flush dev docker0; ip addr add 10.9.9.1/24 dev docker0; ip route add 172.43.5.0/24 dev eth0",
    );
    run(&lab, STORE, "ip addr add 172.44.0.1/32 dev eth0; ip addr del 172.43.0.1/16 dev docker0");
    start(&lab, "docker41");
    let keep = |name: &str, subnet: &str| {
        let (code, out, errors) = byway(&lab, "docker41", &["host", "add", name, "--subnet", subnet]);
        assert_eq!(code, Some(0), "{out}{errors}");
    };
    // All others are kept for somebody: 43 is in use, 44 answers, 45 is left.
    for (nth, name) in [(40, "a"), (42, "b"), (46, "c"), (47, "d")] {
        keep(name, &format!("172.{nth}.0.0/16"));
    }
    start(&lab, "docker42");
    let ear = Ear::open(&lab, "docker42");
    let found = ear.until("it is let in", || match lease(&lab, "docker42") {
        lease if lease.generation.is_some() => Ok(lease),
        lease => Err(format!("{lease:?}")),
    });
    assert_eq!(found.subnets[0].to_string(), "172.45.0.0/16");
    let why = found.passed_over.join("\n");
    let ours = why.contains("172.43.0.0/16 was passed over: this host has the route 172.43.5.0/24 dev eth0");
    assert!(ours || !why.contains("172.43"), "{why}");
    assert!(
        !why.contains("172.44") || why.contains("172.44.0.0/16 was passed over: 172.44.0.1 answers on eth0"),
        "{why}"
    );
    until_routed(&lab, "docker41", 2);
}

#[test]
fn a_host_that_is_gone_for_longer_than_its_lease_loses_its_routes_and_comes_back_to_its_subnet() {
    let (lab, _members) = stage();
    configure(&lab, "docker42", "lease-seconds = 5\n");
    begin(&lab);
    end(&lab, "docker42", Signal::SIGKILL);
    until_routed(&lab, "docker41", 0);
    let (_, out, _) = byway(&lab, "docker41", &["hosts"]);
    assert!(
        out.contains("docker42  192.168.199.42, fd00:199::42  172.42.0.0/16, fd00:172:42::/64  gone"),
        "{out}"
    );
    start(&lab, "docker42");
    until_routed(&lab, "docker41", 2);
    assert_eq!(lease(&lab, "docker42").generation, Some(2));
    assert_reaching(&lab);
}

#[test]
fn a_running_cluster_goes_over_to_etcd_and_back_without_a_lost_packet() {
    let lab = quiet_lab(&three_hosts());
    let _members =
        Members::start_in(&lab, STORE, "192.168.199.43".parse().unwrap(), 1, Tls::Without, &[]).unwrap();
    let hosts = ["docker41", "docker42"];
    let (code, out, errors) = byway(&lab, STORE, &["host", "remove", STORE]);
    assert_eq!(code, Some(0), "{out}{errors}");
    let inventory = run(&lab, STORE, "cat /etc/byway/inventory.toml");
    for host in hosts {
        write(&lab, host, "/etc/byway/inventory.toml", &inventory);
        start(&lab, host);
        until_routed(&lab, host, 2);
    }
    assert_reaching(&lab);
    let mut pings = Pings::start(&lab);
    let migrate = ["--etcd", ETCD, "store", "migrate", "--to", "etcd", "--prefix", PREFIXES];
    let (code, out, errors) = byway(&lab, "docker41", &migrate);
    assert_eq!(code, Some(0), "{out}{errors}");
    assert!(out.contains("listed host docker41 with 172.41.0.0/16, fd00:172:41::/64"), "{out}");
    for host in hosts {
        configure(&lab, host, "");
        run(&lab, host, "mv /etc/byway/inventory.toml /etc/byway/old.toml");
        end(&lab, host, Signal::SIGTERM);
        start(&lab, host);
        Ear::open(&lab, host).until("it is in", || match lease(&lab, host) {
            lease if lease.generation == Some(1) => Ok(()),
            lease => Err(format!("{lease:?}")),
        });
        for host in hosts {
            until_routed(&lab, host, 2);
        }
    }
    let (code, out, errors) = byway(&lab, "docker41", &["store", "migrate", "--to", "file"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    let written = run(&lab, "docker41", "cat /etc/byway/inventory.toml");
    write(&lab, "docker42", "/etc/byway/inventory.toml", &written);
    for host in hosts {
        run(&lab, host, "rm /etc/byway/byway.toml");
        end(&lab, host, Signal::SIGTERM);
        start(&lab, host);
        for host in hosts {
            until_routed(&lab, host, 2);
        }
    }
    assert_eq!(pings.end(), "0% packet loss", "not one was lost");
    assert_reaching(&lab);
    assert!(
        attempt(&lab, "docker41", "byway store migrate --to file --etcd http://192.168.199.43:2379")
            .status
            .code()
            == Some(1)
    );
}

#[test]
fn a_host_that_is_taken_down_is_gone_for_the_others_at_once_and_keeps_its_subnet() {
    let (lab, _members) = stage();
    begin(&lab);
    let (code, out, errors) = byway(&lab, "docker42", &["down"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    until_routed(&lab, "docker41", 0);
    let (_, out, _) = byway(&lab, "docker41", &["hosts"]);
    assert!(out.contains("172.42.0.0/16, fd00:172:42::/64  gone"), "{out}");
    start(&lab, "docker42");
    until_routed(&lab, "docker41", 2);
    assert_reaching(&lab);
}

/// A ping that goes on until it is told to stop.
struct Pings(std::process::Child);

impl Pings {
    fn start(lab: &Lab) -> Self {
        ping(lab, "c41", "172.42.0.2").unwrap();
        let mut command = lab.command("c41", "ping");
        command.args(["-n", "-q", "-i", "0.01", "172.42.0.2"]).stdout(std::process::Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// What it says of losses.
    fn end(&mut self) -> String {
        let process = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        kill(process, Interrupt::SIGINT).unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.0.stdout.take().unwrap(), &mut said).unwrap();
        self.0.wait().unwrap();
        let loss = said.split(", ").find(|part| part.ends_with("packet loss"));
        loss.unwrap_or(&said).to_owned()
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
