//! The agents of a lab: started in their hosts, heard when they are ready, never started again by themselves.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::furniture::{AGENT_LOG, NOTIFY_SOCKET};
use crate::namespaces::Namespaces;
use crate::say::{AgentState, AgentStatus};

/// The longest notification that is read: systemd's own limit is a page.
const NOTIFICATION_BYTES_MAX: usize = 4096;
/// How much of a log is told when its agent has ended early.
const LOG_TAIL_BYTES: u64 = 2048;
/// Where programs are looked for: an agent calls `nft`. Those of the host's Docker engine come first, if it has one.
const PATH: &str = "/run/engine/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One host's agent.
#[derive(Debug)]
pub(super) struct Agent {
    state: AgentState,
    said: Option<String>,
    /// While it runs.
    pub(super) pid: Option<Pid>,
    log: Option<File>,
}

impl Agent {
    /// One that was never started.
    pub(super) fn off() -> Self {
        Self { state: AgentState::Off, said: None, pid: None, log: None }
    }

    /// Starts it in its host's namespaces. Whoever reaps children must not do so meanwhile.
    pub(super) fn start(&mut self, namespaces: &Namespaces, program: &[String]) -> Result<()> {
        if let Some(pid) = self.pid {
            bail!("its agent runs already, as process {pid} of the lab");
        }
        let (pid, log) = namespaces.inside(|| spawn(program))?;
        *self = Self { state: AgentState::Starting, said: None, pid: Some(pid), log: Some(log) };
        Ok(())
    }

    /// Sends a signal to it.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.pid.context("its agent does not run")?;
        kill(pid, signal).with_context(|| format!("send {signal} to its agent"))
    }

    /// Takes in all that it has said since.
    pub(super) fn listen(&mut self, socket: &UnixDatagram) {
        let mut space = [0; NOTIFICATION_BYTES_MAX];
        while let Ok(length) = socket.recv(&mut space) {
            for line in String::from_utf8_lossy(&space[..length]).lines() {
                if line == "READY=1" && self.pid.is_some() {
                    self.state = AgentState::Ready;
                } else if let Some(said) = line.strip_prefix("STATUS=") {
                    self.said = Some(said.to_owned());
                }
            }
        }
    }

    /// It has ended.
    pub(super) fn ended(&mut self, how: WaitStatus) {
        self.state = AgentState::Gone(words(how));
        self.pid = None;
    }

    pub(super) fn state(&self) -> &AgentState {
        &self.state
    }

    pub(super) fn status(&self) -> AgentStatus {
        AgentStatus { state: self.state.clone(), said: self.said.clone() }
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let read = |log: &File| -> std::io::Result<String> {
            let length = log.metadata()?.len();
            let start = length.saturating_sub(LOG_TAIL_BYTES);
            let mut tail = vec![0; usize::try_from(length - start).unwrap_or(0)];
            log.read_exact_at(&mut tail, start)?;
            Ok(String::from_utf8_lossy(&tail).trim_end().to_owned())
        };
        self.log.as_ref().and_then(|log| read(log).ok()).unwrap_or_default()
    }
}

/// How a process has ended.
pub(super) fn words(how: WaitStatus) -> String {
    match how {
        WaitStatus::Exited(_, status) => format!("exited with status {status}"),
        WaitStatus::Signaled(_, signal, _) => format!("ended by {signal}"),
        other => format!("{other:?}"),
    }
}

fn spawn(program: &[String]) -> Result<(Pid, File)> {
    let [program, arguments @ ..] = program else { bail!("no program to start") };
    let log = File::options().create(true).append(true).read(true).open(AGENT_LOG);
    let log = log.with_context(|| format!("open {AGENT_LOG}"))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).env("NOTIFY_SOCKET", NOTIFY_SOCKET);
    if let Some(wanted) = std::env::var_os("RUST_BACKTRACE") {
        // For panics; an error tells its own story, and its trace would push that out of the last words.
        command.env("RUST_BACKTRACE", wanted).env("RUST_LIB_BACKTRACE", "0");
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    // SAFETY: runs between fork and exec and makes one system call only.
    unsafe { command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?)) };
    let child = command.spawn().with_context(|| format!("start {program}"))?;
    Ok((Pid::from_raw(i32::try_from(child.id())?), log))
}
