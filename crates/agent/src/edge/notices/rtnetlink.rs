//! Notices of rtnetlink: which of them mean "look again", and which tell that somebody touched our routes.

use byway_fabric::observed::PROTOCOL;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::RouteMessage;

use super::{Notice, Reader, Touch};
use crate::edge::look::from_message;
use crate::edge::netlink::Messages;

/// `RTNLGRP_*` of `linux/rtnetlink.h`: links, IPv4 addresses, IPv4 routes, IPv6 addresses, IPv6 routes,
/// IPv4 and IPv6 "netconf" (forwarding and its like, per interface).
pub(super) const GROUPS: [u32; 7] = [1, 5, 7, 9, 11, 24, 25];

/// The route messages have their kind in the netlink header; we only decode those.
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

/// Every datagram stands for itself.
#[derive(Debug)]
pub(super) struct Routes;

impl Reader for Routes {
    fn read(&mut self, datagram: &[u8]) -> Vec<Notice> {
        let mut notices: Vec<Notice> = split(datagram)
            .into_iter()
            .filter_map(|(kind, bytes)| match kind {
                RTM_NEWROUTE | RTM_DELROUTE => route(bytes),
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
