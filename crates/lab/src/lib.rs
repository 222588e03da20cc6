//! Hosts and containers made of network namespaces on this machine: behind `byway lab`, and under the tests.
//!
//! A [`Topology`] says what should stand. One process holds it ([`hold`]): PID 1 of a PID namespace, whose end
//! ends everything. A [`Lab`] is tied to whoever made it; a [`Holder`] is how anyone asks a running one, and
//! [`exec`] runs a command in a node. Links are made through netlink only; nothing is written to a disk, and
//! nothing has a name in the file system.

mod allowed;
mod engine;
pub mod etcd;
mod furniture;
mod hold;
mod holder;
mod join;
mod lab;
mod names;
mod namespaces;
mod ports;
mod raise;
mod repair;
mod say;
mod snapshot;
mod socket;
mod topology;
mod wires;

pub use engine::Engines;
pub use hold::hold;
pub use holder::{AgentProcess, Holder};
pub use join::exec;
pub use lab::{Lab, Options};
pub use nix::sys::signal::Signal;
pub use repair::Vandal;
pub use say::{
    AgentState, AgentStatus, Agents, EngineState, EngineStatus, NodeStatus, Progress, Status, Until,
};
pub use snapshot::Snapshot;
pub use topology::{
    BRIDGE, BadRelease, CONTAINERS_PER_HOST_MAX, Container, ENGINES_MAX, Engine, Flaw, HOSTS_MAX, Host,
    Iptables, Kind, LINK_NAME_MAX, NODES_MAX, Release, Router, SEGMENTS_MAX, SWITCH, Segment, Spread,
    Topology,
};
