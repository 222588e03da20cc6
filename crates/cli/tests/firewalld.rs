//! A real firewalld beside a real engine: what it takes is put back, and it is heard that it took it.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use byway_lab::{Iptables, Lab};
use common::engines::{accepts, addresses, answers, raise, topology, until_reaching, until_told, until_well};
use common::{Ear, attempt, log, run};

/// What the agent says when it has found the bus.
const HEARS: &str = "hearing from the system bus what firewalld does";

/// A script that runs among the files of a host's engine, where firewalld is.
fn among_engines_files(script: &str) -> String {
    format!("nsenter --target $(cat /run/docker.pid) --mount -- sh -ec \"{script}\"")
}

fn beside_engine(lab: &Lab, host: &str, script: &str) -> String {
    run(lab, host, &among_engines_files(script))
}

/// Starts a bus and firewalld. Docker asks for them when it starts, so it is started anew.
fn start_firewalld(lab: &Lab, host: &str, backend: &str) {
    let choose =
        format!("sed -i s/^FirewallBackend=.*/FirewallBackend={backend}/ /etc/firewalld/firewalld.conf");
    beside_engine(
        lab,
        host,
        &format!(
            "{choose}; mkdir -p /run/dbus; dbus-uuidgen --ensure; dbus-daemon --system --fork --nopidfile; \
             firewalld --nopid > /run/firewalld.log 2>&1"
        ),
    );
    // It goes to the background before it is on the bus.
    Ear::open(lab, host).until("firewalld runs", || {
        let out = attempt(lab, host, &among_engines_files("firewall-cmd --state"));
        if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
    });
    lab.stop_engine(host).unwrap();
    lab.start_engine(host).unwrap();
    run(lab, host, &format!("docker start {}", host.replace("docker", "c")));
}

/// Waits until the agent has said something after what it said before; returns all that it said after that.
fn until_said(lab: &Lab, host: &str, before: &str, words: &str) -> String {
    Ear::open(lab, host).until(words, || {
        let said = log(lab, host).split_off(before.len());
        if said.contains(words) { Ok(said) } else { Err(said) }
    })
}

#[test]
fn a_reload_of_firewalld_is_heard_and_what_it_took_is_put_back() {
    let mut topology = topology(["28.5", "20.10"]);
    topology.hosts[0].engine.as_mut().unwrap().iptables = Iptables::Legacy;
    let lab = raise(&topology);
    start_firewalld(&lab, "docker41", "iptables");
    until_said(&lab, "docker41", "", HEARS);
    until_reaching(&lab);
    until_well(&lab, "docker41");
    let (whole, before) = (accepts(&lab, "docker41"), log(&lab, "docker41"));
    assert_eq!(whole.len(), 4, "{whole:?}");
    beside_engine(&lab, "docker41", "firewall-cmd --reload");
    let heard = until_said(&lab, "docker41", &before, "firewalld has reloaded its rules");
    let after = before.clone() + heard.split_inclusive("has reloaded its rules").next().unwrap();
    // firewalld has taken the chain and Docker makes it again, empty: nobody but us, and not before, puts it there.
    until_said(&lab, "docker41", &after, "put accept into iptables filter DOCKER-USER");
    Ear::open(&lab, "docker41").until("the accepts are back", || match accepts(&lab, "docker41") {
        now if now == whole => Ok(()),
        now => Err(format!("{now:?}")),
    });
    until_reaching(&lab);
    until_well(&lab, "docker41");
}

#[test]
fn what_firewalld_itself_rejects_is_told_with_the_commands_that_end_it() {
    let lab = raise(&topology(["20.10", "28.5"]));
    for host in ["docker41", "docker42"] {
        start_firewalld(&lab, host, "nftables");
    }
    let told = until_told(&lab, "docker41", "firewalld rejects what peers send to containers by docker0");
    let c41 = addresses(&lab, "c41")[0].to_string();
    Ear::open(&lab, "docker41").until("Docker's own rules are back", || match accepts(&lab, "docker41") {
        now if now.len() == 1 => Ok(()),
        now => Err(format!("{now:?}")),
    });
    assert!(!answers(&lab, "c42", &c41), "it is as it was told");
    let commands = told.split('`').nth(1).unwrap();
    beside_engine(&lab, "docker41", commands);
    until_well(&lab, "docker41");
    until_reaching(&lab);
    // Docker 28.5 has made a policy itself; without it the same is told.
    let policy = "docker-forwarding";
    until_said(&lab, "docker42", "", HEARS);
    until_well(&lab, "docker42");
    beside_engine(
        &lab,
        "docker42",
        &format!("firewall-cmd --permanent --delete-policy {policy}; firewall-cmd --reload"),
    );
    until_told(&lab, "docker42", "firewalld rejects what peers send to containers by docker0");
}
