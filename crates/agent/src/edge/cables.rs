//! The cables of this host's containers: which interface inside of which namespace is the other end of which veth,
//! with which addresses, plugged into which bridge.
//!
//! It is found by the kernel's own words only, and no container is entered, so containers of any making are seen alike;
//! names come from Docker where it knows them, and else from `ip netns` or the container's own host name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use byway_fabric::docker::Endpoint;
use byway_fabric::trace::Cable;
use netlink_packet_core::DefaultNla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::netlink::{Netlink, NetlinkError};
use super::netns::{self, Namespace, NamespaceError};
use super::{look, veths};

/// `IFA_TARGET_NETNSID` of `linux/if_addr.h`: whose addresses are asked for.
const TARGET_NAMESPACE: u16 = 10;

/// A cable with the namespace that its other end is in.
#[derive(Debug)]
pub struct Plugged {
    /// The cable.
    pub cable: Cable,
    /// The namespace of the container; none where no file of it was found that we may open.
    pub namespace: Option<OwnedFd>,
}

/// Why the cables cannot be seen.
#[derive(Debug, thiserror::Error)]
pub enum CablesError {
    /// The host's own links cannot be listed.
    #[error("list this host's interfaces")]
    Links(#[from] NetlinkError),
    /// Other namespaces cannot be looked for.
    #[error(transparent)]
    Namespaces(#[from] NamespaceError),
}

/// All cables between this thread's namespace and others, by the name of the host's end. A namespace that goes away
/// meanwhile is passed over.
///
/// # Errors
/// When this host cannot be listed.
pub fn list(endpoints: &[Endpoint]) -> Result<Vec<Plugged>, CablesError> {
    let mut netlink = Netlink::open()?;
    let ends = veths::host_ends(&mut netlink)?;
    let ours = look::links(&mut netlink)?;
    let mut files: BTreeMap<i32, Namespace> = BTreeMap::new();
    for namespace in netns::others()?.into_values() {
        files.extend(id_of(&mut netlink, &namespace).map(|id| (id, namespace)));
    }
    let mut insides: BTreeMap<i32, Inside> = BTreeMap::new();
    let mut plugged = Vec::new();
    for end in ends {
        let inside = insides.entry(end.namespace).or_insert_with(|| Inside::of(&mut netlink, end.namespace));
        let Some(other) = inside.links.get(&end.other) else { continue };
        let file = files.get(&end.namespace);
        let cable = Cable {
            container: name(end.namespace, file, &other.mac, endpoints),
            interface: other.name.clone(),
            bridge: end.bridge.and_then(|index| Some(ours.get(&index)?.name.clone())),
            veth: end.name,
            mac: other.mac.clone(),
            addresses: other.addresses.clone(),
            inode: file.map(|file| file.inode),
        };
        plugged.push(Plugged { cable, namespace: file.and_then(|file| file.file.try_clone().ok()) });
    }
    plugged.sort_by(|a, b| a.cable.veth.cmp(&b.cable.veth));
    Ok(plugged)
}

/// What is inside of a namespace, by the index of each link.
#[derive(Debug, Default)]
struct Inside {
    links: BTreeMap<u32, Link>,
}

#[derive(Debug, Default)]
struct Link {
    name: String,
    mac: String,
    addresses: Vec<IpAddr>,
}

impl Inside {
    /// Empty where the namespace cannot be listed: it is going away.
    fn of(netlink: &mut Netlink, namespace: i32) -> Self {
        let mut inside = Self::default();
        for message in veths::list(netlink, Some(namespace)).unwrap_or_default() {
            let mac = veths::hardware_address(&message).unwrap_or_default();
            let link = Link { name: link_name(&message).unwrap_or_default(), mac, addresses: Vec::new() };
            inside.links.insert(message.header.index, link);
        }
        let mut question = AddressMessage::default();
        let whose = DefaultNla::new(TARGET_NAMESPACE, namespace.to_ne_bytes().to_vec());
        question.attributes.push(AddressAttribute::Other(whose));
        for entry in netlink.dump(&RouteNetlinkMessage::GetAddress(question)).unwrap_or_default() {
            let RouteNetlinkMessage::NewAddress(message) = entry else { continue };
            if let (Some(link), Some(address)) =
                (inside.links.get_mut(&message.header.index), look::address(&message))
            {
                link.addresses.push(address.addr());
            }
        }
        inside
    }
}

fn link_name(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

/// The number by which this thread's namespace knows another one; none if it has no link into it.
fn id_of(netlink: &mut Netlink, namespace: &Namespace) -> Option<i32> {
    let mut question = NsidMessage::default();
    let file = u32::try_from(namespace.file.as_raw_fd()).ok()?;
    question.attributes.push(NsidAttribute::Fd(file));
    let Ok(RouteNetlinkMessage::NewNsId(answer)) = netlink.ask_route(&RouteNetlinkMessage::GetNsId(question))
    else {
        return None;
    };
    answer.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) if *id >= 0 => Some(*id),
        _ => None,
    })
}

/// Docker's name, or that for `ip netns`, or the container's own host name.
fn name(id: i32, file: Option<&Namespace>, mac: &str, endpoints: &[Endpoint]) -> String {
    let docker = endpoints.iter().find(|endpoint| !mac.is_empty() && endpoint.mac == mac);
    let docker = docker.map(|endpoint| endpoint.container.clone());
    let given = || file.and_then(|file| file.name.clone());
    let own = || netns::host_name_of(file?.pid?).ok();
    docker.or_else(given).or_else(own).unwrap_or_else(|| format!("netns-{id}"))
}
