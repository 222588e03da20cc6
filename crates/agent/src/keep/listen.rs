//! Everything that can wake the agent, as one closed list.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use byway_fabric::cluster::HostName;
use byway_fabric::firewalld::Firewalld;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, sleep_until};

use super::Settings;
use super::damper::Wait;
use crate::edge::docker::{self, Engine};
use crate::edge::firewalld;
use crate::edge::inventory_file::InventoryFile;
use crate::edge::notices::{Listener, Notice};
use crate::error::AgentError;
use crate::health::Lost;
use crate::serve::Ask;
use crate::store::{Store, Told};

/// Notices taken in at one wake; more wait for the next. A burst of this size is one look anyway.
const NOTICES_MAX: usize = 4096;

/// What woke the agent.
pub(super) enum Wake {
    /// The kernel changed.
    Changed(Vec<Notice>),
    /// Docker came, changed its networks or containers, or went.
    Docker(Option<Engine>),
    /// A peer is lost, or its routes are to be tried again.
    Health,
    /// firewalld came, did anything, or went.
    Firewalld(Option<Firewalld>),
    /// The store may say something else, or somebody asks to read it again (`SIGHUP`).
    Store,
    /// Nothing happened for long enough, or something failed.
    Timer,
    /// Routers were found to carry packets of containers to these peers, and to no others.
    Ways(BTreeSet<HostName>),
    /// A command asks.
    Ask(Ask),
    /// The watchdog wants to hear from us.
    Alive,
    /// The name of the signal that ends us.
    Stop(&'static str),
}

/// What the agent listens to.
pub(super) struct Ears {
    rtnetlink: Listener,
    nftables: Listener,
    /// None where the hosts are in etcd.
    inventory_path: Option<PathBuf>,
    inventory: Option<InventoryFile>,
    store: Option<watch::Receiver<Told>>,
    asked: mpsc::Receiver<Ask>,
    docker: watch::Receiver<Option<Engine>>,
    firewalld: watch::Receiver<Option<Firewalld>>,
    ways: watch::Receiver<BTreeSet<HostName>>,
    lost: watch::Receiver<Lost>,
    watchdog: Option<Interval>,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Ears {
    pub(super) fn open(
        settings: &Settings,
        asked: mpsc::Receiver<Ask>,
        ways: watch::Receiver<BTreeSet<HostName>>,
        lost: watch::Receiver<Lost>,
    ) -> Result<Self, AgentError> {
        let listen = |what: &str| {
            let what = what.to_owned();
            move |cause: io::Error| AgentError::Listen { what, cause }
        };
        let (tell, docker) = watch::channel(None);
        tokio::spawn(docker::hear(settings.docker.clone(), tell));
        let (tell, firewalld) = watch::channel(None);
        tokio::spawn(firewalld::hear(tell));
        Ok(Self {
            rtnetlink: Listener::rtnetlink().map_err(listen("rtnetlink"))?,
            nftables: Listener::nftables().map_err(listen("nftables"))?,
            inventory_path: settings.shared.is_none().then(|| settings.inventory.clone()),
            inventory: settings.shared.is_none().then(|| watch_file(&settings.inventory)).flatten(),
            store: None,
            asked,
            docker,
            firewalld,
            ways,
            lost,
            // Twice as often as it must be, so that one late wake is no death.
            watchdog: sd_notify::watchdog_enabled().map(|every| tokio::time::interval(every / 2)),
            hangup: signal(SignalKind::hangup()).map_err(listen("SIGHUP"))?,
            terminate: signal(SignalKind::terminate()).map_err(listen("SIGTERM"))?,
            interrupt: signal(SignalKind::interrupt()).map_err(listen("SIGINT"))?,
        })
    }

    /// Hears what a store tells by itself.
    pub(super) fn hear_store(&mut self, store: &dyn Store) {
        self.store = store.wakes();
    }

    /// Waits for the next reason to wake.
    pub(super) async fn wait(&mut self, wait: Wait) -> Result<Wake, AgentError> {
        let broken = |what: &str, cause| AgentError::Listen { what: what.to_owned(), cause };
        let Self {
            rtnetlink,
            nftables,
            inventory,
            store,
            asked,
            docker,
            firewalld,
            ways,
            lost,
            watchdog,
            hangup,
            terminate,
            interrupt,
            ..
        } = self;
        let kernel = async {
            sleep_until(wait.deaf_until.into()).await;
            tokio::select! {
                notices = rtnetlink.next() => notices,
                notices = nftables.next() => notices,
            }
        };
        let wake = tokio::select! {
            notices = kernel => Wake::Changed(notices.map_err(|cause| broken("the kernel's notices", cause))?),
            () = written(inventory) => Wake::Store,
            () = told(store) => Wake::Store,
            Ok(()) = docker.changed() => Wake::Docker(docker.borrow_and_update().clone()),
            Ok(()) = firewalld.changed() => Wake::Firewalld(firewalld.borrow_and_update().clone()),
            Ok(()) = ways.changed() => Wake::Ways(ways.borrow_and_update().clone()),
            Ok(()) = lost.changed() => {
                lost.mark_unchanged();
                Wake::Health
            }
            Some(ask) = asked.recv() => Wake::Ask(ask),
            () = tick(watchdog) => Wake::Alive,
            _ = hangup.recv() => Wake::Store,
            _ = terminate.recv() => Wake::Stop("SIGTERM"),
            _ = interrupt.recv() => Wake::Stop("SIGINT"),
            () = sleep_until(wait.look_at.into()) => Wake::Timer,
        };
        match wake {
            Wake::Changed(notices) => {
                let notices = self.drain(notices).await;
                notices.map(Wake::Changed).map_err(|cause| broken("the kernel's notices", cause))
            }
            Wake::Timer => {
                // The directory may have gone and come back, which no watch survives.
                self.inventory = self.inventory_path.as_deref().and_then(watch_file);
                Ok(Wake::Timer)
            }
            other => Ok(other),
        }
    }

    /// Takes in what else has been told already, so that a burst is one look.
    async fn drain(&mut self, mut notices: Vec<Notice>) -> io::Result<Vec<Notice>> {
        while notices.len() < NOTICES_MAX {
            tokio::select! {
                biased;
                more = self.rtnetlink.next() => notices.extend(more?),
                more = self.nftables.next() => notices.extend(more?),
                () = std::future::ready(()) => break,
            }
        }
        Ok(notices)
    }
}

/// A watch on the inventory; without one (there is no such directory) the slow timer reads it.
fn watch_file(path: &Path) -> Option<InventoryFile> {
    let watch = InventoryFile::watch(path);
    watch
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "the inventory cannot be watched"),
        )
        .ok()
}

/// Waits until the inventory may have changed; a watch that breaks is a reason to read it, once.
async fn written(inventory: &mut Option<InventoryFile>) {
    let Some(watch) = inventory else { return std::future::pending().await };
    if let Err(error) = watch.changed().await {
        tracing::warn!(%error, "the watch on the inventory broke");
        *inventory = None;
    }
}

/// Waits until a store in etcd has something to tell.
async fn told(store: &mut Option<watch::Receiver<Told>>) {
    let Some(told) = store else { return std::future::pending().await };
    if told.changed().await.is_err() {
        // Its task has ended, which it does only after us.
        *store = None;
    }
}

async fn tick(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
