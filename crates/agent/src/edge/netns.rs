//! Other network namespaces of this machine: finds those that processes live in or that have a name, and works inside
//! of one.
//!
//! Nothing of a container is changed, and none of its programs is run: a thread of ours joins its network for a
//! moment (`setns(2)`), and what it opens there stays there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;

use nix::sched::{CloneFlags, setns};

/// Namespaces that are looked at on one machine: more containers than Docker's default pools can number.
const NAMESPACES_MAX: usize = 8192;

/// Where namespaces have names: `ip netns` gives them to people, Docker to itself.
const NAMED: [&str; 2] = ["/run/netns", "/run/docker/netns"];

/// A network namespace of this machine.
#[derive(Debug)]
pub struct Namespace {
    /// Open, so that it stays while this value does.
    pub file: OwnedFd,
    /// Its number on this machine, as `readlink /proc/PID/ns/net` shows it.
    pub inode: u64,
    /// A process in it, if there is one.
    pub pid: Option<u32>,
    /// Its name for `ip netns`, if it has one.
    pub name: Option<String>,
}

/// Why a namespace cannot be worked in.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The privilege is missing.
    #[error(
        "this needs the capability CAP_SYS_ADMIN, to work inside of a container's network namespace \
         (run it as root, with sudo, or give it AmbientCapabilities=CAP_SYS_ADMIN)"
    )]
    NotAllowed(#[source] io::Error),
    /// The kernel refused, or there is no thread to do it.
    #[error("work inside of another network namespace")]
    Join(#[source] io::Error),
    /// `/proc` cannot be read.
    #[error("look for the network namespaces of this machine's processes in /proc")]
    Proc(#[source] io::Error),
}

/// The namespaces of this machine without that of this thread, by their number. What ends meanwhile, or may not be
/// looked at, is passed over.
///
/// # Errors
/// [`NamespaceError::Proc`].
pub fn others() -> Result<BTreeMap<u64, Namespace>, NamespaceError> {
    let ours = number(&open("/proc/thread-self/ns/net".into()).map_err(NamespaceError::Proc)?);
    let mut found: BTreeMap<u64, Namespace> = BTreeMap::new();
    let mut take = |path: PathBuf, pid: Option<u32>, name: Option<String>| {
        let Ok(file) = open(path) else { return };
        let Some(inode) = number(&file).filter(|inode| Some(*inode) != ours) else { return };
        if let Some(known) = found.get_mut(&inode) {
            known.name = known.name.take().or(name);
        } else if found.len() < NAMESPACES_MAX {
            found.insert(inode, Namespace { file: file.into(), inode, pid, name });
        }
    };
    for entry in std::fs::read_dir("/proc").map_err(NamespaceError::Proc)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        take(entry.path().join("ns/net"), Some(pid), None);
    }
    for folder in NAMED {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_str().filter(|_| folder == NAMED[0]).map(str::to_owned);
            take(entry.path(), None, name);
        }
    }
    Ok(found)
}

/// The number of this thread's own namespace.
///
/// # Errors
/// [`NamespaceError::Proc`].
pub fn own() -> Result<u64, NamespaceError> {
    let file = open("/proc/thread-self/ns/net".into()).map_err(NamespaceError::Proc)?;
    number(&file).ok_or_else(|| NamespaceError::Proc(io::ErrorKind::NotFound.into()))
}

/// Runs `work` on a thread of its own that has joined a network namespace; files are those of this process.
///
/// # Errors
/// [`NamespaceError::NotAllowed`], [`NamespaceError::Join`].
pub fn inside<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, NamespaceError> {
    on_a_thread(|| setns(namespace, CloneFlags::CLONE_NEWNET).map(|()| work()))
}

/// The name that a process's machine or container goes by (`hostname`).
///
/// # Errors
/// [`NamespaceError::NotAllowed`], [`NamespaceError::Join`].
pub fn host_name_of(pid: u32) -> Result<String, NamespaceError> {
    let file = open(format!("/proc/{pid}/ns/uts").into()).map_err(NamespaceError::Join)?;
    let name =
        on_a_thread(|| setns(file.as_fd(), CloneFlags::CLONE_NEWUTS).map(|()| nix::unistd::gethostname()))?;
    let name = name.map_err(|errno| NamespaceError::Join(errno.into()))?;
    Ok(name.to_string_lossy().into_owned())
}

/// A thread that has joined a namespace does one piece of work and ends.
fn on_a_thread<T: Send>(work: impl FnOnce() -> nix::Result<T> + Send) -> Result<T, NamespaceError> {
    let done = thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the thread panicked"))
    });
    match done.map_err(NamespaceError::Join)? {
        Ok(value) => Ok(value),
        Err(nix::errno::Errno::EPERM) => Err(NamespaceError::NotAllowed(nix::errno::Errno::EPERM.into())),
        Err(errno) => Err(NamespaceError::Join(errno.into())),
    }
}

fn open(path: PathBuf) -> io::Result<File> {
    File::open(path)
}

fn number(file: &File) -> Option<u64> {
    file.metadata().ok().map(|metadata| metadata.ino())
}
