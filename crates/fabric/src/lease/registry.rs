//! What the store says, read whole.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::de::DeserializeOwned;

use super::id::HostId;
use super::record::{About, AliveRecord, ClusterRecord, HostRecord, SubnetRecord, VALUE_BYTES_MAX, about};
use crate::cluster::{Cluster, Host, HostName};

/// The most complaints that are kept; more are counted.
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
    /// What cannot be read, at most a hundred of it.
    pub garbage: Vec<Garbage>,
    /// How much more there is.
    pub more_garbage: usize,
    /// Keys that mean something and whose values cannot be read: nobody may take what they stand for.
    unreadable: BTreeMap<String, u64>,
}

impl Registry {
    /// Reads a listing to its end, whatever is in it.
    #[must_use]
    pub fn read(listing: &Listing) -> Self {
        let mut registry = Self::default();
        for entry in &listing.entries {
            if let Err(why) = registry.take(entry) {
                registry.complain(&entry.key, why);
            }
        }
        registry
    }

    fn take(&mut self, entry: &Entry) -> Result<(), String> {
        let key = std::str::from_utf8(&entry.key).map_err(|_| "the key is not UTF-8".to_owned())?;
        let about = about(key)?;
        let taken = match about {
            About::Cluster => value(entry).and_then(|read: Stored<ClusterRecord>| {
                read.value.check()?;
                self.cluster = Some(read);
                Ok(())
            }),
            About::Host(id) => value(entry).map(|value| drop(self.hosts.insert(id, value))),
            About::Name(name) => value(entry).map(|value| drop(self.names.insert(name, value))),
            About::Alive(id) => value(entry).map(|value| drop(self.alive.insert(id, value))),
            About::Subnet(subnet) => value(entry).map(|value| drop(self.subnets.insert(subnet, value))),
        };
        if taken.is_err() {
            self.unreadable.insert(key.to_owned(), entry.revision);
        }
        taken
    }

    fn complain(&mut self, key: &[u8], why: String) {
        if self.garbage.len() < GARBAGE_MAX {
            self.garbage.push(Garbage { key: String::from_utf8_lossy(key).into_owned(), why });
        } else {
            self.more_garbage += 1;
        }
    }

    /// Whether something stands there that cannot be read.
    pub(super) fn is_unreadable(&self, key: &str) -> bool {
        self.unreadable.contains_key(key)
    }

    /// Whose a subnet is, in words.
    pub(super) fn whose(&self, record: &SubnetRecord) -> String {
        let name = |id: &HostId| {
            let host = self.hosts.get(id);
            host.map_or_else(|| format!("the host with the id {id}"), |host| host.value.name.to_string())
        };
        match record {
            SubnetRecord::Held { by } if self.alive.contains_key(by) => format!("held by {}", name(by)),
            SubnetRecord::Held { by } => format!("kept for {}, which is gone", name(by)),
            SubnetRecord::Released { by } => format!("free since {} gave it back", name(by)),
            SubnetRecord::Reserved { name } => format!("reserved for {name}"),
        }
    }

    /// The subnets that this host holds.
    pub fn held_by<'a>(&'a self, id: &'a HostId) -> impl Iterator<Item = IpNet> + 'a {
        self.subnets.iter().filter_map(move |(subnet, stored)| match &stored.value {
            SubnetRecord::Held { by } if by == id => Some(*subnet),
            _ => None,
        })
    }

    /// The hosts that are there with the subnets that they hold, as every agent routes to them. A host whose lease has
    /// lapsed is not among them, nor one whose record cannot be read.
    #[must_use]
    pub fn routed(&self) -> Cluster {
        let mut held: BTreeMap<&HostId, Vec<IpNet>> = BTreeMap::new();
        for (subnet, stored) in &self.subnets {
            if let SubnetRecord::Held { by } = &stored.value {
                held.entry(by).or_default().push(*subnet);
            }
        }
        let hosts = self.hosts.iter().filter(|(id, _)| self.alive.contains_key(id)).map(|(id, host)| Host {
            name: host.value.name.clone(),
            addresses: host.value.addresses.clone(),
            subnets: held.remove(id).unwrap_or_default(),
            key: host.value.key,
        });
        let mut hosts: Vec<Host> = hosts.collect();
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
