//! Runs the host's own programs for its firewall, bounded in time, and remembers which runs were ours.

use std::collections::VecDeque;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

pub mod blocking;

/// How long a program may take. `nft` takes 0.2 s for a set of 10,000 members; `iptables-restore` may wait for
/// its lock.
const TIME_MAX: Duration = Duration::from_secs(30);
/// How many of our own runs are remembered: far more than can be under way between a change and its notice.
const OWN_RUNS_MAX: usize = 64;

/// What can go wrong with a program.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It is not there.
    #[error("run {program}: it is not installed")]
    Missing {
        /// Which.
        program: &'static str,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// It could not be run.
    #[error("run {program}")]
    Run {
        /// Which.
        program: &'static str,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// It took too long and was ended.
    #[error("{program} did not end within {} s", TIME_MAX.as_secs())]
    Late {
        /// Which.
        program: &'static str,
    },
    /// It said no.
    #[error("{program} refused to {doing}: {said}")]
    Refused {
        /// Which.
        program: &'static str,
        /// What we wanted.
        doing: String,
        /// Its words, first line.
        said: String,
    },
}

/// The processes that we started last: notices of what they change are about our own doing.
#[derive(Debug, Default)]
pub struct Runs {
    own: VecDeque<u32>,
}

impl Runs {
    /// Whether that netlink port belonged to one of our own runs.
    #[must_use]
    pub fn is_own(&self, port: u32) -> bool {
        self.own.contains(&port)
    }

    /// Runs a program with `input` and returns what it prints.
    ///
    /// # Errors
    /// When it could not be run, took too long, or said no.
    pub async fn run(
        &mut self,
        program: &'static str,
        arguments: &[&str],
        input: &str,
        doing: &str,
    ) -> Result<Vec<u8>, ProgramError> {
        let failed = |cause| ProgramError::Run { program, cause };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A dropped wait must not leave a process behind.
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => ProgramError::Missing { program, cause },
            _ => failed(cause),
        })?;
        self.own.extend(child.id());
        if self.own.len() > OWN_RUNS_MAX {
            self.own.pop_front();
        }
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                stdin.write_all(input.as_bytes()).await?;
            }
            io::Result::Ok(())
        };
        let both = async { tokio::join!(feed, child.wait_with_output()) };
        let late = |_| ProgramError::Late { program };
        let (written, output) = tokio::time::timeout(TIME_MAX, both).await.map_err(late)?;
        let output = output.map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("without a word").to_owned();
            return Err(ProgramError::Refused { program, doing: doing.to_owned(), said });
        }
        written.map_err(failed)?;
        Ok(output.stdout)
    }
}
