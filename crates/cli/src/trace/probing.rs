//! Sends probes and follows them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use byway_agent::keep::Settings;
use byway_fabric::cluster::HostName;
use byway_fabric::evidence::{CounterChange, KernelDrop, TracedPacket};
use byway_fabric::journey::{Direction, End as Port, WatchPoint};
use byway_fabric::trace::Whereabouts;
use byway_fabric::trace::path::{Path, Side};
use byway_fabric::trace::question::Answers;
use byway_fabric::trace::report::{ClockOffset, Seen, Told};
use byway_fabric::trace::sort::Probes;
use byway_fabric::trace::watch::{Event, Frame, Limits, Order, ProbeKind, ProbeReport, What};
use serde::Serialize;

use super::TraceArgs;
use super::ends::{self, Words};
use super::file;
use super::listening;
use super::plan::{NamedSpot, Plan, kind, nonce};
use super::statements::Statements;
use super::station::{Stations, Watching};
use crate::complaint::Advised;

/// How long a host may take until it watches.
const READY_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the last events of a host may take.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(3);
/// How long a host watches on after the last answer was due: nobody may have told it to stop.
const WATCH_ON: Duration = Duration::from_secs(5);
/// Packets of one trace: probes, answers and their repetitions at each point.
const PACKETS_MAX: u64 = 100_000;
/// Bytes of them.
const BYTES_MAX: u64 = 64 << 20;

/// What is told of a trace.
#[derive(Debug, Serialize)]
pub(super) struct Traced {
    /// From whom.
    pub(super) source: Party,
    /// To whom.
    pub(super) destination: Party,
    /// How.
    pub(super) protocol: ProbeKind,
    /// Each probe.
    pub(super) probes: Vec<Told>,
    /// How large a packet each point of the way there takes.
    pub(super) mtus: Vec<Mtu>,
    /// How the hosts' clocks differ.
    pub(super) clocks: Vec<ClockOffset>,
    /// What could not be seen, and why.
    pub(super) gaps: Vec<String>,
    /// Packets that passed and are not told.
    pub(super) lost: u64,
    /// What the source said to the destination afterwards, if somebody has asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) statements: Option<Statements>,
}

impl Traced {
    /// The names of both ends.
    pub(super) fn names(&self) -> BTreeMap<IpAddr, String> {
        let ends = [&self.source, &self.destination].into_iter();
        ends.filter_map(|party| Some((party.address, party.name.clone()?))).collect()
    }
}

/// How large a packet an interface takes.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mtu {
    /// Which.
    pub(super) at: WatchPoint,
    /// In bytes, with the IP header.
    pub(super) bytes: u32,
}

/// One end.
#[derive(Debug, Serialize)]
pub(super) struct Party {
    pub(super) name: Option<String>,
    pub(super) host: Option<HostName>,
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

pub(super) async fn trace(args: &TraceArgs, settings: &Settings) -> Result<Traced> {
    let stations = Stations::open(settings).await?;
    let (from, to) = (Words::read(args.source())?, Words::read(args.destination())?);
    let kind = kind(args, &to)?;
    if args.statements.mysql && kind != ProbeKind::Tcp {
        return Err(Advised {
            what: "statements pass over TCP, and no port is named".to_owned(),
            hint: format!("write {}:3306, or the port that the server has", args.destination()),
            cause: None,
        }
        .into());
    }
    let (source, destination) = tokio::try_join!(ends::find(&from, &stations), ends::find(&to, &stations))?;
    let plan = Plan::make(args, kind, &stations, &source, &destination, to.port).await?;
    let mut trace = Trace::begin(&stations, &plan).await?;
    let sent = trace.probe(&stations, &plan).await?;
    trace.end().await;
    let answers = trace.ask(&stations, &plan, &sent).await;
    let mut traced = trace.told(&stations, &plan, &sent, &answers);
    if let Some(path) = &args.write {
        let hosts = stations.cluster.hosts.iter();
        let hosts = hosts.flat_map(|host| host.addresses.iter().map(|at| (*at, host.name.to_string())));
        let names = hosts.chain(traced.names()).collect();
        file::write(path, &traced.probes, &trace.frames, &names)?;
    }
    if let Some(first) = traced.probes.first().filter(|_| args.statements.mysql) {
        let mut heard = listening::listen(args, &stations, &plan, &first.there).await?;
        traced.gaps.append(&mut heard.gaps);
        traced.statements = Some(heard);
    }
    Ok(traced)
}

/// What is open while probes are under way, and what was heard.
struct Trace {
    watching: Vec<(Watching, Vec<NamedSpot>)>,
    path: Path,
    frames: Vec<(WatchPoint, Frame)>,
    rules: Vec<(HostName, TracedPacket)>,
    counters: Vec<(HostName, CounterChange)>,
    drops: Vec<(HostName, KernelDrop)>,
    mtus: Vec<Mtu>,
    gaps: Vec<String>,
    lost: u64,
}

impl Trace {
    /// Returns when every host that can watch does.
    async fn begin(stations: &Stations, plan: &Plan) -> Result<Self> {
        let mut trace = Self {
            watching: Vec::new(),
            path: plan.path.clone(),
            frames: Vec::new(),
            rules: Vec::new(),
            counters: Vec::new(),
            drops: Vec::new(),
            mtus: Vec::new(),
            gaps: plan.silent.iter().map(|(host, why)| format!("{host} is not watched: {why}")).collect(),
            lost: 0,
        };
        for (host, container) in plan.closed() {
            trace.closed(host, container);
        }
        let millis = u64::try_from((plan.duration() + WATCH_ON).as_millis()).unwrap_or(u64::MAX);
        let limits =
            Limits { millis, packets: PACKETS_MAX, bytes: BYTES_MAX, snaplen: byway_wire::KEY_SNAPLEN };
        for (host, spots) in plan.spots() {
            let order = Order {
                id: nonce(),
                what: What::Flow(plan.flow()),
                starts_only: true,
                spots: spots.iter().map(|(spot, _)| spot.clone()).collect(),
                rules: true,
                drops: true,
                statements: None,
                limits,
            };
            match stations.watch(&host, order).await {
                Ok(watching) => trace.watching.push((watching, spots)),
                Err(error) => trace.blind(&host, &format!("{error:#}")),
            }
        }
        trace.await_ready().await;
        Ok(trace)
    }

    async fn await_ready(&mut self) {
        let mut watching = std::mem::take(&mut self.watching);
        for (station, spots) in &mut watching {
            match tokio::time::timeout(READY_TIME_MAX, station.events.recv()).await {
                Ok(Some(Event::Ready { blind, mtus, no_rules, no_drops, .. })) => {
                    self.learn_mtus(&station.host, spots, &mtus);
                    for (spot, why) in blind {
                        let container =
                            spots.iter().find(|(known, _)| *known == spot).and_then(|(_, name)| name.clone());
                        self.blind_spot(&station.host, container.as_deref(), &spot.interface, &why);
                    }
                    self.gaps.extend(
                        no_rules.map(|why| format!("rules of {} are not traced: {why}", station.host)),
                    );
                    self.gaps
                        .extend(no_drops.map(|why| format!("drops of {} are not seen: {why}", station.host)));
                }
                Ok(_) => self.blind(&station.host, "it ended at once"),
                Err(_) => self.blind(&station.host, "it was not ready in time"),
            }
        }
        self.watching = watching;
    }

    /// Keeps the MTUs of the points of the way there, in their order.
    fn learn_mtus(&mut self, host: &HostName, spots: &[NamedSpot], mtus: &[Option<u32>]) {
        let is_at = |point: &WatchPoint, (spot, container): &NamedSpot| {
            point.host == *host && point.container == *container && point.interface == spot.interface
        };
        for point in &self.path.there {
            let nth = spots.iter().position(|spot| is_at(point, spot));
            if let Some(bytes) = nth.and_then(|nth| mtus.get(nth).copied().flatten()) {
                self.mtus.push(Mtu { at: point.clone(), bytes });
            }
        }
    }

    /// Nothing of a host is seen.
    fn blind(&mut self, host: &HostName, why: &str) {
        self.gaps.push(format!("{host} is not watched: {why}"));
        self.path.there.retain(|point| point.host != *host);
        self.path.back.retain(|point| point.host != *host);
    }

    fn closed(&mut self, host: &HostName, container: &str) {
        self.gaps.push(format!(
            "{container} on {host} is not watched inside: nobody there may open its network namespace"
        ));
        let is_it = |point: &WatchPoint| point.host == *host && point.container.as_deref() == Some(container);
        self.path.there.retain(|point| !is_it(point));
        self.path.back.retain(|point| !is_it(point));
    }

    fn blind_spot(&mut self, host: &HostName, container: Option<&str>, interface: &str, why: &str) {
        let place = container.map_or_else(|| host.to_string(), |name| format!("{name} on {host}"));
        self.gaps.push(format!("{interface} of {place} is not watched: {why}"));
        let is_it = |point: &WatchPoint| {
            point.host == *host && point.container.as_deref() == container && point.interface == interface
        };
        self.path.there.retain(|point| !is_it(point));
        self.path.back.retain(|point| !is_it(point));
    }

    /// Sends the probes; returns when their sender has heard all answers, or waits no longer.
    async fn probe(&mut self, stations: &Stations, plan: &Plan) -> Result<ProbeReport> {
        let host = &plan.sides.0.host;
        let report = stations.probe(host, plan.order.clone()).await;
        report.with_context(|| format!("send a probe from {host}"))
    }

    /// Takes in what was seen, and lets all hosts stop.
    async fn end(&mut self) {
        for (station, _) in &mut self.watching {
            station.stop();
        }
        let deadline = tokio::time::Instant::now() + FAREWELL_TIME_MAX;
        for (mut station, spots) in std::mem::take(&mut self.watching) {
            loop {
                match tokio::time::timeout_at(deadline, station.events.recv()).await {
                    Ok(Some(Event::End { lost, rules_lost, .. })) => {
                        self.lost += lost;
                        if rules_lost > 0 {
                            self.gaps
                                .push(format!("{} did not hear of all rules that packets met", station.host));
                        }
                        break;
                    }
                    Ok(Some(event)) => self.take(&station.host, &spots, event),
                    Ok(None) => {
                        self.gaps.push(format!("{} ended before it had told all", station.host));
                        break;
                    }
                    Err(_) => {
                        self.gaps.push(format!("{} did not tell all in time", station.host));
                        break;
                    }
                }
            }
        }
    }

    fn take(&mut self, host: &HostName, spots: &[NamedSpot], event: Event) {
        match event {
            Event::Frame(frame) => {
                let Some((spot, container)) = spots.get(frame.spot) else { return };
                let at = WatchPoint {
                    host: host.clone(),
                    container: container.clone(),
                    interface: spot.interface.clone(),
                    direction: if frame.outgoing { Direction::Out } else { Direction::In },
                };
                self.frames.push((at, frame));
            }
            Event::Rules(packet) => self.rules.push((host.clone(), packet)),
            Event::Counter(change) => self.counters.push((host.clone(), change)),
            Event::Drop(drop) => self.drops.push((host.clone(), drop)),
            Event::Statement(_) | Event::Ready { .. } | Event::End { .. } => {}
        }
    }

    /// Asks the hosts of the way about what was lost, if anything was.
    async fn ask(&self, stations: &Stations, plan: &Plan, sent: &ProbeReport) -> BTreeMap<HostName, Answers> {
        let frames: Vec<(WatchPoint, &Frame)> =
            self.frames.iter().map(|(at, frame)| (at.clone(), frame)).collect();
        let probes = plan.probes(sent);
        let mut answers = BTreeMap::new();
        let told = self.seen(stations, plan, &probes, sent, &frames).told(&answers);
        let Some(lost) = told.iter().find(|told| !told.verdict.cause.arrived()) else { return answers };
        for (host, question) in plan.questions(lost) {
            if let Ok(answer) = stations.ask(&host, question).await {
                answers.insert(host, answer);
            }
        }
        answers
    }

    fn told(
        &self,
        stations: &Stations,
        plan: &Plan,
        sent: &ProbeReport,
        answers: &BTreeMap<HostName, Answers>,
    ) -> Traced {
        let frames: Vec<(WatchPoint, &Frame)> =
            self.frames.iter().map(|(at, frame)| (at.clone(), frame)).collect();
        let probes = plan.probes(sent);
        let seen = self.seen(stations, plan, &probes, sent, &frames);
        let (told, clocks) = (seen.told(answers), seen.clocks());
        let party = |side: Option<&Side>, address, port| Party {
            name: side.and_then(|side| match &side.this {
                Whereabouts::Container(cable) => Some(cable.container.clone()),
                _ => None,
            }),
            host: side.map(|side| side.host.clone()),
            address,
            port,
        };
        Traced {
            source: party(Some(&plan.sides.0), plan.from, None),
            destination: party(plan.sides.1.as_ref(), plan.to.address, plan.to.port),
            protocol: plan.kind,
            probes: told,
            mtus: self.mtus.clone(),
            clocks,
            gaps: self.gaps.clone(),
            lost: self.lost,
            statements: None,
        }
    }

    fn seen<'a>(
        &'a self,
        stations: &'a Stations,
        plan: &'a Plan,
        probes: &'a Probes,
        sent: &'a ProbeReport,
        frames: &'a [(WatchPoint, &'a Frame)],
    ) -> Seen<'a> {
        Seen {
            cluster: &stations.cluster,
            probes,
            from: Port { address: plan.from, port: None },
            sides: (&plan.sides.0, plan.sides.1.as_ref()),
            path: &self.path,
            sent,
            frames,
            rules: &self.rules,
            counters: &self.counters,
            drops: &self.drops,
            silent: &plan.silent,
        }
    }
}
