//! What the kernel says about the way of a packet that it has not seen yet: route, next hop, interface, listeners.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A packet whose way is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteQuestion {
    /// From whom; none leaves the choice to the kernel, for a packet of this host's own.
    pub source: Option<IpAddr>,
    /// To whom.
    pub destination: IpAddr,
    /// The interface that it comes in by; none for a packet of this host's own.
    pub iif: Option<String>,
    /// The number of its protocol: rules may ask for it. The kernel takes TCP, UDP and ICMP.
    pub protocol: Option<u8>,
    /// Its ports, source and destination.
    pub ports: Option<(u16, u16)>,
    /// Its firewall mark.
    pub mark: Option<u32>,
}

/// The kernel's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum RouteAnswer {
    /// It goes this way.
    Way(Way),
    /// It does not go anywhere.
    None {
        /// Why, in words.
        why: NoRoute,
        /// The kernel's error number.
        errno: i32,
    },
}

/// The way that the kernel would send a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The next hop; none if the destination is on the link, or this host itself.
    pub via: Option<IpAddr>,
    /// The interface that it leaves by; for the host itself the one that it is delivered on.
    pub dev: Option<String>,
    /// The source address that the kernel would choose.
    pub source: Option<IpAddr>,
    /// The routing table (254 is main, 255 local).
    pub table: u32,
    /// The metric, if the kernel tells (it does for IPv6).
    pub metric: Option<u32>,
    /// Whether the packet is for this host itself (a `local` route) or goes on.
    pub is_local: bool,
    /// Who put the route (`rtm_protocol`: 2 kernel, 3 boot, 4 static, 172 Byway), if the kernel tells.
    pub protocol: u8,
    /// The MTU of the way, if it is set or learned.
    pub mtu: Option<u32>,
}

/// Why a packet goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoRoute {
    /// No route fits.
    NoRoute,
    /// The interface that it comes in by does not forward.
    NotForwarding,
    /// A route says `unreachable`.
    Unreachable,
    /// A route says `prohibit`.
    Prohibit,
    /// A route says `blackhole`.
    Blackhole,
    /// Its source is not reached back by that interface (`rp_filter`), or is no source that can come from there.
    WrongSource,
    /// Something else: see the number.
    Other,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoute => "there is no route to it",
            Self::NotForwarding => "the interface that it comes in by does not forward",
            Self::Unreachable => "a route says that it is unreachable",
            Self::Prohibit => "a route prohibits it",
            Self::Blackhole => "a route drops it (blackhole)",
            Self::WrongSource => {
                "its source is not reached back by the interface that it comes in by (rp_filter)"
            }
            Self::Other => "the kernel refuses to say where it goes",
        })
    }
}

/// What is known of a next hop on the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourState {
    /// The state in `ip neigh`'s word: `REACHABLE`, `STALE`, `DELAY`, `PROBE`, `FAILED`, `INCOMPLETE`, `PERMANENT`, `NOARP`, `NONE`.
    pub state: String,
    /// Its link address, if it is known.
    pub lladdr: Option<String>,
}

impl NeighbourState {
    /// Whether packets can be sent to it now.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        !matches!(self.state.as_str(), "FAILED" | "INCOMPLETE" | "NONE")
    }
}

/// An interface and the settings of it that decide about packets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// Its name.
    pub name: String,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether the cable is plugged in: for a veth, whether the other end is on.
    pub carrier: bool,
    /// The largest packet that it takes.
    pub mtu: u32,
    /// The bridge, bond or VRF whose port it is.
    pub master: Option<String>,
    /// Whether IPv4 packets that come in by it are passed on.
    pub forwarding4: Option<bool>,
    /// Whether IPv6 packets are: the switch for all, or that of the interface (`force_forwarding`).
    pub forwarding6: Option<bool>,
    /// How strictly IPv4 sources are checked: the larger of the interface's and the one for all (0 not, 1 strictly, 2
    /// loosely).
    pub rp_filter: Option<u8>,
}

/// A counter of `/proc/net/netstat` or `/proc/net/snmp` that grew between two looks, such as `TcpExt IPReversePathFilter`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetstatChange {
    /// Its name, with that of its group.
    pub name: String,
    /// By how much it grew; the packets are of anybody.
    pub by: u64,
}

/// A socket that waits for packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// The address at which it waits; the unspecified one for all.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// For the unspecified address of IPv6: the kernel lets it take IPv4 too, unless the program said no; which of both is
    /// not told.
    pub maybe_both: bool,
}
