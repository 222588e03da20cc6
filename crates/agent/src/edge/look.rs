//! Reads links, addresses and routes of the host, whole or not at all.

mod route_bytes;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use byway_fabric::observed::{Link, Route, RouteKind};
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Netlink, NetlinkError};
use super::tunnel;

/// The links with their addresses, by index.
///
/// # Errors
/// When a dump did not arrive whole.
pub fn links(netlink: &mut Netlink) -> Result<BTreeMap<u32, Link>, NetlinkError> {
    let mut request = LinkMessage::default();
    // Statistics are most of a link's message and nothing to us.
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let entries = netlink.dump(&RouteNetlinkMessage::GetLink(request))?;
    let mut links: BTreeMap<u32, Link> = entries.into_iter().filter_map(link).collect();
    for entry in netlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
        let RouteNetlinkMessage::NewAddress(message) = entry else { continue };
        let (Some(address), Some(link)) = (address(&message), links.get_mut(&message.header.index)) else {
            continue;
        };
        link.addresses.push(address);
    }
    Ok(links)
}

/// The largest packet that a link takes, as the kernel tells below `/sys`; none where there is no such link.
#[must_use]
pub fn mtu(link: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{link}/mtu")).ok()?.trim().parse().ok()
}

fn link(entry: RouteNetlinkMessage) -> Option<(u32, Link)> {
    let RouteNetlinkMessage::NewLink(message) = entry else { return None };
    let up = message.header.flags.contains(LinkFlags::Up);
    let mut link = Link { up, ..Link::default() };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(_) => link.enslaved = true,
            LinkAttribute::LinkInfo(parts) => {
                link.bridge = parts.iter().any(|part| matches!(part, LinkInfo::Kind(InfoKind::Bridge)));
            }
            _ => {}
        }
    }
    link.tunnel = tunnel::tunnel(&link.name, &message);
    Some((message.header.index, link))
}

/// An address that can be used: the kernel refuses a tentative one as the source of a route.
pub(super) fn address(message: &AddressMessage) -> Option<IpNet> {
    let mut own = None;
    let mut peer_or_own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => own = Some(*address),
            AddressAttribute::Address(address) => peer_or_own = Some(*address),
            AddressAttribute::Flags(flags)
                if flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed)
                    && !flags.contains(AddressFlags::Optimistic) =>
            {
                return None;
            }
            _ => {}
        }
    }
    IpNet::new(own.or(peer_or_own)?, message.header.prefix_len).ok()
}

/// The routes of table main, of both families.
///
/// # Errors
/// When a dump did not arrive whole.
pub fn routes(netlink: &mut Netlink) -> Result<Vec<Route>, NetlinkError> {
    let mut routes = routes_of(netlink, AddressFamily::Inet)?;
    routes.append(&mut routes_of(netlink, AddressFamily::Inet6)?);
    Ok(routes)
}

fn routes_of(netlink: &mut Netlink, family: AddressFamily) -> Result<Vec<Route>, NetlinkError> {
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    request.header.table = RouteHeader::RT_TABLE_MAIN;
    match netlink.dump_read(&RouteNetlinkMessage::GetRoute(request), route) {
        Ok(routes) => Ok(routes),
        Err(error) if has_no_table(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether a family has no table main, which is an empty one: a namespace without IPv4 routes has none yet
/// (`inet_dump_fib`, ENOENT), a kernel without IPv6 never.
fn has_no_table(error: &NetlinkError) -> bool {
    let NetlinkError::PartialDump { seen: 0, cause } = error else { return false };
    [libc::ENOENT, libc::EAFNOSUPPORT, libc::EOPNOTSUPP].map(Some).contains(&cause.raw_os_error())
}

fn route(kind: u16, body: &[u8]) -> Result<Option<Route>, NetlinkError> {
    if kind != libc::RTM_NEWROUTE {
        return Ok(None);
    }
    route_bytes::read(body).map_err(|malformed| NetlinkError::Decode(malformed.to_string()))
}

/// The route that a message describes; none for routes of other tables and for clones.
#[must_use]
pub fn from_message(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let anywhere: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut route = Route {
        to: IpNet::new(anywhere, header.destination_prefix_length).ok()?,
        kind: kind(header.kind),
        via: None,
        dev: None,
        src: None,
        metric: 0,
        protocol: header.protocol.into(),
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(table) if *table != u32::from(RouteHeader::RT_TABLE_MAIN) => return None,
            RouteAttribute::Destination(to) => {
                route.to = IpNet::new(ip(to)?, header.destination_prefix_length).ok()?;
            }
            RouteAttribute::Gateway(via) => route.via = ip(via),
            RouteAttribute::Via(_) => route.kind = RouteKind::Other,
            RouteAttribute::Oif(index) => route.dev = Some(*index),
            RouteAttribute::PrefSource(src) => route.src = ip(src),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            _ => {}
        }
    }
    Some(route)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

fn kind(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        _ => RouteKind::Other,
    }
}

/// The kernel's refusal of a route that is already as it should be gone, or there.
#[must_use]
pub fn already_gone(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(libc::ESRCH)
}
