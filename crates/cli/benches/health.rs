//! How long a dead peer hangs its clients: two hosts of a real lab with the real agents, of which one is cut off and
//! mended again. And what trying the peers costs, with 1 and with 20 of them.
//!
//! It is measured from just before the link is taken down, or just after it is up, to the notice of the route's
//! change, on a socket of this program in the other host's network namespace.

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

#[path = "repair/ear.rs"]
mod ear;

use std::process::{ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use byway_fabric::health::State;
use byway_lab::{Lab, Options, Spread, Topology};
use ear::{Ear, NEAR, RTNLGRP_IPV4_ROUTE, hear_at_once};
use nix::libc;
use verdict::{Samples, Sheet, wall};

/// What it may take until a dead peer's route refuses, in the middle of all runs.
const GONE_LIMIT: f64 = 1.0;
/// And until it passes packets on again.
const BACK_LIMIT: f64 = 1.0;
/// Times that the peer dies.
const DEATHS: usize = 20;
/// No state is longer in coming.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two questions for a state.
const PACE: Duration = Duration::from_millis(50);
/// How long the cost of nothing but trying is measured.
const REST: Duration = Duration::from_secs(20);
/// Hosts of the larger lab.
const HOSTS: usize = 21;

fn main() -> Result<ExitCode> {
    hear_at_once();
    let mut sheet = Sheet::new("From the death of a peer to the refusal, and back");
    let (mut gone, mut back) = (Samples::default(), Samples::default());
    for nth in 0..DEATHS {
        // A peer that came and went is held back longer each time, so each begins anew.
        let lab = Lab::up(&Topology::two_hosts(), &options(), |_| {})?;
        die(&lab, nth, &mut gone, &mut back)?;
        lab.down()?;
    }
    sheet.limit("peer cut off: its route refuses", &gone, GONE_LIMIT);
    sheet.limit_for_all("the same, the slowest", &gone, GONE_LIMIT);
    sheet.limit("peer back: its route passes packets on", &back, BACK_LIMIT);
    sheet.told("the same, the slowest", &Samples::from_iter([back.max()]));
    sheet.told("CPU time of the agent in a second, 1 peer", &cost(2)?);
    sheet.told("the same, 20 peers", &cost(HOSTS)?);
    Ok(sheet.finish())
}

fn options() -> Options {
    Options::private(env!("CARGO_BIN_EXE_byway").as_ref())
}

/// Cuts the far host off and mends it.
fn die(lab: &Lab, nth: usize, gone: &mut Samples, back: &mut Samples) -> Result<()> {
    until_answers(lab)?;
    // At any moment between two echoes.
    sleep(Duration::from_micros(nth as u64 * 300_000 / DEATHS as u64));
    let ear = Ear::open(lab, libc::NETLINK_ROUTE, &[RTNLGRP_IPV4_ROUTE])?;
    let begun = wall();
    far(lab, "ip link set eth0 down")?;
    gone.add(ear.until(1, |notice| notice.kind == libc::RTM_NEWROUTE && refuses(notice))? - begun);
    far(lab, "ip link set eth0 up")?;
    let begun = wall();
    back.add(ear.until(1, |notice| notice.kind == libc::RTM_NEWROUTE && passes_on(notice))? - begun);
    Ok(())
}

/// `struct rtmsg`: the type is at 7.
fn refuses(notice: &ear::Notice<'_>) -> bool {
    notice.is_our_route() && notice.body.get(7) == Some(&libc::RTN_UNREACHABLE)
}

fn passes_on(notice: &ear::Notice<'_>) -> bool {
    notice.is_our_route() && notice.body.get(7) == Some(&libc::RTN_UNICAST)
}

fn far(lab: &Lab, script: &str) -> Result<()> {
    let status = lab.command("docker42", "sh").args(["-ec", script]).status()?;
    ensure!(status.success(), "{script} ended with {status}");
    Ok(())
}

/// Waits until every peer of the near host has answered.
fn until_answers(lab: &Lab) -> Result<()> {
    let deadline = wall() + PATIENCE.as_secs_f64();
    loop {
        let mut ask = lab.command(NEAR, env!("CARGO_BIN_EXE_byway"));
        let out = ask.args(["status", "--json"]).stdin(Stdio::null()).output().context("byway status")?;
        let status: byway_api::Status = serde_json::from_slice(&out.stdout)?;
        let mut healths = status.hosts.iter().filter_map(|host| host.health.as_ref());
        if healths.all(|health| health.state == State::Answers) {
            return Ok(());
        }
        ensure!(wall() < deadline, "not all peers answer: {status:?}");
        sleep(PACE);
    }
}

/// CPU time of one agent in a second of so many hosts that only try each other.
fn cost(hosts: usize) -> Result<Samples> {
    let lab = Lab::up(&Spread { hosts, containers: 1, segments: 1 }.topology(), &options(), |_| {})?;
    until_answers(&lab)?;
    let pids: Vec<u32> =
        lab.topology()?.hosts.iter().map(|host| lab.agent_pid(&host.name)).collect::<Result<_>>()?;
    let spent = || pids.iter().map(|pid| cpu(*pid)).collect::<Result<Vec<f64>>>();
    let before = spent()?;
    sleep(REST);
    let after = spent()?;
    let costs = before.iter().zip(&after).map(|(before, after)| (after - before) / REST.as_secs_f64());
    let costs = costs.collect();
    lab.down()?;
    Ok(costs)
}

fn cpu(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/schedstat");
    let text = std::fs::read_to_string(&path).context(path)?;
    let nanos: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos).as_secs_f64())
}
