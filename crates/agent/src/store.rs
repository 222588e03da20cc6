//! Where the hosts of the cluster come from: a file, or etcd. Both mean the same.
//!
//! What is in force is the last good state. A store that cannot be read or reached changes nothing: the status says since
//! when and why, and an agent starts from what it last knew.

mod file;
mod id;
mod member;
mod records;
mod remembered;
mod shared;
mod uses;

use std::fmt;
use std::sync::Arc;

use byway_api::InventoryStatus;
use byway_fabric::cluster::{Cluster, Host};
use byway_fabric::observed::Observed;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use file::FileStore;
pub use id::IdError;
pub use member::Told;
pub use records::{ChangeError, Records};
pub use remembered::Remembered;
pub use shared::{Shared, SharedStore};

use crate::error::AgentError;
use crate::keep::Settings;
use crate::state::Content;

/// What is in force: this host, and all hosts of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// This host.
    pub me: Host,
    /// All hosts.
    pub cluster: Cluster,
}

/// Where the hosts come from.
pub trait Store: fmt::Debug + Send {
    /// What is in force.
    fn known(&self) -> &Arc<Known>;

    /// Takes in what the store says now; whether what is in force has changed. What cannot be taken changes nothing, and is
    /// told in the status.
    fn refresh(&mut self, now: Timestamp) -> bool;

    /// How the store stands.
    fn status(&self) -> InventoryStatus;

    /// Writes down what must survive a restart, as far as it is kept with the rest of the state.
    fn remember(&self, content: &mut Content);

    /// Hears what a look has found on this host.
    fn look(&mut self, observed: &Observed);

    /// Takes this host out of the sight of the others, when everything of Byway's was taken out of it. It keeps its subnets.
    fn leave(&mut self) -> BoxFuture<'_, ()>;

    /// Wakes whoever waits when there is something to take in; none where a file tells by itself.
    fn wakes(&self) -> Option<watch::Receiver<Told>>;
}

/// Opens the store that the settings name.
///
/// # Errors
/// When nothing can be in force: the inventory has mistakes and no good one is known, or this host can have no id.
pub fn open(settings: &Settings, content: &Content, now: Timestamp) -> Result<Box<dyn Store>, AgentError> {
    match &settings.shared {
        None => {
            let last_good = content.inventory.as_ref();
            Ok(Box::new(FileStore::open(&settings.inventory, &settings.host, last_good, now)?))
        }
        Some(shared) => Ok(Box::new(SharedStore::open(settings, shared, content, now)?)),
    }
}

/// What is in force as far as it can be told without an agent: the inventory as it is, or what an agent last heard from
/// etcd and wrote down.
///
/// # Errors
/// When the inventory cannot be taken, or no agent has heard from etcd yet.
pub fn last_known(settings: &Settings, now: Timestamp) -> Result<Box<dyn Store>, AgentError> {
    match &settings.shared {
        None => Ok(Box::new(FileStore::open(&settings.inventory, &settings.host, None, now)?)),
        Some(shared) => Ok(Box::new(Remembered::load(settings, shared)?)),
    }
}
