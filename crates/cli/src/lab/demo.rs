//! `byway lab demo`: the whole story on a terminal, every word of it seen on a real kernel.
//!
//! ```text
//! two hosts ─> a ping that fails ─> the plans ─> a ping that works, followed hop by hop ─> a route deleted by
//! hand and back ─> everything taken out, and the proof
//! ```
//!
//! What is told is also checked: a story that went otherwise ends with exit status 1.

mod packets;
mod ping;

use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use byway_api::{DownReport, PlanReport, Status};
use byway_fabric::journey::Journey;
use byway_lab::{Host, Lab, Options, Snapshot, Topology, Until, Vandal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::plan;
use crate::show::{BAD, FAINT, GOOD, HEAD, columns, print_json, styled};
use packets::Watches;
use ping::ping;

/// How often a route is deleted to measure its repair.
const DELETIONS: usize = 21;
/// What stands before every line of a scene.
const INDENT: &str = "   ";
/// After this the route will not come back.
const REPAIR_WAIT: Duration = Duration::from_secs(5);

/// What the story found out.
#[derive(Debug, Serialize)]
struct Story {
    up_ms: f64,
    answered_before: bool,
    plans: Vec<PlanReport>,
    routed_ms: f64,
    journeys: Vec<Journey>,
    source_seen: IpAddr,
    repair_ms: Vec<f64>,
    repair_median_ms: f64,
    last_change: String,
    left_on_hosts: Vec<String>,
    left_on_machine: Vec<String>,
    seconds: f64,
}

/// Tells it.
pub(crate) fn run(json: bool) -> Result<ExitCode> {
    let byway = std::env::current_exe().context("find our own program")?;
    let mut teller = Teller { silent: json };
    let begun = Instant::now();
    let before = Snapshot::take().context("look at this machine before we begin")?;

    teller.headline("Byway: containers on two hosts reach each other by plain routes");
    let topology = Topology::two_hosts();
    let [near, far] = &topology.hosts[..] else { anyhow::bail!("the default topology has two hosts") };
    let (lab, up_ms) = two_hosts(&mut teller, &topology, &byway)?;
    let untouched = snapshots(&lab, [near, far], &byway)?;
    let answered_before = before_agents(&mut teller, &lab, near, far)?;
    let plans = plans(&mut teller, &lab, [near, far], &byway)?;
    let routed_ms = start_agents(&mut teller, &lab, [near, far])?;
    let journeys = follow(&mut teller, &lab, near, far)?;
    let source_seen = source(&mut teller, &journeys)?;
    let (repair_ms, last_change) = deletions(&mut teller, &lab, near, far, &byway)?;
    let left_on_hosts = take_down(&mut teller, &lab, [near, far], &untouched, &byway)?;
    let left_on_machine = end(&mut teller, lab, &before)?;

    let repair_median_ms = median(&repair_ms);
    let seconds = begun.elapsed().as_secs_f64();
    let story = Story {
        up_ms,
        answered_before,
        plans,
        routed_ms,
        journeys,
        source_seen,
        repair_ms,
        repair_median_ms,
        last_change,
        left_on_hosts,
        left_on_machine,
        seconds,
    };
    conclude(&mut teller, &story, near, json)
}

/// Prints as the story goes on, or keeps quiet for programs.
struct Teller {
    silent: bool,
}

impl Teller {
    fn headline(&mut self, text: &str) {
        self.line(&styled(HEAD, text));
    }

    fn scene(&mut self, nth: usize, text: &str) {
        self.line(&format!("\n{}", styled(HEAD, format!("{nth}  {text}"))));
    }

    fn line(&mut self, text: &str) {
        if !self.silent {
            // Nobody is left to tell that nobody listens.
            let _ = anstream::stdout().write_all(format!("{text}\n").as_bytes());
        }
    }

    fn indented(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("{INDENT}{line}"));
        }
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("  ")
}

fn two_hosts(teller: &mut Teller, topology: &Topology, byway: &Path) -> Result<(Lab, f64)> {
    teller.scene(1, "Two hosts, a container on each, made of network namespaces on this machine");
    let begun = Instant::now();
    let lab = Lab::up(topology, &Options::private(byway).without_agents(), |_| {})?;
    let up_ms = millis(begun.elapsed());
    for host in &topology.hosts {
        teller.indented(&format!("{}  eth0     {}", host.name, list(&host.addresses)));
        teller.indented(&format!(
            "{:width$}  {}  holds {}",
            "",
            host.bridge,
            list(&host.subnets),
            width = host.name.len()
        ));
        for container in &host.containers {
            let width = host.name.len();
            teller.indented(&format!(
                "{:width$}  {}      {}",
                "",
                container.name,
                list(&container.addresses)
            ));
        }
    }
    teller.indented(&styled(FAINT, format!("up after {up_ms:.0} ms; no agent runs yet")));
    Ok((lab, up_ms))
}

/// What the far container is called by address.
fn address(host: &Host, ipv6: bool) -> Result<IpAddr> {
    let addresses = host.containers.first().map(|container| &container.addresses);
    let address = addresses.into_iter().flatten().copied().find(|address| address.is_ipv6() == ipv6);
    address.with_context(|| format!("{} has no container with such an address", host.name))
}

fn container(host: &Host) -> Result<&str> {
    host.containers.first().map(|container| container.name.as_str()).context("a host without a container")
}

fn before_agents(teller: &mut Teller, lab: &Lab, near: &Host, far: &Host) -> Result<bool> {
    teller.scene(2, "Before: the ping that fails");
    let to = address(far, false)?;
    let answer = ping(lab, container(near)?, to)?;
    teller.indented(&format!("{} $ ping {to}", container(near)?));
    match &answer {
        Some(line) => teller.indented(&styled(BAD, line)),
        None => teller.indented(&format!("no answer: {} does not know a way to {to}", near.name)),
    }
    Ok(answer.is_some())
}

fn plans(teller: &mut Teller, lab: &Lab, hosts: [&Host; 2], byway: &Path) -> Result<Vec<PlanReport>> {
    teller.scene(3, "What each agent is going to do, and why (byway plan)");
    let mut plans = Vec::new();
    for host in hosts {
        let report: PlanReport = ask(lab, host, byway, &["plan"])?;
        teller.indented(&styled(HEAD, &report.host));
        teller.indented(plan::text(&report.plan, columns().saturating_sub(INDENT.len())).trim_end());
        plans.push(report);
    }
    Ok(plans)
}

fn start_agents(teller: &mut Teller, lab: &Lab, hosts: [&Host; 2]) -> Result<f64> {
    let begun = Instant::now();
    for host in hosts {
        lab.start_agent(&host.name)?;
    }
    for host in hosts {
        lab.await_agent(&host.name, Until::Ready)?;
    }
    let routed_ms = millis(begun.elapsed());
    teller.indented(&styled(GOOD, format!("both agents started and done after {routed_ms:.0} ms")));
    Ok(routed_ms)
}

fn follow(teller: &mut Teller, lab: &Lab, near: &Host, far: &Host) -> Result<Vec<Journey>> {
    teller.scene(4, "After: the ping that works, and the way of its packets, captured at every interface");
    let mut journeys = Vec::new();
    for ipv6 in [false, true] {
        let to = address(far, ipv6)?;
        let mut watches = Watches::open(lab, near, far)?;
        let answer = ping(lab, container(near)?, to)?;
        let answer = answer.with_context(|| format!("{to} did not answer"))?;
        teller.indented(&format!("{} $ ping {to}\n{}\n", container(near)?, styled(GOOD, answer)));
        let [there, back] = watches.journeys(address(near, ipv6)?, to)?;
        if ipv6 {
            teller.indented(&format!("there:    {}\nback:     {}", there.verdict(), back.verdict()));
        } else {
            teller.indented(&format!("there\n{there}\n\nand back\n{back}\n"));
        }
        journeys.extend([there, back]);
    }
    Ok(journeys)
}

fn source(teller: &mut Teller, journeys: &[Journey]) -> Result<IpAddr> {
    let arrival = journeys.first().and_then(|there| there.hops.last()).and_then(|hop| hop.seen.as_ref());
    let arrival = arrival.context("the ping was not seen at the far container")?;
    let (source, ttl) = (arrival.first.source.address, arrival.first.ttl);
    teller.indented(&format!(
        "\nThe far container sees {source}: the near container's own address, not its host's.\n\
         TTL {ttl}: it left with 64, and each of the two hosts that routed it took one."
    ));
    Ok(source)
}

fn deletions(
    teller: &mut Teller,
    lab: &Lab,
    near: &Host,
    far: &Host,
    byway: &Path,
) -> Result<(Vec<f64>, String)> {
    teller.scene(5, "A colleague deletes the route");
    let subnet = *far.subnets.iter().find(|net| net.addr().is_ipv4()).context("no IPv4 subnet")?;
    let mut colleague = Vandal::in_node(lab, &near.name)?;
    let mut took = Vec::new();
    for _ in 0..DELETIONS {
        took.push(millis(colleague.delete(subnet, REPAIR_WAIT)?));
    }
    let deadline = Instant::now() + REPAIR_WAIT;
    let output = lab.command(&near.name, "ip").args(["route", "del", &subnet.to_string()]).output()?;
    ensure!(output.status.success(), "ip route del: {}", String::from_utf8_lossy(&output.stderr));
    colleague.back(subnet, deadline)?;
    teller.indented(&format!("{} $ ip route del {subnet}", near.name));
    let (median, worst) = (median(&took), took.iter().copied().fold(0.0, f64::max));
    let back = format!(
        "it is back {median:.2} ms after its deletion (median of {DELETIONS}, slowest {worst:.2} ms)"
    );
    teller.indented(&styled(GOOD, back));
    let status: Status = ask(lab, near, byway, &["status"])?;
    let change = status.agent.and_then(|agent| agent.last_change).context("the agent heard nothing of it")?;
    let change = format!("{}, by {}", change.what, change.who);
    teller.indented(&format!("byway status: last change   {change}"));
    Ok((took, change))
}

fn take_down(
    teller: &mut Teller,
    lab: &Lab,
    hosts: [&Host; 2],
    untouched: &[Snapshot],
    byway: &Path,
) -> Result<Vec<String>> {
    teller.scene(6, "Everything goes (byway down)");
    let mut left = Vec::new();
    for (host, before) in hosts.into_iter().zip(untouched) {
        let report: DownReport = ask(lab, host, byway, &["down"])?;
        lab.await_agent(&host.name, Until::Gone)?;
        let after = snapshot(lab, host, byway)?;
        let differences = before.differences(&after);
        let verdict =
            if differences.is_empty() { styled(GOOD, "as before") } else { styled(BAD, "NOT as before") };
        teller.indented(&format!(
            "{}: {} steps back; {}: {verdict}",
            host.name,
            report.done.len(),
            before.summary()
        ));
        teller.indented(&differences.join("\n"));
        left.extend(differences.into_iter().map(|line| format!("{}: {line}", host.name)));
    }
    Ok(left)
}

fn end(teller: &mut Teller, lab: Lab, before: &Snapshot) -> Result<Vec<String>> {
    lab.down()?;
    let after = Snapshot::take().context("look at this machine after the end")?;
    let differences = before.differences(&after);
    let verdict =
        if differences.is_empty() { styled(GOOD, "as before") } else { styled(BAD, "NOT as before") };
    teller.indented(&format!("this machine: {}: {verdict}", before.summary()));
    teller.indented(&differences.join("\n"));
    Ok(differences)
}

fn conclude(teller: &mut Teller, story: &Story, near: &Host, json: bool) -> Result<ExitCode> {
    let own = address(near, false)?;
    let ttls_are_right =
        story.journeys.iter().all(|journey| journey.ttls() == [64, 64, 64, 63, 63, 62, 62, 62]);
    let checks = [
        (!story.answered_before, "the first ping got no answer"),
        (story.journeys.iter().all(Journey::arrived), "every packet arrived"),
        (ttls_are_right, "every TTL went 64, 63, 62"),
        (story.source_seen == own, "the container's own address arrived"),
        (story.left_on_hosts.is_empty(), "byway down left nothing on the hosts"),
        (story.left_on_machine.is_empty(), "this machine is as before"),
    ];
    let failed: Vec<&str> = checks.iter().filter(|(holds, _)| !holds).map(|(_, what)| *what).collect();
    if json {
        print_json(story)?;
    }
    if failed.is_empty() {
        let sentence = format!("All of it is so on this machine, seen in {:.1} s.", story.seconds);
        teller.line(&format!("\n{}", styled(GOOD, sentence)));
        return Ok(ExitCode::SUCCESS);
    }
    teller.line(&format!("\n{} {}", styled(BAD, "This did not hold:"), failed.join("; ")));
    Ok(ExitCode::FAILURE)
}

/// Runs one of our own commands on a host, and reads its JSON.
fn ask<T: DeserializeOwned>(lab: &Lab, host: &Host, byway: &Path, arguments: &[&str]) -> Result<T> {
    let output = lab.command(&host.name, byway).args(arguments).arg("--json").output()?;
    let doing = || format!("byway {} on {}", arguments.join(" "), host.name);
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{}: {said}", doing()))
}

fn snapshot(lab: &Lab, host: &Host, byway: &Path) -> Result<Snapshot> {
    ask(lab, host, byway, &["lab", "snapshot"])
}

fn snapshots(lab: &Lab, hosts: [&Host; 2], byway: &Path) -> Result<Vec<Snapshot>> {
    hosts.into_iter().map(|host| snapshot(lab, host, byway)).collect()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
