//! Which way a host sends a packet: the longest prefix of its own routes, the lowest metric among equals.
//!
//! Our own routes are left out, so that the answer to "is this peer a neighbour?" never depends on what we
//! did before. Policy routing (other tables, rules) is not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::observed::{Observed, Route, RouteKind};

/// The routes that others made, ready to be asked.
#[derive(Debug)]
pub struct Lookup<'a> {
    best: BTreeMap<IpNet, &'a Route>,
    /// Lengths that occur, longest first, per family; a table has a handful.
    lengths: [Vec<u8>; 2],
}

impl<'a> Lookup<'a> {
    /// Reads the routes of a snapshot.
    #[must_use]
    pub fn new(observed: &'a Observed) -> Self {
        let mut best: BTreeMap<IpNet, &Route> = BTreeMap::new();
        let mut lengths = [BTreeSet::new(), BTreeSet::new()];
        for route in observed.routes.iter().filter(|route| !route.is_ours()) {
            lengths[family(route.to.addr())].insert(route.to.prefix_len());
            let known = best.entry(route.to).or_insert(route);
            if route.metric < known.metric {
                *known = route;
            }
        }
        Self { best, lengths: lengths.map(|of_family| of_family.into_iter().rev().collect()) }
    }

    /// The route that a packet to `address` takes.
    #[must_use]
    pub fn route_to(&self, address: IpAddr) -> Option<&'a Route> {
        let of_family = self.lengths[family(address)].iter();
        of_family.into_iter().find_map(|length| self.best.get(&prefix(address, *length)).copied())
    }

    /// The route to `address`, if it leaves straight onto a link where `address` must be a neighbour.
    #[must_use]
    pub fn neighbour_route(&self, address: IpAddr) -> Option<&'a Route> {
        self.route_to(address)
            .filter(|route| route.kind == RouteKind::Unicast && route.via.is_none() && route.dev.is_some())
    }
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// The prefix of that length which holds `address`.
fn prefix(address: IpAddr, length: u8) -> IpNet {
    let host_bits_cut = |net: IpNet| net.trunc();
    match address {
        IpAddr::V4(v4) => host_bits_cut(Ipv4Net::new_assert(v4, length.min(32)).into()),
        IpAddr::V6(v6) => host_bits_cut(Ipv6Net::new_assert(v6, length.min(128)).into()),
    }
}
