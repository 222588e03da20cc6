//! The ways to one peer: which path its subnets get, what its tunnel needs, or why there is none.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Choices, Dangers, Desired, Own, WantedRoute, WantedTunnel};
use crate::cluster::Host;
use crate::lookup::Lookup;
use crate::observed::Observed;
use crate::path::{Hop, Path, Tunnels, behind, hops};
use crate::problem::{Problem, ProblemKind};
use crate::reach::Reach;
use crate::reach::proof::Target;
use crate::tunnel::{End, Mac, Tunnel, Underlay};

/// What a link takes where nobody looked, in bytes: Ethernet's.
const USUAL_MTU: u32 = 1500;

/// What a way depends on, beside the peer.
pub(super) struct Around<'a> {
    pub(super) me: &'a Host,
    pub(super) choices: &'a Choices,
    pub(super) observed: &'a Observed,
    pub(super) lookup: &'a Lookup<'a>,
    pub(super) reach: &'a Reach,
    pub(super) own: &'a Own,
    pub(super) dangers: &'a Dangers,
}

/// A peer's end of a tunnel, and the router that leads to it.
struct FarEnd {
    to: IpAddr,
    gateway: IpAddr,
    dev: u32,
}

impl Around<'_> {
    /// Where a tunnel to a peer would end: at its first address behind a router to which this host has an address too.
    fn far_end(&self, hops: &[(IpAddr, Hop)]) -> Option<FarEnd> {
        let mut ends: Vec<FarEnd> = hops.iter().filter_map(|(to, hop)| self.end_at(*to, hop)).collect();
        // IPv4 first, on both hosts: it costs less of each packet.
        ends.sort_by_key(|end| end.to.is_ipv6());
        ends.into_iter().next().filter(|_| self.choices.tunnels == Tunnels::Auto)
    }

    fn end_at(&self, to: IpAddr, hop: &Hop) -> Option<FarEnd> {
        let Hop::Behind { gateway, dev } = *hop else { return None };
        let underlay = Underlay::of(to);
        let is_taken = self.observed.tunnel(underlay).is_some_and(|(_, link)| link.tunnel.is_none());
        (self.local(underlay).is_some() && !is_taken).then_some(FarEnd { to, gateway, dev })
    }

    /// What is to be tried of a way by a router: an echo to the address that the peer most likely speaks with, the first of
    /// its subnet, as bridges of containers have it.
    fn target(&self, peer: &Host, hop: &Hop) -> Option<Target> {
        let Hop::Behind { gateway, dev } = *hop else { return None };
        let subnet = peer.subnets.iter().find(|subnet| same_family(subnet, &gateway))?;
        let from = self.own.address_like(subnet)?;
        let to = subnet.hosts().next().filter(|to| *to != subnet.addr()).or_else(|| subnet.hosts().nth(1))?;
        Some(Target { peer: peer.name.clone(), from, to, gateway, dev })
    }

    /// This host's own address on an underlay.
    fn local(&self, underlay: Underlay) -> Option<IpAddr> {
        self.me.addresses.iter().copied().find(|address| Underlay::of(*address) == underlay)
    }

    fn mtu(&self, link: u32) -> u32 {
        self.observed.links.get(&link).map(|link| link.mtu).filter(|mtu| *mtu > 0).unwrap_or(USUAL_MTU)
    }
}

impl Desired {
    /// Wants routes to all subnets of a peer, and the tunnel that they need; what cannot be had becomes a problem.
    pub(super) fn want_routes(&mut self, peer: &Host, around: &Around<'_>) {
        let hops = hops(peer, around.choices.uplink.as_deref(), around.observed, around.lookup);
        let end = around.far_end(&hops);
        self.tries.extend(hops.iter().filter_map(|(_, hop)| around.target(peer, hop)));
        let by_router = around.reach.by_router(&peer.name);
        let is_lost = |hop: &Hop| match hop {
            Hop::Neighbour(_) => false,
            Hop::Behind { .. } => !by_router,
            Hop::Nowhere(_) => true,
        };
        if end.is_none() && hops.iter().all(|(_, hop)| is_lost(hop)) {
            let reasons: Vec<String> = hops.iter().filter_map(|(to, hop)| why_not(*to, hop)).collect();
            self.problems.push(not_direct(peer, peer.name.as_str(), &reasons.join("; "), &hops, around));
            return;
        }
        if let Some(end) = &end {
            self.want_end(peer, end, around);
        }
        for subnet in &peer.subnets {
            match way(subnet, peer, &hops, end.as_ref(), by_router) {
                Err(reason) => {
                    let what = format!("{subnet} of {}", peer.name);
                    self.problems.push(not_direct(peer, &what, &reason, &hops, around));
                }
                Ok(way) => match around.dangers.covered_by(subnet, &peer.name) {
                    Some(problem) => self.problems.push(problem),
                    None => self.want_route(*subnet, peer, way, around),
                },
            }
        }
    }

    fn want_route(&mut self, subnet: IpNet, peer: &Host, way: Way, around: &Around<'_>) {
        let Way { via, dev, path } = way;
        let src = around.own.address_like(&subnet);
        self.routes.insert(subnet, WantedRoute { via, dev, src, host: peer.name.clone(), gone: None });
        match path {
            Path::Direct => {}
            Path::ByRouter { .. } => {
                self.paths.entry(peer.name.clone()).or_insert(path);
            }
            // A peer of which anything goes through a tunnel is told as one that has a tunnel.
            Path::Tunnel { .. } => drop(self.paths.insert(peer.name.clone(), path)),
        }
    }

    /// Has the tunnel ready, whichever path is taken: what the peer sends through it must arrive, and a change of the
    /// path is then no more than a change of routes.
    fn want_end(&mut self, peer: &Host, end: &FarEnd, around: &Around<'_>) {
        let underlay = Underlay::of(end.to);
        let Some(local) = around.local(underlay) else { return };
        let mtu = around.mtu(end.dev).saturating_sub(underlay.cost());
        let tunnel = self.tunnels.entry(underlay).or_insert_with(|| WantedTunnel {
            tunnel: Tunnel::of(&around.me.name, local),
            mtu,
            uplink: end.dev,
            entries: [].into(),
        });
        if mtu < tunnel.mtu {
            (tunnel.mtu, tunnel.uplink) = (mtu, end.dev);
        }
        let ipv4 = peer.addresses.iter().copied().find(IpAddr::is_ipv4);
        let entries = End::of(&peer.name, end.to, ipv4).entries;
        tunnel.entries.extend(entries.into_iter().map(|entry| (entry, peer.name.clone())));
    }

    /// Puts the sizes into the paths, now that all peers are known: one device has one size.
    pub(super) fn tell_sizes(&mut self, around: &Around<'_>) {
        let of_containers = around.own.links.keys().map(|link| around.mtu(*link)).max();
        for path in self.paths.values_mut() {
            let Path::Tunnel { to, mtu, uplink, uplink_mtu, containers_mtu, .. } = path else { continue };
            let Some(tunnel) = self.tunnels.get(&Underlay::of(*to)) else { continue };
            *mtu = tunnel.mtu;
            *uplink = around.observed.link_name(tunnel.uplink);
            *uplink_mtu = around.mtu(tunnel.uplink);
            *containers_mtu = of_containers.filter(|mtu| *mtu > tunnel.mtu);
        }
    }
}

/// The next hop to one subnet.
struct Way {
    via: IpAddr,
    dev: u32,
    path: Path,
}

fn way(
    subnet: &IpNet,
    peer: &Host,
    hops: &[(IpAddr, Hop)],
    end: Option<&FarEnd>,
    by_router: bool,
) -> Result<Way, String> {
    let hop = hops.iter().find(|(address, _)| same_family(subnet, address));
    match hop {
        Some((via, Hop::Neighbour(dev))) => return Ok(Way { via: *via, dev: *dev, path: Path::Direct }),
        Some((_, Hop::Behind { gateway, dev })) if by_router && same_family(subnet, gateway) => {
            return Ok(Way { via: *gateway, dev: *dev, path: Path::ByRouter { gateway: *gateway } });
        }
        _ => {}
    }
    match end.and_then(|end| Some((end, next_hop(subnet, peer)?))) {
        Some((end, via)) => Ok(Way { via, dev: Underlay::of(end.to).index(), path: tunnel_to(end) }),
        None => Err(match hop {
            Some((to, hop)) => why_not(*to, hop).unwrap_or_default(),
            None if subnet.addr().is_ipv4() => "the inventory gives it no IPv4 address".to_owned(),
            None => "the inventory gives it no IPv6 address".to_owned(),
        }),
    }
}

/// The sizes come when all peers are known.
fn tunnel_to(end: &FarEnd) -> Path {
    let FarEnd { to, gateway, .. } = *end;
    Path::Tunnel { gateway, to, mtu: 0, uplink: String::new(), uplink_mtu: 0, containers_mtu: None }
}

/// A peer's address in the tunnel, as a next hop. The kernel refuses an IPv6 next hop on a link if it has another way to
/// that address (`ip6_route_check_nh_onlink`), so there it is the link-local one, which is of that link only.
fn next_hop(subnet: &IpNet, peer: &Host) -> Option<IpAddr> {
    if subnet.addr().is_ipv4() {
        peer.address_like(subnet)
    } else {
        Some(Mac::of(&peer.name).link_local().into())
    }
}

/// Why an address is no neighbour, if it is none.
fn why_not(to: IpAddr, hop: &Hop) -> Option<String> {
    match hop {
        Hop::Neighbour(_) => None,
        Hop::Behind { gateway, .. } => Some(behind(to, *gateway)),
        Hop::Nowhere(reason) => Some(reason.clone()),
    }
}

fn same_family(net: &IpNet, address: &IpAddr) -> bool {
    net.addr().is_ipv4() == address.is_ipv4()
}

fn not_direct(peer: &Host, what: &str, reason: &str, hops: &[(IpAddr, Hop)], around: &Around<'_>) -> Problem {
    let is_behind = hops.iter().any(|(_, hop)| matches!(hop, Hop::Behind { .. }));
    let hint = match around.choices.tunnels {
        Tunnels::Never if is_behind => {
            "`tunnel` in byway.toml is \"never\"; with \"auto\" it would get a tunnel"
        }
        _ => "plain routes need hosts that share a link; none is put here",
    };
    Problem {
        kind: ProblemKind::NotDirect,
        host: Some(peer.name.clone()),
        what: format!("{what} is not reachable directly: {reason}"),
        hint: Some(hint.to_owned()),
    }
}
