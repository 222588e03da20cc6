//! What is written into the store: keys, and values as JSON.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::id::HostId;
use crate::cluster::{HostName, PublicKey};
use crate::inventory::{IPV4_LENGTH_MAX, IPV6_LENGTH_MAX};

/// The longest value that is read, in bytes: a host with all that it may have takes a hundredth of it.
pub(super) const VALUE_BYTES_MAX: usize = 64 * 1024;

const CLUSTER: &str = "cluster";
const HOSTS: &str = "hosts/";
const NAMES: &str = "names/";
const SUBNETS: &str = "subnets/";
const ALIVE: &str = "alive/";
const LISTED: &str = "listed/";
const USES: &str = "uses/";

/// The most uses that a host tells; with more it has other worries.
pub const USES_MAX: usize = 200;

/// What all hosts must agree on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterRecord {
    /// What all subnets lie in. More may be added, and one widened; none goes while subnets in it are held.
    pub prefixes: Vec<IpNet>,
    /// How long the subnets are; it stays as it was at first.
    #[serde(default)]
    pub subnet_lengths: Lengths,
}

impl ClusterRecord {
    /// Whether subnets can be cut by it.
    ///
    /// # Errors
    /// In words, what contradicts what.
    pub fn check(&self) -> Result<(), String> {
        if self.subnet_lengths.ipv4 > IPV4_LENGTH_MAX || self.subnet_lengths.ipv6 > IPV6_LENGTH_MAX {
            return Err(format!("the longest subnets are a /{IPV4_LENGTH_MAX} and a /{IPV6_LENGTH_MAX}"));
        }
        for (nth, prefix) in self.prefixes.iter().enumerate() {
            if prefix.prefix_len() == 0 || prefix.trunc() != *prefix {
                return Err(format!("{prefix} is no prefix"));
            }
            let length = self.subnet_lengths.like(prefix);
            if prefix.prefix_len() > length {
                return Err(format!("no subnet of length {length} can be cut from {prefix}"));
            }
            let touches = |other: &&IpNet| other.contains(prefix) || prefix.contains(*other);
            if let Some(other) = self.prefixes[..nth].iter().find(touches) {
                return Err(format!("prefix {prefix} overlaps prefix {other}"));
            }
        }
        Ok(())
    }
}

/// The length of a subnet of each family, in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lengths {
    /// Up to 30.
    pub ipv4: u8,
    /// Up to 126.
    pub ipv6: u8,
}

impl Default for Lengths {
    fn default() -> Self {
        Self { ipv4: 24, ipv6: 64 }
    }
}

impl Lengths {
    /// That of the family of this network.
    #[must_use]
    pub fn like(self, network: &IpNet) -> u8 {
        if network.addr().is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

/// A host, here or gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name.
    pub name: HostName,
    /// Its addresses on the underlay.
    pub addresses: Vec<IpAddr>,
    /// Its public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// How often it has started. Who writes for it must have the newest one: an agent that was cut off and succeeded by
    /// another has not.
    pub generation: u64,
}

/// That a host is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliveRecord {
    /// Which of its starts.
    pub generation: u64,
    /// Its addresses on the underlay, by which two machines with one disk are told apart.
    pub addresses: Vec<IpAddr>,
}

/// Whose a subnet is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SubnetRecord {
    /// A host holds it as long as it is there, and comes back to it.
    Held {
        /// The host.
        by: HostId,
    },
    /// A host gave it back.
    Released {
        /// The host.
        by: HostId,
    },
    /// It is for the host of this name, and for no other.
    Reserved {
        /// Its name.
        name: HostName,
    },
}

/// A host that somebody has listed and that has not entered by itself: it is routed to like one that is there, as far as
/// its subnets are reserved for its name. When its agent enters, this goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRecord {
    /// Its addresses on the underlay.
    pub addresses: Vec<IpAddr>,
    /// Its public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
}

/// What a host uses of the cluster's prefixes and no store knows of: no subnet that overlaps it is given to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsesRecord {
    /// At most [`USES_MAX`].
    pub uses: Vec<Use>,
}

/// A use of addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Use {
    /// Which.
    pub net: IpNet,
    /// For what, in words: `the route 10.3.0.0/16 via 10.0.0.1 dev tun0`.
    pub what: String,
}

/// The key of what all hosts must agree on.
#[must_use]
pub fn cluster_key() -> String {
    CLUSTER.to_owned()
}

pub(super) fn host_key(id: &HostId) -> String {
    format!("{HOSTS}{id}")
}

pub(super) fn name_key(name: &HostName) -> String {
    format!("{NAMES}{name}")
}

pub(super) fn alive_key(id: &HostId) -> String {
    format!("{ALIVE}{id}")
}

pub(super) fn listed_key(name: &HostName) -> String {
    format!("{LISTED}{name}")
}

pub(super) fn uses_key(id: &HostId) -> String {
    format!("{USES}{id}")
}

/// A slash would look like another folder.
pub(super) fn subnet_key(subnet: IpNet) -> String {
    format!("{SUBNETS}{}-{}", subnet.network(), subnet.prefix_len())
}

/// What a key is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    Cluster,
    Host(HostId),
    Name(HostName),
    Alive(HostId),
    Listed(HostName),
    Uses(HostId),
    Subnet(IpNet),
}

/// Reads a key, which anybody may have written.
pub(super) fn about(key: &str) -> Result<About, String> {
    let id = |text: &str| HostId::try_from(text.to_owned()).map_err(|bad| bad.to_string());
    let name = |text: &str| HostName::try_from(text.to_owned()).map_err(|bad| bad.to_string());
    if key == CLUSTER {
        Ok(About::Cluster)
    } else if let Some(text) = key.strip_prefix(HOSTS) {
        id(text).map(About::Host)
    } else if let Some(text) = key.strip_prefix(ALIVE) {
        id(text).map(About::Alive)
    } else if let Some(text) = key.strip_prefix(NAMES) {
        name(text).map(About::Name)
    } else if let Some(text) = key.strip_prefix(LISTED) {
        name(text).map(About::Listed)
    } else if let Some(text) = key.strip_prefix(USES) {
        id(text).map(About::Uses)
    } else if let Some(text) = key.strip_prefix(SUBNETS) {
        subnet(text).map(About::Subnet)
    } else {
        Err("nothing of this name is known".to_owned())
    }
}

fn subnet(text: &str) -> Result<IpNet, String> {
    let (address, length) = text.rsplit_once('-').ok_or("a subnet is written as 172.41.0.0-16")?;
    let subnet: IpNet = format!("{address}/{length}").parse().map_err(|_| "this is no subnet".to_owned())?;
    if subnet.trunc() == subnet && subnet_key(subnet).ends_with(text) {
        Ok(subnet)
    } else {
        Err(format!("the same subnet is written as {}", subnet_key(subnet.trunc())))
    }
}
