//! Puts and deletes routes, many in one conversation.

use std::net::IpAddr;

use byway_fabric::observed::{PROTOCOL, Route, RouteKind};
use byway_fabric::plan::Step;
use byway_fabric::tunnel::Underlay;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};

use super::look::already_gone;
use super::netlink::{Netlink, NetlinkError, Refusal};

/// Does the routing steps among `steps` in their order, and returns the refusals with the words of their steps;
/// their `nth` counts the routing steps only.
///
/// # Errors
/// When the conversation with the kernel fails.
pub fn apply(netlink: &mut Netlink, steps: &[Step]) -> Result<Vec<(String, Refusal)>, NetlinkError> {
    let routing: Vec<(&Step, Deed, &Route)> = steps.iter().filter_map(deed).collect();
    let refusals = netlink
        .batch_written(&routing, |(_, deed, route), body| (write(*deed, route, body), deed.flags()))?;
    let named = refusals.into_iter().filter_map(|refusal| {
        let (step, deed, _) = routing.get(refusal.nth)?;
        let gone = *deed == Deed::Del && already_gone(&refusal.cause);
        (!gone).then(|| (step.what(), refusal))
    });
    Ok(named.collect())
}

/// What is done to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Put,
    Del,
}

impl Deed {
    /// `RTM_NEWROUTE`, `RTM_DELROUTE` of `linux/rtnetlink.h`.
    fn kind(self) -> u16 {
        match self {
            Self::Put => libc::RTM_NEWROUTE,
            Self::Del => libc::RTM_DELROUTE,
        }
    }

    fn flags(self) -> u16 {
        match self {
            Self::Put => NLM_F_CREATE | NLM_F_REPLACE,
            Self::Del => 0,
        }
    }

    /// What goes is known by its prefix, metric and protocol, so any scope and type will do: a route in our
    /// name that drops packets goes too.
    fn scope_and_type(self, kind: RouteKind) -> [u8; 2] {
        match self {
            // Docker passes over subnets that have a route of this scope (`plan/reserve.rs`).
            Self::Put if kind == RouteKind::Unreachable => [libc::RT_SCOPE_LINK, libc::RTN_UNREACHABLE],
            Self::Put => [libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST],
            Self::Del => [libc::RT_SCOPE_NOWHERE, libc::RTN_UNSPEC],
        }
    }
}

fn deed(step: &Step) -> Option<(&Step, Deed, &Route)> {
    match step {
        Step::PutRoute { route, .. } => Some((step, Deed::Put, route)),
        Step::DelRoute { route, .. } => Some((step, Deed::Del, route)),
        _ => None,
    }
}

/// Appends the message that asks for it, without its header, and says its kind: a `struct rtmsg` and attributes
/// (`rtnetlink(7)`). Ten thousand routes are the reason that no message is built first and then written.
fn write(deed: Deed, route: &Route, body: &mut Vec<u8>) -> u16 {
    let [scope, kind] = deed.scope_and_type(route.kind);
    // Family, length of the destination, of the source, TOS, table, protocol, scope, type; then the flags.
    let family = family(route.to.addr());
    body.extend([family, route.to.prefix_len(), 0, 0, libc::RT_TABLE_MAIN, PROTOCOL, scope, kind]);
    body.extend(next_hop_flags(route).to_ne_bytes());
    write_address(libc::RTA_DST, route.to.addr(), body);
    write_attribute(libc::RTA_PRIORITY, &route.metric.to_ne_bytes(), body);
    if let Some(via) = route.via {
        write_address(libc::RTA_GATEWAY, via, body);
    }
    if let Some(dev) = route.dev {
        write_attribute(libc::RTA_OIF, &dev.to_ne_bytes(), body);
    }
    if let Some(src) = route.src {
        write_address(libc::RTA_PREFSRC, src, body);
    }
    deed.kind()
}

/// `linux/rtnetlink.h`; not in `libc`.
const RTNH_F_ONLINK: u32 = 4;

/// Our tunnels have no addresses, so no next hop looks like a neighbour there: that it is one is said.
fn next_hop_flags(route: &Route) -> u32 {
    if route.dev.and_then(Underlay::at).is_some() { RTNH_F_ONLINK } else { 0 }
}

fn family(address: IpAddr) -> u8 {
    // Both are far below 256: `struct rtmsg` has one byte for them.
    u8::try_from(if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }).unwrap_or(u8::MAX)
}

fn write_address(kind: u16, address: IpAddr, body: &mut Vec<u8>) {
    match address {
        IpAddr::V4(v4) => write_attribute(kind, &v4.octets(), body),
        IpAddr::V6(v6) => write_attribute(kind, &v6.octets(), body),
    }
}

/// Appends an attribute: its length with these four bytes, its kind, its value.
fn write_attribute<const N: usize>(kind: u16, value: &[u8; N], body: &mut Vec<u8>) {
    const { assert!(N.is_multiple_of(4) && N <= 16, "this adds no padding, and all fit") };
    let length = u16::try_from(4 + N).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Parseable as _;
    use netlink_packet_route::route::{RouteMessage, RouteScope, RouteType};

    use super::*;
    use crate::edge::look::from_message;
    use byway_fabric::observed::METRIC;

    /// What we write is read by others as what was meant.
    fn check(deed: Deed, to: &str, via: Option<&str>, dev: Option<u32>, src: Option<&str>) -> RouteMessage {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let route = Route {
            to: to.parse().unwrap(),
            kind: if deed == Deed::Put { RouteKind::Unicast } else { RouteKind::Other },
            via: via.map(address),
            dev,
            src: src.map(address),
            metric: METRIC,
            protocol: PROTOCOL,
        };
        let mut body = Vec::new();
        write(deed, &route, &mut body);
        let message = RouteMessage::parse(&body).unwrap();
        assert_eq!(from_message(&message), Some(route));
        message
    }

    #[test]
    fn a_route_is_put_as_a_unicast_route_of_table_main() {
        check(Deed::Put, "172.42.0.0/16", Some("192.168.199.42"), Some(7), Some("172.41.0.1"));
        let message =
            check(Deed::Put, "fd00:172:42::/64", Some("fd00:199::42"), Some(70_000), Some("fd00:172:41::1"));
        assert_eq!(message.header.scope, RouteScope::Universe);
        assert_eq!(message.header.kind, RouteType::Unicast);
        assert_eq!(message.header.table, 254);
    }

    #[test]
    fn a_reservation_is_unreachable_with_the_scope_of_a_link() {
        let route = Route::reservation("172.42.0.0/16".parse().unwrap());
        let mut body = Vec::new();
        write(Deed::Put, &route, &mut body);
        let message = RouteMessage::parse(&body).unwrap();
        assert_eq!(
            (message.header.scope, message.header.kind, from_message(&message)),
            (RouteScope::Link, RouteType::Unreachable, Some(route))
        );
    }

    #[test]
    fn a_route_goes_whatever_it_does_with_packets() {
        check(Deed::Del, "172.42.0.0/16", Some("192.168.199.42"), Some(7), None);
        let message = check(Deed::Del, "fd00:172:42::/64", None, None, None);
        assert_eq!(message.header.scope, RouteScope::NoWhere);
        assert_eq!(message.header.kind, RouteType::Unspec);
    }
}
