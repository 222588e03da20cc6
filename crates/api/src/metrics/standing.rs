//! How a host stands, in numbers.

use std::net::IpAddr;

use byway_fabric::health::State;
use byway_fabric::problem::ProblemKind;

use super::labels::Counts;
use crate::{HostState, Status};

/// A number for each family of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByFamily {
    /// Of IPv4.
    pub ipv4: u64,
    /// Of IPv6.
    pub ipv6: u64,
}

impl FromIterator<IpAddr> for ByFamily {
    fn from_iter<T: IntoIterator<Item = IpAddr>>(addresses: T) -> Self {
        addresses.into_iter().fold(Self::default(), |so_far, address| match address {
            IpAddr::V4(_) => Self { ipv4: so_far.ipv4 + 1, ..so_far },
            IpAddr::V6(_) => Self { ipv6: so_far.ipv6 + 1, ..so_far },
        })
    }
}

/// How a host stood at a look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Routes that should be there.
    pub expected: ByFamily,
    /// Routes of ours that are there and right.
    pub present: ByFamily,
    pub(super) peers: Counts<HostState>,
    pub(super) problems: Counts<ProblemKind>,
    pub(super) pending: usize,
    pub(super) containers: usize,
    pub(super) refused: usize,
    pub(super) health: Counts<State>,
    /// The round trips of all peers in microseconds, from the shortest to the longest.
    pub(super) trips: Vec<u32>,
    pub(super) flaps: u64,
}

impl Standing {
    /// What a status says, and what it does not tell apart: the routes by their families.
    #[must_use]
    pub fn of(status: &Status, expected: ByFamily, present: ByFamily) -> Self {
        let health = || status.hosts.iter().filter_map(|host| host.health.as_ref());
        let mut trips: Vec<u32> = health().filter_map(|health| health.round_trip_micros).collect();
        trips.sort_unstable();
        let others = status.hosts.iter().filter(|host| host.state != HostState::ThisHost);
        Self {
            expected,
            present,
            peers: others.map(|host| host.state).collect(),
            problems: status.problems.iter().map(|problem| problem.kind).collect(),
            pending: status.pending,
            containers: status.endpoints.len(),
            health: health().map(|health| health.state).collect(),
            trips,
            flaps: health().map(|health| health.flaps).sum(),
            refused: status.peers.as_ref().map_or(0, |peers| peers.refused.len()),
        }
    }
}
