//! Waits until an engine answers: on the kernel's notices about its socket, and on its end.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::api::{self, SOCKET};

/// How long an engine may take: under a second in fact, on a machine with nothing else to do.
const WAIT: Duration = Duration::from_mins(1);
/// How long until a socket that refuses is tried again: the kernel tells of a socket's file and mode, but not when
/// somebody begins to listen, and since 29 an engine listens only after it has changed the mode.
const PACE: Duration = Duration::from_millis(10);
/// An answer to a ping is a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 4096;

/// Waits until the engine whose process this is answers a ping; runs in the host's mount namespace.
pub(crate) fn await_ready(process: &OwnedFd) -> Result<()> {
    let wait = Wait { process, deadline: Instant::now() + WAIT };
    let mut stream = wait.connect()?;
    api::send(&mut stream, "GET", "/_ping", &[]).context("ask for a ping")?;
    stream.set_nonblocking(true)?;
    let mut answer = Vec::new();
    // The socket listens long before the engine answers.
    loop {
        wait.for_event(stream.as_fd(), WAIT, "it has taken our question, but")?;
        let mut some = [0; ANSWER_BYTES_MAX];
        match stream.read(&mut some) {
            Ok(0) => return api::read(&answer).map(drop),
            Ok(count) => answer.extend(&some[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).context("hear the answer to a ping"),
        }
        ensure!(
            answer.len() <= ANSWER_BYTES_MAX,
            "the answer to a ping has more than {ANSWER_BYTES_MAX} bytes"
        );
    }
}

struct Wait<'a> {
    process: &'a OwnedFd,
    deadline: Instant,
}

impl Wait<'_> {
    /// To 28 the engine binds its socket, listens, and then changes its mode: that is the notice to go by.
    /// Since 29 it listens last, and nothing tells of it.
    fn connect(&self) -> Result<UnixStream> {
        let folder = Path::new(SOCKET).parent().context("the socket has no folder")?;
        let notices =
            Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).context("ask for notices")?;
        let what = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_MOVED_TO;
        notices.add_watch(folder, what).with_context(|| format!("watch {}", folder.display()))?;
        loop {
            match UnixStream::connect(SOCKET) {
                Ok(stream) => return Ok(stream),
                Err(error) if is_not_yet(&error) => {}
                Err(error) => return Err(error).with_context(|| format!("connect to {SOCKET}")),
            }
            self.for_event(notices.as_fd(), PACE, "it does not listen, and")?;
            while notices.read_events().is_ok() {}
        }
    }

    /// Until the event, or at most so long; the end of the engine and the deadline are errors.
    fn for_event(&self, event: BorrowedFd<'_>, most: Duration, so_far: &str) -> Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut polled =
            [PollFd::new(event, PollFlags::POLLIN), PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::try_from(left.min(most)).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if left > most => Ok(()),
            Ok(0) => bail!("{so_far} {} s are over", WAIT.as_secs()),
            Ok(_) if polled[1].any() == Some(true) => bail!("it has ended"),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error).context("wait"),
        }
    }
}

/// A socket file that nobody listens on was left by an engine that was killed.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
}
