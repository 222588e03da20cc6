//! Names for addresses: the containers and hosts that this host's agent knows; on interfaces also the hosts of the
//! inventory and the containers by their cables, so that nothing needs to run.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_api::{SOCKET, Status, client, path};

use super::posts::{Here, named};
use crate::hosts;
use crate::settings::{self, AgentFlags, Common};

/// Which addresses have a name. What is not known stays an address: a capture can be read where nothing else of
/// Byway is.
pub(super) fn known(common: &Common, here: &Here, is_live: bool) -> BTreeMap<IpAddr, String> {
    let inventory = if is_live { listed(common).unwrap_or_default() } else { Vec::new() };
    let told = ask(common).map(|status| names(&status)).unwrap_or_default();
    named(inventory.into_iter().chain(told).chain(here.names()))
}

/// The hosts of the inventory, if there is a good one.
fn listed(common: &Common) -> Option<Vec<(IpAddr, String)>> {
    let config = settings::config(common, &AgentFlags::default()).ok()?;
    let cluster = hosts::read(&config.inventory.value).ok()?.into_cluster();
    Some(cluster.hosts.iter().flat_map(|host| addresses(&host.name, &host.addresses)).collect())
}

fn addresses<'a>(
    name: &'a impl ToString,
    addresses: impl IntoIterator<Item = &'a IpAddr>,
) -> impl Iterator<Item = (IpAddr, String)> {
    addresses.into_iter().map(|address| (*address, name.to_string()))
}

fn ask(common: &Common) -> Option<Status> {
    let config = settings::config(common, &AgentFlags::default()).ok()?;
    let socket = config.run_dir.value.join(SOCKET);
    let runtime = settings::runtime().ok()?;
    runtime.block_on(client::get(&socket, path::STATUS)).ok()
}

fn names(status: &Status) -> Vec<(IpAddr, String)> {
    let hosts = status.hosts.iter().flat_map(|host| addresses(&host.name, &host.addresses));
    let endpoints = status.endpoints.iter();
    hosts.chain(endpoints.flat_map(|one| addresses(&one.container, &one.addresses))).collect()
}
