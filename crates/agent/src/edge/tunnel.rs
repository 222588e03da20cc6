//! Our tunnels in the kernel: reads what their devices are and what they were told, makes them and tells them.
//!
//! Which attribute means what is in `ip-link(8)` (vxlan), `bridge(8)` (fdb) and `linux/neighbour.h`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use byway_fabric::observed::Link;
use byway_fabric::plan::{Making, Step};
use byway_fabric::tunnel::{DUMMY, Entry, Mac, Tunnel, Underlay};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{Netlink, NetlinkError, Refusal, Request};

/// What our devices were told: of those that are there.
///
/// # Errors
/// When a dump did not arrive whole.
pub fn entries(
    netlink: &mut Netlink,
    links: &BTreeMap<u32, Link>,
) -> Result<BTreeMap<Underlay, BTreeSet<Entry>>, NetlinkError> {
    let mut all = BTreeMap::new();
    for (index, link) in links.iter().filter(|(_, link)| link.tunnel.is_some()) {
        let Some(underlay) = Underlay::named(&link.name) else { continue };
        let mut entries = BTreeSet::new();
        for family in [AddressFamily::Bridge, AddressFamily::Inet, AddressFamily::Inet6] {
            entries.extend(entries_of(netlink, *index, family)?);
        }
        all.insert(underlay, entries);
    }
    Ok(all)
}

fn entries_of(netlink: &mut Netlink, index: u32, family: AddressFamily) -> Result<Vec<Entry>, NetlinkError> {
    let mut request = NeighbourMessage::default();
    request.header.family = family;
    request.attributes.push(NeighbourAttribute::IfIndex(index));
    let listed = netlink.dump(&RouteNetlinkMessage::GetNeighbour(request))?;
    let of_device = listed.iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewNeighbour(message) if message.header.ifindex == index => entry(message),
        _ => None,
    });
    Ok(of_device.collect())
}

/// An entry that somebody put: those that the kernel makes by itself are not permanent, or lead nowhere.
fn entry(message: &NeighbourMessage) -> Option<Entry> {
    let (mut mac, mut to) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(&bytes[..]).ok().map(Mac);
            }
            NeighbourAttribute::Destination(address) => to = ip(address),
            _ => {}
        }
    }
    let is_put = u16::from(message.header.state) & u16::from(NeighbourState::Permanent) != 0;
    let (mac, to) = (mac.filter(|_| is_put)?, to?);
    Some(match message.header.family {
        AddressFamily::Bridge => Entry::Forward { mac, to },
        _ => Entry::Neighbour { address: to, mac },
    })
}

/// In a bridge's table the address has no family of its own: its length tells.
fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(v4) => Some((*v4).into()),
        NeighbourAddress::Inet6(v6) => Some((*v6).into()),
        NeighbourAddress::Other(bytes) => {
            let v4 = <[u8; 4]>::try_from(&bytes[..]).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(&bytes[..]).map(IpAddr::from)).ok()
        }
        _ => None,
    }
}

/// What a link is as a tunnel, if it has the name of one of ours and is one.
pub(super) fn tunnel(name: &str, message: &LinkMessage) -> Option<Tunnel> {
    Underlay::named(name)?;
    let mut tunnel = Tunnel { id: 0, port: 0, local: None, learning: false, mac: Mac::default() };
    let mut is_one = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => {
                tunnel.mac = <[u8; 6]>::try_from(&bytes[..]).map(Mac).unwrap_or_default();
            }
            LinkAttribute::LinkInfo(parts) => {
                is_one = parts.iter().any(|part| matches!(part, LinkInfo::Kind(InfoKind::Vxlan)));
                let data = parts.iter().filter_map(|part| match part {
                    LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
                    _ => None,
                });
                data.flatten().for_each(|data| note(data, &mut tunnel));
            }
            _ => {}
        }
    }
    is_one.then_some(tunnel)
}

fn note(data: &InfoVxlan, tunnel: &mut Tunnel) {
    match data {
        InfoVxlan::Id(id) => tunnel.id = *id,
        InfoVxlan::Port(port) => tunnel.port = *port,
        InfoVxlan::Local(local) => tunnel.local = Some((*local).into()),
        InfoVxlan::Local6(local) => tunnel.local = Some((*local).into()),
        InfoVxlan::Learning(learning) => tunnel.learning = *learning,
        _ => {}
    }
}

/// Does the steps about tunnels among `steps` in their order, and returns the refusals with the words of their steps,
/// one for each step.
///
/// # Errors
/// When the conversation with the kernel fails.
pub fn apply(netlink: &mut Netlink, steps: &[Step]) -> Result<Vec<(String, Refusal)>, NetlinkError> {
    let asked: Vec<(usize, Request)> = steps
        .iter()
        .enumerate()
        .flat_map(|(nth, step)| requests(step).into_iter().map(move |request| (nth, request)))
        .collect();
    let all: Vec<Request> = asked.iter().map(|(_, request)| request.clone()).collect();
    let refusals = netlink.batch(&all)?;
    let mut named: Vec<(usize, String, Refusal)> = refusals
        .into_iter()
        .filter(|refusal| !is_gone(refusal, &all))
        .filter_map(|refusal| {
            let (nth, _) = asked.get(refusal.nth)?;
            Some((*nth, steps.get(*nth)?.what(), refusal))
        })
        .collect();
    named.dedup_by_key(|(nth, ..)| *nth);
    Ok(named.into_iter().map(|(_, what, refusal)| (what, refusal)).collect())
}

/// Whether what was to go has gone already.
fn is_gone(refusal: &Refusal, asked: &[Request]) -> bool {
    let goes = asked.get(refusal.nth).is_some_and(|request| {
        matches!(request.message, RouteNetlinkMessage::DelNeighbour(_) | RouteNetlinkMessage::DelLink(_))
    });
    let errors = [libc::ENOENT, libc::ENODEV, libc::ESRCH].map(Some);
    goes && errors.contains(&refusal.cause.raw_os_error())
}

fn requests(step: &Step) -> Vec<Request> {
    match step {
        Step::PutTunnel { underlay, tunnel, mtu, making, .. } => {
            let first = match making {
                Making::New => vec![make(*underlay, tunnel, *mtu)],
                Making::Anew => vec![unmake(*underlay), make(*underlay, tunnel, *mtu)],
                Making::Mend => Vec::new(),
            };
            let rest = [without_address(*underlay), mend(*underlay, *mtu), dummy(*underlay)];
            first.into_iter().chain(rest).collect()
        }
        Step::DelTunnel { underlay, .. } => vec![unmake(*underlay)],
        Step::PutEntry { underlay, entry, .. } => {
            let message = RouteNetlinkMessage::NewNeighbour(message(*underlay, entry));
            vec![Request { message, flags: NLM_F_CREATE | NLM_F_REPLACE }]
        }
        Step::DelEntry { underlay, entry, .. } => {
            let message = RouteNetlinkMessage::DelNeighbour(message(*underlay, entry));
            vec![Request { message, flags: 0 }]
        }
        _ => Vec::new(),
    }
}

/// Makes a device that floods nothing (there is no remote) and learns nothing. The outer packets may be fragmented
/// (`df` is not set): where the way is narrower than this host's own link, they get through all the same.
fn make(underlay: Underlay, tunnel: &Tunnel, mtu: u32) -> Request {
    let mut data = vec![InfoVxlan::Id(tunnel.id)];
    data.extend(tunnel.local.map(|local| match local {
        IpAddr::V4(v4) => InfoVxlan::Local(v4),
        IpAddr::V6(v6) => InfoVxlan::Local6(v6),
    }));
    data.extend([InfoVxlan::Learning(tunnel.learning), InfoVxlan::Port(tunnel.port)]);
    let mut link = LinkMessage::default();
    link.header.index = underlay.index();
    link.attributes = vec![
        LinkAttribute::IfName(underlay.device().to_owned()),
        LinkAttribute::Address(tunnel.mac.0.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))]),
    ];
    Request { message: RouteNetlinkMessage::NewLink(link), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// Keeps a device from getting an IPv6 address of its own, which the kernel would ask the others about: nobody is there to
/// be asked, and nothing is sent from it. In one request with the switching on it would come too late (`do_setlink`).
fn without_address(underlay: Underlay) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = underlay.index();
    let no_address = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    link.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![no_address])])];
    Request { message: RouteNetlinkMessage::SetLink(link), flags: 0 }
}

/// Gives a device the one address that the kernel wants it to have.
fn dummy(underlay: Underlay) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.scope = AddressScope::Link;
    message.header.index = underlay.index();
    message.attributes = vec![AddressAttribute::Local(DUMMY), AddressAttribute::Address(DUMMY)];
    Request { message: RouteNetlinkMessage::NewAddress(message), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// Gives a device its size and switches it on.
fn mend(underlay: Underlay, mtu: u32) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = underlay.index();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes.push(LinkAttribute::Mtu(mtu));
    Request { message: RouteNetlinkMessage::SetLink(link), flags: 0 }
}

fn unmake(underlay: Underlay) -> Request {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(underlay.device().to_owned()));
    Request { message: RouteNetlinkMessage::DelLink(link), flags: 0 }
}

fn message(underlay: Underlay, entry: &Entry) -> NeighbourMessage {
    let (family, flags, address, mac) = match *entry {
        Entry::Forward { mac, to } => (AddressFamily::Bridge, NeighbourFlags::Own, to, mac),
        Entry::Neighbour { address, mac } => (family(address), NeighbourFlags::empty(), address, mac),
    };
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = underlay.index();
    message.header.state = NeighbourState::Permanent;
    message.header.flags = flags;
    message.attributes = vec![
        NeighbourAttribute::Destination(address.into()),
        NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
    ];
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
