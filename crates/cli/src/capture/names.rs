//! Names for addresses: the containers and hosts that this host's agent knows; where none runs, the inventory's hosts; on
//! interfaces also the containers by their cables, so that nothing needs to run.
//!
//! What a file brings along says more of its packets than what is known today, and takes the place of these.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_api::{SOCKET, Status, client, path};
use byway_fabric::config::{Config, Origin, Setting};

use super::posts::{Here, named};
use crate::settings::{self, AgentFlags, Common};
use crate::{hosts, show};

/// What is known here. A capture can be read where nothing of Byway is, so only what was told and cannot be read is
/// complained of.
pub(crate) fn known(common: &Common, here: &Here) -> BTreeMap<IpAddr, String> {
    let known = settings::config(common, &AgentFlags::default()).and_then(|config| match ask(&config) {
        Some(status) => Ok(of_agent(&status)),
        None => of_inventory(&config),
    });
    let known = known.unwrap_or_else(|error| {
        show::print_aside(&format!("no names of hosts are known here: {error:#}\n"));
        Vec::new()
    });
    named(known.into_iter().chain(here.names()))
}

fn ask(config: &Config) -> Option<Status> {
    let socket = config.run_dir.value.join(SOCKET);
    let runtime = settings::runtime().ok()?;
    runtime.block_on(client::get(&socket, path::STATUS)).ok()
}

fn of_agent(status: &Status) -> Vec<(IpAddr, String)> {
    let hosts = status.hosts.iter().flat_map(|host| addresses(&host.name, &host.addresses));
    let endpoints = status.endpoints.iter();
    hosts.chain(endpoints.flat_map(|one| addresses(&one.container, &one.addresses))).collect()
}

fn of_inventory(config: &Config) -> anyhow::Result<Vec<(IpAddr, String)>> {
    if config.etcd.is_some() {
        let known = hosts::known(&settings::settings(config)?)?;
        return Ok(known
            .cluster
            .hosts
            .iter()
            .flat_map(|host| addresses(&host.name, &host.addresses))
            .collect());
    }
    let Setting { value: path, origin } = &config.inventory;
    if *origin == Origin::Default && matches!(path.try_exists(), Ok(false)) {
        return Ok(Vec::new());
    }
    let inventory = hosts::read(path)?;
    let hosts = inventory.cluster().hosts.iter();
    Ok(hosts.flat_map(|host| addresses(&host.name, &host.addresses)).collect())
}

fn addresses<'a>(
    name: &'a impl ToString,
    addresses: impl IntoIterator<Item = &'a IpAddr>,
) -> impl Iterator<Item = (IpAddr, String)> {
    addresses.into_iter().map(|address| (*address, name.to_string()))
}
