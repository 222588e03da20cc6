//! Who reaches a container at which address, and as whom it sees them: published ports keep working, what is not
//! published is refused to outsiders, and what leaves is masqueraded.
//!
//! What does not come from the cluster gets what Docker gives it without us, so the same questions are asked before
//! the agents start and after. There is one exception: where Docker writes no rules for IPv6, we keep outsiders out and
//! masquerade as it does for IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use byway_lab::{Lab, Topology};
use ipnet::IpNet;

use crate::answers::{Answers, NEW, NEW_WITHOUT_PROXY, OLD, OLD_WITHOUT_PROXY};
use crate::common::engines::{PAIRS, addresses, answers, until_reaching};
use crate::common::{Ear, PATIENCE, quiet_lab, run, start};
use crate::networks::{HOSTS, On};
use crate::servers::{Server, ask};

/// How long we wait for an answer that must not come.
const SILENCE: Duration = Duration::from_secs(1);
/// Where somebody outside is.
const OUTSIDE: [&str; 2] = ["192.168.199.9", "fd00:199::9"];

/// A host that serves, its peer, and somebody outside, by the names in the tables: `web` and `next` are containers of
/// the host, `far` is one of the peer.
struct Scene<'a> {
    lab: &'a Lab,
    nodes: [(&'static str, String); 6],
    addresses: Vec<(&'static str, [IpAddr; 2])>,
}

impl<'a> Scene<'a> {
    fn new(lab: &'a Lab, [host, peer]: [&str; 2]) -> Self {
        let container = |host: &str| format!("{host}/{}", host.replace("docker", "c"));
        let nodes = [
            ("outside", "switch".to_owned()),
            ("host", host.to_owned()),
            ("web", format!("{host}/web")),
            ("next", container(host)),
            ("peer", peer.to_owned()),
            ("far", container(peer)),
        ];
        let topology = lab.topology().unwrap();
        let find = |name: &str| topology.hosts.iter().find(|host| host.name == name).unwrap();
        let both = |addresses: Vec<IpAddr>| <[IpAddr; 2]>::try_from(addresses).unwrap();
        let underlay = |name| both(find(name).addresses.clone());
        let bridge = |name| both(find(name).bridge_addresses().iter().map(IpNet::addr).collect());
        let addresses = vec![
            ("outside", OUTSIDE.map(|text| text.parse().unwrap())),
            ("lo", [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            ("host", underlay(host)),
            ("bridge", bridge(host)),
            ("web", both(addresses(lab, &nodes[2].1))),
            ("next", both(addresses(lab, &nodes[3].1))),
            ("peer", underlay(peer)),
            ("peers-bridge", bridge(peer)),
            ("far", both(addresses(lab, &nodes[5].1))),
        ];
        Self { lab, nodes, addresses }
    }

    /// As whom one of the nodes is seen at `NAME:PORT`; `-` if it is not answered.
    fn seen(&self, from: &str, to: &str, family: usize, expected: &str) -> String {
        let (name, port) = to.split_once(':').unwrap();
        let (_, node) = self.nodes.iter().find(|(name, _)| *name == from).unwrap();
        let (_, at) = self.addresses.iter().find(|(one, _)| *one == name).unwrap();
        if port == "ping" {
            let answered = answers(self.lab, node, &at[family].to_string());
            return if answered { from } else { "-" }.to_owned();
        }
        let there = SocketAddr::new(at[family], port.parse().unwrap());
        let wait = if expected == "-" { SILENCE } else { PATIENCE };
        match ask(self.lab, node, there, wait) {
            None => "-".to_owned(),
            Some(source) => self.name_of(source),
        }
    }

    /// Where a proxy has come between, the family is not the one that was asked with.
    fn name_of(&self, source: IpAddr) -> String {
        let found = self.addresses.iter().find(|(_, addresses)| addresses.contains(&source));
        found.map_or_else(|| source.to_string(), |(name, _)| (*name).to_owned())
    }

    /// Asks everything in some tables, all at the same time.
    fn check(&self, when: &str, tables: &[&str]) {
        let rows = tables.iter().flat_map(|table| table.lines()).map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            <[&str; 4]>::try_from(words).unwrap()
        });
        let strange: Vec<String> = thread::scope(|scope| {
            let asked = rows.map(|[from, to, v4, v6]| {
                let ask = |(family, expected)| scope.spawn(move || self.seen(from, to, family, expected));
                ([from, to, v4, v6].join(" "), from, to, [(0, v4), (1, v6)].map(ask))
            });
            let asked: Vec<_> = asked.collect();
            let found = asked.into_iter().map(|(expected, from, to, answers)| {
                let [v4, v6] = answers.map(|answer| answer.join().unwrap());
                (format!("{from} {to} {v4} {v6}"), expected)
            });
            let strange = found.filter(|(found, expected)| found != expected);
            strange.map(|(found, expected)| format!("{found}, not {expected}")).collect()
        });
        assert!(strange.is_empty(), "{when}:\n{}", strange.join("\n"));
    }
}

/// The answers of a release, with its proxy.
fn expected(release: &str) -> &'static Answers {
    if release == "20.10" { &OLD } else { &NEW }
}

/// The same without.
fn expected_without_proxy(release: &str) -> &'static Answers {
    if release == "20.10" { &OLD_WITHOUT_PROXY } else { &NEW_WITHOUT_PROXY }
}

/// Asks on both hosts, before the agents start and after.
fn check(topology: &Topology, on: On, expected: fn(&str) -> &'static Answers) {
    let lab = quiet_lab(topology);
    on.populate(&lab);
    let _servers = open(&lab, topology, on);
    let releases = topology.hosts.iter().map(|host| host.engine.as_ref().unwrap().release.as_str());
    let scenes: Vec<_> = [HOSTS, [HOSTS[1], HOSTS[0]]]
        .map(|hosts| Scene::new(&lab, hosts))
        .into_iter()
        .zip(releases)
        .collect();
    for (scene, release) in &scenes {
        let Answers { always, alone, .. } = expected(release);
        scene.check(&format!("{release} without us"), &[always, alone]);
    }
    for host in HOSTS {
        start(&lab, host);
    }
    until_reaching(&lab);
    for host in HOSTS {
        Ear::open(&lab, host).until_at_rest();
    }
    for (scene, release) in &scenes {
        let Answers { always, kept, cluster, .. } = expected(release);
        scene.check(&format!("{release} with us"), &[always, kept, cluster]);
    }
}

/// Puts somebody outside, with routes to all containers, and a container with a published port on each host.
fn open(lab: &Lab, topology: &Topology, on: On) -> Vec<Server> {
    let [v4, v6] = OUTSIDE;
    run(lab, "switch", &format!("ip address add {v4}/24 dev lan; ip address add {v6}/64 dev lan nodad"));
    let mut servers = vec![Server::start(lab, "switch", 80)];
    for host in &topology.hosts {
        for (subnet, via) in host.subnets.iter().zip(&host.addresses) {
            run(lab, "switch", &format!("ip route add {subnet} via {via}"));
        }
        let web = format!("docker run -d --name web -p 8080:80 {} busybox sleep 1000", on.option());
        run(lab, &host.name, &web);
        servers.extend([80, 81].map(|port| Server::start(lab, &format!("{}/web", host.name), port)));
    }
    servers
}

#[test]
fn on_docker0_the_world_gets_what_docker_gives_it_and_the_cluster_reaches_everything() {
    for pair in PAIRS {
        check(&On::Docker0.topology(pair), On::Docker0, expected);
    }
}

#[test]
fn on_a_network_made_for_it_the_world_gets_what_docker_gives_it_and_the_cluster_reaches_everything() {
    for pair in PAIRS {
        check(&On::Network.topology(pair), On::Network, expected);
    }
}

#[test]
fn without_the_userland_proxy_the_same_holds() {
    let mut topology = On::Docker0.topology(["20.10", "28.5"]);
    for host in &mut topology.hosts {
        host.engine.as_mut().unwrap().arguments = vec!["--userland-proxy=false".to_owned()];
    }
    check(&topology, On::Docker0, expected_without_proxy);
}
