//! Hears the signals that end a command, so that it can end in good order.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What ends a command: Ctrl-C, `kill`, and a terminal that is closed.
const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// A wish to end. The first is heard here; the next ends the process as it ends everybody's.
#[derive(Debug)]
pub struct Stop {
    signals: SignalFd,
}

impl Stop {
    /// Takes the signals of this thread, and of threads that it starts from now on.
    ///
    /// # Errors
    /// When the kernel has no descriptor for us.
    pub fn listen() -> io::Result<Self> {
        let signals: SigSet = SIGNALS.into_iter().collect();
        signals.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { signals: SignalFd::with_flags(&signals, flags)? })
    }

    /// Whether somebody has asked to end since this was last asked.
    ///
    /// # Errors
    /// When the signals cannot be read.
    pub fn is_told(&self) -> io::Result<bool> {
        let is_told = self.signals.read_signal()?.is_some();
        if is_told {
            SIGNALS.into_iter().collect::<SigSet>().thread_unblock()?;
        }
        Ok(is_told)
    }
}

impl AsFd for Stop {
    /// Readable when somebody has asked.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
