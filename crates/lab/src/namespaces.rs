//! Namespaces that are held open by their files and by nothing else.
//!
//! A thread that has joined a namespace never returns to the pool of anything: it does one piece of work and
//! ends. The main thread stays where it is.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};

/// The namespaces of one node, open.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// Interfaces, routes, rules.
    pub(crate) net: OwnedFd,
    /// Mounts.
    pub(crate) mount: OwnedFd,
    /// The host name.
    pub(crate) uts: OwnedFd,
}

impl Namespaces {
    /// Those of this thread.
    pub(crate) fn of_this_thread() -> Result<Self> {
        Ok(Self { net: open("net")?, mount: open("mnt")?, uts: open("uts")? })
    }

    /// Makes new ones and furnishes them with `furnish`, which runs inside them.
    pub(crate) fn make<T: Send>(furnish: impl FnOnce() -> Result<T> + Send) -> Result<(Self, T)> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
                .context("make network, mount and uts namespaces")?;
            let furnished = furnish()?;
            Ok((Self::of_this_thread()?, furnished))
        })
    }

    /// Runs `work` inside all of them.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            // A thread that shares its root and working directory with others may not change its mounts.
            unshare(CloneFlags::CLONE_FS).context("take a working directory of our own")?;
            self.join()?;
            work()
        })
    }

    /// Runs `work` inside the network namespace only: files are those of this process.
    pub(crate) fn inside_net<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        inside_net(self.net.as_fd(), work)
    }

    fn join(&self) -> Result<()> {
        setns(&self.mount, CloneFlags::CLONE_NEWNS).context("join the mount namespace")?;
        setns(&self.net, CloneFlags::CLONE_NEWNET).context("join the network namespace")?;
        setns(&self.uts, CloneFlags::CLONE_NEWUTS).context("join the uts namespace")
    }
}

/// Runs `work` on a short-lived thread that has joined a network namespace.
pub(crate) fn inside_net<T: Send>(net: BorrowedFd<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_a_thread(|| {
        setns(net, CloneFlags::CLONE_NEWNET).context("join the network namespace")?;
        work()
    })
}

/// The file of one namespace of this thread, as in `/proc/self/ns`.
pub(crate) fn open(which: &str) -> Result<OwnedFd> {
    let path = format!("/proc/thread-self/ns/{which}");
    let opened: io::Result<File> = File::open(&path);
    Ok(opened.with_context(|| format!("open {path}: is /proc mounted?"))?.into())
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().spawn_scoped(scope, work).context("start a thread")?;
        thread.join().map_err(|panic| anyhow!("a thread of the lab panicked: {}", text_of(&panic)))?
    })
}

fn text_of(panic: &Box<dyn std::any::Any + Send>) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}
