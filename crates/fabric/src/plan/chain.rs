//! Our accepts in Docker's chains: where the engine's contract asks for them, and nowhere else.

use super::Step;
use crate::desired::Desired;
use crate::docker::contract::{Accepts, contract};
use crate::docker::rules::{Place, accept, mend, places};
use crate::docker::{Backend, Seen, SeenChain};
use crate::observed::Observed;
use crate::problem::{Problem, ProblemKind};

/// What is to do in shared chains.
#[derive(Default)]
pub(super) struct Chains {
    pub(super) steps: Vec<Step>,
    pub(super) problems: Vec<Problem>,
}

pub(super) fn steps(desired: &Desired, observed: &Observed) -> Chains {
    let Some(docker) = &observed.docker else { return Chains::default() };
    let contract = contract(&docker.engine);
    if !contract.daemon_options.is_empty() {
        return Chains { steps: Vec::new(), problems: vec![needs_options(docker, contract.daemon_options)] };
    }
    let Some(accepts) = contract.accepts else { return Chains::default() };
    let mut chains = Chains::default();
    for ipv6 in [false, true] {
        let set = if ipv6 { "local6" } else { "local4" };
        let has_containers = desired.table.sets.get(set).is_some_and(|set| !set.elements.is_empty());
        for place in [Place::DockerUser, Place::Raw] {
            let wanted = has_containers && places(accepts).contains(&place);
            match chain(docker, ipv6, place) {
                Some(chain) => chains.steps.extend(step(chain, accepts, wanted, contract.because)),
                // Without ip6tables Docker is not in the way of IPv6.
                None if wanted && place == Place::DockerUser && !ipv6 => chains.problems.push(flushed()),
                None => {}
            }
        }
    }
    chains
}

fn chain(docker: &Seen, ipv6: bool, place: Place) -> Option<&SeenChain> {
    docker.chains.iter().find(|chain| chain.ipv6 == ipv6 && chain.place == place)
}

fn step(chain: &SeenChain, accepts: Accepts, wanted: bool, because: &str) -> Option<Step> {
    let mend = mend(chain.place, &chain.rules, wanted);
    if mend.delete.is_empty() && mend.insert.is_none() {
        return None;
    }
    let because = match mend.insert {
        Some((_, "it is missing")) => because.to_owned(),
        Some((_, why)) => why.to_owned(),
        None => "this engine does not ask for it".to_owned(),
    };
    Some(Step::MendChain {
        flavour: accepts.flavour,
        ipv6: chain.ipv6,
        place: chain.place,
        delete: mend.delete,
        insert: mend.insert.map(|(at, _)| at),
        because,
    })
}

/// Takes our accepts out of every chain.
pub(super) fn take_out(observed: &Observed) -> Vec<Step> {
    let Some(docker) = &observed.docker else { return Vec::new() };
    let Backend::Iptables(flavour) = docker.engine.backend else { return Vec::new() };
    let mends = docker.chains.iter().map(|chain| (chain, mend(chain.place, &chain.rules, false)));
    let steps = mends.filter(|(_, mend)| !mend.delete.is_empty()).map(|(chain, mend)| Step::MendChain {
        flavour,
        ipv6: chain.ipv6,
        place: chain.place,
        delete: mend.delete,
        insert: None,
        because: "byway goes".to_owned(),
    });
    steps.collect()
}

fn needs_options(docker: &Seen, options: &[&str]) -> Problem {
    Problem {
        kind: ProblemKind::Waits,
        host: None,
        what: format!(
            "Docker {} with the nftables backend lets cluster packets in only with {}",
            docker.engine.version,
            options.join(" and ")
        ),
        hint: Some(format!(
            "add them to daemon.json and restart Docker; our mark is {}",
            &accept()[..accept().find(" -m comment").unwrap_or(0)]
        )),
    }
}

fn flushed() -> Problem {
    Problem {
        kind: ProblemKind::Waits,
        host: None,
        what: "Docker's own chain DOCKER-USER is missing: somebody flushed its rules".to_owned(),
        hint: Some(
            "`systemctl reload docker` with live-restore, then `systemctl restart docker`, brings them back"
                .to_owned(),
        ),
    }
}
