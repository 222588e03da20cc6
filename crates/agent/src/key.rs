//! The key of this host: made once, kept in its own file, never written over.
//!
//! The file holds what `wg genkey` prints: the private half, in base64, and the end of a line.

use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use byway_api::identity::{Identity, IdentityError};
use byway_fabric::cluster::{KEY_CHARACTERS, key_bytes};

use crate::edge::inventory_file;

/// The file below the state directory.
pub const FILE: &str = "key";
/// Who may do what with the file: its owner alone.
const MODE: u32 = 0o600;
/// The bits of a mode that let others in.
const OTHERS: u32 = 0o077;
/// More is no key: the text and a line's end, also Windows'.
const FILE_BYTES_MAX: usize = KEY_CHARACTERS + 2;

/// A key that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is there and cannot be read.
    #[error("read the key of this host, {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// What is in the file is no key.
    #[error("{} holds no key", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("others than its owner may use the key in {}: its mode is {mode:o}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It cannot be made.
    #[error("make a key for this host, {}", path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// The library has none.
    #[error("make a key for this host")]
    Library(#[from] IdentityError),
}

impl KeyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { cause, .. } | Self::Make { cause, .. }
                if cause.kind() == io::ErrorKind::PermissionDenied =>
            {
                Some("the key of this host is for root alone: use sudo".to_owned())
            }
            Self::Bad { path } => Some(format!(
                "copy it from a backup, or remove {} and let the agent make a new one: it then needs a new line in the inventory",
                path.display()
            )),
            Self::Open { path, .. } => Some(format!(
                "chmod 600 {}; if somebody may have read it, remove it, and a new one is made",
                path.display()
            )),
            Self::Read { .. } | Self::Make { .. } | Self::Library(_) => None,
        }
    }
}

/// The key in `state_dir`; none if there is none yet.
///
/// # Errors
/// When it is there and cannot be used.
pub fn load(state_dir: &Path) -> Result<Option<Identity>, KeyError> {
    let path = state_dir.join(FILE);
    let read = |cause| KeyError::Read { path: path.clone(), cause };
    let mode = match std::fs::metadata(&path) {
        Ok(found) => found.mode() & 0o7777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let bytes = inventory_file::read(&path, FILE_BYTES_MAX).map_err(read)?;
    let is_short = bytes.len() <= FILE_BYTES_MAX;
    let text =
        std::str::from_utf8(&bytes).ok().filter(|_| is_short).map(|text| text.trim_end_matches(['\r', '\n']));
    let Some(seed) = text.and_then(|text| key_bytes(text).ok()) else { return Err(KeyError::Bad { path }) };
    if mode & OTHERS != 0 {
        return Err(KeyError::Open { path, mode });
    }
    Ok(Some(Identity::from_seed(seed)?))
}

/// The key in `state_dir`, and whether it had to be made.
///
/// # Errors
/// When it is there and cannot be used, or cannot be made.
pub fn load_or_make(state_dir: &Path) -> Result<(Identity, bool), KeyError> {
    if let Some(identity) = load(state_dir)? {
        return Ok((identity, false));
    }
    let identity = Identity::make()?;
    let path = state_dir.join(FILE);
    match write(state_dir, &path, &identity) {
        Ok(()) => Ok((identity, true)),
        // The agent and a command began at the same moment: the first one's key is the host's.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match load(state_dir)? {
            Some(identity) => Ok((identity, false)),
            None => Err(KeyError::Make { path, cause: error }),
        },
        Err(cause) => Err(KeyError::Make { path, cause }),
    }
}

/// Writes the whole file beside its place and links it there, which fails if there is one.
fn write(state_dir: &Path, path: &Path, identity: &Identity) -> io::Result<()> {
    std::fs::create_dir_all(state_dir)?;
    let mut file = tempfile::Builder::new().prefix(".key-").tempfile_in(state_dir)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(MODE))?;
    writeln!(file, "{}", identity.private_text())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|failed| failed.error)?;
    std::fs::File::open(state_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("made/when/needed");
        assert!(load(&state).unwrap().is_none());
        let (made, is_new) = load_or_make(&state).unwrap();
        let (found, is_new_again) = load_or_make(&state).unwrap();
        assert_eq!((made.public(), is_new, is_new_again), (found.public(), true, false));
        let file = state.join("key");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), made.private_text() + "\n");
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1, "nothing half-written stays");
    }

    #[test]
    fn two_that_begin_at_once_have_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let start = || load_or_make(folder.path()).unwrap();
        let made: Vec<(Identity, bool)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|(_, is_new)| *is_new).count(), 1);
        assert!(made.iter().all(|(identity, _)| identity.public() == made[0].0.public()));
    }

    #[test]
    fn a_file_that_is_no_key_is_an_error_and_stays_as_it_is() {
        for bad in [
            "",
            "\n",
            "key",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n\n",
            "\u{fc}",
            &"A".repeat(1000),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("key");
            std::fs::write(&path, bad).unwrap();
            let error = load_or_make(folder.path()).unwrap_err();
            assert_eq!(error.to_string(), format!("{} holds no key", path.display()));
            assert!(error.hint().unwrap().contains("copy it from a backup"));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        load_or_make(folder.path()).unwrap();
        let path = folder.path().join("key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = load_or_make(folder.path()).unwrap_err();
        assert!(error.to_string().ends_with("its mode is 640"), "{error}");
        assert!(error.hint().unwrap().starts_with("chmod 600 /"));
    }
}
