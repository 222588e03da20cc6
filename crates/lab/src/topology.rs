//! What a lab is made of: segments, hosts with their containers, routers.
//!
//! Pure: says what should stand, makes nothing. A topology comes from a file ([`Topology::parse`]), from two
//! numbers ([`Topology::spread`]) or from a test; [`Topology::flaws`] judges all of them.

mod engine;
mod flaws;
mod spread;
mod text;

use std::net::IpAddr;

use byway_fabric::cluster;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use engine::{BadRelease, ENGINES_MAX, Engine, Iptables, Release};
pub use flaws::{CONTAINERS_PER_HOST_MAX, Flaw, HOSTS_MAX, NODES_MAX, SEGMENTS_MAX};
pub use spread::Spread;

/// The name of the node that holds the segments' bridges.
pub const SWITCH: &str = "switch";
/// The host's bridge if the topology does not say.
pub const BRIDGE: &str = "docker0";
/// The longest name of an interface (`IFNAMSIZ` without the closing zero).
pub const LINK_NAME_MAX: usize = 15;

/// Everything that a lab holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Topology {
    /// The networks between the hosts; the first is the one that a host is on if it does not say.
    pub segments: Vec<Segment>,
    /// The hosts, in the order of the inventory.
    pub hosts: Vec<Host>,
    /// What forwards between segments.
    pub routers: Vec<Router>,
}

/// One network between hosts: a bridge in the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its name, and its bridge's.
    pub name: String,
    /// Its prefixes: at most one of each family, at least one.
    pub prefixes: Vec<IpNet>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, and that of its port on the switch.
    pub name: String,
    /// The segment that its `eth0` is on.
    pub segment: String,
    /// The addresses of its `eth0`: at most one of each family, at least one.
    pub addresses: Vec<IpAddr>,
    /// The container addresses that it holds; the first address of each is its bridge's.
    pub subnets: Vec<IpNet>,
    /// The name of the bridge that its containers are on.
    pub bridge: String,
    /// Its Docker engine, if it has a real one: that makes the bridge and the containers then.
    pub engine: Option<Engine>,
    /// Its containers.
    pub containers: Vec<Container>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name; the host's end of its wire is called `veth` and this.
    pub name: String,
    /// The addresses of its `eth0`, inside the host's subnets. None if Docker gives them.
    pub addresses: Vec<IpAddr>,
}

/// What forwards between the segments that its addresses lie in: one interface in each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// Its name.
    pub name: String,
    /// Its addresses: at most one of each family in a segment.
    pub addresses: Vec<IpAddr>,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A machine with an agent.
    Host,
    /// A container of a host.
    Container,
    /// It forwards between segments.
    Router,
    /// It holds the segments.
    Switch,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Container => "container",
            Self::Router => "router",
            Self::Switch => "switch",
        }
    }
}

impl Topology {
    /// The two hosts that started all this, with a container each.
    #[must_use]
    pub fn two_hosts() -> Self {
        Spread::default().topology()
    }

    /// The segment of that name.
    #[must_use]
    pub fn segment(&self, name: &str) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.name == name)
    }

    /// The segment that an address lies in.
    #[must_use]
    pub fn segment_of(&self, address: IpAddr) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.prefix_for(address).is_some())
    }

    /// Every node with a namespace of its own, in the order in which it is listed.
    #[must_use]
    pub fn nodes(&self) -> Vec<(&str, Kind)> {
        let mut nodes = vec![(SWITCH, Kind::Switch)];
        nodes.extend(self.routers.iter().map(|router| (router.name.as_str(), Kind::Router)));
        for host in &self.hosts {
            nodes.push((&host.name, Kind::Host));
            nodes.extend(host.containers.iter().map(|container| (container.name.as_str(), Kind::Container)));
        }
        nodes
    }

    /// How many containers all hosts have together.
    #[must_use]
    pub fn containers(&self) -> usize {
        self.hosts.iter().map(|host| host.containers.len()).sum()
    }

    /// The addresses in a segment through which its hosts reach the others: the first router's.
    #[must_use]
    pub fn gateways(&self, segment: &Segment) -> Vec<IpAddr> {
        let mut gateways: Vec<IpAddr> = Vec::new();
        for address in self.routers.iter().flat_map(|router| &router.addresses).copied() {
            let is_first_of_family = gateways.iter().all(|other| other.is_ipv4() != address.is_ipv4());
            if is_first_of_family && segment.prefix_for(address).is_some() {
                gateways.push(address);
            }
        }
        gateways
    }

    /// The inventory that every host reads, without keys.
    ///
    /// # Errors
    /// When a name is none that the fabric takes.
    pub fn inventory(&self) -> Result<String, cluster::BadHostName> {
        self.inventory_with(|_| None)
    }

    /// The inventory that every host reads, with the keys of the hosts that have one.
    ///
    /// # Errors
    /// When a name is none that the fabric takes.
    pub fn inventory_with(
        &self,
        key_of: impl Fn(&str) -> Option<cluster::PublicKey>,
    ) -> Result<String, cluster::BadHostName> {
        let mut parts = vec!["# Written by `byway lab`: the same on every host.\n".to_owned()];
        for host in &self.hosts {
            let name = cluster::HostName::try_from(host.name.clone())?;
            let addresses = quoted(&host.addresses);
            let subnets = quoted(&host.subnets);
            let key = key_of(&host.name).map_or_else(String::new, |key| format!("key = \"{key}\"\n"));
            parts.push(format!(
                "\n[[host]]\nname = \"{name}\"\naddresses = [{addresses}]\nsubnets = [{subnets}]\n{key}"
            ));
        }
        Ok(parts.concat())
    }
}

impl Segment {
    /// The prefix of this segment that holds an address.
    #[must_use]
    pub fn prefix_for(&self, address: IpAddr) -> Option<&IpNet> {
        self.prefixes.iter().find(|prefix| prefix.contains(&address))
    }
}

impl Host {
    /// The bridge's addresses: the first of each subnet, with its length.
    #[must_use]
    pub fn bridge_addresses(&self) -> Vec<IpNet> {
        self.subnets.iter().filter_map(|subnet| with_length_of(nth(subnet, 1)?, subnet)).collect()
    }

    /// An address with the length of the subnet that holds it.
    #[must_use]
    pub fn in_subnet(&self, address: IpAddr) -> Option<IpNet> {
        let subnet = self.subnets.iter().find(|subnet| subnet.contains(&address))?;
        with_length_of(address, subnet)
    }

    /// The addresses of its `eth0`, with the lengths of its segment's prefixes.
    #[must_use]
    pub fn in_segment(&self, segment: &Segment) -> Vec<IpNet> {
        let with_length = |address: &IpAddr| with_length_of(*address, segment.prefix_for(*address)?);
        self.addresses.iter().filter_map(with_length).collect()
    }

    /// What the `nth` container (from 0) gets if it does not say: 2 and up, in the first subnet of each family.
    #[must_use]
    pub fn container_addresses(&self, nth_container: usize) -> Vec<IpAddr> {
        let first = |ipv4: bool| self.subnets.iter().find(|subnet| subnet.addr().is_ipv4() == ipv4);
        let address = |subnet: &IpNet| nth(subnet, 2 + u32::try_from(nth_container).ok()?);
        [first(true), first(false)].into_iter().flatten().filter_map(address).collect()
    }
}

fn with_length_of(address: IpAddr, prefix: &IpNet) -> Option<IpNet> {
    IpNet::new(address, prefix.prefix_len()).ok()
}

/// The `nth` address of a prefix, if that is an address a machine can have (not the IPv4 broadcast address).
fn nth(prefix: &IpNet, nth: u32) -> Option<IpAddr> {
    let address = match prefix.network() {
        IpAddr::V4(first) => IpAddr::V4(u32::from(first).checked_add(nth)?.into()),
        IpAddr::V6(first) => IpAddr::V6(u128::from(first).checked_add(u128::from(nth))?.into()),
    };
    let is_broadcast = address.is_ipv4() && address == prefix.broadcast();
    (prefix.contains(&address) && !is_broadcast).then_some(address)
}

fn quoted<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| format!("\"{}\"", item.to_string())).collect();
    items.join(", ")
}
