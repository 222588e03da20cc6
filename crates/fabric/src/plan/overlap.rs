//! Docker networks that use a peer's addresses: made before they were reserved, or with a subnet by hand.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::cluster::HostName;
use crate::desired::{Desired, holder};
use crate::docker::{Network, Seen};
use crate::observed::Observed;
use crate::problem::{Problem, ProblemKind};

/// At most this many containers are named in one sentence.
const NAMED_CONTAINERS_MAX: usize = 8;

/// What overlaps, and the bridges of those networks.
pub(super) fn find(desired: &Desired, observed: &Observed) -> (Vec<Problem>, BTreeSet<String>) {
    let (mut problems, mut bridges) = (Vec::new(), BTreeSet::new());
    let Some(docker) = &observed.docker else { return (problems, bridges) };
    for network in &docker.networks {
        for subnet in &network.subnets {
            let Some((held, host)) = held_by_peer(desired, subnet) else { continue };
            bridges.insert(network.bridge.clone());
            problems.push(Problem {
                kind: ProblemKind::Conflict,
                host: Some(host.clone()),
                what: format!("Docker's network {} uses {}", network.name, overlap(subnet, held, host)),
                hint: Some(way_out(docker, network)),
            });
        }
    }
    (problems, bridges)
}

/// A peer's subnet that overlaps, and whose it is.
fn held_by_peer<'a>(desired: &'a Desired, subnet: &IpNet) -> Option<(&'a IpNet, &'a HostName)> {
    let inside = desired.owners.range(subnet..).take_while(|(held, _)| subnet.contains(&held.addr()));
    let overlapping = holder(&desired.owners, subnet).into_iter().chain(inside);
    overlapping
        .into_iter()
        .find(|(held, host)| **host != desired.me && (subnet.contains(*held) || held.contains(subnet)))
}

fn overlap(subnet: &IpNet, held: &IpNet, host: &HostName) -> String {
    if subnet == held {
        format!("{subnet}, which host {host} holds")
    } else if held.contains(subnet) {
        format!("{subnet}, a part of {held}, which host {host} holds")
    } else {
        format!("{subnet}, and {held} in it is held by host {host}")
    }
}

/// The command that ends it. Made again, the network gets a subnet outside of the cluster: ours are reserved.
fn way_out(docker: &Seen, network: &Network) -> String {
    if network.bridge == "docker0" {
        return "to end it: `byway docker bip --write` gives docker0 this host's own subnet".to_owned();
    }
    let name = &network.name;
    let endpoints: Vec<_> = docker
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.network == *name)
        .take(NAMED_CONTAINERS_MAX)
        .collect();
    if let Some(compose) = endpoints.iter().find_map(|endpoint| endpoint.compose.as_ref()) {
        let project = &compose.project;
        return format!(
            "to end it: `docker compose -p {project} down`, and up again; Docker then takes a subnet outside of the \
             cluster"
        );
    }
    let disconnect = |container: &str| format!("docker network disconnect {name} {container}; ");
    let disconnects: String = endpoints.iter().map(|endpoint| disconnect(&endpoint.container)).collect();
    format!(
        "to end it: `{disconnects}docker network rm {name}`, and make it again with a subnet outside of the cluster"
    )
}
