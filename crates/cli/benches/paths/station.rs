//! A thread that stays in the network namespace of one node and does what it is asked to, on the measuring CPU.

use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use byway_lab::Lab;

use crate::processor::Core;

/// Nothing that a station is asked takes so long; a lost datagram would be waited for without end.
const PATIENCE: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce() + Send>;

/// One end of the traffic.
#[derive(Debug)]
pub(crate) struct Station {
    node: String,
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<Result<()>>,
}

/// What will come of a job.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    node: String,
    outcome: mpsc::Receiver<Result<T>>,
}

impl Station {
    pub(crate) fn open(lab: &Arc<Lab>, node: &str, core: &Core) -> Result<Self> {
        let (jobs, asked) = mpsc::channel::<Job>();
        let (ready, is_ready) = mpsc::channel();
        let (lab, core, at) = (lab.clone(), core.clone(), node.to_owned());
        let work = move || {
            let stay = move || -> Result<()> {
                core.take()?;
                ready.send(()).context("nobody waits for this station")?;
                for job in asked {
                    job();
                }
                Ok(())
            };
            lab.inside(&at, stay).flatten()
        };
        let thread = thread::Builder::new().spawn(work).context("start a thread")?;
        if is_ready.recv().is_err() {
            let why = thread.join().unwrap_or_else(|_| Err(anyhow!("its thread panicked"))).err();
            return Err(why.unwrap_or_else(|| anyhow!("it ended at once")).context(node.to_owned()));
        }
        Ok(Self { node: node.to_owned(), jobs, thread })
    }

    /// Ends its thread, which holds the lab.
    pub(crate) fn close(self) -> Result<()> {
        let Self { node, jobs, thread } = self;
        drop(jobs);
        thread.join().unwrap_or_else(|_| Err(anyhow!("its thread panicked"))).context(node)
    }

    /// Begins a job.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Pending<T>> {
        let (tell, outcome) = mpsc::channel();
        let job = move || drop(tell.send(job()));
        let sent = self.jobs.send(Box::new(job));
        sent.map_err(|_| anyhow!("{}: its thread has ended", self.node))?;
        Ok(Pending { node: self.node.clone(), outcome })
    }

    /// Does a job.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.start(job)?.end()
    }
}

impl<T> Pending<T> {
    /// Waits for it.
    pub(crate) fn end(self) -> Result<T> {
        let outcome = self.outcome.recv_timeout(PATIENCE);
        let ended = outcome.with_context(|| format!("{}: not done after {PATIENCE:?}", self.node))?;
        ended.with_context(|| self.node)
    }
}
