//! A running lab, as those see it who ask its holder.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Pid, Uid};

use crate::engine::cgroups;
use crate::namespaces;
use crate::say::{self, Answer, Ask, Status, Until};
use crate::socket;
use crate::topology::{Engine, Topology};

/// How long an answer may take: the longest wait is for an agent, and the holder bounds that itself.
const ANSWER_WAIT: Duration = Duration::from_secs(90);
/// How long the kernel may take to end everything in a lab of the largest size.
const END_WAIT: Duration = Duration::from_mins(1);

/// A running lab.
#[derive(Debug)]
pub struct Holder {
    name: String,
    pid: Pid,
    process: OwnedFd,
}

/// An agent or an engine that runs: its process as this machine sees it.
#[derive(Debug)]
pub struct AgentProcess {
    /// Its id in the PID namespace of whoever asked.
    pub pid: u32,
    /// Readable when it has ended.
    pub process: OwnedFd,
}

/// The namespaces that a command in a node runs in.
#[derive(Debug)]
pub(crate) struct Joined {
    /// `None` if we are in it already.
    pub(crate) user: Option<OwnedFd>,
    pub(crate) pid: OwnedFd,
    pub(crate) mount: OwnedFd,
    pub(crate) net: OwnedFd,
    pub(crate) uts: OwnedFd,
}

impl Holder {
    /// Finds this user's lab of that name.
    ///
    /// # Errors
    /// When there is none, or somebody else has taken its name.
    pub fn find(name: &str) -> Result<Self> {
        let stream = connect(name)?;
        let peer = getsockopt(&stream, sockopt::PeerCredentials).context("see who holds the lab")?;
        // Abstract names are for everybody to take; only our own process may hand us namespaces.
        ensure!(
            peer.uid() == Uid::effective().as_raw(),
            "the name of lab {name} is taken by user {}",
            peer.uid()
        );
        Self::of(name, Pid::from_raw(peer.pid()))
    }

    pub(crate) fn of(name: &str, pid: Pid) -> Result<Self> {
        Ok(Self { name: name.to_owned(), pid, process: socket::pidfd(pid)? })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The holder's process id; if that process ends, the kernel ends the whole lab.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// What the lab was made of.
    ///
    /// # Errors
    /// When the holder does not answer.
    pub fn topology(&self) -> Result<Topology> {
        match self.ask(&Ask::Topology)?.0 {
            Answer::Topology(topology) => Ok(topology),
            other => Err(strange(&other)),
        }
    }

    /// What stands in it, and how the agents are.
    ///
    /// # Errors
    /// When the holder does not answer.
    pub fn status(&self) -> Result<Status> {
        match self.ask(&Ask::Status)?.0 {
            Answer::Status(status) => Ok(status),
            other => Err(strange(&other)),
        }
    }

    /// Ends it and waits until all its processes are gone.
    ///
    /// # Errors
    /// When something is left after a minute.
    pub fn down(&self) -> Result<()> {
        // A holder that has ended on the way is what was wanted.
        let asked = self.ask(&Ask::Down);
        self.await_end().map_err(|error| asked.err().unwrap_or(error))
    }

    /// Waits until the holder, and with it every process of the lab, is gone.
    ///
    /// # Errors
    /// When it is not after a minute.
    pub fn await_end(&self) -> Result<()> {
        let mut polled = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
        let most = PollTimeout::try_from(END_WAIT).unwrap_or(PollTimeout::MAX);
        ensure!(
            poll(&mut polled, most)? == 1,
            "lab {} is not gone after {} s",
            self.name,
            END_WAIT.as_secs()
        );
        // The keeper does it too; this way nothing is left when we return.
        cgroups::remove(&self.name);
        Ok(())
    }

    /// Starts the agent of a host that does not run. Does not wait until it is ready.
    ///
    /// # Errors
    /// When there is no such host, or its agent runs.
    pub fn start_agent(&self, host: &str) -> Result<()> {
        self.done(&Ask::StartAgent { host: host.into() })
    }

    /// Sends a signal to the agent of a host. Does not wait for what comes of it.
    ///
    /// # Errors
    /// When there is no such host, or its agent does not run.
    pub fn kill_agent(&self, host: &str, signal: Signal) -> Result<()> {
        self.done(&Ask::SignalAgent { host: host.into(), signal: signal as i32 })
    }

    /// Waits until the agent of a host is ready, or gone; at most a minute.
    ///
    /// # Errors
    /// When there is no such host, the time is over, or the agent has ended before it was ready.
    pub fn await_agent(&self, host: &str, until: Until) -> Result<()> {
        self.done(&Ask::AwaitAgent { host: host.into(), until })
    }

    /// The running agent of a host.
    ///
    /// # Errors
    /// When there is no such host, or its agent does not run.
    pub fn agent(&self, host: &str) -> Result<AgentProcess> {
        self.process(&Ask::Agent { host: host.into() })
    }

    /// The process id of the running agent of a host.
    ///
    /// # Errors
    /// As [`Holder::agent`].
    pub fn agent_pid(&self, host: &str) -> Result<u32> {
        Ok(self.agent(host)?.pid)
    }

    /// Starts the Docker engine of a host that does not run, as it ran last, and waits until it answers.
    ///
    /// # Errors
    /// When there is no such host, it has no engine, the engine runs, or does not come up within a minute: then
    /// with its last words.
    pub fn start_engine(&self, host: &str) -> Result<()> {
        self.done(&Ask::StartEngine { host: host.into(), engine: None })
    }

    /// The same with another release, on the same data, or with other arguments, from now on.
    ///
    /// # Errors
    /// As [`Holder::start_engine`]; and when that release is not on this machine.
    pub fn start_engine_as(&self, host: &str, engine: &Engine) -> Result<()> {
        self.done(&Ask::StartEngine { host: host.into(), engine: Some(engine.clone()) })
    }

    /// Ends the engine of a host as a service manager does, with SIGTERM, and waits until it is gone.
    ///
    /// # Errors
    /// When there is no such host, it has no engine, the engine does not run, or is not gone after a minute.
    pub fn stop_engine(&self, host: &str) -> Result<()> {
        self.done(&Ask::EndEngine { host: host.into(), signal: Signal::SIGTERM as i32 })
    }

    /// Ends the engine of a host with SIGKILL and waits until it is gone. Its containers go on.
    ///
    /// # Errors
    /// As [`Holder::stop_engine`].
    pub fn kill_engine(&self, host: &str) -> Result<()> {
        self.done(&Ask::EndEngine { host: host.into(), signal: Signal::SIGKILL as i32 })
    }

    /// Sends a signal to the engine of a host: with SIGHUP it reads its daemon.json again. Does not wait.
    ///
    /// # Errors
    /// When there is no such host, it has no engine, or the engine does not run.
    pub fn signal_engine(&self, host: &str, signal: Signal) -> Result<()> {
        self.done(&Ask::SignalEngine { host: host.into(), signal: signal as i32 })
    }

    /// The running engine of a host.
    ///
    /// # Errors
    /// As [`Holder::signal_engine`].
    pub fn engine(&self, host: &str) -> Result<AgentProcess> {
        self.process(&Ask::Engine { host: host.into() })
    }

    /// The process id of the running engine of a host.
    ///
    /// # Errors
    /// As [`Holder::engine`].
    pub fn engine_pid(&self, host: &str) -> Result<u32> {
        Ok(self.engine(host)?.pid)
    }

    /// A socket opened in a node's network namespace, of any kind (`socket(2)`), without root too.
    ///
    /// # Errors
    /// When there is no such node, or the kernel refuses the socket.
    pub fn socket(&self, node: &str, domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd> {
        let [socket] = self.files(&Ask::Socket { node: node.into(), domain, kind, protocol })?;
        Ok(socket)
    }

    /// Runs `work` on a short-lived thread that has joined a node's network namespace, and in nothing else of
    /// it. Sockets opened there can be carried out.
    ///
    /// # Errors
    /// When there is no such node, or without root: a process with threads cannot join the user namespace of
    /// a lab ([`Holder::socket`] and commands can be used then).
    pub fn inside<T: Send>(&self, node: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
        let joined = self.namespaces(node)?;
        ensure!(joined.user.is_none(), "a thread cannot join node {node} of a lab without root");
        namespaces::inside_net(joined.net.as_fd(), || Ok(work()))
    }

    pub(crate) fn namespaces(&self, node: &str) -> Result<Joined> {
        let [user, pid, mount, net, uts] = self.files(&Ask::Namespaces { node: node.into() })?;
        let user = if is_ours(&user)? { None } else { Some(user) };
        Ok(Joined { user, pid, mount, net, uts })
    }

    fn process(&self, ask: &Ask) -> Result<AgentProcess> {
        let [process] = self.files(ask)?;
        let path = format!("/proc/self/fdinfo/{}", process.as_raw_fd());
        let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let pid =
            text.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
        Ok(AgentProcess { pid: pid.context("it has just ended")?, process })
    }

    fn done(&self, ask: &Ask) -> Result<()> {
        match self.ask(ask)?.0 {
            Answer::Done => Ok(()),
            other => Err(strange(&other)),
        }
    }

    fn files<const N: usize>(&self, ask: &Ask) -> Result<[OwnedFd; N]> {
        let (_, files) = self.ask(ask)?;
        <[OwnedFd; N]>::try_from(files)
            .map_err(|files| anyhow!("the holder sent {} files, not {N}", files.len()))
    }

    fn ask(&self, ask: &Ask) -> Result<(Answer, Vec<OwnedFd>)> {
        let mut stream = connect(&self.name)?;
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.set_write_timeout(Some(ANSWER_WAIT))?;
        say::tell(&mut stream, ask).context("ask the lab's holder")?;
        let answer = say::hear_with(&mut stream).context("hear the lab's holder")?;
        match answer.context("the lab's holder hung up")? {
            (Answer::Refused(why), _) => bail!(why),
            answer => Ok(answer),
        }
    }
}

impl AsFd for Holder {
    /// Readable when the holder, and with it every process of the lab, is gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.process.as_fd()
    }
}

fn connect(name: &str) -> Result<UnixStream> {
    let address = say::address(name)?;
    let address = SocketAddr::from_abstract_name(address.as_bytes()).context("make the lab's address")?;
    match UnixStream::connect_addr(&address) {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            bail!("there is no lab called {name} (`byway lab up` makes one)")
        }
        Err(error) => Err(error).with_context(|| format!("find lab {name}")),
    }
}

/// A namespace is known by the inode of its file.
fn is_ours(user: &OwnedFd) -> Result<bool> {
    let theirs = nix::sys::stat::fstat(user)?;
    let ours = nix::sys::stat::fstat(namespaces::open("user")?)?;
    Ok((theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino))
}

fn strange(answer: &Answer) -> anyhow::Error {
    anyhow!("the lab's holder gave a strange answer: {answer:?}")
}
