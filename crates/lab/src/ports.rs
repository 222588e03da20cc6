//! Waits until the ports of a bridge forward: on the kernel's notices, never on a clock alone.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use byway_agent::edge::netlink::Netlink;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{BridgePortState, InfoBridgePort, InfoPortData, LinkAttribute, LinkInfo, LinkMessage},
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long ports may take: some milliseconds in fact, up to a second if the kernel puts off its work.
const WAIT: Duration = Duration::from_secs(10);
/// The group of notices about links (`RTNLGRP_LINK`).
const LINK_GROUP: u32 = 1;

/// Waits until `ports` ports forward in the network namespace of this thread.
pub(crate) fn await_forwarding(ports: usize) -> Result<()> {
    let deadline = Instant::now() + WAIT;
    let mut notices = Socket::new(NETLINK_ROUTE).context("open a socket for notices")?;
    notices.bind_auto()?;
    notices.add_membership(LINK_GROUP).context("listen to notices about links")?;
    notices.set_non_blocking(true)?;
    let mut netlink = Netlink::open()?;
    loop {
        let forwarding = count_forwarding(&mut netlink)?;
        if forwarding >= ports {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let mut polled = [PollFd::new(notices.as_fd(), PollFlags::POLLIN)];
        if poll(&mut polled, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))? == 0 {
            bail!("{forwarding} of {ports} ports forward after {} s", WAIT.as_secs());
        }
        // What a notice says is of no use, not even that some were lost: the next dump says it all.
        while notices.recv_from_full().is_ok() {}
    }
}

fn count_forwarding(netlink: &mut Netlink) -> Result<usize> {
    let links =
        netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default())).context("list the links")?;
    Ok(links
        .iter()
        .filter(|link| matches!(link, RouteNetlinkMessage::NewLink(link) if is_forwarding(link)))
        .count())
}

fn is_forwarding(link: &LinkMessage) -> bool {
    let details = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(details) => Some(details),
        _ => None,
    });
    details.flatten().any(|detail| match detail {
        LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
            port.contains(&InfoBridgePort::State(BridgePortState::Forwarding))
        }
        _ => false,
    })
}
