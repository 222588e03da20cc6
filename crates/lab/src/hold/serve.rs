//! The holder's life after everything stands: children, notifications, questions.
//!
//! One thread waits for all that can happen; each question is answered on a thread of its own, because some
//! wait for an agent. The state is behind one lock, which is held while an agent is started, so that nobody
//! reaps a child that is not written down yet.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use ipnet::IpNet;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

mod engines;

use self::engines::{Container, Engines};
use super::agents::Agent;
use super::{Told, be_quiet};
use crate::engine;
use crate::namespaces::{self, Namespaces};
use crate::raise::{Node, Nodes};
use crate::say::{self, AgentState, AgentStatus, Agents, Answer, Ask, News, NodeStatus, Status, Until};
use crate::socket;
use crate::topology::{Host, Kind, SWITCH, Topology};

/// Questions at a time: each has a thread. Tests ask a handful.
const CLIENTS_MAX: usize = 64;
/// The longest question.
const ASK_BYTES_MAX: usize = 64 << 10;
/// How long a caller may take to say its question, or to take the answer.
const CALLER_WAIT: Duration = Duration::from_secs(10);
/// How long anyone waits for an agent; 100 agents on two cores are ready in some seconds.
const AGENT_WAIT: Duration = Duration::from_mins(1);

/// Everything that the holder holds.
#[derive(Debug)]
pub(super) struct Hold {
    name: String,
    topology: Topology,
    nodes: Nodes,
    program: Vec<String>,
    user: OwnedFd,
    pid: OwnedFd,
    agents: Mutex<BTreeMap<String, Agent>>,
    changed: Condvar,
    engines: Engines,
    clients: AtomicUsize,
}

impl Hold {
    pub(super) fn new(
        name: &str,
        topology: Topology,
        nodes: Nodes,
        program: Vec<String>,
        roots: Option<engine::Engines>,
    ) -> Result<Self> {
        let hosts = topology.hosts.iter().map(|host| host.name.clone());
        let agents: BTreeMap<String, Agent> = hosts.map(|host| (host, Agent::off())).collect();
        for node in nodes.values() {
            node.notify.as_ref().map_or(Ok(()), |socket| socket.set_nonblocking(true))?;
        }
        Ok(Self {
            name: name.to_owned(),
            engines: Engines::of(&topology, roots),
            topology,
            nodes,
            program,
            user: namespaces::open("user")?,
            pid: namespaces::open("pid")?,
            agents: Mutex::new(agents),
            changed: Condvar::new(),
            clients: AtomicUsize::new(0),
        })
    }

    /// Starts the agents if wanted, tells when the lab is up, and serves until it is to end.
    pub(super) fn run(self, socket: &UnixListener, mut told: Told<'_>, agents: Agents) -> Result<()> {
        let signals: SigSet =
            [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
        signals.thread_block().context("block signals")?;
        let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let hold = Arc::new(self);
        hold.raise_engines(&signals, &mut told)?;
        if agents == Agents::Started {
            for host in &hold.topology.hosts {
                hold.start_agent(&host.name)?;
            }
            hold.await_all(&signals, &mut told)?;
        }
        say::tell(told.starter, &News::Ready).context("whoever started the lab went away")?;
        hold.serve(&signals, socket, told.starter)
    }

    /// Waits until every agent is ready; one that ends before is an error with its last words.
    fn await_all(&self, signals: &SignalFd, told: &mut Told<'_>) -> Result<()> {
        let deadline = Instant::now() + AGENT_WAIT;
        let mut ready = 0;
        loop {
            let now_ready = self.ready_or_gone()?;
            (ready..now_ready).try_for_each(|_| told.next("agents"))?;
            ready = now_ready;
            if ready == self.topology.hosts.len() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("after {} s not every agent is ready: {}", AGENT_WAIT.as_secs(), self.unready());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let starter = told.starter.as_fd();
            if self.wait(signals, &[starter], left)?.first() == Some(&true) && has_hung_up(told.starter)? {
                bail!("whoever started the lab went away");
            }
        }
    }

    fn ready_or_gone(&self) -> Result<usize> {
        let agents = self.agents();
        for (host, agent) in agents.iter() {
            if let AgentState::Gone(how) = agent.state() {
                let log = agent.last_words();
                let log =
                    if log.is_empty() { "it said nothing".into() } else { format!("its last words:\n{log}") };
                bail!("the agent of {host} {how} before it was ready; {log}");
            }
        }
        Ok(agents.values().filter(|agent| *agent.state() == AgentState::Ready).count())
    }

    fn unready(&self) -> String {
        let agents = self.agents();
        let unready = agents.iter().filter(|(_, agent)| *agent.state() != AgentState::Ready);
        let words =
            unready.map(|(host, agent)| format!("{host} ({})", agent.status().said.unwrap_or_default()));
        words.collect::<Vec<_>>().join(", ")
    }

    /// Answers until the starter hangs up without having let go, or a signal or a question ends the lab.
    fn serve(
        self: Arc<Self>,
        signals: &SignalFd,
        socket: &UnixListener,
        starter: &mut UnixStream,
    ) -> Result<()> {
        let mut attached = true;
        loop {
            let others = [socket.as_fd(), starter.as_fd()];
            let happened = self.wait(signals, &others[..=usize::from(attached)], Duration::MAX)?;
            if happened.get(1) == Some(&true) {
                if has_hung_up(starter)? {
                    return Ok(());
                }
                attached = false;
                be_quiet()?;
            }
            if happened.first() == Some(&true)
                && let Ok((caller, _)) = socket.accept()
            {
                self.clone().greet(caller);
            }
        }
    }

    /// Waits for a child, a notification, or one of `others`, and says which of these can be read.
    fn wait(
        &self,
        signals: &SignalFd,
        others: &[std::os::fd::BorrowedFd<'_>],
        most: Duration,
    ) -> Result<Vec<bool>> {
        let hosts: Vec<(&String, &Node)> =
            self.nodes.iter().filter(|(_, node)| node.notify.is_some()).collect();
        let sockets = hosts.iter().filter_map(|(_, node)| node.notify.as_ref().map(AsFd::as_fd));
        let all = [signals.as_fd()].into_iter().chain(others.iter().copied()).chain(sockets);
        let mut polled: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, PollTimeout::try_from(most).unwrap_or(PollTimeout::NONE)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait"),
        }
        let happened: Vec<bool> = polled.iter().map(|one| one.any().unwrap_or(false)).collect();
        self.hear_agents(&hosts, &happened[1 + others.len()..]);
        if happened[0] {
            self.take_signals(signals)?;
        }
        Ok(happened[1..=others.len()].to_vec())
    }

    fn hear_agents(&self, hosts: &[(&String, &Node)], spoke: &[bool]) {
        let mut agents = self.agents();
        for ((host, node), _) in hosts.iter().zip(spoke).filter(|(_, spoke)| **spoke) {
            if let (Some(agent), Some(socket)) = (agents.get_mut(*host), &node.notify) {
                agent.listen(socket);
                self.changed.notify_all();
            }
        }
    }

    fn take_signals(&self, signals: &SignalFd) -> Result<()> {
        while let Some(signal) = signals.read_signal().context("read signals")? {
            if Signal::try_from(signal.ssi_signo.cast_signed()) != Ok(Signal::SIGCHLD) {
                std::process::exit(0);
            }
        }
        let mut agents = self.agents();
        let mut engines = self.engines.lock();
        loop {
            // Everybody's orphans end up with PID 1, so not every child is an agent.
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(_) => return Ok(()),
                Ok(ended) => {
                    self.engines.ended(&mut engines, ended);
                    if let Some(agent) =
                        agents.values_mut().find(|agent| agent.pid.is_some() && agent.pid == ended.pid())
                    {
                        agent.ended(ended);
                        self.changed.notify_all();
                    }
                }
            }
        }
    }

    fn greet(self: Arc<Self>, caller: UnixStream) {
        if self.clients.fetch_add(1, Ordering::AcqRel) >= CLIENTS_MAX {
            self.clients.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let hold = self.clone();
        let started = thread::Builder::new().spawn(move || {
            // A caller that hangs up early is its own affair.
            drop(hold.answer(caller));
            hold.clients.fetch_sub(1, Ordering::AcqRel);
        });
        if started.is_err() {
            self.clients.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn answer(&self, mut caller: UnixStream) -> Result<()> {
        let peer = getsockopt(&caller, sockopt::PeerCredentials).context("see who asks")?;
        // Whoever made the lab is root in it; every other user is somebody else.
        if peer.uid() != 0 {
            return Ok(say::tell(&mut caller, &Answer::Refused("this lab belongs to another user".into()))?);
        }
        caller.set_read_timeout(Some(CALLER_WAIT))?;
        caller.set_write_timeout(Some(CALLER_WAIT))?;
        let Some(ask) = say::hear::<Ask>(&mut caller, ASK_BYTES_MAX)? else { return Ok(()) };
        let ends = matches!(ask, Ask::Down);
        if let Err(error) = self.answer_to(&caller, ask) {
            say::tell(&mut caller, &Answer::Refused(format!("{error:#}")))?;
        }
        if ends {
            std::process::exit(0);
        }
        Ok(())
    }

    fn answer_to(&self, mut caller: &UnixStream, ask: Ask) -> Result<()> {
        let answer = match ask {
            Ask::Topology => Answer::Topology(self.topology.clone()),
            Ask::Status => Answer::Status(self.status()),
            Ask::Down => Answer::Done,
            Ask::Namespaces { node } => {
                if let Some(container) = self.container(&node)? {
                    let Container { pid, namespaces: Namespaces { mount, net, uts } } = &container;
                    let files = [&self.user, pid, mount, net, uts].map(AsFd::as_fd);
                    return say::tell_with(caller, &Answer::Namespaces, &files);
                }
                let node = &self.node(&node)?.namespaces;
                let files = [&self.user, &self.pid, &node.mount, &node.net, &node.uts].map(AsFd::as_fd);
                return say::tell_with(caller, &Answer::Namespaces, &files);
            }
            Ask::Socket { node, domain, kind, protocol } => {
                let open = || socket::open(domain, kind, protocol);
                let socket = match self.container(&node)? {
                    Some(container) => container.namespaces.inside_net(open)?,
                    None => self.node(&node)?.namespaces.inside_net(open)?,
                };
                return say::tell_with(caller, &Answer::Done, &[socket.as_fd()]);
            }
            Ask::StartAgent { host } => self.start_agent(&host).map(|()| Answer::Done)?,
            Ask::SignalAgent { host, signal } => {
                let signal = Signal::try_from(signal).context("know the signal")?;
                self.with_agent(&host, |agent| agent.signal(signal)).map(|()| Answer::Done)?
            }
            Ask::AwaitAgent { host, until } => self.await_agent(&host, until).map(|()| Answer::Done)?,
            Ask::Agent { host } => {
                let process = self
                    .with_agent(&host, |agent| socket::pidfd(agent.pid.context("its agent does not run")?))?;
                return say::tell_with(caller, &Answer::Done, &[process.as_fd()]);
            }
            Ask::StartEngine { host, engine } => self.start_engine(&host, engine).map(|()| Answer::Done)?,
            Ask::EndEngine { host, signal } => self.end_engine(&host, signal).map(|()| Answer::Done)?,
            Ask::SignalEngine { host, signal } => self.signal_engine(&host, signal).map(|()| Answer::Done)?,
            Ask::Engine { host } => {
                let process = self.engine_process(&host)?;
                return say::tell_with(caller, &Answer::Done, &[process.as_fd()]);
            }
        };
        Ok(say::tell(&mut caller, &answer)?)
    }

    fn start_agent(&self, host: &str) -> Result<()> {
        let namespaces = &self.node(host)?.namespaces;
        self.with_agent(host, |agent| agent.start(namespaces, &self.program)).with_context(|| host.to_owned())
    }

    fn await_agent(&self, host: &str, until: Until) -> Result<()> {
        let deadline = Instant::now() + AGENT_WAIT;
        let mut agents = self.agents();
        loop {
            let agent = agents.get(host).with_context(|| format!("{host} is no host of this lab"))?;
            match (agent.state(), until) {
                (AgentState::Ready, Until::Ready) | (AgentState::Gone(_) | AgentState::Off, Until::Gone) => {
                    return Ok(());
                }
                (AgentState::Off, Until::Ready) => bail!("the agent of {host} was not started"),
                (AgentState::Gone(how), Until::Ready) => {
                    bail!(
                        "the agent of {host} {how} before it was ready; its last words:\n{}",
                        agent.last_words()
                    )
                }
                (AgentState::Starting, _) | (AgentState::Ready, Until::Gone) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("after {} s the agent of {host} is {:?}", AGENT_WAIT.as_secs(), agent.state());
            }
            agents = self.changed.wait_timeout(agents, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn with_agent<T>(&self, host: &str, act: impl FnOnce(&mut Agent) -> Result<T>) -> Result<T> {
        let mut agents = self.agents();
        let agent = agents.get_mut(host).with_context(|| format!("{host} is no host of this lab"))?;
        let acted = act(agent);
        self.changed.notify_all();
        acted
    }

    fn agents(&self) -> MutexGuard<'_, BTreeMap<String, Agent>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, name: &str) -> Result<&Node> {
        let names = self.topology.nodes().into_iter().map(|(name, _)| name);
        let unknown = || match self.topology.engine_of(name) {
            Some(host) => anyhow!("{name} is a container of Docker on {}", host.name),
            None => anyhow!("there is no node {name} ({})", crate::names::suggest(name, names)),
        };
        self.nodes.get(name).ok_or_else(unknown)
    }

    fn status(&self) -> Status {
        let agents: BTreeMap<String, AgentStatus> =
            self.agents().iter().map(|(host, agent)| (host.clone(), agent.status())).collect();
        let mut nodes = vec![node(SWITCH, Kind::Switch, None, Vec::new())];
        for router in &self.topology.routers {
            let with_length = |address| {
                let prefix = self.topology.segment_of(address)?.prefix_for(address)?;
                IpNet::new(address, prefix.prefix_len()).ok()
            };
            let addresses = router.addresses.iter().copied().filter_map(with_length).collect();
            nodes.push(node(&router.name, Kind::Router, None, addresses));
        }
        for host in &self.topology.hosts {
            let agent = agents.get(&host.name).cloned();
            let engine = self.engines.status(&host.name);
            nodes.push(NodeStatus { agent, engine, ..self.host_status(host) });
            if host.engine.is_some() {
                nodes.extend(self.docker_containers(host));
                continue;
            }
            for container in &host.containers {
                let addresses =
                    container.addresses.iter().filter_map(|address| host.in_subnet(*address)).collect();
                nodes.push(node(&container.name, Kind::Container, Some(&host.name), addresses));
            }
        }
        Status { name: self.name.clone(), nodes }
    }

    fn host_status(&self, host: &Host) -> NodeStatus {
        let segment = self.topology.segment(&host.segment);
        let mut addresses = segment.map(|segment| host.in_segment(segment)).unwrap_or_default();
        if host.engine.is_none() {
            addresses.extend(host.bridge_addresses());
        }
        let gateways = segment.map(|segment| self.topology.gateways(segment)).unwrap_or_default();
        NodeStatus { gateways, ..node(&host.name, Kind::Host, Some(&host.segment), addresses) }
    }
}

fn node(name: &str, kind: Kind, on: Option<&str>, addresses: Vec<IpNet>) -> NodeStatus {
    NodeStatus {
        name: name.into(),
        kind,
        on: on.map(str::to_owned),
        addresses,
        gateways: Vec::new(),
        agent: None,
        engine: None,
    }
}

/// Whether the other side is gone; a byte from it means that it lets the lab go on without it.
fn has_hung_up(starter: &mut UnixStream) -> Result<bool> {
    let mut byte = [0];
    match starter.read(&mut byte) {
        Ok(count) => Ok(count == 0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
        Err(error) => Err(error).context("hear whoever started the lab"),
    }
}
