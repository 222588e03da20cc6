//! By which addresses this host reaches etcd, and so, most often, the others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use byway_fabric::observed::Link;
use ipnet::IpNet;
use tokio::net::{UdpSocket, lookup_host};

use crate::edge::etcd::Endpoint;
use crate::edge::look;
use crate::edge::netlink::Netlink;

/// This host's addresses on the interface by which it reaches the first endpoint that is not this host itself: the one that
/// it sends from, and one of the other family. None where that cannot be told.
pub(super) async fn towards(endpoints: &[Endpoint]) -> Vec<IpAddr> {
    for endpoint in endpoints {
        let found = lookup_host((endpoint.host.as_str(), endpoint.port)).await;
        for there in found.into_iter().flatten() {
            if let Some(own) = source_towards(there).await.filter(|own| !own.is_loopback()) {
                return with_other_family(own, &links());
            }
        }
    }
    Vec::new()
}

/// The address from which the kernel would send; nothing is sent.
async fn source_towards(there: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.ok()?;
    socket.connect(there).await.ok()?;
    socket.local_addr().ok().map(|own| own.ip())
}

fn links() -> BTreeMap<u32, Link> {
    Netlink::open().and_then(|mut netlink| look::links(&mut netlink)).unwrap_or_default()
}

fn with_other_family(own: IpAddr, links: &BTreeMap<u32, Link>) -> Vec<IpAddr> {
    let link = links.values().find(|link| link.addresses.iter().any(|net| net.addr() == own));
    let others = link.into_iter().flat_map(|link| &link.addresses).map(IpNet::addr);
    let mut others = others.filter(|other| other.is_ipv4() != own.is_ipv4() && !is_link_local(*other));
    let mut addresses: Vec<IpAddr> = std::iter::once(own).chain(others.next()).collect();
    addresses.sort();
    addresses
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_family_is_that_of_the_same_interface() {
        let link = |name: &str, addresses: &[&str]| Link {
            name: name.to_owned(),
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            ..Link::default()
        };
        let links = BTreeMap::from([
            (1, link("docker0", &["172.17.0.1/16", "fd17::1/64"])),
            (2, link("eth0", &["fe80::1/64", "192.168.199.41/24", "fd00::41/64"])),
        ]);
        let own = |text: &str| text.parse::<IpAddr>().unwrap();
        let found = with_other_family(own("192.168.199.41"), &links);
        assert_eq!(found, [own("192.168.199.41"), own("fd00::41")]);
        assert_eq!(with_other_family(own("fd00::41"), &links), found);
        assert_eq!(with_other_family(own("10.0.0.1"), &links), [own("10.0.0.1")]);
    }
}
