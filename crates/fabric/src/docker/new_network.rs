//! A network of Docker's that holds a host's subnets, as it is to be made.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::Network;
use crate::cluster::Host;

/// The name of its bridge: every link that we cause begins with `bw`.
const BRIDGE: &str = "bw0";

/// A network that is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewNetwork {
    /// Its name.
    pub name: String,
    /// The name of its bridge.
    pub bridge: String,
    /// Its subnets, one of each family that the host holds, with the host's own address in each: the first.
    pub subnets: Vec<(IpNet, IpAddr)>,
    /// The largest packet: that of the uplink; Docker's own choice (1500) where it is not known.
    pub mtu: Option<u32>,
}

/// What is there of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing is in its way.
    Missing,
    /// It is there, with these subnets.
    Same,
}

/// Why there cannot be such a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotMake {
    /// The host has no IPv4 subnet.
    #[error("host {0} holds no IPv4 subnet, and Docker's networks need one")]
    NoIpv4(String),
    /// One of that name is there, but not like this.
    #[error("a network {name} is there already, with {} instead of {wanted}", if has.is_empty() { "no subnet" } else { has })]
    Differs {
        /// Its name.
        name: String,
        /// Its subnets.
        has: String,
        /// Ours.
        wanted: String,
    },
    /// Another network holds these addresses.
    #[error("Docker's network {name} holds {subnet} already")]
    Held {
        /// Its name.
        name: String,
        /// What it holds.
        subnet: IpNet,
    },
}

impl CannotMake {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoIpv4(host) => format!("give {host} an IPv4 subnet in the inventory"),
            Self::Differs { name, .. } => {
                format!("networks cannot be changed: `docker network rm {name}` first, once nothing uses it")
            }
            Self::Held { name, .. } if name == "bridge" => {
                "containers on docker0 are on the cluster as they are; for a network of its own, give docker0 another \
                 subnet first (`bip` in daemon.json, then a restart)"
                    .to_owned()
            }
            Self::Held { name, .. } => format!("containers on {name} can be on the cluster: give it the label `byway`"),
        }
    }
}

impl NewNetwork {
    /// The network that holds the host's first subnet of each family.
    ///
    /// # Errors
    /// When the host has no IPv4 subnet: Docker makes no network without one before 28.0.
    pub fn of(host: &Host, name: &str, mtu: Option<u32>) -> Result<Self, CannotMake> {
        let first = |ipv6: bool| host.subnets.iter().find(|net| net.addr().is_ipv6() == ipv6);
        let v4 = first(false).ok_or_else(|| CannotMake::NoIpv4(host.name.to_string()))?;
        let gateway = |net: &IpNet| Some((*net, net.hosts().find(|address| *address != net.network())?));
        let subnets = [Some(v4), first(true)].into_iter().flatten().filter_map(gateway).collect();
        Ok(Self { name: name.to_owned(), bridge: BRIDGE.to_owned(), subnets, mtu })
    }

    /// Looks for it, and for what is in its way.
    ///
    /// # Errors
    /// What is in its way.
    pub fn find(&self, networks: &[Network]) -> Result<Found, CannotMake> {
        let list = |nets: &mut dyn Iterator<Item = IpNet>| {
            nets.map(|net| net.to_string()).collect::<Vec<_>>().join(", ")
        };
        let mut wanted: Vec<IpNet> = self.subnets.iter().map(|(net, _)| *net).collect();
        wanted.sort();
        if let Some(network) = networks.iter().find(|network| network.name == self.name) {
            let mut has = network.subnets.clone();
            has.sort();
            if has == wanted {
                return Ok(Found::Same);
            }
            let (has, wanted) = (list(&mut has.into_iter()), list(&mut wanted.into_iter()));
            return Err(CannotMake::Differs { name: self.name.clone(), has, wanted });
        }
        let overlaps = |net: &&IpNet| wanted.iter().any(|own| own.contains(*net) || net.contains(own));
        let held =
            networks.iter().find_map(|network| Some((network, network.subnets.iter().find(overlaps)?)));
        match held {
            Some((network, subnet)) => Err(CannotMake::Held { name: network.name.clone(), subnet: *subnet }),
            None => Ok(Found::Missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::HostName;

    fn host(subnets: &[&str]) -> Host {
        Host {
            name: HostName::try_from("docker41".to_owned()).unwrap(),
            addresses: vec!["192.168.199.41".parse().unwrap()],
            subnets: subnets.iter().map(|net| net.parse().unwrap()).collect(),
            key: None,
        }
    }

    fn network(name: &str, subnets: &[&str]) -> Network {
        Network {
            name: name.to_owned(),
            bridge: "br-1".to_owned(),
            subnets: subnets.iter().map(|net| net.parse().unwrap()).collect(),
            internal: false,
            opted_in: false,
        }
    }

    fn told(networks: &[Network]) -> String {
        let host = host(&["172.41.0.0/16", "fd00:172:41::/64"]);
        let wanted = NewNetwork::of(&host, "byway", Some(1450)).unwrap();
        wanted.find(networks).map_or_else(|why| why.to_string(), |found| format!("{found:?}"))
    }

    #[test]
    fn the_host_is_the_first_address_of_each_subnet() {
        let wanted = NewNetwork::of(&host(&["172.41.0.0/16", "fd00:172:41::/64"]), "byway", None).unwrap();
        let gateways: Vec<String> = wanted.subnets.iter().map(|(_, gateway)| gateway.to_string()).collect();
        assert_eq!(gateways, ["172.41.0.1", "fd00:172:41::1"]);
        assert!(NewNetwork::of(&host(&["fd00:172:41::/64"]), "byway", None).is_err());
    }

    #[test]
    fn what_is_there_already_is_found_and_what_is_in_the_way_is_named() {
        assert_eq!(told(&[network("bridge", &["172.17.0.0/16"])]), "Missing");
        assert_eq!(told(&[network("byway", &["fd00:172:41::/64", "172.41.0.0/16"])]), "Same");
        assert_eq!(
            told(&[network("byway", &["172.18.0.0/16"])]),
            "a network byway is there already, with 172.18.0.0/16 instead of 172.41.0.0/16, fd00:172:41::/64"
        );
        assert_eq!(
            told(&[network("bridge", &["172.41.0.0/16"])]),
            "Docker's network bridge holds 172.41.0.0/16 already"
        );
        assert_eq!(
            told(&[network("shop", &["172.41.7.0/24"])]),
            "Docker's network shop holds 172.41.7.0/24 already"
        );
    }
}
