//! Subnets for hosts that have none written: by their position in the file, or the first that is free.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address::Family;
use super::draft::{Draft, Placed};
use crate::toml_text::Reading;

/// Gives host number i without written subnets the i-th subnet of the first prefix of each family.
pub(super) fn cut(draft: &mut Draft, reading: &mut Reading<'_>) {
    if reading.is_broken() {
        // A host that could not be made out shifts all that follow it.
        return;
    }
    let Some(first) = draft.hosts.iter().position(|host| host.by_position) else { return };
    if draft.prefixes.is_empty() {
        return complain_about_no_prefix(draft, reading);
    }
    for family in Family::BOTH {
        if let Some((prefix, length)) = rule(draft, family, reading) {
            cut_family(draft, first, &prefix, length, reading);
        }
    }
}

fn complain_about_no_prefix(draft: &Draft, reading: &mut Reading<'_>) {
    for host in draft.hosts.iter().filter(|host| host.by_position) {
        let what = format!("{} has no subnets, and there is no prefix to cut them from", host.label());
        let hint = "write subnets = […] here, or prefixes = […] under [cluster]".to_owned();
        reading.mistake(host.name_span(), what, Some(hint));
    }
}

/// The prefix to cut from and the length of the pieces, unless they contradict each other.
fn rule(draft: &Draft, family: Family, reading: &mut Reading<'_>) -> Option<(Placed<IpNet>, u8)> {
    let prefix = draft.prefixes.iter().find(|prefix| Family::of(prefix.value.addr()) == family)?.clone();
    let (length, written) = draft.lengths.get(&family)?;
    if *length < prefix.value.prefix_len() {
        let what = format!("no subnet of length {length} can be cut from {}", prefix.value);
        let hint = format!("set subnet-lengths.{} to {} or more", family.key(), prefix.value.prefix_len());
        reading.mistake(written.clone().unwrap_or(prefix.span), what, Some(hint));
        return None;
    }
    Some((prefix, *length))
}

fn cut_family(
    draft: &mut Draft,
    first: usize,
    prefix: &Placed<IpNet>,
    length: u8,
    reading: &mut Reading<'_>,
) {
    let hosts = draft.hosts.iter_mut().enumerate().skip(first).filter(|(_, host)| host.by_position);
    for (number, host) in hosts {
        let Some(subnet) = nth(prefix.value, length, number as u128) else {
            let what = format!(
                "prefix {} is exhausted: {} is number {} in the file, but there are only {} subnets of length {length}",
                prefix.value,
                host.label(),
                number + 1,
                pieces(prefix.value, length)
            );
            let hint = "write a larger prefix, longer subnet-lengths, or the subnets of this host".to_owned();
            return reading.mistake(host.name_span(), what, Some(hint));
        };
        host.subnets.push(Placed { value: subnet, span: host.name_span() });
    }
}

/// How many subnets of `length` are in `prefix`: fewer than 2^128, as no prefix is a /0.
pub(crate) fn pieces(prefix: IpNet, length: u8) -> u128 {
    1u128.checked_shl(u32::from(length - prefix.prefix_len())).unwrap_or(u128::MAX)
}

/// Subnet number `number` of `length` in `prefix`, from 0 on.
pub(crate) fn nth(prefix: IpNet, length: u8, number: u128) -> Option<IpNet> {
    let size = size(prefix, length);
    (number < pieces(prefix, length)).then(|| subnet_at(first_bits(prefix) + number * size, length, prefix))
}

/// The first subnet of `length` in one of the prefixes of `family` that touches nothing in `taken`.
///
/// Looks at each taken subnet once and jumps over it, however large the prefix is.
pub(super) fn first_free(prefixes: &[IpNet], family: Family, length: u8, taken: &[IpNet]) -> Option<IpNet> {
    let mut taken: Vec<(u128, u128)> = taken
        .iter()
        .filter(|net| Family::of(net.addr()) == family)
        .map(|net| (first_bits(*net), last_bits(*net)))
        .collect();
    taken.sort_unstable();
    let mut of_family =
        prefixes.iter().filter(|p| Family::of(p.addr()) == family && p.prefix_len() <= length);
    of_family.find_map(|prefix| first_free_in(*prefix, length, &taken))
}

/// `taken` is sorted.
fn first_free_in(prefix: IpNet, length: u8, taken: &[(u128, u128)]) -> Option<IpNet> {
    let size = size(prefix, length);
    let mut candidate = first_bits(prefix);
    for (first, last) in taken {
        if *last < candidate {
            continue;
        }
        if *first > candidate + (size - 1) {
            break;
        }
        // The next multiple of `size` behind what is taken.
        candidate = (last / size + 1).checked_mul(size)?;
    }
    (candidate <= last_bits(prefix)).then(|| subnet_at(candidate, length, prefix))
}

/// How many addresses a subnet of `length` has: at least 4, as none is longer than /30 or /126.
fn size(like: IpNet, length: u8) -> u128 {
    1u128 << (like.max_prefix_len() - length)
}

fn subnet_at(bits: u128, length: u8, like: IpNet) -> IpNet {
    // The length is at most that of the family and the bits are those of the family: neither step can fail.
    match like {
        IpNet::V4(net) => {
            let address = u32::try_from(bits).map_or(net.addr(), Into::into);
            IpNet::V4(Ipv4Net::new(address, length).unwrap_or(net))
        }
        IpNet::V6(net) => IpNet::V6(Ipv6Net::new(bits.into(), length).unwrap_or(net)),
    }
}

/// The first address of a subnet as a number.
pub(super) fn first_bits(net: IpNet) -> u128 {
    bits(net.network())
}

/// The last address of a subnet as a number.
pub(super) fn last_bits(net: IpNet) -> u128 {
    bits(net.broadcast())
}

/// An address as a number.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}
