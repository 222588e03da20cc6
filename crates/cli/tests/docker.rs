//! The contract with Docker, kept on real engines, whatever happens to its rules. What passes then is in
//! `docker_traffic`.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use byway_lab::Lab;
use common::engines::{PAIRS, accepts, addresses, answers, engines, raise, topology, until_reaching};
use common::{Ear, ping, run};

#[test]
fn what_is_flushed_comes_back() {
    for pair in PAIRS {
        let lab = engines(pair);
        for damage in ["iptables -F DOCKER-USER", "iptables -t raw -F", "nft delete table inet byway"] {
            let before = accepts(&lab, "docker41");
            run(&lab, "docker41", damage);
            let ear = Ear::open(&lab, "docker41");
            ear.until(damage, || match accepts(&lab, "docker41") {
                now if now == before => Ok(()),
                now => Err(format!("{now:?}")),
            });
            ear.until_at_rest();
            until_reaching(&lab);
        }
    }
}

#[test]
fn an_accept_that_was_pushed_behind_comes_forward_and_the_admins_drop_stays_in_force() {
    let lab = engines(["28.5", "28.5"]);
    run(&lab, "docker41", "iptables -I DOCKER-USER -j RETURN");
    Ear::open(&lab, "docker41").until("ours stands first", || {
        let rules = run(&lab, "docker41", "iptables -S DOCKER-USER");
        match rules.lines().nth(1) {
            Some(first) if first.contains("byway") => Ok(()),
            _ => Err(rules),
        }
    });
    let c42 = addresses(&lab, "c42")[0];
    run(&lab, "docker41", &format!("iptables -I DOCKER-USER -s {c42} -j DROP"));
    Ear::open(&lab, "docker41").until_at_rest();
    let c41 = addresses(&lab, "c41")[0].to_string();
    assert!(!answers(&lab, "c42", &c41), "the admin's drop is in force");
}

#[test]
fn containers_networks_and_engines_come_and_go() {
    for pair in PAIRS {
        let lab = engines(pair);
        run(&lab, "docker41", "docker restart -t 0 c41");
        until_reaching(&lab);
        run(&lab, "docker41", "docker network create other; docker run -d --name second busybox sleep 1000");
        until_reaching(&lab);
        run(&lab, "docker41", "docker rm -f second; docker network rm other");
        lab.signal_engine("docker41", byway_lab::Signal::SIGHUP).unwrap();
        until_reaching(&lab);
        lab.stop_engine("docker41").unwrap();
        lab.start_engine("docker41").unwrap();
        run(&lab, "docker41", "docker start c41");
        until_reaching(&lab);
    }
}

#[test]
fn a_network_in_the_leased_subnet_is_reached_if_it_is_opted_in_and_else_is_left_as_docker_made_it() {
    let lab = engines(["28.5", "28.5"]);
    run(&lab, "docker41", "echo '{\"bip\": \"172.41.0.1/24\"}' > /etc/docker/daemon.json");
    lab.stop_engine("docker41").unwrap();
    lab.start_engine("docker41").unwrap();
    for (name, nth, options) in [("shop", 8, ""), ("open", 9, "--label byway=1")] {
        run(&lab, "docker41", &format!("docker network create {options} --subnet 172.41.{nth}.0/24 {name}"));
        run(
            &lab,
            "docker41",
            &format!("docker run -d --name {name} --network {name} --ip 172.41.{nth}.2 busybox sleep 1000"),
        );
    }
    Ear::open(&lab, "docker41").until("the labelled network is reached", || {
        if answers(&lab, "c42", "172.41.9.2") { Ok(()) } else { Err("no answer".to_owned()) }
    });
    assert!(!answers(&lab, "c42", "172.41.8.2"), "a network that was not opted in was reached");
    // It still reaches the rest of the world, masqueraded as ever.
    run(&lab, "docker41", "docker exec shop ping -c1 -W5 192.168.199.42");
}

#[test]
fn down_takes_our_accepts_out_of_dockers_chains_and_nothing_else() {
    for pair in PAIRS {
        let lab = engines(pair);
        assert!(!accepts(&lab, "docker41").is_empty());
        let others = |lab: &Lab| {
            let saved = run(lab, "docker41", "iptables-save; ip6tables-save");
            let rules =
                saved.lines().filter(|line| line.starts_with("-A ") && !line.contains("--comment byway "));
            rules.map(str::to_owned).collect::<Vec<_>>()
        };
        let before = others(&lab);
        let (code, out, errors) = common::byway(&lab, "docker41", &["down"]);
        assert_eq!(code, Some(0), "{out}{errors}");
        assert_eq!(accepts(&lab, "docker41"), [""; 0]);
        assert_eq!(others(&lab), before);
        assert!(ping(&lab, "c41", "172.41.0.1").is_ok(), "Docker goes on as before");
    }
}

#[test]
fn the_plan_says_how_packets_pass_and_why() {
    let lab = engines(["20.10", "28.5"]);
    let (_, old, _) = common::byway(&lab, "docker41", &["plan"]);
    let (_, new, _) = common::byway(&lab, "docker42", &["plan"]);
    assert!(old.contains("cooperate with Docker 20.10.24 (iptables-nft): Docker lets nothing in"), "{old}");
    assert!(new.contains("cooperate with Docker 28.5.2 (iptables-nft): since 28.2"), "{new}");
}

#[test]
fn an_engine_on_iptables_legacy_is_served_with_iptables_legacy() {
    let mut topology = topology(["28.5", "28.5"]);
    for host in &mut topology.hosts {
        host.engine.as_mut().unwrap().iptables = byway_lab::Iptables::Legacy;
    }
    let lab = raise(&topology);
    let (_, plan, _) = common::byway(&lab, "docker41", &["plan"]);
    assert!(plan.contains("(iptables-legacy)"), "{plan}");
    let before = accepts(&lab, "docker41");
    assert_eq!(before.len(), 4, "{before:?}");
    // Nobody tells of this; it is found by looking.
    run(&lab, "docker41", "iptables -t raw -F");
    Ear::open(&lab, "docker41").until("raw is as before", || match accepts(&lab, "docker41") {
        now if now == before => Ok(()),
        now => Err(format!("{now:?}")),
    });
}

#[test]
fn docker0_gets_the_hosts_subnet_by_one_command_and_a_restart() {
    for release in ["20.10", "28.5"] {
        let lab = engines([release, release]);
        // As Docker comes from the shelf, with a setting of the admin's own.
        run(&lab, "docker41", "printf '{\\n    \"log-level\": \"warn\"\\n}\\n' > /etc/docker/daemon.json");
        let (code, said, errors) = common::byway(&lab, "docker41", &["docker", "bip"]);
        assert_eq!(code, Some(0), "{errors}");
        assert!(said.contains("bip = \"172.41.0.1/16\"") && said.contains("nothing was written"), "{said}");
        assert!(said.contains("1 container runs: c41") && said.contains("which stops them"), "{said}");
        let (code, said, errors) = common::byway(&lab, "docker41", &["docker", "bip", "--write"]);
        assert_eq!(code, Some(0), "{said}{errors}");
        let file = run(&lab, "docker41", "cat /etc/docker/daemon.json");
        let expected = "{\n    \"log-level\": \"warn\",\n    \"bip\": \"172.41.0.1/16\",\n    \"ipv6\": true,\n    \
                        \"fixed-cidr-v6\": \"fd00:172:41::/64\"\n}\n";
        assert_eq!(file, expected);
        let kept = run(&lab, "docker41", "cat /etc/docker/daemon.json.before-byway");
        assert_eq!(kept, "{\n    \"log-level\": \"warn\"\n}\n");
        lab.stop_engine("docker41").unwrap();
        lab.start_engine("docker41").unwrap();
        run(&lab, "docker41", "docker start c41");
        until_reaching(&lab);
        let (_, said, _) = common::byway(&lab, "docker41", &["docker", "bip"]);
        assert!(said.contains("already"), "{said}");
    }
}

#[test]
fn a_daemon_json_that_docker_would_refuse_is_not_written() {
    let lab = engines(["28.5", "28.5"]);
    run(&lab, "docker41", "echo '{\"no-such-option\": 1}' > /etc/docker/daemon.json");
    let (code, _, errors) = common::byway(&lab, "docker41", &["docker", "bip", "--write"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("dockerd would not start with it") && errors.contains("no-such-option"),
        "{errors}"
    );
    assert_eq!(run(&lab, "docker41", "cat /etc/docker/daemon.json"), "{\"no-such-option\": 1}\n");
    run(&lab, "docker41", "echo '{\"bip\": ' > /etc/docker/daemon.json");
    let (code, _, errors) = common::byway(&lab, "docker41", &["docker", "bip"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("line "), "{errors}");
}
