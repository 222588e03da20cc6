//! Who is meant by the words for the two ends of a trace.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use byway_fabric::cluster::HostName;
use byway_fabric::trace::{Cable, Search};
use futures_util::stream::{self, StreamExt as _};

use super::station::{ASKED_AT_ONCE, Stations};
use crate::complaint::Advised;

/// One end as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// On which host.
    pub(super) host: Option<String>,
    /// A name or an address.
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

/// Who that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// The host that has it, or should have it; none for an address outside of the cluster.
    pub(super) host: Option<HostName>,
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// Whether it is the host itself.
    pub(super) is_host: bool,
}

impl Words {
    /// `db`, `db:3306`, `docker42/db:3306`, `172.42.0.2`, `172.42.0.2:80`, `fd00::2`, `[fd00::2]:80`.
    pub(super) fn read(text: &str) -> Result<Self> {
        let plain = |name: &str, port| Self { host: None, name: name.to_owned(), port };
        if text.parse::<IpAddr>().is_ok() {
            return Ok(plain(text, None));
        }
        if let Ok(both) = text.parse::<SocketAddr>() {
            return Ok(plain(&both.ip().to_string(), Some(both.port())));
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| no_port(text, port))?)),
            None => (text, None),
        };
        let (host, name) = match name.split_once('/') {
            Some((host, name)) => (Some(host.to_owned()), name),
            None => (None, name),
        };
        if name.is_empty() || host.as_ref().is_some_and(String::is_empty) {
            return Err(Advised {
                what: format!("{text:?} names nobody"),
                hint: "an end is CONTAINER, HOST/CONTAINER, HOST or an address, and :PORT behind it"
                    .to_owned(),
                cause: None,
            }
            .into());
        }
        Ok(Self { host, name: name.trim_matches(['[', ']']).to_owned(), port })
    }
}

fn no_port(text: &str, port: &str) -> Advised {
    Advised {
        what: format!("{port:?} in {text:?} is no port"),
        hint: "a port is a number from 0 to 65535; an IPv6 address with a port is written [fd00::2]:80"
            .to_owned(),
        cause: None,
    }
}

/// Finds out who is meant.
pub(super) async fn find(words: &Words, stations: &Stations) -> Result<End> {
    if let Ok(address) = words.name.parse() {
        let host = stations.owner_of(address).cloned();
        let is_host = host.as_ref().is_some_and(|host| has(stations, host, address));
        return Ok(End { host, addresses: vec![address], is_host });
    }
    if let Some(host) =
        stations.cluster.hosts.iter().find(|host| host.name.as_str() == words.name && words.host.is_none())
    {
        return Ok(End { host: Some(host.name.clone()), addresses: host.addresses.clone(), is_host: true });
    }
    let found = search(words, stations).await?;
    let Some((host, first)) = found.first() else { return Err(nobody(words, &[]).into()) };
    let cables = found.iter().filter(|(other, cable)| other == host && cable.container == first.container);
    let mut addresses: Vec<IpAddr> = cables.flat_map(|(_, cable)| usable(cable)).collect();
    // Those of the cluster first: a container may be on other networks too.
    addresses.sort_by_key(|address| stations.owner_of(*address) != Some(host));
    Ok(End { host: Some(host.clone()), addresses, is_host: false })
}

/// The containers of that name: here, or else on the other hosts, which are asked at once. On two of them is on none.
async fn search(words: &Words, stations: &Stations) -> Result<Vec<(HostName, Cable)>> {
    let what = Search { containers: vec![words.name.clone()], ..Search::default() };
    let ask = async |host: &HostName| (host.clone(), stations.search(host, what.clone()).await);
    let is_meant = |host: &&HostName| words.host.as_ref().is_none_or(|wanted| wanted == host.as_str());
    let mut silent = Vec::new();
    for hosts in [vec![&stations.me], stations.peers().collect()] {
        let hosts = hosts.into_iter().filter(is_meant);
        let answers: Vec<_> = stream::iter(hosts).map(ask).buffered(ASKED_AT_ONCE).collect().await;
        let mut found: Vec<(HostName, Cable)> = Vec::new();
        for (host, answer) in answers {
            match answer {
                Ok(answer) => found.extend(answer.containers.into_iter().map(|cable| (host.clone(), cable))),
                Err(error) => silent.push(format!("{host}: {error:#}")),
            }
        }
        let mut on: Vec<&HostName> = found.iter().map(|(host, _)| host).collect();
        on.dedup();
        if on.len() > 1 {
            return Err(twins(words, &on).into());
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(nobody(words, &silent).into())
}

fn twins(words: &Words, on: &[&HostName]) -> Advised {
    let on: Vec<&str> = on.iter().map(|host| host.as_str()).collect();
    Advised {
        what: format!("there is a container {} on {}", words.name, on.join(" and on ")),
        hint: format!("say which: {}/{}", on[0], words.name),
        cause: None,
    }
}

fn has(stations: &Stations, host: &HostName, address: IpAddr) -> bool {
    stations.cluster.host(host).is_some_and(|host| host.addresses.contains(&address))
}

fn usable(cable: &Cable) -> Vec<IpAddr> {
    let is_link_local = |address: &IpAddr| match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    cable.addresses.iter().copied().filter(|address| !is_link_local(address)).collect()
}

fn nobody(words: &Words, silent: &[String]) -> Advised {
    let asked = if silent.is_empty() { String::new() } else { format!("; not asked: {}", silent.join("; ")) };
    Advised {
        what: format!("no host or running container is called {}{asked}", words.name),
        hint: "byway status lists the containers of a host, byway hosts the hosts; an address works too"
            .to_owned(),
        cause: None,
    }
}
