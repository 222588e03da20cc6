//! Every kind of step on the real kernel, each test in a network namespace of its own that ends with its thread.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a kernel that refuses here is a failed test")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::process::Command;

use byway_agent::error::{AgentError, chain};
use byway_agent::world::World;
use byway_fabric::cluster::HostName;
use byway_fabric::observed::{METRIC, Observed, PROTOCOL, Route, RouteKind};
use byway_fabric::plan::{Making, Memory, Plan, Step, take_down};
use byway_fabric::sysctl::{Setting, Sysctl};
use byway_fabric::table::{Element, Members, Table, table};
use byway_fabric::tunnel::{End, Entry, Mac, Tunnel, Underlay};

/// A host with a bridge and an uplink, and neighbours that are not there. Its links have no addresses of their
/// own: the kernel would give them some time later.
const HOST: &str = "
    ip link set lo up
    ip link add docker0 type bridge
    ip link set docker0 addrgenmode none
    ip address add 172.41.0.1/16 dev docker0
    ip address add fd00:172:41::1/64 dev docker0 nodad
    ip link set docker0 up
    ip link add eth0 type veth peer name far
    ip link set eth0 addrgenmode none
    ip link set far addrgenmode none
    ip address add 192.168.199.41/24 dev eth0
    ip address add fd00:199::41/64 dev eth0 nodad
    ip link set far up
    ip link set eth0 up
    echo 0 > /proc/sys/net/ipv4/ip_forward";

/// A namespace with that host in it.
struct Scene {
    world: World,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn look(&mut self) -> Observed {
        self.world.doubt_table();
        self.runtime.block_on(self.world.look()).unwrap()
    }

    fn try_apply(&mut self, steps: Vec<Step>) -> Result<(), AgentError> {
        self.runtime.block_on(self.world.apply(&Plan { steps, ..Plan::default() }))
    }

    fn apply(&mut self, steps: Vec<Step>) {
        self.try_apply(steps).unwrap_or_else(|error| panic!("{}", chain(&error)));
    }

    /// A route of ours to a peer.
    fn route(&mut self, to: &str, via: &str, src: Option<&str>) -> Route {
        let links = self.look().links;
        let (dev, _) = links.into_iter().find(|(_, link)| link.name == "eth0").unwrap();
        Route {
            to: to.parse().unwrap(),
            kind: RouteKind::Unicast,
            via: Some(via.parse().unwrap()),
            dev: Some(dev),
            src: src.map(|src| src.parse::<IpAddr>().unwrap()),
            metric: METRIC,
            protocol: PROTOCOL,
        }
    }
}

/// Runs a test on a thread with a network namespace of its own; the machine is the same before and after.
fn in_a_namespace(test: impl FnOnce(&mut Scene) + Send) {
    const MACHINE: &str =
        "ip -o link; ip route; ip -6 route; cat /proc/sys/net/ipv4/conf/*/forwarding; nft list tables";
    let before = sh(MACHINE);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let own = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            own.expect("a network namespace of its own needs CAP_SYS_ADMIN; run the tests as root");
            assert_eq!(sh("ip route; ip -6 route; nft list ruleset"), "", "it is a fresh one");
            sh(HOST);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            test(&mut Scene { world: World::open().unwrap(), runtime });
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert_eq!(sh(MACHINE), before, "the machine is as it was");
}

/// Our routes as `ip` shows them.
fn ours() -> String {
    let routes = sh("ip route show proto 172; ip -6 route show proto 172");
    routes.replace(" pref medium", "").replace(" \n", "\n")
}

/// What a script says in the network namespace of this thread.
fn sh(script: &str) -> String {
    let out = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn put(route: &Route, text: &str) -> Step {
    Step::PutRoute { route: route.clone(), text: text.to_owned(), because: "of the test".to_owned() }
}

fn del(route: &Route) -> Step {
    Step::DelRoute { route: route.clone(), text: route.to.to_string(), because: "of the test".to_owned() }
}

fn members(local: &[&str], peers: &[&str]) -> Members {
    let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
    Members {
        uplinks: ["eth0".to_owned()].into(),
        inside: ["docker0".to_owned()].into(),
        guard: [["docker0".to_owned()].into(), ["docker0".to_owned()].into()],
        local: nets(local),
        peers: nets(peers),
        ends: BTreeSet::new(),
    }
}

fn seed_table() -> Table {
    table(&members(&["172.41.0.0/16", "fd00:172:41::/64"], &["172.42.0.0/16", "fd00:172:42::/64"]))
}

fn put_table(table: &Table) -> Step {
    Step::PutTable { table: table.clone(), because: "of the test".to_owned() }
}

fn elements(prefixes: &[&str]) -> BTreeSet<Element> {
    prefixes.iter().map(|prefix| Element::Prefix(prefix.parse().unwrap())).collect()
}

#[test]
fn a_table_that_was_put_is_read_back_as_it_was_meant() {
    in_a_namespace(|scene| {
        assert_eq!(scene.look().table, None);
        for wanted in [seed_table(), table(&Members::default()), seed_table()] {
            scene.apply(vec![put_table(&wanted)]);
            assert_eq!(scene.look().table, Some(wanted));
        }
        scene.apply(vec![Step::DelTable { because: "of the test".to_owned() }]);
        assert_eq!((scene.look().table, sh("nft list ruleset").as_str()), (None, ""));
    });
}

#[test]
fn a_table_takes_the_place_of_whatever_had_its_name_and_of_nothing_else() {
    in_a_namespace(|scene| {
        sh("nft add table inet byway
            nft add map inet byway mine '{ type ipv4_addr : verdict; }'
            nft add chain inet byway forward '{ type filter hook forward priority -5; policy drop; }'
            nft add table inet other; nft add table ip byway");
        scene.apply(vec![put_table(&seed_table())]);
        assert_eq!(scene.look().table, Some(seed_table()));
        let tables = sh("nft list tables");
        assert!(tables.contains("table inet other") && tables.contains("table ip byway"), "{tables}");
    });
}

#[test]
fn members_come_and_go_without_touching_the_rules() {
    in_a_namespace(|scene| {
        scene.apply(vec![put_table(&seed_table())]);
        let handles = || sh("nft -a list chain inet byway forward | grep -o 'handle .*'");
        let before = handles();
        let because = || "of the test".to_owned();
        scene.apply(vec![
            Step::PutElements {
                set: "peers4".to_owned(),
                elements: elements(&["172.43.0.0/16", "10.0.0.7/32"]),
                because: because(),
            },
            Step::PutElements {
                set: "peers6".to_owned(),
                elements: elements(&["fd00:172:43::/64"]),
                because: because(),
            },
        ]);
        let peers = ["172.42.0.0/16", "fd00:172:42::/64", "172.43.0.0/16", "10.0.0.7/32", "fd00:172:43::/64"];
        let local = ["172.41.0.0/16", "fd00:172:41::/64"];
        assert_eq!(scene.look().table, Some(table(&members(&local, &peers))));
        scene.apply(vec![
            Step::DelElements {
                set: "peers4".to_owned(),
                elements: elements(&["172.42.0.0/16"]),
                because: because(),
            },
            Step::DelElements {
                set: "guard4".to_owned(),
                elements: [Element::Text("docker0".to_owned())].into(),
                because: because(),
            },
        ]);
        let guard = [[].into(), ["docker0".to_owned()].into()];
        let without = Members { guard, ..members(&local, &peers[1..]) };
        assert_eq!(scene.look().table, Some(table(&without)));
        assert_eq!(handles(), before, "no rule was put anew");
    });
}

#[test]
fn where_there_are_several_uplinks_bridges_and_subnets_the_rules_ask_sets() {
    in_a_namespace(|scene| {
        let names = |names: [&str; 2]| names.map(str::to_owned).into();
        let several = Members {
            uplinks: names(["eth0", "eth1"]),
            inside: names(["bw0", "docker0"]),
            ..members(&["172.41.0.0/24", "172.41.9.0/24", "fd00:172:41::/64"], &["172.42.0.0/16"])
        };
        scene.apply(vec![put_table(&table(&several))]);
        assert_eq!(scene.look().table, Some(table(&several)));
    });
}

#[test]
fn members_that_the_kernel_refuses_are_an_error_and_change_nothing() {
    in_a_namespace(|scene| {
        scene.apply(vec![put_table(&seed_table())]);
        let overlap = Step::PutElements {
            set: "peers4".to_owned(),
            elements: elements(&["172.42.7.0/24"]),
            because: "of the test".to_owned(),
        };
        let error = chain(&scene.try_apply(vec![overlap]).unwrap_err());
        assert!(error.starts_with("nftables: nft refused to put 172.42.7.0/24 into set peers4: "), "{error}");
        assert_eq!(scene.look().table, Some(seed_table()));
    });
}

#[test]
fn a_setting_is_put_and_read_back() {
    in_a_namespace(|scene| {
        let sysctl = Sysctl::v4("eth0", Setting::Forwarding);
        assert_eq!(scene.look().sysctls[&sysctl], "0");
        let step = |sysctl: &Sysctl, to: &str| Step::PutSysctl {
            sysctl: sysctl.clone(),
            from: "0".to_owned(),
            to: to.to_owned(),
            because: "of the test".to_owned(),
        };
        scene.apply(vec![step(&sysctl, "1")]);
        assert_eq!(scene.look().sysctls[&sysctl], "1");
        let docker0 = Sysctl::v4("docker0", Setting::Forwarding);
        assert_eq!(scene.look().sysctls[&docker0], "0", "of one interface only");
        let nowhere = Sysctl::v4("nowhere", Setting::Forwarding);
        let error = chain(&scene.try_apply(vec![step(&nowhere, "1"), step(&docker0, "1")]).unwrap_err());
        assert!(error.contains("put net.ipv4.conf.nowhere.forwarding = 1: "), "{error}");
        assert_eq!(
            scene.look().sysctls[&docker0],
            "1",
            "one that fails does not keep the next from being put"
        );
    });
}

#[test]
fn a_setting_of_an_interface_with_a_dot_is_found() {
    in_a_namespace(|scene| {
        sh("ip link set far name far.7");
        let sysctl = Sysctl::v4("far.7", Setting::Forwarding);
        assert_eq!(scene.look().sysctls.get(&sysctl).map(String::as_str), Some("0"));
    });
}

#[test]
fn routes_of_both_families_are_put_replaced_and_deleted() {
    in_a_namespace(|scene| {
        for (to, via, other, src) in [
            ("172.42.0.0/16", "192.168.199.42", "192.168.199.43", "172.41.0.1"),
            ("fd00:172:42::/64", "fd00:199::42", "fd00:199::43", "fd00:172:41::1"),
        ] {
            let route = scene.route(to, via, Some(src));
            scene.apply(vec![put(&route, "")]);
            assert_eq!(ours(), format!("{to} via {via} dev eth0 src {src} metric 172\n"));
            assert!(scene.look().routes.contains(&route));
            let moved = scene.route(to, other, None);
            scene.apply(vec![put(&moved, "")]);
            assert_eq!(ours(), format!("{to} via {other} dev eth0 metric 172\n"), "replaced, not added");
            assert!(scene.look().routes.contains(&moved));
            scene.apply(vec![put(&moved, ""), del(&moved)]);
            assert_eq!(ours(), "");
            scene.apply(vec![del(&moved)]);
        }
    });
}

#[test]
fn a_route_that_the_kernel_refuses_is_named_and_the_others_are_put() {
    in_a_namespace(|scene| {
        let good = scene.route("172.42.0.0/16", "192.168.199.42", None);
        for (to, via) in [("172.43.0.0/16", "10.9.9.9"), ("fd00:172:43::/64", "fd09::9")] {
            let bad = scene.route(to, via, None);
            let steps = vec![put(&bad, &format!("{to} via {via} dev eth0")), put(&good, "")];
            let error = scene.try_apply(steps).unwrap_err();
            assert!(matches!(error, AgentError::Refused { others: 0, .. }), "{error:?}");
            let told = chain(&error);
            assert!(
                told.starts_with(&format!("the kernel refused to put route {to} via {via} dev eth0: ")),
                "{told}"
            );
            assert_eq!(ours(), "172.42.0.0/16 via 192.168.199.42 dev eth0 metric 172\n");
        }
        let source = scene.route("172.43.0.0/16", "192.168.199.42", Some("172.99.0.1"));
        assert!(scene.try_apply(vec![put(&source, "")]).is_err(), "a source address that is not ours");
    });
}

#[test]
fn a_thousand_refused_routes_are_counted_and_none_is_lost() {
    in_a_namespace(|scene| {
        let nowhere = scene.route("fd00::/64", "fd09::9", None);
        let bad = (0..1200).map(|nth| {
            let to = format!("fd00:{nth:x}::/64").parse().unwrap();
            put(&Route { to, ..nowhere.clone() }, &to.to_string())
        });
        let good = scene.route("172.42.0.0/16", "192.168.199.42", None);
        let error = scene.try_apply(bad.chain([put(&good, "")]).collect()).unwrap_err();
        let AgentError::Refused { what, others, .. } = &error else { panic!("{error:?}") };
        assert_eq!((what.as_str(), *others), ("put route fd00::/64", 1199));
        assert_eq!(ours(), "172.42.0.0/16 via 192.168.199.42 dev eth0 metric 172\n");
    });
}

#[test]
fn only_our_own_route_is_deleted_though_a_foreign_one_has_its_prefix_and_metric() {
    in_a_namespace(|scene| {
        for (family, to, via) in
            [("-4", "172.42.0.0/16", "192.168.199.42"), ("-6", "fd00:172:42::/64", "fd00:199::42")]
        {
            sh(&format!("ip {family} route add {to} via {via} metric 172 proto static"));
            let ours = scene.route(to, via, None);
            scene.apply(vec![del(&ours)]);
            let left = sh(&format!("ip {family} route show {to}"));
            assert!(left.contains("proto static"), "it is left alone: {left}");
        }
    });
}

#[test]
fn a_route_in_our_name_that_drops_packets_is_seen_and_deleted() {
    in_a_namespace(|scene| {
        sh("ip route add blackhole 172.42.0.0/16 proto 172 metric 172
            ip -6 route add unreachable fd00:172:42::/64 proto 172 metric 172
            ip route add 172.43.0.0/16 via 192.168.199.42 proto 172 metric 7");
        let routes = scene.look().routes;
        let named: Vec<&Route> = routes.iter().filter(|route| route.is_ours()).collect();
        let kinds: Vec<RouteKind> = named.iter().map(|route| route.kind).collect();
        assert_eq!(kinds, [RouteKind::Blackhole, RouteKind::Unicast, RouteKind::Unreachable]);
        scene.apply(named.into_iter().map(del).collect());
        assert_eq!(ours(), "");
    });
}

#[test]
fn the_way_back_takes_everything_out_and_leaves_what_was_there() {
    in_a_namespace(|scene| {
        sh("ip route add 10.0.0.0/8 via 192.168.199.1 proto static");
        let before = scene.look();
        let route = scene.route("fd00:172:42::/64", "fd00:199::42", Some("fd00:172:41::1"));
        let setting = Step::PutSysctl {
            sysctl: Sysctl::v4("eth0", Setting::Forwarding),
            from: "0".to_owned(),
            to: "1".to_owned(),
            because: "of the test".to_owned(),
        };
        let steps = vec![put_table(&seed_table()), setting, put(&route, "")];
        let mut memory = Memory::default();
        assert_eq!(steps.iter().filter(|step| memory.note(step, &before)).count(), 1, "only settings");
        scene.apply(steps);
        assert_ne!(scene.look(), before);
        let back = take_down(&memory, &scene.look());
        scene.apply(back.steps);
        assert_eq!(scene.look(), before);
        assert!(take_down(&memory, &scene.look()).is_empty(), "done means: nothing is left to do");
    });
}

fn host(name: &str) -> HostName {
    HostName::try_from(name.to_owned()).unwrap()
}

/// A tunnel of docker41, over either family.
fn put_tunnel(underlay: Underlay, mtu: u32, making: Making) -> Step {
    let local = if underlay == Underlay::V4 { "192.168.199.41" } else { "fd00:199::41" };
    let tunnel = Tunnel::of(&host("docker41"), local.parse().unwrap());
    Step::PutTunnel { underlay, tunnel, mtu, making, because: "of the test".to_owned() }
}

fn put_entry(underlay: Underlay, entry: Entry) -> Step {
    Step::PutEntry { underlay, entry, because: "of the test".to_owned() }
}

/// What docker51 needs in a tunnel.
fn far_end(underlay: Underlay) -> BTreeSet<Entry> {
    let to = if underlay == Underlay::V4 { "192.168.200.51" } else { "fd00:200::51" };
    End::of(&host("docker51"), to.parse().unwrap(), Some("192.168.200.51".parse().unwrap())).entries
}

#[test]
fn a_tunnel_is_made_told_mended_made_anew_and_deleted() {
    in_a_namespace(|scene| {
        for underlay in Underlay::ALL {
            let device = underlay.device();
            assert_eq!(scene.look().tunnel(underlay), None);
            scene.apply(vec![put_tunnel(underlay, 1430, Making::New)]);
            let Step::PutTunnel { tunnel, .. } = put_tunnel(underlay, 0, Making::New) else { unreachable!() };
            let seen = scene.look();
            let (index, link) = seen.tunnel(underlay).unwrap();
            assert_eq!((index, link.up, link.mtu), (underlay.index(), true, 1430));
            assert_eq!(link.tunnel.as_ref(), Some(&tunnel));
            assert_eq!(seen.entries[&underlay], [].into(), "it knows nothing by itself");
            let addresses = sh(&format!("ip -o address show dev {device}"));
            assert!(
                addresses.contains("inet 192.0.0.8/32 scope link") && addresses.lines().count() == 1,
                "{addresses}"
            );

            let entries = far_end(underlay);
            scene.apply(entries.iter().map(|entry| put_entry(underlay, *entry)).collect());
            assert_eq!(scene.look().entries[&underlay], entries);

            sh(&format!("ip link set {device} down mtu 1400"));
            scene.apply(vec![put_tunnel(underlay, 1430, Making::Mend)]);
            let seen = scene.look();
            let (_, link) = seen.tunnel(underlay).unwrap();
            assert_eq!((link.up, link.mtu), (true, 1430));

            sh(&format!("ip link del {device}; ip link add {device} type vxlan id 9 dstport 4789 dev eth0"));
            let other = scene.look().tunnel(underlay).and_then(|(_, link)| link.tunnel.clone()).unwrap();
            assert_eq!((other.id, other.port, other.learning), (9, 4789, true));
            scene.apply(vec![put_tunnel(underlay, 1430, Making::Anew)]);
            let seen = scene.look();
            assert_eq!(seen.tunnel(underlay).and_then(|(_, link)| link.tunnel.clone()), Some(tunnel));

            let gone = || Step::DelTunnel { underlay, because: "of the test".to_owned() };
            scene.apply(vec![gone(), gone()]);
            assert_eq!((scene.look().tunnel(underlay), scene.look().entries), (None, [].into()));
        }
    });
}

#[test]
fn an_entry_takes_the_place_of_another_and_goes_twice_without_complaint() {
    in_a_namespace(|scene| {
        let underlay = Underlay::V4;
        let mac = Mac::of(&host("docker51"));
        let there = |at: &str| Entry::Forward { mac, to: at.parse().unwrap() };
        let hop = |last: u8| Entry::Neighbour {
            address: "192.168.200.51".parse().unwrap(),
            mac: Mac([2, 0, 0, 0, 0, last]),
        };
        scene.apply(vec![put_tunnel(underlay, 1450, Making::New)]);
        for (put, replaced) in [(there("192.168.200.51"), there("192.168.200.9")), (hop(1), hop(2))] {
            scene.apply(vec![put_entry(underlay, replaced), put_entry(underlay, put)]);
            assert_eq!(scene.look().entries[&underlay], [put].into(), "replaced, not added");
            let del = || Step::DelEntry { underlay, entry: put, because: "of the test".to_owned() };
            scene.apply(vec![del(), del()]);
            assert_eq!(scene.look().entries[&underlay], [].into());
        }
        // A tunnel of one family knows no place of the other: that is the kernel's own refusal.
        let wrong = there("fd00:200::51");
        let error = chain(&scene.try_apply(vec![put_entry(underlay, wrong)]).unwrap_err());
        assert!(error.starts_with("the kernel refused to put forward "), "{error}");
    });
}

#[test]
fn routes_go_through_a_tunnel_that_has_no_address_and_replace_those_by_a_router() {
    in_a_namespace(|scene| {
        for underlay in Underlay::ALL {
            let link_local = Mac::of(&host("docker51")).link_local().to_string();
            let steps = [put_tunnel(underlay, 1400, Making::New)].into_iter();
            let told = far_end(underlay).into_iter().map(|entry| put_entry(underlay, entry));
            scene.apply(steps.chain(told).collect());
            // IPv6 with a route to the peer by the router, which keeps its address from being a next hop elsewhere.
            sh("ip route replace 192.168.200.0/24 via 192.168.199.1
                ip -6 route replace fd00:200::/64 via fd00:199::1");
            for (to, router, hop) in [
                ("172.51.0.0/16", "192.168.199.1", "192.168.200.51"),
                ("fd00:172:51::/64", "fd00:199::1", link_local.as_str()),
            ] {
                let by_router = scene.route(to, router, None);
                let tunnelled = Route {
                    via: Some(hop.parse().unwrap()),
                    dev: Some(underlay.index()),
                    ..by_router.clone()
                };
                let family = if to.contains(':') { "-6" } else { "-4" };
                let seen = || sh(&format!("ip {family} route show {to}"));
                for (route, dev) in
                    [(&by_router, "eth0"), (&tunnelled, underlay.device()), (&by_router, "eth0")]
                {
                    scene.apply(vec![put(route, "")]);
                    assert!(scene.look().routes.contains(route));
                    assert!(
                        seen().contains(&format!(" dev {dev} ")) && seen().lines().count() == 1,
                        "{}",
                        seen()
                    );
                }
                scene.apply(vec![put(&tunnelled, ""), del(&tunnelled)]);
                assert_eq!(seen(), "");
            }
        }
    });
}

#[test]
fn a_table_that_keeps_strangers_out_of_the_tunnel_is_read_back_as_it_was_meant() {
    in_a_namespace(|scene| {
        let ends = ["192.168.200.51", "192.168.200.52", "fd00:200::51"];
        let members = Members {
            ends: ends.iter().map(|end| end.parse().unwrap()).collect(),
            ..members(&["172.41.0.0/16"], &["172.51.0.0/16"])
        };
        scene.apply(vec![put_table(&table(&members))]);
        assert_eq!(scene.look().table, Some(table(&members)));
    });
}
