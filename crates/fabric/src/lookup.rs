//! Which way a host sends a packet: the longest prefix of its own routes, the lowest metric among equals.
//!
//! Our own routes are left out, so that the answer to "is this peer a neighbour?" never depends on what we
//! did before. Policy routing (other tables, rules) is not looked at.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::observed::{Observed, Route, RouteKind};

/// The routes that others made, ready to be asked.
#[derive(Debug)]
pub struct Lookup<'a> {
    /// Per family, the lengths that occur, longest first; a table has a handful.
    levels: [Vec<Level<'a>>; 2],
}

/// The best routes to the prefixes of one length, by the bits of the prefix.
#[derive(Debug)]
struct Level<'a> {
    mask: u128,
    best: BTreeMap<u128, &'a Route>,
}

impl<'a> Lookup<'a> {
    /// Reads the routes of a snapshot.
    #[must_use]
    pub fn new(observed: &'a Observed) -> Self {
        let mut by_length: [BTreeMap<u8, Level<'_>>; 2] = Default::default();
        for route in observed.routes.iter().filter(|route| !route.is_ours()) {
            let (address, length) = (route.to.addr(), route.to.prefix_len());
            let level = by_length[family(address)].entry(length).or_insert_with(|| Level::new(length));
            let known = level.best.entry(bits(address) & level.mask).or_insert(route);
            if route.metric < known.metric {
                *known = route;
            }
        }
        Self { levels: by_length.map(|of_family| of_family.into_values().rev().collect()) }
    }

    /// The route that a packet to `address` takes.
    #[must_use]
    pub fn route_to(&self, address: IpAddr) -> Option<&'a Route> {
        let (levels, bits) = (&self.levels[family(address)], bits(address));
        levels.iter().find_map(|level| level.best.get(&(bits & level.mask)).copied())
    }

    /// The route to `address`, if it leaves straight onto a link where `address` must be a neighbour.
    #[must_use]
    pub fn neighbour_route(&self, address: IpAddr) -> Option<&'a Route> {
        self.route_to(address)
            .filter(|route| route.kind == RouteKind::Unicast && route.via.is_none() && route.dev.is_some())
    }
}

impl Level<'_> {
    fn new(length: u8) -> Self {
        let mask = u128::MAX.checked_shl(u128::BITS - u32::from(length)).unwrap_or(0);
        Self { mask, best: BTreeMap::new() }
    }
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// The bits of an address, from the left, so that one mask serves both families.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
