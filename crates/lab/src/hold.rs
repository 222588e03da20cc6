//! The process that holds a lab: everything in the lab ends with it, however it ends.
//!
//! ```text
//! byway lab up ──spawns──> outer stage: binds the lab's name in the machine's network namespace, unshares
//!      ▲                       │ spawns, and goes away
//!      │ news                  ▼
//!      └────────────────── holder: PID 1 of the lab's PID namespace; its own namespaces are the switch's
//!                              ├─ agent of docker41
//!                              └─ agent of docker42 …
//! ```
//!
//! If there are Docker engines, the outer stage also leaves a keeper behind, which removes the lab's control groups
//! when the holder has ended. Both stages are the same command, `byway lab hold NAME`; the second knows itself by being PID 1. What they
//! need comes as open files: the conversation with `up` as standard input, the lab's socket as standard output.

mod agents;
mod serve;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::unistd::{Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

use crate::allowed::why_no_user_namespace;
use crate::engine::cgroups::{self, Keeper};
use crate::furniture::{self, Privilege};
use crate::raise;
use crate::say::{self, Agents, Charter, News, Progress};
use serve::Hold;

/// The longest charter: a topology of the largest size is a quarter of it.
const CHARTER_BYTES_MAX: usize = 4 << 20;
/// `CAP_NET_ADMIN` and `CAP_SYS_ADMIN` (capability.h).
const CAPABILITIES_NEEDED: u64 = 1 << 12 | 1 << 21;

/// Is the outer stage or the holder itself. Call it on the main thread, with no other thread running.
///
/// # Errors
/// What keeps the lab from standing is told to whoever started it, over the connection on standard input; an
/// error is returned only if there is no such connection.
pub fn hold(name: &str) -> Result<ExitCode> {
    let mut starter =
        UnixStream::from(io::stdin().as_fd().try_clone_to_owned().context("take standard input")?);
    starter.local_addr().context("`byway lab hold` is started by `byway lab up` only")?;
    let result = if std::process::id() == 1 {
        be_holder(name, &mut starter)
    } else {
        be_outer_stage(name, &mut starter)
    };
    if let Err(error) = result {
        say::tell(&mut starter, &News::Failed(format!("{error:#}"))).context("tell what went wrong")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn be_outer_stage(name: &str, starter: &mut UnixStream) -> Result<()> {
    setsid().context("leave the terminal")?;
    chdir("/").context("leave the working directory")?;
    let socket = take_name(name)?;
    let keeper = if std::env::var_os(cgroups::KEEPER).is_some() { Some(Keeper::start(name)?) } else { None };
    let namespaces = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET;
    if privilege_here()? == Privilege::User {
        become_root_of_a_user_namespace().with_context(why_no_user_namespace)?;
        unshare(namespaces).with_context(why_no_user_namespace)?;
    } else {
        unshare(namespaces).context("make the lab's namespaces")?;
    }
    let program = std::env::current_exe().context("find our own program")?;
    let mut holder = Command::new(program);
    holder.args(["lab", "hold", name]).stdin(Stdio::inherit()).stdout(socket).stderr(Stdio::inherit());
    let holder = holder.spawn().context("start the holder")?;
    keeper.map_or(Ok(()), |keeper| keeper.tell(holder.id()))?;
    say::tell(starter, &News::Holder(holder.id())).context("whoever started the lab went away")
}

/// Takes the lab's name, in the network namespace of whoever will look for it. Nobody is answered before
/// [`be_holder`] listens: the kernel remembers the listener's PID as the one that callers see.
fn take_name(name: &str) -> Result<OwnedFd> {
    let address = UnixAddr::new_abstract(say::address(name)?.as_bytes()).context("make the lab's address")?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .context("make a socket")?;
    match bind(socket.as_raw_fd(), &address) {
        Ok(()) => Ok(socket),
        Err(Errno::EADDRINUSE) => {
            bail!("a lab called {name} is up already (`byway lab down` ends it, `--name` makes another)")
        }
        Err(error) => Err(error).context("take the lab's name"),
    }
}

fn privilege_here() -> Result<Privilege> {
    let status =
        fs::read_to_string("/proc/self/status").context("read /proc/self/status: is /proc mounted?")?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective =
        effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).context("read CapEff")?;
    Ok(if effective & CAPABILITIES_NEEDED == CAPABILITIES_NEEDED { Privilege::Root } else { Privilege::User })
}

fn become_root_of_a_user_namespace() -> Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    match unshare(CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {}
        Err(Errno::EPERM | Errno::EACCES) => bail!("this user may not make a user namespace"),
        Err(Errno::ENOSPC | Errno::EUSERS) => bail!("no more user namespaces may be made"),
        Err(error) => return Err(error).context("make a user namespace"),
    }
    let write = |path: &str, text: String| fs::write(path, text).with_context(|| format!("write {path}"));
    // Without this the group map is refused to unprivileged writers: user_namespaces(7).
    write("/proc/self/setgroups", "deny".into())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

fn be_holder(name: &str, starter: &mut UnixStream) -> Result<()> {
    let socket =
        UnixListener::from(io::stdout().as_fd().try_clone_to_owned().context("take standard output")?);
    let nothing = File::options().read(true).write(true).open("/dev/null").context("open /dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    let Charter { topology, agent, agents, engines } =
        say::hear(starter, CHARTER_BYTES_MAX)?.context("whoever started the lab went away")?;
    let privilege = if in_the_first_user_namespace()? { Privilege::Root } else { Privilege::User };
    if privilege == Privilege::User && topology.hosts.iter().any(|host| host.engine.is_some()) {
        bail!("real Docker engines need the machine's root: `sudo byway lab up --engine …`");
    }
    allow_open_files()?;
    furniture::furnish_holder()?;
    let awaited = if agents == Agents::Started { topology.hosts.len() } else { 0 };
    let with_engines = topology.hosts.iter().filter(|host| host.engine.is_some()).count();
    let total = raise::steps(&topology) + with_engines + awaited;
    let mut told = Told { total, done: 0, starter };
    let nodes = raise::raise(&topology, privilege, &mut || told.next("namespaces and wires"))?;
    listen(&socket, Backlog::MAXCONN).context("listen")?;
    Hold::new(name, topology, nodes, agent, engines)?.run(&socket, told, agents)
}

/// Stays quiet from now on: nobody is left who would read it.
fn be_quiet() -> Result<()> {
    dup2_stderr(File::options().write(true).open("/dev/null").context("open /dev/null")?)
        .context("leave standard error")
}

fn in_the_first_user_namespace() -> Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map").context("read /proc/self/uid_map")?;
    Ok(map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// Each node takes three open files and a socket; the usual soft limit of 1024 is for 250 nodes.
fn allow_open_files() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("read the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the limit of open files")
}

/// Counts steps for whoever started the lab.
struct Told<'a> {
    starter: &'a mut UnixStream,
    done: usize,
    total: usize,
}

impl Told<'_> {
    fn next(&mut self, doing: &str) -> Result<()> {
        self.done += 1;
        let progress = Progress { done: self.done, total: self.total, doing: doing.into() };
        say::tell(self.starter, &News::Progress(progress)).context("whoever started the lab went away")
    }
}
