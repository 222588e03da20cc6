//! A lab that ends with whoever made it: by `down`, by going out of scope, by a panic, by `kill -9`.
//!
//! The tie is a connection: the kernel closes it whatever happens to this process, and the holder ends then.

use std::ffi::OsStr;
use std::io::Write;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use nix::unistd::Pid;

use crate::engine::{Engines, cgroups};
use crate::holder::Holder;
use crate::say::{self, Agents, Charter, News, Progress};
use crate::topology::Topology;

/// How long nothing may be heard from a lab that comes up; the agents' wait is bounded by the holder.
const NEWS_WAIT: Duration = Duration::from_secs(90);
/// One piece of news: a refusal with the end of a log.
const NEWS_BYTES_MAX: usize = 64 << 10;

/// How to make a lab.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that is the holder (`PROGRAM lab hold NAME`) and joins nodes (`PROGRAM lab exec …`).
    pub byway: PathBuf,
    /// The lab's name, unique for this user.
    pub name: String,
    /// The agents' command line.
    pub agent: Vec<String>,
    /// When the agents start.
    pub agents: Agents,
}

impl Options {
    /// A lab with a name, whose hosts run `PROGRAM agent`.
    #[must_use]
    pub fn named(name: &str, byway: &Path) -> Self {
        let agent = vec![byway.to_string_lossy().into_owned(), "agent".into()];
        Self { byway: byway.to_owned(), name: name.to_owned(), agent, agents: Agents::Started }
    }

    /// A lab with a name that no other lab has: for tests and demonstrations.
    #[must_use]
    pub fn private(byway: &Path) -> Self {
        static LABS: AtomicUsize = AtomicUsize::new(0);
        let nth = LABS.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("{}-{nth}", std::process::id()), byway)
    }

    /// The same lab, with agents that are not started ([`Holder::start_agent`] does it then).
    #[must_use]
    pub fn without_agents(mut self) -> Self {
        self.agents = Agents::Off;
        self
    }

    /// The same lab, with another agent.
    #[must_use]
    pub fn with_agent<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.agent = command.into_iter().map(Into::into).collect();
        self
    }
}

/// A lab that ends when this value does.
#[derive(Debug)]
pub struct Lab {
    holder: Holder,
    pub(crate) byway: PathBuf,
    tie: Option<UnixStream>,
}

impl Lab {
    /// Makes a lab; returns when everything stands and every agent that is to start is ready.
    ///
    /// # Errors
    /// When the topology has flaws, this user may not make a lab, the name is taken, or an agent has ended.
    pub fn up(topology: &Topology, options: &Options, mut progress: impl FnMut(&Progress)) -> Result<Self> {
        refuse_flaws(topology)?;
        say::address(&options.name)?;
        let engines = find_engines(topology)?;
        let mut tie = start(options, engines.is_some())?;
        let Options { agent, agents, .. } = options.clone();
        // If the holder has failed already, its news say why.
        drop(say::tell(&mut tie, &Charter { topology: topology.clone(), agent, agents, engines }));
        let pid = match next_news(&mut tie)? {
            News::Holder(pid) => Pid::from_raw(i32::try_from(pid)?),
            News::Failed(why) => bail!(why),
            other => bail!("the outer stage said {other:?}"),
        };
        let holder = match Holder::of(&options.name, pid) {
            Ok(holder) => holder,
            // It has ended already, and its last news say why.
            Err(error) => return Err(last_news(&mut tie).unwrap_or(error)),
        };
        // From here on an early return drops the lab, and with it waits until all of it is gone.
        let mut lab = Self { holder, byway: options.byway.clone(), tie: Some(tie) };
        lab.await_ready(&mut progress)?;
        Ok(lab)
    }

    fn await_ready(&mut self, progress: &mut impl FnMut(&Progress)) -> Result<()> {
        let tie = self.tie.as_mut().context("the lab was let go")?;
        loop {
            match next_news(tie)? {
                News::Holder(_) => {}
                News::Progress(news) => progress(&news),
                News::Ready => return Ok(()),
                News::Failed(why) => bail!(why),
            }
        }
    }

    /// A command that runs in a node, in all its namespaces; its exit status is the command's.
    #[must_use]
    pub fn command(&self, node: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.byway);
        command.args(["lab", "exec", "--name", self.holder.name(), node, "--"]).arg(program);
        command
    }

    /// Lets it go on without us.
    ///
    /// # Errors
    /// When it has ended.
    pub fn detach(mut self) -> Result<Holder> {
        if let Some(mut tie) = self.tie.take() {
            tie.write_all(b"\n").context("let the lab go on")?;
        }
        Holder::find(self.holder.name())
    }

    /// Ends it and waits until all its processes are gone.
    ///
    /// # Errors
    /// When something is left after a minute.
    pub fn down(mut self) -> Result<()> {
        self.tie = None;
        self.holder.await_end()
    }
}

impl Deref for Lab {
    type Target = Holder;

    fn deref(&self) -> &Holder {
        &self.holder
    }
}

impl Drop for Lab {
    /// Ends it, unless it was let go, and waits, so that the next step finds nothing of it.
    fn drop(&mut self) {
        if self.tie.take().is_some() {
            drop(self.holder.await_end());
        }
    }
}

fn next_news(tie: &mut UnixStream) -> Result<News> {
    let news = say::hear(tie, NEWS_BYTES_MAX).context("hear how the lab comes up")?;
    news.context("the lab's holder ended without a word")
}

fn last_news(tie: &mut UnixStream) -> Option<anyhow::Error> {
    loop {
        match next_news(tie) {
            Ok(News::Failed(why)) => return Some(anyhow!(why)),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

fn refuse_flaws(topology: &Topology) -> Result<()> {
    let flaws: Vec<String> = topology.flaws().iter().map(ToString::to_string).collect();
    if flaws.is_empty() { Ok(()) } else { bail!("this cannot be a lab:\n{}", flaws.join("\n")) }
}

/// Where the topology's engines come from, if it has some.
fn find_engines(topology: &Topology) -> Result<Option<Engines>> {
    if topology.hosts.iter().all(|host| host.engine.is_none()) {
        return Ok(None);
    }
    cgroups::sweep();
    let engines = Engines::of_this_user()?;
    engines.check(topology)?;
    Ok(Some(engines))
}

/// Starts the outer stage, which starts the holder and ends.
fn start(options: &Options, has_engines: bool) -> Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair().context("make a connection")?;
    ours.set_read_timeout(Some(NEWS_WAIT))?;
    let mut command = Command::new(&options.byway);
    command.args(["lab", "hold", &options.name]).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    if has_engines {
        command.env(cgroups::KEEPER, "1");
    }
    let mut outer = command.spawn().with_context(|| format!("start {}", options.byway.display()))?;
    // The command keeps its copy of the far end open until it is dropped.
    drop(command);
    outer.wait().context("wait for the outer stage")?;
    Ok(ours)
}
