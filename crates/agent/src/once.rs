//! What commands do by themselves when no agent runs: one look, or one way back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use byway_api::{DownReport, PlanReport, Status};
use byway_fabric::cluster::Host;
use byway_fabric::desired::desired;
use byway_fabric::docker::Engine;
use byway_fabric::observed::Link;
use byway_fabric::plan::plan;
use byway_fabric::reach::Reach;
use jiff::Timestamp;

use crate::edge::chains;
use crate::edge::docker;
use crate::edge::firewalld;
use crate::edge::look;
use crate::edge::netlink::Netlink;
use crate::edge::only_one::OnlyOne;
use crate::edge::privileges;
use crate::edge::program::Runs;
use crate::error::AgentError;
use crate::keep::{Settings, take_out};
use crate::report::{self, Findings};
use crate::state::State;
use crate::store::{self, Known, Store};
use crate::world::World;

async fn look(settings: &Settings) -> Result<(Box<dyn Store>, Findings), AgentError> {
    privileges::check()?;
    let store = store::last_known(settings, Timestamp::now())?;
    let mut world = World::open()?;
    world.hear_docker(docker::ask_once(&settings.docker).await);
    world.hear_firewalld(firewalld::ask_once().await);
    let observed = world.look().await?;
    let Known { me, cluster } = &**store.known();
    let desired = desired(cluster, me, &settings.choices, &observed, &Reach::default());
    let plan = plan(&desired, &observed);
    Ok((store, Findings { desired, observed, plan }))
}

/// How the host stands.
///
/// # Errors
/// When the inventory or the host cannot be read.
pub async fn status(settings: &Settings) -> Result<Status, AgentError> {
    let (store, findings) = look(settings).await?;
    Ok(report::status(&*store, &findings, None))
}

/// What an agent would change.
///
/// # Errors
/// When the inventory or the host cannot be read.
pub async fn plan_report(settings: &Settings) -> Result<PlanReport, AgentError> {
    let (store, findings) = look(settings).await?;
    Ok(PlanReport { host: store.known().me.name.clone(), by_agent: false, plan: findings.plan })
}

/// The interfaces that packets of the cluster pass on this host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnTheWay {
    /// Those by which peers are reached, by name.
    pub uplinks: BTreeSet<String>,
    /// The bridges of containers that take part, by name.
    pub bridges: BTreeSet<String>,
}

/// Which interfaces packets of the cluster pass here: the same ones that our table names.
///
/// # Errors
/// When the inventory or the host cannot be read.
pub async fn on_the_way(settings: &Settings) -> Result<OnTheWay, AgentError> {
    let (_, findings) = look(settings).await?;
    let names = |set: &str| {
        let elements = findings.desired.table.sets.get(set).into_iter().flat_map(|set| &set.elements);
        let names = elements.map(ToString::to_string).map(|name| name.trim_matches('"').to_owned());
        // A tunnel that is still to be made is nothing that could be listened at.
        let is_there = |name: &String| findings.observed.links.values().any(|link| link.name == *name);
        // `lo` is inside for what the host says to itself, which is nothing of the cluster's.
        names.filter(|name| name != "lo").filter(is_there).collect()
    };
    Ok(OnTheWay { uplinks: names("uplinks"), bridges: names("inside") })
}

/// The Docker engine of this host, as it says of itself and as its rules show; none if there is none.
pub async fn engine_here(settings: &Settings) -> Option<Engine> {
    let asked = docker::ask_once(&settings.docker).await?;
    match chains::look(&mut Runs::default(), &asked, None).await {
        Ok(seen) => Some(seen.engine),
        Err(error) => {
            tracing::warn!(error = crate::error::chain(&error), "Docker's rules cannot be read");
            None
        }
    }
}

/// Takes out what an agent left.
///
/// # Errors
/// When an agent runs, or a step failed.
pub async fn down(settings: &Settings) -> Result<DownReport, AgentError> {
    privileges::check()?;
    let _no_agent_meanwhile = OnlyOne::take(&settings.run_dir)?;
    let mut state = State::load(&settings.state_dir)?;
    let mut world = World::open()?;
    world.hear_docker(docker::ask_once(&settings.docker).await);
    let report = take_out(&mut world, &mut state).await?;
    // An agent that was killed has left its socket; most often there is none.
    let _ = std::fs::remove_file(settings.run_dir.join(byway_api::SOCKET));
    Ok(report)
}

/// The interface that has one of the host's addresses, and those that hold its subnets; nothing where this
/// machine is not that host, or may not be asked.
#[must_use]
pub fn interfaces_of(host: &Host) -> (Option<String>, Vec<String>) {
    let links = Netlink::open().and_then(|mut netlink| look::links(&mut netlink)).unwrap_or_default();
    let holds =
        |link: &&Link, wanted: &dyn Fn(IpAddr) -> bool| link.addresses.iter().any(|net| wanted(net.addr()));
    let has_address = |address| host.addresses.contains(&address);
    let in_subnet = |address| host.subnets.iter().any(|subnet| subnet.contains(&address));
    let uplink = links.values().find(|link| holds(link, &has_address)).map(|link| link.name.clone());
    let bridges =
        links.values().filter(|link| holds(link, &in_subnet)).map(|link| link.name.clone()).collect();
    if uplink.is_some() { (uplink, bridges) } else { (None, Vec::new()) }
}
