//! Hears Docker: which engine runs here and which networks it has. Whole lists, never deltas; no Docker on the
//! host is a normal state, and it may come and go.
//!
//! Options that an engine reports are not believed: old engines show options that they ignore. What counts is
//! the version, and the rules that are really there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{Network as Listed, SystemInfo};
use bollard::query_parameters::EventsOptions;
use bollard::{API_DEFAULT_VERSION, Docker};
use byway_fabric::docker::{BadVersion, Network, Version};
use futures_util::StreamExt as _;
use tokio::sync::watch;

/// How long one answer may take.
const ANSWER_SECONDS_MAX: u64 = 20;
/// How long we wait before we look for a Docker that was not there: it makes its socket long before it has
/// started, so this is only about hosts where it is started by hand.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The most networks that are taken in; a host has some tens.
const NETWORKS_MAX: usize = 4096;
/// The networks that are opted in by their names.
const OPTED_IN: [&str; 2] = ["bridge", "byway"];
/// The label by which any other network is opted in.
const LABEL: &str = "byway";

/// What Docker says of itself. Its rules are looked at elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engine {
    /// Its version.
    pub version: Version,
    /// Whether it writes nftables itself, as it says.
    pub nftables: bool,
    /// Its bridge networks.
    pub networks: Vec<Network>,
}

/// Why Docker could not be heard.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// It does not answer, or not as we understand it.
    #[error("ask Docker for {what}")]
    Ask {
        /// What was asked for.
        what: &'static str,
        /// The reason.
        #[source]
        cause: bollard::errors::Error,
    },
    /// It says a version that is none.
    #[error("understand which version of Docker this is")]
    Version(#[from] BadVersion),
    /// It ended, or the conversation did.
    #[error("Docker's events ended")]
    Ended,
}

/// Hears Docker at `socket` for ever, and tells what it knows: none while there is no Docker.
pub async fn hear(socket: PathBuf, tell: watch::Sender<Option<Engine>>) {
    loop {
        if socket.exists()
            && let Err(error) = converse(&socket, &tell).await
        {
            tracing::debug!(error = crate::error::chain(&error), "Docker is not there");
        }
        tell.send_if_modified(|known| known.take().is_some());
        if tell.is_closed() {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What runs on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The names of the containers that run.
    pub containers: Vec<String>,
    /// Whether they outlive a restart of the engine.
    pub live_restore: bool,
}

/// What runs on the engine at `socket`; none if it is not there or may not be asked.
pub async fn running(socket: &Path) -> Option<Running> {
    let docker = connect(socket).await.ok()?;
    let info = docker.info().await.ok()?;
    let listed = docker.list_containers(None).await.ok()?;
    let name = |names: Option<Vec<String>>| Some(names?.first()?.trim_start_matches('/').to_owned());
    let containers = listed.into_iter().filter_map(|container| name(container.names)).collect();
    Some(Running { containers, live_restore: info.live_restore_enabled.unwrap_or_default() })
}

/// Asks Docker once; none if it is not there.
pub async fn ask_once(socket: &Path) -> Option<Engine> {
    if !socket.exists() {
        return None;
    }
    let engine = async { list(&connect(socket).await?).await };
    engine
        .await
        .inspect_err(|error| tracing::debug!(error = crate::error::chain(error), "Docker is not there"))
        .ok()
}

async fn connect(socket: &Path) -> Result<Docker, DockerError> {
    let ask = |what| move |cause| DockerError::Ask { what, cause };
    let path = socket.display().to_string();
    let docker = Docker::connect_with_unix(&path, ANSWER_SECONDS_MAX, API_DEFAULT_VERSION);
    docker.map_err(ask("a conversation"))?.negotiate_version().await.map_err(ask("its version"))
}

async fn converse(socket: &Path, tell: &watch::Sender<Option<Engine>>) -> Result<(), DockerError> {
    let docker = connect(socket).await?;
    // The events come before the list: what changes after the list is heard.
    let filters =
        HashMap::from([("type".to_owned(), ["container", "network", "daemon"].map(str::to_owned).to_vec())]);
    let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
    let mut events = std::pin::pin!(docker.events(Some(options)));
    loop {
        let engine = list(&docker).await?;
        tell.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&engine);
            *known = Some(engine);
            changed
        });
        match events.next().await {
            Some(Ok(_)) => {}
            Some(Err(cause)) => return Err(DockerError::Ask { what: "its events", cause }),
            None => return Err(DockerError::Ended),
        }
    }
}

async fn list(docker: &Docker) -> Result<Engine, DockerError> {
    let ask = |what| move |cause| DockerError::Ask { what, cause };
    let version = docker.version().await.map_err(ask("its version"))?.version.unwrap_or_default().parse()?;
    let info = docker.info().await.map_err(ask("its settings"))?;
    let listed = docker.list_networks(None).await.map_err(ask("its networks"))?;
    let networks = listed.iter().take(NETWORKS_MAX).filter_map(network).collect();
    Ok(Engine { version, nftables: says_nftables(&info), networks })
}

/// Told since API 1.49; also `nftables+firewalld`.
fn says_nftables(info: &SystemInfo) -> bool {
    let driver = info.firewall_backend.as_ref().and_then(|backend| backend.driver.as_deref());
    driver.is_some_and(|driver| driver.starts_with("nftables"))
}

/// A bridge network; others have no bridge of their own on this host.
fn network(listed: &Listed) -> Option<Network> {
    if listed.driver.as_deref() != Some("bridge") {
        return None;
    }
    let name = listed.name.clone()?;
    let bridge = listed.options.as_ref().and_then(|options| options.get("com.docker.network.bridge.name"));
    let bridge = bridge.cloned().or_else(|| Some(format!("br-{}", listed.id.as_ref()?.get(..12)?)))?;
    let configs = listed.ipam.as_ref().and_then(|ipam| ipam.config.as_ref()).into_iter().flatten();
    let subnets = configs.filter_map(|config| config.subnet.as_ref()?.parse().ok()).collect();
    let labelled =
        listed.labels.as_ref().and_then(|labels| labels.get(LABEL)).is_some_and(|value| value != "false");
    let opted_in = OPTED_IN.contains(&name.as_str()) || labelled;
    Some(Network { name, bridge, subnets, internal: listed.internal.unwrap_or_default(), opted_in })
}
