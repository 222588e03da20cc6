//! A store in etcd as people change it: look at the whole, change something, done or not.

use byway_fabric::lease::{Listing, Registry, Transaction};

use super::member::{entry, request};
use super::shared::Shared;
use crate::edge::etcd::{Etcd, EtcdError, Outcome};

/// So often a change is decided anew because somebody else was faster. Hosts that enter write once, then they rest.
const TRIES_MAX: usize = 20;

/// What a store in etcd has, to look at and to change.
#[derive(Debug)]
pub struct Records {
    etcd: Etcd,
    registry: Registry,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It makes no sense as the store stands.
    #[error("{0}")]
    Refused(String),
    /// Etcd.
    #[error("change the cluster in etcd")]
    Etcd(#[from] EtcdError),
    /// Others change the same all the time.
    #[error("others change the same all the time; nothing was changed")]
    Busy,
}

impl Records {
    /// Reads all of it.
    ///
    /// # Errors
    /// When etcd cannot be reached, or says no.
    pub async fn open(shared: &Shared) -> Result<Self, EtcdError> {
        let etcd = Etcd::connect(&shared.options).await?;
        let registry = list(&etcd).await?;
        Ok(Self { etcd, registry })
    }

    /// What was there when it was last read.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Does what `decide` says as the store stands, and reads it again; whether anything had to be done. It is decided anew
    /// when somebody else was faster. `what` tells it in errors.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change(
        &mut self,
        what: &str,
        decide: impl Fn(&Registry) -> Result<Option<Transaction>, String>,
    ) -> Result<bool, ChangeError> {
        for _ in 0..TRIES_MAX {
            let Some(transaction) = decide(&self.registry).map_err(ChangeError::Refused)? else {
                return Ok(false);
            };
            let outcome = self.etcd.commit(&request(what, &transaction, None)).await?;
            self.registry = list(&self.etcd).await?;
            if matches!(outcome, Outcome::Done(_)) {
                return Ok(true);
            }
        }
        Err(ChangeError::Busy)
    }
}

async fn list(etcd: &Etcd) -> Result<Registry, EtcdError> {
    let entries = etcd.list("").await?.entries.into_iter().map(entry).collect();
    Ok(Registry::read(&Listing { entries }))
}
