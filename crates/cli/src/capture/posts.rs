//! Where `-i`, `-c` and `--all` listen, and the names of the addresses that are seen there.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_agent::edge::cables::{self, Plugged};
use byway_agent::edge::docker;
use byway_agent::once;
use byway_agent::posts::{self, Post};
use byway_fabric::docker::Endpoint;

use super::Places;
use crate::settings::{self, AgentFlags, Common};

/// What this host's containers are plugged in with, as far as somebody asks for it.
#[derive(Default)]
pub(crate) struct Here {
    plugged: Vec<Plugged>,
    endpoints: Vec<Endpoint>,
}

impl Here {
    /// Looks, if `-c` or `--all` need it; or else for names only, where what cannot be seen stays without a name.
    pub(crate) fn look(places: &Places, common: &Common) -> anyhow::Result<Self> {
        let needed = places.all || !places.containers.is_empty();
        if !needed && (places.interfaces.is_empty() || places.no_names) {
            return Ok(Self::default());
        }
        let config = settings::config(common, &AgentFlags::default())?;
        let asked = settings::runtime()?.block_on(docker::ask_once(&settings::docker(&config)));
        let endpoints = asked.map(|engine| engine.endpoints).unwrap_or_default();
        match cables::list(&endpoints) {
            Ok(plugged) => Ok(Self { plugged, endpoints }),
            Err(error) if needed => Err(error.into()),
            Err(_) => Ok(Self::default()),
        }
    }

    /// The interfaces to listen to, each once.
    pub(crate) fn posts(&self, places: &Places, common: &Common) -> anyhow::Result<Vec<Post>> {
        let mut all: Vec<Post> = places.interfaces.iter().map(|name| Post::here(name)).collect();
        for name in &places.containers {
            all.extend(posts::of_container(name, &self.plugged, &self.endpoints)?);
        }
        if places.all {
            let config = settings::config(common, &AgentFlags::default())?;
            let settings = settings::settings(&config)?;
            let way = settings::runtime()?.block_on(once::on_the_way(&settings))?;
            all.extend(posts::on_the_way(&way, &self.plugged));
        }
        Ok(posts::without_doubles(all))
    }

    /// The containers of this host by their addresses.
    pub(super) fn names(&self) -> impl Iterator<Item = (IpAddr, String)> {
        let cables = self.plugged.iter().map(|one| &one.cable);
        cables.flat_map(|cable| cable.addresses.iter().map(|address| (*address, cable.container.clone())))
    }
}

/// What everybody has and nobody is named by: loopback, and addresses that are made of the hardware's.
pub(super) fn named(names: impl Iterator<Item = (IpAddr, String)>) -> BTreeMap<IpAddr, String> {
    let is_own = |address: &IpAddr| match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    };
    names.filter(|(address, _)| is_own(address)).collect()
}
