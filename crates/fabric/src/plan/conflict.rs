//! Foreign routes into the cluster: found, named with the command that ends them, and left alone.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::overlap;
use crate::cluster::HostName;
use crate::desired::{Desired, holder};
use crate::observed::{METRIC, Observed, Route, protocol_name};
use crate::problem::{Problem, ProblemKind};

/// At most this many conflicts are told one by one; a host that is a router for others could have thousands.
const CONFLICTS_TOLD_MAX: usize = 100;

/// What foreign routes mean for the plan.
pub(super) struct Conflicts {
    /// Prefixes to which somebody else has a route: nothing is put there.
    pub(super) frozen: BTreeSet<IpNet>,
    /// Their description.
    pub(super) problems: Vec<Problem>,
}

pub(super) fn find(desired: &Desired, observed: &Observed) -> Conflicts {
    let (overlaps, told_bridges) = overlap::find(desired, observed);
    let mut conflicts = Conflicts { frozen: BTreeSet::new(), problems: overlaps };
    let is_told =
        |route: &Route| route.dev.is_some_and(|dev| told_bridges.contains(&observed.link_name(dev)));
    for route in observed.routes.iter().filter(|route| !route.is_ours()) {
        let Some((subnet, host)) = holder(&desired.owners, &route.to) else { continue };
        // A route without a gateway into our own subnet is what containers are for.
        if *host == desired.me && route.via.is_none() {
            continue;
        }
        let wanted = desired.routes.get(subnet);
        if route.to == *subnet {
            conflicts.frozen.insert(*subnet);
        }
        if route.via.is_none() && is_told(route) {
            continue;
        }
        conflicts.problems.push(problem(
            route,
            subnet,
            host,
            observed,
            wanted.is_some_and(|w| Some(w.via) == route.via),
        ));
    }
    let untold = conflicts.problems.len().saturating_sub(CONFLICTS_TOLD_MAX);
    conflicts.problems.truncate(CONFLICTS_TOLD_MAX);
    conflicts.problems.extend((untold > 0).then(|| more(untold)));
    conflicts
}

fn problem(route: &Route, subnet: &IpNet, host: &HostName, observed: &Observed, same_way: bool) -> Problem {
    let text = observed.route_text(route);
    let protocol = protocol_name(route.protocol);
    let what = if route.to != *subnet {
        format!("{text} (proto {protocol}) takes a part of {subnet}, which host {host} holds")
    } else if route.via.is_none() && route.dev.is_some() {
        format!("a network of this host uses {subnet}, which host {host} holds: {text} (proto {protocol})")
    } else if same_way {
        format!(
            "somebody else already routes to host {host}, the same way: {text} (proto {protocol}, metric {})",
            route.metric
        )
    } else {
        let wins = if route.metric < METRIC {
            "and it wins over ours"
        } else {
            "with a metric that loses against ours"
        };
        format!(
            "somebody else routes to the subnet of host {host}: {text} (proto {protocol}, metric {}), {wins}",
            route.metric
        )
    };
    Problem {
        kind: ProblemKind::Conflict,
        host: Some(host.clone()),
        what,
        hint: Some(hint(route, &text, &protocol)),
    }
}

fn hint(route: &Route, text: &str, protocol: &str) -> String {
    if route.via.is_none() && route.protocol == 2 {
        return "give that network another subnet".to_owned();
    }
    let text = text.split(" src ").next().unwrap_or(text);
    let family = if route.to.addr().is_ipv6() { "ip -6" } else { "ip" };
    format!("it is left alone; to end it: {family} route del {text} proto {protocol} metric {}", route.metric)
}

fn more(untold: usize) -> Problem {
    Problem {
        kind: ProblemKind::Conflict,
        host: None,
        what: format!("{untold} more foreign routes lead into the cluster"),
        hint: None,
    }
}
