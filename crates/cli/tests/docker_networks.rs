//! Networks of Docker's and the cluster's subnets: made by us, kept free of others, named where they clash.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use byway_lab::{Lab, Options};
use common::engines::{addresses, engines, topology, until_reaching, until_told, until_well};
use common::{BYWAY, Ear, byway, run, source_seen, status};

/// The subnet that Docker gave a network.
fn subnet(lab: &Lab, host: &str, network: &str) -> String {
    let format = "{{(index .IPAM.Config 0).Subnet}}";
    run(lab, host, &format!("docker network inspect --format '{format}' {network}")).trim().to_owned()
}

#[test]
fn docker_gives_no_subnet_of_the_cluster_to_a_network() {
    for release in ["20.10", "28.5"] {
        let lab = engines([release, release]);
        // A pool that begins with the peer's subnet, then goes on with our own.
        run(
            &lab,
            "docker41",
            "sed -i 's|^{|{\"default-address-pools\": [{\"base\": \"172.42.0.0/16\", \"size\": 24}, \
             {\"base\": \"172.41.0.0/16\", \"size\": 24}, {\"base\": \"10.99.0.0/16\", \"size\": 24}],|' \
             /etc/docker/daemon.json",
        );
        lab.stop_engine("docker41").unwrap();
        lab.start_engine("docker41").unwrap();
        run(&lab, "docker41", "docker start c41; docker network create other");
        assert_eq!(subnet(&lab, "docker41", "other"), "10.99.0.0/24", "{release}");
        let reserved = run(&lab, "docker41", "ip route show proto byway type unreachable");
        for subnet in ["172.41.0.0/16", "172.42.0.0/16"] {
            let line = format!("unreachable {subnet} scope link metric 4000000000");
            assert!(reserved.contains(&line), "{reserved}");
        }
        until_reaching(&lab);
    }
}

#[test]
fn a_network_that_overlaps_is_named_with_the_command_that_ends_it() {
    let lab = engines(["20.10", "28.5"]);
    for host in ["docker41", "docker42"] {
        let other = if host == "docker41" { "172.42.7.0/24" } else { "172.41.7.0/24" };
        run(&lab, host, &format!("docker network create --subnet {other} clash"));
        run(&lab, host, "docker run -d --name stray --network clash busybox sleep 1000");
        let told = until_told(&lab, host, "Docker's network clash uses");
        assert!(told.contains(&format!("{other}, a part of ")), "{told}");
        let ear = Ear::open(&lab, host);
        let command = ear.until("the container is named", || {
            let told = until_told(&lab, host, "Docker's network clash uses");
            let command = told.split('`').nth(1).unwrap().to_owned();
            if command.contains("stray") { Ok(command) } else { Err(told) }
        });
        run(&lab, host, &command);
        until_well(&lab, host);
    }
}

#[test]
fn where_docker0_holds_the_subnet_no_other_network_is_made() {
    let lab = engines(["28.5", "28.5"]);
    let (code, _, errors) = byway(&lab, "docker41", &["docker", "network", "--create"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("Docker's network bridge holds 172.41.0.0/16 already"), "{errors}");
}

#[test]
fn a_network_is_made_beside_docker0_without_a_restart() {
    let mut topology = topology(["20.10", "28.5"]);
    for host in &mut topology.hosts {
        host.bridge = "bw0".to_owned();
    }
    let lab = Lab::up(&topology, &Options::private(BYWAY.as_ref()), |_| {}).unwrap();
    for (host, container) in [("docker41", "c41"), ("docker42", "c42")] {
        let hint = until_told(&lab, host, "no interface of this host holds 172.4");
        assert!(hint.contains("byway docker network --create"), "{hint}");
        let (code, said, errors) = byway(&lab, host, &["docker", "network"]);
        assert_eq!(code, Some(0), "{errors}");
        assert!(said.contains("would be made") && said.contains("nothing was done"), "{said}");
        let (code, said, errors) = byway(&lab, host, &["docker", "network", "--create"]);
        assert_eq!(code, Some(0), "{errors}");
        assert!(said.contains("network byway was made") && said.contains("bridge bw0, MTU 1500"), "{said}");
        let (_, said, _) = byway(&lab, host, &["docker", "network", "--create"]);
        assert!(said.contains("is there already"), "{said}");
        let again = format!(
            "docker rm -f {container}; docker run -d --name {container} --network byway busybox sleep 1000"
        );
        run(&lab, host, &again);
    }
    until_reaching(&lab);
    for host in ["docker41", "docker42"] {
        until_well(&lab, host);
        assert_eq!(run(&lab, host, "cat /sys/class/net/bw0/mtu").trim(), "1500");
    }
    // The status knows the container, and where it is plugged in.
    let endpoints = status(&lab, "docker41").endpoints;
    let [endpoint] = &endpoints[..] else { panic!("{endpoints:?}") };
    assert_eq!((endpoint.container.as_str(), endpoint.network.as_str()), ("c41", "byway"));
    let mut told = endpoint.addresses.clone();
    let mut real = addresses(&lab, "c41");
    told.sort();
    real.sort();
    assert_eq!(told, real);
    let veth = endpoint.veth.as_deref().unwrap();
    assert!(run(&lab, "docker41", &format!("ip link show {veth}")).contains("master bw0"));
    // A bridge that is made again has another index.
    run(&lab, "docker41", "docker rm -f c41; docker network rm byway");
    let (code, ..) = byway(&lab, "docker41", &["docker", "network", "--create"]);
    assert_eq!(code, Some(0));
    run(&lab, "docker41", "docker run -d --name c41 --network byway busybox sleep 1000");
    until_reaching(&lab);
}

/// The commands of the README, in their order.
fn quick_start() -> Vec<&'static str> {
    let readme = include_str!("../../../README.md");
    let (_, rest) = readme.split_once("## On two Docker hosts").unwrap();
    let (block, _) = rest.split_once("```sh\n").unwrap().1.split_once("```").unwrap();
    block.lines().collect()
}

#[test]
fn the_quick_start_of_the_readme_works_as_it_is_written() {
    let mut topology = topology(["20.10", "28.5"]);
    for host in &mut topology.hosts {
        host.bridge = "bw0".to_owned();
        host.containers.clear();
    }
    let options = Options::private(BYWAY.as_ref()).without_agents();
    let lab = Lab::up(&topology, &options, |_| {}).unwrap_or_else(|error| panic!("{error:#}"));
    let commands = quick_start();
    let [prepare @ .., ping] = &commands[..] else { panic!("no commands") };
    assert_eq!(prepare.len(), 4, "{commands:?}");
    for host in ["docker41", "docker42"] {
        // The lab has written it already.
        run(&lab, host, "rm /etc/byway/inventory.toml");
        for command in prepare {
            run(&lab, host, &format!("({command}) >/dev/null 2>&1 </dev/null"));
        }
    }
    let speak = |host: &str, command: &str| {
        let mut shell = lab.command(host, "sh");
        shell.args(["-c", command]).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap()
    };
    let mut there = speak("docker42", &ping.replace("172.42.0.2", "172.41.0.2"));
    let mut here = speak("docker41", ping);
    for (child, from) in [(&mut here, "172.42.0.2"), (&mut there, "172.41.0.2")] {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let answer = lines.find(|line| line.contains(&format!("bytes from {from}"))).unwrap();
        assert!(answer.contains("ttl=62"), "{answer}");
    }
    for host in ["docker41", "docker42"] {
        run(&lab, host, "docker rm -f $(docker ps -q)");
    }
    for mut child in [here, there] {
        child.wait().unwrap();
    }
}

#[test]
fn what_is_rendered_for_docker_is_the_contract_without_an_agent() {
    let options = Options::private(BYWAY.as_ref()).without_agents();
    let lab =
        Lab::up(&topology(["20.10", "28.5"]), &options, |_| {}).unwrap_or_else(|error| panic!("{error:#}"));
    for host in ["docker41", "docker42"] {
        run(&lab, host, "iptables -I DOCKER-USER -s 10.9.9.9 -j DROP");
        for _ in ["once", "and again"] {
            run(&lab, host, "byway render --format ip | sh; byway render --format docker | sh");
        }
        let rules = run(&lab, host, "iptables -S DOCKER-USER");
        let ours: Vec<usize> =
            rules.lines().enumerate().filter(|(_, rule)| rule.contains("byway")).map(|(at, _)| at).collect();
        assert_eq!(ours, [2], "behind the admin's, before the RETURN: {rules}");
    }
    until_reaching(&lab);
    let c42 = addresses(&lab, "c42")[0].to_string();
    assert_eq!(source_seen(&lab, "c41", "c42", &c42), addresses(&lab, "c41")[0]);
}
