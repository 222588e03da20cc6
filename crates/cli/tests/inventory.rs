//! The inventory changes under a running agent: what is good is taken at once, what is not changes nothing.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use byway_api::Status;
use byway_lab::{Lab, Signal, Spread, Topology};
use common::{Ear, assert_reaching, byway, end, lab, run, start, status, write};

const INVENTORY: &str = "/etc/byway/inventory.toml";

fn until(ear: &Ear<'_>, lab: &Lab, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    ear.until(what, || {
        Some(status(lab, "docker41")).filter(&is_so).ok_or_else(|| format!("{:?}", status(lab, "docker41")))
    })
}

fn routes(lab: &Lab) -> Vec<String> {
    let text = run(lab, "docker41", "ip route show proto byway; ip -6 route show proto byway");
    text.lines().map(|line| line.split(" dev ").next().unwrap().to_owned()).collect()
}

fn host(name: &str, addresses: &str, subnets: &str) -> String {
    format!("\n[[host]]\nname = \"{name}\"\naddresses = [{addresses}]\nsubnets = [{subnets}]\n")
}

#[test]
fn a_host_that_is_added_moved_and_removed_is_routed_followed_and_forgotten() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    let seed = Topology::two_hosts().inventory().unwrap();
    let put = |third: &str| write(&lab, "docker41", INVENTORY, &(seed.clone() + third));
    let first = ["172.42.0.0/16 via 192.168.199.42", "fd00:172:42::/64 via fd00:199::42"];

    put(&host("docker43", r#""192.168.199.43", "fd00:199::43""#, r#""172.43.0.0/16", "fd00:172:43::/64""#));
    until(&ear, &lab, "three hosts", |status| status.hosts.len() == 3 && status.hosts[2].routes_present == 2);
    let second = ["172.43.0.0/16 via 192.168.199.43", "fd00:172:43::/64 via fd00:199::43"];
    assert_eq!(routes(&lab), [first[0], second[0], first[1], second[1]]);

    put(&host("docker43", r#""192.168.199.77", "fd00:199::77""#, r#""172.43.0.0/16", "fd00:172:43::/64""#));
    let moved = until(&ear, &lab, "it moved", |status| {
        status.pending == 0 && status.hosts[2].addresses[0].to_string() == "192.168.199.77"
    });
    let steps = moved.agent.unwrap().last_repair.unwrap().steps;
    assert!(
        steps[0].contains("because host docker43 is at 192.168.199.77, the route was via 192.168.199.43"),
        "{steps:?}"
    );
    assert_eq!(routes(&lab)[1], "172.43.0.0/16 via 192.168.199.77");

    put(&host("docker43", r#""192.168.199.77", "fd00:199::77""#, r#""172.43.128.0/17""#));
    ear.until("its subnet shrank", || match routes(&lab) {
        routes if routes == [first[0], "172.43.128.0/17 via 192.168.199.77", first[1]] => Ok(()),
        routes => Err(routes.join("\n")),
    });
    ear.until_at_rest();

    put("");
    until(&ear, &lab, "two hosts", |status| status.hosts.len() == 2 && status.pending == 0);
    ear.until_at_rest();
    assert_eq!(routes(&lab), first);
    let table = run(&lab, "docker41", "nft list table inet byway");
    assert!(!table.contains("172.43"), "{table}");
    assert_reaching(&lab);
}

/// A bad state of the file changes nothing and is told; the good one heals it.
fn check(deed: &str, told: &str) {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(&lab, "docker41", &format!("cp {INVENTORY} /run/good.toml"));
    run(&lab, "docker41", deed);
    let rejected = until(&ear, &lab, "it is told", |status| status.inventory.rejected.is_some());
    let mistakes = rejected.inventory.rejected.unwrap().mistakes;
    assert!(mistakes.contains(told), "{mistakes}");
    let (code, out, _) = byway(&lab, "docker41", &["status"]);
    assert_eq!(code, Some(1), "somebody should look: {out}");
    assert!(out.contains("is not taken") && out.contains("the last good state stays in force"), "{out}");
    assert_eq!(routes(&lab).len(), 2);
    run(&lab, "docker41", "ip route del 172.42.0.0/16");
    ear.until_blamed("deleted the route to 172.42.0.0/16");
    ear.until_at_rest();
    assert_reaching(&lab);
    run(&lab, "docker41", &format!("cp /run/good.toml {INVENTORY}"));
    until(&ear, &lab, "it is healed", |status| status.inventory.rejected.is_none());
    assert_eq!(byway(&lab, "docker41", &["status"]).0, Some(0));
}

#[test]
fn a_half_written_inventory_changes_nothing() {
    check(&format!("head -c 100 /run/good.toml > {INVENTORY}"), INVENTORY);
}

#[test]
fn an_emptied_inventory_changes_nothing() {
    check(&format!(": > {INVENTORY}"), INVENTORY);
}

#[test]
fn a_deleted_inventory_changes_nothing() {
    check(&format!("rm {INVENTORY}"), "No such file or directory");
}

#[test]
fn an_inventory_that_was_moved_away_changes_nothing() {
    check(&format!("mv {INVENTORY} /etc/byway/old.toml"), "No such file or directory");
}

#[test]
fn an_inventory_that_is_a_folder_now_changes_nothing() {
    check(
        &format!(
            "rm {INVENTORY}; mkdir {INVENTORY}; touch {INVENTORY}/x; rm {INVENTORY}/x; kill -HUP $(cat /run/byway/agent.lock); rmdir {INVENTORY}"
        ),
        "director",
    );
}

#[test]
fn an_inventory_of_noise_changes_nothing() {
    check(&format!("head -c 5000 /dev/urandom > {INVENTORY}"), INVENTORY);
}

#[test]
fn an_inventory_without_this_host_changes_nothing() {
    check(&format!("sed 's/docker41/docker40/' /run/good.toml > {INVENTORY}"), "docker41");
}

#[test]
fn an_inventory_whose_subnets_overlap_changes_nothing() {
    check(&format!("sed 's/172.42.0.0/172.41.0.0/' /run/good.toml > {INVENTORY}"), "172.41.0.0/16");
}

#[test]
fn an_inventory_that_was_renamed_into_place_is_taken() {
    let lab = lab(&Spread { hosts: 3, containers: 1, segments: 1 }.topology());
    let ear = Ear::open(&lab, "docker41");
    let seed = Topology::two_hosts().inventory().unwrap();
    write(&lab, "docker41", "/etc/byway/new.toml", &seed);
    run(&lab, "docker41", &format!("mv /etc/byway/new.toml {INVENTORY}"));
    until(&ear, &lab, "two hosts", |status| status.hosts.len() == 2 && status.pending == 0);
    ear.until_at_rest();
    assert_eq!(routes(&lab).len(), 2);
}

#[test]
fn hosts_that_are_added_and_removed_by_command_are_routed_and_forgotten() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    let add = [
        "host",
        "add",
        "docker43",
        "--address",
        "192.168.199.43",
        "--address",
        "fd00:199::43",
        "--subnet",
        "172.43.0.0/16",
    ];
    let (code, out, errors) = byway(&lab, "docker41", &add);
    assert_eq!(code, Some(0), "{out}{errors}");
    until(&ear, &lab, "three hosts", |status| status.hosts.len() == 3 && status.hosts[2].routes_present == 1);
    let (code, out, errors) = byway(&lab, "docker41", &["host", "remove", "docker43"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    until(&ear, &lab, "two hosts", |status| status.hosts.len() == 2 && status.pending == 0);
}

#[test]
fn an_agent_that_starts_with_a_broken_inventory_goes_on_from_the_last_good_one() {
    let lab = lab(&Topology::two_hosts());
    end(&lab, "docker41", Signal::SIGKILL);
    run(
        &lab,
        "docker41",
        &format!(
            "ip route del 172.42.0.0/16; head -c 120 {INVENTORY} > /run/half; cp {INVENTORY} /run/good.toml; cp /run/half {INVENTORY}"
        ),
    );
    start(&lab, "docker41");
    let ear = Ear::open(&lab, "docker41");
    ear.until_at_rest();
    assert_reaching(&lab);
    assert!(status(&lab, "docker41").inventory.rejected.is_some());
    run(&lab, "docker41", &format!("cp /run/good.toml {INVENTORY}"));
    until(&ear, &lab, "it is healed", |status| status.inventory.rejected.is_none());
}

#[test]
fn an_agent_that_starts_without_even_the_folder_of_its_inventory_goes_on_from_the_last_good_one() {
    let lab = lab(&Topology::two_hosts());
    end(&lab, "docker41", Signal::SIGTERM);
    run(&lab, "docker41", "ip route del 172.42.0.0/16; mv /etc/byway /etc/away");
    start(&lab, "docker41");
    let ear = Ear::open(&lab, "docker41");
    ear.until_at_rest();
    assert_reaching(&lab);
    assert!(status(&lab, "docker41").inventory.rejected.is_some());
}
