//! Decides what a host must change so that it has what it should have.
//!
//! Reads two values and returns a third; touches nothing. A put replaces, and puts come before deletes, so a
//! prefix that moves is never without a route. Only what carries our mark is changed or removed; a foreign
//! route into the cluster freezes its prefix and becomes a conflict.

mod chain;
mod check;
mod conflict;
mod docker;
mod firewalld;
mod overlap;
mod reserve;
mod step;
mod takedown;
mod tunnel;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use check::Violation;
pub use step::{Making, Step};
pub use takedown::{Memory, take_down};

use crate::cluster::HostName;
use crate::desired::{Desired, WantedRoute};
use crate::docker::Engine;
use crate::docker::contract::contract;
use crate::observed::{METRIC, Observed, PROTOCOL, Route, RouteKind};
use crate::path::Path;
use crate::problem::Problem;
use crate::table::{Element, FOREIGN, GUARD, Table};
use tunnel::Tunnels;

/// The ordered changes from what is to what should be, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// How cluster packets pass this host, and why so.
    #[serde(default)]
    pub path: DataPath,
    /// By which path packets go to peers that are no neighbours, and why so; all others get theirs directly.
    #[serde(default)]
    pub ways: BTreeMap<HostName, Path>,
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// What cannot be done, and why.
    pub problems: Vec<Problem>,
}

/// How cluster packets pass a host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "path", rename_all = "kebab-case")]
pub enum DataPath {
    /// Routes and our own table: nobody else is in the way.
    #[default]
    Plain,
    /// The same, and narrow accepts beside Docker's rules; connection tracking and the admin's rules stay in force.
    Cooperate {
        /// With which engine.
        engine: Engine,
        /// Why.
        because: String,
    },
}

impl std::fmt::Display for DataPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain => f.write_str("plain routes: no Docker runs here"),
            Self::Cooperate { engine, because } => {
                write!(f, "cooperate with Docker {} ({}): {because}", engine.version, engine.backend)
            }
        }
    }
}

fn path(observed: &Observed) -> DataPath {
    observed.docker.as_ref().map_or(DataPath::Plain, |docker| DataPath::Cooperate {
        engine: docker.engine.clone(),
        because: contract(&docker.engine).because.to_owned(),
    })
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// Decides what to change on this host.
///
/// The table comes first, so that nothing is forwarded that it should have stopped; then tunnels and settings, then
/// the routes that are put, then what goes, tunnels last.
#[must_use]
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    let conflicts = conflict::find(desired, observed);
    let (table_puts, table_dels) = table_steps(desired, observed.table.as_ref());
    let tunnels = Tunnels::plan(desired, observed);
    let (puts, dels) = route_steps(desired, observed, &conflicts.frozen, &tunnels);
    let reservations = reserve::steps(desired, observed);
    let mut steps = table_puts;
    steps.extend(chain::steps(desired, observed));
    steps.extend(tunnels.devices.iter().cloned());
    steps.extend(sysctl_steps(desired, observed, &tunnels));
    steps.extend(tunnels.entries);
    steps.extend(puts);
    steps.extend(reservations.puts);
    steps.extend(dels);
    steps.extend(reservations.dels);
    steps.extend(tunnels.dels);
    steps.extend(table_dels);
    let of_docker = docker::problems(desired, observed);
    let of_firewalld = firewalld::problems(desired, observed);
    let own = desired.problems.iter().cloned();
    let problems = own.chain(of_docker).chain(of_firewalld).chain(conflicts.problems).collect();
    Plan { path: path(observed), ways: desired.paths.clone(), steps, problems }
}

fn sysctl_steps<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    tunnels: &'a Tunnels,
) -> impl Iterator<Item = Step> + 'a {
    let differing = desired.sysctls.iter().filter_map(|(sysctl, wanted)| {
        let from = tunnels.before(sysctl, observed)?;
        (from != wanted.value).then_some((sysctl, wanted, from))
    });
    differing.map(|(sysctl, wanted, from)| Step::PutSysctl {
        sysctl: sysctl.clone(),
        from: from.to_owned(),
        to: wanted.value.to_owned(),
        because: wanted.because.clone(),
    })
}

/// Routes to put and routes to delete.
///
/// What is present and what is wanted are walked side by side, in the order of their prefixes: at rest that is
/// one comparison for each route.
fn route_steps(
    desired: &Desired,
    observed: &Observed,
    frozen: &BTreeSet<IpNet>,
    tunnels: &Tunnels,
) -> (Vec<Step>, Vec<Step>) {
    let is_there = |route: &&Route| route.is_ours() && !route.is_reservation() && !tunnels.breaks(route);
    let ours = || observed.routes.iter().filter(is_there);
    // The kernel can hold several of ours for one prefix only if their metrics differ; one is right.
    let right_metric = ours().filter(|route| route.metric == METRIC).map(|route| (&route.to, route));
    let mut present = right_metric.collect::<BTreeMap<_, _>>().into_iter().peekable();
    let mut puts = Vec::new();
    let mut unwanted = BTreeSet::new();
    for (to, wanted) in &desired.routes {
        while let Some((to, _)) = present.next_if(|(present, _)| *present < to) {
            unwanted.insert(to);
        }
        let route = present.next_if(|(present, _)| *present == to).map(|(_, route)| route);
        // A refusal of ours may win over what a colleague routes; once its reason has gone it must not.
        let refuses_without_reason = route.is_some_and(Route::is_refusal) && wanted.gone.is_none();
        if frozen.contains(to) && !refuses_without_reason {
            continue;
        }
        match route {
            Some(route) if is_right(route, wanted) => {}
            Some(route) => {
                puts.push(put(to, wanted, observed, why_replaced(route, wanted, desired, observed)));
            }
            None => puts.push(put(to, wanted, observed, why_new(wanted, desired))),
        }
    }
    unwanted.extend(present.map(|(to, _)| to));
    let goes = |route: &&Route| route.metric != METRIC || unwanted.contains(&route.to);
    let dels = ours().filter(goes).map(|route| Step::del_route(route, observed, why_gone(desired, route)));
    (puts, dels.collect())
}

fn is_right(route: &Route, wanted: &WantedRoute) -> bool {
    if wanted.gone.is_some() {
        // Where it leaves does not matter; the kernel says `lo` for IPv6.
        return route.kind == RouteKind::Unreachable;
    }
    route.kind == RouteKind::Unicast
        && route.via == Some(wanted.via)
        && route.dev == Some(wanted.dev)
        && route.src == wanted.src
}

fn put(to: &IpNet, wanted: &WantedRoute, observed: &Observed, because: String) -> Step {
    let route = match &wanted.gone {
        Some(_) => Route::refusal(*to),
        None => Route {
            to: *to,
            kind: RouteKind::Unicast,
            via: Some(wanted.via),
            dev: Some(wanted.dev),
            src: wanted.src,
            metric: METRIC,
            protocol: PROTOCOL,
        },
    };
    Step::PutRoute { text: observed.route_text(&route), route, because }
}

fn why_gone(desired: &Desired, route: &Route) -> String {
    match desired.owners.get(&route.to) {
        Some(host) if desired.routes.contains_key(&route.to) => {
            format!("the route to host {host} has metric {METRIC}")
        }
        Some(host) if *host == desired.me => "it is this host's own".to_owned(),
        Some(host) => format!("host {host} is not reachable directly"),
        None => "no host holds it".to_owned(),
    }
}

fn why_new(wanted: &WantedRoute, desired: &Desired) -> String {
    if let Some(why) = &wanted.gone {
        return format!("host {} does not answer: {why}", wanted.host);
    }
    let holds = format!("host {} holds it", wanted.host);
    match desired.paths.get(&wanted.host) {
        Some(path) => format!("{holds}, and {}", path.because()),
        None => holds,
    }
}

fn why_replaced(route: &Route, wanted: &WantedRoute, desired: &Desired, observed: &Observed) -> String {
    let host = &wanted.host;
    if wanted.gone.is_some() {
        return why_new(wanted, desired);
    }
    if route.is_refusal() {
        return format!("the route to host {host} is to pass packets on again");
    }
    if let Some(path) = desired.paths.get(host).filter(|_| route.dev != Some(wanted.dev)) {
        return path.because();
    }
    if route.via != Some(wanted.via) {
        let was = route.via.map_or_else(|| "no gateway".to_owned(), |via| format!("via {via}"));
        return format!("host {host} is at {}, the route was {was}", wanted.via);
    }
    if route.dev != Some(wanted.dev) {
        return format!("host {host} is a neighbour on {}", observed.link_name(wanted.dev));
    }
    if route.src != wanted.src {
        return match wanted.src {
            Some(src) => format!("this host speaks to containers as {src}"),
            None => "this host has no address of its own subnet to speak with".to_owned(),
        };
    }
    format!("the route to host {host} must pass packets on")
}

/// What to put before the routes, and what to take out after them.
fn table_steps(desired: &Desired, table: Option<&Table>) -> (Vec<Step>, Vec<Step>) {
    let wanted = &desired.table;
    let Some(table) = table else {
        return (vec![put_table(wanted, "it is missing".to_owned())], Vec::new());
    };
    if let Some(because) = structure_differs(wanted, table) {
        return (vec![put_table(wanted, because)], Vec::new());
    }
    let mut puts = Vec::new();
    let mut dels = Vec::new();
    for (name, set) in &wanted.sets {
        // Most of the time they are equal, and that is seen in a quarter of the time that differences take.
        let Some(present) = table.sets.get(name).filter(|present| *present != set) else { continue };
        let missing: BTreeSet<Element> = set.elements.difference(&present.elements).cloned().collect();
        let spare: BTreeSet<Element> = present.elements.difference(&set.elements).cloned().collect();
        // The kernel refuses an interval that overlaps one which is still there.
        if missing.iter().any(|element| spare.iter().any(|other| overlap(element, other))) {
            return (
                vec![put_table(wanted, format!("members of its set {name} overlap the new ones"))],
                Vec::new(),
            );
        }
        if !missing.is_empty() {
            let because = desired.why_member(name, &missing);
            puts.push(Step::PutElements { set: name.clone(), elements: missing, because });
        }
        if !spare.is_empty() {
            let because = why_no_member(name, &spare);
            dels.push(Step::DelElements { set: name.clone(), elements: spare, because });
        }
    }
    (puts, dels)
}

fn put_table(table: &Table, because: String) -> Step {
    Step::PutTable { table: table.clone(), because }
}

fn overlap(one: &Element, other: &Element) -> bool {
    match (one, other) {
        (Element::Prefix(one), Element::Prefix(other)) => one.contains(other) || other.contains(one),
        _ => false,
    }
}

/// How the chains and sets of a table differ from those that should be there, members apart.
fn structure_differs(wanted: &Table, present: &Table) -> Option<String> {
    match (wanted.guards(), present.guards()) {
        (true, false) if !present.chains.contains_key(GUARD) => {
            return Some("nobody else keeps outsiders out of the containers".to_owned());
        }
        (false, true) if present.chains.contains_key(GUARD) => {
            return Some("somebody else keeps outsiders out of the containers".to_owned());
        }
        _ => {}
    }
    let spare_chain = present.chains.keys().find(|name| !wanted.chains.contains_key(*name));
    if let Some(name) = spare_chain {
        return Some(format!("somebody added the chain {name}"));
    }
    for (name, chain) in &wanted.chains {
        match present.chains.get(name) {
            None => return Some(format!("its chain {name} is missing")),
            Some(other) if other.hook != chain.hook => {
                return Some(format!("its chain {name} is hooked in elsewhere"));
            }
            Some(other) if other.rules != chain.rules => {
                return Some(format!("the rules of its chain {name} differ"));
            }
            Some(_) => {}
        }
    }
    let foreign_member = |set: &crate::table::Set| {
        set.of != "ifname" && set.elements.iter().any(|element| matches!(element, Element::Text(_)))
    };
    for (name, set) in &wanted.sets {
        match present.sets.get(name) {
            None => return Some(format!("its set {name} is missing")),
            Some(other) if other.of != set.of || foreign_member(other) => {
                return Some(format!("its set {name} differs"));
            }
            Some(_) => {}
        }
    }
    let spare = present.sets.iter().find(|(name, _)| !wanted.sets.contains_key(*name));
    spare.map(|(name, set)| match set.of.as_str() {
        FOREIGN => format!("somebody added the {name}"),
        _ => format!("somebody added the set {name}"),
    })
}

impl Desired {
    fn why_member(&self, set: &str, elements: &BTreeSet<Element>) -> String {
        let hosts: BTreeSet<&str> = elements
            .iter()
            .filter_map(|element| match element {
                Element::Prefix(prefix) => self.owners.get(prefix).map(HostName::as_str),
                Element::Text(_) => None,
            })
            .collect();
        if set.starts_with("guard") {
            "nobody else keeps outsiders out of it".to_owned()
        } else if set.starts_with("ends") {
            "that peer is behind a router".to_owned()
        } else if hosts.is_empty() {
            "cluster packets pass there".to_owned()
        } else {
            format!("{} it", whose(&hosts))
        }
    }
}

fn why_no_member(set: &str, elements: &BTreeSet<Element>) -> String {
    match elements.first() {
        _ if set.starts_with("guard") => "somebody else keeps outsiders out of it".to_owned(),
        _ if set.starts_with("ends") => "no peer behind a router is there".to_owned(),
        Some(Element::Prefix(_)) => "no peer holds it".to_owned(),
        _ => "no cluster packet passes there".to_owned(),
    }
}

/// At most this many hosts are named in a sentence.
const NAMED_HOSTS_MAX: usize = 3;

fn whose(hosts: &BTreeSet<&str>) -> String {
    let named: Vec<&str> = hosts.iter().copied().take(NAMED_HOSTS_MAX).collect();
    match hosts.len() {
        1 => format!("host {} holds", named[0]),
        count if count <= NAMED_HOSTS_MAX => format!("hosts {} hold", named.join(", ")),
        count => format!("hosts {} and {} more hold", named.join(", "), count - NAMED_HOSTS_MAX),
    }
}
