//! Runs a command inside a node, as if this process had been started there.
//!
//! Joining a PID namespace is for children only, so the command is a child: signals are passed on to it, its
//! exit status is ours, and if we are killed, so is it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chdir};

use crate::engine::TOOLS;
use crate::holder::{Holder, Joined};

/// What is passed on to the command. The terminal sends its own to both of us.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];
/// What a shell adds to the number of the signal that has ended a command.
const SIGNALLED: i32 = 128;

/// Runs a command in a node of a lab, with our standard streams, and returns its exit status, or 128 and the
/// number of the signal that ended it. Call it on the main thread, with no other thread running.
///
/// # Errors
/// When there is no such node, its namespaces cannot be joined, or the command cannot be started.
pub fn exec(holder: &Holder, node: &str, program: &OsString, arguments: &[OsString]) -> Result<ExitCode> {
    let joined = holder.namespaces(node)?;
    let folder = std::env::current_dir().ok();
    let us = std::env::current_exe().ok();
    enter(&joined).with_context(|| format!("join node {node}"))?;
    // Joining a mount namespace leaves us at its root; most folders are there as well.
    let stayed = folder.is_some_and(|folder| chdir(&folder).is_ok());
    if !stayed {
        chdir("/").context("go to the root")?;
    }
    let signals = block_signals()?;
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(path) = path_with(us.as_deref()) {
        // So that `exec NODE -- byway status` is this byway, installed or not; the program itself is looked for
        // in this path too.
        command.env("PATH", path);
    }
    // SAFETY: runs between fork and exec and makes system calls only.
    unsafe { command.pre_exec(|| prepare_child().map_err(io::Error::from)) };
    let child = command.spawn().with_context(|| format!("start {}", program.display()))?;
    let status = attend(Pid::from_raw(i32::try_from(child.id())?), &signals)?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}

/// The path, with the folder of this program first (once in the node, its `/proc` no longer knows us), and then the
/// programs of the node's Docker engine, if it has one.
fn path_with(us: Option<&Path>) -> Option<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(TOOLS);
    let first = us?.parent().into_iter().chain(tools.is_dir().then_some(tools)).map(Path::to_owned);
    std::env::join_paths(first.chain(std::env::split_paths(&path))).ok()
}

fn enter(joined: &Joined) -> Result<()> {
    if let Some(user) = &joined.user {
        setns(user, CloneFlags::CLONE_NEWUSER).context("join its user namespace")?;
    }
    setns(&joined.pid, CloneFlags::CLONE_NEWPID).context("join its PID namespace")?;
    setns(&joined.net, CloneFlags::CLONE_NEWNET).context("join its network namespace")?;
    setns(&joined.uts, CloneFlags::CLONE_NEWUTS).context("join its uts namespace")?;
    setns(&joined.mount, CloneFlags::CLONE_NEWNS).context("join its mount namespace")
}

fn block_signals() -> Result<SignalFd> {
    let signals: SigSet = PASSED_ON.into_iter().chain([Signal::SIGCHLD]).collect();
    signals.thread_block().context("block signals")?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).context("take signals")
}

fn prepare_child() -> nix::Result<()> {
    SigSet::empty().thread_set_mask()?;
    set_pdeathsig(Signal::SIGKILL)
}

/// Passes signals on until the child has ended.
fn attend(child: Pid, signals: &SignalFd) -> Result<i32> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).context("wait for the command")? {
            WaitStatus::Exited(_, status) => return Ok(status),
            WaitStatus::Signaled(_, signal, _) => return Ok(SIGNALLED + signal as i32),
            _ => {}
        }
        let Some(signal) = signals.read_signal().context("read a signal")? else { continue };
        let number = Signal::try_from(signal.ssi_signo.cast_signed()).context("know the signal")?;
        // From a process, not from the terminal: siginfo(2), SI_USER and below.
        if number != Signal::SIGCHLD && signal.ssi_code <= 0 {
            match kill(child, number) {
                // It may have ended meanwhile.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).context("pass a signal on"),
            }
        }
    }
}
