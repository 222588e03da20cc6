//! What happened to a packet between two points where it was seen.

use std::fmt;

use serde::Serialize;

use super::{End, Sighting, WatchPoint};
use crate::cluster::HostName;

/// One thing that happened to a packet since it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Handed on within one namespace without a router: the TTL is the same.
    Bridged {
        /// By whom.
        by: HostName,
    },
    /// Through a veth pair from one namespace of a host to another.
    HandedOver {
        /// Out of which container or host.
        from: String,
        /// Into which container or host.
        to: String,
    },
    /// Over the link between two hosts.
    Carried {
        /// From which host.
        from: HostName,
        /// To which host.
        to: HostName,
    },
    /// The TTL fell by one for each router.
    Routed {
        /// By whom: a host, a container, or somebody between two hosts.
        by: Whom,
        /// How many routers, at least 1.
        times: u8,
    },
    /// It was cut into fragments, as it was larger than what came next takes; this is the first of them.
    Cut {
        /// By whom.
        by: Whom,
    },
    /// Its fragments were put together again.
    Joined {
        /// By whom.
        by: Whom,
    },
    /// The TTL rose, which no router does.
    TtlRaised {
        /// By whom.
        by: Whom,
        /// It was.
        from: u8,
        /// It is.
        to: u8,
    },
    /// The source was rewritten (source NAT).
    SourceRewritten {
        /// By whom.
        by: Whom,
        /// It was.
        from: End,
        /// It is.
        to: End,
    },
    /// The destination was rewritten (destination NAT).
    DestinationRewritten {
        /// By whom.
        by: Whom,
        /// It was.
        from: End,
        /// It is.
        to: End,
    },
}

/// Who did something to a packet, as far as the points where it was seen tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Whom {
    /// A host or container: both points were there.
    One(String),
    /// Somebody between two.
    Between(String, String),
}

/// What happened between two sightings of one packet. Never empty.
pub(super) fn between(before: &Sighting, after: &Sighting) -> Vec<Change> {
    let by = whom(&before.at, &after.at);
    let mut changes = Vec::from_iter(moved(&before.at, &after.at));
    changes.extend(lived(before.ttl, after.ttl, &by));
    match (before.fragment, after.fragment) {
        (false, true) => changes.push(Change::Cut { by: by.clone() }),
        (true, false) => changes.push(Change::Joined { by: by.clone() }),
        _ => {}
    }
    if before.source != after.source {
        let (from, to) = (before.source, after.source);
        changes.push(Change::SourceRewritten { by: by.clone(), from, to });
    }
    if before.destination != after.destination {
        let (from, to) = (before.destination, after.destination);
        changes.push(Change::DestinationRewritten { by, from, to });
    }
    if changes.is_empty() {
        changes.push(Change::Bridged { by: after.at.host.clone() });
    }
    changes
}

/// How it got from one namespace to another, if it did.
fn moved(before: &WatchPoint, after: &WatchPoint) -> Option<Change> {
    if before.host != after.host {
        Some(Change::Carried { from: before.host.clone(), to: after.host.clone() })
    } else if before.container == after.container {
        None
    } else {
        Some(Change::HandedOver { from: before.place().to_owned(), to: after.place().to_owned() })
    }
}

fn lived(before: u8, after: u8, by: &Whom) -> Option<Change> {
    match before.checked_sub(after) {
        Some(0) => None,
        Some(times) => Some(Change::Routed { by: by.clone(), times }),
        None => Some(Change::TtlRaised { by: by.clone(), from: before, to: after }),
    }
}

fn whom(before: &WatchPoint, after: &WatchPoint) -> Whom {
    let (from, to) = (before.place(), after.place());
    if before.host == after.host && before.container == after.container {
        Whom::One(to.to_owned())
    } else {
        Whom::Between(from.to_owned(), to.to_owned())
    }
}

impl WatchPoint {
    /// The container, or the host itself.
    fn place(&self) -> &str {
        self.container.as_deref().unwrap_or(self.host.as_str())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridged { by } => write!(f, "bridged by {by}"),
            Self::HandedOver { from, to } => write!(f, "handed from {from} to {to}"),
            Self::Carried { from, to } => write!(f, "carried from {from} to {to}"),
            Self::Routed { by, times: 1 } => write!(f, "routed {by}"),
            Self::Routed { by, times } => write!(f, "routed {times} times {by}"),
            Self::Cut { by } => write!(f, "cut into fragments {by}"),
            Self::Joined { by } => write!(f, "put together from fragments {by}"),
            Self::TtlRaised { by, from, to } => write!(f, "ttl raised from {from} to {to} {by}"),
            Self::SourceRewritten { by, from, to } => write!(f, "source {from} rewritten to {to} {by}"),
            Self::DestinationRewritten { by, from, to } => {
                write!(f, "destination {from} rewritten to {to} {by}")
            }
        }
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(who) => write!(f, "by {who}"),
            Self::Between(from, to) => write!(f, "between {from} and {to}"),
        }
    }
}
