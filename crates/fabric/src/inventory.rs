//! The inventory: the text that lists the hosts of the cluster, the same on every host.
//!
//! A text is read to its end and either becomes an [`Inventory`] in which nothing contradicts anything, or a
//! list of all its mistakes. Reading goes in four steps, one file each:
//!
//! ```text
//! draft.rs     the shape: tables, keys, types, addresses      (address.rs: what an address or subnet may be)
//! position.rs  subnets for the hosts that have none written
//! clash.rs     what contradicts what: names, addresses, subnets
//! edit.rs      a host more, a host less, everything else untouched
//! ```

mod address;
mod clash;
mod draft;
pub mod edit;
mod position;

use std::collections::BTreeSet;
use std::fmt;

use crate::cluster::{Cluster, Host, HostName};
use crate::mistake::Mistakes;
use crate::toml_text;
pub(crate) use address::{Family, IPV4_LENGTH_MAX, IPV6_LENGTH_MAX};
use draft::{Draft, NoHosts};
pub(crate) use position::{nth, pieces};

/// The longest inventory, in bytes: 10,000 hosts with two subnets and a comment each take about 2 MiB.
pub const INVENTORY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The most hosts: twice what one agent is measured with, and far from what a person would list in a file.
pub const HOSTS_MAX: usize = 10_000;

/// The most subnets of one host: each is a route on every other host, and a host needs one of each family.
pub const SUBNETS_PER_HOST_MAX: usize = 64;

/// The most prefixes of a cluster: each is a line in the firewall rules of every host.
pub const PREFIXES_MAX: usize = 64;

/// How many names a sentence lists before it says "and 12 more".
const NAMES_LISTED_MAX: usize = 10;

/// What an inventory says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    file: String,
    cluster: Cluster,
    by_position: BTreeSet<HostName>,
}

/// Reads an inventory. `file` is its name as the user knows it, for the messages.
///
/// # Errors
/// All mistakes in the text, each with its place.
pub fn read(file: &str, text: &str) -> Result<Inventory, Mistakes> {
    Ok(Draft::read(file, text, NoHosts::IsAMistake)?.finish(file))
}

/// Reads an inventory as it came from the disk.
///
/// # Errors
/// As [`read`], and when the bytes are not UTF-8.
pub fn read_bytes(file: &str, bytes: &[u8]) -> Result<Inventory, Mistakes> {
    read(file, decode(file, bytes)?)
}

/// The text of an inventory as it came from the disk.
///
/// # Errors
/// When the bytes are not UTF-8, or too many.
pub fn decode<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Mistakes> {
    toml_text::decode(file, bytes, INVENTORY_BYTES_MAX)
}

impl Inventory {
    /// The hosts and prefixes.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The hosts and prefixes, for those who need nothing else.
    #[must_use]
    pub fn into_cluster(self) -> Cluster {
        self.cluster
    }

    /// Whether that host's subnets are cut from the prefixes by its position, not written out.
    #[must_use]
    pub fn is_by_position(&self, name: &HostName) -> bool {
        self.by_position.contains(name)
    }

    /// The host of that name.
    ///
    /// # Errors
    /// When the inventory does not list it; the error says what it lists.
    pub fn host(&self, name: &str) -> Result<&Host, UnknownHost> {
        let found = self.cluster.hosts.iter().find(|host| host.name.as_str() == name);
        found.ok_or_else(|| UnknownHost {
            file: self.file.clone(),
            name: name.to_owned(),
            listed: self.cluster.hosts.iter().map(|host| host.name.clone()).collect(),
        })
    }
}

/// A host that the inventory does not list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownHost {
    /// The inventory.
    pub file: String,
    /// The name that was looked for.
    pub name: String,
    /// The names that are there, in the order of the file.
    pub listed: Vec<HostName>,
}

impl UnknownHost {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match toml_text::nearest(&self.name, self.listed.iter().map(HostName::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("`byway host add {} --address …` adds it", self.name),
        }
    }
}

impl fmt::Display for UnknownHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first =
            self.listed.iter().take(NAMES_LISTED_MAX).map(HostName::as_str).collect::<Vec<_>>().join(", ");
        write!(f, "host {} is not in {}; it lists {first}", toml_text::quoted(&self.name), self.file)?;
        match self.listed.len().saturating_sub(NAMES_LISTED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl std::error::Error for UnknownHost {}
