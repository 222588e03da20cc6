//! What the agent must know after a restart: what was there before it, and the last good inventory.
//!
//! One JSON file, written whole to a neighbour and renamed, so that it is the old one or the new one and never
//! half of each. The settings in it are void after a boot: the kernel has forgotten them too.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use byway_fabric::plan::Memory;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const FILE: &str = "state.json";
/// The largest state: an inventory of 4 MiB, escaped.
const STATE_BYTES_MAX: usize = 16 << 20;

/// The state, and where it is kept.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    /// What is remembered.
    pub content: Content,
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Content {
    /// The boot in which the settings were changed (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// What was there before us.
    pub memory: Memory,
    /// Files and folders that we made outside of our own directories.
    pub made: Vec<PathBuf>,
    /// The last inventory without mistakes.
    pub inventory: Option<GoodInventory>,
}

/// An inventory that could be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoodInventory {
    /// When it was read.
    pub read_at: Timestamp,
    /// Its text.
    pub text: String,
}

/// A state that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is there and cannot be read.
    #[error("read the state {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// It cannot be written.
    #[error("write the state {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
}

impl State {
    /// Reads the state in `directory`. One that is not there is empty; one that makes no sense is put aside as
    /// `state.json.broken` and is empty too.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn load(directory: &Path) -> Result<Self, StateError> {
        let path = directory.join(FILE);
        let mut content = match crate::edge::inventory_file::read(&path, STATE_BYTES_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| put_aside(&path, &error)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Content::default(),
            Err(cause) => return Err(StateError::Read { path, cause }),
        };
        let boot = boot_id();
        if content.boot != boot {
            content.memory = Memory::default();
            content.boot = boot;
        }
        Ok(Self { directory: directory.to_owned(), content })
    }

    /// Writes the state down.
    ///
    /// # Errors
    /// [`StateError::Write`].
    pub fn save(&self) -> Result<(), StateError> {
        let path = self.directory.join(FILE);
        self.replace(&path).map_err(|cause| StateError::Write { path, cause })
    }

    fn replace(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(&self.directory)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        serde_json::to_writer(&mut file, &self.content)?;
        file.flush()?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }

    /// Forgets everything, the file too.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn forget(&mut self) -> Result<(), StateError> {
        self.content = Content { boot: boot_id(), ..Content::default() };
        let path = self.directory.join(FILE);
        match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StateError::Write { path, cause }),
            _ => Ok(()),
        }
    }
}

fn put_aside(path: &Path, error: &serde_json::Error) -> Content {
    let aside = path.with_extension("json.broken");
    tracing::warn!(%error, aside = %aside.display(), "the state makes no sense; it is put aside");
    // If even that fails, the next save replaces it; there is nothing to be read from it anyway.
    let _ = std::fs::rename(path, &aside);
    Content::default()
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
