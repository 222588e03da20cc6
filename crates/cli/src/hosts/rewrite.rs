//! Replaces a file as a whole: whoever reads it sees the old text or the new one, also after a power failure.
//!
//! The lock is on the folder, not on the file: the file is replaced by another one, and a lock on it would be
//! a lock on a file that is no longer there.

use std::fs::{self, File, Metadata, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::libc;

use crate::complaint::Advised;

/// How a file that did not exist is made: for all to read, as it holds no secrets.
const NEW_FILE_MODE: u32 = 0o644;

/// A file that nobody else edits while this value lives.
pub(super) struct Locked {
    /// The file itself, where the path given is a link to it.
    path: PathBuf,
    folder: PathBuf,
    /// The lock goes with it.
    folder_file: File,
    before: Option<Metadata>,
}

impl Locked {
    /// Waits until nobody else edits files in the folder of `path`, which may not exist yet.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let path = resolve(path)?;
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let folder_file = File::open(&folder).with_context(|| format!("open {}", folder.display()))?;
        lock(&folder, &folder_file)?;
        let before = match fs::metadata(&path) {
            Ok(found) if found.is_file() => Some(found),
            Ok(_) => anyhow::bail!("{} is not a file", path.display()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("look at {}", path.display())),
        };
        Ok(Self { path, folder, folder_file, before })
    }

    /// What is in the file; nothing if it does not exist.
    pub(super) fn read(&self) -> anyhow::Result<Vec<u8>> {
        match self.before {
            Some(_) => fs::read(&self.path).with_context(|| format!("read {}", self.path.display())),
            None => Ok(Vec::new()),
        }
    }

    /// Puts `text` in the place of what was there, with the same mode and owner.
    pub(super) fn replace(self, text: &str) -> anyhow::Result<()> {
        let file = tempfile::Builder::new().prefix(".byway-").tempfile_in(&self.folder);
        let mut file = file.map_err(|cause| not_writable(&self.folder, cause))?;
        file.write_all(text.as_bytes()).with_context(|| format!("write in {}", self.folder.display()))?;
        self.keep_owner_and_mode(file.as_file())?;
        file.as_file()
            .sync_all()
            .with_context(|| format!("write to the disk of {}", self.folder.display()))?;
        file.persist(&self.path).map_err(|failed| not_replaceable(&self.path, failed.error))?;
        self.folder_file.sync_all().with_context(|| format!("write to the disk of {}", self.folder.display()))
    }

    fn keep_owner_and_mode(&self, file: &File) -> anyhow::Result<()> {
        let mode = self.before.as_ref().map_or(NEW_FILE_MODE, |before| before.mode() & 0o7777);
        if let Some(before) = &self.before {
            let ours = file.metadata().context("look at the new file")?;
            if (ours.uid(), ours.gid()) != (before.uid(), before.gid()) {
                let chown = fchown(file, Some(before.uid()), Some(before.gid()));
                chown.map_err(|cause| not_ours(&self.path, before, cause))?;
            }
        }
        // After the owner: a change of owner can take bits away.
        file.set_permissions(Permissions::from_mode(mode)).context("set the mode of the new file")
    }
}

/// The file behind `path`, also where `path` is a link; the file itself may be missing, its folder may not.
fn resolve(path: &Path) -> anyhow::Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(path) => return Ok(path),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("find {}", path.display()));
        }
        Err(_) => {}
    }
    if path.is_symlink() {
        anyhow::bail!("{} is a link to a file that does not exist", path.display());
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        anyhow::bail!("{} is not the name of a file", path.display());
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let found = fs::canonicalize(folder).map_err(|cause| Advised {
        what: format!("find the folder {}", folder.display()),
        hint: format!("`mkdir -p {}` makes it; --inventory names another file", folder.display()),
        cause: Some(cause),
    })?;
    Ok(found.join(name))
}

fn lock(folder: &Path, file: &File) -> anyhow::Result<()> {
    match file.try_lock() {
        Ok(()) => return Ok(()),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock {}", folder.display()));
        }
    }
    // The other one needs milliseconds, and its lock ends with it.
    let _ = writeln!(anstream::stderr(), "waiting for another byway that edits in {}", folder.display());
    file.lock().with_context(|| format!("lock {}", folder.display()))
}

fn not_writable(folder: &Path, cause: io::Error) -> anyhow::Error {
    let hint = match cause.kind() {
        ErrorKind::PermissionDenied => {
            "run it as root or through sudo; --dry-run shows the text without writing"
        }
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only; --inventory names another file",
        ErrorKind::StorageFull => "the disk is full",
        _ => return anyhow::Error::new(cause).context(format!("make a file in {}", folder.display())),
    };
    let what = format!("the folder {} is not writable", folder.display());
    // Only the kind: the error itself names a temporary file that means nothing to the reader.
    Advised { what, hint: hint.into(), cause: Some(cause.kind().into()) }.into()
}

fn not_replaceable(path: &Path, cause: io::Error) -> anyhow::Error {
    let what = format!("replace {}", path.display());
    if cause.raw_os_error() == Some(libc::EBUSY) {
        let hint = "the file is mounted by itself, as into a container: mount its folder instead".into();
        return Advised { what, hint, cause: Some(cause) }.into();
    }
    anyhow::Error::new(cause).context(what)
}

fn not_ours(path: &Path, before: &Metadata, cause: io::Error) -> anyhow::Error {
    let what = format!("keep user {} and group {} of {}", before.uid(), before.gid(), path.display());
    Advised { what, hint: "run it as root or as that user".into(), cause: Some(cause) }.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn mode_and_owner_stay_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.toml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        Locked::open(&path).unwrap().replace("new").unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_ne!(after.ino(), before.ino());
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert_eq!(names(folder.path()), ["inventory.toml"]);
    }

    #[test]
    fn a_file_that_was_not_there_is_made_for_all_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.toml");
        let locked = Locked::open(&path).unwrap();
        assert_eq!(locked.read().unwrap(), b"");
        locked.replace("new").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
    }

    #[test]
    fn a_link_stays_a_link_and_its_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real.toml"), folder.path().join("link.toml"));
        fs::write(&real, "old").unwrap();
        symlink("real.toml", &link).unwrap();
        Locked::open(&link).unwrap().replace("new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");

        fs::remove_file(&real).unwrap();
        let refused = Locked::open(&link).err().unwrap().to_string();
        assert_eq!(refused, format!("{} is a link to a file that does not exist", link.display()));
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Locked::open(folder.path()).err().unwrap().to_string();
        assert!(refused.ends_with(" is not a file"), "{refused}");
        let refused = Locked::open(&folder.path().join("gone/inventory.toml")).err().unwrap();
        assert!(refused.to_string().starts_with("find the folder "), "{refused}");
    }

    #[test]
    fn two_editors_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let add_lines = || {
            for _ in 0..50 {
                let locked = Locked::open(&path).unwrap();
                let text = String::from_utf8(locked.read().unwrap()).unwrap();
                locked.replace(&(text + "line\n")).unwrap();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(add_lines);
            scope.spawn(add_lines);
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\n".repeat(100));
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}
