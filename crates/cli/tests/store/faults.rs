//! Etcd is away, full, cut off, strange; a disk was copied: hosts that are in stay in, and everything is told.

use byway_lab::Signal;
use byway_lab::etcd::{Members, Tls};

use crate::common::stores::{PREFIXES, STORE, begin, configure, lease, stage, three_hosts, until_routed};
use crate::common::{Ear, assert_reaching, byway, end, quiet_lab, run, start, status, write};
use crate::subnets;

#[test]
fn while_etcd_is_away_all_stays_and_an_agent_even_starts() {
    let (lab, mut members) = stage();
    begin(&lab);
    members.kill_all();
    let ear = Ear::open(&lab, "docker41");
    let since =
        ear.until("it says that etcd says nothing", || match status(&lab, "docker41").inventory.rejected {
            Some(rejected) => Ok(rejected.since),
            None => Err("all is well".to_owned()),
        });
    assert_reaching(&lab);
    end(&lab, "docker41", Signal::SIGKILL);
    start(&lab, "docker41");
    until_routed(&lab, "docker41", 2);
    let told = status(&lab, "docker41").inventory;
    assert!(told.rejected.is_some_and(|rejected| rejected.since >= since), "it says so again");
    assert_eq!(subnets(&lab, "docker41"), ["172.41.0.0/16", "fd00:172:41::/64"]);
    assert_reaching(&lab);
    members.start_all().unwrap();
    ear.until("etcd is heard", || match status(&lab, "docker41").inventory {
        told if told.rejected.is_none()
            && told.lease.as_ref().is_some_and(|lease| lease.generation == Some(2)) =>
        {
            Ok(())
        }
        told => Err(format!("{told:?}")),
    });
    until_routed(&lab, "docker42", 2);
}

#[test]
fn of_two_hosts_from_one_disk_the_second_is_told_so_and_changes_nothing() {
    let (lab, _members) = stage();
    begin(&lab);
    let disk = run(&lab, "docker41", "cat /var/lib/byway/id");
    end(&lab, "docker42", Signal::SIGTERM);
    write(&lab, "docker42", "/var/lib/byway/id", &disk);
    start(&lab, "docker42");
    let refused = Ear::open(&lab, "docker42")
        .until("it is refused", || lease(&lab, "docker42").refused.ok_or_else(|| "it is not".to_owned()));
    assert!(
        refused.mistakes.starts_with("another machine has the id of this one and is in the cluster, at"),
        "{refused:?}"
    );
    assert_eq!(lease(&lab, "docker41").refused, None);
    assert_reaching(&lab);
    // As it says itself.
    end(&lab, "docker42", Signal::SIGTERM);
    run(&lab, "docker42", "rm /var/lib/byway/id");
    let (_, out, _) = byway(&lab, "docker41", &["hosts"]);
    assert!(out.contains("docker42"), "{out}");
}

#[test]
fn garbage_under_our_prefix_is_told_by_its_key_and_ignored() {
    let (lab, members) = stage();
    begin(&lab);
    members.ctl(&["put", "/byway/subnets/172.47.0.0-16", "{]"]).unwrap();
    members.ctl(&["put", "/byway/what/is/this", "x"]).unwrap();
    let told = Ear::open(&lab, "docker41").until("it is told", || match lease(&lab, "docker41").garbage {
        garbage if garbage.len() == 2 => Ok(garbage),
        garbage => Err(format!("{garbage:?}")),
    });
    assert!(told[0].starts_with("subnets/172.47.0.0-16: "), "{told:?}");
    assert_eq!(told[1], "what/is/this: nothing of this name is known");
    let (_, out, _) = byway(&lab, "docker41", &["status"]);
    assert!(out.contains("etcd has what/is/this: nothing of this name is known (ignored)"), "{out}");
    assert_reaching(&lab);
}

#[test]
fn a_host_that_is_cut_off_for_longer_than_its_lease_keeps_its_own_routes_and_is_back_when_it_is_heard() {
    let (lab, members) = stage();
    configure(&lab, "docker42", "lease-seconds = 5\nhealth = \"off\"\n");
    configure(&lab, "docker41", "health = \"off\"\n");
    begin(&lab);
    let cut = "nft add table inet cut
        nft add chain inet cut input '{ type filter hook input priority -200; }'
        nft add rule inet cut input ip saddr 192.168.199.42 drop";
    run(&lab, STORE, cut);
    until_routed(&lab, "docker41", 0);
    let routes = run(&lab, "docker42", "ip route show proto byway");
    assert!(routes.starts_with("172.41.0.0/16 via 192.168.199.41"), "{routes}");
    // What it misses is compacted away before it is heard again.
    let add = ["host", "add", "docker45", "--address", "192.168.199.45", "--subnet", "172.45.0.0/16"];
    let (code, out, errors) = byway(&lab, "docker41", &add);
    assert_eq!(code, Some(0), "{out}{errors}");
    let (_, out, _) = byway(&lab, "docker41", &["hosts", "--json"]);
    assert!(out.contains("docker45"), "{out}");
    let answer: serde_json::Value =
        serde_json::from_str(&members.ctl(&["get", "/byway/cluster", "--write-out=json"]).unwrap()).unwrap();
    members.ctl(&["compact", &answer["header"]["revision"].to_string()]).unwrap();
    run(&lab, STORE, "nft delete table inet cut");
    until_routed(&lab, "docker41", 3);
    until_routed(&lab, "docker42", 3);
    assert_eq!(lease(&lab, "docker42").generation, Some(1), "it is the same start");
    assert_reaching(&lab);
}

#[test]
fn etcd_is_asked_over_tls_with_a_certificate_and_a_wrong_one_is_told() {
    let lab = quiet_lab(&three_hosts());
    let address = "192.168.199.43".parse().unwrap();
    let members = Members::start_in(&lab, STORE, address, 1, Tls::With, &[]).unwrap();
    let files = members.certificates();
    let (certificate, key) = &files.client;
    let settings = |ca: &std::path::Path| {
        format!(
            "etcd = [\"https://192.168.199.43:2379\"]\netcd-ca = \"{}\"\netcd-cert = \"{}\"\netcd-key = \"{}\"\n",
            ca.display(),
            certificate.display(),
            key.display()
        )
    };
    for host in ["docker41", "docker42"] {
        write(&lab, host, "/etc/byway/byway.toml", &settings(&files.ca));
    }
    let init = ["store", "init", "--prefix", PREFIXES, "--ipv4-length", "16"];
    let (code, out, errors) = byway(&lab, "docker41", &init);
    assert_eq!(code, Some(0), "{out}{errors}");
    begin(&lab);
    assert_reaching(&lab);
    // Somebody puts another CA there: nothing of the cluster changes.
    write(&lab, "docker41", "/etc/byway/byway.toml", &settings(certificate));
    end(&lab, "docker41", Signal::SIGTERM);
    start(&lab, "docker41");
    let rejected = Ear::open(&lab, "docker41").until("it is told", || {
        let rejected = status(&lab, "docker41").inventory.rejected;
        rejected.filter(|rejected| rejected.mistakes.contains("https://")).ok_or_else(|| "nothing".to_owned())
    });
    assert!(
        rejected.mistakes.contains("certificate") && rejected.mistakes.contains("etcd-ca"),
        "{rejected:?}"
    );
    assert_reaching(&lab);
}

#[test]
fn an_etcd_that_is_full_is_told_and_hosts_that_are_in_stay_in() {
    let lab = quiet_lab(&three_hosts());
    let address = "192.168.199.43".parse().unwrap();
    let full = ["--quota-backend-bytes=1048576"];
    let members = Members::start_in(&lab, STORE, address, 1, Tls::Without, &full).unwrap();
    for host in ["docker41", "docker42"] {
        configure(&lab, host, "");
    }
    let init = ["store", "init", "--prefix", PREFIXES, "--ipv4-length", "16"];
    let (code, out, errors) = byway(&lab, "docker41", &init);
    assert_eq!(code, Some(0), "{out}{errors}");
    start(&lab, "docker41");
    Ear::open(&lab, "docker41").until("it is in", || match lease(&lab, "docker41") {
        lease if lease.generation == Some(1) => Ok(()),
        lease => Err(format!("{lease:?}")),
    });
    let large = "x".repeat(100_000);
    let filled = (0..30).any(|nth| members.ctl(&["put", &format!("/else/{nth}"), &large]).is_err());
    assert!(filled, "a store of 1 MiB has no room for 3 MB");
    start(&lab, "docker42");
    let rejected = Ear::open(&lab, "docker42").until("it is told", || {
        let rejected = status(&lab, "docker42").inventory.rejected;
        rejected
            .filter(|rejected| rejected.mistakes.contains("etcd is full"))
            .ok_or_else(|| "nothing".to_owned())
    });
    assert!(rejected.mistakes.contains("alarm disarm"), "{rejected:?}");
    assert_eq!(lease(&lab, "docker41").refused, None);
}

#[test]
fn etcd_is_asked_as_a_user_who_may_do_nothing_but_this_and_a_wrong_password_is_told() {
    let lab = quiet_lab(&three_hosts());
    let address = "192.168.199.43".parse().unwrap();
    let members = Members::start_in(&lab, STORE, address, 1, Tls::Without, &[]).unwrap();
    // Some versions of etcd have it already.
    let _ = members.ctl(&["role", "add", "root"]);
    for words in [
        "user add root:secret",
        "user add byway:walk",
        "role add byway",
        "role grant-permission byway --prefix=true readwrite /byway/",
        "user grant-role root root",
        "user grant-role byway byway",
        "auth enable",
    ] {
        members.ctl(&words.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let login = "etcd-user = \"byway\"\netcd-password-file = \"/etc/byway/etcd-password\"\n";
    for host in ["docker41", "docker42"] {
        run(&lab, host, "echo walk > /etc/byway/etcd-password; chmod 600 /etc/byway/etcd-password");
        configure(&lab, host, login);
    }
    let init = ["store", "init", "--prefix", PREFIXES, "--ipv4-length", "16"];
    let (code, out, errors) = byway(&lab, "docker41", &init);
    assert_eq!(code, Some(0), "{out}{errors}");
    begin(&lab);
    assert_reaching(&lab);
    run(&lab, "docker41", "echo run > /etc/byway/etcd-password");
    let (code, _, errors) = byway(&lab, "docker41", &["hosts"]);
    assert!(code == Some(1) && errors.contains("the user or the password is wrong"), "{errors}");
    run(&lab, "docker41", "echo walk > /etc/byway/etcd-password");
    configure(&lab, "docker41", &format!("{login}etcd-prefix = \"/others/\"\n"));
    let (code, _, errors) = byway(&lab, "docker41", &["hosts"]);
    assert!(code == Some(1) && errors.contains("grant-permission"), "{errors}");
}
