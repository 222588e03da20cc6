//! The nouns: hosts, their addresses and subnets, and the cluster that they make.

mod key;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use key::{BadPublicKey, KEY_BYTES, KEY_CHARACTERS, PublicKey, key_bytes, key_text};

/// The name of a host, unique in its cluster: 1 to 63 of `a-z A-Z 0-9 . _ -`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// The longest host name, as for a DNS label (RFC 1035, 2.3.4).
pub const HOST_NAME_MAX: usize = 63;

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostName {
    type Error = BadHostName;

    fn try_from(name: String) -> Result<Self, BadHostName> {
        let first_is_plain = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest_is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if first_is_plain && rest_is_plain && name.len() <= HOST_NAME_MAX {
            Ok(Self(name))
        } else {
            Err(BadHostName)
        }
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be the name of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a host name has 1 to 63 of a-z A-Z 0-9 . _ - and starts with a letter or a digit")]
pub struct BadHostName;

/// One machine of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Its addresses on the underlay: at most one of each family, at least one.
    pub addresses: Vec<IpAddr>,
    /// The container addresses it holds, sorted; no two hosts' subnets overlap.
    pub subnets: Vec<IpNet>,
    /// Its public key; without one it cannot be asked, and may not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
}

impl Host {
    /// The underlay address of the family of `of`, if the host has one.
    #[must_use]
    pub fn address_like(&self, of: &IpNet) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == of.addr().is_ipv4())
    }
}

/// The hosts that route to each other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// What all subnets lie in; empty when the inventory does not say.
    pub prefixes: Vec<IpNet>,
    /// The hosts, in the order in which the store lists them.
    pub hosts: Vec<Host>,
}

impl Cluster {
    /// The host of that name.
    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == *name)
    }

    /// The host that has that key.
    #[must_use]
    pub fn host_with_key(&self, key: &PublicKey) -> Option<&Host> {
        self.hosts.iter().find(|host| host.key.as_ref() == Some(key))
    }

    /// The host that has that address on the underlay.
    #[must_use]
    pub fn host_at(&self, address: IpAddr) -> Option<&Host> {
        self.hosts.iter().find(|host| host.addresses.contains(&address))
    }
}
