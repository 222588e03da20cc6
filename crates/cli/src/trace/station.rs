//! The hosts that a trace asks: this one by ourselves, the others by their agents.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use byway_agent::edge::docker;
use byway_agent::keep::Settings;
use byway_agent::store::Store;
use byway_agent::trace::watching::{self, Stopper};
use byway_agent::trace::{self as here, search};
use byway_fabric::cluster::{Cluster, Host, HostName};
use byway_fabric::docker::Endpoint;
use byway_fabric::trace::question::{Answers, Question};
use byway_fabric::trace::watch::{Event, Order, ProbeOrder, ProbeReport};
use byway_fabric::trace::{Found, Search};
use jiff::Timestamp;
use tokio::sync::mpsc;

/// Events of one host that wait for us. What is more is counted by that host as lost.
const EVENTS_MAX: usize = 16_384;

/// The hosts of the cluster.
pub(super) struct Stations {
    pub(super) cluster: Cluster,
    pub(super) me: HostName,
    endpoints: Vec<Endpoint>,
}

/// A host that watches.
pub(super) struct Watching {
    pub(super) host: HostName,
    pub(super) events: mpsc::Receiver<Event>,
    stop: Stopper,
}

impl Watching {
    /// It has seen enough.
    pub(super) fn stop(&self) {
        self.stop.stop();
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.hang_up();
    }
}

impl Stations {
    /// This host, and those that the inventory lists beside it.
    pub(super) async fn open(settings: &Settings) -> Result<Self> {
        let (cluster, me) = cluster(settings)?;
        let endpoints = docker::ask_once(&settings.docker).await.map(|docker| docker.endpoints).unwrap_or_default();
        Ok(Self { cluster, me, endpoints })
    }

    /// Asks a host where things are.
    pub(super) async fn search(&self, host: &HostName, what: Search) -> Result<Found> {
        if *host == self.me {
            let (host, endpoints) = (host.clone(), self.endpoints.clone());
            return Ok(tokio::task::spawn_blocking(move || search::search(&host, &what, &endpoints)).await??);
        }
        anyhow::bail!("the agent of {host} cannot be asked")
    }

    /// Lets a host watch; its first event says whether it does.
    pub(super) async fn watch(&self, host: &HostName, order: Order) -> Result<Watching> {
        let (to_us, events) = mpsc::channel(EVENTS_MAX);
        let stop = Stopper::new().context("make an event file")?;
        if *host == self.me {
            let (endpoints, stopper) = (self.endpoints.clone(), stop.clone());
            tokio::task::spawn_blocking(move || {
                let mut tell = |event| to_us.try_send(event).is_ok();
                if let Err(error) = watching::watch(&order, &endpoints, &stopper, &mut tell) {
                    tracing::warn!(error = byway_agent::error::chain(&error), "watching ended");
                }
            });
            return Ok(Watching { host: host.clone(), events, stop });
        }
        anyhow::bail!("the agent of {host} cannot be asked")
    }

    /// Lets a host send probes.
    pub(super) async fn probe(&self, host: &HostName, order: ProbeOrder) -> Result<ProbeReport> {
        if *host == self.me {
            let endpoints = self.endpoints.clone();
            return Ok(tokio::task::spawn_blocking(move || here::probe(&order, &endpoints)).await??);
        }
        anyhow::bail!("the agent of {host} cannot be asked")
    }

    /// Asks a host how it stands with a packet.
    pub(super) async fn ask(&self, host: &HostName, question: Question) -> Result<Answers> {
        if *host == self.me {
            let endpoints = self.endpoints.clone();
            return Ok(tokio::task::spawn_blocking(move || here::question::answer(&question, &endpoints)).await?);
        }
        anyhow::bail!("the agent of {host} cannot be asked")
    }

    /// The host whose subnets hold an address, or that has it itself.
    pub(super) fn owner_of(&self, address: IpAddr) -> Option<&HostName> {
        let holds = |host: &&Host| {
            host.addresses.contains(&address) || host.subnets.iter().any(|subnet| subnet.contains(&address))
        };
        self.cluster.hosts.iter().find(holds).map(|host| &host.name)
    }

    /// The other hosts.
    pub(super) fn peers(&self) -> impl Iterator<Item = &HostName> {
        self.cluster.hosts.iter().map(|host| &host.name).filter(|name| **name != self.me)
    }
}

/// The hosts of the inventory; without one, this host alone.
fn cluster(settings: &Settings) -> Result<(Cluster, HostName)> {
    if Path::new(&settings.inventory).exists() {
        let store = Store::open(&settings.inventory, &settings.host, None, Timestamp::now())?;
        return Ok((store.cluster().clone(), store.me().name.clone()));
    }
    let me = HostName::try_from(settings.host.to_string())?;
    Ok((Cluster::default(), me))
}

/// What could not be asked, by host.
pub(super) type Silent = BTreeMap<HostName, String>;
