//! Finds where addresses and containers are, as this host sees them.

use std::net::IpAddr;

use byway_fabric::cluster::HostName;
use byway_fabric::docker::Endpoint;
use byway_fabric::observed::Link;
use byway_fabric::trace::{CABLES_MAX, Cable, Found, SEARCH_MAX, Search, Whereabouts};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};

use super::TraceError;
use crate::edge::cables;
use crate::edge::look;
use crate::edge::netlink::{Netlink, NetlinkError};

/// Looks for all that is asked. `endpoints` are Docker's, for their names.
///
/// # Errors
/// When this host cannot be looked at.
pub fn search(host: &HostName, search: &Search, endpoints: &[Endpoint]) -> Result<Found, TraceError> {
    let cables: Vec<Cable> = cables::list(endpoints)?.into_iter().map(|plugged| plugged.cable).collect();
    let mut netlink = Netlink::open()?;
    let links = look::links(&mut netlink)?;
    let mut addresses = Vec::new();
    for address in search.addresses.iter().take(SEARCH_MAX) {
        addresses.push((*address, find(*address, &cables, &links, &mut netlink)?));
    }
    let named = |name: &String| {
        cables.iter().filter(|cable| is_named(cable, name, endpoints)).cloned().collect::<Vec<_>>()
    };
    let containers = if search.all {
        cables.into_iter().take(CABLES_MAX).collect()
    } else {
        search.containers.iter().take(SEARCH_MAX).flat_map(named).collect()
    };
    Ok(Found { host: host.clone(), addresses, containers })
}

/// A container goes by its own name, and by the service that compose made it for.
pub(crate) fn is_named(cable: &Cable, name: &str, endpoints: &[Endpoint]) -> bool {
    let service = || {
        endpoints.iter().any(|endpoint| {
            endpoint.container == cable.container
                && endpoint.compose.as_ref().is_some_and(|compose| compose.service == name)
        })
    };
    cable.container == name || service()
}

fn find(
    address: IpAddr,
    cables: &[Cable],
    links: &std::collections::BTreeMap<u32, Link>,
    netlink: &mut Netlink,
) -> Result<Whereabouts, NetlinkError> {
    if let Some(cable) = cables.iter().find(|cable| cable.addresses.contains(&address)) {
        return Ok(Whereabouts::Container(cable.clone()));
    }
    if let Some(link) = links.values().find(|link| link.addresses.iter().any(|net| net.addr() == address)) {
        return Ok(Whereabouts::Own { interface: link.name.clone() });
    }
    let route = match ask(address, netlink) {
        Ok(route) => route,
        Err(NetlinkError::Refused(why)) => return Ok(Whereabouts::Nowhere { why: words(&why) }),
        Err(error) => return Err(error),
    };
    let name =
        |index: u32| links.get(&index).map_or_else(|| format!("link {index}"), |link| link.name.clone());
    let is_bridge = |index: u32| links.get(&index).is_some_and(|link| link.bridge);
    Ok(match route {
        (RouteType::Unicast, Some(index), None) if is_bridge(index) && holds(links, index, address) => {
            Whereabouts::Nobody { interface: name(index) }
        }
        (RouteType::Unicast, Some(index), via) => Whereabouts::Away { interface: name(index), via },
        (RouteType::BlackHole, ..) => Whereabouts::Nowhere { why: "a blackhole route".to_owned() },
        (RouteType::Unreachable, ..) => Whereabouts::Nowhere { why: "an unreachable route".to_owned() },
        (RouteType::Prohibit, ..) => Whereabouts::Nowhere { why: "a prohibit route".to_owned() },
        (kind, ..) => Whereabouts::Nowhere { why: format!("a route of type {kind:?}").to_lowercase() },
    })
}

fn holds(links: &std::collections::BTreeMap<u32, Link>, index: u32, address: IpAddr) -> bool {
    links.get(&index).is_some_and(|link| link.addresses.iter().any(|net| net.contains(&address)))
}

/// How the kernel itself would send to an address.
fn ask(
    address: IpAddr,
    netlink: &mut Netlink,
) -> Result<(RouteType, Option<u32>, Option<IpAddr>), NetlinkError> {
    let mut question = RouteMessage::default();
    let to = match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    };
    question.header.address_family = match address {
        IpAddr::V4(_) => netlink_packet_route::AddressFamily::Inet,
        IpAddr::V6(_) => netlink_packet_route::AddressFamily::Inet6,
    };
    question.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
    question.attributes.push(RouteAttribute::Destination(to));
    let RouteNetlinkMessage::NewRoute(answer) =
        netlink.ask_route(&RouteNetlinkMessage::GetRoute(question))?
    else {
        return Err(NetlinkError::Decode("the answer is no route".to_owned()));
    };
    let (mut dev, mut via) = (None, None);
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => dev = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => via = Some((*address).into()),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => via = Some((*address).into()),
            _ => {}
        }
    }
    Ok((answer.header.kind, dev, via))
}

/// The kernel's refusals, as `ip route get` would mean them.
fn words(why: &std::io::Error) -> String {
    match why.raw_os_error() {
        Some(libc::ENETUNREACH) => "no route".to_owned(),
        Some(libc::EHOSTUNREACH) => "an unreachable route".to_owned(),
        Some(libc::EACCES) => "a prohibit route".to_owned(),
        Some(libc::EINVAL) => "a blackhole route".to_owned(),
        _ => why.to_string(),
    }
}
