//! What the address of a host, and the subnet of its containers, may be.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::toml_text::quoted;

/// The longest subnet of each family: two bits are left for the network, the bridge and one container at least.
pub(crate) const IPV4_LENGTH_MAX: u8 = 30;
/// See [`IPV4_LENGTH_MAX`].
pub(crate) const IPV6_LENGTH_MAX: u8 = 126;

/// One of the two kinds of addresses; everything here exists once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(super) fn length_max(self) -> u8 {
        if self == Self::V4 { IPV4_LENGTH_MAX } else { IPV6_LENGTH_MAX }
    }

    /// The key of this family in `subnet-lengths`.
    pub(super) fn key(self) -> &'static str {
        if self == Self::V4 { "ipv4" } else { "ipv6" }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::V4 { "IPv4" } else { "IPv6" })
    }
}

/// Why a text is not what it should be, and what to write instead.
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) hint: Option<String>,
}

fn refuse<T>(what: String, hint: Option<String>) -> Result<T, Refusal> {
    Err(Refusal { what, hint })
}

/// Addresses that mean something else than a host or its containers (RFC 6890 and its registries).
const SPECIAL: [(IpNet, &str); 9] = [
    (v4([0, 0, 0, 0], 8), "unspecified"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([255, 255, 255, 255], 32), "broadcast"),
    (v6(0, 0, 96), "unspecified or loopback"),
    (v6(0, 0xffff << 32, 96), "IPv4-mapped"),
    (v6(0xfe80 << 48, 0, 10), "link-local"),
    (v6(0xff00 << 48, 0, 8), "multicast"),
];

const fn v4(octets: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_octets(octets), length))
}

const fn v6(high: u64, low: u64, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(((high as u128) << 64) | low as u128), length))
}

/// Reads the underlay address of a host.
pub(super) fn address(text: &str) -> Result<IpAddr, Refusal> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return refuse(format!("{} is not an IP address", quoted(text)), address_hint(text));
    };
    if let Some(inner) = mapped(address) {
        return refuse(format!("{address} is an IPv4-mapped IPv6 address"), Some(format!("write {inner}")));
    }
    match special(&IpNet::from(address)) {
        Some(kind) => refuse(format!("{address} cannot be the address of a host: it is {kind}"), None),
        None => Ok(address),
    }
}

fn mapped(address: IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V6(address) = address { address.to_ipv4_mapped() } else { None }
}

fn address_hint(text: &str) -> Option<String> {
    let bare = text.split(['/', '%']).next().unwrap_or_default().trim();
    match bare.parse::<IpAddr>() {
        Ok(address) if text.contains('/') => Some(format!("write {address}, without the prefix length")),
        Ok(address) if text.contains('%') => Some(format!("write {address}, without the interface")),
        Ok(address) => Some(format!("write {address}, without blanks")),
        Err(_) => None,
    }
}

/// Reads the subnet of a host's containers.
pub(super) fn subnet(text: &str) -> Result<IpNet, Refusal> {
    let subnet = network(text)?;
    check_length(subnet)?;
    Ok(subnet)
}

fn check_length(subnet: IpNet) -> Result<(), Refusal> {
    let family = Family::of(subnet.addr());
    if subnet.prefix_len() > family.length_max() {
        let hint = format!("the longest {family} subnet is a /{}", family.length_max());
        return refuse(format!("{subnet} is too small for a bridge and its containers"), Some(hint));
    }
    Ok(())
}

/// Reads a prefix that subnets lie in.
pub(super) fn network(text: &str) -> Result<IpNet, Refusal> {
    let Ok(network) = text.parse::<IpNet>() else {
        return refuse(format!("{} is not a subnet", quoted(text)), Some(network_hint(text)));
    };
    if network.prefix_len() == 0 {
        return refuse(format!("{} holds every address there is", network.trunc()), None);
    }
    if network.addr() != network.network() {
        return refuse(format!("{network} has host bits: did you mean {}?", network.trunc()), None);
    }
    match special(&network) {
        Some(kind) => refuse(format!("{network} cannot be for containers: it holds {kind} addresses"), None),
        None => Ok(network),
    }
}

fn network_hint(text: &str) -> String {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let Ok(address) = address.trim().parse::<IpAddr>() else {
        return "a subnet is an address and a prefix length, as 172.41.0.0/16 or fd00:172:41::/64".into();
    };
    let (most, usual) = if address.is_ipv4() { (32, 24) } else { (128, 64) };
    if length.is_empty() {
        return format!("say how long the prefix is, as in {address}/{usual}");
    }
    format!("after the slash of {} comes a number from 0 to {most}", quoted(text))
}

/// What is special about addresses of `network`, if anything is.
fn special(network: &IpNet) -> Option<&'static str> {
    let touches = |special: &IpNet| special.contains(network) || network.contains(special);
    SPECIAL.iter().find(|(special, _)| touches(special)).map(|(_, kind)| *kind)
}
