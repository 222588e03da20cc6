//! The hosts of the cluster, as the inventory lists them: the last good state, and what is wrong with the file
//! as it is now.

use std::path::{Path, PathBuf};

use byway_api::{InventoryStatus, Rejected};
use byway_fabric::cluster::{Cluster, Host, HostName};
use byway_fabric::inventory::{self, INVENTORY_BYTES_MAX, Inventory};
use jiff::Timestamp;

use crate::edge::inventory_file;
use crate::error::{AgentError, chain};
use crate::state::GoodInventory;

/// The inventory that is in force.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    me: Host,
    cluster: Cluster,
    good: GoodInventory,
    rejected: Option<Rejected>,
}

impl Store {
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
            (Ok(((cluster, me), text)), _) => {
                let good = GoodInventory { read_at: now, text };
                Ok(Self { path: path.to_owned(), me, cluster, good, rejected: None })
            }
            (Err(error), Some(good)) => {
                let Ok((cluster, me)) = accept(path, &good.text, me) else { return Err(error) };
                let rejected = Some(Rejected { since: now, mistakes: chain(&error) });
                Ok(Self { path: path.to_owned(), me, cluster, good: good.clone(), rejected })
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Reads the file again; returns whether what is in force has changed. A file that cannot be taken changes
    /// nothing and is told in the status.
    pub fn reread(&mut self, now: Timestamp) -> bool {
        let read = read(&self.path).and_then(|text| {
            if text == self.good.text {
                Ok(None)
            } else {
                Ok(Some((accept(&self.path, &text, &self.me.name)?, text)))
            }
        });
        match read {
            Ok(fresh) => {
                if self.rejected.take().is_some() {
                    tracing::info!(path = %self.path.display(), "the inventory is good again");
                }
                let Some(((cluster, me), text)) = fresh else { return false };
                self.good = GoodInventory { read_at: now, text };
                let changed = cluster != self.cluster || me != self.me;
                (self.cluster, self.me) = (cluster, me);
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

    /// This host.
    #[must_use]
    pub fn me(&self) -> &Host {
        &self.me
    }

    /// All hosts.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The text in force, for the state on disk.
    #[must_use]
    pub fn good(&self) -> &GoodInventory {
        &self.good
    }

    /// How the inventory stands.
    #[must_use]
    pub fn status(&self) -> InventoryStatus {
        InventoryStatus {
            path: self.path.display().to_string(),
            read_at: Some(self.good.read_at),
            rejected: self.rejected.clone(),
        }
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

fn accept(path: &Path, text: &str, me: &HostName) -> Result<(Cluster, Host), AgentError> {
    let inventory: Inventory =
        inventory::read(&path.display().to_string(), text).map_err(AgentError::Inventory)?;
    let host = inventory
        .host(me.as_str())
        .map_err(|missing| AgentError::NotListed(format!("{missing} ({})", missing.hint())))?
        .clone();
    Ok((inventory.into_cluster(), host))
}
