//! Why a host is not let in.

use std::net::IpAddr;

use ipnet::IpNet;

use super::candidates::Full;
use crate::cluster::HostName;

/// Why a host is not let in, or may not go on. Routes and traffic stay as they are; it does not fight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody has set the cluster up.
    #[error("the store does not say which prefixes the cluster has")]
    NoCluster,
    /// A record that is needed cannot be read.
    #[error("what the store has under {key} cannot be read")]
    Unreadable {
        /// Its key.
        key: String,
    },
    /// Another machine with the same id is there.
    #[error("another machine has the id of this one and is in the cluster, at {}", list(.at))]
    Twin {
        /// Its addresses.
        at: Vec<IpAddr>,
    },
    /// A later start of this host, or another machine with its id, has taken its place.
    #[error("this host has been started again somewhere: start {theirs} is in force, this is {ours}")]
    Succeeded {
        /// The generation in the store.
        theirs: u64,
        /// Our own.
        ours: u64,
    },
    /// Another host that is there has the name.
    #[error("the name {name} is that of another host, at {}", list(.at))]
    NameTaken {
        /// The name.
        name: HostName,
        /// The other's addresses.
        at: Vec<IpAddr>,
    },
    /// The containers have addresses that this cluster cannot hold.
    #[error("the subnet {subnet} of this host is not one of length {length} in a prefix of the cluster")]
    Unfit {
        /// The subnet.
        subnet: IpNet,
        /// How long all subnets of its family are.
        length: u8,
    },
    /// A subnet that this host's containers have is another's now.
    #[error("the subnet {subnet} of this host is {whose} now")]
    SubnetTaken {
        /// The subnet.
        subnet: IpNet,
        /// In words: `held by docker42`.
        whose: String,
    },
    /// Nothing is left.
    #[error("{0}")]
    Full(Full),
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

impl Refused {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoCluster => "`byway store init --prefix …` writes it",
            Self::Unreadable { .. } => "mend or delete that key; nothing of it is used until then",
            Self::Twin { .. } => {
                "if this one was made from the other's disk, delete the file `id` in its state folder; if its own \
                 address has changed, wait until its lease has lapsed"
            }
            Self::Succeeded { .. } => "end this agent, or the other one",
            Self::NameTaken { .. } => "give this host another name (`host`), or remove the other host",
            Self::Unfit { .. } => "its containers need addresses of a subnet of the cluster",
            Self::SubnetTaken { .. } => {
                "its containers need addresses of another subnet: `byway host add` with one that is free, or end the \
                 other's claim"
            }
            Self::Full(_) => "widen a prefix, add one, or remove hosts that do not come back",
        }
    }
}
