//! Notices of rtnetlink: which of them mean "look again", and which tell that somebody touched our routes.

use byway_fabric::observed::PROTOCOL;
use byway_fabric::tunnel::Underlay;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteMessage;

use super::{Notice, Reader, Touch};
use crate::edge::look::from_message;
use crate::edge::netlink::Messages;

/// `RTNLGRP_*` of `linux/rtnetlink.h`: links, neighbours, IPv4 addresses, IPv4 routes, IPv6 addresses, IPv6 routes,
/// IPv4 and IPv6 "netconf" (forwarding and its like, per interface).
pub(super) const GROUPS: [u32; 8] = [1, 3, 5, 7, 9, 11, 24, 25];

/// The route messages have their kind in the netlink header; we only decode those.
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

/// Of neighbours only those of our tunnels matter; on a busy host others come and go all the time.
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
/// Where `struct ndmsg` has the index of the link, behind the header of the message.
const NEIGHBOUR_LINK: std::ops::Range<usize> = 20..24;

/// Every datagram stands for itself.
#[derive(Debug)]
pub(super) struct Routes;

impl Reader for Routes {
    fn read(&mut self, datagram: &[u8]) -> Vec<Notice> {
        let mut notices: Vec<Notice> = split(datagram)
            .into_iter()
            .filter_map(|(kind, bytes)| match kind {
                RTM_NEWROUTE | RTM_DELROUTE => route(bytes),
                RTM_NEWNEIGH..=RTM_GETNEIGH => neighbour(bytes),
                _ => Some(Notice::Kernel),
            })
            .collect();
        notices.dedup();
        notices
    }
}

/// Cuts a datagram into messages without decoding them: netconf messages are unknown to the decoder.
fn split(datagram: &[u8]) -> Vec<(u16, &[u8])> {
    let mut messages = Vec::new();
    let mut rest = datagram;
    while let [l0, l1, l2, l3, k0, k1, ..] = *rest {
        let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        if length < 16 || length > rest.len() {
            break;
        }
        messages.push((u16::from_ne_bytes([k0, k1]), &rest[..length]));
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    messages
}

/// What a notice of a neighbour means: nothing if it is on no tunnel of ours.
fn neighbour(bytes: &[u8]) -> Option<Notice> {
    let index = bytes.get(NEIGHBOUR_LINK)?.try_into().ok().map(u32::from_ne_bytes)?;
    Underlay::at(index).map(|_| Notice::Kernel)
}

/// What a route notice means: nothing if it is about a clone or another table.
fn route(bytes: &[u8]) -> Option<Notice> {
    let Some(Ok(message)) = Messages::<RouteNetlinkMessage>::new(bytes).next() else {
        return Some(Notice::Kernel);
    };
    let port = message.header.port_number;
    let (route, deleted) = inner(message)?;
    if u8::from(route.header.protocol) == PROTOCOL {
        return Some(Notice::OurRoute(touch(&route, deleted, port)));
    }
    from_message(&route).map(|_| Notice::Kernel)
}

fn inner(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<(RouteMessage, bool)> {
    match message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => Some((route, false)),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) => Some((route, true)),
        _ => None,
    }
}

fn touch(message: &RouteMessage, deleted: bool, port: u32) -> Touch {
    let to = from_message(message).map_or_else(|| "a prefix".to_owned(), |route| route.to.to_string());
    let what = if deleted {
        format!("deleted the route to {to}")
    } else {
        format!("put a route to {to} in our name")
    };
    Touch { what, who: describe_process(port), port }
}

/// The largest process number (`PID_MAX_LIMIT`, `linux/threads.h`). A process's second socket gets a port above it.
const PID_MAX: u32 = 4 << 20;

/// Who holds a netlink port. The kernel gives a process's first netlink socket the process's number, so this
/// is right for `ip` and its like, as long as they still live.
fn describe_process(port: u32) -> String {
    if port == 0 {
        return "the kernel".to_owned();
    }
    if port > PID_MAX {
        return format!("a process with netlink port {port}");
    }
    match std::fs::read_to_string(format!("/proc/{port}/comm")) {
        Ok(name) => format!("{} (pid {port})", name.trim()),
        Err(_) => format!("pid {port}, which has ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTM_NEWLINK: u16 = 16;
    const RTM_NEWADDR: u16 = 20;
    const RTM_NEWNETCONF: u16 = 80;
    /// A port that no process has: above the largest process id.
    const NOBODY: u32 = 1 << 30;

    fn message(kind: u16, port: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).unwrap();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend([kind.to_ne_bytes(), [0; 2]].concat());
        message.extend([[0; 4], port.to_ne_bytes()].concat());
        message.extend(body);
        message
    }

    /// 172.42.0.0/16 via 192.168.199.42 in a table, by a protocol.
    fn route(kind: u16, port: u32, table: u8, protocol: u8) -> Vec<u8> {
        let mut body = vec![2, 16, 0, 0, table, protocol, 0, 1, 0, 0, 0, 0];
        body.extend([8, 0, 15, 0, table, 0, 0, 0]);
        body.extend([8, 0, 1, 0, 172, 42, 0, 0]);
        body.extend([8, 0, 5, 0, 192, 168, 199, 42]);
        message(kind, port, &body)
    }

    fn check(datagram: &[u8], expected: &str) {
        let heard = Routes.read(datagram).into_iter().map(|notice| match notice {
            Notice::OurRoute(touch) => format!("{} by {}", touch.what, touch.who),
            other => format!("{other:?}"),
        });
        assert_eq!(heard.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn a_touch_of_our_route_is_told_with_who_did_it() {
        check(&route(RTM_DELROUTE, 0, 254, PROTOCOL), "deleted the route to 172.42.0.0/16 by the kernel");
        check(
            &route(RTM_NEWROUTE, NOBODY, 254, PROTOCOL),
            "put a route to 172.42.0.0/16 in our name by a process with netlink port 1073741824",
        );
        let me = std::process::id();
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        check(
            &route(RTM_DELROUTE, me, 254, PROTOCOL),
            &format!("deleted the route to 172.42.0.0/16 by {} (pid {me})", name.trim()),
        );
    }

    #[test]
    fn foreign_routes_are_a_reason_to_look_and_those_of_other_tables_are_not() {
        check(&route(RTM_NEWROUTE, 5, 254, 4), "Kernel");
        check(&route(RTM_NEWROUTE, 5, 255, 2), "");
        check(&route(RTM_DELROUTE, 5, 100, 4), "");
    }

    #[test]
    fn links_addresses_and_settings_are_a_reason_to_look_once() {
        let all = [RTM_NEWLINK, RTM_NEWADDR, RTM_NEWNETCONF].map(|kind| message(kind, 0, &[0; 16]));
        check(&all.concat(), "Kernel");
        check(
            &[all.concat(), route(RTM_DELROUTE, 0, 254, PROTOCOL), all.concat()].concat(),
            "Kernel, deleted the route to 172.42.0.0/16 by the kernel, Kernel",
        );
    }

    #[test]
    fn neighbours_are_a_reason_to_look_on_our_tunnels_only() {
        let at = |index: u32| {
            let body = [&[2, 0, 0, 0][..], &index.to_ne_bytes(), &[0; 4]].concat();
            message(RTM_NEWNEIGH, 0, &body)
        };
        check(&at(Underlay::V4.index()), "Kernel");
        check(&[at(2), at(Underlay::V6.index())].concat(), "Kernel");
        check(&at(2), "");
        check(&message(RTM_NEWNEIGH, 0, &[2, 0]), "");
    }

    #[test]
    fn a_route_message_that_makes_no_sense_is_a_reason_to_look() {
        check(&message(RTM_NEWROUTE, 0, &[2, 16]), "Kernel");
        let of_99_bits = message(RTM_NEWROUTE, 0, &[2, 99, 0, 0, 254, PROTOCOL, 0, 1, 0, 0, 0, 0]);
        check(&of_99_bits, "put a route to a prefix in our name by the kernel");
    }

    #[test]
    fn cut_and_lying_datagrams_never_make_a_panic() {
        let whole = [route(RTM_NEWROUTE, 0, 254, PROTOCOL), route(RTM_DELROUTE, 5, 254, 4)].concat();
        for length in 0..whole.len() {
            Routes.read(&whole[..length]);
        }
        for at in 0..whole.len() {
            for lie in [0, 1, 3, 15, 16, 40, 255] {
                let mut bent = whole.clone();
                bent[at] = lie;
                Routes.read(&bent);
            }
        }
    }
}
