//! What a host should have, given the cluster and what it can see of itself.
//!
//! What cannot be had (a peer that is no neighbour, a subnet that would cut the host off) is not tried: it
//! becomes a [`Problem`] with the reason in words.

mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::cluster::{Cluster, Host, HostName};
use crate::lookup::Lookup;
use crate::observed::{Link, Observed};
use crate::path::{Path, Tunnels};
use crate::problem::{Problem, ProblemKind};
use crate::reach::Reach;
use crate::reach::proof::Target;
use crate::sysctl::{Setting, Sysctl};
use crate::table::{Members, Table, table};
use crate::tunnel::{Entry, Tunnel, Underlay};
use ways::Around;

/// What this host should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// This host.
    pub me: HostName,
    /// One route for each subnet of each reachable peer.
    pub routes: BTreeMap<IpNet, WantedRoute>,
    /// The paths to peers that are no neighbours.
    pub paths: BTreeMap<HostName, Path>,
    /// The tunnels to peers behind routers.
    pub tunnels: BTreeMap<Underlay, WantedTunnel>,
    /// The ways by routers that are worth a try.
    pub tries: BTreeSet<Target>,
    /// Settings, with the value and the reason.
    pub sysctls: BTreeMap<Sysctl, WantedSysctl>,
    /// Our nftables table.
    pub table: Table,
    /// Every subnet of the cluster and whose it is, ours too.
    pub owners: BTreeMap<IpNet, HostName>,
    /// Subnets that Docker must give to no network by itself.
    pub reserved: BTreeSet<IpNet>,
    /// What cannot be had, and why.
    pub problems: Vec<Problem>,
}

/// A route that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedRoute {
    /// The next hop: the peer's address on the underlay, a router that carries its packets, or its end of the tunnel.
    pub via: IpAddr,
    /// The link on which that is a neighbour.
    pub dev: u32,
    /// The address that this host itself speaks with: that of its bridge.
    pub src: Option<IpAddr>,
    /// Whose subnet it is.
    pub host: HostName,
    /// Why nothing arrives there any more, if that is so: packets are refused then instead of sent into the void.
    pub gone: Option<String>,
}

/// A tunnel that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedTunnel {
    /// What it is.
    pub tunnel: Tunnel,
    /// The largest packet that fits, in bytes.
    pub mtu: u32,
    /// The link with the smallest packets of all by which its peers are reached.
    pub uplink: u32,
    /// What it must be told, and of whom.
    pub entries: BTreeMap<Entry, HostName>,
}

impl WantedTunnel {
    /// The other ends, by their addresses on the underlay.
    pub fn ends(&self) -> impl Iterator<Item = IpAddr> {
        self.entries.keys().filter_map(|entry| match entry {
            Entry::Forward { to, .. } => Some(*to),
            Entry::Neighbour { .. } => None,
        })
    }
}

/// A setting that should have a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSysctl {
    /// The value.
    pub value: &'static str,
    /// Why.
    pub because: String,
}

/// What the operator fixed by hand instead of letting it be found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choices {
    /// Peers are neighbours on this link only.
    pub uplink: Option<String>,
    /// These links hold our subnets, whatever addresses they have.
    pub bridges: Vec<String>,
    /// Whether tunnels may be made.
    pub tunnels: Tunnels,
}

/// Works out what the host `me` should have. `reach` is what was found out about the ways to its peers.
#[must_use]
pub fn desired(
    cluster: &Cluster,
    me: &Host,
    choices: &Choices,
    observed: &Observed,
    reach: &Reach,
) -> Desired {
    let own = Own::find(me, choices, observed);
    let lookup = Lookup::new(observed);
    let mut desired = Desired {
        me: me.name.clone(),
        routes: BTreeMap::new(),
        paths: BTreeMap::new(),
        tunnels: BTreeMap::new(),
        tries: BTreeSet::new(),
        sysctls: BTreeMap::new(),
        table: Table::default(),
        owners: owners(cluster),
        reserved: BTreeSet::new(),
        problems: own.problems.clone(),
    };
    desired.problems.extend(unknown_links(choices, observed));
    let mut uplinks = uplinks(cluster, me, choices, observed, &lookup);
    let dangers = Dangers::find(&uplinks, observed);
    let around = Around { me, choices, observed, lookup: &lookup, reach, own: &own, dangers: &dangers };
    for peer in cluster.hosts.iter().filter(|host| host.name != me.name) {
        desired.want_routes(peer, &around);
    }
    desired.tell_sizes(&around);
    uplinks.extend(desired.tunnels.keys().map(|underlay| underlay.index()));
    desired.refuse_for_the_gone(reach);
    uplinks.extend(foreign_ways(&desired.owners, observed));
    uplinks.retain(|index| !own.links.contains_key(index));
    desired.want_sysctls(&uplinks, &own, observed);
    desired.want_reservations(me, observed);
    desired.table = table(&members(&desired, me, &uplinks, &own, observed));
    desired
}

/// The links by which peers are reached, directly or not, and the one that the operator fixed.
fn uplinks(
    cluster: &Cluster,
    me: &Host,
    choices: &Choices,
    observed: &Observed,
    lookup: &Lookup<'_>,
) -> BTreeSet<u32> {
    let peers = cluster.hosts.iter().filter(|host| host.name != me.name);
    let addresses = peers.flat_map(|peer| &peer.addresses);
    let fixed = observed.links.iter().filter(|(_, link)| choices.uplink.as_ref() == Some(&link.name));
    let reached = addresses.filter_map(|address| lookup.route_to(*address)?.dev);
    reached.chain(fixed.map(|(index, _)| *index)).collect()
}

fn owners(cluster: &Cluster) -> BTreeMap<IpNet, HostName> {
    // Family by family, because hosts are mostly listed in the order of their subnets, and what is in order
    // already makes a map in half of the time.
    let of_family = |v4| {
        let subnets = cluster.hosts.iter().flat_map(|host| host.subnets.iter().map(move |net| (net, host)));
        subnets.filter(move |(net, _)| net.addr().is_ipv4() == v4)
    };
    of_family(true).chain(of_family(false)).map(|(net, host)| (*net, host.name.clone())).collect()
}

/// This host's own subnets on its own links.
#[derive(Debug, Default)]
struct Own {
    /// Links that hold our subnets, with the addresses they have in them.
    links: BTreeMap<u32, Vec<IpAddr>>,
    /// The parts of our subnets that our links hold.
    held: BTreeSet<IpNet>,
    problems: Vec<Problem>,
}

impl Own {
    fn find(me: &Host, choices: &Choices, observed: &Observed) -> Self {
        let mut own = Self::default();
        let kept_out =
            |link: &&Link| observed.docker.as_ref().is_some_and(|docker| docker.keeps_out(&link.name));
        for (index, link) in observed.links.iter().filter(|(_, link)| !kept_out(link)) {
            // The kernel refuses a source address on a link that is down.
            let inside =
                |net: &&IpNet| link.up && me.subnets.iter().any(|subnet| subnet.contains(&net.addr()));
            let addresses: Vec<IpAddr> = link.addresses.iter().filter(inside).map(IpNet::addr).collect();
            if !addresses.is_empty() || choices.bridges.contains(&link.name) {
                own.links.insert(*index, addresses);
            }
        }
        for subnet in &me.subnets {
            let parts =
                if choices.bridges.is_empty() { own.parts(subnet, observed) } else { [*subnet].into() };
            if parts.is_empty() {
                own.problems.push(not_held(me, subnet, observed.docker.is_some()));
            }
            own.held.extend(parts);
        }
        own
    }

    /// The parts of a subnet that our links hold, none inside another: beside them, in the same subnet, there can be
    /// networks that are none of ours.
    fn parts(&self, subnet: &IpNet, observed: &Observed) -> BTreeSet<IpNet> {
        let links = self.links.keys().filter_map(|index| observed.links.get(index)).filter(|link| link.up);
        let addresses = links.flat_map(|link| &link.addresses).filter(|net| subnet.contains(&net.addr()));
        // An address without a network of its own (/32, /128), or one larger than the subnet, stands for all of it.
        let part = |net: &IpNet| match net.trunc() {
            part if subnet.contains(&part) && part.prefix_len() < part.max_prefix_len() => part,
            _ => *subnet,
        };
        let parts: BTreeSet<IpNet> = addresses.map(part).collect();
        let inside_another = |part: &IpNet| parts.iter().any(|other| other != part && other.contains(part));
        parts.iter().filter(|part| !inside_another(part)).copied().collect()
    }

    /// The address that the host itself takes to talk into the cluster, of the family of `to`.
    fn address_like(&self, to: &IpNet) -> Option<IpAddr> {
        let of_family = |address: &&IpAddr| address.is_ipv4() == to.addr().is_ipv4();
        self.links.values().flatten().find(of_family).copied()
    }
}

fn not_held(me: &Host, subnet: &IpNet, has_docker: bool) -> Problem {
    let hint = if has_docker {
        "`byway docker network --create` makes a network that does; or `byway docker bip` gives it to docker0"
            .to_owned()
    } else {
        format!("give the containers' bridge an address in {subnet}, or set `bridges`")
    };
    Problem {
        kind: ProblemKind::Waits,
        host: Some(me.name.clone()),
        what: format!("no interface of this host holds {subnet} yet"),
        hint: Some(hint),
    }
}

fn unknown_links(choices: &Choices, observed: &Observed) -> Vec<Problem> {
    let known = |name: &&String| !observed.links.values().any(|link| link.name == **name);
    let named = choices.uplink.iter().chain(&choices.bridges);
    let problem = |name: &String| Problem {
        kind: ProblemKind::Waits,
        host: None,
        what: format!("this host has no interface {name}"),
        hint: Some("see `uplink` and `bridges` in byway.toml".to_owned()),
    };
    named.filter(known).map(problem).collect()
}

/// What a route of ours must never cover: the host's own addresses on the underlay and its gateways.
struct Dangers {
    addresses: Vec<(IpAddr, &'static str)>,
}

impl Dangers {
    fn find(uplinks: &BTreeSet<u32>, observed: &Observed) -> Self {
        let defaults = observed.routes.iter().filter(|route| route.to.prefix_len() == 0 && !route.is_ours());
        let gateways = defaults.filter_map(|route| Some((route.via?, "default gateway")));
        // A bridge of containers with addresses of a peer is a conflict, but it does not cut the host off.
        let ways_out = observed.links.iter().filter(|(index, link)| !link.bridge || uplinks.contains(index));
        let own = ways_out.flat_map(|(_, link)| &link.addresses).map(|net| (net.addr(), "own address"));
        Self { addresses: own.chain(gateways).collect() }
    }

    fn covered_by(&self, subnet: &IpNet, host: &HostName) -> Option<Problem> {
        let (address, role) = self.addresses.iter().find(|(address, _)| subnet.contains(address))?;
        Some(Problem {
            kind: ProblemKind::Refused,
            host: Some(host.clone()),
            what: format!("{subnet} of {host} covers {address}, this host's {role}: not routed"),
            hint: Some("give that host another subnet".to_owned()),
        })
    }
}

/// Links by which others' routes into the cluster go; what comes in by them is not forged.
fn foreign_ways(owners: &BTreeMap<IpNet, HostName>, observed: &Observed) -> BTreeSet<u32> {
    let into_cluster = |to: &IpNet| holder(owners, to).is_some();
    let foreign = observed.routes.iter().filter(|route| !route.is_ours() && route.via.is_some());
    foreign.filter(|route| into_cluster(&route.to)).filter_map(|route| route.dev).collect()
}

/// The subnet of the cluster that holds all of `net`, and whose it is.
pub(crate) fn holder<'a>(
    owners: &'a BTreeMap<IpNet, HostName>,
    net: &IpNet,
) -> Option<(&'a IpNet, &'a HostName)> {
    // Subnets do not overlap, so only the last one that starts at or before `net` can hold it.
    owners.range(..=net).next_back().filter(|(subnet, _)| subnet.contains(net))
}

impl Desired {
    /// Who is gone has routes that refuse packets, so that clients fail at once instead of hanging.
    fn refuse_for_the_gone(&mut self, reach: &Reach) {
        let mut told = BTreeSet::new();
        for route in self.routes.values_mut() {
            route.gone = reach.gone(&route.host).map(str::to_owned);
            if let Some(why) = route.gone.as_ref().filter(|_| told.insert(route.host.clone())) {
                self.problems.push(Problem {
                    kind: ProblemKind::Gone,
                    host: Some(route.host.clone()),
                    what: format!("host {} does not answer: {why}; its routes refuse packets", route.host),
                    hint: Some("they are put back by themselves when it answers again".to_owned()),
                });
            }
        }
    }

    /// Docker looks for free subnets among IPv4 routes with the scope of a link only, so our routes to peers say
    /// nothing to it. What cannot be reached is left out: packets may find their way there without us.
    fn want_reservations(&mut self, me: &Host, observed: &Observed) {
        if observed.docker.is_none() {
            return;
        }
        let subnets = self.routes.keys().chain(&me.subnets);
        self.reserved = subnets.filter(|subnet| subnet.addr().is_ipv4()).copied().collect();
    }

    /// Whether an interface of this host holds containers' addresses of that family.
    pub(crate) fn holds_containers(&self, ipv6: bool) -> bool {
        let set = self.table.sets.get(if ipv6 { "local6" } else { "local4" });
        set.is_some_and(|set| !set.elements.is_empty())
    }

    fn want_sysctls(&mut self, uplinks: &BTreeSet<u32>, own: &Own, observed: &Observed) {
        let both_ways: Vec<u32> = uplinks.iter().chain(own.links.keys()).copied().collect();
        for (ipv6, families_subnets) in [(false, "IPv4"), (true, "IPv6")] {
            if !own.held.iter().any(|net| net.addr().is_ipv6() == ipv6) {
                continue;
            }
            for link in &both_ways {
                self.want_forwarding(ipv6, &observed.link_name(*link), families_subnets, observed);
            }
        }
        if own.held.iter().any(|net| net.addr().is_ipv4()) && !self.tunnels.is_empty() {
            for link in uplinks {
                self.want_loose_sources(*link, observed);
            }
        }
    }

    /// A peer behind a router may send by the tunnel what this host answers by the router, and the other way round,
    /// until both have found out the same.
    fn want_loose_sources(&mut self, link: u32, observed: &Observed) {
        let name = observed.link_name(link);
        let of =
            |scope: &str| observed.sysctls.get(&Sysctl::v4(scope, Setting::RpFilter)).map(String::as_str);
        let is_strict = [of("all"), of(&name)].into_iter().flatten().max() == Some("1");
        if Underlay::at(link).is_some() || is_strict {
            let because = format!("what peers behind routers send may come by {name} or by another way");
            self.want_sysctl(Sysctl::v4(&name, Setting::RpFilter), "2", because);
        }
    }

    fn want_forwarding(&mut self, ipv6: bool, link: &str, family: &str, observed: &Observed) {
        let because = format!("{family} cluster packets come in by {link}");
        let per_link = Sysctl { ipv6, scope: link.to_owned(), name: Setting::Forwarding };
        let forced = Sysctl::v6(link, Setting::ForceForwarding);
        if !ipv6 {
            self.want_sysctl(per_link, "1", because);
        } else if is_one(observed, &Sysctl::v6("all", Setting::Forwarding)) {
            // Already on for the whole host; nothing to add.
        } else if observed.sysctls.contains_key(&forced) || will_be_there(&forced, observed) {
            self.want_sysctl(forced, "1", because);
        } else {
            self.want_sysctl(
                Sysctl::v6("all", Setting::Forwarding),
                "1",
                "this kernel forwards IPv6 for all interfaces or for none".to_owned(),
            );
            self.keep_hearing_routers(observed);
        }
    }

    /// A host that forwards stops hearing router advertisements, and loses its default route, unless told.
    fn keep_hearing_routers(&mut self, observed: &Observed) {
        for link in observed.links.values().filter(|link| hears_routers(link)) {
            let accept_ra = Sysctl::v6(&link.name, Setting::AcceptRa);
            if is_one(observed, &accept_ra) {
                let because =
                    format!("{} must go on hearing its router when IPv6 forwarding is on", link.name);
                self.want_sysctl(accept_ra, "2", because);
            }
        }
    }

    fn want_sysctl(&mut self, sysctl: Sysctl, value: &'static str, because: String) {
        self.sysctls.insert(sysctl, WantedSysctl { value, because });
    }
}

/// Whether a link could have a router that advertises itself.
fn hears_routers(link: &Link) -> bool {
    !link.enslaved && link.name != "lo" && link.tunnel.is_none()
}

/// Whether a tunnel that is still to be made will have that setting, as the other links have it.
fn will_be_there(sysctl: &Sysctl, observed: &Observed) -> bool {
    let is_to_come =
        Underlay::named(&sysctl.scope).is_some_and(|underlay| observed.tunnel(underlay).is_none());
    is_to_come && observed.sysctls.keys().any(|other| other.name == sysctl.name && other.ipv6 == sysctl.ipv6)
}

fn is_one(observed: &Observed, sysctl: &Sysctl) -> bool {
    observed.sysctls.get(sysctl).is_some_and(|value| value == "1")
}

fn members(desired: &Desired, me: &Host, uplinks: &BTreeSet<u32>, own: &Own, observed: &Observed) -> Members {
    let peers = desired.owners.iter().filter(|(_, host)| **host != me.name);
    let is_known = |index: &&u32| observed.links.contains_key(index) || Underlay::at(**index).is_some();
    let name = |index| observed.link_name(index);
    let inside: BTreeSet<String> = own.links.keys().copied().map(name).collect();
    // Where Docker's own rules decide who comes in, they alone do: an admin may have made exceptions there.
    let unprotected = |ipv6: bool| {
        let protected =
            |bridge: &String| observed.docker.as_ref().is_some_and(|docker| docker.protects(bridge, ipv6));
        inside.iter().filter(|bridge| !protected(bridge)).cloned().collect()
    };
    Members {
        uplinks: uplinks.iter().filter(is_known).copied().map(name).collect(),
        guard: [unprotected(false), unprotected(true)],
        inside: inside.clone(),
        local: own.held.clone(),
        peers: peers.map(|(net, _)| *net).collect(),
        ends: desired.tunnels.values().flat_map(WantedTunnel::ends).collect(),
    }
}
