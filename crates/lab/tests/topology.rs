//! Topology files: what is read from them, and how mistakes are told.

use byway_lab::Topology;

/// Reads a text; the outcome is the nodes with their addresses, or all mistakes.
fn check(text: &str, expected: &str) {
    let trimmed = |text: &str| text.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let told = match Topology::parse("lab.toml", &trimmed(text)) {
        Ok(topology) => tell(&topology),
        Err(mistakes) => mistakes.to_string(),
    };
    assert_eq!(told, trimmed(expected));
}

fn tell(topology: &Topology) -> String {
    let mut lines = Vec::new();
    for segment in &topology.segments {
        lines.push(format!(
            "segment {} {:?} gateways {:?}",
            segment.name,
            segment.prefixes,
            topology.gateways(segment)
        ));
    }
    for host in &topology.hosts {
        lines.push(format!("host {} on {} {:?} {}", host.name, host.segment, host.addresses, host.bridge));
        lines.extend(host.containers.iter().map(|c| format!("container {} {:?}", c.name, c.addresses)));
    }
    lines.join("\n")
}

#[test]
fn what_is_not_said_has_a_default() {
    check(
        r#"
        [[host]]
        name = "a"
        addresses = ["192.168.199.7"]
        subnets = ["10.7.1.0/24", "fd00:7:1::/64"]
        [[host.container]]
        name = "web"
        [[host.container]]
        name = "db"
        "#,
        "segment lan [192.168.199.0/24, fd00:199::/64] gateways []
         host a on lan [192.168.199.7] docker0
         container web [10.7.1.2, fd00:7:1::2]
         container db [10.7.1.3, fd00:7:1::3]",
    );
}

#[test]
fn two_segments_meet_in_a_router() {
    check(
        r#"
        segment = [{ name = "east", prefixes = ["10.1.0.0/24"] }, { name = "west", prefixes = ["10.2.0.0/24"] }]
        router = [{ name = "gate", addresses = ["10.1.0.1", "10.2.0.1"] }]
        [[host]]
        name = "a"
        addresses = ["10.1.0.7"]
        subnets = ["10.7.1.0/24"]
        [[host]]
        name = "b"
        segment = "west"
        addresses = ["10.2.0.8"]
        subnets = ["10.7.2.0/24"]
        bridge = "br0"
        "#,
        "segment east [10.1.0.0/24] gateways [10.1.0.1]
         segment west [10.2.0.0/24] gateways [10.2.0.1]
         host a on east [10.1.0.7] docker0
         host b on west [10.2.0.8] br0",
    );
}

#[test]
fn all_mistakes_of_form_are_told_at_once() {
    check(
        r#"
        hots = 1
        [[host]]
        name = 7
        adresses = ["192.168.199.41"]
        subnets = ["172.41.0.0", 3]
        [[segment]]
        name = "lan"
        prefixes = "10.0.0.0/8"
        [router]
        "#,
        r#"lab.toml:1:1: unknown key hots (did you mean host? there are: segment, host, router)
        lab.toml:2:1: addresses is missing
        lab.toml:3:8: name is a text, this is a number
        lab.toml:4:1: unknown key adresses (did you mean addresses? there are: name, segment, addresses, subnets, bridge, engine, iptables, container)
        lab.toml:5:12: "172.41.0.0" is not a prefix like 10.0.0.0/24
        lab.toml:5:26: this is a number, not a prefix like 10.0.0.0/24
        lab.toml:8:12: prefixes is a list, this is a text
        lab.toml:9:1: router is a list, this is a table"#,
    );
}

#[test]
fn all_mistakes_of_sense_are_told_at_once() {
    check(
        r#"
        [[host]]
        name = "docker41"
        addresses = ["192.168.199.41", "10.0.0.1"]
        subnets = ["172.41.0.1/16"]
        [[host]]
        name = "docker41"
        segment = "lam"
        addresses = ["192.168.199.41"]
        subnets = ["172.41.7.0/24", "192.168.0.0/16", "10.9.0.0/32"]
        [[host]]
        name = "a-host-with-a-long-name"
        addresses = ["192.168.199.41"]
        subnets = ["10.3.0.0/24"]
        [[host.container]]
        name = "twelve-chars"
        addresses = ["10.3.0.1"]
        [[host.container]]
        name = "switch"
        addresses = ["10.4.0.1"]
        "#,
        "lab.toml:3:13: has more than one of a family
        lab.toml:3:32: 10.0.0.1 is not in segment lan (lan is 192.168.199.0/24 and fd00:199::/64)
        lab.toml:4:12: 172.41.0.1/16 has bits behind its length (write 172.41.0.0/16)
        lab.toml:6:8: two are called docker41 (the other is the host at host[0].name)
        lab.toml:7:11: there is no segment lam (did you mean lan? there are: lan)
        lab.toml:9:12: 172.41.7.0/24 overlaps 172.41.0.1/16 of docker41
        lab.toml:9:29: 192.168.0.0/16 overlaps segment lan
        lab.toml:9:47: 10.9.0.0/32 has no room for the bridge's address
        lab.toml:11:8: a-host-with-a-long-name is longer than 15 characters (interfaces are named after it, and their names end at 15)
        lab.toml:12:14: 192.168.199.41 is already the address of docker41
        lab.toml:15:8: twelve-chars is longer than 11 characters (interfaces are named after it, and their names end at 15)
        lab.toml:16:14: 10.3.0.1 is already the address of docker0 of a-host-with-a-long-name
        lab.toml:18:8: the name switch is taken by the lab itself
        lab.toml:19:14: 10.4.0.1 is in no subnet of a-host-with-a-long-name (a-host-with-a-long-name has 10.3.0.0/24)",
    );
}

#[test]
fn a_text_that_is_no_toml_has_a_place_too() {
    check("[[host]\nname = 1", "lab.toml:1:8: unclosed array table, expected `]`");
}

#[test]
fn an_empty_text_is_no_lab() {
    check("", "lab.toml:1:1: a lab has at least one host");
}

#[test]
fn the_inventory_is_what_the_agents_read() {
    assert_eq!(
        Topology::two_hosts().inventory().unwrap(),
        r#"# Written by `byway lab`: the same on every host.

[[host]]
name = "docker41"
addresses = ["192.168.199.41", "fd00:199::41"]
subnets = ["172.41.0.0/16", "fd00:172:41::/64"]

[[host]]
name = "docker42"
addresses = ["192.168.199.42", "fd00:199::42"]
subnets = ["172.42.0.0/16", "fd00:172:42::/64"]
"#
    );
}

#[test]
fn an_engine_is_a_key_of_its_host() {
    let host = "[[host]]\nname = \"a\"\naddresses = [\"192.168.199.2\"]\nsubnets = [\"10.2.0.0/16\"]\n";
    let read = |more: &str| Topology::parse("lab.toml", &format!("{host}{more}"));
    let told = |more: &str| read(more).unwrap_err().to_string();
    let topology =
        read("engine = \"28.5\"\niptables = \"legacy\"\n[[host.container]]\nname = \"c\"\n").unwrap();
    let engine = topology.hosts[0].engine.as_ref().unwrap();
    assert_eq!((engine.release.as_str(), engine.iptables), ("28.5", byway_lab::Iptables::Legacy));
    assert!(topology.hosts[0].containers[0].addresses.is_empty(), "Docker gives them");
    assert!(told("engine = \"../x\"\n").contains("\"../x\" is no Docker engine"));
    assert!(told("engine = \"28.5\"\niptables = \"ipchains\"\n").contains("no iptables: nft or legacy"));
    assert!(told("iptables = \"nft\"\n").contains("iptables is for a host with an engine"));
    let given = "engine = \"28.5\"\n[[host.container]]\nname = \"c\"\naddresses = [\"10.2.0.2\"]\n";
    assert!(told(given).contains("Docker gives c its addresses"));
}
