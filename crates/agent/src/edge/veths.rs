//! Finds the host's end of a container's cable without entering the container: the kernel says of a veth which
//! link of which namespace is its other end, and lists the links of that namespace (`IFLA_LINK_NETNSID`,
//! `IFLA_TARGET_NETNSID` of `rtnetlink(7)`).

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};

use super::netlink::{Netlink, NetlinkError};

/// The names of the host's ends, by the hardware address of the other end as Docker writes it.
///
/// # Errors
/// When the host's own links could not be listed whole. A namespace that is going away is passed over.
pub fn by_other_end(netlink: &mut Netlink) -> Result<BTreeMap<String, String>, NetlinkError> {
    let ends = host_ends(netlink)?;
    let namespaces: BTreeSet<i32> = ends.iter().map(|end| end.namespace).collect();
    let mut names = BTreeMap::new();
    for namespace in namespaces {
        let others = list(netlink, Some(namespace)).unwrap_or_default();
        for end in ends.iter().filter(|end| end.namespace == namespace) {
            let other = others.iter().find(|other| other.header.index == end.other);
            names.extend(other.and_then(hardware_address).map(|mac| (mac, end.name.clone())));
        }
    }
    Ok(names)
}

/// A link of this namespace whose other end is in another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Its name.
    pub name: String,
    /// The index of the other end, in its own namespace.
    pub other: u32,
    /// The number by which this namespace knows that one.
    pub namespace: i32,
    /// The index of the bridge that it is plugged into.
    pub bridge: Option<u32>,
}

/// The links of this namespace whose other end is in another one.
///
/// # Errors
/// When they could not be listed whole.
pub fn host_ends(netlink: &mut Netlink) -> Result<Vec<End>, NetlinkError> {
    Ok(list(netlink, None)?.iter().filter_map(end).collect())
}

fn end(message: &LinkMessage) -> Option<End> {
    let (mut name, mut other, mut namespace, mut bridge) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Link(index) => other = Some(*index),
            LinkAttribute::LinkNetNsId(id) => namespace = Some(*id),
            LinkAttribute::Controller(index) => bridge = Some(*index),
            _ => {}
        }
    }
    Some(End { name: name?, other: other?, namespace: namespace?, bridge })
}

fn list(netlink: &mut Netlink, namespace: Option<i32>) -> Result<Vec<LinkMessage>, NetlinkError> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    request.attributes.extend(namespace.map(LinkAttribute::IfNetnsId));
    let entries = netlink.dump(&RouteNetlinkMessage::GetLink(request))?;
    let links = entries.into_iter().filter_map(|entry| match entry {
        RouteNetlinkMessage::NewLink(message) => Some(message),
        _ => None,
    });
    Ok(links.collect())
}

/// A link's hardware address, as Docker writes it.
pub(super) fn hardware_address(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(octets) => {
            Some(octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":"))
        }
        _ => None,
    })
}
