//! A host and its cluster, written as text; what the planner's stories begin with.
//!
//! ```text
//! host docker41 at 192.168.199.41 holds 172.41.0.0/16
//! me docker41
//! uplink eth0 | bridge br7                        (what the operator fixed)
//! gone docker42 because its host is off             (tried, and nothing arrives there)
//! by-router docker42                                (tried, and the routers between carry containers' packets)
//! tunnels never                                   (what the operator wants; else `auto`)
//! link eth0 192.168.199.41/24                     (`down`, `port`, `bridge`, `mtu=9000` after the name where it is so)
//! tunnel as wanted                                (or `as wanted but down`, `mtu`, `port`, `entry`: what is wrong; `but for nobody`: is there)
//! route 10.0.0.0/8 via 192.168.199.1 dev eth0 metric 100 proto static
//! sysctl net.ipv4.conf.eth0.forwarding = 0
//! table as wanted
//! docker 28.5.2 iptables-nft                      (or iptables-legacy, nftables, off)
//! network bridge docker0 172.41.0.0/16 in         (`in` = opted in; `internal`)
//! chain 4 docker-user: -j RETURN
//! endpoint c41 bridge 172.41.0.2
//! firewalld nftables | iptables                   (its default zone is `public`)
//! zone docker docker0 accept                      (what is in it; `accept` is its target, `apart` without forwarding)
//! policy docker-forwarding ANY docker accept      (in force: from, to)
//! walls 4: no-forward no-nat no-raw open unmarked (what is missing of Docker's own rules; else they are whole)
//! ```
//!
//! A link that is up has its connected routes; sysctls that are not written are 0 for links and the host.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use byway_fabric::cluster::{Cluster, Host, HostName};
use byway_fabric::desired::{Choices, Desired, WantedTunnel, desired};
use byway_fabric::docker::rules::{Place, accept};
use byway_fabric::docker::{
    Backend, Endpoint, Engine, Flavour, Network, RawDrop, Seen, SeenChain, Version, Walls,
};
use byway_fabric::firewalld::{Firewalld, Policy, Zone};
use byway_fabric::observed::{Link, METRIC, Observed, PROTOCOL, Route, RouteKind};
use byway_fabric::reach::{PeerReach, Reach};
use byway_fabric::sysctl::{Setting, Sysctl};
use byway_fabric::tunnel::{DUMMY, Entry, Mac, TUNNEL_PORT, Tunnel, Underlay};
use ipnet::IpNet;

/// What a story begins with.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) me: Option<HostName>,
    pub(crate) choices: Choices,
    pub(crate) observed: Observed,
    pub(crate) reach: Reach,
    table_as_wanted: bool,
    /// Our tunnels are there, with what is wrong about them.
    tunnels_as_wanted: Option<String>,
    old_kernel: bool,
    /// What is missing of Docker's own rules, of IPv6 or not.
    gaps: Vec<(bool, Vec<String>)>,
}

impl Scene {
    pub(crate) fn read(text: &str) -> Self {
        let mut scene = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[0] {
                "host" => scene.cluster.hosts.push(host(&words[1..])),
                "me" => scene.me = Some(name(words[1])),
                "uplink" => scene.choices.uplink = Some(words[1].to_owned()),
                "tunnels" => scene.choices.tunnels = words[1].parse().expect("auto or never"),
                "tunnel" => scene.tunnels_as_wanted = Some(words.get(3..).unwrap_or_default().join(" ")),
                "bridge" => scene.choices.bridges.push(words[1].to_owned()),
                "gone" => scene.reach(words[1]).gone = Some(words[3..].join(" ")),
                "by-router" => scene.reach(words[1]).by_router = true,
                "link" => scene.link(&words[1..]),
                "route" => {
                    let route = scene.route(&words[1..]);
                    scene.observed.routes.push(route);
                }
                "sysctl" => drop(scene.sysctl(words[1], words[3])),
                "table" => scene.table_as_wanted = true,
                "docker" => scene.docker(&words[1..]),
                "network" => scene.network(&words[1..]),
                "chain" => scene.chain(&words[1..]),
                "endpoint" => scene.endpoint(&words[1..]),
                "firewalld" => scene.firewalld(words[1]),
                "zone" => scene.zone(&words[1..]),
                "policy" => scene.policy(&words[1..]),
                "walls" => scene.gap(&words[1..]),
                "old-kernel" => scene.old_kernel = true,
                other => panic!("a scene has no `{other}`"),
            }
        }
        scene.finish();
        scene
    }

    pub(crate) fn me(&self) -> &Host {
        self.cluster.host(self.me.as_ref().expect("a scene says `me`")).expect("`me` is a host")
    }

    pub(crate) fn desired(&self) -> Desired {
        desired(&self.cluster, self.me(), &self.choices, &self.observed, &self.reach)
    }

    fn reach(&mut self, peer: &str) -> &mut PeerReach {
        self.reach.peers.entry(name(peer)).or_default()
    }

    /// Makes the tunnels that should be there, not as they should be.
    fn make_tunnels(&mut self, wrong: &str) {
        let mut desired = self.desired().tunnels;
        if wrong == "but for nobody" {
            let before = WantedTunnel {
                tunnel: Tunnel::of(&self.me().name, self.me().addresses[0]),
                mtu: 1450,
                uplink: 1,
                entries: [].into(),
            };
            desired = [(Underlay::V4, before)].into();
        }
        for (underlay, wanted) in desired {
            let mut link = Link {
                name: underlay.device().to_owned(),
                up: wrong != "but down",
                mtu: if wrong == "but mtu" { 1500 } else { wanted.mtu },
                tunnel: Some(wanted.tunnel),
                addresses: vec![DUMMY.into()],
                ..Link::default()
            };
            link.tunnel.as_mut().unwrap().port = if wrong == "but port" { 4789 } else { TUNNEL_PORT };
            self.observed.links.insert(underlay.index(), link);
            let mut entries: BTreeSet<Entry> = wanted.entries.into_keys().collect();
            if wrong == "but entry" {
                entries.pop_first();
                let away = "192.0.2.1".parse().unwrap();
                entries.insert(Entry::Forward { mac: Mac([2, 0, 0, 0, 0, 1]), to: away });
            }
            self.observed.entries.insert(underlay, entries);
            let loose = Sysctl::v4(underlay.device(), Setting::RpFilter);
            self.observed.sysctls.insert(loose, "2".to_owned());
            for sysctl in Sysctl::of_link(underlay.device()) {
                self.observed.sysctls.entry(sysctl).or_insert_with(|| "1".to_owned());
            }
        }
    }

    fn finish(&mut self) {
        self.raise_walls();
        if let Some(wrong) = self.tunnels_as_wanted.clone() {
            self.make_tunnels(&wrong);
        }
        let names: Vec<String> = self.observed.links.values().map(|link| link.name.clone()).collect();
        for sysctl in names.iter().flat_map(|name| Sysctl::of_link(name)).chain(Sysctl::of_host()) {
            if !(self.old_kernel && sysctl.name == Setting::ForceForwarding) {
                self.observed.sysctls.entry(sysctl).or_insert_with(|| "0".to_owned());
            }
        }
        if self.table_as_wanted {
            self.observed.table = Some(self.desired().table);
        }
    }

    fn docker(&mut self, words: &[&str]) {
        let backend = match words[1] {
            "iptables-nft" => Backend::Iptables(Flavour::Nft),
            "iptables-legacy" => Backend::Iptables(Flavour::Legacy),
            "nftables" => Backend::Nftables,
            _ => Backend::Off,
        };
        let engine = Engine { version: words[0].parse().expect("a version"), backend };
        self.observed.docker = Some(Seen {
            engine,
            networks: Vec::new(),
            endpoints: Vec::new(),
            no_raw_drops: false,
            chains: Vec::new(),
            walls: Vec::new(),
        });
    }

    fn firewalld(&mut self, backend: &str) {
        let default_zone = "public".to_owned();
        let zones = [(default_zone.clone(), Zone { forward: true, ..Zone::default() })].into();
        let rejects = backend == "nftables";
        self.observed.firewalld = Some(Firewalld { rejects, default_zone, zones, policies: Vec::new() });
    }

    fn zone(&mut self, words: &[&str]) {
        let mut zone = Zone { forward: true, ..Zone::default() };
        for word in &words[1..] {
            match (*word, word.parse()) {
                (_, Ok(source)) => zone.sources.push(source),
                ("accept", _) => zone.accepts = true,
                ("apart", _) => zone.forward = false,
                (interface, _) => drop(zone.interfaces.insert(interface.to_owned())),
            }
        }
        let zones = &mut self.observed.firewalld.as_mut().expect("`firewalld` first").zones;
        zones.insert(words[0].to_owned(), zone);
    }

    fn policy(&mut self, words: &[&str]) {
        let [name, ingress, egress] = [words[0], words[1], words[2]].map(str::to_owned);
        let (ingress, egress) = ([ingress].into(), [egress].into());
        let policies = &mut self.observed.firewalld.as_mut().expect("`firewalld` first").policies;
        policies.push(Policy { name, ingress, egress, accepts: words.contains(&"accept") });
    }

    fn gap(&mut self, words: &[&str]) {
        self.gaps.push((words[0] == "6:", words[1..].iter().map(|word| (*word).to_owned()).collect()));
    }

    fn endpoint(&mut self, words: &[&str]) {
        let endpoint = Endpoint {
            container: words[0].to_owned(),
            compose: None,
            network: words[1].to_owned(),
            addresses: words[2..].iter().map(|word| word.parse().expect("an address")).collect(),
            mac: String::new(),
            veth: None,
        };
        self.observed.docker.as_mut().expect("`docker` first").endpoints.push(endpoint);
    }

    /// Docker's own rules, as its engine writes them, but for the gaps.
    fn raise_walls(&mut self) {
        let Some(docker) =
            self.observed.docker.as_mut().filter(|docker| docker.engine.backend != Backend::Off)
        else {
            return;
        };
        let (version, nftables) = (docker.engine.version, docker.engine.backend == Backend::Nftables);
        for ipv6 in [false, true] {
            let gaps = self.gaps.iter().filter(|(of_ipv6, _)| *of_ipv6 == ipv6).flat_map(|(_, gaps)| gaps);
            let gaps: Vec<&str> = gaps.map(String::as_str).collect();
            let has = |gap: &str| !gaps.contains(&gap);
            let bridges = || docker.networks.iter().map(|network| network.bridge.clone()).collect();
            let of_endpoint = |endpoint: &Endpoint| {
                let network = docker.networks.iter().find(|network| network.name == endpoint.network);
                let except = [network.expect("a network").bridge.clone()].into();
                let of_family = endpoint.addresses.iter().find(|address| address.is_ipv6() == ipv6)?;
                Some(RawDrop { to: *of_family, except })
            };
            let raw = has("no-raw") && version >= Version(28, 2, 0);
            docker.walls.push(Walls {
                ipv6,
                forward: has("no-forward"),
                nat: has("no-nat"),
                policy_drops: has("open") && version < Version(28, 0, 0),
                closed: if has("open") && version >= Version(28, 0, 0) { bridges() } else { BTreeSet::new() },
                marked: if nftables && has("unmarked") { bridges() } else { BTreeSet::new() },
                raw_drops: docker.endpoints.iter().filter(|_| raw).filter_map(of_endpoint).collect(),
            });
        }
    }

    fn network(&mut self, words: &[&str]) {
        let has = |word: &str| words.contains(&word);
        let subnets = words.iter().filter_map(|word| word.parse().ok()).collect();
        self.observed.docker.as_mut().expect("`docker` first").networks.push(Network {
            name: words[0].to_owned(),
            bridge: words[1].to_owned(),
            subnets,
            internal: has("internal"),
            opted_in: has("in"),
        });
    }

    /// `chain 4 docker-user: RULE` adds a rule, `chain 4 docker-user:` just the chain; `OURS` is our accept.
    fn chain(&mut self, words: &[&str]) {
        let (ipv6, place) =
            (words[0] == "6", if words[1] == "raw:" { Place::Raw } else { Place::DockerUser });
        let rule = words[2..].join(" ").replace("OURS", &accept());
        let chains = &mut self.observed.docker.as_mut().expect("`docker` first").chains;
        let known = chains.iter().position(|chain| chain.ipv6 == ipv6 && chain.place == place);
        let at = known.unwrap_or_else(|| {
            chains.push(SeenChain { ipv6, place, rules: Vec::new() });
            chains.len() - 1
        });
        chains[at].rules.extend((!rule.is_empty()).then_some(rule));
    }

    fn link(&mut self, words: &[&str]) {
        let index = u32::try_from(self.observed.links.len() + 1).unwrap();
        let mut link = Link { name: words[0].to_owned(), up: true, mtu: 1500, ..Link::default() };
        for word in &words[1..] {
            match *word {
                "down" => link.up = false,
                "port" => link.enslaved = true,
                "bridge" => link.bridge = true,
                word if word.starts_with("mtu=") => link.mtu = word[4..].parse().expect("bytes"),
                address => link.addresses.push(address.parse().expect("an address with a length")),
            }
        }
        for address in link.addresses.iter().filter(|_| link.up) {
            let metric = if address.addr().is_ipv4() { 0 } else { 256 };
            self.observed.routes.push(Route {
                to: address.trunc(),
                kind: RouteKind::Unicast,
                via: None,
                dev: Some(index),
                src: None,
                metric,
                protocol: 2,
            });
        }
        self.observed.links.insert(index, link);
    }

    fn route(&self, words: &[&str]) -> Route {
        let (kind, words) = match words[0] {
            "blackhole" => (RouteKind::Blackhole, &words[1..]),
            "unreachable" => (RouteKind::Unreachable, &words[1..]),
            _ => (RouteKind::Unicast, words),
        };
        let to = if words[0] == "default" { "0.0.0.0/0" } else { words[0] };
        let mut route = Route {
            to: to.parse::<IpNet>().expect("a prefix"),
            kind,
            via: None,
            dev: None,
            src: None,
            metric: 0,
            protocol: 3,
        };
        for pair in words[1..].chunks(2) {
            let address = || Some(pair[1].parse::<IpAddr>().expect("an address"));
            match pair[0] {
                "via" => route.via = address(),
                "src" => route.src = address(),
                "dev" if Underlay::named(pair[1]).is_some() => {
                    route.dev = Underlay::named(pair[1]).map(Underlay::index);
                }
                "dev" => {
                    route.dev = self.observed.links.iter().find(|(_, l)| l.name == pair[1]).map(|(i, _)| *i);
                }
                "metric" => route.metric = pair[1].parse().unwrap(),
                "proto" if pair[1] == "byway" => (route.protocol, route.metric) = (PROTOCOL, METRIC),
                "proto" if pair[1] == "kernel" => route.protocol = 2,
                "proto" if pair[1] == "static" => route.protocol = 4,
                other => panic!("a route has no `{other}`"),
            }
        }
        route
    }

    fn sysctl(&mut self, name: &str, value: &str) -> Option<String> {
        let sysctl = Sysctl::try_from(name.to_owned()).expect("a setting");
        self.observed.sysctls.insert(sysctl, value.to_owned())
    }
}

fn name(text: &str) -> HostName {
    HostName::try_from(text.to_owned()).expect("a host name")
}

fn host(words: &[&str]) -> Host {
    let part = |word: &str, end: &str| -> Vec<&str> {
        let rest = words.iter().skip_while(|w| **w != word).skip(1);
        rest.take_while(|w| **w != end).copied().collect()
    };
    Host {
        name: name(words[0]),
        addresses: part("at", "holds").iter().map(|word| word.parse().expect("an address")).collect(),
        subnets: part("holds", "").iter().map(|word| word.parse().expect("a prefix")).collect(),
        key: None,
    }
}
