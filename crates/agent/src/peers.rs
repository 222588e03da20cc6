//! How other hosts ask this one: TLS on the host's own addresses, with keys that the inventory lists.
//!
//! ```text
//! listen.rs  one task for each address takes connections            (edge/tcp.rs: the sockets)
//! talk.rs    one task for each connection: handshake, who is it, HTTP until it is over
//! door.rs    who may come in: the inventory in force, how many are here, who was refused
//! routes.rs  what can be asked                                       (lines.rs: answers that come bit by bit)
//! ```
//!
//! A peer may look, never touch: nothing here changes the host. The most it gets is a probe from a container, an
//! ordinary packet (trace.rs), and, if it was gone, a trial of its own routes (`crate::health`). Whatever goes wrong here is told in the status and
//! ends neither the agent nor its routes.

mod door;
mod lines;
mod listen;
mod routes;
mod talk;
#[cfg(test)]
mod tests;
mod trace;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use byway_api::PeersStatus;
use byway_api::identity::Identity;
use byway_fabric::problem::{Problem, ProblemKind};
use jiff::Timestamp;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::error::chain;
use crate::key::KeyError;
use crate::store::Known;
use door::Door;
pub use lines::lines;
pub(crate) use routes::routes;
pub use talk::Asker;

/// The server for other hosts, while it lives.
#[derive(Debug)]
pub(crate) struct Peers {
    identity: Result<Identity, Problem>,
    door: Arc<Door>,
    task: Option<JoinHandle<()>>,
}

impl Peers {
    /// Starts to listen. `routes` is what a host that is known can ask.
    pub(crate) fn start(
        identity: Result<Identity, KeyError>,
        port: u16,
        known: Arc<Known>,
        routes: impl FnOnce(&Arc<Door>) -> Router,
    ) -> Self {
        let door = Arc::new(Door::new(known));
        let identity = identity.and_then(|identity| Ok((Arc::new(identity.serve()?), identity)));
        match identity {
            Ok((config, identity)) => {
                let acceptor = TlsAcceptor::from(config);
                let routes = routes(&door);
                let task = tokio::spawn(listen::listen(door.clone(), port, acceptor, routes));
                Self { identity: Ok(identity), door, task: Some(task) }
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "other hosts cannot ask this one");
                Self { identity: Err(no_key(&error)), door, task: None }
            }
        }
    }

    /// Goes by another state of the inventory from now on; whoever it does not list any more is hung up on.
    pub(crate) fn learn(&self, known: Arc<Known>) {
        self.door.learn(known);
    }

    /// Tells others from now on that this host speaks with these addresses along the data path.
    pub(crate) fn speak_as(&self, addresses: Vec<IpAddr>) {
        self.door.speak_as(addresses);
    }

    /// How it stands.
    pub(crate) fn status(&self) -> PeersStatus {
        let key = self.identity.as_ref().ok().map(Identity::public);
        PeersStatus {
            key,
            listening: self.door.listening(),
            refused: self.door.refused(Timestamp::now()),
            hint: key.and_then(|key| self.door.missing(&key)),
        }
    }

    /// What somebody should look at.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        match &self.identity {
            Err(problem) => vec![problem.clone()],
            Ok(identity) => {
                let mut problems: Vec<Problem> =
                    self.door.other_key(&identity.public()).into_iter().collect();
                problems.extend(self.door.deaf());
                problems
            }
        }
    }

    /// Stops to listen.
    pub(crate) fn stop(self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn no_key(error: &KeyError) -> Problem {
    let what = format!("other hosts cannot ask this one: {}", chain(error));
    Problem { kind: ProblemKind::Peers, host: None, what, hint: error.hint() }
}
