//! Two system calls with numbers for arguments: any socket, and a file that stands for a process.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::unistd::Pid;

/// Opens a socket in the network namespace of this thread.
pub(crate) fn open(domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd> {
    // SAFETY: takes numbers only; a bad one is refused.
    let fd = unsafe { libc::socket(domain, kind | libc::SOCK_CLOEXEC, protocol) };
    own(fd).with_context(|| format!("open a socket of family {domain}, kind {kind}, protocol {protocol}"))
}

/// Opens a file that becomes readable when a process has ended.
pub(crate) fn pidfd(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: takes numbers only; a bad one is refused.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    own(RawFd::try_from(fd)?).with_context(|| format!("open process {pid}"))
}

fn own(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
