//! What a Docker host goes through: flushes, restarts, upgrades, lost uplinks. The cluster comes back by itself, and
//! what only a person can bring back is told.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::net::{IpAddr, UdpSocket};

use byway_lab::{Lab, Signal};
use common::engines::{
    PAIRS, accepts, addresses, answers, engine, engines, let_an_outsider_in, restart_as, until_reaching,
    until_told, until_well,
};
use common::{Ear, end, run, source_seen, start};

/// Switches live-restore on as the sentence in the status says.
fn switch_live_restore_on(lab: &Lab, host: &str) {
    run(lab, host, "sed -i 's/^{/{\"live-restore\": true,/' /etc/docker/daemon.json");
    lab.signal_engine(host, Signal::SIGHUP).unwrap();
    Ear::open(lab, host).until("live-restore is on", || {
        let said = run(lab, host, "docker info --format '{{.LiveRestoreEnabled}}'");
        if said.trim() == "true" { Ok(()) } else { Err(said) }
    });
}

fn started_at(lab: &Lab, host: &str, container: &str) -> String {
    run(lab, host, &format!("docker inspect --format '{{{{.State.StartedAt}}}}' {container}"))
}

#[test]
fn a_flush_of_everything_is_told_and_ends_with_the_restart_that_is_told() {
    for pair in PAIRS {
        let lab = engines(pair);
        let_an_outsider_in(&lab);
        run(&lab, "docker41", "nft flush ruleset");
        let told = until_told(&lab, "docker41", "somebody flushed rules of Docker's own");
        for word in ["table filter", "table nat", "live-restore", "systemctl restart docker"] {
            assert!(told.contains(word), "{pair:?}: {told}");
        }
        Ear::open(&lab, "docker41").until_at_rest();
        until_reaching(&lab);
        let c41 = addresses(&lab, "c41")[0].to_string();
        assert!(!answers(&lab, "switch", &c41), "{pair:?}: nobody else keeps outsiders out now, so we do");
        switch_live_restore_on(&lab, "docker41");
        let before = started_at(&lab, "docker41", "c41");
        lab.stop_engine("docker41").unwrap();
        lab.start_engine("docker41").unwrap();
        if pair[0] == "20.10" {
            assert!(told.contains("docker network create tmp"), "{told}");
            run(&lab, "docker41", "docker network create tmp && docker network rm tmp");
        }
        until_well(&lab, "docker41");
        until_reaching(&lab);
        assert_eq!(started_at(&lab, "docker41", "c41"), before, "{pair:?}: the container went on");
        // Docker to 27 leaves FORWARD open now, as forwarding was on when it started.
        assert!(!answers(&lab, "switch", &c41), "{pair:?}: an outsider reached a container");
    }
}

#[test]
fn each_flush_is_told_for_what_it_took() {
    for (release, damage, words) in [
        ("20.10", "iptables -F", "table filter"),
        ("28.5", "iptables -F", "table filter"),
        ("20.10", "iptables -t nat -F", "table nat"),
        ("28.5", "iptables -t nat -F", "table nat"),
        ("28.5", "iptables -t raw -F", "table raw"),
    ] {
        let lab = engines([release, release]);
        run(&lab, "docker41", damage);
        let told = until_told(&lab, "docker41", words);
        assert_eq!(told.matches("(table ").count(), 1, "{release}: {damage}: {told}");
        Ear::open(&lab, "docker41").until_at_rest();
        restart_as(&lab, "docker41", None);
        until_well(&lab, "docker41");
        until_reaching(&lab);
    }
}

#[test]
fn a_restart_with_live_restore_costs_no_connection() {
    for release in ["20.10", "28.5"] {
        let lab = engines([release, release]);
        switch_live_restore_on(&lab, "docker41");
        let before = (started_at(&lab, "docker41", "c41"), accepts(&lab, "docker41"));
        let c41 = addresses(&lab, "c41")[0].to_string();
        lab.stop_engine("docker41").unwrap();
        assert!(answers(&lab, "c42", &c41), "{release}: without its engine");
        lab.start_engine("docker41").unwrap();
        assert!(answers(&lab, "c42", &c41), "{release}: with it again");
        assert_eq!((started_at(&lab, "docker41", "c41"), accepts(&lab, "docker41")), before);
    }
}

#[test]
fn an_engine_is_upgraded_under_a_running_agent() {
    let lab = engines(["20.10", "20.10"]);
    assert_eq!(accepts(&lab, "docker41").len(), 1, "20.10 drops nothing in raw");
    restart_as(&lab, "docker41", Some(&engine("28.5", &[])));
    until_reaching(&lab);
    Ear::open(&lab, "docker41").until("the plan knows of it", || {
        let (_, said, _) = common::byway(&lab, "docker41", &["plan"]);
        if said.contains("Docker 28.5.2") { Ok(()) } else { Err(said) }
    });
    until_well(&lab, "docker41");
}

#[test]
fn an_uplink_goes_down_and_comes_up_again() {
    let lab = engines(["20.10", "28.5"]);
    for host in ["docker41", "docker42"] {
        run(&lab, host, "ip link set eth0 down");
        Ear::open(&lab, host).until_at_rest();
        // IPv6 addresses go with the link, and a host that has lost them has lost them.
        let number = host.replace("docker", "");
        run(
            &lab,
            host,
            &format!("ip link set eth0 up; ip address replace fd00:199::{number}/64 dev eth0 nodad"),
        );
        until_reaching(&lab);
    }
}

#[test]
fn while_the_agent_is_dead_traffic_goes_on_and_afterwards_the_damage_is_mended() {
    let lab = engines(["28.5", "28.5"]);
    let before = accepts(&lab, "docker41");
    end(&lab, "docker41", Signal::SIGKILL);
    let c41 = addresses(&lab, "c41")[0].to_string();
    assert!(answers(&lab, "c42", &c41));
    run(&lab, "docker41", "iptables -F DOCKER-USER; docker restart -t 0 c41; ip route flush proto byway");
    start(&lab, "docker41");
    until_reaching(&lab);
    assert_eq!(accepts(&lab, "docker41"), before);
}

#[test]
fn where_an_old_engine_lets_everybody_in_we_do_not_and_else_the_admin_decides() {
    let lab = engines(["20.10", "20.10"]);
    let_an_outsider_in(&lab);
    let c41 = addresses(&lab, "c41")[0].to_string();
    run(&lab, "docker41", "iptables -I DOCKER-USER -s 192.168.199.9 -j ACCEPT");
    Ear::open(&lab, "docker41").until_at_rest();
    assert!(answers(&lab, "switch", &c41), "the admin has let this one in, and Docker keeps the others out");
    run(&lab, "docker41", "iptables -D DOCKER-USER -s 192.168.199.9 -j ACCEPT; iptables -P FORWARD ACCEPT");
    Ear::open(&lab, "docker41").until("the outsider is kept out", || {
        if answers(&lab, "switch", &c41) { Err("it was answered".to_owned()) } else { Ok(()) }
    });
    until_reaching(&lab);
}

#[test]
fn an_engine_that_writes_no_rules_is_no_open_door() {
    for release in ["20.10", "28.5"] {
        let lab = engines([release, release]);
        let_an_outsider_in(&lab);
        lab.stop_engine("docker41").unwrap();
        run(&lab, "docker41", "nft flush ruleset; iptables -P FORWARD ACCEPT");
        lab.start_engine_as("docker41", &engine(release, &["--iptables=false", "--ip6tables=false"]))
            .unwrap();
        run(&lab, "docker41", "docker start c41");
        until_reaching(&lab);
        until_well(&lab, "docker41");
        let (_, plan, _) = common::byway(&lab, "docker41", &["plan"]);
        assert!(plan.contains("(no rules): Docker writes no rules on this host (iptables=false)"), "{plan}");
        let c41 = addresses(&lab, "c41")[0].to_string();
        assert!(!answers(&lab, "switch", &c41), "{release}: an outsider reached a container");
        let seen = source_seen(&lab, "c41", "switch", "192.168.199.9");
        assert_eq!(seen.to_string(), "192.168.199.41", "{release}: what leaves is masqueraded, by us");
    }
}

#[test]
fn a_connection_that_began_masqueraded_goes_on_with_its_own_address() {
    for pair in PAIRS {
        let lab = engines(pair);
        end(&lab, "docker41", Signal::SIGTERM);
        run(&lab, "docker41", "nft delete table inet byway");
        let (own, to) = (addresses(&lab, "c41")[0], addresses(&lab, "c42")[0]);
        let listener = lab.inside("c42", || UdpSocket::bind((to, 0))).unwrap().unwrap();
        let speaker = lab.inside("c41", || UdpSocket::bind((own, 0))).unwrap().unwrap();
        speaker.connect(listener.local_addr().unwrap()).unwrap();
        let heard = || -> IpAddr {
            speaker.send(b"who am I?").unwrap();
            listener.recv_from(&mut [0; 16]).unwrap().1.ip()
        };
        let host = run(
            &lab,
            "docker42",
            "iptables -I DOCKER-USER -s 192.168.199.41 -j ACCEPT; \
             iptables -t raw -I PREROUTING -s 192.168.199.41 -j ACCEPT; echo 192.168.199.41",
        );
        assert_eq!(heard().to_string(), host.trim(), "{pair:?}: nobody keeps the source");
        start(&lab, "docker41");
        assert_eq!(heard(), own, "{pair:?}: from the same socket");
        let log = common::log(&lab, "docker41");
        assert!(log.contains("because somebody had rewritten their source addresses"), "{log}");
    }
}
