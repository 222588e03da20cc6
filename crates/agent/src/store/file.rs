//! The hosts of the cluster, as the inventory lists them: the last good state, and what is wrong with the file
//! as it is now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use byway_api::{InventoryStatus, Rejected};
use byway_fabric::cluster::HostName;
use byway_fabric::inventory::{self, INVENTORY_BYTES_MAX, Inventory};
use byway_fabric::observed::Observed;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{Known, Store, Told};
use crate::edge::inventory_file;
use crate::error::{AgentError, chain};
use crate::state::{Content, GoodInventory};

/// The inventory that is in force.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    known: Arc<Known>,
    good: GoodInventory,
    rejected: Option<Rejected>,
}

impl FileStore {
    /// Reads the inventory, or falls back on the last good one.
    ///
    /// # Errors
    /// When the file cannot be taken and no good one is known.
    pub fn open(
        path: &Path,
        me: &HostName,
        last_good: Option<&GoodInventory>,
        now: Timestamp,
    ) -> Result<Self, AgentError> {
        let read = read(path).and_then(|text| Ok((accept(path, &text, me)?, text)));
        match (read, last_good) {
            (Ok((known, text)), _) => {
                let good = GoodInventory { read_at: now, text };
                Ok(Self { path: path.to_owned(), known, good, rejected: None })
            }
            (Err(error), Some(good)) => {
                let Ok(known) = accept(path, &good.text, me) else { return Err(error) };
                let rejected = Some(Rejected { since: now, mistakes: chain(&error) });
                Ok(Self { path: path.to_owned(), known, good: good.clone(), rejected })
            }
            (Err(error), None) => Err(error),
        }
    }
}

impl Store for FileStore {
    fn known(&self) -> &Arc<Known> {
        &self.known
    }

    fn refresh(&mut self, now: Timestamp) -> bool {
        let read = read(&self.path).and_then(|text| {
            if text == self.good.text {
                Ok(None)
            } else {
                Ok(Some((accept(&self.path, &text, &self.known.me.name)?, text)))
            }
        });
        match read {
            Ok(fresh) => {
                if self.rejected.take().is_some() {
                    tracing::info!(path = %self.path.display(), "the inventory is good again");
                }
                let Some((known, text)) = fresh else { return false };
                self.good = GoodInventory { read_at: now, text };
                let changed = known != self.known;
                self.known = known;
                changed
            }
            Err(error) => {
                let mistakes = chain(&error);
                if self.rejected.as_ref().is_none_or(|rejected| rejected.mistakes != mistakes) {
                    tracing::error!(%mistakes, "the inventory is not taken; the last good one stays in force");
                    let since = self.rejected.as_ref().map_or(now, |rejected| rejected.since);
                    self.rejected = Some(Rejected { since, mistakes });
                }
                false
            }
        }
    }

    fn status(&self) -> InventoryStatus {
        InventoryStatus {
            path: self.path.display().to_string(),
            read_at: Some(self.good.read_at),
            rejected: self.rejected.clone(),
            lease: None,
        }
    }

    fn remember(&self, content: &mut Content) {
        content.inventory = Some(self.good.clone());
    }

    fn look(&mut self, _observed: &Observed) {}

    fn leave(&mut self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn wakes(&self) -> Option<watch::Receiver<Told>> {
        None
    }
}

fn read(path: &Path) -> Result<String, AgentError> {
    let read = inventory_file::read(path, INVENTORY_BYTES_MAX);
    let bytes = read.map_err(|cause| AgentError::ReadInventory { path: path.to_owned(), cause })?;
    String::from_utf8(bytes).map_err(|error| {
        let mistakes = inventory::read_bytes(&path.display().to_string(), error.as_bytes());
        mistakes
            .map_or_else(AgentError::Inventory, |_| unreachable!("bytes that are not UTF-8 are a mistake"))
    })
}

/// What an inventory that can be read says of a host and its cluster.
pub(super) fn accept(path: &Path, text: &str, me: &HostName) -> Result<Arc<Known>, AgentError> {
    let inventory: Inventory =
        inventory::read(&path.display().to_string(), text).map_err(AgentError::Inventory)?;
    let host = inventory
        .host(me.as_str())
        .map_err(|missing| AgentError::NotListed(format!("{missing} ({})", missing.hint())))?
        .clone();
    Ok(Arc::new(Known { me: host, cluster: inventory.into_cluster() }))
}
