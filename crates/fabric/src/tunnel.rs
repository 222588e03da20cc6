//! The tunnels to peers behind routers that know nothing of containers: what they are made of, worked out the same on
//! both ends without a word between them.
//!
//! One VXLAN device for each family of underlay addresses that is needed (a device has one family), made and filled by
//! us alone: it learns nothing and floods nothing. What a packet needs to get to a peer is three entries, all made from
//! the inventory:
//!
//! ```text
//! route      172.51.0.0/16 via 192.168.200.51 dev byway.vx onlink      (IPv6: via the peer's link-local address)
//! neighbour  192.168.200.51 is 02:3c:…                                  (the peer's hardware address in the tunnel)
//! forward    02:3c:… is at 192.168.200.51                               (its address on the underlay)
//! ```
//!
//! See docs/paths.md for what a tunnel costs and whom it trusts.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::cluster::HostName;

/// The number by which both ends know the tunnel (`VNI`, RFC 7348): that of our routes.
pub const TUNNEL_ID: u32 = 172;

/// The UDP port of the tunnel, on all hosts. Not 4789, which RFC 7348 gives to VXLAN: Docker's swarm and others have
/// theirs there, and our table keeps strangers away from this port.
pub const TUNNEL_PORT: u16 = 7172;

/// What an IPv4 underlay takes of each packet, in bytes: Ethernet 14, VXLAN 8, UDP 8, IPv4 20.
pub const COST_V4: u32 = 50;

/// What an IPv6 underlay takes of each packet, in bytes: its header has 40.
pub const COST_V6: u32 = 70;

/// The address of our devices, the same on all hosts, as nothing is ever sent from it or to it: the dummy address of RFC 7600.
/// Without any, the kernel's check of sources lets nothing in that has another way back, not even where it is loose
/// (`fib_validate_source`).
pub const DUMMY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// One of our two tunnels, by the family of the underlay that it crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Underlay {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Underlay {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The one that an address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The name of its device.
    #[must_use]
    pub fn device(self) -> &'static str {
        match self {
            Self::V4 => "byway.vx",
            Self::V6 => "byway.vx6",
        }
    }

    /// The index of its device: chosen by us, so that routes can be planned before the device is there. The kernel
    /// counts up from 1, and a host that has made 172,000 links is not known.
    #[must_use]
    pub fn index(self) -> u32 {
        match self {
            Self::V4 => 172_004,
            Self::V6 => 172_006,
        }
    }

    /// The tunnel whose device has that index.
    #[must_use]
    pub fn at(index: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|underlay| underlay.index() == index)
    }

    /// The tunnel whose device has that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|underlay| underlay.device() == name)
    }

    /// What it takes of each packet, in bytes.
    #[must_use]
    pub fn cost(self) -> u32 {
        match self {
            Self::V4 => COST_V4,
            Self::V6 => COST_V6,
        }
    }
}

/// The hardware address of a host in the tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// That of a host: made from its name, and locally administered (IEEE 802, 8.4). Names are unique in a cluster; that
    /// two of 10,000 have the same 46 bits has a chance below one in a million.
    #[must_use]
    pub fn of(host: &HostName) -> Self {
        // FNV-1a: short, and the same for ever.
        let hash = host.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let [_, _, mut mac @ ..] = hash.to_be_bytes();
        mac[0] = mac[0] & 0xfc | 0x02;
        Self(mac)
    }

    /// The link-local address that goes with it (RFC 4291, appendix A).
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        let mut octets = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x00ff, 0xfe00, 0).octets();
        octets[8..11].copy_from_slice(&self.0[..3]);
        octets[13..].copy_from_slice(&self.0[3..]);
        octets[8] ^= 0x02;
        octets.into()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets: Vec<String> = self.0.iter().map(|octet| format!("{octet:02x}")).collect();
        f.write_str(&octets.join(":"))
    }
}

/// What our tunnel's device is, or should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// The `VNI`.
    pub id: u32,
    /// The UDP port.
    pub port: u16,
    /// This host's address on the underlay.
    pub local: Option<IpAddr>,
    /// Whether it takes frames as news about who is where.
    pub learning: bool,
    /// This host's hardware address in it.
    pub mac: Mac,
}

impl Tunnel {
    /// The one that a host should have.
    #[must_use]
    pub fn of(host: &HostName, local: IpAddr) -> Self {
        Self { id: TUNNEL_ID, port: TUNNEL_PORT, local: Some(local), learning: false, mac: Mac::of(host) }
    }
}

/// What our tunnel must be told of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// Where on the underlay a hardware address is.
    Forward {
        /// The hardware address.
        mac: Mac,
        /// The peer's address on the underlay.
        to: IpAddr,
    },
    /// Which hardware address a next hop has, for ever.
    Neighbour {
        /// The next hop of routes.
        address: IpAddr,
        /// The hardware address.
        mac: Mac,
    },
}

impl Entry {
    /// What the kernel knows it by: there can be one entry for each.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Forward { mac, .. }, Self::Forward { mac: other, .. }) => mac == other,
            (Self::Neighbour { address, .. }, Self::Neighbour { address: other, .. }) => address == other,
            _ => false,
        }
    }
}

impl fmt::Display for Entry {
    /// As `bridge fdb` and `ip neighbour` would print it, without the device.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward { mac, to } => write!(f, "forward {mac} to {to}"),
            Self::Neighbour { address, mac } => write!(f, "neighbour {address} at {mac}"),
        }
    }
}

/// What a peer needs in the tunnel, and the next hops of routes to its subnets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The tunnel.
    pub underlay: Underlay,
    /// The entries.
    pub entries: BTreeSet<Entry>,
}

impl End {
    /// A peer that is at `to` on the underlay, with its own IPv4 address if it has one.
    #[must_use]
    pub fn of(peer: &HostName, to: IpAddr, ipv4: Option<IpAddr>) -> Self {
        let mac = Mac::of(peer);
        let hops = [ipv4, Some(mac.link_local().into())];
        let neighbours = hops.into_iter().flatten().map(|address| Entry::Neighbour { address, mac });
        let entries = neighbours.chain([Entry::Forward { mac, to }]).collect();
        Self { underlay: Underlay::of(to), entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(name: &str) -> Mac {
        Mac::of(&HostName::try_from(name.to_owned()).unwrap())
    }

    #[test]
    fn a_host_has_the_same_hardware_address_for_everybody_and_for_ever() {
        // Hosts of different versions must agree: these never change.
        assert_eq!(mac("docker41").to_string(), "1e:e0:98:5b:f5:3e");
        assert_eq!(mac("docker42").to_string(), "1a:e0:98:5b:f3:8b");
        assert_eq!(mac("docker41").link_local().to_string(), "fe80::1ce0:98ff:fe5b:f53e");
    }

    #[test]
    fn hardware_addresses_are_local_ones_of_single_hosts_and_differ() {
        let all: BTreeSet<Mac> = (0..10_000).map(|nth| mac(&format!("host-{nth}"))).collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|mac| mac.0[0] & 0b11 == 0b10), "locally administered, not a group");
    }

    #[test]
    fn names_and_indexes_lead_back_and_fit_the_kernel() {
        for underlay in Underlay::ALL {
            assert_eq!(Underlay::at(underlay.index()), Some(underlay));
            assert_eq!(Underlay::named(underlay.device()), Some(underlay));
            assert!(crate::config::check_interface_name(underlay.device()).is_ok());
        }
    }
}
