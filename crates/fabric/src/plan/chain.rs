//! Our accepts in Docker's chains: where the engine's contract asks for them, and nowhere else.

use super::Step;
use crate::desired::Desired;
use crate::docker::contract::{Accepts, contract};
use crate::docker::rules::{Place, mend, places};
use crate::docker::{Backend, Seen, SeenChain};
use crate::observed::Observed;

/// What is to do in shared chains.
pub(super) fn steps(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let Some(docker) = &observed.docker else { return Vec::new() };
    let contract = contract(&docker.engine);
    let Some(accepts) = contract.accepts else { return Vec::new() };
    let mut steps = Vec::new();
    for ipv6 in [false, true] {
        let has_containers = desired.holds_containers(ipv6);
        for place in [Place::DockerUser, Place::Raw] {
            let wanted = has_containers && places(accepts).contains(&place);
            // Without ip6tables Docker has no chains for IPv6, and is not in its way.
            let chain = chain(docker, ipv6, place);
            steps.extend(chain.and_then(|chain| step(chain, accepts, wanted, contract.because)));
        }
    }
    steps
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
