//! The chains that Docker shares with others: found with the iptables that Docker itself writes with, and mended.
//!
//! A host can have two iptables that do not see each other's rules. Docker's is the one that has `DOCKER-USER`.

use byway_fabric::docker::rules::accept;
use byway_fabric::docker::saved::Saved;
use byway_fabric::docker::{self, Backend, Flavour, Seen, SeenChain, Walls, bridges};
use byway_fabric::plan::Step;

use super::docker::Engine;
use super::iptables;
use super::nft::{self, NftError};
use super::program::{ProgramError, Runs};

/// Lists the tables of iptables-legacy that were ever used; asking the program itself would make them.
const LEGACY_TABLES: &str = "/proc/net/ip_tables_names";

/// Docker's engine, networks, shared chains and own rules. `known` is the iptables that it was last seen to write with.
///
/// # Errors
/// When iptables or nft cannot be run.
pub async fn look(runs: &mut Runs, engine: &Engine, known: Option<Flavour>) -> Result<Seen, NftError> {
    let mut rules = Rules::default();
    let backend = if engine.nftables {
        for ipv6 in [false, true] {
            rules.walls.extend(bridges(runs, ipv6).await?);
        }
        Backend::Nftables
    } else {
        let (flavour, v4) = flavour(runs, known).await?;
        if !v4.has_docker_user() && engine.options.iptables == Some(false) {
            Backend::Off
        } else {
            rules.take(v4);
            rules.take(iptables::read(runs, flavour, true).await?);
            Backend::Iptables(flavour)
        }
    };
    Ok(Seen {
        engine: docker::Engine { version: engine.version, backend },
        networks: engine.networks.clone(),
        endpoints: engine.endpoints.clone(),
        no_raw_drops: engine.options.no_raw_drops,
        chains: rules.chains,
        walls: rules.walls,
    })
}

/// What was read of both families.
#[derive(Default)]
struct Rules {
    chains: Vec<SeenChain>,
    walls: Vec<Walls>,
}

impl Rules {
    fn take(&mut self, saved: Saved) {
        self.chains.extend(saved.chains);
        self.walls.extend(saved.walls);
    }
}

/// Where neither has `DOCKER-USER`, somebody has just taken all rules; Docker goes on with the iptables that it knows.
async fn flavour(runs: &mut Runs, known: Option<Flavour>) -> Result<(Flavour, Saved), ProgramError> {
    let nft = iptables::read(runs, Flavour::Nft, false).await?;
    let legacy_in_use = std::fs::read_to_string(LEGACY_TABLES).is_ok_and(|tables| tables.contains("filter"));
    if nft.has_docker_user() || !legacy_in_use {
        return Ok((Flavour::Nft, nft));
    }
    let legacy = iptables::read(runs, Flavour::Legacy, false).await?;
    let is_legacy = legacy.has_docker_user() || known == Some(Flavour::Legacy);
    Ok(if is_legacy { (Flavour::Legacy, legacy) } else { (Flavour::Nft, nft) })
}

/// Docker's own nftables table of one family; none if it is not there.
async fn bridges(runs: &mut Runs, ipv6: bool) -> Result<Option<Walls>, NftError> {
    let family = if ipv6 { "ip6" } else { "ip" };
    let understand = |error: serde_json::Error| NftError::Understand(error.to_string());
    let json = nft::list_table(runs, &[family, bridges::TABLE]).await?;
    json.map(|json| bridges::read(&json, ipv6).map_err(understand)).transpose()
}

/// Does a step that is about a shared chain; there is nothing to do for others.
///
/// # Errors
/// When it was refused.
pub async fn apply(runs: &mut Runs, step: &Step) -> Result<(), ProgramError> {
    let Step::MendChain { flavour, ipv6, place, delete, insert, .. } = step else { return Ok(()) };
    let accept = accept();
    let insert = insert.map(|at| (at, accept.as_str()));
    iptables::mend(runs, *flavour, *ipv6, *place, delete, insert).await
}
