//! What a command goes by: flags, then the environment, then the file, then the machine and the defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use byway_agent::edge::docker::Place;
use byway_agent::edge::etcd::{Endpoint, Login, Options, Password, TlsFiles};
use byway_agent::keep::Settings;
use byway_agent::store::Shared;
use byway_fabric::config::{CONFIG_PATH, Config, Key, Layer, Setting, merge};
use byway_fabric::desired::Choices;
use clap::Args;

use crate::complaint::Advised;

/// The longest configuration that is read; thirteen keys and their comments need far less.
const CONFIG_BYTES_MAX: usize = 1 << 20;
/// The longest password that is read.
const PASSWORD_BYTES_MAX: usize = 4096;

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Read the settings from this file [default: /etc/byway/byway.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "BYWAY_CONFIG", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// This host's name in the inventory [default: the machine's host name]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Settings")]
    host: Option<String>,
    /// The inventory [default: /etc/byway/inventory.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    inventory: Option<String>,
    /// The members of etcd that hold the cluster, with commas between [default: none, the hosts are in the inventory]
    #[arg(long, global = true, value_name = "URL,URL", help_heading = "Settings")]
    etcd: Option<String>,
    /// The folder of the agent's socket and lock [default: /run/byway]
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "Settings")]
    run_dir: Option<String>,
    /// The folder of what the agent remembers [default: /var/lib/byway]
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "Settings")]
    state_dir: Option<String>,
}

/// Flags of the agent, and of the commands that look like it does.
#[derive(Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct AgentFlags {
    /// The interface by which peers are neighbours [default: what the routes say]
    #[arg(long, value_name = "INTERFACE")]
    uplink: Option<String>,
    /// A bridge of containers [default: those that hold an address of the host's subnets]
    #[arg(long = "bridge", value_name = "INTERFACE", value_delimiter = ',')]
    bridges: Vec<String>,
    /// A network of Docker that takes part by its name; others do by the label `byway` [default: bridge,byway]
    #[arg(long = "network", value_name = "NAME", value_delimiter = ',')]
    networks: Vec<String>,
    /// A TCP address at which Prometheus may read the metrics, as 127.0.0.1:9172 [default: none]
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<String>,
    /// The safety net: seconds between two looks without a notice [default: 60]
    #[arg(long, value_name = "SECONDS")]
    look_every_seconds: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or levels per target [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
}

/// All settings in force, each with its origin.
pub(crate) fn config(common: &Common, agent: &AgentFlags) -> anyhow::Result<Config> {
    let flags = Layer::from_flags(flags(common, agent)).map_err(|wrong| mistakes("the flags", &wrong))?;
    // BYWAY_CONFIG names the file and BYWAY_BLESS belongs to the tests; neither is a setting.
    let variables = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let variables = variables.filter(|(key, _)| key != "BYWAY_CONFIG" && key != "BYWAY_BLESS");
    let environment = Layer::from_env(variables).map_err(|wrong| mistakes("the environment", &wrong))?;
    let machine =
        nix::unistd::gethostname().ok().and_then(|name| Layer::from_machine(&name.to_string_lossy()).ok());
    Ok(merge([flags, environment, file(common)?, machine.unwrap_or_default()]))
}

fn flags(common: &Common, agent: &AgentFlags) -> Vec<(Key, String)> {
    let list = |names: &[String]| (!names.is_empty()).then(|| names.join(","));
    let (bridges, networks) = (list(&agent.bridges), list(&agent.networks));
    let all = [
        (Key::Host, &common.host),
        (Key::Inventory, &common.inventory),
        (Key::Etcd, &common.etcd),
        (Key::RunDir, &common.run_dir),
        (Key::StateDir, &common.state_dir),
        (Key::Uplink, &agent.uplink),
        (Key::Bridges, &bridges),
        (Key::Networks, &networks),
        (Key::Metrics, &agent.metrics),
        (Key::LookEverySeconds, &agent.look_every_seconds),
        (Key::Log, &agent.log),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
}

/// The settings of the file; only the default one may be missing.
fn file(common: &Common) -> anyhow::Result<Layer> {
    let path = common.config.clone().unwrap_or_else(|| CONFIG_PATH.into());
    match byway_agent::edge::inventory_file::read(&path, CONFIG_BYTES_MAX) {
        Ok(bytes) => Ok(Layer::from_toml_bytes(&path.display().to_string(), &bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && common.config.is_none() => {
            Ok(Layer::default())
        }
        Err(error) => Err(error).with_context(|| format!("read the settings {}", path.display())),
    }
}

fn mistakes(of: &str, wrong: &[String]) -> Advised {
    Advised {
        what: format!("{of}: {}", wrong.join("; ")),
        hint: "docs/configuration.md lists all settings".to_owned(),
        cause: None,
    }
}

/// What an agent goes by.
pub(crate) fn settings(config: &Config) -> anyhow::Result<Settings> {
    let host = config.host.as_ref().ok_or_else(|| Advised {
        what: "this machine has no name that could be a host's".to_owned(),
        hint: "say which host of the inventory it is: `host` in byway.toml, BYWAY_HOST or --host".to_owned(),
        cause: None,
    })?;
    Ok(Settings {
        host: host.value.clone(),
        inventory: config.inventory.value.clone(),
        shared: shared(config)?,
        choices: Choices {
            uplink: config.uplink.as_ref().map(|uplink| uplink.value.clone()),
            bridges: config.bridges.as_ref().map(|bridges| bridges.value.clone()).unwrap_or_default(),
            tunnels: config.tunnel.value,
        },
        run_dir: config.run_dir.value.clone(),
        state_dir: config.state_dir.value.clone(),
        docker: docker(config),
        port: config.port.value,
        metrics: config.metrics.as_ref().map(|at| at.value),
        health: config.health.value,
        look_every: Duration::from_secs(config.look_every_seconds.value),
        hands_off: false,
    })
}

/// Where the hosts are in etcd; none where they are in the inventory.
pub(crate) fn shared(config: &Config) -> anyhow::Result<Option<Shared>> {
    let Some(etcd) = &config.etcd else { return Ok(None) };
    let endpoints = etcd.value.iter().map(|text| text.parse()).collect::<Result<Vec<Endpoint>, _>>()?;
    let path = |setting: &Option<Setting<PathBuf>>| setting.as_ref().map(|path| path.value.clone());
    let identity = match (path(&config.etcd_cert), path(&config.etcd_key)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(half("`etcd-cert` and `etcd-key`").into()),
    };
    let login = match (&config.etcd_user, path(&config.etcd_password_file)) {
        (Some(user), Some(file)) => Some(login(&user.value, &file)?),
        (None, None) => None,
        _ => return Err(half("`etcd-user` and `etcd-password-file`").into()),
    };
    let tls = TlsFiles { ca: path(&config.etcd_ca), identity, server_name: None };
    Ok(Some(Shared {
        options: Options { endpoints, tls, login, prefix: config.etcd_prefix.value.clone() },
        lease: Duration::from_secs(config.lease_seconds.value),
        addresses: config.addresses.as_ref().map(|addresses| addresses.value.clone()).unwrap_or_default(),
    }))
}

fn half(of: &str) -> Advised {
    Advised {
        what: format!("{of} are one without the other"),
        hint: "set both, or none".to_owned(),
        cause: None,
    }
}

/// The password is what is in the file, without the line's end that editors leave.
fn login(user: &str, file: &Path) -> anyhow::Result<Login> {
    let bytes = byway_agent::edge::inventory_file::read(file, PASSWORD_BYTES_MAX)
        .with_context(|| format!("read the password for etcd, {}", file.display()))?;
    let text = String::from_utf8(bytes).with_context(|| format!("read {}", file.display()))?;
    let password = Password(text.trim_end_matches(['\r', '\n']).to_owned());
    Ok(Login { user: user.to_owned(), password })
}

/// Where Docker is.
pub(crate) fn docker(config: &Config) -> Place {
    Place { socket: config.docker_socket.value.clone(), networks: config.networks.value.clone() }
}

/// A small runtime for one conversation, or for the agent.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}
