//! What was found out about the ways to peers by asking them, beside what this host's own links and routes say.
//!
//! Nothing here is believed: who fills it in has tried. Where nobody tried, it is empty, and all is as the routes say.

pub mod echo;
pub mod proof;

use std::collections::BTreeMap;

use crate::cluster::HostName;

/// What is known of the ways to peers; a peer that is missing here was not tried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// Each peer that was tried.
    pub peers: BTreeMap<HostName, PeerReach>,
}

/// What is known of the way to one peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerReach {
    /// Why nothing arrives there any more, as half a sentence, if that is so: its routes refuse packets then.
    pub gone: Option<String>,
    /// Whether the routers between carry packets of containers there and back: tried with such a packet.
    pub by_router: bool,
}

impl Reach {
    /// Why nothing arrives at a peer any more; none where all is well or nobody tried.
    #[must_use]
    pub fn gone(&self, peer: &HostName) -> Option<&str> {
        self.peers.get(peer)?.gone.as_deref()
    }

    /// Whether routers were tried and carry packets of containers to a peer.
    #[must_use]
    pub fn by_router(&self, peer: &HostName) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.by_router)
    }
}
