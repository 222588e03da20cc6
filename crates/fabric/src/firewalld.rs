//! firewalld, as far as it decides what is forwarded: zones of interfaces and senders, and policies between zones.
//!
//! With its nftables backend its own chain has the last word: since 1.0 it rejects what goes from one zone to another unless
//! a zone or a policy lets it through, whatever Docker's chains and ours have accepted.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// What firewalld says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Firewalld {
    /// Whether its own chain rejects what none of its zones and policies lets through (nftables, 1.0 and later).
    pub rejects: bool,
    /// The zone of all interfaces that are in no other.
    pub default_zone: String,
    /// Zones that are in use, by their names.
    pub zones: BTreeMap<String, Zone>,
    /// Policies between zones.
    pub policies: Vec<Policy>,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Zone {
    /// Interfaces that were put into it.
    pub interfaces: BTreeSet<String>,
    /// Senders whose packets are its own, whichever interface they come in by.
    pub sources: Vec<IpNet>,
    /// Whether everything that comes from it is let through (`target: ACCEPT`).
    pub accepts: bool,
    /// Whether its members may speak with each other.
    pub forward: bool,
}

/// A policy: what goes from some zones to some.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// From these zones, `ANY` is every one; none while it is not in force.
    pub ingress: BTreeSet<String>,
    /// To these.
    pub egress: BTreeSet<String>,
    /// Whether it lets everything through (`target: ACCEPT`).
    pub accepts: bool,
}

impl Zone {
    /// Whether anything was put into it by name.
    #[must_use]
    pub fn has_members(&self) -> bool {
        !self.interfaces.is_empty() || !self.sources.is_empty()
    }
}

impl Firewalld {
    /// The zone of an interface.
    #[must_use]
    pub fn zone_of(&self, interface: &str) -> &str {
        let holds = |(_, zone): &(&String, &Zone)| zone.interfaces.contains(interface);
        self.zones.iter().find(holds).map_or(&self.default_zone, |(name, _)| name)
    }

    /// The zone of what a sender sends in by an interface.
    #[must_use]
    pub fn zone_of_sender(&self, sender: &IpNet, interface: &str) -> &str {
        let holds = |(_, zone): &(&String, &Zone)| zone.sources.iter().any(|net| net.contains(sender));
        self.zones.iter().find(holds).map_or_else(|| self.zone_of(interface), |(name, _)| name)
    }

    /// Whether packets go from one zone to another.
    #[must_use]
    pub fn forwards(&self, from: &str, to: &str) -> bool {
        let zone = self.zones.get(from);
        let names = |zones: &BTreeSet<String>, zone: &str| zones.contains("ANY") || zones.contains(zone);
        let by_policy =
            |policy: &Policy| policy.accepts && names(&policy.ingress, from) && names(&policy.egress, to);
        zone.is_some_and(|zone| zone.accepts || (zone.forward && from == to))
            || self.policies.iter().any(by_policy)
    }
}
