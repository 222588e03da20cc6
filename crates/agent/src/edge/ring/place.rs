//! Opens things in somebody else's network namespace: on a thread that joins it, does that one thing and ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The one of this thread.
    Here,
    /// That of a process, as seen from here: a container's first one.
    Process(u32),
    /// That of a file: `/proc/PID/ns/net`, Docker's `SandboxKey` (`/var/run/docker/netns/…`), `/run/netns/NAME`.
    File(PathBuf),
}

/// Why a namespace cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Nobody is there any more, or never was.
    #[error("there is no network namespace at {}: has its container ended?", path.display())]
    Gone {
        /// Where it was looked for.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// It may not be opened or joined.
    #[error(
        "join the network namespace {}: this needs the capabilities CAP_SYS_ADMIN, to join it, and \
         CAP_SYS_PTRACE, for processes of other users (run it as root or with sudo)",
        path.display()
    )]
    NotAllowed {
        /// Which.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// It is no network namespace, or the kernel has another reason.
    #[error("join the network namespace {}", path.display())]
    Join {
        /// Which.
        path: PathBuf,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// No thread could be started.
    #[error("start a thread for another network namespace")]
    Thread(#[source] io::Error),
}

impl Place {
    /// Does one thing there. What it opens stays there; the calling thread stays where it is.
    ///
    /// # Errors
    /// See [`PlaceError`].
    ///
    /// # Panics
    /// If `work` does.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, PlaceError> {
        let Some(path) = self.path() else { return Ok(work()) };
        let failed = |cause| refused(&path, cause);
        let namespace = File::open(&path).map_err(failed)?;
        std::thread::scope(|scope| {
            let joined = || setns(&namespace, CloneFlags::CLONE_NEWNET).map(|()| work());
            let thread =
                std::thread::Builder::new().spawn_scoped(scope, joined).map_err(PlaceError::Thread)?;
            let done = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            done.map_err(|errno| refused(&path, errno.into()))
        })
    }

    /// The names of its interfaces, in the kernel's order.
    ///
    /// # Errors
    /// See [`PlaceError`]; none are listed if the kernel does not tell them.
    pub fn interfaces(&self) -> Result<Vec<String>, PlaceError> {
        self.inside(|| {
            let listed = nix::net::if_::if_nameindex().into_iter();
            let names = listed.flat_map(|list| {
                list.iter().map(|one| one.name().to_string_lossy().into_owned()).collect::<Vec<_>>()
            });
            names.collect()
        })
    }

    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Here => None,
            Self::Process(pid) => Some(format!("/proc/{pid}/ns/net").into()),
            Self::File(path) => Some(path.clone()),
        }
    }
}

fn refused(path: &Path, cause: io::Error) -> PlaceError {
    let path = path.to_owned();
    match cause.kind() {
        io::ErrorKind::NotFound => PlaceError::Gone { path, cause },
        io::ErrorKind::PermissionDenied => PlaceError::NotAllowed { path, cause },
        _ => PlaceError::Join { path, cause },
    }
}
