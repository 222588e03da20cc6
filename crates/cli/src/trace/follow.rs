//! `byway trace --follow FILTER`: watches what passes anyhow, on all hosts at once, and joins it to journeys.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use byway_agent::edge::pcap_filter::{self, Dlt, Program};
use byway_agent::keep::Settings;
use byway_fabric::cluster::HostName;
use byway_fabric::mysql::said::Said;
use byway_fabric::trace::files::{Captures, PointId};
use byway_fabric::trace::watch::{Event, Frame, Limits, Order, SPOTS_MAX, Spot, Statements as Wanted, What};
use byway_fabric::trace::{Found, SEARCH_MAX, Search, Whereabouts};
use byway_wire::{Direction, Frame as Decoded};
use futures_util::stream::{self, StreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::names::with_names;
use super::plan::nonce;
use super::statements::{self, Statements};
use super::station::{ASKED_AT_ONCE, Stations, Watching};
use super::{TraceArgs, files, show};
use crate::complaint::Advised;
use crate::settings::runtime;
use crate::show::{LOOK, print, print_json, styled};

/// Packets of all hosts together that are followed at most; what comes then is counted by who watches.
const PACKETS_MAX: u64 = 1_000_000;
/// Bytes of them, on each host.
const BYTES_MAX: u64 = 1 << 30;
/// How long a host may take until it watches.
const READY_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the last events of all hosts may take.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(3);
/// Events of all hosts that wait here; the hosts wait then.
const EVENTS_MAX: usize = 4096;
/// How much longer a host watches than it should be needed: nobody may have told it to stop.
const WATCH_ON: Duration = Duration::from_secs(5);

/// What was followed.
struct Followed {
    /// The containers of all hosts, and the hosts.
    names: BTreeMap<IpAddr, String>,
    /// Everything that passed, by host and interface.
    captures: Captures,
    /// What could not be watched, and why.
    gaps: Vec<String>,
    /// Packets that passed and are not told.
    lost: u64,
    /// The statements that passed, if they were asked for.
    statements: Option<Statements>,
}

/// Follows, and tells; exit status 1 if packets were lost, or nobody knows.
pub(super) fn run(args: &TraceArgs, filter: &str, settings: &Settings, json: bool) -> Result<ExitCode> {
    let time = Duration::from_secs(args.duration);
    let followed = runtime()?.block_on(follow(args, filter, time, settings))?;
    let stitched = followed.captures.stitch(args.list);
    if json {
        let mut value = serde_json::to_value(&stitched)?;
        value["gaps"] = serde_json::json!(followed.gaps);
        value["lost_while_watching"] = followed.lost.into();
        if let Some(statements) = &followed.statements {
            value["statements"] = serde_json::to_value(statements)?;
        }
        print_json(&value)?;
    } else {
        let gaps = followed.gaps.iter().map(|gap| format!("{} {gap}\n", styled(LOOK, "gap:")));
        let gaps = gaps.collect::<Vec<_>>().concat();
        print(&with_names(&files::show::text(&stitched), &followed.names));
        if let Some(statements) = &followed.statements {
            let points = stitched.points.iter().map(|point| &point.place);
            let places = points.map(|at| (at.file.as_str(), at.interface.as_deref().unwrap_or_default()));
            print(&statements.text(places, &followed.names, args.list));
        }
        print(&gaps);
        print(&files::show::totals(&stitched.totals));
        print(&format!("{}\n", show::lost(followed.lost)));
    }
    let is_well = followed.lost == 0 && stitched.totals.lost == 0;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Follows until the time is up, so many packets have passed (at all points together), or somebody says stop.
async fn follow(args: &TraceArgs, filter: &str, time: Duration, settings: &Settings) -> Result<Followed> {
    let stations = Stations::open(settings).await?;
    let programs = programs(filter, settings.port)?;
    let hosts = stations.cluster.hosts.iter();
    let names = hosts.flat_map(|host| host.addresses.iter().map(|address| (*address, host.name.to_string())));
    let wanted = args.wanted_statements(None);
    let statements = wanted.as_ref().map(|_| Statements::default());
    let mut following = Following { names: names.collect(), statements, ..Following::default() };
    let limits = Limits {
        millis: u64::try_from((time + WATCH_ON).as_millis()).unwrap_or(u64::MAX),
        packets: PACKETS_MAX,
        bytes: BYTES_MAX,
        snaplen: byway_wire::KEY_SNAPLEN,
    };
    let watched = Watched { what: programs, statements: wanted, limits };
    let open = async |host: &HostName| (host.clone(), Opened::open(&stations, host, &watched).await);
    let hosts = std::iter::once(&stations.me).chain(stations.peers());
    let all: Vec<_> = stream::iter(hosts).map(open).buffered(ASKED_AT_ONCE).collect().await;
    for (host, opened) in all {
        if let Err(error) = opened.and_then(|opened| following.take_in(&host, opened)) {
            following.gaps.push(format!("{host} is not watched: {error:#}"));
        }
    }
    if following.watching.is_empty() {
        return Err(Advised {
            what: format!("nothing can be watched: {}", following.gaps.join("; ")),
            hint: "run it as root; byway status --all shows which hosts can be asked".to_owned(),
            cause: None,
        }
        .into());
    }
    following.hear(Instant::now() + time, args).await?;
    Ok(following.finish())
}

/// The filter for links with and without an Ethernet header. What the agents say to each other about it is left out: it
/// would be followed too, and told, and followed.
fn programs(filter: &str, port: u16) -> Result<What> {
    let snaplen = byway_wire::KEY_SNAPLEN;
    // By itself first, so that a mistake is shown in the words that were written.
    pcap_filter::compile_live(filter, "lo", Dlt::ETHERNET, snaplen)?;
    let whole = format!("({filter}) and not tcp port {port}");
    let told = |program: Program| {
        program.instructions().iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect::<Vec<_>>()
    };
    let ethernet = pcap_filter::compile_live(&whole, "lo", Dlt::ETHERNET, snaplen)?;
    // Some filters (`ether host`) make no sense without an Ethernet header: nothing passes there then.
    let raw_ip = pcap_filter::compile(&whole, Dlt::RAW_IP, snaplen).unwrap_or_else(|_| Program::nothing());
    Ok(What::Program { ethernet: told(ethernet), raw_ip: told(raw_ip) })
}

#[derive(Default)]
struct Following {
    names: BTreeMap<IpAddr, String>,
    watching: Vec<Watching>,
    /// For each of them, the point of each of its spots.
    points: Vec<Vec<Option<PointId>>>,
    captures: Captures,
    gaps: Vec<String>,
    lost: u64,
    /// For each of them, its name and those of its places.
    places: Vec<(HostName, Vec<String>)>,
    statements: Option<Statements>,
}

/// What every host is to watch.
struct Watched {
    what: What,
    statements: Option<Wanted>,
    limits: Limits,
}

/// A host that watches.
struct Opened {
    watching: Watching,
    /// Its places, each with its name for people.
    named: Vec<(Spot, String)>,
    names: Vec<(IpAddr, String)>,
    gaps: Vec<String>,
    tells_statements: bool,
}

impl Opened {
    async fn open(stations: &Stations, host: &HostName, watched: &Watched) -> Result<Self> {
        let others = stations.cluster.hosts.iter().filter(|other| other.name != *host);
        let addresses = others.flat_map(|other| other.addresses.iter().copied()).take(SEARCH_MAX);
        let search = Search { addresses: addresses.collect(), all: true, ..Search::default() };
        let found = stations.search(host, search).await?;
        let cables = found.containers.iter();
        let names = cables.flat_map(|cable| cable.addresses.iter().map(|at| (*at, cable.container.clone())));
        let subnets = stations.cluster.host(host).map(|host| host.subnets.clone()).unwrap_or_default();
        let mut places = spots(&found, |address| subnets.iter().any(|subnet| subnet.contains(&address)));
        let mut gaps = Vec::new();
        if places.len() > SPOTS_MAX {
            gaps.push(format!("{host} has {} interfaces on the way; {SPOTS_MAX} are watched", places.len()));
            places.truncate(SPOTS_MAX);
        }
        let order = Order {
            id: nonce(),
            what: watched.what.clone(),
            starts_only: false,
            spots: places.iter().map(|(spot, _)| spot.clone()).collect(),
            rules: false,
            drops: false,
            statements: watched.statements.clone(),
            limits: watched.limits,
        };
        let mut watching = stations.watch(host, order).await?;
        let ready = timeout(READY_TIME_MAX, watching.events.recv()).await;
        let Ok(Some(Event::Ready { blind, statements, .. })) = ready else {
            anyhow::bail!("it was not ready in time");
        };
        let told =
            |(spot, why): (Spot, String)| format!("{} on {host} is not watched: {why}", spot.interface);
        gaps.extend(blind.into_iter().map(told));
        let names = names.collect();
        Ok(Self { watching, named: places, names, gaps, tells_statements: statements })
    }
}

impl Following {
    fn take_in(&mut self, host: &HostName, opened: Opened) -> Result<()> {
        let file = self.captures.file(host.as_str()).context("there are too many hosts")?;
        let point = |(_, name): &(Spot, String)| self.captures.point(file, Some(name), false);
        self.points.push(opened.named.iter().map(point).collect());
        if let Some(statements) = &mut self.statements {
            statements.ready(host, opened.tells_statements);
        }
        self.places.push((host.clone(), opened.named.into_iter().map(|(_, name)| name).collect()));
        self.watching.push(opened.watching);
        self.names.extend(opened.names);
        self.gaps.extend(opened.gaps);
        Ok(())
    }

    /// Hears all hosts until the end, and then what they have left to say.
    async fn hear(&mut self, until: Instant, args: &TraceArgs) -> Result<()> {
        let (to_us, mut heard) = mpsc::channel(EVENTS_MAX);
        let mut bells = Vec::new();
        for (nth, mut watching) in std::mem::take(&mut self.watching).into_iter().enumerate() {
            let (bell, rung) = tokio::sync::oneshot::channel::<()>();
            bells.push(bell);
            let mut rung = Some(rung);
            let to_us = to_us.clone();
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        event = watching.events.recv() => match event {
                            Some(event) => drop(to_us.send((nth, event)).await),
                            None => return,
                        },
                        () = ring(&mut rung) => watching.stop(),
                    }
                }
            });
        }
        drop(to_us);
        let (mut packets, count) = (0, args.count.unwrap_or(PACKETS_MAX));
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        if self.statements.is_some() {
            statements::announce(args);
        }
        while packets < count {
            tokio::select! {
                event = heard.recv() => match event {
                    Some((nth, event)) => packets += self.take(nth, event),
                    None => break,
                },
                () = tokio::time::sleep_until(until) => break,
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        drop(bells);
        let farewell = Instant::now() + FAREWELL_TIME_MAX;
        while let Ok(Some((nth, event))) = tokio::time::timeout_at(farewell, heard.recv()).await {
            self.take(nth, event);
        }
        Ok(())
    }

    /// Takes an event in; 1 if it was a packet.
    fn take(&mut self, nth: usize, event: Event) -> u64 {
        match event {
            Event::Frame(frame) => {
                if let Some(Some(point)) = self.points.get(nth).and_then(|points| points.get(frame.spot)) {
                    note(&mut self.captures, *point, &frame);
                }
                1
            }
            Event::Statement(said) => {
                self.said(nth, said);
                0
            }
            Event::End { lost, unsaid, .. } => {
                self.lost += lost;
                if let (Some(statements), Some((host, _))) = (&mut self.statements, self.places.get(nth)) {
                    statements.ended(host, unsaid);
                }
                0
            }
            _ => 0,
        }
    }

    fn said(&mut self, nth: usize, said: Said) {
        let Some((statements, (host, places))) = self.statements.as_mut().zip(self.places.get(nth)) else {
            return;
        };
        if let Some(place) = places.get(said.spot) {
            statements.take(host, place, said);
        }
    }

    fn finish(mut self) -> Followed {
        if let Some(statements) = &mut self.statements {
            statements.finish();
            self.gaps.append(&mut statements.gaps);
        }
        Followed {
            names: self.names,
            captures: self.captures,
            gaps: self.gaps,
            lost: self.lost,
            statements: self.statements,
        }
    }
}

/// Returns once when the other end is dropped, and then never again.
async fn ring(bell: &mut Option<tokio::sync::oneshot::Receiver<()>>) {
    match bell {
        Some(rung) => {
            let _ = rung.await;
            *bell = None;
        }
        None => std::future::pending().await,
    }
}

fn note(captures: &mut Captures, point: PointId, frame: &Frame) {
    let direction = if frame.outgoing { Direction::Out } else { Direction::In };
    captures.frame(point, frame.time_ns, Some(direction), &Decoded::decode(frame.link(), &frame.bytes));
}

/// The interfaces that packets of the cluster pass on a host, the uplinks first, each with its name for people.
fn spots(found: &Found, is_ours: impl Fn(IpAddr) -> bool) -> Vec<(Spot, String)> {
    let mut spots: BTreeMap<(u8, Spot), String> = BTreeMap::new();
    let mut put = |rank: u8, inside: Option<u64>, interface: &str, name: String| {
        spots.insert((rank, Spot { inside, interface: interface.to_owned() }), name);
    };
    for (_, whereabouts) in &found.addresses {
        if let Whereabouts::Away { interface, .. } = whereabouts {
            put(0, None, interface, interface.clone());
        }
    }
    for cable in
        found.containers.iter().filter(|cable| cable.addresses.iter().any(|address| is_ours(*address)))
    {
        if let Some(bridge) = &cable.bridge {
            put(1, None, bridge, bridge.clone());
        }
        put(2, None, &cable.veth, cable.veth.clone());
        if cable.inode.is_some() {
            put(3, cable.inode, &cable.interface, format!("{}/{}", cable.container, cable.interface));
        }
    }
    spots.into_iter().map(|((_, spot), name)| (spot, name)).collect()
}
