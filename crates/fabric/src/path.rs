//! By which path packets go to a peer, and why: straight over the link, by a router that carries them, or through a
//! tunnel.
//!
//! A neighbour gets a direct route. Where a router is between, a route by it is cheapest, but most routers know nothing
//! of containers: so it is taken only while a probe proves that they carry such packets there and back
//! ([`Reach`](crate::reach::Reach)). Otherwise it is a tunnel, which needs nothing of them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cluster::Host;
use crate::lookup::Lookup;
use crate::observed::{Observed, RouteKind};
use crate::tunnel::Underlay;

/// By which path packets go to a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "kebab-case")]
pub enum Path {
    /// It is a neighbour.
    #[default]
    Direct,
    /// A router carries them.
    ByRouter {
        /// The router.
        gateway: IpAddr,
    },
    /// Through our tunnel.
    Tunnel {
        /// The router that carries the tunnel only.
        gateway: IpAddr,
        /// The peer's end on the underlay.
        to: IpAddr,
        /// The largest packet that fits, in bytes.
        mtu: u32,
        /// The link that the tunnel leaves by.
        uplink: String,
        /// The largest packet of that link, in bytes.
        uplink_mtu: u32,
        /// The largest packet of this host's containers, in bytes, if that is more than fits.
        #[serde(default)]
        containers_mtu: Option<u32>,
    },
}

impl Path {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ByRouter { .. } => "router",
            Self::Tunnel { .. } => "tunnel",
        }
    }

    /// Why it is taken.
    #[must_use]
    pub fn because(&self) -> String {
        match self {
            Self::Direct => "it is a neighbour".to_owned(),
            Self::ByRouter { gateway } => {
                format!("the router {gateway} carries packets of containers there and back, as was tried")
            }
            Self::Tunnel { gateway, .. } => {
                format!("it is not proven that the router {gateway} carries packets of containers")
            }
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("directly"),
            Self::ByRouter { gateway } => write!(f, "by the router {gateway}"),
            Self::Tunnel { to, mtu, uplink, uplink_mtu, containers_mtu, .. } => {
                let underlay = Underlay::of(*to);
                write!(
                    f,
                    "through the tunnel {} to {to}, {mtu} bytes at most ({uplink} takes {uplink_mtu}, the tunnel needs {})",
                    underlay.device(),
                    underlay.cost(),
                )?;
                let hears = |mtu| write!(f, "; containers here send up to {mtu} and are told by this host");
                containers_mtu.map_or(Ok(()), hears)
            }
        }
    }
}

/// Whether tunnels may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tunnels {
    /// Where they are needed.
    #[default]
    Auto,
    /// Nowhere: a peer behind a router that does not carry containers' packets is not reachable.
    Never,
}

impl Tunnels {
    /// The word for it, as it is written in the settings.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
        }
    }
}

impl FromStr for Tunnels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Auto, Self::Never].into_iter().find(|tunnels| tunnels.word() == text);
        known.ok_or_else(|| "it can be `auto` or `never`".to_owned())
    }
}

/// How this host's own routes lead to one address of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// It is a neighbour on that link.
    Neighbour(u32),
    /// It is behind a router.
    Behind {
        /// The router.
        gateway: IpAddr,
        /// The link that leads to it.
        dev: u32,
    },
    /// Not at all, and why.
    Nowhere(String),
}

/// Each address of a peer, and how this host's own routes lead to it. `uplink` is the only link that may be taken, if
/// the operator said so.
#[must_use]
pub fn hops(
    peer: &Host,
    uplink: Option<&str>,
    observed: &Observed,
    lookup: &Lookup<'_>,
) -> Vec<(IpAddr, Hop)> {
    peer.addresses.iter().map(|address| (*address, hop(*address, uplink, observed, lookup))).collect()
}

fn hop(address: IpAddr, uplink: Option<&str>, observed: &Observed, lookup: &Lookup<'_>) -> Hop {
    let Some(route) = lookup.route_to(address) else {
        return Hop::Nowhere(format!("no route to {address}"));
    };
    let dev = route.dev.filter(|_| route.kind == RouteKind::Unicast);
    let Some(dev) = dev else {
        return Hop::Nowhere(match route.via {
            Some(via) => behind(address, via),
            None => format!("{address} is not on a link: {}", observed.route_text(route)),
        });
    };
    let name = observed.link_name(dev);
    match (route.via, uplink.filter(|uplink| *uplink != name)) {
        (None, None) => Hop::Neighbour(dev),
        (Some(gateway), None) => Hop::Behind { gateway, dev },
        (None, Some(uplink)) => {
            Hop::Nowhere(format!("{address} is a neighbour on {name}, not on the uplink {uplink}"))
        }
        (Some(via), Some(_)) => Hop::Nowhere(behind(address, via)),
    }
}

/// Why an address is no neighbour, if a router is between.
pub(crate) fn behind(address: IpAddr, gateway: IpAddr) -> String {
    format!("{address} is behind the router {gateway}, not a neighbour on a link")
}
