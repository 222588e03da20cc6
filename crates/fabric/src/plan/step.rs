//! One change, and its sentence: the same in the plan, the log, the status and the golden files.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::docker::Flavour;
use crate::docker::rules::Place;
use crate::observed::{METRIC, Observed, Route, protocol_name};
use crate::sysctl::Sysctl;
use crate::table::{Element, TABLE, Table, list};
use crate::tunnel::{Entry, Tunnel, Underlay};

/// One change to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// Puts our whole table in the place of whatever is there, in one transaction.
    PutTable {
        /// The table.
        table: Table,
        /// Why.
        because: String,
    },
    /// Adds members to a set of our table.
    PutElements {
        /// The set.
        set: String,
        /// The members.
        elements: BTreeSet<Element>,
        /// Why.
        because: String,
    },
    /// Puts our accept into a chain that Docker shares with others, or takes it out.
    MendChain {
        /// The iptables to do it with.
        flavour: Flavour,
        /// With ip6tables.
        ipv6: bool,
        /// The chain.
        place: Place,
        /// Rules of ours to delete.
        delete: Vec<String>,
        /// Where to insert our accept after that, from 1.
        insert: Option<usize>,
        /// Why.
        because: String,
    },
    /// Makes the device of a tunnel, or sets it right.
    PutTunnel {
        /// Which.
        underlay: Underlay,
        /// What it is to be.
        tunnel: Tunnel,
        /// The largest packet that fits, in bytes.
        mtu: u32,
        /// How.
        making: Making,
        /// Why.
        because: String,
    },
    /// Tells a tunnel of a peer; takes the place of another entry for the same.
    PutEntry {
        /// Which tunnel.
        underlay: Underlay,
        /// What it is told.
        entry: Entry,
        /// Why.
        because: String,
    },
    /// Has a tunnel forget what it was told.
    DelEntry {
        /// Which tunnel.
        underlay: Underlay,
        /// What it was told.
        entry: Entry,
        /// Why.
        because: String,
    },
    /// Deletes the device of a tunnel, with all that goes through it.
    DelTunnel {
        /// Which.
        underlay: Underlay,
        /// Why.
        because: String,
    },
    /// Sets a kernel setting.
    PutSysctl {
        /// Which.
        sysctl: Sysctl,
        /// The value that it has.
        from: String,
        /// The value that it gets.
        to: String,
        /// Why.
        because: String,
    },
    /// Adds a route, or replaces ours to the same prefix.
    PutRoute {
        /// The route.
        route: Route,
        /// The route as `ip route` would print it.
        text: String,
        /// Why.
        because: String,
    },
    /// Deletes a route of ours.
    DelRoute {
        /// The route.
        route: Route,
        /// The route as `ip route` would print it.
        text: String,
        /// Why.
        because: String,
    },
    /// Takes members out of a set of our table.
    DelElements {
        /// The set.
        set: String,
        /// The members.
        elements: BTreeSet<Element>,
        /// Why.
        because: String,
    },
    /// Deletes our table.
    DelTable {
        /// Why.
        because: String,
    },
}

/// How the device of a tunnel comes to be what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Making {
    /// It is not there.
    New,
    /// It is there, and cannot be changed to what it should be: it is deleted first.
    Anew,
    /// It is there and gets its size, and is switched on.
    Mend,
}

/// At most this many members are named in a sentence.
const NAMED_ELEMENTS_MAX: usize = 4;

impl Step {
    pub(super) fn del_route(route: &Route, observed: &Observed, because: String) -> Self {
        let mut text = observed.route_text(route);
        if !route.is_ours() || route.metric != METRIC {
            text += &format!(" proto {} metric {}", protocol_name(route.protocol), route.metric);
        }
        Self::DelRoute { route: route.clone(), text, because }
    }

    /// Whether it keeps source addresses from being rewritten that were rewritten until then.
    #[must_use]
    pub fn keeps_sources(&self) -> bool {
        match self {
            Self::PutTable { .. } => true,
            Self::PutElements { set, .. } => ["local4", "local6", "peers4", "peers6"].contains(&set.as_str()),
            _ => false,
        }
    }

    /// What is done, without the reason.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::PutTable { .. } => format!("put table {TABLE}"),
            Self::PutElements { set, elements, .. } => format!("put {} into set {set}", named(elements)),
            Self::MendChain { ipv6, place, insert, .. } => {
                let verb = if insert.is_some() { "put accept into" } else { "del accept from" };
                format!("{verb} {} {place}", if *ipv6 { "ip6tables" } else { "iptables" })
            }
            Self::PutTunnel { underlay, tunnel, mtu, .. } => {
                let local = tunnel.local.map_or_else(String::new, |local| format!(" from {local}"));
                let Tunnel { id, port, .. } = tunnel;
                format!("put tunnel {}{local} (id {id}, UDP port {port}, {mtu} bytes)", underlay.device())
            }
            Self::PutEntry { underlay, entry, .. } => format!("put {entry} into {}", underlay.device()),
            Self::DelEntry { underlay, entry, .. } => format!("del {entry} from {}", underlay.device()),
            Self::DelTunnel { underlay, .. } => format!("del tunnel {}", underlay.device()),
            Self::PutSysctl { sysctl, from, to, .. } => format!("put {sysctl} = {to} (was {from})"),
            Self::PutRoute { text, .. } => format!("put route {text}"),
            Self::DelRoute { text, .. } => format!("del route {text}"),
            Self::DelElements { set, elements, .. } => format!("del {} from set {set}", named(elements)),
            Self::DelTable { .. } => format!("del table {TABLE}"),
        }
    }

    /// Why it is done.
    #[must_use]
    pub fn because(&self) -> &str {
        match self {
            Self::PutTable { because, .. }
            | Self::PutElements { because, .. }
            | Self::MendChain { because, .. }
            | Self::PutTunnel { because, .. }
            | Self::PutEntry { because, .. }
            | Self::DelEntry { because, .. }
            | Self::DelTunnel { because, .. }
            | Self::PutSysctl { because, .. }
            | Self::PutRoute { because, .. }
            | Self::DelRoute { because, .. }
            | Self::DelElements { because, .. }
            | Self::DelTable { because } => because,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} because {}", self.what(), self.because())
    }
}

fn named(elements: &BTreeSet<Element>) -> String {
    if elements.len() <= NAMED_ELEMENTS_MAX {
        return list(elements).replace('"', "");
    }
    let first = list(elements.iter().take(NAMED_ELEMENTS_MAX)).replace('"', "");
    format!("{first} and {} more", elements.len() - NAMED_ELEMENTS_MAX)
}
