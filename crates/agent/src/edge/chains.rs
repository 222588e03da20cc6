//! The chains that Docker shares with others: found with the iptables that Docker itself writes with, and mended.
//!
//! A host can have two iptables that do not see each other's rules. Docker's is the one that has `DOCKER-USER`.

use byway_fabric::docker::rules::accept;
use byway_fabric::docker::{self, Backend, Flavour, Seen, SeenChain};
use byway_fabric::plan::Step;

use super::docker::Engine;
use super::iptables::{self, Chains};
use super::program::{ProgramError, Runs};
use byway_fabric::docker::rules::Place;

/// Lists the tables of iptables-legacy that were ever used; asking the program itself would make them.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// Docker's engine, networks and shared chains.
///
/// # Errors
/// When iptables cannot be run.
pub async fn look(runs: &mut Runs, engine: &Engine) -> Result<Seen, ProgramError> {
    let (backend, chains) = if engine.nftables {
        (Backend::Nftables, Vec::new())
    } else {
        let (flavour, v4) = flavour(runs).await?;
        let v6 = iptables::read(runs, flavour, true).await?;
        let chains = seen(false, v4).into_iter().chain(seen(true, v6)).collect();
        (Backend::Iptables(flavour), chains)
    };
    let engine_seen = docker::Engine { version: engine.version, backend };
    Ok(Seen { engine: engine_seen, networks: engine.networks.clone(), chains })
}

async fn flavour(runs: &mut Runs) -> Result<(Flavour, Chains), ProgramError> {
    let nft = iptables::read(runs, Flavour::Nft, false).await?;
    let legacy_in_use = std::fs::read_to_string(LEGACY_TABLES).is_ok_and(|tables| tables.contains("filter"));
    if nft.contains_key(&Place::DockerUser) || !legacy_in_use {
        return Ok((Flavour::Nft, nft));
    }
    let legacy = iptables::read(runs, Flavour::Legacy, false).await?;
    Ok(if legacy.contains_key(&Place::DockerUser) { (Flavour::Legacy, legacy) } else { (Flavour::Nft, nft) })
}

fn seen(ipv6: bool, chains: Chains) -> Vec<SeenChain> {
    chains.into_iter().map(|(place, rules)| SeenChain { ipv6, place, rules }).collect()
}

/// Does the steps that are about shared chains.
///
/// # Errors
/// The first that was refused; the others are tried all the same.
pub async fn apply(runs: &mut Runs, steps: &[Step]) -> Result<(), ProgramError> {
    let mut first_error = None;
    for step in steps {
        let Step::MendChain { flavour, ipv6, place, delete, insert, .. } = step else { continue };
        let accept = accept();
        let insert = insert.map(|at| (at, accept.as_str()));
        if let Err(error) = iptables::mend(runs, *flavour, *ipv6, *place, delete, insert).await {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}
