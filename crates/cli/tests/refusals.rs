//! Where the agent does not start, or does not route, it says why and what to do, and changes nothing.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use byway_lab::{Lab, Spread, Topology};
use common::{BYWAY, Ear, byway, lab, ping, problems, quiet_lab, run, start, write};

const INVENTORY: &str = "/etc/byway/inventory.toml";

/// All that an agent could have changed.
fn touched(lab: &Lab) -> String {
    run(
        lab,
        "docker41",
        "nft list ruleset; ip route; ip -6 route; cd /proc/sys/net
         grep . ipv4/conf/*/forwarding ipv6/conf/*/forwarding ipv6/conf/*/force_forwarding; ls /etc/iproute2/rt_protos.d",
    )
}

#[test]
fn a_second_agent_on_a_host_refuses_and_names_the_first() {
    let lab = lab(&Topology::two_hosts());
    let pid = common::agent(&lab, "docker41").pid;
    let (code, _, errors) = byway(&lab, "docker41", &["agent"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains(&format!("another byway agent runs on this host already (pid {pid})")),
        "{errors}"
    );
    assert_eq!(common::agent(&lab, "docker41").pid, pid, "the first goes on");
    common::assert_reaching(&lab);
}

#[test]
fn without_the_capability_nothing_is_changed_and_it_is_named() {
    let lab = quiet_lab(&Topology::two_hosts());
    let before = touched(&lab);
    for command in ["agent", "plan", "status", "down"] {
        let mut setpriv = lab.command("docker41", "setpriv");
        let out = setpriv
            .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", BYWAY, command])
            .output()
            .unwrap();
        let errors = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(1), "{command}: {errors}");
        assert!(errors.contains("this needs the capability CAP_NET_ADMIN"), "{command}: {errors}");
    }
    assert_eq!(touched(&lab), before);
}

/// An agent with this inventory ends with status 1 and says so, and has changed nothing.
fn check(inventory: &str, said: &[&str]) {
    let lab = quiet_lab(&Topology::two_hosts());
    write(&lab, "docker41", INVENTORY, inventory);
    let before = touched(&lab);
    for command in ["agent", "plan"] {
        let (code, _, errors) = byway(&lab, "docker41", &[command]);
        assert_eq!(code, Some(1), "{command}: {errors}");
        for words in said {
            assert!(errors.contains(words), "{command}: {words}: {errors}");
        }
    }
    assert_eq!(touched(&lab), before);
}

fn seed(from: &str, to: &str) -> String {
    let inventory = Topology::two_hosts().inventory().unwrap();
    assert!(inventory.contains(from));
    inventory.replace(from, to)
}

#[test]
fn a_host_that_is_not_in_its_own_inventory() {
    check(&seed("docker41", "docker40"), &["docker41", "did you mean"]);
}

#[test]
fn two_hosts_of_one_name() {
    check(&seed("docker42", "docker41"), &["docker41", "inventory.toml:9"]);
}

#[test]
fn subnets_that_overlap() {
    check(
        &seed("172.42.0.0/16", "172.41.128.0/17"),
        &["172.41.128.0/17", "overlap", "docker41", "inventory.toml:11"],
    );
}

#[test]
fn a_subnet_that_covers_its_own_hosts_address() {
    check(&seed("172.41.0.0/16", "192.168.0.0/16"), &["192.168.0.0/16", "192.168.199.41"]);
}

#[test]
fn a_prefix_with_host_bits() {
    check(&seed("172.42.0.0/16", "172.42.1.1/16"), &["172.42.1.1/16 has host bits", "172.42.0.0/16"]);
}

#[test]
fn an_unknown_key() {
    check(&seed("subnets", "subnet"), &["unknown key", "subnets"]);
}

#[test]
fn an_empty_inventory() {
    check("", &["inventory.toml"]);
}

#[test]
fn an_inventory_that_is_not_there_is_told_with_its_name() {
    let lab = quiet_lab(&Topology::two_hosts());
    run(&lab, "docker41", &format!("rm {INVENTORY}"));
    let (code, _, errors) = byway(&lab, "docker41", &["agent"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("read the inventory /etc/byway/inventory.toml") && errors.contains("No such file"),
        "{errors}"
    );
}

#[test]
fn a_subnet_that_covers_the_default_gateway_is_not_routed_and_the_others_are() {
    let lab = quiet_lab(&Spread { hosts: 6, containers: 1, segments: 2 }.topology());
    let inventory = lab.topology().unwrap().inventory().unwrap();
    let cutting =
        inventory.replace("172.42.0.0/16", "192.168.199.0/28").replace("fd00:172:42::/64", "fd00:199::/124");
    write(&lab, "docker41", INVENTORY, &cutting);
    start(&lab, "docker41");
    start(&lab, "docker43");
    let told = problems(&lab, "docker41");
    for words in [
        "refused: 192.168.199.0/28 of docker42 covers 192.168.199.1, this host's default gateway: not routed",
        "refused: fd00:199::/124 of docker42 covers fd00:199::1, this host's default gateway: not routed",
    ] {
        assert!(told.iter().any(|problem| problem.starts_with(words)), "{told:?}");
    }
    assert!(ping(&lab, "docker41", "192.168.198.44").is_ok(), "the gateway still serves");
    assert!(ping(&lab, "docker41", "fd00:198::44").is_ok(), "the gateway still serves");
    assert!(ping(&lab, "c41", "172.43.0.2").unwrap().contains("ttl=62"));
    assert_eq!(byway(&lab, "docker41", &["status"]).0, Some(1));
}

#[test]
fn a_subnet_that_covers_an_address_of_this_host_is_not_routed_until_it_goes() {
    let lab = lab(&Topology::two_hosts());
    let ear = Ear::open(&lab, "docker41");
    run(&lab, "docker41", "ip address add 172.42.9.9/32 dev eth0");
    ear.until("it is refused", || match problems(&lab, "docker41") {
        told if told.iter().any(|told| {
            told.contains("172.42.0.0/16 of docker42 covers 172.42.9.9, this host's own address")
        }) =>
        {
            Ok(())
        }
        told => Err(told.join("\n")),
    });
    ear.until_at_rest();
    assert_eq!(run(&lab, "docker41", "ip route show proto byway"), "");
    run(&lab, "docker41", "ip address del 172.42.9.9/32 dev eth0");
    ear.until("it is routed again", || match problems(&lab, "docker41") {
        told if told.is_empty() => Ok(()),
        told => Err(told.join("\n")),
    });
    ear.until_at_rest();
    common::assert_reaching(&lab);
}

#[test]
fn mistakes_in_the_settings_are_all_told_with_their_places() {
    let lab = quiet_lab(&Topology::two_hosts());
    write(&lab, "docker41", "/etc/byway/byway.toml", "hots = \"docker41\"\nlook_every_seconds = 0\n");
    let (code, _, errors) = byway(&lab, "docker41", &["agent"]);
    assert_eq!(code, Some(1));
    for words in ["byway.toml:1:1", "unknown key `hots`", "byway.toml:2"] {
        assert!(errors.contains(words), "{words}: {errors}");
    }
}

#[test]
fn a_refusal_in_json_is_json() {
    let lab = quiet_lab(&Topology::two_hosts());
    write(&lab, "docker41", INVENTORY, &seed("docker42", "docker41"));
    let (code, out, errors) = byway(&lab, "docker41", &["status", "--json"]);
    assert_eq!((code, errors.as_str()), (Some(1), ""));
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["mistakes"][0]["line"], 9, "{answer}");
}
