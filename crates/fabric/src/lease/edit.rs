//! What people change by hand: the prefixes, reservations, hosts that are listed or taken out.

use ipnet::IpNet;

use super::candidates::choose;
use super::claim::Claimant;
use super::id::HostId;
use super::record::{
    ClusterRecord, ListedRecord, SubnetRecord, alive_key, cluster_key, host_key, listed_key, name_key,
    subnet_key,
};
use super::refused::Refused;
use super::registry::{Registry, Stored};
use super::transaction::Transaction;
use crate::cluster::{Host, HostName};

/// Sets a cluster up, or changes its prefixes while it runs; nothing where it is so already.
///
/// # Errors
/// In words: a record that contradicts itself, other lengths than there are, a subnet in use that would lie outside.
pub fn set_up(registry: &Registry, record: &ClusterRecord) -> Result<Option<Transaction>, String> {
    record.check()?;
    let mut transaction = Transaction::default();
    let stored = registry.cluster.as_ref();
    transaction.expect(cluster_key(), revision(stored));
    if let Some(stored) = stored {
        if stored.value == *record {
            return Ok(None);
        }
        if stored.value.subnet_lengths != record.subnet_lengths {
            return Err("the length of the subnets cannot be changed".to_owned());
        }
    }
    let is_inside = |subnet: &IpNet| record.prefixes.iter().any(|prefix| prefix.contains(subnet));
    let taken = |record: &SubnetRecord| !matches!(record, SubnetRecord::Released { .. });
    let mut subnets = registry.subnets.iter().filter(|(_, stored)| taken(&stored.value));
    if let Some((subnet, stored)) = subnets.find(|(subnet, _)| !is_inside(subnet)) {
        return Err(format!("{subnet} would lie outside, and is {}", registry.whose(&stored.value)));
    }
    transaction.put(cluster_key(), record);
    Ok(Some(transaction))
}

/// Gives back what a host holds, when it is taken out for good. Its lease is given back after that.
#[must_use]
pub fn release(registry: &Registry, id: &HostId, generation: u64) -> Option<Transaction> {
    let host = registry.hosts.get(id).filter(|host| host.value.generation == generation)?;
    let mut transaction = Transaction::default();
    transaction.expect(host_key(id), host.revision);
    free_subnets(registry, id, &mut transaction);
    (!transaction.is_empty()).then_some(transaction)
}

fn free_subnets(registry: &Registry, id: &HostId, to: &mut Transaction) {
    for subnet in registry.held_by(id) {
        to.expect(subnet_key(subnet), revision(registry.subnets.get(&subnet)));
        to.put(subnet_key(subnet), &SubnetRecord::Released { by: id.clone() });
    }
}

/// Keeps a subnet for the host of a name, which takes it when it comes.
///
/// # Errors
/// In words, why it cannot be: held, reserved for another, outside of the prefixes, of another length.
pub fn reserve(registry: &Registry, name: &HostName, subnet: IpNet) -> Result<Transaction, String> {
    let mut transaction = Transaction::default();
    add_reservation(registry, name, subnet, &mut transaction)?;
    Ok(transaction)
}

fn add_reservation(
    registry: &Registry,
    name: &HostName,
    subnet: IpNet,
    to: &mut Transaction,
) -> Result<(), String> {
    let cluster = registry.cluster.as_ref().ok_or_else(|| Refused::NoCluster.to_string())?;
    let length = cluster.value.subnet_lengths.like(&subnet);
    if subnet.prefix_len() != length || subnet.trunc() != subnet {
        return Err(format!("{subnet} is no subnet of length {length}, which all subnets here have"));
    }
    if !cluster.value.prefixes.iter().any(|prefix| prefix.contains(&subnet)) {
        return Err(format!("{subnet} lies in none of the prefixes"));
    }
    let (key, stored) = (subnet_key(subnet), registry.subnets.get(&subnet));
    if registry.is_unreadable(&key) {
        return Err(Refused::Unreadable { key }.to_string());
    }
    to.expect(cluster_key(), cluster.revision);
    to.expect(key.clone(), revision(stored));
    match stored.map(|stored| &stored.value) {
        Some(SubnetRecord::Held { by }) if !registry.alive.contains_key(by) => to.expect(alive_key(by), 0),
        Some(record @ (SubnetRecord::Held { .. } | SubnetRecord::Reserved { .. })) => {
            return Err(format!("{subnet} is {}", registry.whose(record)));
        }
        Some(SubnetRecord::Released { .. }) | None => {}
    }
    to.put(key, &SubnetRecord::Reserved { name: name.clone() });
    Ok(())
}

/// A subnet of each family for a host that is listed without any: the first that is free.
///
/// # Errors
/// In words: the store is not set up, or nothing is left.
pub fn next_free(registry: &Registry, name: &HostName) -> Result<Vec<IpNet>, String> {
    let cluster = registry.cluster.as_ref().ok_or_else(|| Refused::NoCluster.to_string())?;
    // From the beginning of the prefix on.
    let nobody = Claimant {
        id: HostId::of(0),
        name: name.clone(),
        addresses: Vec::new(),
        key: None,
        subnets: Vec::new(),
        uses: Vec::new(),
        generation: None,
    };
    let mut subnets = Vec::new();
    for is_ipv4 in [true, false] {
        let of_family = |net: &&IpNet| net.addr().is_ipv4() == is_ipv4;
        let prefixes: Vec<IpNet> = cluster.value.prefixes.iter().filter(of_family).copied().collect();
        if !prefixes.is_empty() {
            let lengths = cluster.value.subnet_lengths;
            let chosen = choose(registry, &nobody, &prefixes, lengths, &|_| None, &mut Vec::new());
            subnets.push(chosen.map_err(|full| full.to_string())?);
        }
    }
    Ok(subnets)
}

/// Lists a host whose agent is not there, with its subnets: the others route to it at once, and its agent takes its place
/// when it comes. One that is listed already is listed anew, with these subnets on top.
///
/// # Errors
/// In words: a host of that name is there, an address or a key is another's, or a subnet cannot be reserved.
pub fn list(registry: &Registry, host: &Host) -> Result<Transaction, String> {
    let name = &host.name;
    if let Some(alive) = registry.names.get(name).and_then(|id| registry.alive.get(&id.value)) {
        let at: Vec<String> = alive.value.addresses.iter().map(ToString::to_string).collect();
        return Err(format!("the host {name} is there, at {}", at.join(" and ")));
    }
    let shares = |other: &&Host| {
        other.name != *name
            && (other.addresses.iter().any(|address| host.addresses.contains(address))
                || other.key.is_some() && other.key == host.key)
    };
    if let Some(other) = registry.routed().hosts.iter().find(shares) {
        return Err(format!("the host {} has the same address or key", other.name));
    }
    let mut transaction = Transaction::default();
    transaction.expect(name_key(name), revision(registry.names.get(name)));
    for subnet in &host.subnets {
        if !registry.reserved_for(name).any(|reserved| reserved == *subnet) {
            add_reservation(registry, name, *subnet, &mut transaction)?;
        }
    }
    transaction.expect(listed_key(name), revision(registry.listed.get(name)));
    let record = ListedRecord { addresses: host.addresses.clone(), key: host.key };
    transaction.put(listed_key(name), &record);
    Ok(transaction)
}

/// Lists a host whose agent is there as it is now: it stays routed to when its agent goes over to another store and its
/// lease lapses. Nothing where it is listed so already.
#[must_use]
pub fn keep_listed(registry: &Registry, host: &Host) -> Option<Transaction> {
    let record = ListedRecord { addresses: host.addresses.clone(), key: host.key };
    let stored = registry.listed.get(&host.name);
    if stored.is_some_and(|stored| stored.value == record) {
        return None;
    }
    let mut transaction = Transaction::default();
    transaction.expect(listed_key(&host.name), revision(stored));
    transaction.put(listed_key(&host.name), &record);
    Some(transaction)
}

/// Takes a host out for good: what it held can be given to others.
///
/// # Errors
/// In words: there is no such host, or its agent is there.
pub fn remove(registry: &Registry, name: &HostName) -> Result<Transaction, String> {
    let mut transaction = Transaction::default();
    if let Some(named) = registry.names.get(name) {
        let id = &named.value;
        if let Some(alive) = registry.alive.get(id) {
            let at: Vec<String> = alive.value.addresses.iter().map(ToString::to_string).collect();
            return Err(format!(
                "the agent of {name} is there, at {}: `byway down` there first",
                at.join(" and ")
            ));
        }
        transaction.expect(alive_key(id), 0);
        free_subnets(registry, id, &mut transaction);
        if let Some(host) = registry.hosts.get(id) {
            transaction.delete(host_key(id), host.revision);
        }
        transaction.delete(name_key(name), named.revision);
    }
    if let Some(listed) = registry.listed.get(name) {
        transaction.delete(listed_key(name), listed.revision);
    }
    for subnet in registry.reserved_for(name) {
        transaction.delete(subnet_key(subnet), revision(registry.subnets.get(&subnet)));
    }
    if transaction.is_empty() { Err(format!("no host is called {name}")) } else { Ok(transaction) }
}

pub(super) fn revision<T>(stored: Option<&Stored<T>>) -> u64 {
    stored.map_or(0, |stored| stored.revision)
}
