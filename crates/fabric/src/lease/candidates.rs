//! Which subnet a host without one gets.

use std::fmt;

use ipnet::IpNet;

use super::claim::Claimant;
use super::record::{Lengths, SubnetRecord, subnet_key};
use super::registry::Registry;
use crate::inventory::{nth, pieces};

/// The most subnets that are passed over before a host gives up: more than any routing table should overlap with.
const PASSED_OVER_MAX: usize = 10_000;
/// How many holders are named where there is no room left.
const HOLDERS_MAX: usize = 20;

/// A subnet that could have been taken, and why it was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The subnet.
    pub subnet: IpNet,
    /// What uses it.
    pub why: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was passed over: {}", self.subnet, self.why)
    }
}

/// No subnet is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Of what.
    pub prefixes: Vec<IpNet>,
    /// Who holds or keeps the first of them, in words: `172.41.0.0/16 is held by docker41`.
    pub holders: Vec<String>,
    /// How many more are held.
    pub more: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &[IpNet]| items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "no subnet of {} is left: {}", list(&self.prefixes), self.holders.join(", "))?;
        if self.more > 0 { write!(f, " and {} more", self.more) } else { Ok(()) }
    }
}

/// A subnet for this host: one reserved for it, then one that nobody ever had, then one that was given back, then the
/// one whose holder is gone longest. What `in_use` knows a use of is passed over.
pub(super) fn choose(
    registry: &Registry,
    claimant: &Claimant,
    prefixes: &[IpNet],
    lengths: Lengths,
    in_use: &dyn Fn(IpNet) -> Option<String>,
    passed_over: &mut Vec<PassedOver>,
) -> Result<IpNet, Full> {
    let known = known(registry, claimant, prefixes);
    let all = known.reserved.into_iter().chain(never_used(registry, claimant, prefixes, lengths));
    for subnet in all.chain(known.released).chain(known.lapsed) {
        match in_use(subnet).or_else(|| registry.used_by_others(subnet, &claimant.id)) {
            None => return Ok(subnet),
            Some(why) => passed_over.push(PassedOver { subnet, why }),
        }
        if passed_over.len() == PASSED_OVER_MAX {
            break;
        }
    }
    Err(full(registry, prefixes))
}

/// Those that are written down and may be taken, each kind in its order.
struct Known {
    reserved: Vec<IpNet>,
    released: Vec<IpNet>,
    lapsed: Vec<IpNet>,
}

fn known(registry: &Registry, claimant: &Claimant, prefixes: &[IpNet]) -> Known {
    let mut inside: Vec<_> =
        registry.subnets.iter().filter(|(subnet, _)| prefixes.iter().any(|p| p.contains(*subnet))).collect();
    inside.sort_by_key(|(_, stored)| stored.revision);
    let of = |is_one: &dyn Fn(&SubnetRecord) -> bool| {
        inside.iter().filter(|(_, stored)| is_one(&stored.value)).map(|(subnet, _)| **subnet).collect()
    };
    Known {
        reserved: of(&|record| matches!(record, SubnetRecord::Reserved { name } if *name == claimant.name)),
        released: of(&|record| matches!(record, SubnetRecord::Released { .. })),
        lapsed: of(&|record| {
            matches!(record, SubnetRecord::Held { by }
            if !registry.alive.contains_key(by) && !registry.is_listed(by))
        }),
    }
}

/// From a place of the host's own on, so that a hundred hosts that start at once do not all want the first.
fn never_used<'a>(
    registry: &'a Registry,
    claimant: &'a Claimant,
    prefixes: &'a [IpNet],
    lengths: Lengths,
) -> impl Iterator<Item = IpNet> + 'a {
    prefixes.iter().flat_map(move |prefix| {
        let length = lengths.like(prefix);
        let count = pieces(*prefix, length);
        let first = claimant.id.below(count);
        // Each of the known ones can stand in the way once.
        let tries = count.min((registry.subnets.len() + PASSED_OVER_MAX + 1) as u128);
        (0..tries)
            .filter_map(move |step| nth(*prefix, length, (first + step) % count))
            .filter(|subnet| is_never_used(registry, *subnet))
    })
}

fn is_never_used(registry: &Registry, subnet: IpNet) -> bool {
    !registry.subnets.contains_key(&subnet) && !registry.is_unreadable(&subnet_key(subnet))
}

fn full(registry: &Registry, prefixes: &[IpNet]) -> Full {
    let inside = registry.subnets.iter().filter(|(subnet, _)| prefixes.iter().any(|p| p.contains(*subnet)));
    let holders: Vec<String> =
        inside.map(|(subnet, stored)| format!("{subnet} is {}", registry.whose(&stored.value))).collect();
    Full {
        prefixes: prefixes.to_vec(),
        more: holders.len().saturating_sub(HOLDERS_MAX),
        holders: holders.into_iter().take(HOLDERS_MAX).collect(),
    }
}
