//! Sends probes and follows them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use byway_agent::keep::Settings;
use byway_fabric::cluster::HostName;
use byway_fabric::evidence::{CounterChange, Flow, KernelDrop, RouteQuestion, TracedPacket};
use byway_fabric::journey::{Direction, End as Port, WatchPoint};
use byway_fabric::trace::path::{Path, Side, predict};
use byway_fabric::trace::question::{Answers, Question};
use byway_fabric::trace::report::{ClockOffset, Seen, Told};
use byway_fabric::trace::sort::Probes;
use byway_fabric::trace::watch::{
    Event, Frame, Limits, Order, PROBES_MAX, ProbeKind, ProbeOrder, ProbeReport, Spot, What,
};
use byway_fabric::trace::{Search, Whereabouts};
use serde::Serialize;

use super::TraceArgs;
use super::ends::{self, End, Words};
use super::file;
use super::station::{Silent, Stations, Watching};
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
    let (source, destination) = tokio::try_join!(ends::find(&from, &stations), ends::find(&to, &stations))?;
    let plan = Plan::make(args, kind, &stations, &source, &destination, to.port).await?;
    let mut trace = Trace::begin(&stations, &plan).await?;
    let sent = trace.probe(&stations, &plan).await?;
    trace.end().await;
    let answers = trace.ask(&stations, &plan, &sent).await;
    let traced = trace.told(&stations, &plan, &sent, &answers);
    if let Some(path) = &args.write {
        file::write(path, &traced.probes, &trace.frames)?;
    }
    Ok(traced)
}

fn kind(args: &TraceArgs, to: &Words) -> Result<ProbeKind> {
    let kind = args.proto.map(ProbeKind::from);
    match (kind, to.port) {
        (None, Some(_)) => Ok(ProbeKind::Tcp),
        (None | Some(ProbeKind::Icmp), None) => Ok(ProbeKind::Icmp),
        (Some(kind @ (ProbeKind::Tcp | ProbeKind::Udp)), Some(_)) => Ok(kind),
        (Some(ProbeKind::Icmp), Some(_)) => Err(Advised {
            what: "ICMP has no ports".to_owned(),
            hint: "leave the port out, or use --proto tcp or --proto udp".to_owned(),
            cause: None,
        }
        .into()),
        (Some(_), None) => Err(Advised {
            what: "TCP and UDP need a port".to_owned(),
            hint: format!("write {}:PORT", args.destination()),
            cause: None,
        }
        .into()),
    }
}

/// What is to be done.
struct Plan {
    kind: ProbeKind,
    from: IpAddr,
    to: Port,
    sides: (Side, Option<Side>),
    path: Path,
    silent: Silent,
    order: ProbeOrder,
    wait: Duration,
}

impl Plan {
    async fn make(
        args: &TraceArgs,
        kind: ProbeKind,
        stations: &Stations,
        source: &End,
        destination: &End,
        port: Option<u16>,
    ) -> Result<Self> {
        let (from, to) = pair(args, source, destination)?;
        let host = source.host.clone().unwrap_or_else(|| stations.me.clone());
        let from = if source.is_host { own_source(stations, &host, to, from).await } else { from };
        let this = side(stations, &host, from, to)
            .await
            .with_context(|| format!("ask {host}, where the probe starts"))?;
        let mut silent = Silent::new();
        let other = match &destination.host {
            Some(other) => match side(stations, other, to, from).await {
                Ok(side) => Some(side),
                Err(error) => {
                    silent.insert(other.clone(), format!("{error:#}"));
                    None
                }
            },
            // Nobody of the cluster has it, unless this very host sees it on one of its own bridges.
            None => matches!(
                this.other,
                Whereabouts::Container(_) | Whereabouts::Own { .. } | Whereabouts::Nobody { .. }
            )
            .then(|| Side {
                host: host.clone(),
                this: this.other.clone(),
                other: this.this.clone(),
                doors: this.doors.clone(),
            }),
        };
        let inside = match &this.this {
            Whereabouts::Container(cable) => {
                Some(cable.inode.ok_or_else(|| no_entry(&cable.container, &host))?)
            }
            _ if source.is_host || matches!(this.this, Whereabouts::Own { .. }) => None,
            _ => return Err(not_here(from, &host).into()),
        };
        let path = predict(&this, other.as_ref());
        let wait = Duration::from_millis(args.wait);
        let order = ProbeOrder {
            inside,
            kind,
            from: (!source.is_host).then_some(from),
            to,
            port: port.unwrap_or(0),
            count: u16::try_from(args.count.unwrap_or(1)).unwrap_or(PROBES_MAX).min(PROBES_MAX),
            every_millis: args.interval,
            size: args.size,
            dont_fragment: args.df,
            ttl: args.ttl,
            nonce: nonce(),
            wait_millis: args.wait,
        };
        Ok(Self {
            kind,
            from,
            to: Port { address: to, port },
            sides: (this, other),
            path,
            silent,
            order,
            wait,
        })
    }

    fn flow(&self) -> Flow {
        let protocol = match (self.kind, self.to.address) {
            (ProbeKind::Icmp, IpAddr::V4(_)) => 1,
            (ProbeKind::Icmp, IpAddr::V6(_)) => 58,
            (ProbeKind::Tcp, _) => 6,
            (ProbeKind::Udp, _) => 17,
        };
        Flow { protocol, ends: vec![self.to] }
    }

    /// How long everything takes at most.
    fn duration(&self) -> Duration {
        Duration::from_millis(self.order.every_millis) * u32::from(self.order.count) + self.wait
    }

    /// The interfaces to watch on each host.
    fn spots(&self) -> BTreeMap<HostName, Vec<NamedSpot>> {
        let mut spots: BTreeMap<HostName, BTreeSet<NamedSpot>> = BTreeMap::new();
        for point in self.path.there.iter().chain(&self.path.back) {
            let inside = point.container.as_ref().and_then(|name| self.inode(&point.host, name));
            if point.container.is_some() && inside.is_none() {
                continue;
            }
            let spot = Spot { inside, interface: point.interface.clone() };
            spots.entry(point.host.clone()).or_default().insert((spot, point.container.clone()));
        }
        spots.into_iter().map(|(host, spots)| (host, spots.into_iter().collect())).collect()
    }

    /// The containers of the way whose inside nobody may look at: their own interfaces are not watched.
    fn closed(&self) -> Vec<(&HostName, &str)> {
        let inside =
            self.path.there.iter().filter_map(|point| Some((&point.host, point.container.as_deref()?)));
        inside.filter(|(host, container)| self.inode(host, container).is_none()).collect()
    }

    fn inode(&self, host: &HostName, container: &str) -> Option<u64> {
        let sides = std::iter::once(&self.sides.0).chain(&self.sides.1);
        let here = sides.filter(|side| side.host == *host);
        here.flat_map(|side| [&side.this, &side.other]).find_map(|end| match end {
            Whereabouts::Container(cable) if cable.container == container => cable.inode,
            _ => None,
        })
    }
}

/// A number that is in no other probe that is under way.
pub(super) fn nonce() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    // The hasher's keys are random; that is all that is wanted of it.
    RandomState::new().hash_one(std::process::id())
}

fn no_entry(container: &str, host: &HostName) -> Advised {
    Advised {
        what: format!(
            "the network namespace of {container} on {host} cannot be opened, so nobody can send from it"
        ),
        hint: "run byway trace as root on the sender's own host".to_owned(),
        cause: None,
    }
}

fn not_here(from: IpAddr, host: &HostName) -> Advised {
    Advised {
        what: format!("no container of {host} has the address {from}, so nobody can send from it"),
        hint: format!("byway status on {host} lists its containers"),
        cause: None,
    }
}

/// An address of each, of one family.
fn pair(args: &TraceArgs, source: &End, destination: &End) -> Result<(IpAddr, IpAddr)> {
    let allowed = |address: &&IpAddr| (!args.ipv4 || address.is_ipv4()) && (!args.ipv6 || address.is_ipv6());
    for v4 in [true, false] {
        let of_family =
            |end: &End| end.addresses.iter().filter(allowed).find(|address| address.is_ipv4() == v4).copied();
        if let (Some(from), Some(to)) = (of_family(source), of_family(destination)) {
            return Ok((from, to));
        }
    }
    Err(Advised {
        what: format!("{} and {} have no addresses of one family", args.source(), args.destination()),
        hint: "byway status shows the addresses of containers, byway hosts those of hosts".to_owned(),
        cause: None,
    }
    .into())
}

/// Both ends as the host of the first one sees them.
async fn side(stations: &Stations, host: &HostName, this: IpAddr, other: IpAddr) -> Result<Side> {
    let own = stations.cluster.host(host).map(|host| host.addresses.clone()).unwrap_or_default();
    let what = Search { addresses: [&[this, other], own.as_slice()].concat(), ..Search::default() };
    let found = stations.search(host, what).await?;
    let of = |address| found.whereabouts(address).cloned().context("the answer lacks an address");
    let door = |address: &IpAddr| match found.whereabouts(*address) {
        Some(Whereabouts::Own { interface }) => Some((*address, interface.clone())),
        _ => None,
    };
    Ok(Side {
        host: host.clone(),
        this: of(this)?,
        other: of(other)?,
        doors: own.iter().filter_map(door).collect(),
    })
}

/// The address with which a host itself speaks to somebody.
async fn own_source(stations: &Stations, host: &HostName, to: IpAddr, otherwise: IpAddr) -> IpAddr {
    let route =
        RouteQuestion { source: None, destination: to, iif: None, protocol: None, ports: None, mark: None };
    let question = Question { route: Some(route), ..Question::default() };
    let answers = stations.ask(host, question).await.unwrap_or_default();
    match answers.route {
        Some(byway_fabric::evidence::RouteAnswer::Way(way)) => way.source.unwrap_or(otherwise),
        _ => otherwise,
    }
}

/// A place to watch, and the container that it is in.
type NamedSpot = (Spot, Option<String>);

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
                Ok(Some(Event::Ready { blind, mtus, no_rules, no_drops })) => {
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
            Event::Ready { .. } | Event::End { .. } => {}
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

impl Plan {
    fn probes(&self, sent: &ProbeReport) -> Probes {
        Probes {
            kind: self.kind,
            to: self.to,
            nonce: self.order.nonce,
            ports: sent.sent.iter().map(|sent| sent.port).collect(),
        }
    }

    /// What each host of the way is asked about a probe that was lost.
    fn questions(&self, lost: &Told) -> BTreeMap<HostName, Question> {
        let back = lost.back.as_ref();
        let journey = back.unwrap_or(&lost.there);
        let (from, to) =
            if back.is_some() { (self.to.address, self.from) } else { (self.from, self.to.address) };
        let seen = journey.hops.iter().rev().find_map(|hop| hop.seen.as_ref());
        let mut questions: BTreeMap<HostName, Question> = BTreeMap::new();
        for point in self.path.there.iter().chain(&self.path.back).filter(|point| point.container.is_none()) {
            let question = questions.entry(point.host.clone()).or_default();
            if !question.interfaces.contains(&point.interface) {
                question.interfaces.push(point.interface.clone());
            }
        }
        for (host, question) in &mut questions {
            // As it came in there, or should have.
            let came_in = journey.hops.iter().rev().find(|hop| {
                hop.at.host == *host && hop.at.container.is_none() && hop.at.direction == Direction::In
            });
            let bridge = |name: &str| self.bridge_of(host, name).unwrap_or_else(|| name.to_owned());
            question.route = Some(RouteQuestion {
                source: Some(seen.map_or(from, |seen| seen.first.source.address)),
                destination: seen.map_or(to, |seen| seen.first.destination.address),
                iif: came_in.map(|hop| bridge(&hop.at.interface)),
                protocol: None,
                ports: None,
                mark: None,
            });
            if let Some(side) = self.sides.1.as_ref().filter(|side| side.host == *host)
                && let (Some(port), kind) = (self.to.port, self.kind)
            {
                let inside = match &side.this {
                    Whereabouts::Container(cable) => cable.inode,
                    _ => None,
                };
                question.listeners = Some((inside, if kind == ProbeKind::Udp { 17 } else { 6 }, port));
            }
        }
        questions
    }

    /// The bridge into which a veth is plugged: the kernel routes what comes in by the bridge.
    fn bridge_of(&self, host: &HostName, interface: &str) -> Option<String> {
        let sides = std::iter::once(&self.sides.0).chain(&self.sides.1).filter(|side| side.host == *host);
        sides.flat_map(|side| [&side.this, &side.other]).find_map(|end| match end {
            Whereabouts::Container(cable) if cable.veth == interface => cable.bridge.clone(),
            _ => None,
        })
    }
}
