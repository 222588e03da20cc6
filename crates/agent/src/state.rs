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

#[cfg(test)]
mod tests {
    use byway_fabric::observed::Observed;
    use byway_fabric::plan::Step;
    use byway_fabric::sysctl::{Setting, Sysctl};

    use super::*;

    fn forwarding_was_off() -> Memory {
        let mut memory = Memory::default();
        let sysctl = Sysctl::v4("eth0", Setting::Forwarding);
        let step =
            Step::PutSysctl { sysctl, from: "0".to_owned(), to: "1".to_owned(), because: String::new() };
        assert!(memory.note(&step, &Observed::default()));
        memory
    }

    fn kept(folder: &Path) -> State {
        let mut state = State::load(folder).unwrap();
        state.content.memory = forwarding_was_off();
        state.content.made = vec!["/etc/iproute2/rt_protos.d/byway.conf".into()];
        state.content.inventory =
            Some(GoodInventory { read_at: Timestamp::UNIX_EPOCH, text: "[[host]]\n".to_owned() });
        state.save().unwrap();
        state
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_saved_is_loaded_and_forgotten_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("made/when/needed");
        assert_eq!(State::load(&folder).unwrap().content.memory, Memory::default());
        let mut state = kept(&folder);
        assert_eq!(State::load(&folder).unwrap().content, state.content);
        assert_eq!(files(&folder), ["state.json"], "nothing half-written stays");
        state.forget().unwrap();
        assert_eq!(files(&folder), [""; 0]);
        state.forget().unwrap();
        assert_eq!(State::load(&folder).unwrap().content, state.content);
    }

    #[test]
    fn a_state_that_makes_no_sense_is_put_aside() {
        let half = r#"{"boot": "b", "memory": {"sysctls": {"net.ipv4."#;
        let foreign = r#"{"memory": {"sysctls": {"kernel.panic": {"was": "0", "put": "1"}}}}"#;
        for broken in ["", "{", "7", "\0\0\0", half, foreign] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("state.json"), broken).unwrap();
            let state = State::load(folder.path()).unwrap();
            assert_eq!(state.content, Content { boot: boot_id(), ..Content::default() }, "{broken}");
            assert_eq!(files(folder.path()), ["state.json.broken"], "{broken}");
            assert_eq!(std::fs::read_to_string(folder.path().join("state.json.broken")).unwrap(), broken);
            state.save().unwrap();
            assert_eq!(State::load(folder.path()).unwrap().content, state.content);
        }
    }

    #[test]
    fn after_a_boot_the_settings_are_void_and_the_rest_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = kept(folder.path());
        state.content.boot = "an earlier one".to_owned();
        state.save().unwrap();
        let loaded = State::load(folder.path()).unwrap().content;
        assert_eq!(loaded.memory, Memory::default());
        assert_eq!(loaded.boot, boot_id());
        assert_eq!((loaded.made, loaded.inventory), (state.content.made, state.content.inventory));
    }

    #[test]
    fn a_state_that_cannot_be_read_or_written_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state.json")).unwrap();
        let error = State::load(folder.path()).unwrap_err();
        assert!(error.to_string().starts_with("read the state /"), "{error}");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = State { directory: file, content: Content::default() }.save().unwrap_err();
        assert!(error.to_string().starts_with("write the state /"), "{error}");
    }
}
