//! The control groups of a lab's containers: the one thing of a lab that has a name on the machine.
//!
//! They are empty as soon as the holder has ended, so removing them can harm nobody. The keeper does it, a process
//! that waits for the holder's end and does nothing else; should it be killed too, the next lab does it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

use crate::{say, socket};

/// Set for the outer stage of a lab that needs a keeper.
pub(crate) const KEEPER: &str = "BYWAY_LAB_KEEPER";
/// What the name of a lab's control group begins with.
const PREFIX: &str = "byway-lab-";
/// Where control groups are: one tree, or a folder with one tree for each controller.
const TREES: &str = "/sys/fs/cgroup";

/// The parent of all containers of a lab, as dockerd is told.
pub(crate) fn parent(lab: &str) -> String {
    format!("/{PREFIX}{lab}")
}

/// Removes the control groups of a lab that has ended.
pub(crate) fn remove(lab: &str) {
    for tree in trees() {
        remove_tree(&tree.join(format!("{PREFIX}{lab}")));
    }
}

/// Removes what labs have left whose keeper was killed as well.
pub(crate) fn sweep() {
    let names = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let is_up =
        |lab: &str| say::address(lab).is_ok_and(|address| names.lines().any(|line| line.ends_with(&address)));
    for tree in trees() {
        for entry in fs::read_dir(&tree).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.strip_prefix(PREFIX).is_some_and(|lab| !is_up(lab)) {
                remove_tree(&entry.path());
            }
        }
    }
}

/// The keeper, which does not know the holder yet.
#[derive(Debug)]
pub(crate) struct Keeper {
    ear: OwnedFd,
}

impl Keeper {
    /// Starts it, outside of the lab's namespaces. Call it with no other thread running.
    pub(crate) fn start(lab: &str) -> Result<Self> {
        let nothing = File::options().read(true).write(true).open("/dev/null").context("open /dev/null")?;
        let (heard, ear) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
        // SAFETY: this process has one thread only.
        match unsafe { fork() }.context("start the keeper")? {
            ForkResult::Parent { .. } => Ok(Self { ear }),
            ForkResult::Child => {
                let_go(&nothing, &heard);
                // Nobody is there who could hear of an error.
                drop(await_end(heard));
                remove(lab);
                std::process::exit(0)
            }
        }
    }

    /// Tells it for whose end it waits.
    pub(crate) fn tell(self, holder: u32) -> Result<()> {
        File::from(self.ear).write_all(&holder.to_ne_bytes()).context("tell the keeper who holds the lab")
    }
}

/// Whoever made the lab hears of its end by connections that close; none may stay open with us.
fn let_go(nothing: &File, heard: &OwnedFd) {
    let kept = heard.as_raw_fd().unsigned_abs();
    // SAFETY: takes numbers only, and nothing of this process uses these files any more.
    unsafe {
        for stream in 0..=2 {
            libc::dup2(nothing.as_raw_fd(), stream);
        }
        libc::syscall(libc::SYS_close_range, 3, kept.saturating_sub(1), 0);
        libc::syscall(libc::SYS_close_range, kept + 1, u32::MAX, 0);
    }
}

/// Returns when the holder has ended, or there never was one.
fn await_end(heard: OwnedFd) -> Result<()> {
    let mut pid = [0; size_of::<u32>()];
    File::from(heard).read_exact(&mut pid)?;
    let holder = socket::pidfd(Pid::from_raw(i32::try_from(u32::from_ne_bytes(pid))?))?;
    let mut polled = [PollFd::new(holder.as_fd(), PollFlags::POLLIN)];
    while poll(&mut polled, PollTimeout::NONE) == Err(Errno::EINTR) {}
    Ok(())
}

/// The tree or the trees; a folder that is none has no group of ours either.
fn trees() -> Vec<PathBuf> {
    let root = Path::new(TREES);
    let entries = fs::read_dir(root).into_iter().flatten().filter_map(Result::ok);
    let folders = entries.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink());
    [root.to_owned()].into_iter().chain(folders).collect()
}

/// From the leaves up: a control group is removed when nothing is in it, its files go with it.
fn remove_tree(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    drop(fs::remove_dir(path));
}
