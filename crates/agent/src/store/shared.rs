//! The hosts as etcd has them: what the agent's membership (`member.rs`) tells, taken in when the loop asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use byway_api::{InventoryStatus, LeaseStatus};
use byway_fabric::cluster::{Cluster, Host};
use byway_fabric::desired::Choices;
use byway_fabric::lease::Claimant;
use byway_fabric::observed::Observed;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::member::{Member, Told};
use super::uses::Surroundings;
use super::{Known, Store, file, id, remembered};
use crate::edge::etcd::Options;
use crate::edge::resolvers;
use crate::error::AgentError;
use crate::keep::Settings;
use crate::key;
use crate::state::Content;

/// What must be known for a store in etcd.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where it is, and as whom we come.
    pub options: Options,
    /// How long this host keeps its place when it is not heard of.
    pub lease: Duration,
    /// This host's addresses on the underlay; empty means those by which it reaches etcd.
    pub addresses: Vec<IpAddr>,
}

impl Shared {
    /// As it is called in sentences: `etcd https://10.0.0.1:2379 /byway/`.
    #[must_use]
    pub fn name(&self) -> String {
        let endpoints: Vec<String> = self.options.endpoints.iter().map(ToString::to_string).collect();
        format!("etcd {} {}", endpoints.join(","), self.options.prefix)
    }
}

/// What the last look has found; none before there was one.
pub(super) type Seen = Option<Surroundings>;

/// The hosts as etcd has them.
#[derive(Debug)]
pub struct SharedStore {
    name: String,
    known: Arc<Known>,
    told: watch::Receiver<Told>,
    choices: Choices,
    seen: watch::Sender<Seen>,
    /// To end the membership, and to hear that it has ended.
    leave: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl SharedStore {
    /// Begins to take part, as a task beside the agent's loop. In force is what was known last; in a cluster that is moving
    /// over from inventories that is the last good one.
    ///
    /// # Errors
    /// When this host can have no id, or what it knew last cannot be read.
    pub(super) fn open(
        settings: &Settings,
        shared: &Shared,
        content: &Content,
        now: Timestamp,
    ) -> Result<Self, AgentError> {
        let (name, state_dir) = (shared.name(), &settings.state_dir);
        let id = id::load_or_make(state_dir)?;
        let written = remembered::read(state_dir, &name)?;
        let subnets = written.as_ref().map(|(known, _)| known.me.subnets.clone()).unwrap_or_default();
        let read_at = written.as_ref().map(|(_, read_at)| *read_at);
        let known = written.map(|(known, _)| Arc::new(known));
        let moved = || {
            let good = content.inventory.as_ref()?;
            file::accept(&settings.inventory, &good.text, &settings.host).ok()
        };
        let alone = || Arc::new(alone(settings, shared));
        let known = known.or_else(moved).unwrap_or_else(alone);
        // Whatever is wrong with the key is told where hosts ask each other.
        let key = key::load_or_make(state_dir).ok().map(|(identity, _)| identity.public());
        let claimant = Claimant {
            id,
            name: settings.host.clone(),
            addresses: shared.addresses.clone(),
            key,
            subnets,
            uses: Vec::new(),
            generation: None,
        };
        let (tell, told) = watch::channel(Told::nothing(read_at, now));
        let (seen, hear) = watch::channel(None);
        let member = Member::new(shared.clone(), claimant, remembered::path(state_dir), tell, hear);
        let (leave, left) = oneshot::channel();
        let leave = Some((leave, tokio::spawn(member.run(left))));
        Ok(Self { name, known, told, choices: settings.choices.clone(), seen, leave })
    }
}

/// A host that knows of no others.
fn alone(settings: &Settings, shared: &Shared) -> Known {
    let (name, addresses) = (settings.host.clone(), shared.addresses.clone());
    let me = Host { name, addresses, subnets: Vec::new(), key: None };
    Known { cluster: Cluster { prefixes: Vec::new(), hosts: vec![me.clone()] }, me }
}

impl Store for SharedStore {
    fn known(&self) -> &Arc<Known> {
        &self.known
    }

    fn refresh(&mut self, _now: Timestamp) -> bool {
        let Some(known) = self.told.borrow_and_update().known.clone() else { return false };
        let changed = !Arc::ptr_eq(&known, &self.known) && known != self.known;
        self.known = known;
        changed
    }

    fn status(&self) -> InventoryStatus {
        let told = self.told.borrow();
        let (subnets, renewed_at) = (self.known.me.subnets.clone(), told.renewed_at);
        let lease = LeaseStatus { subnets, renewed_at, errors: told.errors, ..told.lease.clone() };
        InventoryStatus {
            path: self.name.clone(),
            read_at: told.read_at,
            rejected: told.trouble.clone(),
            lease: Some(lease),
        }
    }

    fn remember(&self, _content: &mut Content) {}

    fn look(&mut self, observed: &Observed) {
        let found = Surroundings::of(observed, &self.choices, &resolvers::read());
        self.seen.send_if_modified(|seen| {
            let is_new = seen.as_ref() != Some(&found);
            *seen = Some(found);
            is_new
        });
    }

    fn leave(&mut self) -> BoxFuture<'_, ()> {
        let leave = self.leave.take();
        async move {
            let Some((leave, ended)) = leave else { return };
            // Whoever has ended already has nothing to leave.
            if leave.send(()).is_ok() {
                let _ = ended.await;
            }
        }
        .boxed()
    }

    fn wakes(&self) -> Option<watch::Receiver<Told>> {
        Some(self.told.clone())
    }
}
