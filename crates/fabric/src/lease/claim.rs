//! What a host does about its place in the cluster.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::candidates::{PassedOver, choose};
use super::edit::revision;
use super::id::HostId;
use super::record::{
    AliveRecord, ClusterRecord, HostRecord, SubnetRecord, USES_MAX, Use, UsesRecord, alive_key, cluster_key,
    host_key, listed_key, name_key, subnet_key, uses_key,
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
    /// The subnets that it held when it was last let in.
    pub subnets: Vec<IpNet>,
    /// What it uses of the cluster's addresses and the store does not know of; at most
    /// [`USES_MAX`](super::record::USES_MAX) of it are told to others.
    pub uses: Vec<Use>,
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
        /// At least one of each family that has a prefix.
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
    tell_uses(registry, claimant, &mut transaction);
    if transaction.is_empty() {
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
            if let Some(listed) = registry.listed.get(&claimant.name) {
                to.delete(listed_key(&claimant.name), listed.revision);
            }
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
        let known = claimant.subnets.iter().copied().chain(registry.held_by(&claimant.id));
        let known = known.chain(registry.reserved_for(&claimant.name)).filter(|net| of_family(&net));
        let mut own: BTreeSet<IpNet> = known.collect();
        if own.is_empty() {
            let lengths = cluster.subnet_lengths;
            let chosen = choose(registry, claimant, &prefixes, lengths, in_use, passed_over);
            own.insert(chosen.map_err(Refused::Full)?);
        }
        for subnet in own {
            let length = cluster.subnet_lengths.like(&subnet);
            // Subnets of one length either are the same or have nothing in common.
            if subnet.prefix_len() != length || !prefixes.iter().any(|prefix| prefix.contains(&subnet)) {
                return Err(Refused::Unfit { subnet, length });
            }
            take_subnet(registry, claimant, subnet, to)?;
            subnets.push(subnet);
        }
    }
    Ok(subnets)
}

/// What others must not be given, as long as this host is there.
fn tell_uses(registry: &Registry, claimant: &Claimant, to: &mut Transaction) {
    let stored = registry.uses.get(&claimant.id);
    let record = UsesRecord { uses: claimant.uses.iter().take(USES_MAX).cloned().collect() };
    if stored.map_or_else(UsesRecord::default, |stored| stored.value.clone()) != record {
        to.put_with_lease(uses_key(&claimant.id), &record);
    }
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
