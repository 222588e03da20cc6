//! What one host does for `byway trace`: finds ends, watches packets pass, sends probes.
//!
//! Commands call this for their own host, the peers' API for others; both get the same words.

pub mod question;
pub mod search;
mod statements;
pub mod watching;

use byway_fabric::trace::watch::{ProbeOrder, ProbeReport};

use std::os::fd::{AsFd as _, OwnedFd};

use crate::edge::cables::{self, CablesError, Plugged};
use crate::edge::netns::{self, NamespaceError};
use crate::edge::probe;

/// Why a host cannot do its part.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// Its containers cannot be seen.
    #[error(transparent)]
    Cables(#[from] CablesError),
    /// A namespace cannot be worked in.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The kernel was not to be asked.
    #[error("ask the kernel for routes")]
    Routes(#[from] crate::edge::netlink::NetlinkError),
    /// No container of this host has that namespace; it may have ended meanwhile.
    #[error("no container of this host has the network namespace {0} (any more)")]
    NoNamespace(u64),
    /// Nothing could be watched at all.
    #[error("{0}")]
    Blind(String),
}

/// Sends probes from where the order says. Blocks until they are answered or given up.
///
/// # Errors
/// When the namespace is gone or may not be joined. What the network says of a probe is in the report.
pub fn probe(order: &ProbeOrder) -> Result<ProbeReport, TraceError> {
    let order = &order.clone().bounded();
    let Some(inode) = order.inside else { return Ok(probe::send(order)) };
    // Only namespaces at the other end of a cable of this host: an order must not reach into anything else.
    let namespace = namespace(&cables::list(&[])?, inode)?;
    Ok(netns::inside(namespace.as_fd(), || probe::send(order))?)
}

/// The file of a container's namespace, by its number.
fn namespace(plugged: &[Plugged], inode: u64) -> Result<OwnedFd, TraceError> {
    let file = plugged.iter().find(|plugged| plugged.cable.inode == Some(inode));
    let file = file.and_then(|plugged| plugged.namespace.as_ref()?.try_clone().ok());
    file.ok_or(TraceError::NoNamespace(inode))
}
