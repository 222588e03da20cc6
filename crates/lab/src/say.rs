//! What a lab's holder and those who ask it say to each other.
//!
//! One connection, one request, one answer, each a line of JSON; open files travel beside the answer's first
//! byte. The holder is found by an abstract socket, so there is no file to leave behind.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::unistd::Uid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::engine::Engines;
use crate::topology::{Engine, Kind, Release, Topology};

/// The longest line: the topology of the largest lab is under a quarter of it.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Open files beside one answer: user, PID, mount, network and uts namespace.
const FILES_MAX: usize = 5;
/// The longest name of a lab: it must fit the 107 bytes of a socket's address.
const NAME_MAX: usize = 40;

/// What the holder is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Charter {
    pub(crate) topology: Topology,
    /// The agent's command line.
    pub(crate) agent: Vec<String>,
    pub(crate) agents: Agents,
    /// Where engines come from, if the topology has some.
    pub(crate) engines: Option<Engines>,
}

/// When the agents of a lab are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agents {
    /// With the lab: it is up when all of them are ready.
    Started,
    /// When they are asked for, one by one.
    Off,
}

/// What the holder says while a lab comes up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum News {
    /// The holder's process id, told by the outer stage.
    Holder(u32),
    Progress(Progress),
    Ready,
    Failed(String),
}

/// How far a lab is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub total: usize,
    /// What is being done now.
    pub doing: String,
}

/// What the holder can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    Topology,
    Status,
    Down,
    Namespaces {
        node: String,
    },
    Socket {
        node: String,
        domain: i32,
        kind: i32,
        protocol: i32,
    },
    StartAgent {
        host: String,
    },
    SignalAgent {
        host: String,
        signal: i32,
    },
    AwaitAgent {
        host: String,
        until: Until,
    },
    Agent {
        host: String,
    },
    /// With what it had last, or with something else from now on.
    StartEngine {
        host: String,
        engine: Option<Engine>,
    },
    /// Waits until it has ended.
    EndEngine {
        host: String,
        signal: i32,
    },
    SignalEngine {
        host: String,
        signal: i32,
    },
    Engine {
        host: String,
    },
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// The agent has said that it is ready.
    Ready,
    /// The agent has ended.
    Gone,
}

/// What the holder answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    Topology(Topology),
    Status(Status),
    /// Files beside: the user, PID, mount, network and uts namespaces.
    Namespaces,
    Refused(String),
}

/// What stands in a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The lab's name.
    pub name: String,
    /// All nodes: the switch, routers, and each host followed by its containers.
    pub nodes: Vec<NodeStatus>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What its `eth0` hangs on: a host's segment, a container's host.
    pub on: Option<String>,
    /// Its addresses; a host's bridge has the last.
    pub addresses: Vec<IpNet>,
    /// The gateways of a host's default routes.
    pub gateways: Vec<IpAddr>,
    /// Its agent, if it is a host that is to have one.
    pub agent: Option<AgentStatus>,
    /// Its Docker engine, if it is a host that has a real one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub engine: Option<EngineStatus>,
}

/// A Docker engine as the lab sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Where it comes from.
    pub release: Release,
    /// What it calls its version, when it answered last.
    pub version: Option<String>,
    /// Where it is in its life.
    pub state: EngineState,
}

/// Where an engine is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineState {
    /// Never started.
    Off,
    /// Started, does not answer yet.
    Starting,
    /// It has answered.
    Ready,
    /// It has ended, in these words.
    Gone(String),
}

/// An agent as the lab sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Where it is in its life.
    pub state: AgentState,
    /// Its last `STATUS=` text.
    pub said: Option<String>,
}

/// Where an agent is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Never started.
    Off,
    /// Started, not ready yet.
    Starting,
    /// It has said `READY=1`.
    Ready,
    /// It has ended, in these words.
    Gone(String),
}

/// The abstract address at which a lab of that name is found.
pub(crate) fn address(name: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name = !name.is_empty() && name.len() <= NAME_MAX && name.chars().all(plain);
    ensure!(is_name, "{name:?} cannot be the name of a lab: 1 to {NAME_MAX} of a-z A-Z 0-9 . _ -");
    Ok(format!("byway-lab/{}/{name}", Uid::effective()))
}

/// Says one thing.
pub(crate) fn tell(stream: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Says one thing and hands open files over.
pub(crate) fn tell_with(stream: &UnixStream, what: &impl Serialize, files: &[BorrowedFd<'_>]) -> Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let raw: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let sent = sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(&line)],
        &[ControlMessage::ScmRights(&raw)],
        MsgFlags::MSG_NOSIGNAL,
        None,
    );
    ensure!(sent.context("hand files over")? == line.len(), "the answer did not fit the socket");
    Ok(())
}

/// Hears one thing; `None` if the other side has hung up instead.
pub(crate) fn hear<T: DeserializeOwned>(stream: &mut impl Read, bytes_max: usize) -> Result<Option<T>> {
    let mut line = Vec::new();
    let mut byte = [0];
    // Byte by byte, so that nothing of the next line is taken; lines are few.
    while line.len() < bytes_max.min(LINE_BYTES_MAX) {
        match stream.read(&mut byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => bail!("the line broke off after {} bytes", line.len()),
            Ok(_) if byte[0] == b'\n' => return Ok(Some(serde_json::from_slice(&line)?)),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("read a line"),
        }
    }
    bail!("a line of more than {} bytes", line.len())
}

/// Hears the last thing that will be said on a connection, and the files beside it.
pub(crate) fn hear_with<T: DeserializeOwned>(stream: &mut UnixStream) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut line = vec![0; 4096];
    let mut space = nix::cmsg_space!([RawFd; FILES_MAX]);
    let mut parts = [IoSliceMut::new(&mut line)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags).context("read the answer")?;
    let mut files = Vec::new();
    for part in message.cmsgs().context("take the files")? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel has just opened these for us, and nobody else knows their numbers.
            files.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let bytes = message.bytes;
    if bytes == 0 {
        return Ok(None);
    }
    line.truncate(bytes);
    stream.take(LINE_BYTES_MAX as u64).read_to_end(&mut line).context("read the answer")?;
    ensure!(line.last() == Some(&b'\n'), "the answer broke off after {} bytes", line.len());
    Ok(Some((serde_json::from_slice(&line)?, files)))
}
