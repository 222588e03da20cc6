//! The Docker engines of a lab: started in their hosts, heard when they answer, never started again by themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::super::Told;
use super::{Hold, has_hung_up, node};
use crate::engine::{self, api, cgroups, ready, room};
use crate::namespaces::Namespaces;
use crate::ports;
use crate::say::{self, EngineState, EngineStatus, NodeStatus};
use crate::socket;
use crate::topology::{Engine, Host, Kind, Release, Topology};

/// How long an engine may take to end: it gives its containers ten seconds, and itself five more.
const END_WAIT: Duration = Duration::from_mins(1);
/// What a thread that has raised an engine says: a word, or dockerd's last ones.
const OUTCOME_BYTES_MAX: usize = 64 << 10;

/// All engines, by host.
#[derive(Debug)]
pub(super) struct Engines {
    roots: Option<engine::Engines>,
    states: Mutex<BTreeMap<String, State>>,
    changed: Condvar,
}

/// One host's engine.
#[derive(Debug)]
pub(super) struct State {
    engine: Engine,
    life: EngineState,
    version: Option<String>,
    /// While it runs.
    pid: Option<Pid>,
    /// The mounts of each release that ran here: what an engine has mounted for its containers stays there.
    mounts: BTreeMap<Release, OwnedFd>,
}

/// The namespaces of a container that Docker has made.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) pid: OwnedFd,
    pub(super) namespaces: Namespaces,
}

impl Engines {
    pub(super) fn of(topology: &Topology, roots: Option<engine::Engines>) -> Self {
        let state = |host: &Host| {
            let life = EngineState::Off;
            let mounts = BTreeMap::new();
            Some((
                host.name.clone(),
                State { engine: host.engine.clone()?, life, version: None, pid: None, mounts },
            ))
        };
        let states = Mutex::new(topology.hosts.iter().filter_map(state).collect());
        Self { roots, states, changed: Condvar::new() }
    }

    /// While this is held, no engine is reaped.
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self, host: &str) -> Option<EngineStatus> {
        let states = self.lock();
        let State { engine, version, life, .. } = states.get(host)?;
        Some(EngineStatus { release: engine.release.clone(), version: version.clone(), state: life.clone() })
    }

    fn with<T>(&self, host: &str, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut states = self.lock();
        let state =
            states.get_mut(host).with_context(|| format!("{host} is no host with a Docker engine"))?;
        let acted = act(state);
        self.changed.notify_all();
        acted.with_context(|| host.to_owned())
    }

    /// Takes in that a child has ended, if it is an engine.
    pub(super) fn ended(&self, states: &mut BTreeMap<String, State>, how: WaitStatus) {
        let mut states = states.values_mut();
        if let Some(state) = states.find(|state| state.pid.is_some() && state.pid == how.pid()) {
            state.life = EngineState::Gone(super::super::agents::words(how));
            state.pid = None;
            self.changed.notify_all();
        }
    }
}

impl Hold {
    /// Starts all engines at once, with their first containers; returns when all are up.
    pub(super) fn raise_engines(self: &Arc<Self>, signals: &SignalFd, told: &mut Told<'_>) -> Result<()> {
        let hosts: Vec<String> = self.engines.lock().keys().cloned().collect();
        let (mut ours, theirs) = UnixStream::pair().context("make a connection")?;
        for host in &hosts {
            let (hold, host, mut theirs) = (self.clone(), host.clone(), theirs.try_clone()?);
            let raise = move || {
                let outcome = hold.raise_engine(&host).map_err(|error| format!("{error:#}"));
                // The holder that does not listen any more is about to end.
                drop(say::tell(&mut theirs, &outcome));
            };
            thread::Builder::new().spawn(raise).context("start a thread")?;
        }
        let mut left = hosts.len();
        while left > 0 {
            let happened = self.wait(signals, &[told.starter.as_fd(), ours.as_fd()], Duration::MAX)?;
            if happened[0] && has_hung_up(told.starter)? {
                bail!("whoever started the lab went away");
            }
            if happened[1] {
                let outcome: Option<Result<(), String>> = say::hear(&mut ours, OUTCOME_BYTES_MAX)?;
                outcome.context("a thread went away")?.map_err(|why| anyhow!(why))?;
                told.next("Docker engines")?;
                left -= 1;
            }
        }
        Ok(())
    }

    fn raise_engine(&self, host: &str) -> Result<()> {
        self.start_engine(host, None)?;
        let host = self.topology.hosts.iter().find(|one| one.name == host).context("the host is gone")?;
        let image = self.engines.roots.as_ref().context("there are no engines")?.image("busybox")?;
        let namespaces = &self.node(&host.name)?.namespaces;
        let begin = || {
            api::import("busybox", &image)?;
            host.containers
                .iter()
                .try_for_each(|one| api::run(&one.name).with_context(|| one.name.clone()))?;
            ports::await_forwarding(host.containers.len())
        };
        namespaces.inside(begin).with_context(|| host.name.clone())
    }

    /// Starts an engine and waits until it answers.
    pub(super) fn start_engine(&self, host: &str, engine: Option<Engine>) -> Result<()> {
        let namespaces = &self.node(host)?.namespaces;
        let process = self.engines.with(host, |state| {
            if let Some(pid) = state.pid {
                bail!("its engine runs already, as process {pid} of the lab");
            }
            state.engine = engine.unwrap_or_else(|| state.engine.clone());
            self.spawn_engine(namespaces, state)
        })?;
        let answers = || {
            ready::await_ready(&process)
                .with_context(|| format!("dockerd is not ready; {}", room::last_words()))?;
            api::version()
        };
        let version = namespaces.inside(answers).with_context(|| host.to_owned())?;
        self.engines.with(host, |state| {
            state.version = Some(version);
            if state.pid.is_some() {
                state.life = EngineState::Ready;
            }
            Ok(())
        })
    }

    fn spawn_engine(&self, namespaces: &Namespaces, state: &mut State) -> Result<OwnedFd> {
        let engine = state.engine.clone();
        let root = self.engines.roots.as_ref().context("there are no engines")?.root(&engine.release)?;
        let cgroup = cgroups::parent(&self.name);
        let mounts = state.mounts.get(&engine.release);
        let (pid, made) = namespaces.inside(|| room::start(&engine, &root, mounts, &cgroup))?;
        state.mounts.extend(made.map(|made| (engine.release, made)));
        state.pid = Some(pid);
        state.life = EngineState::Starting;
        socket::pidfd(pid)
    }

    /// Sends a signal to an engine.
    pub(super) fn signal_engine(&self, host: &str, signal: i32) -> Result<()> {
        let signal = Signal::try_from(signal).context("know the signal")?;
        self.engines.with(host, |state| {
            let pid = state.pid.context("its engine does not run")?;
            kill(pid, signal).with_context(|| format!("send {signal} to its engine"))
        })
    }

    /// Sends a signal to an engine and waits until it has ended.
    pub(super) fn end_engine(&self, host: &str, signal: i32) -> Result<()> {
        self.signal_engine(host, signal)?;
        let deadline = Instant::now() + END_WAIT;
        let mut states = self.engines.lock();
        while states.get(host).is_some_and(|state| state.pid.is_some()) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("after {} s the engine of {host} has not ended", END_WAIT.as_secs());
            }
            states =
                self.engines.changed.wait_timeout(states, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// The process of an engine.
    pub(super) fn engine_process(&self, host: &str) -> Result<OwnedFd> {
        self.engines.with(host, |state| socket::pidfd(state.pid.context("its engine does not run")?))
    }

    /// The namespaces of a container of a Docker engine: one of the topology, or any as `HOST/CONTAINER`.
    pub(super) fn container(&self, name: &str) -> Result<Option<Container>> {
        let (host, container) = match (name.split_once('/'), self.topology.engine_of(name)) {
            (Some((host, container)), _) => (host, container),
            (None, Some(host)) => (host.name.as_str(), name),
            (None, None) => return Ok(None),
        };
        let pid = self
            .node(host)?
            .namespaces
            .inside(|| api::process_of(container))
            .with_context(|| host.to_owned())?;
        let open = |which: &str| -> Result<OwnedFd> {
            let path = format!("/proc/{pid}/ns/{which}");
            Ok(File::open(&path).with_context(|| format!("open {path}: has {name} just ended?"))?.into())
        };
        let namespaces = Namespaces { net: open("net")?, mount: open("mnt")?, uts: open("uts")? };
        Ok(Some(Container { pid: open("pid")?, namespaces }))
    }

    /// The containers of a host as its engine tells them; those of the topology if it does not answer.
    pub(super) fn docker_containers(&self, host: &Host) -> Vec<NodeStatus> {
        let on = Some(host.name.as_str());
        let runs = self.engines.lock().get(&host.name).is_some_and(|state| state.life == EngineState::Ready);
        let ask = || self.node(&host.name)?.namespaces.inside(api::containers);
        let Some(found) = runs.then(ask).and_then(Result::ok) else {
            let names = host.containers.iter().map(|container| &container.name);
            return names.map(|name| node(name, Kind::Container, on, Vec::new())).collect();
        };
        let is_known = |name: &str| host.containers.iter().any(|container| container.name == name);
        let told = |api::Found { name, addresses }| {
            let name = if is_known(&name) { name } else { format!("{}/{name}", host.name) };
            node(&name, Kind::Container, on, addresses)
        };
        found.into_iter().map(told).collect()
    }
}
