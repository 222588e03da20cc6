//! What contradicts what in an inventory: two hosts of one name, one address, or common container addresses.
//!
//! Everything is found by sorting, so that 5,000 hosts take no longer than they must.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::address::Family;
use super::draft::{Draft, DraftHost, Placed};
use super::position::{bits, first_bits, last_bits};
use crate::cluster::PublicKey;
use crate::toml_text::Reading;

/// Notes every contradiction.
pub(super) fn find(draft: &Draft, reading: &mut Reading<'_>) {
    names(draft, reading);
    addresses(draft, reading);
    keys(draft, reading);
    prefixes(draft, reading);
    outside(draft, reading);
    for family in Family::BOTH {
        let mut claims = claims(draft, family);
        claims.sort_unstable_by_key(|claim| (claim.first, u128::MAX - claim.last, claim.subnet.span.start));
        let apart = overlaps(&claims, reading);
        covered(draft, family, &apart, reading);
    }
}

fn names(draft: &Draft, reading: &mut Reading<'_>) {
    let mut seen = BTreeMap::new();
    for name in draft.hosts.iter().filter_map(|host| host.name.as_ref()) {
        if let Some(before) = seen.insert(&name.value, name.span.start) {
            let what =
                format!("two hosts are named {}: the other is in line {}", name.value, reading.line(before));
            reading.mistake(name.span.clone(), what, None);
        }
    }
}

fn addresses(draft: &Draft, reading: &mut Reading<'_>) {
    let mut seen: BTreeMap<IpAddr, (&DraftHost, usize)> = BTreeMap::new();
    for (host, address) in draft.hosts.iter().flat_map(|host| host.addresses.iter().map(move |a| (host, a))) {
        if let Some((other, before)) = seen.insert(address.value, (host, address.span.start)) {
            if std::ptr::eq(other, host) {
                continue; // Two addresses of one family, which has been said.
            }
            let line = reading.line(before);
            let what = format!("{} is also the address of {} (line {line})", address.value, other.label());
            reading.mistake(address.span.clone(), what, None);
        }
    }
}

fn keys(draft: &Draft, reading: &mut Reading<'_>) {
    let mut seen: BTreeMap<PublicKey, (&DraftHost, usize)> = BTreeMap::new();
    for host in &draft.hosts {
        let Some(key) = &host.key else { continue };
        if let Some((other, before)) = seen.insert(key.value, (host, key.span.start)) {
            let line = reading.line(before);
            let what = format!("this key is also that of {} (line {line})", other.label());
            let hint = "each host has a key of its own: `byway key` prints it there".to_owned();
            reading.mistake(key.span.clone(), what, Some(hint));
        }
    }
}

fn prefixes(draft: &Draft, reading: &mut Reading<'_>) {
    for (nth, prefix) in draft.prefixes.iter().enumerate() {
        let touches = |other: &&Placed<IpNet>| {
            other.value.contains(&prefix.value) || prefix.value.contains(&other.value)
        };
        if let Some(other) = draft.prefixes[..nth].iter().find(touches) {
            let what = format!("prefix {} overlaps prefix {}", prefix.value, other.value);
            reading.mistake(prefix.span.clone(), what, Some("leave out the smaller one".into()));
        }
    }
}

/// Subnets that lie in none of the prefixes, where there are prefixes.
fn outside(draft: &Draft, reading: &mut Reading<'_>) {
    if draft.prefixes.is_empty() || reading.is_broken() {
        return;
    }
    let lies_inside = |subnet: &IpNet| draft.prefixes.iter().any(|prefix| prefix.value.contains(subnet));
    for host in &draft.hosts {
        for subnet in host.subnets.iter().filter(|subnet| !lies_inside(&subnet.value)) {
            let prefixes =
                draft.prefixes.iter().map(|prefix| prefix.value.to_string()).collect::<Vec<_>>().join(", ");
            let what = format!("subnet {} of {} lies in none of the prefixes", subnet.value, host.label());
            reading.mistake(subnet.span.clone(), what, Some(format!("the prefixes are {prefixes}")));
        }
    }
}

/// A subnet, whose it is, and its addresses as numbers.
struct Claim<'d> {
    first: u128,
    last: u128,
    host: &'d DraftHost,
    subnet: &'d Placed<IpNet>,
}

impl fmt::Display for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.host.by_position { " (by position)" } else { "" };
        write!(f, "{}{how} of {}", self.subnet.value, self.host.label())
    }
}

fn claims(draft: &Draft, family: Family) -> Vec<Claim<'_>> {
    let all = draft.hosts.iter().flat_map(|host| host.subnets.iter().map(move |subnet| (host, subnet)));
    let of_family = all.filter(|(_, subnet)| Family::of(subnet.value.addr()) == family);
    of_family
        .map(|(host, subnet)| Claim {
            first: first_bits(subnet.value),
            last: last_bits(subnet.value),
            host,
            subnet,
        })
        .collect()
}

/// Complains about overlaps and returns the claims that overlap nothing before them.
///
/// Two subnets are apart or one holds the other, so a claim overlaps an earlier one exactly if it starts before
/// the last one that stands apart has ended.
fn overlaps<'a, 'd>(claims: &'a [Claim<'d>], reading: &mut Reading<'_>) -> Vec<&'a Claim<'d>> {
    let mut apart: Vec<&Claim<'_>> = Vec::new();
    for claim in claims {
        match apart.last() {
            Some(before) if claim.first <= before.last => complain_about_overlap(before, claim, reading),
            _ => apart.push(claim),
        }
    }
    apart
}

fn complain_about_overlap(one: &Claim<'_>, other: &Claim<'_>, reading: &mut Reading<'_>) {
    let (above, below) =
        if one.subnet.span.start <= other.subnet.span.start { (one, other) } else { (other, one) };
    let line = reading.line(above.subnet.span.start);
    let hint = if std::ptr::eq(one.host, other.host) {
        "leave out the smaller one"
    } else if above.host.by_position || below.host.by_position {
        "write the subnets of both hosts out, so that they do not depend on the order in the file"
    } else {
        "no two hosts share container addresses: give one of them another subnet"
    };
    reading.mistake(
        below.subnet.span.clone(),
        format!("subnet {below} overlaps {above} (line {line})"),
        Some(hint.into()),
    );
}

/// A host's own address that is covered by a subnet of containers, and how many more are.
struct Covered<'d> {
    host: &'d DraftHost,
    address: IpAddr,
    span: Range<usize>,
    more: usize,
}

/// Complains about subnets that cover the address of a host. `apart` is sorted and without overlaps.
fn covered(draft: &Draft, family: Family, apart: &[&Claim<'_>], reading: &mut Reading<'_>) {
    let mut found: BTreeMap<usize, Covered<'_>> = BTreeMap::new();
    for host in &draft.hosts {
        for address in host.addresses.iter().filter(|address| Family::of(address.value) == family) {
            let number = bits(address.value);
            let after = apart.partition_point(|claim| claim.first <= number);
            let Some(at) = after.checked_sub(1).filter(|at| number <= apart[*at].last) else { continue };
            let fresh = || Covered { host, address: address.value, span: address.span.clone(), more: 0 };
            found.entry(at).and_modify(|covered| covered.more += 1).or_insert_with(fresh);
        }
    }
    for (at, covered) in found {
        complain_about_cover(apart[at], &covered, reading);
    }
}

fn complain_about_cover(claim: &Claim<'_>, covered: &Covered<'_>, reading: &mut Reading<'_>) {
    let line = reading.line(covered.span.start);
    let whose =
        if std::ptr::eq(claim.host, covered.host) { "this host".into() } else { covered.host.label() };
    let more = if covered.more == 0 { String::new() } else { format!(" and {} more", covered.more) };
    let what =
        format!("subnet {claim} covers {}, the address of {whose} (line {line}){more}", covered.address);
    let hint =
        "containers and hosts need different addresses: choose a subnet without hosts in it".to_owned();
    reading.mistake(claim.subnet.span.clone(), what, Some(hint));
}
