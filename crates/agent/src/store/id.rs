//! Who this host is, whatever its name and address are: made once, kept in its own file.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use byway_fabric::lease::HostId;

use crate::edge::{chance, inventory_file};

/// The file below the state directory.
const FILE: &str = "id";
/// More is no id: the digits and a line's end.
const FILE_BYTES_MAX: usize = 34;

/// An id that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdError {
    /// It cannot be read or written.
    #[error("keep the id of this host in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// What is in the file is no id.
    #[error("{} holds no id of a host", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
    },
}

/// The id in `state_dir`, made if there is none.
///
/// # Errors
/// When it is there and cannot be read, or cannot be written.
pub(super) fn load_or_make(state_dir: &Path) -> Result<HostId, IdError> {
    let path = state_dir.join(FILE);
    let failed = |cause| IdError::File { path: path.clone(), cause };
    match inventory_file::read(&path, FILE_BYTES_MAX) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).unwrap_or_default().trim_end().to_owned();
            HostId::try_from(text).map_err(|_| IdError::Bad { path })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(state_dir, &path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

fn make(state_dir: &Path, path: &Path) -> io::Result<HostId> {
    let id = HostId::of(u128::from_ne_bytes(chance::bytes()?));
    std::fs::create_dir_all(state_dir)?;
    let mut file = tempfile::NamedTempFile::new_in(state_dir)?;
    writeln!(file, "{id}")?;
    file.as_file().sync_all()?;
    // Whoever was first has made it: two agents never run at once, so it is ours either way.
    file.persist(path)?;
    tracing::info!(%id, "made an id for this host");
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_and_one_that_is_none_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let id = load_or_make(folder.path()).unwrap();
        assert_eq!(load_or_make(folder.path()).unwrap(), id);
        for text in ["", "no id\n", &"0".repeat(33), "0123456789ABCDEF0123456789ABCDEF\n"] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            assert!(matches!(load_or_make(folder.path()), Err(IdError::Bad { .. })), "{text:?}");
        }
    }
}
