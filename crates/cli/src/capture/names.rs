//! Names for addresses: the containers and hosts that this host's agent knows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_api::{SOCKET, Status, client, path};

use crate::settings::{self, AgentFlags, Common};

pub(crate) fn none() -> BTreeMap<IpAddr, String> {
    BTreeMap::new()
}

/// What the agent knows, if one runs here; a capture can be read where nothing else of Byway is.
pub(crate) fn known(common: &Common) -> BTreeMap<IpAddr, String> {
    ask(common).map(|status| names(&status)).unwrap_or_default()
}

fn ask(common: &Common) -> Option<Status> {
    let config = settings::config(common, &AgentFlags::default()).ok()?;
    let socket = config.run_dir.value.join(SOCKET);
    let runtime = settings::runtime().ok()?;
    runtime.block_on(client::get(&socket, path::STATUS)).ok()
}

fn names(status: &Status) -> BTreeMap<IpAddr, String> {
    let hosts = status
        .hosts
        .iter()
        .flat_map(|host| host.addresses.iter().map(|address| (*address, host.name.as_str().to_owned())));
    let containers = status
        .endpoints
        .iter()
        .flat_map(|endpoint| endpoint.addresses.iter().map(|address| (*address, endpoint.container.clone())));
    hosts.chain(containers).collect()
}
