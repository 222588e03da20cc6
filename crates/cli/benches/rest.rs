//! What the agents of a lab of 100 hosts cost when nothing happens: memory, and CPU time over a minute. They do not try
//! each other, as so many on one machine would have no rest; what that costs, the bench `health` measures. And how
//! long a lab takes until all of it is up and routed.

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use byway_lab::{Lab, Options, Spread};
use verdict::{Samples, Sheet, Unit, wall};

/// What two hosts may take to be up and routed.
const UP_LIMIT: f64 = 2.0;
/// Resident memory of an agent, in MiB.
const MEMORY_LIMIT: f64 = 15.0;
/// CPU time of an agent over [`REST`], in ticks of the clock: what it cannot tell from nothing.
const TICKS_LIMIT: f64 = 1.0;
/// How often two hosts are brought up.
const LABS: usize = 5;
/// Hosts of the large lab.
const HOSTS: usize = 100;
/// How long nothing happens. One round of every agent's safety net falls into it.
const REST: Duration = Duration::from_mins(1);
/// Until the neighbours have found each other and the last notices have been heard.
const SETTLE: Duration = Duration::from_secs(10);

fn main() -> Result<ExitCode> {
    let mut sheet = Sheet::new("Labs, and the agents of 100 hosts at rest");
    let mut small = Samples::default();
    for _ in 0..LABS {
        let (lab, took) = up(2)?;
        small.add(took);
        lab.down()?;
    }
    sheet.limit("2 hosts up and routed", &small, UP_LIMIT);
    let (lab, took) = up(HOSTS)?;
    sheet.told("100 hosts up and routed", &Samples::from_iter([took]));
    sleep(SETTLE);
    let pids = pids(&lab)?;
    let before = costs(&pids)?;
    sleep(REST);
    let after = costs(&pids)?;
    let spent =
        |of: fn(&Cost) -> f64| before.iter().zip(&after).map(|(b, a)| of(a) - of(b)).collect::<Samples>();
    sheet.told("CPU time of an agent in a minute", &spent(|cost| cost.own_seconds));
    sheet.unit(Unit::Ticks);
    sheet.limit_for_all("the same, by the clock's ticks", &spent(|cost| cost.own_ticks), TICKS_LIMIT);
    sheet.told("the same, of programs that it ran", &spent(|cost| cost.children_ticks));
    sheet.unit(Unit::Mebibytes);
    let memory = after.iter().map(|cost| cost.memory_mebibytes).collect();
    sheet.limit_for_all("resident memory of an agent", &memory, MEMORY_LIMIT);
    lab.down()?;
    Ok(sheet.finish())
}

/// A lab with a container on each host, and the seconds until all agents had put their routes.
fn up(hosts: usize) -> Result<(Lab, f64)> {
    let topology = Spread { hosts, containers: 1, segments: 1 }.topology();
    let options = Options::private(env!("CARGO_BIN_EXE_byway").as_ref());
    let begun = wall();
    let lab = Lab::up(&topology, &options, |_| {})?;
    Ok((lab, wall() - begun))
}

fn pids(lab: &Lab) -> Result<Vec<u32>> {
    let topology = lab.topology()?;
    topology.hosts.iter().map(|host| lab.agent_pid(&host.name)).collect()
}

/// What one agent has cost until now.
struct Cost {
    own_seconds: f64,
    own_ticks: f64,
    children_ticks: f64,
    memory_mebibytes: f64,
}

fn costs(pids: &[u32]) -> Result<Vec<Cost>> {
    pids.iter().map(|pid| cost(*pid).with_context(|| format!("look at process {pid}"))).collect()
}

fn cost(pid: u32) -> Result<Cost> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    let stat = read("stat")?;
    // The name in brackets may hold anything; the numbers behind it start with field 3 (proc(5)).
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks = |first: usize| -> Result<f64> {
        let field =
            |nth: usize| fields.get(nth - 3).context("a short stat")?.parse::<u32>().context("a number");
        Ok(f64::from(field(first)? + field(first + 1)?))
    };
    let status = read("status")?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u32 = memory.trim().trim_end_matches(" kB").parse().context("VmRSS in kB")?;
    let nanos: u64 = read("schedstat")?.split(' ').next().context("an empty schedstat")?.parse()?;
    Ok(Cost {
        own_seconds: Duration::from_nanos(nanos).as_secs_f64(),
        own_ticks: ticks(14)?,
        children_ticks: ticks(16)?,
        memory_mebibytes: f64::from(kibibytes) / 1024.0,
    })
}
