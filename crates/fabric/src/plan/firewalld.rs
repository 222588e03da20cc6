//! What only firewalld can let through: where it rejects what goes between its zones, an accept of ours ends nothing.
//!
//! It is told, with the commands that end it; firewalld itself is never changed.

use std::collections::BTreeSet;

use crate::desired::Desired;
use crate::firewalld::{Firewalld, Zone};
use crate::observed::Observed;
use crate::problem::{Problem, ProblemKind};
use crate::table::Element;

pub(super) fn problems(desired: &Desired, observed: &Observed) -> Vec<Problem> {
    let Some(firewalld) = observed.firewalld.as_ref().filter(|firewalld| firewalld.rejects) else {
        return Vec::new();
    };
    let mut closed = BTreeSet::new();
    for uplink in names(desired, "uplinks") {
        for bridge in names(desired, "inside") {
            closed.extend(closed_ways(desired, firewalld, uplink, bridge));
        }
    }
    closed.into_iter().map(|way| problem(firewalld, &way)).collect()
}

/// Between which zones packets of the cluster are rejected, of one bridge.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way<'a> {
    from: &'a str,
    to: &'a str,
    bridge: &'a str,
    into: bool,
}

fn closed_ways<'a>(
    desired: &'a Desired,
    firewalld: &'a Firewalld,
    uplink: &'a str,
    bridge: &'a str,
) -> Vec<Way<'a>> {
    let inside = firewalld.zone_of(bridge);
    let peers = ["peers4", "peers6"].into_iter().filter_map(|set| desired.table.sets.get(set));
    let peers = peers.flat_map(|set| &set.elements).filter_map(Element::prefix);
    let outside = peers.map(|peer| firewalld.zone_of_sender(&peer, uplink));
    let into = outside.map(|from| Way { from, to: inside, bridge, into: true });
    let out = Way { from: inside, to: firewalld.zone_of(uplink), bridge, into: false };
    into.chain([out]).filter(|way| !firewalld.forwards(way.from, way.to)).collect()
}

fn problem(firewalld: &Firewalld, way: &Way) -> Problem {
    let Way { from, to, bridge, into } = way;
    let (who, whom) = if *into { ("peers", "containers") } else { ("containers", "peers") };
    Problem {
        kind: ProblemKind::Waits,
        host: None,
        what: format!(
            "firewalld rejects what {who} send to {whom} by {bridge}: none of its policies lets zone {from} into zone {to}"
        ),
        hint: Some(format!("`{}`", commands(firewalld, way))),
    }
}

fn commands(firewalld: &Firewalld, way: &Way) -> String {
    // One policy for each way: one for both would also let through what nobody asked for.
    let name = if way.into { "byway" } else { "byway-out" };
    // Before 2.0 a policy for the default zone's name means only interfaces that were put into it by name.
    let has_members = |zone: &str| firewalld.zones.get(zone).is_some_and(Zone::has_members);
    let [from, to] = [way.from, way.to].map(|zone| if has_members(zone) { zone } else { "ANY" });
    let is_there = firewalld.policies.iter().any(|policy| policy.name == name);
    let make = (!is_there).then(|| format!("firewall-cmd --permanent --new-policy {name}"));
    let change = |what: &str| format!("firewall-cmd --permanent --policy {name} {what}");
    let changes = [
        change(&format!("--add-ingress-zone {from}")),
        change(&format!("--add-egress-zone {to}")),
        change("--set-target ACCEPT"),
        "firewall-cmd --reload".to_owned(),
    ];
    make.into_iter().chain(changes).collect::<Vec<_>>().join(" && ")
}

fn names<'a>(desired: &'a Desired, set: &str) -> impl Iterator<Item = &'a str> {
    let elements = desired.table.sets.get(set).into_iter().flat_map(|set| &set.elements);
    elements.filter_map(|element| match element {
        Element::Text(name) if name != "lo" => Some(name.as_str()),
        _ => None,
    })
}
