//! What the store says, read whole.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::de::DeserializeOwned;

use super::id::HostId;
use super::record::{
    About, AliveRecord, ClusterRecord, HostRecord, ListedRecord, SubnetRecord, UsesRecord, VALUE_BYTES_MAX,
    about, subnet_key,
};
use crate::cluster::{Cluster, Host, HostName};

/// The most complaints that are told; more are counted.
const GARBAGE_MAX: usize = 100;

/// Everything below the cluster's prefix, at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// All keys with their values.
    pub entries: Vec<Entry>,
}

/// A key of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Below the cluster's prefix.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of its last change; never 0.
    pub revision: u64,
}

/// A record, and when it was changed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// The record.
    pub value: T,
    /// The revision of its last change.
    pub revision: u64,
}

/// A key that was written or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Put(Entry),
    /// It is not there any more.
    Gone(Vec<u8>),
}

/// What is there and cannot be read: it is told and left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// The key as far as it is text.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

/// What the store says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// What all agree on; none in a store that was not set up.
    pub cluster: Option<Stored<ClusterRecord>>,
    /// All hosts that there ever were.
    pub hosts: BTreeMap<HostId, Stored<HostRecord>>,
    /// Who has a name.
    pub names: BTreeMap<HostName, Stored<HostId>>,
    /// The hosts that are there.
    pub alive: BTreeMap<HostId, Stored<AliveRecord>>,
    /// All subnets that were ever held or reserved.
    pub subnets: BTreeMap<IpNet, Stored<SubnetRecord>>,
    /// The hosts that somebody listed and that have not entered.
    pub listed: BTreeMap<HostName, Stored<ListedRecord>>,
    /// What the hosts that are there use beside their subnets.
    pub uses: BTreeMap<HostId, Stored<UsesRecord>>,
    /// What cannot be read, and why. A key among it that would mean something may be somebody's: nobody takes what it
    /// stands for.
    unreadable: BTreeMap<Vec<u8>, String>,
}

impl Registry {
    /// Reads a listing to its end, whatever is in it.
    #[must_use]
    pub fn read(listing: &Listing) -> Self {
        let mut registry = Self::default();
        for entry in &listing.entries {
            registry.put(entry);
        }
        registry
    }

    /// Takes in what happened since; afterwards it is as if it had been read from a listing of now.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(entry) => self.put(entry),
            Change::Gone(key) => self.forget(key),
        }
    }

    fn put(&mut self, entry: &Entry) {
        // What was there before goes, also when what comes cannot be read.
        self.forget(&entry.key);
        if let Err(why) = self.take(entry) {
            self.unreadable.insert(entry.key.clone(), why);
        }
    }

    fn forget(&mut self, key: &[u8]) {
        self.unreadable.remove(key);
        let Ok(about) = std::str::from_utf8(key).map_err(drop).and_then(|key| about(key).map_err(drop))
        else {
            return;
        };
        match about {
            About::Cluster => self.cluster = None,
            About::Host(id) => drop(self.hosts.remove(&id)),
            About::Name(name) => drop(self.names.remove(&name)),
            About::Alive(id) => drop(self.alive.remove(&id)),
            About::Listed(name) => drop(self.listed.remove(&name)),
            About::Uses(id) => drop(self.uses.remove(&id)),
            About::Subnet(subnet) => drop(self.subnets.remove(&subnet)),
        }
    }

    fn take(&mut self, entry: &Entry) -> Result<(), String> {
        let key = std::str::from_utf8(&entry.key).map_err(|_| "the key is not UTF-8".to_owned())?;
        match about(key)? {
            About::Cluster => {
                let read: Stored<ClusterRecord> = value(entry)?;
                read.value.check()?;
                self.cluster = Some(read);
            }
            About::Host(id) => drop(self.hosts.insert(id, value(entry)?)),
            About::Name(name) => drop(self.names.insert(name, value(entry)?)),
            About::Alive(id) => drop(self.alive.insert(id, value(entry)?)),
            About::Listed(name) => drop(self.listed.insert(name, value(entry)?)),
            About::Uses(id) => drop(self.uses.insert(id, value(entry)?)),
            About::Subnet(subnet) => drop(self.subnets.insert(subnet, value(entry)?)),
        }
        Ok(())
    }

    /// How many keys there are.
    #[must_use]
    pub fn keys(&self) -> usize {
        let of_hosts =
            self.hosts.len() + self.names.len() + self.alive.len() + self.listed.len() + self.uses.len();
        usize::from(self.cluster.is_some()) + of_hosts + self.subnets.len() + self.unreadable.len()
    }

    /// What cannot be read, key by key: the first hundred of it, and how much more there is.
    #[must_use]
    pub fn garbage(&self) -> (Vec<Garbage>, usize) {
        let told = self
            .unreadable
            .iter()
            .take(GARBAGE_MAX)
            .map(|(key, why)| Garbage { key: String::from_utf8_lossy(key).into_owned(), why: why.clone() });
        (told.collect(), self.unreadable.len().saturating_sub(GARBAGE_MAX))
    }

    /// Whether something stands there that cannot be read.
    pub(super) fn is_unreadable(&self, key: &str) -> bool {
        self.unreadable.contains_key(key.as_bytes())
    }

    /// What another host that is there uses a subnet for, in words.
    pub(super) fn used_by_others(&self, subnet: IpNet, id: &HostId) -> Option<String> {
        let overlaps = |net: IpNet| net.contains(&subnet) || subnet.contains(&net);
        self.uses.iter().filter(|(user, _)| *user != id).find_map(|(user, stored)| {
            let one = stored.value.uses.iter().find(|one| overlaps(one.net))?;
            Some(format!("{} has {}", self.name(user), one.what))
        })
    }

    /// Whether a host that is gone is listed, so that what it holds stays its own.
    pub(super) fn is_listed(&self, id: &HostId) -> bool {
        let of_host = |host: &Stored<HostRecord>| self.listed.contains_key(&host.value.name);
        self.hosts.get(id).is_some_and(of_host)
    }

    /// The name of a host, or its id.
    fn name(&self, id: &HostId) -> String {
        let host = self.hosts.get(id);
        host.map_or_else(|| format!("the host with the id {id}"), |host| host.value.name.to_string())
    }

    /// Whose a subnet is, in words.
    pub(super) fn whose(&self, record: &SubnetRecord) -> String {
        match record {
            SubnetRecord::Held { by } if self.alive.contains_key(by) => format!("held by {}", self.name(by)),
            SubnetRecord::Held { by } => format!("kept for {}, which is gone", self.name(by)),
            SubnetRecord::Released { by } => format!("free since {} gave it back", self.name(by)),
            SubnetRecord::Reserved { name } => format!("reserved for {name}"),
        }
    }

    /// Whether a network is a subnet of the cluster that a host of this name can have.
    #[must_use]
    pub fn is_free(&self, net: IpNet, name: &HostName) -> bool {
        let Some(cluster) = self.cluster.as_ref().map(|cluster| &cluster.value) else { return false };
        let is_subnet = net.prefix_len() == cluster.subnet_lengths.like(&net)
            && cluster.prefixes.iter().any(|prefix| prefix.contains(&net));
        let is_others = self.subnets.get(&net).is_some_and(|stored| match &stored.value {
            SubnetRecord::Held { by } => self.alive.contains_key(by) || self.is_listed(by),
            SubnetRecord::Reserved { name: other } => other != name,
            SubnetRecord::Released { .. } => false,
        });
        is_subnet && !is_others && !self.is_unreadable(&subnet_key(net))
    }

    /// The subnets that this host holds.
    pub fn held_by<'a>(&'a self, id: &'a HostId) -> impl Iterator<Item = IpNet> + 'a {
        self.subnets.iter().filter_map(move |(subnet, stored)| match &stored.value {
            SubnetRecord::Held { by } if by == id => Some(*subnet),
            _ => None,
        })
    }

    /// The subnets that are reserved for a host of this name.
    pub fn reserved_for<'a>(&'a self, name: &'a HostName) -> impl Iterator<Item = IpNet> + 'a {
        self.subnets.iter().filter_map(move |(subnet, stored)| match &stored.value {
            SubnetRecord::Reserved { name: other } if other == name => Some(*subnet),
            _ => None,
        })
    }

    /// The hosts that are there or listed with the subnets that they hold, as every agent routes to them. A host whose lease
    /// has lapsed is not among them, nor one whose record cannot be read.
    #[must_use]
    pub fn routed(&self) -> Cluster {
        let mut held: BTreeMap<&HostId, Vec<IpNet>> = BTreeMap::new();
        let mut reserved: BTreeMap<&HostName, Vec<IpNet>> = BTreeMap::new();
        for (subnet, stored) in &self.subnets {
            match &stored.value {
                SubnetRecord::Held { by } => held.entry(by).or_default().push(*subnet),
                SubnetRecord::Reserved { name } => reserved.entry(name).or_default().push(*subnet),
                SubnetRecord::Released { .. } => {}
            }
        }
        let there = self.hosts.iter().filter(|(id, _)| self.alive.contains_key(id)).map(|(id, host)| Host {
            name: host.value.name.clone(),
            addresses: host.value.addresses.clone(),
            subnets: held.remove(id).unwrap_or_default(),
            key: host.value.key,
        });
        let mut hosts: Vec<Host> = there.collect();
        let names: BTreeSet<HostName> = hosts.iter().map(|host| host.name.clone()).collect();
        for (name, stored) in self.listed.iter().filter(|(name, _)| !names.contains(name)) {
            let mut subnets = self.names.get(name).and_then(|id| held.remove(&id.value)).unwrap_or_default();
            subnets.extend(reserved.remove(name).unwrap_or_default());
            subnets.sort();
            let ListedRecord { addresses, key } = stored.value.clone();
            hosts.push(Host { name: name.clone(), addresses, subnets, key });
        }
        hosts.sort_by(|one, other| one.name.cmp(&other.name));
        let prefixes = self.cluster.as_ref().map(|cluster| cluster.value.prefixes.clone());
        Cluster { prefixes: prefixes.unwrap_or_default(), hosts }
    }
}

fn value<T: DeserializeOwned>(entry: &Entry) -> Result<Stored<T>, String> {
    if entry.value.len() > VALUE_BYTES_MAX {
        return Err(format!("{} bytes are more than {VALUE_BYTES_MAX}", entry.value.len()));
    }
    let value = serde_json::from_slice(&entry.value).map_err(|error| error.to_string())?;
    Ok(Stored { value, revision: entry.revision })
}
