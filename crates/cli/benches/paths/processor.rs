//! The one CPU on which everything is measured, and what it spends.
//!
//! The scheduler counts a thread's time to the nanosecond, and softirqs that run on top of the thread are in it: on
//! a veth wire the sender's own thread carries its packet up to the receiver's socket, through bridges, rules and
//! VXLAN devices of both hosts. Whatever the kernel puts off instead goes to this CPU's `ksoftirqd`, whose time is
//! added. So nothing is estimated from ticks, and what others do on this machine is not in the numbers, except for
//! interrupts of theirs that happen to come here, and the caches that they take. The latencies, which come from
//! another clock, tell that nothing is missing: as one of both ends is always busy, a request and its response take
//! as long on the wall as they cost.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use nix::errno::Errno;
use nix::libc;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::verdict::thread_cpu;

/// One CPU.
#[derive(Debug, Clone)]
pub(crate) struct Core {
    number: usize,
    /// Where its `ksoftirqd` tells its time; none if this is not the machine's own view of processes.
    softirqd: Option<PathBuf>,
}

impl Core {
    /// The last one that this process may use: the first ones get most interrupts.
    pub(crate) fn last() -> Result<Self> {
        let ours = sched_getaffinity(Pid::from_raw(0)).context("see which CPUs are ours")?;
        let may_use = |number: &usize| ours.is_set(*number).unwrap_or(false);
        let number = (0..CpuSet::count()).rev().find(may_use).context("no CPU is ours")?;
        Ok(Self { number, softirqd: find_softirqd(number)? })
    }

    /// Whether the time of `ksoftirqd` can be counted too.
    pub(crate) fn counts_softirqd(&self) -> bool {
        self.softirqd.is_some()
    }

    /// Refuses if this user may not take it.
    pub(crate) fn check(&self) -> Result<()> {
        thread::scope(|scope| scope.spawn(|| self.take()).join())
            .unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
    }

    /// From now on this thread runs here only, and before all others: nobody comes between the two ends.
    pub(crate) fn take(&self) -> Result<()> {
        let mut here = CpuSet::new();
        here.set(self.number).context("name a CPU")?;
        sched_setaffinity(Pid::from_raw(0), &here).with_context(|| format!("go to CPU {}", self.number))?;
        let first = libc::sched_param { sched_priority: 1 };
        // SAFETY: the parameter lives until the call returns, and only this thread's scheduling changes.
        let refused = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const first) };
        Errno::result(refused).map(drop).context("run before others")
    }

    /// CPU time of this thread and of `ksoftirqd`.
    pub(crate) fn spent(&self) -> Result<f64> {
        let Some(path) = &self.softirqd else { return Ok(thread_cpu()) };
        let text = fs::read_to_string(path).context("read the time of ksoftirqd")?;
        let nanos: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
        Ok(thread_cpu() + Duration::from_nanos(nanos).as_secs_f64())
    }
}

fn find_softirqd(core: usize) -> Result<Option<PathBuf>> {
    let name = format!("ksoftirqd/{core}\n");
    for process in fs::read_dir("/proc").context("list processes")?.filter_map(io::Result::ok) {
        if fs::read_to_string(process.path().join("comm")).is_ok_and(|comm| comm == name) {
            return Ok(Some(process.path().join("schedstat")));
        }
    }
    Ok(None)
}
