//! Names for addresses: the containers and hosts that this host's agent knows; where none runs, the inventory's hosts.
//!
//! What a file brings along says more of its packets than what is known today, and takes the place of these.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_api::{SOCKET, Status, client, path};
use byway_fabric::cluster::HostName;
use byway_fabric::config::{Config, Origin, Setting};

use crate::settings::{self, AgentFlags, Common};
use crate::{hosts, show};

pub(crate) fn none() -> BTreeMap<IpAddr, String> {
    BTreeMap::new()
}

/// What is known here. A capture can be read where nothing of Byway is, so only what was told and cannot be read is
/// complained of.
pub(crate) fn known(common: &Common) -> BTreeMap<IpAddr, String> {
    let known = settings::config(common, &AgentFlags::default()).and_then(|config| match ask(&config) {
        Some(status) => Ok(of_agent(&status)),
        None => of_inventory(&config),
    });
    known.unwrap_or_else(|error| {
        show::print_aside(&format!("no names of hosts are known here: {error:#}\n"));
        none()
    })
}

fn ask(config: &Config) -> Option<Status> {
    let socket = config.run_dir.value.join(SOCKET);
    let runtime = settings::runtime().ok()?;
    runtime.block_on(client::get(&socket, path::STATUS)).ok()
}

fn of_agent(status: &Status) -> BTreeMap<IpAddr, String> {
    let hosts = status.hosts.iter().flat_map(|host| of_host(&host.name, &host.addresses));
    let containers = status
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().map(|address| (*address, endpoint.container.clone())));
    hosts.chain(containers).collect()
}

fn of_inventory(config: &Config) -> anyhow::Result<BTreeMap<IpAddr, String>> {
    let Setting { value: path, origin } = &config.inventory;
    if *origin == Origin::Default && matches!(path.try_exists(), Ok(false)) {
        return Ok(none());
    }
    let inventory = hosts::read(path)?;
    let hosts = inventory.cluster().hosts.iter();
    Ok(hosts.flat_map(|host| of_host(&host.name, &host.addresses)).collect())
}

fn of_host(name: &HostName, addresses: &[IpAddr]) -> impl Iterator<Item = (IpAddr, String)> {
    addresses.iter().map(|address| (*address, name.as_str().to_owned()))
}
