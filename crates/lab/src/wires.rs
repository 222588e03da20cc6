//! The links, addresses and routes of a lab as netlink requests: values first, then one batch per namespace.
//!
//! Interfaces get their numbers from us, so that one batch can make a bridge, put a port on it and give it
//! an address. The two ends of a wire never have the same number: the kernel takes such a pair for one device
//! and then tells about its carrier up to a second late.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result, bail};
use byway_agent::edge::netlink::{Netlink, Refusal, Request};
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};

/// The number of the loopback interface in every namespace.
pub(crate) const LOOPBACK: u32 = 1;
/// The number of the first interface that a node has on a wire: `eth0`.
pub(crate) const ETH0: u32 = 2;
/// The number of a host's bridge.
pub(crate) const HOST_BRIDGE: u32 = 3;
/// The number of the first container's wire in its host.
pub(crate) const HOST_PORTS: u32 = 10;
/// The number of the first segment's bridge in the switch.
pub(crate) const SWITCH_BRIDGES: u32 = 2;
/// The number of the first port in the switch.
pub(crate) const SWITCH_PORTS: u32 = 1000;

/// One end of a wire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) name: &'a str,
    pub(crate) index: u32,
}

/// What one namespace is to be told, in order, with the words for each request.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    requests: Vec<Request>,
    words: Vec<String>,
}

impl Batch {
    /// Takes an interface up.
    pub(crate) fn up(&mut self, index: u32) {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.push(RouteNetlinkMessage::SetLink(link), 0, format!("take interface {index} up"));
    }

    /// Makes a bridge, up, without spanning tree (the kernel's default).
    pub(crate) fn bridge(&mut self, end: End<'_>) {
        let mut link = link_that_is_up(end);
        link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.create(RouteNetlinkMessage::NewLink(link), format!("make bridge {}", end.name));
    }

    /// Makes a wire: a port of `bridge` here, up, and the far end in another namespace, down. (The kernel
    /// refuses to make the far end up: at that moment it has no near end yet.)
    pub(crate) fn wire(&mut self, near: End<'_>, bridge: u32, far: End<'_>, far_namespace: BorrowedFd<'_>) {
        let mut peer = LinkMessage::default();
        peer.header.index = far.index;
        peer.attributes.push(LinkAttribute::IfName(far.name.to_owned()));
        peer.attributes.push(LinkAttribute::NetNsFd(far_namespace.as_raw_fd()));
        let mut link = link_that_is_up(near);
        link.attributes.push(LinkAttribute::Controller(bridge));
        link.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.create(RouteNetlinkMessage::NewLink(link), format!("make the wire {}", near.name));
    }

    /// Gives an interface an address, usable at once (no duplicate address detection).
    pub(crate) fn address(&mut self, index: u32, address: IpNet) {
        let mut message = AddressMessage::default();
        message.header.family = family(address.addr());
        message.header.prefix_len = address.prefix_len();
        message.header.index = index;
        if let (IpAddr::V4(_), IpAddr::V4(broadcast)) = (address.addr(), address.broadcast()) {
            message.attributes.push(AddressAttribute::Broadcast(broadcast));
        } else {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        message.attributes.push(AddressAttribute::Local(address.addr()));
        message.attributes.push(AddressAttribute::Address(address.addr()));
        self.create(RouteNetlinkMessage::NewAddress(message), format!("give interface {index} {address}"));
    }

    /// Sends everything that has no better way through `gateway`.
    pub(crate) fn default_route(&mut self, gateway: IpAddr) {
        let mut route = RouteMessage::default();
        route.header.address_family = family(gateway);
        route.header.table = RouteHeader::RT_TABLE_MAIN;
        route.header.protocol = RouteProtocol::Boot;
        route.header.scope = RouteScope::Universe;
        route.header.kind = RouteType::Unicast;
        route.attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
        self.create(RouteNetlinkMessage::NewRoute(route), format!("put the default route via {gateway}"));
    }

    /// Tells it all to the namespace of this thread; every refusal is an error.
    pub(crate) fn send(self) -> Result<()> {
        let mut netlink = Netlink::open()?;
        let refusals = netlink.batch(&self.requests).context("talk to the kernel")?;
        let Some(Refusal { nth, cause }) = refusals.into_iter().next() else { return Ok(()) };
        let what = self.words.get(nth).map_or("a request", String::as_str);
        bail!(anyhow::Error::new(cause).context(what.to_owned()))
    }

    fn create(&mut self, message: RouteNetlinkMessage, words: String) {
        self.push(message, NLM_F_CREATE | NLM_F_EXCL, words);
    }

    fn push(&mut self, message: RouteNetlinkMessage, flags: u16, words: String) {
        self.requests.push(Request { message, flags });
        self.words.push(words);
    }
}

fn link_that_is_up(end: End<'_>) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = end.index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes.push(LinkAttribute::IfName(end.name.to_owned()));
    link
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
