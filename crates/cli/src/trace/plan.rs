//! What a trace is going to do: who sends to whom, which way packets should take, where to watch, and, when something
//! was lost, what to ask whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use byway_fabric::cluster::HostName;
use byway_fabric::evidence::{Flow, RouteAnswer, RouteQuestion};
use byway_fabric::journey::{Direction, End as Port};
use byway_fabric::trace::path::{Path, Side, predict};
use byway_fabric::trace::question::Question;
use byway_fabric::trace::report::Told;
use byway_fabric::trace::sort::Probes;
use byway_fabric::trace::watch::{PROBES_MAX, ProbeKind, ProbeOrder, ProbeReport, Spot};
use byway_fabric::trace::{Search, Whereabouts};

use super::TraceArgs;
use super::ends::{End, Words};
use super::station::{Silent, Stations};
use crate::complaint::Advised;

/// A place to watch, and the container that it is in.
pub(super) type NamedSpot = (Spot, Option<String>);

pub(super) fn kind(args: &TraceArgs, to: &Words) -> Result<ProbeKind> {
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
pub(super) struct Plan {
    pub(super) kind: ProbeKind,
    pub(super) from: IpAddr,
    pub(super) to: Port,
    pub(super) sides: (Side, Option<Side>),
    pub(super) path: Path,
    pub(super) silent: Silent,
    pub(super) order: ProbeOrder,
    wait: Duration,
}

impl Plan {
    pub(super) async fn make(
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

    pub(super) fn flow(&self) -> Flow {
        let protocol = match (self.kind, self.to.address) {
            (ProbeKind::Icmp, IpAddr::V4(_)) => 1,
            (ProbeKind::Icmp, IpAddr::V6(_)) => 58,
            (ProbeKind::Tcp, _) => 6,
            (ProbeKind::Udp, _) => 17,
        };
        Flow { protocol, ends: vec![self.to] }
    }

    /// How long everything takes at most.
    pub(super) fn duration(&self) -> Duration {
        Duration::from_millis(self.order.every_millis) * u32::from(self.order.count) + self.wait
    }

    /// The interfaces to watch on each host.
    pub(super) fn spots(&self) -> BTreeMap<HostName, Vec<NamedSpot>> {
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
    pub(super) fn closed(&self) -> Vec<(&HostName, &str)> {
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
        Some(RouteAnswer::Way(way)) => way.source.unwrap_or(otherwise),
        _ => otherwise,
    }
}

impl Plan {
    pub(super) fn probes(&self, sent: &ProbeReport) -> Probes {
        Probes {
            kind: self.kind,
            to: self.to,
            nonce: self.order.nonce,
            ports: sent.sent.iter().map(|sent| sent.port).collect(),
        }
    }

    /// What each host of the way is asked about a probe that was lost.
    pub(super) fn questions(&self, lost: &Told) -> BTreeMap<HostName, Question> {
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
