//! A colleague who deletes a node's routes, and measures how long each was away.

use std::net::IpAddr;
use std::os::fd::{AsFd, FromRawFd as _, IntoRawFd as _};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use byway_agent::edge::netlink::{Netlink, Request};
use ipnet::IpNet;
use netlink_packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::holder::Holder;

/// `RTNLGRP_IPV4_ROUTE` and `RTNLGRP_IPV6_ROUTE`.
const GROUPS: [u32; 2] = [7, 11];
/// One read; a notice is far smaller.
const READ_BYTES: usize = 64 << 10;

/// Deletes routes of one node as a colleague would, and hears when they are back.
#[derive(Debug)]
pub struct Vandal {
    hand: Netlink,
    notices: Socket,
}

impl Vandal {
    /// Goes to a node.
    ///
    /// # Errors
    /// When there is no such node, or a socket is refused.
    pub fn in_node(holder: &Holder, node: &str) -> Result<Self> {
        let socket = || {
            holder.socket(node, libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE)
        };
        // SAFETY: the descriptor was just made for us and nobody else owns it.
        let mut notices = unsafe { Socket::from_raw_fd(socket()?.into_raw_fd()) };
        notices.bind(&SocketAddr::new(0, 0)).context("bind a netlink socket")?;
        for group in GROUPS {
            notices.add_membership(group).context("hear route notices")?;
        }
        Ok(Self { hand: Netlink::on(socket()?)?, notices })
    }

    /// Deletes the route to `to` and says how long it was away: from just before the deletion to the notice
    /// that it is back. So it is never told too short.
    ///
    /// # Errors
    /// When it cannot be deleted, or is not back within `limit`.
    pub fn delete(&mut self, to: IpNet, limit: Duration) -> Result<Duration> {
        let message = RouteNetlinkMessage::DelRoute(any_route(to));
        let begun = Instant::now();
        self.hand.one(Request { message, flags: 0 }).with_context(|| format!("delete the route to {to}"))?;
        self.back(to, begun + limit)?;
        Ok(begun.elapsed())
    }

    /// Waits until the route to `to` has gone and come back.
    ///
    /// # Errors
    /// When that has not happened by the deadline.
    pub fn back(&mut self, to: IpNet, deadline: Instant) -> Result<()> {
        let mut gone = false;
        loop {
            self.wait(deadline).with_context(|| format!("wait for the route to {to}"))?;
            let mut buffer = Vec::with_capacity(READ_BYTES);
            self.notices.recv(&mut buffer, 0).context("read a notice")?;
            match notice(&buffer, to) {
                Some(Notice::Gone) => gone = true,
                Some(Notice::There) if gone => return Ok(()),
                _ => {}
            }
        }
    }

    fn wait(&self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut polled = [PollFd::new(self.notices.as_fd(), PollFlags::POLLIN)];
        if poll(&mut polled, timeout).context("wait for a notice")? == 0 {
            bail!("nothing was heard in time");
        }
        Ok(())
    }
}

/// The request that `ip route del PREFIX` makes: of any protocol, metric and gateway.
fn any_route(to: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family =
        if to.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = to.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.scope = RouteScope::NoWhere;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::from(to.addr())));
    message
}

enum Notice {
    Gone,
    There,
}

fn notice(datagram: &[u8], to: IpNet) -> Option<Notice> {
    let length = NetlinkBuffer::new_checked(&datagram).ok()?.length() as usize;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram[..length]).ok()?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelRoute(route)) => {
            (destination(&route)? == to).then_some(Notice::Gone)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
            (destination(&route)? == to).then_some(Notice::There)
        }
        _ => None,
    }
}

fn destination(route: &RouteMessage) -> Option<IpNet> {
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    IpNet::new(address, route.header.destination_prefix_length).ok()
}
