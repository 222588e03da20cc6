//! What agents and commands say to each other.
//!
//! The words are serde types; the way is HTTP with JSON, over the agent's unix socket or, between hosts, over TLS.
//! This room does not know how anything is found out or done.

pub mod client;
mod health;
mod http;
pub mod identity;
pub mod metrics;
pub mod peer;
mod peer_error;

use byway_fabric::cluster::{Cluster, HostName, PublicKey};
use byway_fabric::docker::Endpoint;
use byway_fabric::path::Path;
use byway_fabric::plan::Plan;
use byway_fabric::problem::Problem;
pub use health::{AgentHealth, HealthTurn, PeerHealth};
use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Where the agent listens, below its run directory.
pub const SOCKET: &str = "byway.sock";
/// The paths of the local API.
pub mod path {
    /// `GET`: [`super::Status`].
    pub const STATUS: &str = "/v1/status";
    /// `GET`: [`super::PlanReport`]; looks again first, changes nothing.
    pub const PLAN: &str = "/v1/plan";
    /// `POST`: takes everything out, answers with a [`super::DownReport`], then the agent ends.
    pub const DOWN: &str = "/v1/down";
    /// `GET`: the metrics, as [`super::metrics::text`] writes them. Never wakes the loop; the one path that is served on TCP too.
    pub const METRICS: &str = "/metrics";
    /// `GET`, between hosts only: [`super::Hello`]. The one path that never changes.
    pub const HELLO: &str = "/v1/hello";
    /// `POST`, between hosts only, a `fabric::health::Question`: how the asker is heard along the data path, a `Word`.
    pub const HEALTH: &str = "/v1/health";
    /// `POST`, between hosts only, a `fabric::trace::Search`: where things are, a `Found`.
    pub const SEARCH: &str = "/v1/search";
    /// `POST`, between hosts only, an `Order`: lines of `Event` until its limits, a stop, or until the asker hangs up.
    pub const WATCH: &str = "/v1/watch";
    /// `POST`, between hosts only, a `StopOrder`: what was gathered is told, and the watch ends.
    pub const STOP: &str = "/v1/watch/stop";
    /// `POST`, between hosts only, a `ProbeOrder`: one line, a `Result<ProbeReport, String>`, when all is answered.
    pub const PROBE: &str = "/v1/probe";
    /// `POST`, between hosts only, a `Question`: its `Answers`.
    pub const QUESTION: &str = "/v1/question";
}

/// The versions of the API that this Byway speaks, the lowest and the highest.
pub const API: (u32, u32) = (1, 1);

/// The header in which a host that asks another says which version of the API it means.
pub const API_HEADER: &str = "byway-api";

/// How an agent introduces itself to another host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its host, as its inventory calls it.
    pub host: HostName,
    /// Its version of Byway.
    pub version: String,
    /// The versions of the API that it speaks, the lowest and the highest.
    pub api: (u32, u32),
    /// Its own addresses in its containers' subnets, those of its bridges: with them it speaks along the data path.
    #[serde(default)]
    pub speaks_as: Vec<IpAddr>,
}

/// How a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of Byway that speaks.
    pub version: String,
    /// The agent, if one runs; a status without one is a fresh look.
    pub agent: Option<AgentStatus>,
    /// The host that speaks.
    pub host: HostName,
    /// All hosts of the cluster, in the order of the inventory.
    pub hosts: Vec<HostStatus>,
    /// The containers of this host that are on the cluster.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
    /// Changes that are due and not done yet.
    pub pending: usize,
    /// The inventory, and whether it can be read.
    pub inventory: InventoryStatus,
    /// How the agent stands with those of other hosts; nothing where no agent runs.
    #[serde(default)]
    pub peers: Option<PeersStatus>,
}

/// How an agent can be asked by other hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PeersStatus {
    /// The public key of this host, if it can be used.
    pub key: Option<PublicKey>,
    /// Where it listens.
    pub listening: Vec<SocketAddr>,
    /// Who wanted to ask and was refused, the newest first; one for each address.
    pub refused: Vec<RefusedPeer>,
    /// What would let this host take part; nothing where it does, or where no host has a key.
    pub hint: Option<String>,
}

/// Somebody who wanted to ask this host and was refused, or who refused this host's own key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPeer {
    /// When it was last.
    pub at: Timestamp,
    /// From where.
    pub address: IpAddr,
    /// What was wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

/// The agent's own part of the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub since: Timestamp,
    /// How often it looked.
    pub looks: u64,
    /// How often it changed something.
    pub repairs: u64,
    /// When it last looked.
    pub last_look: Timestamp,
    /// The last change that somebody else made to what is ours.
    pub last_change: Option<Change>,
    /// The last repair.
    pub last_repair: Option<Repair>,
    /// Why the last look or change failed, if it did.
    pub trouble: Option<String>,
    /// Whether it only looks and answers, and changes nothing on this host.
    #[serde(default)]
    pub hands_off: bool,
}

/// A change that somebody made to what is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it was heard.
    pub at: Timestamp,
    /// What was changed.
    pub what: String,
    /// Who did it, as far as the kernel says.
    pub who: String,
}

/// What the agent did, and how fast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// When it was done.
    pub at: Timestamp,
    /// From the notice to the end of the last step, in microseconds; from the look where no notice came.
    pub micros: u64,
    /// The sentences of the steps, at most [`SENTENCES_MAX`].
    pub steps: Vec<String>,
}

/// Sentences kept of one repair: enough to understand it, bounded for a cluster of thousands.
pub const SENTENCES_MAX: usize = 20;

/// How one host of the cluster is seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its name.
    pub name: HostName,
    /// Its underlay addresses.
    pub addresses: Vec<IpAddr>,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// Routes that should be there.
    pub routes_expected: usize,
    /// Routes of ours that are there and right.
    pub routes_present: usize,
    /// How it stands.
    pub state: HostState,
    /// By which path packets go there; nothing where none do.
    #[serde(default)]
    pub path: Option<Path>,
    /// How it answers along the data path; none where it is not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<PeerHealth>,
}

/// How a host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// The host that speaks.
    ThisHost,
    /// All its routes are there.
    Routed,
    /// Some of its routes are missing.
    Missing,
    /// Others have routes to its subnets.
    Conflict,
    /// It is no neighbour, or one of its subnets cannot be routed.
    NotDirect,
    /// It answered before and does not any more: its routes refuse packets.
    Gone,
    /// A subnet of it would cut this host off.
    Refused,
}

impl HostState {
    /// Whether nobody has to look.
    #[must_use]
    pub fn is_well(self) -> bool {
        matches!(self, Self::ThisHost | Self::Routed)
    }
}

impl std::fmt::Display for HostState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::ThisHost => "this host",
            Self::Routed => "routed",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::NotDirect => "not direct",
            Self::Gone => "gone",
            Self::Refused => "refused",
        })
    }
}

/// Where the hosts come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryStatus {
    /// The file, or which etcd.
    pub path: String,
    /// When the state in force was read.
    pub read_at: Option<Timestamp>,
    /// Why the file as it is now is not in force, or why etcd says nothing, and since when; the last good state is kept
    /// meanwhile.
    pub rejected: Option<Rejected>,
    /// How this host stands in etcd; none where the hosts are in an inventory, or no agent runs.
    #[serde(default)]
    pub lease: Option<LeaseStatus>,
}

/// How a host stands in etcd.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeaseStatus {
    /// Who it is there, whatever its name.
    pub id: String,
    /// Which of its starts this is; none before it was let in.
    pub generation: Option<u64>,
    /// What it holds.
    pub subnets: Vec<IpNet>,
    /// How long it keeps its place when it is not heard of, in seconds.
    pub seconds: u64,
    /// When it was last heard of there.
    pub renewed_at: Option<Timestamp>,
    /// Why it is not let in, or not any more, and what to do; since when.
    pub refused: Option<Rejected>,
    /// How many conversations with etcd have failed.
    #[serde(default)]
    pub errors: u64,
    /// Subnets that it could have taken and did not, each with the reason.
    pub passed_over: Vec<String>,
    /// Keys below the prefix that cannot be read, each with the reason; nothing is made of them.
    pub garbage: Vec<String>,
    /// How many more there are.
    pub more_garbage: usize,
}

/// A state of the inventory that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Since when.
    pub since: Timestamp,
    /// All mistakes, one a line.
    pub mistakes: String,
}

/// What would be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The host that it is about.
    pub host: HostName,
    /// Whether the agent said it, or a command that looked by itself.
    pub by_agent: bool,
    /// The plan.
    pub plan: Plan,
}

/// What was taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownReport {
    /// Sentences of what was done.
    pub done: Vec<String>,
    /// Sentences of what was left, and why.
    pub left: Vec<String>,
}

/// An error that the agent tells a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The error and its causes, outermost first.
    pub chain: Vec<String>,
    /// What to do about it, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

/// Puts a status together from what is in force and what was seen.
#[must_use]
pub fn host_statuses(
    cluster: &Cluster,
    me: &HostName,
    problems: &[Problem],
    paths: &BTreeMap<HostName, Path>,
    counts: impl Fn(&HostName) -> (usize, usize),
) -> Vec<HostStatus> {
    use byway_fabric::problem::ProblemKind;

    let mut worst: BTreeMap<&HostName, ProblemKind> = BTreeMap::new();
    for problem in problems {
        let Some(host) = &problem.host else { continue };
        let known = worst.entry(host).or_insert(problem.kind);
        *known = (*known).min(problem.kind);
    }
    let state = |name: &HostName, expected: usize, present: usize| match worst.get(name) {
        _ if name == me => HostState::ThisHost,
        Some(ProblemKind::Conflict) => HostState::Conflict,
        Some(ProblemKind::Refused) => HostState::Refused,
        Some(ProblemKind::NotDirect) => HostState::NotDirect,
        Some(ProblemKind::Gone) => HostState::Gone,
        _ if present < expected => HostState::Missing,
        _ => HostState::Routed,
    };
    let status = |host: &byway_fabric::cluster::Host| {
        let (routes_expected, routes_present) = counts(&host.name);
        HostStatus {
            name: host.name.clone(),
            addresses: host.addresses.clone(),
            subnets: host.subnets.clone(),
            routes_expected,
            routes_present,
            state: state(&host.name, routes_expected, routes_present),
            path: (routes_expected > 0).then(|| paths.get(&host.name).cloned().unwrap_or_default()),
            health: None,
        }
    };
    cluster.hosts.iter().map(status).collect()
}
