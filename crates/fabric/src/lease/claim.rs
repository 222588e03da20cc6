//! What a host does about its place in the cluster.

use std::net::IpAddr;

use ipnet::IpNet;

use super::candidates::{PassedOver, choose};
use super::id::HostId;
use super::record::{
    AliveRecord, ClusterRecord, HostRecord, SubnetRecord, alive_key, cluster_key, host_key, name_key,
    subnet_key,
};
use super::refused::Refused;
use super::registry::{Registry, Stored};
use super::transaction::Transaction;
use crate::cluster::{HostName, PublicKey};

/// A host as it knows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Who it is.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// Its addresses on the underlay, of which there is one at least.
    pub addresses: Vec<IpAddr>,
    /// Its public key.
    pub key: Option<PublicKey>,
    /// The subnets that its containers have now: at most one of each family.
    pub subnets: Vec<IpNet>,
    /// Which of its starts this is, once it has been let in; none before.
    pub generation: Option<u64>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: all is written down as it is.
    Holds,
    /// This, and then to look again. Until it has happened, nothing is the host's.
    Write {
        /// It; what goes with the lease goes with the host's newest one.
        transaction: Transaction,
        /// The generation and the subnets that the host has when it has happened.
        generation: u64,
        /// One of each family that has a prefix.
        subnets: Vec<IpNet>,
        /// What could have been taken and was not.
        passed_over: Vec<PassedOver>,
    },
}

/// What a host is to do, as the store stands. `in_use` says what uses a subnet that the store does not know of: a
/// neighbour that answers, a route, a network of Docker's, a resolver.
///
/// # Errors
/// [`Refused`].
pub fn claim(
    registry: &Registry,
    claimant: &Claimant,
    in_use: &dyn Fn(IpNet) -> Option<String>,
) -> Result<Claim, Refused> {
    let cluster = registry.cluster.as_ref().ok_or(Refused::NoCluster)?;
    let mut transaction = Transaction::default();
    transaction.expect(cluster_key(), cluster.revision);
    let generation = enter(registry, claimant, &mut transaction)?;
    take_name(registry, claimant, &mut transaction)?;
    let mut passed_over = Vec::new();
    let subnets =
        take_subnets(registry, claimant, &cluster.value, in_use, &mut passed_over, &mut transaction)?;
    if transaction.puts.is_empty() {
        return Ok(Claim::Holds);
    }
    Ok(Claim::Write { transaction, generation, subnets, passed_over })
}

/// The host's record and that it is there; its generation.
fn enter(registry: &Registry, claimant: &Claimant, to: &mut Transaction) -> Result<u64, Refused> {
    let (id, host_key, alive_key) = (&claimant.id, host_key(&claimant.id), alive_key(&claimant.id));
    for key in [&host_key, &alive_key] {
        if registry.is_unreadable(key) {
            return Err(Refused::Unreadable { key: key.clone() });
        }
    }
    let (host, alive) = (registry.hosts.get(id), registry.alive.get(id));
    let before = host.map_or(0, |host| host.value.generation);
    let generation = match claimant.generation {
        Some(ours) if before > ours => return Err(Refused::Succeeded { theirs: before, ours }),
        // Less, or nothing at all, is a store that was restored or emptied: what we have holds.
        Some(ours) => ours,
        None => {
            refuse_twin(alive, claimant)?;
            before.saturating_add(1)
        }
    };
    to.expect(host_key.clone(), revision(host));
    to.expect(alive_key.clone(), revision(alive));
    let Claimant { name, addresses, key, .. } = claimant.clone();
    let record = HostRecord { name, addresses: addresses.clone(), key, generation };
    if host.is_none_or(|host| host.value != record) {
        to.put(host_key, &record);
    }
    let record = AliveRecord { generation, addresses };
    if alive.is_none_or(|alive| alive.value != record) {
        to.put_with_lease(alive_key, &record);
    }
    Ok(generation)
}

/// Two machines made from one disk have one id. The one that is there stays; which it is, its addresses tell.
fn refuse_twin(alive: Option<&Stored<AliveRecord>>, claimant: &Claimant) -> Result<(), Refused> {
    match alive {
        Some(alive) if !alive.value.addresses.iter().any(|at| claimant.addresses.contains(at)) => {
            Err(Refused::Twin { at: alive.value.addresses.clone() })
        }
        _ => Ok(()),
    }
}

/// A name is free when nobody has it, or who has it is gone.
fn take_name(registry: &Registry, claimant: &Claimant, to: &mut Transaction) -> Result<(), Refused> {
    let (name, key) = (&claimant.name, name_key(&claimant.name));
    if registry.is_unreadable(&key) {
        return Err(Refused::Unreadable { key });
    }
    let taken = registry.names.get(name);
    to.expect(key.clone(), revision(taken));
    match taken {
        Some(taken) if taken.value == claimant.id => return Ok(()),
        Some(taken) => {
            if let Some(alive) = registry.alive.get(&taken.value) {
                return Err(Refused::NameTaken { name: name.clone(), at: alive.value.addresses.clone() });
            }
            to.expect(alive_key(&taken.value), 0);
        }
        None => {}
    }
    to.put(key, &claimant.id);
    Ok(())
}

fn take_subnets(
    registry: &Registry,
    claimant: &Claimant,
    cluster: &ClusterRecord,
    in_use: &dyn Fn(IpNet) -> Option<String>,
    passed_over: &mut Vec<PassedOver>,
    to: &mut Transaction,
) -> Result<Vec<IpNet>, Refused> {
    let mut subnets = Vec::new();
    for is_ipv4 in [true, false] {
        let of_family = |net: &&IpNet| net.addr().is_ipv4() == is_ipv4;
        let prefixes: Vec<IpNet> = cluster.prefixes.iter().filter(of_family).copied().collect();
        if prefixes.is_empty() {
            continue;
        }
        let held = || registry.held_by(&claimant.id).find(|net| of_family(&net));
        let own = claimant.subnets.iter().find(of_family).copied().or_else(held);
        let subnet = match own {
            Some(own) => own,
            None => choose(registry, claimant, &prefixes, cluster.subnet_lengths, in_use, passed_over)
                .map_err(Refused::Full)?,
        };
        let length = cluster.subnet_lengths.like(&subnet);
        // Subnets of one length either are the same or have nothing in common.
        if subnet.prefix_len() != length || !prefixes.iter().any(|prefix| prefix.contains(&subnet)) {
            return Err(Refused::Unfit { subnet, length });
        }
        take_subnet(registry, claimant, subnet, to)?;
        subnets.push(subnet);
    }
    Ok(subnets)
}

/// A subnet is free when nobody holds it, or who holds it is gone, or it is reserved for this host.
fn take_subnet(
    registry: &Registry,
    claimant: &Claimant,
    subnet: IpNet,
    to: &mut Transaction,
) -> Result<(), Refused> {
    let key = subnet_key(subnet);
    if registry.is_unreadable(&key) {
        return Err(Refused::Unreadable { key });
    }
    let stored = registry.subnets.get(&subnet);
    to.expect(key.clone(), revision(stored));
    match stored.map(|stored| &stored.value) {
        Some(SubnetRecord::Held { by }) if *by == claimant.id => return Ok(()),
        Some(SubnetRecord::Held { by }) if !registry.alive.contains_key(by) => to.expect(alive_key(by), 0),
        Some(SubnetRecord::Reserved { name }) if *name == claimant.name => {}
        Some(record @ (SubnetRecord::Held { .. } | SubnetRecord::Reserved { .. })) => {
            return Err(Refused::SubnetTaken { subnet, whose: registry.whose(record) });
        }
        Some(SubnetRecord::Released { .. }) | None => {}
    }
    to.put(key, &SubnetRecord::Held { by: claimant.id.clone() });
    Ok(())
}

/// Gives back what a host holds, when it is taken out for good. Its lease is given back after that.
#[must_use]
pub fn release(registry: &Registry, id: &HostId, generation: u64) -> Option<Transaction> {
    let host = registry.hosts.get(id).filter(|host| host.value.generation == generation)?;
    let mut transaction = Transaction::default();
    transaction.expect(host_key(id), host.revision);
    for subnet in registry.held_by(id) {
        transaction.expect(subnet_key(subnet), revision(registry.subnets.get(&subnet)));
        transaction.put(subnet_key(subnet), &SubnetRecord::Released { by: id.clone() });
    }
    (!transaction.puts.is_empty()).then_some(transaction)
}

/// Keeps a subnet for the host of a name, which takes it when it comes.
///
/// # Errors
/// In words, why it cannot be: held, reserved for another, outside of the prefixes, of another length.
pub fn reserve(registry: &Registry, name: &HostName, subnet: IpNet) -> Result<Transaction, String> {
    let cluster = registry.cluster.as_ref().ok_or_else(|| Refused::NoCluster.to_string())?;
    let length = cluster.value.subnet_lengths.like(&subnet);
    if subnet.prefix_len() != length || subnet.trunc() != subnet {
        return Err(format!("{subnet} is no subnet of length {length}, which all subnets here have"));
    }
    if !cluster.value.prefixes.iter().any(|prefix| prefix.contains(&subnet)) {
        return Err(format!("{subnet} lies in none of the prefixes"));
    }
    let (key, stored) = (subnet_key(subnet), registry.subnets.get(&subnet));
    let mut transaction = Transaction::default();
    transaction.expect(cluster_key(), cluster.revision);
    transaction.expect(key.clone(), revision(stored));
    match stored.map(|stored| &stored.value) {
        Some(SubnetRecord::Held { by }) if !registry.alive.contains_key(by) => {
            transaction.expect(alive_key(by), 0);
        }
        Some(record @ (SubnetRecord::Held { .. } | SubnetRecord::Reserved { .. })) => {
            return Err(format!("{subnet} is {}", registry.whose(record)));
        }
        Some(SubnetRecord::Released { .. }) | None => {}
    }
    transaction.put(key, &SubnetRecord::Reserved { name: name.clone() });
    Ok(transaction)
}

fn revision<T>(stored: Option<&Stored<T>>) -> u64 {
    stored.map_or(0, |stored| stored.revision)
}
