//! Agents and members of etcd that are killed, cut off and started again, in any order: never two hosts with one subnet,
//! never a route to a host that does not hold the subnet, and after quiet every route.
//!
//! The seed is printed; `SEED=7` tells another run of the same length.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{Ear, byway, quiet_lab, run, status, write};
use byway_lab::etcd::{Members, Tls};
use byway_lab::{Lab, Signal, Spread, Topology, Until};
use serde_json::Value;

const HOSTS: [&str; 5] = ["docker41", "docker42", "docker43", "docker44", "docker45"];
/// Where etcd is: a host without an agent.
const STORE: &str = "docker46";
const MEMBERS: usize = 3;
const ENDPOINTS: &str = "http://192.168.199.46:2379,http://192.168.199.46:2381,http://192.168.199.46:2383";
/// How many things happen.
const DEEDS: usize = 60;

/// One stage of a play in which anything may happen.
struct Stage {
    lab: Lab,
    members: Members,
    is_up: [bool; HOSTS.len()],
    members_up: [bool; MEMBERS],
    chance: Chance,
    /// What has happened.
    story: Vec<String>,
}

/// Numbers that look like chance and follow from a seed (xorshift64*, Vigna 2016).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % most
    }
}

impl Stage {
    fn raise(seed: u64) -> Self {
        let topology: Topology = Spread { hosts: 6, containers: 0, segments: 1 }.topology();
        let lab = quiet_lab(&topology);
        let members =
            Members::start_in(&lab, STORE, "192.168.199.46".parse().unwrap(), 3, Tls::Without, &[]).unwrap();
        for host in HOSTS {
            // Without addresses on their bridges all of them have to choose, from hardly more than they need.
            run(&lab, host, "rm /etc/byway/inventory.toml; ip addr flush dev docker0");
            let list = ENDPOINTS.replace(',', "\", \"");
            write(&lab, host, "/etc/byway/byway.toml", &format!("etcd = [\"{list}\"]\nlease-seconds = 5\n"));
        }
        let init = ["--etcd", ENDPOINTS, "store", "init", "--prefix", "172.48.0.0/13", "--ipv4-length", "16"];
        let (code, out, errors) = byway(&lab, STORE, &init);
        assert_eq!(code, Some(0), "{out}{errors}");
        let cut = "nft add table inet cut
             nft add set inet cut hosts '{ type ipv4_addr; }'
             nft add chain inet cut input '{ type filter hook input priority -200; }'
             nft add rule inet cut input ip saddr @hosts drop";
        run(&lab, STORE, cut);
        let is_up = [false; HOSTS.len()];
        let (members_up, story) = ([true; MEMBERS], vec![format!("SEED={seed}")]);
        let chance = Chance(seed.wrapping_mul(2).wrapping_add(1));
        Self { lab, members, is_up, members_up, chance, story }
    }

    /// Something happens; in words.
    fn act(&mut self) -> String {
        let nth = self.chance.below(HOSTS.len());
        let host = HOSTS[nth];
        match self.chance.below(10) {
            0..=3 if !self.is_up[nth] => {
                self.lab.start_agent(host).unwrap();
                self.is_up[nth] = true;
                format!("start {host}")
            }
            0..=4 if self.is_up[nth] => {
                let signal = if self.chance.below(4) == 0 { Signal::SIGTERM } else { Signal::SIGKILL };
                crate::common::end(&self.lab, host, signal);
                self.is_up[nth] = false;
                format!("{signal} to {host}")
            }
            5 | 6 => {
                run(&self.lab, STORE, &format!("nft add element inet cut hosts {{ {} }}", address(nth)));
                format!("cut {host} off")
            }
            7 => {
                run(&self.lab, STORE, "nft flush set inet cut hosts");
                "cut nobody off".to_owned()
            }
            8 => {
                let member = self.chance.below(MEMBERS);
                self.members.kill(member);
                self.members_up[member] = false;
                format!("kill member {member}")
            }
            _ => {
                self.members.start_all().unwrap();
                self.members_up = [true; MEMBERS];
                "start all members".to_owned()
            }
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        // Routes first: whoever has one then held the subnet before, and whoever holds a subnet keeps it in writing.
        let routes: Vec<_> = HOSTS.iter().map(|host| (host, routes(&self.lab, host))).collect();
        // Without a majority nobody can ask; then nothing changes either.
        if self.members_up.iter().filter(|up| **up).count() < 2 {
            return;
        }
        let (code, out, errors) = byway(&self.lab, STORE, &["--etcd", ENDPOINTS, "hosts", "--json"]);
        assert_eq!(code, Some(0), "{out}{errors}");
        let told: Value = serde_json::from_str(&out).unwrap();
        let mut holders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for host in told["hosts"].as_array().unwrap() {
            let words = |field: &str| {
                let list = host[field].as_array().unwrap().iter();
                list.map(|word| word.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
            };
            for subnet in words("subnets") {
                let other = holders.insert(subnet.clone(), words("addresses"));
                assert_eq!(other, None, "{subnet} has two holders: {out}{:?}", self.story);
            }
        }
        for (host, (to, via)) in
            routes.into_iter().flat_map(|(host, list)| list.into_iter().map(move |one| (host, one)))
        {
            let is_right = holders.get(&to).is_some_and(|addresses| addresses.contains(&via));
            assert!(
                is_right,
                "{host} has a route to {to} via {via}, which does not hold it: {out}{:?}",
                self.story
            );
        }
    }

    /// All comes back, and every host has a route to every other.
    fn rest(&mut self) {
        run(&self.lab, STORE, "nft flush set inet cut hosts");
        self.members.start_all().unwrap();
        for (nth, host) in HOSTS.into_iter().enumerate() {
            if !self.is_up[nth] {
                self.lab.start_agent(host).unwrap();
            }
        }
        for host in HOSTS {
            self.lab.await_agent(host, Until::Ready).unwrap();
        }
        let story = &self.story;
        for host in HOSTS {
            Ear::open(&self.lab, host).until("it has all routes", || {
                let (count, status) = (routes(&self.lab, host).len(), status(&self.lab, host));
                let is_at_rest = count == HOSTS.len() - 1 && status.pending == 0;
                if is_at_rest { Ok(()) } else { Err(format!("{count} routes: {status:?}{story:?}")) }
            });
        }
    }
}

fn address(nth: usize) -> String {
    format!("192.168.199.{}", 41 + nth)
}

/// Byway's routes of a host: to where, by whom.
fn routes(lab: &Lab, host: &str) -> Vec<(String, String)> {
    let text = run(lab, host, "ip route show proto 172 type unicast");
    let words = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    words.map(|words| (words[0].to_owned(), words[2].to_owned())).collect()
}

#[test]
fn whatever_happens_no_two_hosts_hold_one_subnet_and_after_quiet_all_is_routed() {
    let seed = std::env::var("SEED").ok().map_or(1, |seed| seed.parse().unwrap());
    let mut stage = Stage::raise(seed);
    for _ in 0..DEEDS {
        let deed = stage.act();
        stage.story.push(deed);
        stage.check();
    }
    stage.rest();
    stage.check();
}
