//! Hears Docker: which engine runs here, which networks and containers it has. Whole lists, never deltas; no Docker on the
//! host is a normal state, and it may come and go.
//!
//! Options that an engine reports are not believed: old engines show options that they ignore. What counts is
//! the version, and the rules that are really there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{
    ContainerSummary, EndpointSettings, Ipam, IpamConfig, Network as Listed, NetworkCreateRequest, SystemInfo,
};
use bollard::query_parameters::EventsOptions;
pub use bollard::{API_DEFAULT_VERSION, ClientVersion};
use byway_fabric::docker::new_network::NewNetwork;
use byway_fabric::docker::{BadVersion, Compose, Endpoint, Network, Version};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::watch;

use super::daemon_options::{self, DaemonOptions};

/// How long one answer may take.
const ANSWER_SECONDS_MAX: u64 = 20;
/// How long we wait before we look for a Docker that was not there: it makes its socket long before it has
/// started, so this is only about hosts where it is started by hand.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// So many refusals in a row are no start that takes its time: they are told.
const REFUSALS_TOLD: u32 = 5;
/// The most networks that are taken in; a host has some tens.
const NETWORKS_MAX: usize = 4096;
/// The most containers that are taken in: a bridge of Linux has 1,024 ports.
const CONTAINERS_MAX: usize = 16_384;
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
    /// The interfaces of its containers in those networks; where they are plugged in is not known yet.
    pub endpoints: Vec<Endpoint>,
    /// What it was told.
    pub options: DaemonOptions,
}

/// Where Docker is, and which of its networks take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its socket.
    pub socket: PathBuf,
    /// The names of the networks that are opted in; others are by their label.
    pub networks: Vec<String>,
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

/// Hears Docker for ever, and tells what it knows: none while there is no Docker.
pub async fn hear(place: Place, tell: watch::Sender<Option<Engine>>) {
    let mut refusals = 0_u32;
    loop {
        if place.socket.exists()
            && let Err(error) = converse(&place, &tell).await
        {
            let error = crate::error::chain(&error);
            refusals = if tell.borrow().is_some() { 0 } else { refusals.saturating_add(1) };
            if refusals == REFUSALS_TOLD {
                tracing::warn!(error, "Docker has a socket but cannot be heard; it is tried again");
            } else {
                tracing::debug!(error, "Docker is not there");
            }
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
    let docker = connect(socket, API_DEFAULT_VERSION).await.ok()?;
    let info = docker.info().await.ok()?;
    let listed = docker.list_containers(None).await.ok()?;
    let name = |names: Option<Vec<String>>| Some(names?.first()?.trim_start_matches('/').to_owned());
    let containers = listed.into_iter().filter_map(|container| name(container.names)).collect();
    Some(Running { containers, live_restore: info.live_restore_enabled.unwrap_or_default() })
}

/// Makes a network.
///
/// # Errors
/// When Docker is not there, or does not make it.
pub async fn create_network(socket: &Path, network: &NewNetwork) -> Result<(), DockerError> {
    let docker = connect(socket, API_DEFAULT_VERSION).await?;
    let config = |(subnet, gateway): &(ipnet::IpNet, std::net::IpAddr)| IpamConfig {
        subnet: Some(subnet.to_string()),
        gateway: Some(gateway.to_string()),
        ..IpamConfig::default()
    };
    let option = |name: &str, value: String| (format!("com.docker.network.{name}"), value);
    let mtu = network.mtu.map(|mtu| option("driver.mtu", mtu.to_string()));
    let request = NetworkCreateRequest {
        name: network.name.clone(),
        driver: Some("bridge".to_owned()),
        enable_ipv6: Some(network.subnets.iter().any(|(subnet, _)| subnet.addr().is_ipv6())),
        ipam: Some(Ipam { config: Some(network.subnets.iter().map(config).collect()), ..Ipam::default() }),
        options: Some([option("bridge.name", network.bridge.clone())].into_iter().chain(mtu).collect()),
        labels: Some([(LABEL.to_owned(), "1".to_owned())].into()),
        ..NetworkCreateRequest::default()
    };
    let made = docker.create_network(request).await;
    made.map(drop).map_err(|cause| DockerError::Ask { what: "a network", cause })
}

/// Asks Docker once; none if it is not there.
pub async fn ask_once(place: &Place) -> Option<Engine> {
    if !place.socket.exists() {
        return None;
    }
    ask_in_version(place, API_DEFAULT_VERSION)
        .await
        .inspect_err(|error| tracing::debug!(error = crate::error::chain(error), "Docker is not there"))
        .ok()
}

/// Asks Docker once, in no later version of its API than that one.
///
/// # Errors
/// When it is not there, or not to be understood.
pub async fn ask_in_version(place: &Place, version: &ClientVersion) -> Result<Engine, DockerError> {
    list(&connect(&place.socket, version).await?, &place.networks).await
}

pub(super) async fn connect(socket: &Path, version: &ClientVersion) -> Result<Docker, DockerError> {
    let ask = |what| move |cause| DockerError::Ask { what, cause };
    let path = socket.display().to_string();
    let docker = Docker::connect_with_unix(&path, ANSWER_SECONDS_MAX, version);
    docker.map_err(ask("a conversation"))?.negotiate_version().await.map_err(ask("its version"))
}

async fn converse(place: &Place, tell: &watch::Sender<Option<Engine>>) -> Result<(), DockerError> {
    let docker = connect(&place.socket, API_DEFAULT_VERSION).await?;
    // The events come before the list: what changes after the list is heard.
    let filters =
        HashMap::from([("type".to_owned(), ["container", "network", "daemon"].map(str::to_owned).to_vec())]);
    let options = EventsOptions { filters: Some(filters), ..EventsOptions::default() };
    let mut events = std::pin::pin!(docker.events(Some(options)));
    loop {
        let engine = list(&docker, &place.networks).await?;
        tell.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&engine);
            *known = Some(engine);
            changed
        });
        let mut event = events.next().await;
        // What else has happened meanwhile is in the same list.
        while let Some(Ok(_)) = event {
            match events.next().now_or_never() {
                Some(next) => event = next,
                None => break,
            }
        }
        match event {
            Some(Ok(_)) => {}
            Some(Err(cause)) => return Err(DockerError::Ask { what: "its events", cause }),
            None => return Err(DockerError::Ended),
        }
    }
}

async fn list(docker: &Docker, opted_in: &[String]) -> Result<Engine, DockerError> {
    let ask = |what| move |cause| DockerError::Ask { what, cause };
    let version = docker.version().await.map_err(ask("its version"))?.version.unwrap_or_default().parse()?;
    let info = docker.info().await.map_err(ask("its settings"))?;
    let networks = docker.list_networks(None).await.map_err(ask("its networks"))?;
    let containers = docker.list_containers(None).await.map_err(ask("its containers"))?;
    let mut networks: Vec<Network> =
        networks.iter().take(NETWORKS_MAX).filter_map(|listed| network(listed, opted_in)).collect();
    let mut endpoints: Vec<Endpoint> =
        containers.iter().take(CONTAINERS_MAX).flat_map(|listed| endpoints_of(listed, &networks)).collect();
    // Docker lists them in any order; what has not changed must be equal.
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    endpoints.sort_by(|one, other| (&one.container, &one.network).cmp(&(&other.container, &other.network)));
    let options = daemon_options::read();
    Ok(Engine { version, nftables: says_nftables(&info), networks, endpoints, options })
}

/// The interfaces of a container in those networks. One that shares a namespace, or has none, has none of its own.
fn endpoints_of(listed: &ContainerSummary, networks: &[Network]) -> Vec<Endpoint> {
    let name = listed.names.as_ref().and_then(|names| names.first()).map(|name| name.trim_start_matches('/'));
    let settings = listed.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let (Some(name), Some(settings)) = (name, settings) else { return Vec::new() };
    let of_network = |(network, settings): (&String, &EndpointSettings)| {
        networks.iter().find(|known| known.name == *network)?;
        let addresses = [&settings.ip_address, &settings.global_ipv6_address];
        let addresses: Vec<_> =
            addresses.into_iter().filter_map(|address| address.as_ref()?.parse().ok()).collect();
        (!addresses.is_empty()).then(|| Endpoint {
            container: name.to_owned(),
            compose: compose(listed),
            network: network.clone(),
            addresses,
            mac: settings.mac_address.clone().unwrap_or_default().to_lowercase(),
            veth: None,
        })
    };
    settings.iter().filter_map(of_network).collect()
}

fn compose(listed: &ContainerSummary) -> Option<Compose> {
    let label = |name: &str| listed.labels.as_ref()?.get(&format!("com.docker.compose.{name}")).cloned();
    Some(Compose { project: label("project")?, service: label("service")? })
}

/// Told since API 1.49; also `nftables+firewalld`.
fn says_nftables(info: &SystemInfo) -> bool {
    let driver = info.firewall_backend.as_ref().and_then(|backend| backend.driver.as_deref());
    driver.is_some_and(|driver| driver.starts_with("nftables"))
}

/// A bridge network; others have no bridge of their own on this host.
fn network(listed: &Listed, opted_in: &[String]) -> Option<Network> {
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
    let opted_in = opted_in.contains(&name) || labelled;
    Some(Network { name, bridge, subnets, internal: listed.internal.unwrap_or_default(), opted_in })
}
