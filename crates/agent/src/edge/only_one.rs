//! One agent per host: a lock on a file in the run directory, which the kernel gives back however we end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// The lock; it is held as long as this lives.
#[derive(Debug)]
pub struct OnlyOne {
    _lock: Flock<File>,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it.
    #[error("another byway agent runs on this host already{}", pid.as_ref().map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Taken {
        /// The process, as it wrote it down.
        pid: Option<String>,
    },
    /// The file cannot be made or opened.
    #[error("open the lock {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
}

impl OnlyOne {
    /// Takes the lock in `run_dir`, which is made if it is not there.
    ///
    /// # Errors
    /// When another agent has it, or the directory cannot be used.
    pub fn take(run_dir: &Path) -> Result<Self, LockError> {
        let path = run_dir.join("agent.lock");
        let open = |cause| LockError::Open { path: path.clone(), cause };
        std::fs::create_dir_all(run_dir).map_err(open)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(open)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(open)?;
                Ok(Self { _lock: lock })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let read = file.rewind().and_then(|()| file.read_to_string(&mut pid));
                let pid = read.ok().map(|_| pid.trim().to_owned()).filter(|pid| !pid.is_empty());
                Err(LockError::Taken { pid })
            }
            Err((_, errno)) => Err(open(errno.into())),
        }
    }
}
