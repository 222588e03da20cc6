//! The hosts that a trace asks: this one by ourselves, the others by their agents.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use byway_agent::edge::docker;
use byway_agent::keep::Settings;
use byway_agent::key;
use byway_agent::store;
use byway_agent::trace::watching::{self, Stopper};
use byway_agent::trace::{self as here, search};
use byway_api::identity::Identity;
use byway_api::path;
use byway_api::peer::{Bounds, Peer};
use byway_fabric::cluster::{Cluster, Host, HostName};
use byway_fabric::docker::Endpoint;
use byway_fabric::trace::question::{Answers, Question};
use byway_fabric::trace::watch::{Event, Order, ProbeOrder, ProbeReport, StopOrder};
use byway_fabric::trace::{Found, Search};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};

use crate::complaint::Advised;

/// Events of one host that wait for us; it waits then.
const EVENTS_MAX: usize = 4096;
/// Hosts that are asked at the same time: each takes two sockets at most, and a process has 1024.
pub(super) const ASKED_AT_ONCE: usize = 256;
/// How long a host may take to answer one question.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The hosts of the cluster.
pub(super) struct Stations {
    pub(super) cluster: Cluster,
    pub(super) me: HostName,
    endpoints: Vec<Endpoint>,
    port: u16,
    /// With which the others know us; none if there is no key, which matters only when one is asked.
    identity: Option<Identity>,
}

/// A host that watches.
pub(super) struct Watching {
    pub(super) host: HostName,
    pub(super) events: mpsc::Receiver<Event>,
    stop: Bell,
}

/// How a host is told that all was seen.
enum Bell {
    Here(Stopper),
    There(Option<oneshot::Sender<()>>),
}

impl Watching {
    /// It has seen enough.
    pub(super) fn stop(&mut self) {
        match &mut self.stop {
            Bell::Here(stopper) => stopper.stop(),
            // The task that hears the host tells it.
            Bell::There(stop) => drop(stop.take().map(|stop| stop.send(()))),
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Bell::Here(stopper) = &self.stop {
            stopper.hang_up();
        }
    }
}

impl Stations {
    /// This host, and those that the inventory lists beside it.
    pub(super) async fn open(settings: &Settings) -> Result<Self> {
        let (cluster, me) = cluster(settings)?;
        let endpoints =
            docker::ask_once(&settings.docker).await.map(|docker| docker.endpoints).unwrap_or_default();
        let identity = key::load(&settings.state_dir)?;
        Ok(Self { cluster, me, endpoints, port: settings.port, identity })
    }

    async fn peer(&self, host: &HostName) -> Result<Peer> {
        let host = self.cluster.host(host).with_context(|| format!("{host} is not in the inventory"))?;
        let identity = self.identity.as_ref().ok_or_else(|| Advised {
            what: "this host has no key by which the others could know it".to_owned(),
            hint: "the agent makes it when it starts, and `byway key` does (docs/peers.md)".to_owned(),
            cause: None,
        })?;
        let bounds = Bounds { answer: ANSWER_TIME, ..Bounds::default() };
        Ok(Peer::connect(host, self.port, identity, bounds).await?)
    }

    async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        host: &HostName,
        path: &str,
        body: &B,
    ) -> Result<T> {
        Ok(self.peer(host).await?.post(path, body).await?)
    }

    /// Asks a host where things are.
    pub(super) async fn search(&self, host: &HostName, what: Search) -> Result<Found> {
        if *host != self.me {
            return self.post(host, path::SEARCH, &what).await;
        }
        let (host, endpoints) = (host.clone(), self.endpoints.clone());
        Ok(tokio::task::spawn_blocking(move || search::search(&host, &what, &endpoints)).await??)
    }

    /// Lets a host watch; its first event says whether it does.
    pub(super) async fn watch(&self, host: &HostName, order: Order) -> Result<Watching> {
        let (to_us, events) = mpsc::channel(EVENTS_MAX);
        if *host != self.me {
            let stop = self.watch_there(host, order, to_us).await?;
            return Ok(Watching { host: host.clone(), events, stop: Bell::There(Some(stop)) });
        }
        let stopper = Stopper::new().context("make an event file")?;
        let stop = Bell::Here(stopper.clone());
        tokio::task::spawn_blocking(move || {
            let outcome = watching::watch(&order, &stopper, &mut |event| to_us.blocking_send(event).is_ok());
            if let Err(error) = outcome {
                tracing::warn!(error = byway_agent::error::chain(&error), "watching ended");
            }
        });
        Ok(Watching { host: host.clone(), events, stop })
    }

    async fn watch_there(
        &self,
        host: &HostName,
        order: Order,
        to_us: mpsc::Sender<Event>,
    ) -> Result<oneshot::Sender<()>> {
        let time = Duration::from_millis(order.limits.millis) + ANSWER_TIME;
        let mut second = self.peer(host).await?;
        let mut lines = self.peer(host).await?.stream::<_, Event>(path::WATCH, &order, time).await?;
        let (stop, stopped) = oneshot::channel();
        // It ends when the host has told all, or when nobody takes the events any more: then the connection closes, and
        // the host ends its watch.
        tokio::spawn(async move {
            let hear = async {
                while let Some(Ok(event)) = lines.next().await {
                    if to_us.send(event).await.is_err() {
                        return;
                    }
                }
            };
            let tell = async {
                if stopped.await.is_ok() {
                    drop(second.post::<_, ()>(path::STOP, &StopOrder { id: order.id }).await);
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = hear => {}
                () = tell => {}
            }
        });
        Ok(stop)
    }

    /// Lets a host send probes.
    pub(super) async fn probe(&self, host: &HostName, order: ProbeOrder) -> Result<ProbeReport> {
        if *host == self.me {
            return Ok(tokio::task::spawn_blocking(move || here::probe(&order)).await??);
        }
        let time = Duration::from_millis(order.every_millis) * u32::from(order.count)
            + Duration::from_millis(order.wait_millis)
            + ANSWER_TIME;
        let mut lines = self
            .peer(host)
            .await?
            .stream::<_, Result<ProbeReport, String>>(path::PROBE, &order, time)
            .await?;
        let report = lines.next().await.with_context(|| format!("{host} said nothing"))??;
        report.map_err(|why| anyhow!(why))
    }

    /// Asks a host how it stands with a packet.
    pub(super) async fn ask(&self, host: &HostName, question: Question) -> Result<Answers> {
        if *host != self.me {
            return self.post(host, path::QUESTION, &question).await;
        }
        Ok(tokio::task::spawn_blocking(move || here::question::answer(&question)).await?)
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

/// The hosts as this one knows them; without an inventory, this host alone.
fn cluster(settings: &Settings) -> Result<(Cluster, HostName)> {
    if settings.shared.is_some() || Path::new(&settings.inventory).exists() {
        let known = Arc::clone(store::last_known(settings, Timestamp::now())?.known());
        return Ok((known.cluster.clone(), known.me.name.clone()));
    }
    let me = HostName::try_from(settings.host.to_string())?;
    Ok((Cluster::default(), me))
}

/// What could not be asked, by host.
pub(super) type Silent = BTreeMap<HostName, String>;
