//! Asks the kernel of this thread's network namespace where it would send a packet that it has not seen: route, next hop,
//! interface, who listens.
//!
//! The answer is the kernel's own lookup with its policy rules (`ip route get … iif …`), so it is right where a reader of
//! routing tables would have to guess.

use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;

use byway_fabric::evidence::{
    LinkState, Listener, NeighbourState, NetstatChange, NoRoute, RouteAnswer, RouteQuestion, Way, netstat,
};
use byway_fabric::observed::RouteKind;
use netlink_packet_core::NetlinkHeader;
use netlink_packet_core::{NetlinkDeserializable as _, NetlinkSerializable as _};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::NeighbourState as Kernels;
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::look;
use super::netlink::{Netlink, NetlinkError};

/// What is read of a file that lists sockets: 150 bytes each, for a hundred thousand of them.
const LIST_BYTES_MAX: u64 = 16 << 20;

/// Where the kernel would send a packet.
///
/// # Errors
/// When the conversation with the kernel fails. That it would send it nowhere is an answer.
pub fn route(netlink: &mut Netlink, question: &RouteQuestion) -> Result<RouteAnswer, NetlinkError> {
    let iif = question.iif.as_deref().map(|name| index(netlink, name)).transpose()?;
    let request = request(question, iif, RouteFlags::empty());
    let message = match ask(netlink, RouteNetlinkMessage::GetRoute(request))? {
        Ok(RouteNetlinkMessage::NewRoute(message)) => message,
        Ok(other) => return Err(NetlinkError::Decode(format!("{other:?} as the answer about a route"))),
        Err(refusal) => {
            let errno = refusal.raw_os_error().unwrap_or(0);
            return Ok(RouteAnswer::None { why: why(netlink, question, errno)?, errno });
        }
    };
    let mut way = way(netlink, &message)?;
    // The route itself has what the answer about a packet has not. Without one (IPv6 has it in the answer) that is all.
    let whole = self::request(question, iif, RouteFlags::FibMatch);
    if let Ok(RouteNetlinkMessage::NewRoute(route)) = ask(netlink, RouteNetlinkMessage::GetRoute(whole))? {
        way.protocol = protocol(&route);
        way.metric = metric(&route).or(way.metric);
    }
    // IPv6 does not look at forwarding here, and IPv4 does.
    if let (IpAddr::V6(_), Some(iif), false) = (question.destination, &question.iif, way.is_local)
        && forwards6(iif) == Some(false)
    {
        return Ok(RouteAnswer::None { why: NoRoute::NotForwarding, errno: 0 });
    }
    Ok(RouteAnswer::Way(way))
}

fn request(question: &RouteQuestion, iif: Option<u32>, flags: RouteFlags) -> RouteMessage {
    let mut request = RouteMessage::default();
    let bits = if question.destination.is_ipv4() { 32 } else { 128 };
    request.header.address_family = family(question.destination);
    request.header.destination_prefix_length = bits;
    // IPv6 tells the table unasked, and refuses to be asked (`inet6_rtm_valid_getroute_req`).
    let table = if question.destination.is_ipv4() { RouteFlags::LookupTable } else { RouteFlags::empty() };
    request.header.flags = flags | table;
    request.attributes.push(RouteAttribute::Destination(question.destination.into()));
    if let Some(source) = question.source {
        request.header.source_prefix_length = bits;
        request.attributes.push(RouteAttribute::Source(source.into()));
    }
    request.attributes.extend(iif.map(RouteAttribute::Iif));
    request.attributes.extend(question.mark.map(RouteAttribute::Mark));
    request.attributes.extend(question.protocol.map(RouteAttribute::IpProto));
    if let Some((from, to)) = question.ports {
        request.attributes.extend([RouteAttribute::Sport(from), RouteAttribute::Dport(to)]);
    }
    request
}

fn way(netlink: &mut Netlink, message: &RouteMessage) -> Result<Way, NetlinkError> {
    let mut way = Way {
        via: None,
        dev: None,
        source: None,
        table: message.header.table.into(),
        metric: metric(message),
        is_local: message.header.kind == RouteType::Local,
        protocol: protocol(message),
        mtu: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => way.via = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => way.via = Some((*address).into()),
            RouteAttribute::Via(RouteVia::Inet6(address)) => way.via = Some((*address).into()),
            RouteAttribute::Oif(index) => way.dev = name(netlink, *index)?,
            RouteAttribute::PrefSource(address) => way.source = ip(address),
            RouteAttribute::Table(table) => way.table = *table,
            RouteAttribute::Metrics(metrics) => {
                way.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Ok(way)
}

fn metric(message: &RouteMessage) -> Option<u32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    })
}

fn protocol(message: &RouteMessage) -> u8 {
    RouteProtocol::into(message.header.protocol)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// What an error number means here. One number has several meanings (`net/ipv4/route.c`, `fib_props`).
fn why(netlink: &mut Netlink, question: &RouteQuestion, errno: i32) -> Result<NoRoute, NetlinkError> {
    let not_forwarding = || {
        let iif = question.iif.as_ref().filter(|_| question.destination.is_ipv4());
        iif.is_some_and(|iif| forwards4(iif) == Some(false))
    };
    Ok(match errno {
        libc::ENETUNREACH => NoRoute::NoRoute,
        libc::EHOSTUNREACH if not_forwarding() => NoRoute::NotForwarding,
        libc::EHOSTUNREACH => NoRoute::Unreachable,
        libc::EACCES => NoRoute::Prohibit,
        // `martian_source` and `ip_route_input` say either, as the release may be.
        libc::EXDEV => NoRoute::WrongSource,
        libc::EINVAL => match kind(netlink, question.destination)? {
            Some(RouteKind::Blackhole) => NoRoute::Blackhole,
            _ if question.iif.is_some() => NoRoute::WrongSource,
            _ => NoRoute::Other,
        },
        _ => NoRoute::Other,
    })
}

/// What the best route of table main does, for where the kernel's number does not tell.
fn kind(netlink: &mut Netlink, to: IpAddr) -> Result<Option<RouteKind>, NetlinkError> {
    let routes = look::routes(netlink)?;
    let fits = routes.into_iter().filter(|route| route.to.contains(&to));
    let best = fits.min_by_key(|route| (std::cmp::Reverse(route.to.prefix_len()), route.metric));
    Ok(best.map(|route| route.kind))
}

/// What is known of a next hop on an interface; none if nobody has asked for it yet.
///
/// # Errors
/// When the conversation with the kernel fails, or there is no such interface.
pub fn neighbour(
    netlink: &mut Netlink,
    dev: &str,
    address: IpAddr,
) -> Result<Option<NeighbourState>, NetlinkError> {
    let mut request = NeighbourMessage::default();
    request.header.family = family(address);
    request.header.ifindex = index(netlink, dev)?;
    request.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    let message = match ask(netlink, RouteNetlinkMessage::GetNeighbour(request))? {
        Ok(RouteNetlinkMessage::NewNeighbour(message)) => message,
        Ok(other) => return Err(NetlinkError::Decode(format!("{other:?} as the answer about a neighbour"))),
        Err(refusal) if refusal.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(refusal) => return Err(NetlinkError::Receive(refusal)),
    };
    let lladdr = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(octets) => {
            Some(octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":"))
        }
        _ => None,
    });
    Ok(Some(NeighbourState { state: state(message.header.state), lladdr }))
}

/// The word of `ip neigh`.
fn state(state: Kernels) -> String {
    match state {
        Kernels::Incomplete => "INCOMPLETE",
        Kernels::Reachable => "REACHABLE",
        Kernels::Stale => "STALE",
        Kernels::Delay => "DELAY",
        Kernels::Probe => "PROBE",
        Kernels::Failed => "FAILED",
        Kernels::Noarp => "NOARP",
        Kernels::Permanent => "PERMANENT",
        Kernels::None => "NONE",
        _ => return format!("{state:?}"),
    }
    .to_owned()
}

/// An interface, with the settings that decide about packets; none if there is none of that name.
///
/// # Errors
/// When the conversation with the kernel fails.
pub fn link(netlink: &mut Netlink, name: &str) -> Result<Option<LinkState>, NetlinkError> {
    let Some(message) = get_link(netlink, Link::Name(name))? else { return Ok(None) };
    let flags = message.header.flags;
    let mut link = LinkState {
        name: name.to_owned(),
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        mtu: 0,
        master: None,
        forwarding4: forwards4(name),
        forwarding6: forwards6(name),
        rp_filter: rp_filter(name),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.master = self::name(netlink, *index)?,
            _ => {}
        }
    }
    Ok(Some(link))
}

enum Link<'a> {
    Name(&'a str),
    Index(u32),
}

fn get_link(netlink: &mut Netlink, which: Link<'_>) -> Result<Option<LinkMessage>, NetlinkError> {
    let mut request = LinkMessage::default();
    match which {
        Link::Name(name) => request.attributes.push(LinkAttribute::IfName(name.to_owned())),
        Link::Index(index) => request.header.index = index,
    }
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match ask(netlink, RouteNetlinkMessage::GetLink(request))? {
        Ok(RouteNetlinkMessage::NewLink(message)) => Ok(Some(message)),
        Ok(other) => Err(NetlinkError::Decode(format!("{other:?} as the answer about a link"))),
        Err(refusal) if refusal.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(refusal) => Err(NetlinkError::Receive(refusal)),
    }
}

fn index(netlink: &mut Netlink, name: &str) -> Result<u32, NetlinkError> {
    let gone = || NetlinkError::Receive(io::Error::from_raw_os_error(libc::ENODEV));
    Ok(get_link(netlink, Link::Name(name))?.ok_or_else(gone)?.header.index)
}

fn name(netlink: &mut Netlink, index: u32) -> Result<Option<String>, NetlinkError> {
    let link = get_link(netlink, Link::Index(index))?;
    Ok(link.and_then(|link| {
        link.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        })
    }))
}

fn ask(
    netlink: &mut Netlink,
    message: RouteNetlinkMessage,
) -> Result<io::Result<RouteNetlinkMessage>, NetlinkError> {
    let answer = netlink.ask(|body| {
        let start = body.len();
        body.resize(start + message.buffer_len(), 0);
        message.serialize(&mut body[start..]);
        message.message_type()
    })?;
    answer
        .map(|(kind, body)| {
            let mut header = NetlinkHeader::default();
            header.message_type = kind;
            RouteNetlinkMessage::deserialize(&header, &body)
                .map_err(|error| NetlinkError::Decode(error.to_string()))
        })
        .map_or_else(|refusal| Ok(Err(refusal)), |read| read.map(Ok))
}

/// A setting of an interface (`/proc/sys/net`, of this thread's namespace).
fn setting(family: &str, interface: &str, name: &str) -> Option<u8> {
    // A name with a slash would be another file.
    if interface.contains('/') {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/sys/net/{family}/conf/{interface}/{name}")).ok()?;
    text.trim().parse().ok()
}

fn forwards4(interface: &str) -> Option<bool> {
    setting("ipv4", interface, "forwarding").map(|on| on != 0)
}

/// There is one switch for all; since Linux 6.17 an interface can have its own.
fn forwards6(interface: &str) -> Option<bool> {
    let own = setting("ipv6", interface, "force_forwarding").unwrap_or(0);
    setting("ipv6", "all", "forwarding").map(|all| all != 0 || own != 0)
}

fn rp_filter(interface: &str) -> Option<u8> {
    setting("ipv4", interface, "rp_filter").max(setting("ipv4", "all", "rp_filter"))
}

/// What the kernel has counted by now in this thread's network namespace: `TcpExt IPReversePathFilter` and all the
/// others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted(std::collections::BTreeMap<String, u64>);

impl Counted {
    /// Looks.
    ///
    /// # Errors
    /// When the kernel's list cannot be read.
    pub fn look() -> io::Result<Self> {
        let read = |name| read_list(&format!("/proc/thread-self/net/{name}"));
        Ok(Self(netstat::read(&(read("netstat")? + &read("snmp")?), &read("snmp6").unwrap_or_default())))
    }

    /// Looks again and tells what has grown.
    ///
    /// # Errors
    /// As [`Counted::look`].
    pub fn changes(&self) -> io::Result<Vec<NetstatChange>> {
        Ok(netstat::changes(&self.0, &Self::look()?.0))
    }
}

/// Who waits at a port in this thread's network namespace: TCP sockets that listen, UDP sockets that are not connected.
///
/// # Errors
/// When the kernel's lists cannot be read. A protocol that is neither has no ports, and nobody waits.
pub fn listeners(protocol: u8, port: u16) -> io::Result<Vec<Listener>> {
    let lists = match protocol {
        6 => ["tcp", "tcp6"],
        17 => ["udp", "udp6"],
        _ => return Ok(Vec::new()),
    };
    let mut found = Vec::new();
    for (nth, list) in lists.into_iter().enumerate() {
        match read_list(&format!("/proc/thread-self/net/{list}")) {
            Ok(text) => found.extend(netstat::listeners(&text).filter(|listener| listener.port == port)),
            // A kernel without IPv6.
            Err(cause) if nth == 1 && cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn read_list(path: &str) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(LIST_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
