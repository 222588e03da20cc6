//! What a store of hosts means, told of both: the inventory file, and etcd.

use crate::common::stores::{PREFIXES, begin, stage, three_hosts, until_routed};
use crate::common::{Ear, assert_reaching, attempt, byway, end, quiet_lab, run, start, status, write};
use byway_lab::etcd::Members;
use byway_lab::{Lab, Signal};

const INVENTORY: &str = "/etc/byway/inventory.toml";
const HOSTS: [&str; 2] = ["docker41", "docker42"];

/// A cluster of two hosts that run, and where its hosts are kept.
struct Cluster {
    lab: Lab,
    /// None where the hosts are in an inventory.
    members: Option<Members>,
}

/// Tells a story of both stores.
fn of_both(story: impl Fn(&mut Cluster)) {
    story(&mut Cluster::in_files());
    story(&mut Cluster::in_etcd());
}

impl Cluster {
    fn in_files() -> Self {
        let lab = quiet_lab(&three_hosts());
        let prefixes = PREFIXES.replace(',', "\", \"");
        let first =
            format!("[cluster]\nprefixes = [\"{prefixes}\"]\nsubnet-lengths = {{ ipv4 = 16, ipv6 = 64 }}\n");
        let listed = run(&lab, "docker41", &format!("sed '/docker43/,$d' {INVENTORY} | sed '$d'"));
        for host in HOSTS {
            write(&lab, host, INVENTORY, &format!("{first}{listed}"));
        }
        begin(&lab);
        Self { lab, members: None }
    }

    fn in_etcd() -> Self {
        let (lab, members) = stage();
        begin(&lab);
        Self { lab, members: Some(members) }
    }

    /// `byway host …`, by which the whole cluster is changed: its exit status, and what it said.
    fn change(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let (code, out, errors) = byway(&self.lab, "docker41", arguments);
        if self.members.is_none() {
            let text = run(&self.lab, "docker41", &format!("cat {INVENTORY}"));
            write(&self.lab, "docker42", INVENTORY, &text);
        }
        (code, out + &errors)
    }

    /// Makes the store say nothing that can be taken.
    fn break_down(&mut self) {
        match &mut self.members {
            Some(members) => members.kill_all(),
            None => self.in_each(&format!("cp {INVENTORY} /etc/byway/kept; echo '= ]' > {INVENTORY}")),
        }
    }

    fn mend(&mut self) {
        match &mut self.members {
            Some(members) => members.start_all().unwrap(),
            None => self.in_each(&format!("mv /etc/byway/kept {INVENTORY}")),
        }
    }

    fn in_each(&self, script: &str) {
        for host in HOSTS {
            run(&self.lab, host, script);
        }
    }
}

#[test]
fn who_is_added_is_routed_to_and_who_is_removed_is_forgotten() {
    of_both(|cluster| {
        let add = ["host", "add", "docker45", "--address", "192.168.199.45", "--subnet", "172.45.0.0/16"];
        let (code, said) = cluster.change(&add);
        assert_eq!(code, Some(0), "{said}");
        for host in HOSTS {
            until_routed(&cluster.lab, host, 3);
            let route = run(&cluster.lab, host, "ip route show 172.45.0.0/16");
            assert!(route.starts_with("172.45.0.0/16 via 192.168.199.45 dev eth0 proto byway"), "{route}");
        }
        let (_, out, _) = byway(&cluster.lab, "docker41", &["hosts"]);
        assert!(out.contains("docker45  192.168.199.45                172.45.0.0/16"), "{out}");
        let (code, said) = cluster.change(&["host", "remove", "docker45"]);
        assert_eq!(code, Some(0), "{said}");
        for host in HOSTS {
            until_routed(&cluster.lab, host, 2);
        }
        let (code, said) = cluster.change(&["host", "remove", "docker45"]);
        assert!(code == Some(1) && said.contains("docker45"), "{said}");
        assert_reaching(&cluster.lab);
    });
}

#[test]
fn a_subnet_is_one_hosts_and_lies_in_the_prefixes() {
    of_both(|cluster| {
        let add = |subnet: &str| {
            cluster.change(&["host", "add", "docker45", "--address", "192.168.199.45", "--subnet", subnet])
        };
        for (subnet, why) in [("172.42.0.0/16", "docker42"), ("172.48.0.0/16", "172.48.0.0/16")] {
            let (code, said) = add(subnet);
            assert!(code == Some(1) && said.contains(why), "{subnet}: {said}");
        }
        let (code, said) = cluster.change(&["host", "add", "docker45", "--address", "192.168.199.42"]);
        assert!(code == Some(1) && said.contains("docker42"), "{said}");
        for host in HOSTS {
            until_routed(&cluster.lab, host, 2);
        }
    });
}

#[test]
fn who_is_added_without_a_subnet_gets_the_first_free_one_until_nothing_is_left() {
    of_both(|cluster| {
        // Eight subnets of IPv4, two of which are held.
        for (nth, subnet) in [40, 43, 44, 45, 46, 47].into_iter().enumerate() {
            let (name, address) = (format!("more{nth}"), format!("192.168.199.{}", 60 + nth));
            let (code, said) = cluster.change(&["host", "add", &name, "--address", &address]);
            assert!(code == Some(0) && said.contains(&format!("172.{subnet}.0.0/16")), "{said}");
        }
        let (code, said) = cluster.change(&["host", "add", "last", "--address", "192.168.199.70"]);
        assert!(code == Some(1) && said.contains("172.40.0.0/13"), "{said}");
    });
}

#[test]
fn while_a_store_says_nothing_all_stays_and_an_agent_even_starts() {
    of_both(|cluster| {
        cluster.break_down();
        let lab = &cluster.lab;
        for host in HOSTS {
            Ear::open(lab, host).until("it says so", || {
                status(lab, host).inventory.rejected.ok_or_else(|| "all is well".to_owned())
            });
        }
        assert_reaching(lab);
        end(lab, "docker41", Signal::SIGKILL);
        start(lab, "docker41");
        until_routed(lab, "docker41", 2);
        let out = String::from_utf8(attempt(lab, "docker41", "byway status").stdout).unwrap();
        assert!(out.contains("the last good state stays in force"), "{out}");
        cluster.mend();
        for host in HOSTS {
            Ear::open(&cluster.lab, host).until("it is heard", || {
                match status(&cluster.lab, host).inventory.rejected {
                    None => Ok(()),
                    Some(rejected) => Err(rejected.mistakes),
                }
            });
            until_routed(&cluster.lab, host, 2);
        }
        assert_reaching(&cluster.lab);
    });
}
