//! What a host has: its links, routes, settings and our table, as one snapshot.
//!
//! A snapshot is whole or it does not exist. Routes are those of the main table of both families.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::docker::Seen;
use crate::firewalld::Firewalld;
use crate::sysctl::Sysctl;
use crate::table::Table;
use crate::tunnel::{Entry, Tunnel, Underlay};

/// The route protocol that marks a route as ours (`rtm_protocol`, `rtnetlink(7)`). 172 is free in
/// iproute2's, FRR's and BIRD's lists; its name `byway` goes into `rt_protos.d`.
pub const PROTOCOL: u8 = 172;
/// The metric of our routes. Not 0, so that a colleague's `ip route replace` makes a second route that we
/// can see and report, instead of silently taking the place of ours.
pub const METRIC: u32 = 172;

/// The metric of routes that only say whose a subnet is: any other route to it wins.
pub const RESERVED_METRIC: u32 = 4_000_000_000;

/// A snapshot of one host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observed {
    /// The links by their index.
    pub links: BTreeMap<u32, Link>,
    /// The routes of table main.
    pub routes: Vec<Route>,
    /// The settings that could matter; one that this kernel does not have is absent.
    pub sysctls: BTreeMap<Sysctl, String>,
    /// Our nftables table, if it is there.
    pub table: Option<Table>,
    /// What our tunnels were told of peers; of one that is not there, nothing.
    #[serde(default)]
    pub entries: BTreeMap<Underlay, BTreeSet<Entry>>,
    /// Docker, if it runs here.
    #[serde(default)]
    pub docker: Option<Seen>,
    /// firewalld, if it runs here.
    #[serde(default)]
    pub firewalld: Option<Firewalld>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// Its name, as in `/sys/class/net`.
    pub name: String,
    /// Whether it is switched on (`IFF_UP`).
    pub up: bool,
    /// Whether it is a port of a bridge, bond or VRF.
    pub enslaved: bool,
    /// Whether it is a bridge.
    pub bridge: bool,
    /// Its addresses with the length of their prefix.
    pub addresses: Vec<IpNet>,
    /// The largest packet that it takes, in bytes; 0 where nobody looked.
    #[serde(default)]
    pub mtu: u32,
    /// What it is as a tunnel, if it has the name of one of ours and is one.
    #[serde(default)]
    pub tunnel: Option<Tunnel>,
}

/// What a route does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// Passes it on.
    Unicast,
    /// Drops it without a word.
    Blackhole,
    /// Drops it and says "unreachable".
    Unreachable,
    /// Drops it and says "prohibited".
    Prohibit,
    /// Anything else (`throw`, `nat`, …).
    Other,
}

/// One route of table main.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Its destination.
    pub to: IpNet,
    /// What it does.
    pub kind: RouteKind,
    /// The next hop, if it is not on the link and not one of several.
    pub via: Option<IpAddr>,
    /// The index of the link it leaves by, if there is one and only one.
    pub dev: Option<u32>,
    /// The source address that the host itself takes.
    pub src: Option<IpAddr>,
    /// Lower wins.
    pub metric: u32,
    /// Who put it (`rtm_protocol`).
    pub protocol: u8,
}

impl Route {
    /// Whether it carries our mark.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.protocol == PROTOCOL
    }

    /// A route of ours that only says whose a subnet is, and ends packets that no other route takes.
    #[must_use]
    pub fn reservation(to: IpNet) -> Self {
        Self {
            to,
            kind: RouteKind::Unreachable,
            via: None,
            dev: None,
            src: None,
            metric: RESERVED_METRIC,
            protocol: PROTOCOL,
        }
    }

    /// A route of ours to a peer that does not answer: who sends there is told so at once.
    #[must_use]
    pub fn refusal(to: IpNet) -> Self {
        Self { metric: METRIC, ..Self::reservation(to) }
    }

    /// Whether it is one of ours that refuses packets.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.is_ours() && self.metric == METRIC && self.kind == RouteKind::Unreachable
    }

    /// Whether it is one of ours that only says whose a subnet is.
    #[must_use]
    pub fn is_reservation(&self) -> bool {
        self.is_ours() && self.metric == RESERVED_METRIC
    }
}

impl Observed {
    /// The name of a link, or its number where the link has gone. Our tunnels have theirs before they are made.
    #[must_use]
    pub fn link_name(&self, index: u32) -> String {
        match (self.links.get(&index), Underlay::at(index)) {
            (Some(link), _) => link.name.clone(),
            (None, Some(underlay)) => underlay.device().to_owned(),
            (None, None) => format!("link {index}"),
        }
    }

    /// The link that has the name of one of our tunnels, with its index.
    #[must_use]
    pub fn tunnel(&self, underlay: Underlay) -> Option<(u32, &Link)> {
        let mut links = self.links.iter();
        links.find(|(_, link)| link.name == underlay.device()).map(|(index, link)| (*index, link))
    }

    /// A route as `ip route` would print it.
    #[must_use]
    pub fn route_text(&self, route: &Route) -> String {
        let mut text = match route.kind {
            RouteKind::Unicast => String::new(),
            RouteKind::Blackhole => "blackhole ".to_owned(),
            RouteKind::Unreachable => "unreachable ".to_owned(),
            RouteKind::Prohibit => "prohibit ".to_owned(),
            RouteKind::Other => "special ".to_owned(),
        };
        text += &route.to.to_string();
        if let Some(via) = route.via {
            text += &format!(" via {via}");
        }
        if let Some(dev) = route.dev {
            text += &format!(" dev {}", self.link_name(dev));
        }
        if let Some(src) = route.src {
            text += &format!(" src {src}");
        }
        text
    }
}

/// The name of a route protocol, as iproute2 and FRR print it; its number where it has none.
#[must_use]
pub fn protocol_name(protocol: u8) -> String {
    let name = match protocol {
        PROTOCOL => "byway",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        9 => "ra",
        11 | 196 => "zebra",
        12 => "bird",
        16 => "dhcp",
        18 => "keepalived",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        other => return other.to_string(),
    };
    name.to_owned()
}
