//! `byway lab`: hosts and containers made of network namespaces on this machine.

mod demo;

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use byway_lab::{
    AgentState, AgentStatus, EngineState, EngineStatus, Holder, Lab, NodeStatus, Options, Progress, Release,
    Signal, Snapshot, Spread, Status, Topology, Until,
};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::Serialize;

use crate::show::{BAD, FAINT, GOOD, LOOK, print, print_json, styled, table};

/// What can be done with a lab.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a lab: two hosts with a container each, if nothing else is said
    Up(Up),
    /// Show what stands in a lab
    Status(Name),
    /// Run a command in a host, a container, a router or the switch
    Exec(Exec),
    /// Start or end the agent of a host
    Agent(Agent),
    /// Start or end the Docker engine of a host
    Engine(Engine),
    /// End a lab, and everything in it
    Down(Name),
    /// Tell the whole story with two hosts: before, after, hop by hop, and everything removed
    Demo,
    /// Write down what Byway could change here, to compare before and after
    #[command(hide = true)]
    Snapshot,
    /// Hold a lab (what `up` starts)
    #[command(hide = true)]
    Hold {
        /// The lab's name.
        name: String,
    },
}

/// Which lab.
#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The lab's name
    #[arg(long, default_value = "lab")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    name: Name,
    /// Read the topology from this TOML file
    #[arg(value_name = "FILE", conflicts_with_all = ["hosts", "containers", "segments"])]
    topology: Option<PathBuf>,
    /// How many hosts
    #[arg(long, value_name = "N", default_value_t = 2)]
    hosts: usize,
    /// How many containers on each host [default: 1, with Docker engines 0]
    #[arg(long, value_name = "N")]
    containers: Option<usize>,
    /// Give each host a real Docker engine: `docker` (this machine's own), `20.10` or `28.5` (`cargo xtask engines`
    /// makes them); of several, the hosts get one after the other
    #[arg(long, value_name = "RELEASE", value_delimiter = ',', conflicts_with = "topology")]
    engine: Vec<Release>,
    /// Over how many segments the hosts are spread; a router joins them
    #[arg(long, value_name = "N", default_value_t = 1)]
    segments: usize,
    /// Start no agents
    #[arg(long)]
    no_agent: bool,
    /// Stay in the foreground; the lab ends with this command, however that ends
    #[arg(long)]
    attached: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    name: Name,
    /// Where: any name that `byway lab status` shows
    node: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Agent {
    #[command(flatten)]
    name: Name,
    /// Whose agent
    host: String,
    /// What to do with it
    #[arg(value_enum)]
    deed: Deed,
}

#[derive(Debug, Args)]
pub(crate) struct Engine {
    #[command(flatten)]
    name: Name,
    /// Whose engine
    host: String,
    /// What to do with it
    #[arg(value_enum)]
    deed: EngineDeed,
    /// With `start`: another release from now on, on the same data
    #[arg(long = "engine", value_name = "RELEASE")]
    release: Option<Release>,
    /// With `start`: what to tell dockerd from now on, beside /etc/docker/daemon.json
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// What can be done with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineDeed {
    /// Start it and wait until it answers
    Start,
    /// End it with SIGTERM and wait until it is gone
    Stop,
    /// End it with SIGKILL and wait until it is gone; its containers go on
    Kill,
    /// Let it read its daemon.json again (SIGHUP)
    Reload,
}

/// What can be done with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Deed {
    /// Start it and wait until it is ready
    Start,
    /// End it with SIGTERM and wait until it is gone
    Stop,
    /// End it with SIGKILL and wait until it is gone
    Kill,
}

/// Does it. `hold` and `exec` need a process without other threads.
pub(crate) fn run(command: Command, json: bool) -> Result<ExitCode> {
    match command {
        Command::Up(up) => make(&up, json)?,
        Command::Status(Name { name }) => {
            let status = Holder::find(&name)?.status()?;
            if json { print_json(&status)? } else { print(&told(&status)) }
        }
        Command::Exec(Exec { name, node, command }) => {
            let (program, arguments) = command.split_first().context("no command")?;
            return byway_lab::exec(&Holder::find(&name.name)?, &node, program, arguments);
        }
        Command::Agent(agent) => treat_agent(&agent, json)?,
        Command::Engine(engine) => treat_engine(&engine, json)?,
        Command::Down(Name { name }) => {
            let begun = Instant::now();
            Holder::find(&name)?.down()?;
            tell_end(&name, begun.elapsed(), json)?;
        }
        Command::Demo => return demo::run(json),
        Command::Snapshot => print_json(&Snapshot::take()?)?,
        Command::Hold { name } => return byway_lab::hold(&name),
    }
    Ok(ExitCode::SUCCESS)
}

fn make(up: &Up, json: bool) -> Result<()> {
    let begun = Instant::now();
    let topology = topology(up)?;
    let options = Options::named(&up.name.name, &std::env::current_exe().context("find our own program")?);
    let options = if up.no_agent { options.without_agents() } else { options };
    // Before anything is made, so that Ctrl-C ends what was made.
    let signals = if up.attached { Some(end_signals()?) } else { None };
    let mut bar = Bar::new();
    let lab = Lab::up(&topology, &options, |progress| bar.show(progress));
    bar.clear();
    let lab = lab?;
    tell_up(&topology, &lab, begun.elapsed(), json)?;
    let Some(signals) = signals else { return lab.detach().map(drop) };
    let mut polled =
        [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(lab.as_fd(), PollFlags::POLLIN)];
    poll(&mut polled, PollTimeout::NONE).context("wait")?;
    lab.down()
}

fn topology(up: &Up) -> Result<Topology> {
    if let Some(path) = &up.topology {
        return read(path);
    }
    let containers = up.containers.unwrap_or(usize::from(up.engine.is_empty()));
    let spread = Spread { hosts: up.hosts, containers, segments: up.segments };
    Ok(spread.topology().with_engines(&up.engine))
}

fn read(path: &Path) -> Result<Topology> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(Topology::parse(&path.display().to_string(), &text)?)
}

fn end_signals() -> Result<SignalFd> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().context("block signals")?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).context("take signals")
}

#[derive(Serialize)]
struct Stands<'a> {
    name: &'a str,
    holder: i32,
    hosts: usize,
    containers: usize,
    seconds: f64,
}

fn tell_up(topology: &Topology, lab: &Lab, took: Duration, json: bool) -> Result<()> {
    let (hosts, containers, seconds) = (topology.hosts.len(), topology.containers(), took.as_secs_f64());
    if json {
        return print_json(&Stands { name: lab.name(), holder: lab.pid(), hosts, containers, seconds });
    }
    let containers_first = topology.hosts.iter().flat_map(|host| &host.containers).map(|c| &c.name);
    let first =
        containers_first.chain(topology.hosts.iter().map(|host| &host.name)).next().context("no host")?;
    let name = if lab.name() == "lab" { String::new() } else { format!("--name {} ", lab.name()) };
    print(&format!(
        "{} {hosts} hosts and {containers} containers are up after {seconds:.2} s; look inside with\n  \
         byway lab exec {name}{first} -- ip address\n",
        styled(GOOD, "lab:")
    ));
    Ok(())
}

fn tell_end(name: &str, took: Duration, json: bool) -> Result<()> {
    let seconds = took.as_secs_f64();
    if json {
        return print_json(&serde_json::json!({ "name": name, "ended": true, "seconds": seconds }));
    }
    print(&format!("{} {name} is gone after {seconds:.2} s\n", styled(GOOD, "lab:")));
    Ok(())
}

fn treat_agent(agent: &Agent, json: bool) -> Result<()> {
    let holder = Holder::find(&agent.name.name)?;
    let until = match agent.deed {
        Deed::Start => holder.start_agent(&agent.host).map(|()| Until::Ready)?,
        Deed::Stop => holder.kill_agent(&agent.host, Signal::SIGTERM).map(|()| Until::Gone)?,
        Deed::Kill => holder.kill_agent(&agent.host, Signal::SIGKILL).map(|()| Until::Gone)?,
    };
    holder.await_agent(&agent.host, until)?;
    let node = status_of(&holder, &agent.host)?;
    if json {
        return print_json(&node);
    }
    print(&format!("{}: {}\n", agent.host, node.agent.as_ref().map(agent_told).unwrap_or_default()));
    Ok(())
}

fn treat_engine(engine: &Engine, json: bool) -> Result<()> {
    let Engine { name, host, deed, release, arguments } = engine;
    let holder = Holder::find(&name.name)?;
    match deed {
        EngineDeed::Start if release.is_none() && arguments.is_empty() => holder.start_engine(host)?,
        EngineDeed::Start => {
            let had =
                status_of(&holder, host)?.engine.with_context(|| format!("{host} has no Docker engine"))?;
            let iptables = holder.topology()?.hosts.into_iter().find(|one| one.name == *host);
            let iptables =
                iptables.and_then(|one| one.engine).map(|engine| engine.iptables).unwrap_or_default();
            let release = release.clone().unwrap_or(had.release);
            let arguments = arguments.clone();
            holder.start_engine_as(host, &byway_lab::Engine { release, iptables, arguments })?;
        }
        EngineDeed::Stop => holder.stop_engine(host)?,
        EngineDeed::Kill => holder.kill_engine(host)?,
        EngineDeed::Reload => holder.signal_engine(host, Signal::SIGHUP)?,
    }
    let node = status_of(&holder, host)?;
    if json {
        return print_json(&node);
    }
    print(&format!("{host}: {}\n", node.engine.as_ref().map(engine_told).unwrap_or_default()));
    Ok(())
}

fn status_of(holder: &Holder, host: &str) -> Result<NodeStatus> {
    let nodes = holder.status()?.nodes;
    nodes.into_iter().find(|node| node.name == host).with_context(|| format!("there is no host {host}"))
}

/// One line for each node.
fn told(status: &Status) -> String {
    let has_engines = status.nodes.iter().any(|node| node.engine.is_some());
    let rows = status.nodes.iter().map(|node| {
        [
            indented(node),
            node.kind.word().to_owned(),
            node.on.clone().unwrap_or_default(),
            node.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join("  "),
            node.engine.as_ref().map(engine_told).unwrap_or_default(),
            node.agent.as_ref().map(agent_told).unwrap_or_default(),
        ]
    });
    if has_engines {
        return table(["NODE", "KIND", "ON", "ADDRESSES", "DOCKER", "AGENT"], rows);
    }
    let rows = rows.map(|[node, kind, on, addresses, _, agent]| [node, kind, on, addresses, agent]);
    table(["NODE", "KIND", "ON", "ADDRESSES", "AGENT"], rows)
}

fn engine_told(engine: &EngineStatus) -> String {
    let version = engine.version.as_deref().unwrap_or(engine.release.as_str());
    match &engine.state {
        EngineState::Off => styled(FAINT, "not started"),
        EngineState::Starting => styled(LOOK, format!("{version} starting")),
        EngineState::Ready => styled(GOOD, version),
        EngineState::Gone(how) => styled(BAD, format!("{version} {how}")),
    }
}

/// Containers stand under their host.
fn indented(node: &NodeStatus) -> String {
    let indent = if node.kind == byway_lab::Kind::Container { "  " } else { "" };
    format!("{indent}{}", node.name)
}

fn agent_told(agent: &AgentStatus) -> String {
    let said = agent.said.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
    match &agent.state {
        AgentState::Off => styled(FAINT, "not started"),
        AgentState::Starting => styled(LOOK, "starting") + &said,
        AgentState::Ready => styled(GOOD, "ready") + &said,
        AgentState::Gone(how) => styled(BAD, how) + &said,
    }
}

/// How far the lab is: a bar on a terminal, a line for each stage otherwise.
struct Bar {
    bar: Option<ProgressBar>,
    doing: String,
}

impl Bar {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg:>20} [{bar:40}] {pos}/{len}");
            ProgressBar::new(0)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
        });
        Self { bar, doing: String::new() }
    }

    fn show(&mut self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
        }
        if progress.doing == self.doing {
            return;
        }
        self.doing.clone_from(&progress.doing);
        match &self.bar {
            Some(bar) => bar.set_message(self.doing.clone()),
            // Nobody is left to tell that nobody listens.
            None => drop(writeln!(std::io::stderr(), "lab: {}", self.doing)),
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
