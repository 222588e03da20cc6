//! What a host is asked after a packet was lost on it, and what it answers: its routes, neighbours, interfaces and
//! sockets as they are now.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::evidence::{LinkState, Listener, NeighbourState, RouteAnswer, RouteQuestion};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Question {
    /// How it would send this packet on.
    pub route: Option<RouteQuestion>,
    /// How these interfaces are.
    pub interfaces: Vec<String>,
    /// Who listens in a container: the number of its namespace, the protocol, the port.
    pub listeners: Option<(Option<u64>, u8, u16)>,
}

/// Interfaces in one question.
pub const INTERFACES_MAX: usize = 16;

/// What a host answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answers {
    /// How it would send the packet on.
    pub route: Option<RouteAnswer>,
    /// The next hop on the link, and what is known of it.
    pub next_hop: Option<(IpAddr, Option<NeighbourState>)>,
    /// The interfaces that are there, of those that were asked for.
    pub interfaces: Vec<LinkState>,
    /// Who listens.
    pub listeners: Vec<Listener>,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
}
