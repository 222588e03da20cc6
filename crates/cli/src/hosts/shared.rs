//! The hosts in etcd: shown with how they stand, listed, kept a place for, taken out.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context as _;
use byway_agent::store::{Records, Shared};
use byway_fabric::cluster::{Host, HostName, PublicKey};
use byway_fabric::lease::{self, Registry, SubnetRecord};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::json;

use super::{AddArgs, HostCommand, joined};
use crate::complaint::Advised;
use crate::{settings, show};

/// A host as etcd knows it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    addresses: Vec<std::net::IpAddr>,
    subnets: Vec<IpNet>,
    key: Option<PublicKey>,
    state: State,
}

/// How it stands there.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Its agent keeps its lease.
    There,
    /// Somebody listed it, and its agent has not come.
    Listed,
    /// Its lease has lapsed.
    Gone,
    /// Only a place is kept for it.
    Reserved,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Listed => "listed",
            Self::Gone => "gone",
            Self::Reserved => "reserved",
        }
    }
}

pub(super) fn list(shared: &Shared, json: bool) -> anyhow::Result<ExitCode> {
    let records = settings::runtime()?.block_on(Records::open(shared))?;
    let registry = records.registry();
    let rows = rows(registry);
    let prefixes = registry.cluster.as_ref().map(|cluster| cluster.value.prefixes.clone());
    let (garbage, more) = registry.garbage();
    if json {
        let garbage: Vec<String> = garbage.iter().map(|one| format!("{}: {}", one.key, one.why)).collect();
        show::print_json(
            &json!({ "prefixes": prefixes, "hosts": rows, "garbage": garbage, "more_garbage": more }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let line = |row: &Row| {
        [row.name.clone(), joined(&row.addresses), joined(&row.subnets), row.state.text().to_owned()]
    };
    show::print(&show::table(["HOST", "ADDRESSES", "SUBNETS", "STATE"], rows.iter().map(line)));
    match prefixes {
        Some(prefixes) => show::print(&format!("prefixes: {}\n", joined(&prefixes))),
        None => show::print("this etcd has no cluster yet: `byway store init --prefix …` sets one up\n"),
    }
    for one in &garbage {
        show::print(&format!("{} cannot be read and is ignored: {}\n", one.key, one.why));
    }
    if more > 0 {
        show::print(&format!("{more} more keys cannot be read\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(registry: &Registry) -> Vec<Row> {
    let routed = registry.routed();
    let is_there =
        |name: &HostName| registry.names.get(name).is_some_and(|id| registry.alive.contains_key(&id.value));
    let row = |host: Host| {
        let state = if is_there(&host.name) { State::There } else { State::Listed };
        let Host { name, addresses, subnets, key } = host;
        Row { name: name.to_string(), addresses, subnets, key, state }
    };
    let named: BTreeSet<HostName> = routed.hosts.iter().map(|host| host.name.clone()).collect();
    let gone = registry
        .hosts
        .iter()
        .filter(|(id, host)| !registry.alive.contains_key(id) && !named.contains(&host.value.name));
    let gone = gone.map(|(id, host)| Row {
        name: host.value.name.to_string(),
        addresses: host.value.addresses.clone(),
        subnets: registry.held_by(id).collect(),
        key: host.value.key,
        state: State::Gone,
    });
    let reserved: BTreeSet<&HostName> = registry
        .subnets
        .values()
        .filter_map(|stored| match &stored.value {
            SubnetRecord::Reserved { name } if !named.contains(name) => Some(name),
            _ => None,
        })
        .collect();
    let reserved = reserved.into_iter().map(|name| Row {
        name: name.to_string(),
        addresses: Vec::new(),
        subnets: registry.reserved_for(name).collect(),
        key: None,
        state: State::Reserved,
    });
    let mut rows: Vec<Row> = routed.hosts.iter().cloned().map(row).chain(gone).chain(reserved).collect();
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    rows
}

pub(super) fn edit(command: HostCommand, shared: &Shared, json: bool) -> anyhow::Result<ExitCode> {
    let sentence = settings::runtime()?.block_on(async {
        let mut records = Records::open(shared).await?;
        match command {
            HostCommand::Add(args) => add(&mut records, args).await,
            HostCommand::Key(args) => {
                refuse_dry_run(args.dry_run)?;
                let name = HostName::try_from(args.name)?;
                let mut host = listed(records.registry(), &name)?;
                host.key = Some(args.key);
                let what = format!("give host {name} its key");
                records.change(&what, |registry| lease::list(registry, &host).map(Some)).await?;
                Ok(format!("host {name} has key {}", args.key))
            }
            HostCommand::Remove(args) => {
                refuse_dry_run(args.dry_run)?;
                let name = HostName::try_from(args.name)?;
                let decide = |registry: &Registry| lease::remove(registry, &name).map(Some);
                records.change(&format!("remove host {name}"), decide).await?;
                Ok(format!("removed host {name}; what it held can be given to others"))
            }
        }
    })?;
    if json {
        show::print_json(&json!({ "store": shared.name(), "done": sentence }))?;
    } else {
        show::print(&format!("{sentence}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The text of an inventory can be shown before it is written; etcd's records cannot.
fn refuse_dry_run(dry_run: bool) -> anyhow::Result<()> {
    let what = "there is no text to show of a cluster in etcd".to_owned();
    let advised = Advised { what, hint: "leave out --dry-run".to_owned(), cause: None };
    if dry_run { Err(advised.into()) } else { Ok(()) }
}

async fn add(records: &mut Records, args: AddArgs) -> anyhow::Result<String> {
    refuse_dry_run(args.dry_run)?;
    let AddArgs { name, addresses, subnets, key, .. } = args;
    let what = format!("add host {name}");
    let subnets_of = |registry: &Registry| {
        if subnets.is_empty() { lease::next_free(registry, &name) } else { Ok(subnets.clone()) }
    };
    if addresses.is_empty() {
        let mut kept = Vec::new();
        for subnet in subnets_of(records.registry()).map_err(anyhow::Error::msg)? {
            let decide = |registry: &Registry| lease::reserve(registry, &name, subnet).map(Some);
            records.change(&what, decide).await?;
            kept.push(subnet);
        }
        return Ok(format!("{} is kept for host {name} until it comes", joined(&kept)));
    }
    let host = |subnets| Host { name: name.clone(), addresses: addresses.clone(), subnets, key };
    let decide = |registry: &Registry| lease::list(registry, &host(subnets_of(registry)?)).map(Some);
    records.change(&what, decide).await?;
    let added = listed(records.registry(), &name)?;
    Ok(format!("added host {name} at {} with {}", joined(&added.addresses), joined(&added.subnets)))
}

/// A host that somebody listed.
fn listed(registry: &Registry, name: &HostName) -> anyhow::Result<Host> {
    let host = registry.routed().host(name).cloned();
    host.filter(|_| registry.listed.contains_key(name)).with_context(|| {
        if registry.names.contains_key(name) {
            format!("the agent of host {name} says itself what its key is")
        } else {
            format!("no host is listed as {name}")
        }
    })
}
