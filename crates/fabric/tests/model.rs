//! Any host, any mess: the plan applied to a model of the kernel leaves nothing to do, and touches nothing
//! that is not ours.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeMap;

use byway_fabric::cluster::{Cluster, Host, HostName};
use byway_fabric::desired::{Choices, desired};
use byway_fabric::docker::rules::{Place, accept};
use byway_fabric::docker::{Backend, Engine, Flavour, Seen, SeenChain, Version, Walls};
use byway_fabric::observed::{Link, METRIC, Observed, PROTOCOL, Route, RouteKind};
use byway_fabric::plan::{Memory, Plan, Step, plan, take_down};
use byway_fabric::reach::Reach;
use byway_fabric::sysctl::{Setting, Sysctl};
use byway_fabric::table::Element;
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

fn members<'a>(kernel: &'a mut Observed, set: &str) -> &'a mut std::collections::BTreeSet<Element> {
    let table = kernel.table.as_mut().expect("elements go into a table that is there");
    &mut table.sets.get_mut(set).expect("a set that is there").elements
}

fn host(nth: u8) -> Host {
    Host {
        name: HostName::try_from(format!("h{nth}")).unwrap(),
        addresses: vec![format!("192.168.0.{nth}").parse().unwrap(), format!("fd00::{nth}").parse().unwrap()],
        subnets: vec![net(&format!("10.{nth}.0.0/16")), net(&format!("fd00:{nth}::/64"))],
        key: None,
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn link(name: &str, up: bool, addresses: &[&str]) -> Link {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Link { name: name.to_owned(), up, enslaved: false, bridge: name != "eth0", addresses }
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
        let names: Vec<String> = links.values().map(|link| link.name.clone()).collect();
        let sysctls = names.iter().flat_map(|name| Sysctl::of_link(name)).chain(Sysctl::of_host());
        let sysctls = sysctls.filter(|sysctl| forced || sysctl.name != Setting::ForceForwarding);
        let sysctls = sysctls.zip(values).map(|(sysctl, value)| (sysctl, value.to_owned())).collect();
        Observed { links, routes, sysctls, table: None, docker: Some(docker), firewalld: None }
    }
}

fn cluster(hosts: u8) -> Cluster {
    Cluster { prefixes: Vec::new(), hosts: (1..=hosts).map(host).collect() }
}

proptest! {
    #[test]
    fn after_the_plan_there_is_nothing_to_do(mut kernel in any_kernel(), hosts in 1..6_u8, later in 1..6_u8) {
        // A table of another time, as a host has it that was changed meanwhile.
        let choices = Choices::default();
        let earlier = desired(&cluster(later), &host(1), &choices, &kernel, &Reach::default());
        kernel.table = (later > 2).then_some(earlier.table);
        let before = kernel.clone();

        let cluster = cluster(hosts);
        let wanted = desired(&cluster, &host(1), &choices, &kernel, &Reach::default());
        let first = plan(&wanted, &kernel);
        prop_assert_eq!(first.check(&wanted), Ok(()));
        apply(&first, &mut kernel);

        let wanted = desired(&cluster, &host(1), &choices, &kernel, &Reach::default());
        let second = plan(&wanted, &kernel);
        prop_assert!(second.is_empty(), "still to do: {:?}", second.steps);

        let foreign = |kernel: &Observed| kernel.routes.iter().filter(|r| !r.is_ours()).cloned().collect::<Vec<_>>();
        prop_assert_eq!(foreign(&before), foreign(&kernel));
    }

    #[test]
    fn the_way_back_leads_to_the_beginning(mut kernel in any_kernel(), hosts in 1..6_u8) {
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
