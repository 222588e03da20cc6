//! Moves a cluster from an inventory to etcd, or back, while it runs.
//!
//! The hosts are written to where they go first; then they go over one by one. Until the last one has, each store lists
//! them all: who has gone over is still routed to by those who have not, and the other way round.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use byway_agent::store::{Records, Shared};
use byway_fabric::cluster::{Cluster, Host};
use byway_fabric::inventory::edit::{self, NewHost};
use byway_fabric::lease::{self, ClusterRecord, Lengths, Registry};
use ipnet::IpNet;

use crate::complaint::Advised;
use crate::hosts;

pub(super) async fn to_etcd(
    inventory: &Path,
    prefixes: &[IpNet],
    shared: &Shared,
) -> anyhow::Result<Vec<String>> {
    let cluster = hosts::read(inventory)?.into_cluster();
    let record = ClusterRecord { prefixes: chosen(prefixes, &cluster)?, subnet_lengths: lengths(&cluster)? };
    let mut records = Records::open(shared).await?;
    let decide = |registry: &Registry| match &registry.cluster {
        // It was set up before, perhaps with more prefixes; whether the hosts fit is seen host by host.
        Some(_) => Ok(None),
        None => lease::set_up(registry, &record),
    };
    records.change("set the cluster up", decide).await?;
    let mut lines = Vec::new();
    for host in &cluster.hosts {
        let what = format!("list host {}", host.name);
        let is_new = records.change(&what, |registry| move_in(registry, host)).await?;
        let verb = if is_new { "listed" } else { "is there already:" };
        lines.push(format!("{verb} host {} with {}", host.name, joined(&host.subnets)));
    }
    lines
        .push(format!("now, on one host after the other: set `etcd = {}` in byway.toml,", endpoints(shared)));
    lines.push(
        "and restart its agent; the others route to it all the time, and its containers stay".to_owned(),
    );
    Ok(lines)
}

/// Lists a host as it is, unless its agent has entered or it is listed so already.
fn move_in(registry: &Registry, host: &Host) -> Result<Option<lease::Transaction>, String> {
    if registry.routed().host(&host.name) == Some(host) {
        return Ok(None);
    }
    lease::list(registry, host).map(Some)
}

fn chosen(prefixes: &[IpNet], cluster: &Cluster) -> anyhow::Result<Vec<IpNet>> {
    if !prefixes.is_empty() {
        return Ok(prefixes.to_vec());
    }
    if cluster.prefixes.is_empty() {
        return Err(Advised {
            what: "the inventory does not say which prefixes all subnets lie in".to_owned(),
            hint: "say --prefix, one for each family".to_owned(),
            cause: None,
        }
        .into());
    }
    Ok(cluster.prefixes.clone())
}

/// In etcd all subnets of a family are equally long: one key decides whose each is.
fn lengths(cluster: &Cluster) -> anyhow::Result<Lengths> {
    let mut lengths = Lengths::default();
    for (is_ipv4, length) in [(true, &mut lengths.ipv4), (false, &mut lengths.ipv6)] {
        let subnets = cluster.hosts.iter().flat_map(|host| &host.subnets);
        let mut subnets = subnets.filter(|subnet| subnet.addr().is_ipv4() == is_ipv4);
        let Some(first) = subnets.next() else { continue };
        if let Some(other) = subnets.find(|other| other.prefix_len() != first.prefix_len()) {
            bail!("in etcd all subnets of a family are equally long, and {first} and {other} are not");
        }
        *length = first.prefix_len();
    }
    Ok(lengths)
}

pub(super) async fn to_file(shared: &Shared, inventory: &Path) -> anyhow::Result<Vec<String>> {
    let mut records = Records::open(shared).await?;
    let cluster = records.registry().routed();
    if cluster.hosts.is_empty() {
        bail!("there is no host in {}", shared.name());
    }
    let text = text(&cluster, inventory)?;
    for host in &cluster.hosts {
        let what = format!("keep host {} listed", host.name);
        records.change(&what, |registry| Ok(lease::keep_listed(registry, host))).await?;
    }
    write_new(inventory, &text)?;
    Ok(vec![
        format!("wrote {} hosts to {}", cluster.hosts.len(), inventory.display()),
        "now: copy it to all hosts; then, on one host after the other: take `etcd` out of byway.toml,"
            .to_owned(),
        "and restart its agent; the others route to it all the time, and its containers stay".to_owned(),
    ])
}

fn text(cluster: &Cluster, inventory: &Path) -> anyhow::Result<String> {
    let file = inventory.display().to_string();
    let prefixes: Vec<String> = cluster.prefixes.iter().map(|prefix| format!("\"{prefix}\"")).collect();
    let mut text = format!("[cluster]\nprefixes = [{}]\n", prefixes.join(", "));
    for host in &cluster.hosts {
        let Host { name, addresses, subnets, key } = host.clone();
        let new = NewHost { name, addresses, subnets: Some(subnets), key };
        text = edit::add(&file, &text, new)?.text;
    }
    Ok(text)
}

/// Writes an inventory where there is none: what is there is somebody's work.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = std::fs::File::create_new(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    match write() {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Advised {
            what: format!("there is an inventory {} already", path.display()),
            hint: "move it away, or name another file with --inventory".to_owned(),
            cause: None,
        }
        .into()),
        done => done.with_context(|| format!("write {}", path.display())),
    }
}

fn endpoints(shared: &Shared) -> String {
    let list: Vec<String> = shared.options.endpoints.iter().map(|one| format!("\"{one}\"")).collect();
    format!("[{}]", list.join(", "))
}

fn joined(subnets: &[IpNet]) -> String {
    subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
