//! What 10,000 routes cost on the real kernel, beside `ip -batch` with the same routes in the same run: put them,
//! read them back whole, put them again unchanged, delete them.
//!
//! Everything happens in a network namespace that this program makes and that ends with it. The rounds of ours
//! and of `ip` take turns, so that what else the machine does falls on both.

#![expect(clippy::expect_used, reason = "a bench that cannot do what it measures ends there")]

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use byway_agent::edge::netlink::{Netlink, Request};
use byway_agent::edge::{look, route};
use byway_fabric::observed::{METRIC, PROTOCOL, Route, RouteKind};
use byway_fabric::plan::Step;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use verdict::{Samples, Sheet, thread_cpu, wall};

/// Routes of each family.
const ROUTES_EACH: u32 = 5000;
/// Peers to which they lead.
const PEERS: u32 = 200;
/// How often everything is measured.
const ROUNDS: usize = 15;
/// How many times as long `ip -batch` must take.
const PUT_LIMIT: f64 = 3.0;
/// Between two deeds: the kernel frees the routes of the deed before in the time of whoever runs then.
const REST: Duration = Duration::from_millis(50);
/// CPU time to read them back whole.
const READ_LIMIT: f64 = 10e-3;

fn main() -> ExitCode {
    // On a thread of its own, so that it alone is in the new namespace.
    std::thread::spawn(bench).join().expect("the bench came to its end")
}

fn bench() -> ExitCode {
    unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace: this needs root");
    ip(&wires());
    let mut ours = Ours::new();
    let mut costs = Costs::default();
    let (mut peers_way, mut peers_del) = (String::new(), String::new());
    for route in ours.puts.iter().filter_map(route_of) {
        let _ = writeln!(peers_way, "route add {}", words(route));
        let _ = writeln!(peers_del, "route del {}", words(route));
    }
    // The first round pays for what the kernel and we allocate once.
    for round in 0..=ROUNDS {
        let mut fresh = Costs::default();
        if round % 2 == 0 {
            fresh.peer(&peers_way, &peers_del);
        }
        fresh.ours(&mut ours);
        fresh.with_objects(&mut ours);
        if round % 2 == 1 {
            fresh.peer(&peers_way, &peers_del);
        }
        if round > 0 {
            costs.join(fresh);
        }
    }
    costs.sheet().finish()
}

/// One wire with our addresses on it; the peers are neighbours there that nobody has to answer for.
fn wires() -> String {
    let mut text = "link set lo up
        link add up0 type veth peer name up1
        address add 172.16.0.1/12 dev up0
        address add fd00:1::1/64 dev up0 nodad
        address add 10.255.0.1/24 dev up0
        address add fd00:3::1/64 dev up0 nodad
        link set up1 up
        link set up0 up\n"
        .to_owned();
    for nth in 0..PEERS {
        let [v4, v6] = peer(nth);
        let _ = writeln!(text, "nexthop add id {} via {v4} dev up0 proto {PROTOCOL}", 1 + nth);
        let _ = writeln!(text, "nexthop add id {} via {v6} dev up0 proto {PROTOCOL}", 1 + PEERS + nth);
    }
    text
}

fn peer(nth: u32) -> [IpAddr; 2] {
    [
        Ipv4Addr::from_bits(0xac10_0100 + nth).into(),
        Ipv6Addr::from_bits((0xfd00_0001 << 96) + 0x100 + u128::from(nth)).into(),
    ]
}

/// A peer's subnets lie side by side.
fn peer_of(nth_route: u32) -> u32 {
    nth_route / (ROUTES_EACH / PEERS)
}

/// `10.x.y.0/24` and `fd00:2:n::/64`, as the planner has them.
fn routes(dev: u32) -> Vec<Route> {
    let to = |nth: u32| -> [IpNet; 2] {
        [
            Ipv4Net::new_assert(Ipv4Addr::from_bits(0x0a00_0000 + (nth << 8)), 24).into(),
            Ipv6Net::new_assert(Ipv6Addr::from_bits((0xfd00_0002 << 96) + (u128::from(nth) << 80)), 64)
                .into(),
        ]
    };
    let src: [IpAddr; 2] = ["10.255.0.1", "fd00:3::1"].map(|text| text.parse().expect("an address"));
    let of_family = |family: usize| {
        (0..ROUTES_EACH).map(move |nth| Route {
            to: to(nth)[family],
            kind: RouteKind::Unicast,
            via: Some(peer(peer_of(nth))[family]),
            dev: Some(dev),
            src: Some(src[family]),
            metric: METRIC,
            protocol: PROTOCOL,
        })
    };
    of_family(0).chain(of_family(1)).collect()
}

fn words(route: &Route) -> String {
    let Route { to, via: Some(via), src: Some(src), .. } = route else { unreachable!("all have both") };
    format!("{to} via {via} dev up0 src {src} proto {PROTOCOL} metric {METRIC}")
}

/// Runs `ip -batch` on a script.
fn ip(script: &str) {
    let mut command = Command::new("ip");
    let mut child = command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("run ip");
    child.stdin.take().expect("its input").write_all(script.as_bytes()).expect("feed ip");
    assert!(child.wait().expect("wait for ip").success(), "ip refused something");
}

/// CPU time of the children that have ended.
fn children_cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every Linux tells");
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(micros.unsigned_abs()).as_secs_f64()
}

/// The agent's own way to the kernel.
struct Ours {
    netlink: Netlink,
    puts: Vec<Step>,
    dels: Vec<Step>,
    with_objects: Vec<Request>,
    objects_dels: Vec<Request>,
}

impl Ours {
    fn new() -> Self {
        let mut netlink = Netlink::open().expect("open netlink");
        let links = look::links(&mut netlink).expect("list the links");
        let (dev, _) = links.into_iter().find(|(_, link)| link.name == "up0").expect("our wire");
        let step = |route: Route| (String::new(), route, String::new());
        let all = || routes(dev).into_iter().map(step);
        let puts: Vec<Step> =
            all().map(|(text, route, because)| Step::PutRoute { route, text, because }).collect();
        let dels: Vec<Step> =
            all().map(|(text, route, because)| Step::DelRoute { route, text, because }).collect();
        let objects = |make: fn(RouteMessage) -> RouteNetlinkMessage, flags| -> Vec<Request> {
            let messages = routes(dev).into_iter().enumerate().map(|(nth, route)| by_object(nth, &route));
            messages.map(|message| Request { message: make(message), flags }).collect()
        };
        let with_objects = objects(RouteNetlinkMessage::NewRoute, NLM_F_CREATE | NLM_F_REPLACE);
        let objects_dels = objects(RouteNetlinkMessage::DelRoute, 0);
        Self { netlink, puts, dels, with_objects, objects_dels }
    }
}

fn route_of(step: &Step) -> Option<&Route> {
    if let Step::PutRoute { route, .. } = step { Some(route) } else { None }
}

/// The same route by the nexthop object of its peer.
fn by_object(nth: usize, route: &Route) -> RouteMessage {
    let nth = u32::try_from(nth).expect("few");
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family =
        if route.to.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    header.destination_prefix_length = route.to.prefix_len();
    header.table = RouteHeader::RT_TABLE_MAIN;
    header.protocol = RouteProtocol::from(PROTOCOL);
    header.kind = RouteType::Unicast;
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::from(route.to.addr())),
        RouteAttribute::Priority(METRIC),
        RouteAttribute::NhId(1 + (nth / ROUTES_EACH) * PEERS + peer_of(nth % ROUTES_EACH)),
    ];
    message.attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(RouteAddress::from(src))));
    message
}

/// Time on the wall and CPU time of one deed, over the rounds.
#[derive(Default)]
struct Cost {
    wall: Samples,
    cpu: Samples,
}

impl Cost {
    fn of<T>(&mut self, cpu: fn() -> f64, work: impl FnOnce() -> T) -> T {
        std::thread::sleep(REST);
        let begun = (wall(), cpu());
        let done = work();
        self.wall.add(wall() - begun.0);
        self.cpu.add(cpu() - begun.1);
        done
    }

    fn join(&mut self, other: Self) {
        self.wall.join(other.wall);
        self.cpu.join(other.cpu);
    }
}

#[derive(Default)]
struct Costs {
    put: Cost,
    read: Cost,
    same: Cost,
    del: Cost,
    ip_put: Cost,
    ip_del: Cost,
    objects_put: Cost,
    objects_read: Cost,
    objects_del: Cost,
}

impl Costs {
    fn peer(&mut self, puts: &str, dels: &str) {
        self.ip_put.of(children_cpu, || ip(puts));
        self.ip_del.of(children_cpu, || ip(dels));
    }

    fn ours(&mut self, ours: &mut Ours) {
        let Ours { netlink, puts, dels, .. } = ours;
        let apply = |cost: &mut Cost, netlink: &mut Netlink, steps: &[Step]| {
            let refused = cost.of(thread_cpu, || route::apply(netlink, steps)).expect("talk to the kernel");
            assert!(refused.is_empty(), "refused: {:?}", refused.first());
        };
        apply(&mut self.put, netlink, puts);
        apply(&mut self.same, netlink, puts);
        let read = self.read.of(thread_cpu, || look::routes(netlink)).expect("read the routes back");
        assert_eq!(read.iter().filter(|route| route.is_ours()).count(), puts.len());
        apply(&mut self.del, netlink, dels);
    }

    fn with_objects(&mut self, ours: &mut Ours) {
        let Ours { netlink, with_objects, objects_dels, .. } = ours;
        let refused = self.objects_put.of(thread_cpu, || netlink.batch(with_objects)).expect("put");
        assert!(refused.is_empty(), "refused: {:?}", refused.first());
        let read = self.objects_read.of(thread_cpu, || look::routes(netlink)).expect("read the routes back");
        assert!(read.len() >= with_objects.len());
        let refused = self.objects_del.of(thread_cpu, || netlink.batch(objects_dels)).expect("delete");
        assert!(refused.is_empty(), "refused: {:?}", refused.first());
    }

    fn join(&mut self, fresh: Self) {
        self.put.join(fresh.put);
        self.read.join(fresh.read);
        self.same.join(fresh.same);
        self.del.join(fresh.del);
        self.ip_put.join(fresh.ip_put);
        self.ip_del.join(fresh.ip_del);
        self.objects_put.join(fresh.objects_put);
        self.objects_read.join(fresh.objects_read);
        self.objects_del.join(fresh.objects_del);
    }

    fn sheet(&self) -> Sheet {
        let mut sheet = Sheet::new("10,000 routes, half of each family, to 200 peers");
        sheet.compared("put, wall", &self.put.wall, ("ip -batch", &self.ip_put.wall));
        sheet.faster("put, CPU", &self.put.cpu, PUT_LIMIT, ("ip -batch", &self.ip_put.cpu));
        sheet.limit("read back whole, CPU", &self.read.cpu, READ_LIMIT);
        sheet.told("read back whole, wall", &self.read.wall);
        sheet.compared("put again unchanged, CPU", &self.same.cpu, ("put", &self.put.cpu));
        sheet.compared("delete, wall", &self.del.wall, ("ip -batch", &self.ip_del.wall));
        sheet.compared("delete, CPU", &self.del.cpu, ("ip -batch", &self.ip_del.cpu));
        sheet.compared("put by nexthop objects, wall", &self.objects_put.wall, ("put", &self.put.wall));
        sheet.compared("put by nexthop objects, CPU", &self.objects_put.cpu, ("put", &self.put.cpu));
        sheet.compared("read those back, CPU", &self.objects_read.cpu, ("read back", &self.read.cpu));
        sheet.compared("delete those, CPU", &self.objects_del.cpu, ("delete", &self.del.cpu));
        sheet
    }
}
