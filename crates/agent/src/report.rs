//! Tells how the host stands, from the last look and plan.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use byway_api::metrics::ByFamily;
use byway_api::{AgentStatus, HostStatus, Status, host_statuses};
use byway_fabric::cluster::{Host, HostName};
use byway_fabric::desired::{Desired, WantedRoute};
use byway_fabric::docker::Endpoint;
use byway_fabric::observed::{METRIC, Observed, Route};
use byway_fabric::plan::Plan;

use crate::store::{Known, Store};

/// What one look found out.
#[derive(Debug, Clone)]
pub struct Findings {
    /// What should be.
    pub desired: Desired,
    /// What is.
    pub observed: Observed,
    /// What is to do.
    pub plan: Plan,
}

/// The status that follows from a look.
#[must_use]
pub fn status(store: &dyn Store, findings: &Findings, agent: Option<AgentStatus>) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        agent,
        host: store.known().me.name.clone(),
        hosts: hosts(store, findings),
        endpoints: endpoints(&store.known().me, &findings.observed),
        problems: findings.plan.problems.clone(),
        pending: findings.plan.steps.len(),
        inventory: store.status(),
        peers: None,
    }
}

/// The addresses with which this host itself speaks along the data path, of each family at most one.
#[must_use]
pub(crate) fn speaks_as(findings: &Findings) -> Vec<IpAddr> {
    let addresses: BTreeSet<IpAddr> =
        findings.desired.routes.values().filter_map(|route| route.src).collect();
    addresses.into_iter().collect()
}

/// The interfaces of containers in networks that are opted in and hold addresses of this host's subnets.
fn endpoints(me: &Host, observed: &Observed) -> Vec<Endpoint> {
    let Some(docker) = &observed.docker else { return Vec::new() };
    let takes_part = |endpoint: &&Endpoint| {
        let network = docker.networks.iter().find(|network| network.name == endpoint.network);
        let is_ours = |address| me.subnets.iter().any(|subnet| subnet.contains(address));
        endpoint.addresses.iter().any(is_ours)
            && network.is_some_and(|network| network.opted_in && !network.internal)
    };
    docker.endpoints.iter().filter(takes_part).cloned().collect()
}

fn hosts(store: &dyn Store, findings: &Findings) -> Vec<HostStatus> {
    let mut counts: BTreeMap<&HostName, (usize, usize)> = BTreeMap::new();
    for wanted in findings.desired.routes.values() {
        counts.entry(&wanted.host).or_default().0 += 1;
    }
    for (_, wanted) in present(findings) {
        counts.entry(&wanted.host).or_default().1 += 1;
    }
    let count = |host: &HostName| counts.get(host).copied().unwrap_or_default();
    let Known { me, cluster } = &**store.known();
    host_statuses(cluster, &me.name, &findings.plan.problems, &findings.desired.paths, count)
}

/// Routes of ours that are there and right, each with what it should be.
fn present(findings: &Findings) -> impl Iterator<Item = (&Route, &WantedRoute)> {
    let ours = findings.observed.routes.iter().filter(|route| route.is_ours() && route.metric == METRIC);
    ours.filter_map(|route| {
        let wanted = findings.desired.routes.get(&route.to)?;
        let is_right = match wanted.gone {
            Some(_) => route.is_refusal(),
            None => route.via == Some(wanted.via) && route.dev == Some(wanted.dev),
        };
        is_right.then_some((route, wanted))
    })
}

/// Routes that should be there, and those that are, by family.
pub(crate) fn routes_by_family(findings: &Findings) -> (ByFamily, ByFamily) {
    let expected = findings.desired.routes.keys().map(ipnet::IpNet::addr).collect();
    (expected, present(findings).map(|(route, _)| route.to.addr()).collect())
}
