//! `byway trace`: one packet followed from its sender to its receiver and back, over all hosts on its way.
//!
//! ```text
//! where both ends are ──> path ──> watch points ─┐
//!                                               ├──> sort ──> journeys there and back ─┐
//! a probe is sent, every frame seen is kept ────┘                                       ├──> verdict
//! rules that it met, drops, routes, neighbours, links (evidence) ───────────────────────┘
//! ```
//!
//! The hosts tell what they saw, in the words of this module; everything else is thought here.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::cluster::HostName;

pub mod clock;
pub mod files;
pub mod path;
pub mod question;
pub mod report;
pub mod sort;
pub mod verdict;
pub mod watch;

/// A container's cable: an interface inside of it, and the host's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cable {
    /// The container's name: Docker's, or its own host name.
    pub container: String,
    /// The interface inside.
    pub interface: String,
    /// The host's end.
    pub veth: String,
    /// The bridge that the host's end is plugged into.
    pub bridge: Option<String>,
    /// The hardware address of the interface inside: `02:42:ac:29:00:02`.
    pub mac: String,
    /// Its addresses inside.
    pub addresses: Vec<IpAddr>,
    /// The number of its network namespace on that host; none where nobody may open it.
    pub inode: Option<u64>,
}

/// Where an address is, as one host sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Whereabouts {
    /// In a container of this host.
    Container(Cable),
    /// This host's own.
    Own {
        /// The interface that has it.
        interface: String,
    },
    /// On the link of one of this host's bridges, where no container has it.
    Nobody {
        /// The bridge.
        interface: String,
    },
    /// Elsewhere: packets to it leave by an interface.
    Away {
        /// By which.
        interface: String,
        /// To whom, if it is not on the link itself.
        via: Option<IpAddr>,
    },
    /// This host has no way to it.
    Nowhere {
        /// Why, in the words of `ip route get`.
        why: String,
    },
}

/// What is asked of a host: where these are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Search {
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Names of containers.
    pub containers: Vec<String>,
    /// Whether all cables of the host are wanted, beside those of the containers that are named.
    #[serde(default)]
    pub all: bool,
}

/// Cables that are told of one host: a bridge of Linux has 1,024 ports.
pub const CABLES_MAX: usize = 4096;

/// Things to search for at once: two ends with some names and addresses each.
pub const SEARCH_MAX: usize = 64;

/// What a host found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The host that looked.
    pub host: HostName,
    /// Where each address is, in the order of the question.
    pub addresses: Vec<(IpAddr, Whereabouts)>,
    /// The cables of each container that is here, in the order of the question.
    pub containers: Vec<Cable>,
}

impl Found {
    /// Where an address is.
    #[must_use]
    pub fn whereabouts(&self, address: IpAddr) -> Option<&Whereabouts> {
        self.addresses.iter().find(|(asked, _)| *asked == address).map(|(_, found)| found)
    }
}
