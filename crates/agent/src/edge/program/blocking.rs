//! Runs a program of the host's in the namespaces of this thread, and waits for it: for those who stand in another
//! network namespace than the agent.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::{ProgramError, TIME_MAX};

/// What is read of a program's output. `nft -a list table` of 100,000 rules has some 10 MB.
const OUTPUT_BYTES_MAX: usize = 64 << 20;
/// What is read of its words when it says no.
const WORDS_BYTES_MAX: usize = 4096;

/// Runs a program without input and returns what it prints, at most 64 MiB of it.
///
/// # Errors
/// When it could not be run, took too long, or said no.
pub fn run(program: &'static str, arguments: &[&str], doing: &str) -> Result<Vec<u8>, ProgramError> {
    let failed = |cause| ProgramError::Run { program, cause };
    let mut words = tempfile::tempfile().map_err(failed)?;
    let words_too = words.try_clone().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(words_too);
    let mut child = command.spawn().map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => ProgramError::Missing { program, cause },
        _ => failed(cause),
    })?;
    let output = read(&mut child);
    if !matches!(output, Ok(Some(_))) {
        // It may have ended by itself, which is as good.
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    let output = output.map_err(failed)?.ok_or(ProgramError::Late { program })?;
    if status.success() {
        return Ok(output);
    }
    io::Seek::rewind(&mut words).map_err(failed)?;
    let mut said = Vec::new();
    words.take(WORDS_BYTES_MAX as u64).read_to_end(&mut said).map_err(failed)?;
    let said = String::from_utf8_lossy(&said).lines().next().unwrap_or("without a word").to_owned();
    Err(ProgramError::Refused { program, doing: doing.to_owned(), said })
}

/// All that it prints; none if it took too long.
fn read(child: &mut Child) -> io::Result<Option<Vec<u8>>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Some(Vec::new())) };
    let deadline = Instant::now() + TIME_MAX;
    let (mut output, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || output.len() > OUTPUT_BYTES_MAX {
            return Ok(None);
        }
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut polled, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match stdout.read(&mut part)? {
            0 => return Ok(Some(output)),
            count => output.extend(&part[..count]),
        }
    }
}
