//! The cables of this host's containers: which interface inside of which namespace is the other end of which veth,
//! with which addresses, plugged into which bridge.
//!
//! It is found by the kernel's own words only, so containers of any making are seen alike; names come from Docker
//! where it knows them, and else from the container's own host name.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use byway_fabric::docker::Endpoint;
use byway_fabric::observed::Link;
use byway_fabric::trace::Cable;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::netlink::{Netlink, NetlinkError};
use super::netns::{self, Namespace, NamespaceError};
use super::{look, veths};

/// A cable with the namespace that its other end is in.
#[derive(Debug)]
pub struct Plugged {
    /// The cable.
    pub cable: Cable,
    /// The namespace of the container.
    pub namespace: OwnedFd,
    /// Its number.
    pub inode: u64,
}

/// Why the cables cannot be seen.
#[derive(Debug, thiserror::Error)]
pub enum CablesError {
    /// The host's own links cannot be listed.
    #[error("list this host's interfaces")]
    Links(#[from] NetlinkError),
    /// Other namespaces cannot be looked at.
    #[error(transparent)]
    Namespaces(#[from] NamespaceError),
}

/// All cables between this thread's namespace and others, by the name of the host's end. A namespace that goes away
/// meanwhile is passed over.
///
/// # Errors
/// When this host cannot be listed, or this process may not join namespaces.
pub fn list(endpoints: &[Endpoint]) -> Result<Vec<Plugged>, CablesError> {
    let mut netlink = Netlink::open()?;
    let ends = veths::host_ends(&mut netlink)?;
    let ours = look::links(&mut netlink)?;
    let mut plugged = Vec::new();
    for namespace in netns::others()?.into_values() {
        let Some(id) = id_of(&mut netlink, &namespace) else { continue };
        let mut inner = None;
        for end in ends.iter().filter(|end| end.namespace == id) {
            if inner.is_none() {
                inner = Some(Inner::of(&namespace)?);
            }
            let Some(other) = inner.as_ref().and_then(|inner| inner.links.get(&end.other)) else { continue };
            let mac = inner.as_ref().and_then(|inner| inner.macs.get(&end.other)).cloned().unwrap_or_default();
            let cable = Cable {
                container: name(&namespace, &mac, endpoints),
                interface: other.name.clone(),
                veth: end.name.clone(),
                bridge: end.bridge.and_then(|index| Some(ours.get(&index)?.name.clone())),
                mac,
                addresses: other.addresses.iter().map(ipnet::IpNet::addr).collect(),
                inode: namespace.inode,
            };
            let Ok(file) = namespace.file.try_clone() else { continue };
            plugged.push(Plugged { cable, namespace: file, inode: namespace.inode });
        }
    }
    plugged.sort_by(|a, b| a.cable.veth.cmp(&b.cable.veth));
    Ok(plugged)
}

/// What is inside of a namespace.
struct Inner {
    links: BTreeMap<u32, Link>,
    macs: BTreeMap<u32, String>,
}

impl Inner {
    /// Empty where the namespace cannot be listed: it is going away.
    fn of(namespace: &Namespace) -> Result<Self, NamespaceError> {
        netns::inside(namespace.file.as_fd(), || {
            let look = || -> Result<Self, NetlinkError> {
                let mut netlink = Netlink::open()?;
                Ok(Self { links: look::links(&mut netlink)?, macs: macs(&mut netlink)? })
            };
            look().unwrap_or(Self { links: BTreeMap::new(), macs: BTreeMap::new() })
        })
    }
}

fn macs(netlink: &mut Netlink) -> Result<BTreeMap<u32, String>, NetlinkError> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let entries = netlink.dump(&RouteNetlinkMessage::GetLink(request))?;
    let links = entries.iter().filter_map(|entry| match entry {
        RouteNetlinkMessage::NewLink(link) => Some((link.header.index, veths::hardware_address(link)?)),
        _ => None,
    });
    Ok(links.collect())
}

/// The number by which this thread's namespace knows another one; none if it has no link into it.
fn id_of(netlink: &mut Netlink, namespace: &Namespace) -> Option<i32> {
    let mut question = NsidMessage::default();
    let file = u32::try_from(namespace.file.as_raw_fd()).ok()?;
    question.attributes.push(NsidAttribute::Fd(file));
    let Ok(RouteNetlinkMessage::NewNsId(answer)) = netlink.ask_route(&RouteNetlinkMessage::GetNsId(question)) else {
        return None;
    };
    answer.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) if *id >= 0 => Some(*id),
        _ => None,
    })
}

/// Docker's name, or that for `ip netns`, or the container's own host name.
fn name(namespace: &Namespace, mac: &str, endpoints: &[Endpoint]) -> String {
    let docker = endpoints.iter().find(|endpoint| !mac.is_empty() && endpoint.mac == mac);
    let docker = docker.map(|endpoint| endpoint.container.clone());
    let host_name = || netns::host_name_of(namespace.pid?).ok();
    docker.or_else(|| namespace.name.clone()).or_else(host_name).unwrap_or_else(|| format!("netns-{}", namespace.inode))
}
