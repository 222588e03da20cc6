//! How a peer answers along the data path, as an agent tells it.

use std::net::IpAddr;

use byway_fabric::health::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How one peer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerHealth {
    /// How it stands now.
    pub state: State,
    /// Since when, apart from what passes in less than a second.
    pub since: Timestamp,
    /// Why.
    pub because: String,
    /// The addresses that are tried, from this host's own bridge: of each family at most one.
    pub tried: Vec<IpAddr>,
    /// The round trip in the middle of the last, in microseconds; none before the first.
    pub round_trip_micros: Option<u32>,
    /// How often it came back after it was gone, since the agent started.
    pub flaps: u64,
    /// Until when its routes go on refusing packets at least, because it came and went.
    pub held_until: Option<Timestamp>,
    /// How its agent answers on the agents' own channel; none before it was asked, or where it has no key.
    pub agent: Option<AgentHealth>,
    /// The last changes, the oldest first; at most `byway_fabric::health::TURNS_MAX`.
    pub history: Vec<HealthTurn>,
}

/// How the agent of a peer answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentHealth {
    /// Whether it answered when it was last asked.
    pub answers: bool,
    /// When it last answered, or since when it does not.
    pub since: Timestamp,
    /// Why it does not, as far as it is known.
    pub why: Option<String>,
}

/// A change that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthTurn {
    /// When.
    pub at: Timestamp,
    /// What it changed to.
    pub state: State,
    /// Why.
    pub because: String,
}
