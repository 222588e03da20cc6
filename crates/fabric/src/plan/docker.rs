//! What only a restart of Docker can bring: rules of its own that somebody flushed, options that it needs.

use std::collections::BTreeSet;

use crate::desired::Desired;
use crate::docker::contract::{OPTIONS, contract};
use crate::docker::{Backend, Network, Seen, Walls};
use crate::observed::Observed;
use crate::problem::{Problem, ProblemKind};
use crate::table::Element;

pub(super) fn problems(desired: &Desired, observed: &Observed) -> Vec<Problem> {
    let Some(docker) = &observed.docker else { return Vec::new() };
    // What is not there at all does not lack options.
    flushed(desired, docker).or_else(|| lacking_options(desired, docker)).into_iter().collect()
}

/// Rules of Docker's own that are missing.
fn flushed(desired: &Desired, docker: &Seen) -> Option<Problem> {
    if docker.engine.backend == Backend::Off || !desired.holds_containers(false) {
        return None;
    }
    let nothing = Walls::default();
    let walls = docker.walls(false).unwrap_or(&nothing);
    let mut gone = Vec::new();
    if !walls.forward {
        gone.push("what its containers may receive is not checked by it any more (table filter)");
    }
    if !walls.nat {
        gone.push("published ports do not answer any more (table nat)");
    }
    if raw_was_flushed(docker, walls) {
        gone.push("its containers' addresses are not protected by it any more (table raw)");
    }
    (!gone.is_empty()).then(|| Problem {
        kind: ProblemKind::Waits,
        host: None,
        what: format!("somebody flushed rules of Docker's own: {}", gone.join("; ")),
        hint: Some(contract(&docker.engine).way_back.to_owned()),
    })
}

fn raw_was_flushed(docker: &Seen, walls: &Walls) -> bool {
    // docker0 has no mode in which its containers go without.
    let on_docker0 = |network: &&Network| network.bridge == "docker0";
    let Some(docker0) = docker.networks.iter().find(on_docker0) else { return false };
    let has_containers = docker.endpoints.iter().any(|endpoint| endpoint.network == docker0.name);
    contract(&docker.engine).container_drops
        && has_containers
        && !docker.no_raw_drops
        && walls.raw_drops.is_empty()
}

/// Options without which an engine lets no cluster packet in, judged by the rules that it has written.
fn lacking_options(desired: &Desired, docker: &Seen) -> Option<Problem> {
    let needed = contract(&docker.engine).daemon_options;
    let missing: BTreeSet<&str> = [false, true]
        .into_iter()
        .filter_map(|ipv6| Some((ipv6, docker.walls(ipv6)?)))
        .flat_map(|(ipv6, walls)| lacking_of(desired, ipv6, walls))
        .filter(|option| needed.contains(option))
        .collect();
    let options = missing.iter().copied().collect::<Vec<_>>().join(" and ");
    (!missing.is_empty()).then(|| Problem {
        kind: ProblemKind::Waits,
        host: None,
        what: format!(
            "Docker {} with its {} backend lets cluster packets in only with {options}",
            docker.engine.version, docker.engine.backend
        ),
        hint: Some(
            "`byway docker options --write` puts them into daemon.json; then restart Docker".to_owned(),
        ),
    })
}

fn lacking_of(desired: &Desired, ipv6: bool, walls: &Walls) -> Vec<&'static str> {
    let names = |set: &str| {
        let elements = desired.table.sets.get(set).into_iter().flat_map(|set| &set.elements);
        elements.filter_map(|element| match element {
            Element::Text(name) if name != "lo" => Some(name),
            _ => None,
        })
    };
    let local = desired.table.sets.get(if ipv6 { "local6" } else { "local4" });
    let is_local = |address: std::net::IpAddr| {
        let elements = local.into_iter().flat_map(|set| &set.elements);
        elements.into_iter().any(|element| matches!(element, Element::Prefix(net) if net.contains(&address)))
    };
    let [direct, mark] = OPTIONS;
    let mut lacking = Vec::new();
    let is_in_the_way = |bridge: &&String| walls.closed.contains(*bridge) && !walls.marked.contains(*bridge);
    if desired.holds_containers(ipv6) && names("inside").any(|bridge| is_in_the_way(&bridge)) {
        lacking.push(mark);
    }
    let drops_ours = |uplink: &String| {
        walls.raw_drops.iter().any(|drop| is_local(drop.to) && !drop.except.contains(uplink))
    };
    if names("uplinks").any(drops_ours) {
        lacking.push(direct);
    }
    lacking
}
