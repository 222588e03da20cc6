//! Any host, any mess: the plan applied to a model of the kernel leaves nothing to do, and touches nothing
//! that is not ours.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;

use byway_fabric::cluster::{Cluster, Host, HostName};
use byway_fabric::desired::{Choices, desired};
use byway_fabric::docker::rules::{Place, accept};
use byway_fabric::docker::{Backend, Engine, Flavour, Seen, SeenChain, Version, Walls};
use byway_fabric::observed::{Link, METRIC, Observed, PROTOCOL, Route, RouteKind};
use byway_fabric::plan::{Making, Memory, Plan, Step, plan, take_down};
use byway_fabric::reach::{PeerReach, Reach};
use byway_fabric::sysctl::{Setting, Sysctl};
use byway_fabric::table::Element;
use byway_fabric::tunnel::{DUMMY, End, Tunnel, Underlay};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A kernel that does what the real one does with our steps (`fib_table_insert`, `nf_tables`), no more.
fn apply(plan: &Plan, kernel: &mut Observed) {
    for step in &plan.steps {
        match step {
            Step::PutTable { table, .. } => kernel.table = Some(table.clone()),
            Step::DelTable { .. } => kernel.table = None,
            Step::PutElements { set, elements, .. } => {
                members(kernel, set).extend(elements.iter().cloned());
            }
            Step::DelElements { set, elements, .. } => members(kernel, set).retain(|e| !elements.contains(e)),
            Step::MendChain { ipv6, place, delete, insert, .. } => {
                let docker = kernel.docker.as_mut().expect("Docker is there");
                let mut chains = docker.chains.iter_mut();
                let chain =
                    chains.find(|chain| chain.ipv6 == *ipv6 && chain.place == *place).expect("a chain");
                for rule in delete {
                    assert!(rule.contains("--comment byway "), "only our rules are deleted: {rule}");
                    let at = chain.rules.iter().position(|other| other == rule).expect("it is there");
                    chain.rules.remove(at);
                }
                if let Some(at) = insert {
                    chain.rules.insert(at - 1, accept());
                }
            }
            Step::PutTunnel { underlay, tunnel, mtu, making, .. } => {
                if *making != Making::Mend {
                    drop_tunnel(kernel, *underlay);
                    add_settings(kernel, *underlay);
                }
                kernel.links.insert(underlay.index(), device(*underlay, tunnel.clone(), *mtu));
            }
            Step::DelTunnel { underlay, .. } => drop_tunnel(kernel, *underlay),
            Step::PutEntry { underlay, entry, .. } => {
                assert!(kernel.links.contains_key(&underlay.index()), "a tunnel is there before it is told");
                let entries = kernel.entries.entry(*underlay).or_default();
                entries.retain(|other| !other.same_place(entry));
                entries.insert(*entry);
            }
            Step::DelEntry { underlay, entry, .. } => {
                let known = kernel.entries.get_mut(underlay).expect("a tunnel that is there");
                assert!(known.remove(entry), "it is there");
            }
            Step::PutSysctl { sysctl, from, to, .. } => {
                let before = kernel.sysctls.insert(sysctl.clone(), to.clone());
                assert_eq!(before.as_ref(), Some(from), "a plan knows what it changes");
            }
            Step::PutRoute { route, .. } => {
                // NLM_F_REPLACE takes the place of whatever has the same destination and metric.
                kernel.routes.retain(|other| {
                    let replaced = other.to == route.to && other.metric == route.metric;
                    assert!(!replaced || other.is_ours(), "a foreign route was replaced: {other:?}");
                    !replaced
                });
                kernel.routes.push(route.clone());
            }
            Step::DelRoute { route, .. } => {
                let before = kernel.routes.len();
                kernel.routes.retain(|other| other != route);
                assert_eq!(kernel.routes.len() + 1, before, "a plan deletes what is there, once");
            }
        }
    }
}

/// A link that is new has settings of its own, some of which are those for all.
fn add_settings(kernel: &mut Observed, underlay: Underlay) {
    let fresh = Sysctl::of_link(underlay.device()).map(|sysctl| {
        let of_all = Sysctl { scope: "all".to_owned(), ..sysctl.clone() };
        let inherits = sysctl.name == Setting::Forwarding;
        let value = kernel.sysctls.get(&of_all).filter(|_| inherits).cloned();
        (sysctl, value.unwrap_or_else(|| "0".to_owned()))
    });
    let fresh: Vec<_> = fresh.collect();
    let forced = kernel.sysctls.keys().any(|other| other.name == Setting::ForceForwarding);
    let is_known = |(sysctl, _): &(Sysctl, String)| forced || sysctl.name != Setting::ForceForwarding;
    kernel.sysctls.extend(fresh.into_iter().filter(is_known));
}

fn device(underlay: Underlay, tunnel: Tunnel, mtu: u32) -> Link {
    let (name, tunnel) = (underlay.device().to_owned(), Some(tunnel));
    Link { name, up: true, mtu, tunnel, addresses: vec![DUMMY.into()], ..Link::default() }
}

/// A device goes with its settings, its entries and the routes through it.
fn drop_tunnel(kernel: &mut Observed, underlay: Underlay) {
    let index = kernel.tunnel(underlay).map(|(index, _)| index);
    kernel.links.retain(|link, _| Some(*link) != index);
    kernel.routes.retain(|route| route.dev != index || index.is_none());
    kernel.sysctls.retain(|sysctl, _| sysctl.scope != underlay.device());
    kernel.entries.remove(&underlay);
}

/// What an earlier agent, or somebody else, left of a tunnel: nothing, something else, or what is right but told of others.
fn leave_tunnel(kernel: &mut Observed, what: u8) {
    let mut tunnel = Tunnel::of(&HostName::try_from("h1".to_owned()).unwrap(), host(1).addresses[0]);
    match what {
        0 => return,
        1 => tunnel.learning = true,
        _ => {}
    }
    let mut left = device(Underlay::V4, tunnel, 1450);
    left.up = what != 2;
    kernel.links.insert(if what == 3 { 7 } else { Underlay::V4.index() }, left);
    let [one, other] = [host(2), host(6)].map(|peer| End::of(&peer.name, peer.addresses[0], None).entries);
    kernel.entries.insert(Underlay::V4, one.into_iter().chain(other).collect());
    let forced = kernel.sysctls.keys().any(|other| other.name == Setting::ForceForwarding);
    let fresh = Sysctl::of_link(Underlay::V4.device());
    let fresh = fresh.filter(|sysctl| forced || sysctl.name != Setting::ForceForwarding);
    kernel.sysctls.extend(fresh.map(|sysctl| (sysctl, "0".to_owned())));
}

fn members<'a>(kernel: &'a mut Observed, set: &str) -> &'a mut std::collections::BTreeSet<Element> {
    let table = kernel.table.as_mut().expect("elements go into a table that is there");
    &mut table.sets.get_mut(set).expect("a set that is there").elements
}

fn host(nth: u8) -> Host {
    Host {
        name: HostName::try_from(format!("h{nth}")).unwrap(),
        // The fifth and sixth are behind a router.
        addresses: if nth < 5 {
            vec![format!("192.168.0.{nth}").parse().unwrap(), format!("fd00::{nth}").parse().unwrap()]
        } else {
            vec![format!("192.168.9.{nth}").parse().unwrap()]
        },
        subnets: vec![net(&format!("10.{nth}.0.0/16")), net(&format!("fd00:{nth}::/64"))],
        key: None,
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn link(name: &str, up: bool, addresses: &[&str]) -> Link {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Link { name: name.to_owned(), up, bridge: name != "eth0", addresses, mtu: 1500, ..Link::default() }
}

/// A route to somewhere in or near the cluster, ours or not, right or not.
fn any_route() -> impl Strategy<Value = Route> {
    let to = select(vec![
        "10.2.0.0/16",
        "10.3.0.0/16",
        "10.4.0.0/16",
        "10.1.0.0/16",
        "10.2.7.0/24",
        "10.99.0.0/16",
        "fd00:2::/64",
        "fd00:3::/64",
        "fd00:3:0:0:1::/80",
        "0.0.0.0/0",
    ]);
    let via = select(vec![None, Some(2_u8), Some(3), Some(9)]);
    (to, via, select(vec![0_u32, METRIC, 5, 1024]), select(vec![PROTOCOL, PROTOCOL, 3, 4]), 1..4_u32)
        .prop_map(|(to, via, metric, protocol, dev)| {
            let to = net(to);
            let address = |nth: u8| {
                let text =
                    if to.addr().is_ipv4() { format!("192.168.0.{nth}") } else { format!("fd00::{nth}") };
                text.parse().unwrap()
            };
            Route {
                to,
                kind: RouteKind::Unicast,
                via: via.map(address),
                dev: Some(dev),
                src: None,
                metric,
                protocol,
            }
        })
}

/// Routes as the kernel can hold them: one for each destination and metric.
fn any_routes() -> impl Strategy<Value = Vec<Route>> {
    vec(any_route(), 0..12).prop_map(|routes| {
        let unique: BTreeMap<_, _> =
            routes.into_iter().map(|route| ((route.to, route.metric), route)).collect();
        unique.into_values().collect()
    })
}

/// An engine of any time, with anything in the chains it shares.
fn any_docker() -> impl Strategy<Value = Seen> {
    let version = select(vec![Version(20, 10, 24), Version(28, 0, 4), Version(28, 5, 2), Version(29, 0, 0)]);
    let rule = select(vec![
        accept(),
        "-m comment --comment byway -j DROP".to_owned(),
        "-s 10.9.9.9/32 -j DROP".to_owned(),
        "-d 10.1.0.2/32 ! -i docker0 -j DROP".to_owned(),
        "-j RETURN".to_owned(),
    ]);
    (version, vec(vec(rule, 0..5), 4)).prop_map(|(version, rules)| {
        let places =
            [(false, Place::DockerUser), (false, Place::Raw), (true, Place::DockerUser), (true, Place::Raw)];
        let chains = places.into_iter().zip(rules);
        let chains = chains.map(|((ipv6, place), rules)| SeenChain { ipv6, place, rules }).collect();
        let engine = Engine { version, backend: Backend::Iptables(Flavour::Nft) };
        let walls =
            [false, true].map(|ipv6| Walls { ipv6, policy_drops: ipv6, forward: true, ..Walls::default() });
        Seen {
            engine,
            networks: Vec::new(),
            endpoints: Vec::new(),
            no_raw_drops: false,
            chains,
            walls: walls.to_vec(),
        }
    })
}

prop_compose! {
    fn any_kernel()(
        mut routes in any_routes(),
        eth0 in any::<bool>(),
        docker0 in select(vec!["10.1.0.1/16", "10.1.2.1/24", "172.17.0.1/16", "10.2.0.1/16"]),
        forced in any::<bool>(),
        values in vec(select(vec!["0", "1"]), 16),
        docker in any_docker(),
        tunnel in 0..5_u8,
    ) -> Observed {
        let links = BTreeMap::from([
            (1, link("lo", true, &["127.0.0.1/8"])),
            (2, link("eth0", eth0, &["192.168.0.1/24", "fd00::1/112"])),
            (3, link("docker0", true, &[docker0, "fd00:1::1/64"])),
        ]);
        for (index, of_link) in &links {
            for address in of_link.addresses.iter().filter(|_| of_link.up && *index != 1) {
                let route = Route { to: address.trunc(), kind: RouteKind::Unicast, via: None, dev: Some(*index), src: None, metric: 256, protocol: 2 };
                routes.push(route);
            }
        }
        let behind = Route { to: net("192.168.9.0/24"), kind: RouteKind::Unicast, via: Some("192.168.0.254".parse().unwrap()), dev: Some(2), src: None, metric: 0, protocol: 3 };
        routes.push(behind);
        let names: Vec<String> = links.values().map(|link| link.name.clone()).collect();
        let sysctls = names.iter().flat_map(|name| Sysctl::of_link(name)).chain(Sysctl::of_host());
        let sysctls = sysctls.filter(|sysctl| forced || sysctl.name != Setting::ForceForwarding);
        let sysctls = sysctls.zip(values).map(|(sysctl, value)| (sysctl, value.to_owned())).collect();
        let mut kernel = Observed { links, routes, sysctls, docker: Some(docker), ..Observed::default() };
        leave_tunnel(&mut kernel, tunnel);
        kernel
    }
}

fn cluster(hosts: u8) -> Cluster {
    Cluster { prefixes: Vec::new(), hosts: (1..=hosts).map(host).collect() }
}

proptest! {
    #[test]
    fn after_the_plan_there_is_nothing_to_do(mut kernel in any_kernel(), hosts in 1..7_u8, later in 1..7_u8, carries in any::<bool>()) {
        // A table of another time, as a host has it that was changed meanwhile.
        let choices = Choices::default();
        let earlier = desired(&cluster(later), &host(1), &choices, &kernel, &Reach::default());
        kernel.table = (later > 2).then_some(earlier.table);
        let before = kernel.clone();
        let fifth = PeerReach { by_router: carries, ..PeerReach::default() };
        let reach = Reach { peers: [(HostName::try_from("h5".to_owned()).unwrap(), fifth)].into() };

        let cluster = cluster(hosts);
        let wanted = desired(&cluster, &host(1), &choices, &kernel, &reach);
        let first = plan(&wanted, &kernel);
        prop_assert_eq!(first.check(&wanted), Ok(()));
        apply(&first, &mut kernel);

        let wanted = desired(&cluster, &host(1), &choices, &kernel, &reach);
        let second = plan(&wanted, &kernel);
        prop_assert!(second.is_empty(), "still to do: {:?}", second.steps);

        let foreign = |kernel: &Observed| kernel.routes.iter().filter(|r| !r.is_ours()).cloned().collect::<Vec<_>>();
        prop_assert_eq!(foreign(&before), foreign(&kernel));
    }

    #[test]
    fn the_way_back_leads_to_the_beginning(mut kernel in any_kernel(), hosts in 1..7_u8) {
        drop_tunnel(&mut kernel, Underlay::V4);
        kernel.routes.retain(|route| !route.is_ours());
        for chain in kernel.docker.iter_mut().flat_map(|docker| &mut docker.chains) {
            chain.rules.retain(|rule| !rule.contains("--comment byway "));
        }
        let before = kernel.clone();
        let cluster = cluster(hosts);
        let wanted = desired(&cluster, &host(1), &Choices::default(), &kernel, &Reach::default());
        let up = plan(&wanted, &kernel);
        let mut memory = Memory::default();
        for step in &up.steps {
            memory.note(step, &kernel);
        }
        apply(&up, &mut kernel);
        apply(&take_down(&memory, &kernel), &mut kernel);
        prop_assert_eq!(kernel, before);
    }
}
