//! What an agent last heard from etcd, written down: it starts from there when etcd cannot be reached.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use byway_api::InventoryStatus;
use byway_fabric::observed::Observed;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::shared::Shared;
use super::{Known, Store, Told};
use crate::edge::inventory_file;
use crate::error::AgentError;
use crate::keep::Settings;
use crate::state::{Content, StateError};

/// The file below the state directory.
const FILE: &str = "cluster.json";
/// The largest: some thousand hosts at some hundred bytes each, many times over.
const FILE_BYTES_MAX: usize = 64 << 20;

/// A cluster as etcd had it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    path: String,
    known: Arc<Known>,
    read_at: Timestamp,
}

/// What is written down.
#[derive(Serialize, Deserialize)]
struct Page {
    /// Where it comes from: what was heard from another store is nothing here.
    store: String,
    read_at: Timestamp,
    known: Known,
}

impl Remembered {
    /// Reads it, for whoever only wants to know.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub(super) fn load(settings: &Settings, shared: &Shared) -> Result<Self, AgentError> {
        let path = shared.name();
        match read(&settings.state_dir, &path)? {
            Some((known, read_at)) => Ok(Self { path, known: Arc::new(known), read_at }),
            None => Err(AgentError::NothingHeard(path)),
        }
    }
}

impl Store for Remembered {
    fn known(&self) -> &Arc<Known> {
        &self.known
    }

    fn refresh(&mut self, _now: Timestamp) -> bool {
        false
    }

    fn status(&self) -> InventoryStatus {
        let Self { path, read_at, .. } = self.clone();
        InventoryStatus { path, read_at: Some(read_at), rejected: None, lease: None }
    }

    fn remember(&self, _content: &mut Content) {}

    fn look(&mut self, _observed: &Observed) {}

    fn leave(&mut self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn wakes(&self) -> Option<watch::Receiver<Told>> {
        None
    }
}

/// What was written down of this store, and when; none if there is nothing, or nothing that makes sense.
///
/// # Errors
/// When it is there and cannot be read.
pub(super) fn read(state_dir: &Path, store: &str) -> Result<Option<(Known, Timestamp)>, StateError> {
    let path = state_dir.join(FILE);
    let bytes = match inventory_file::read(&path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(StateError::Read { path, cause }),
    };
    match serde_json::from_slice(&bytes) {
        Ok(Page { known, read_at, store: written }) if written == store => Ok(Some((known, read_at))),
        Ok(page) => {
            tracing::info!(was = page.store, is = store, "the store is another one than before");
            Ok(None)
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "what was known of the cluster makes no sense");
            Ok(None)
        }
    }
}

/// Where it is written.
pub(super) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// Writes it down, whole.
///
/// # Errors
/// When that fails; what was there stays.
pub(super) fn write(path: &Path, store: &str, known: &Known, read_at: Timestamp) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let page = Page { store: store.to_owned(), read_at, known: known.clone() };
    let mut writer = io::BufWriter::new(file.as_file_mut());
    serde_json::to_writer(&mut writer, &page)?;
    writer.flush()?;
    drop(writer);
    file.persist(path)?;
    Ok(())
}
