//! What every command must know: flags, then the environment, then the file, then the defaults.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use byway_agent::keep::Settings;
use byway_fabric::cluster::HostName;
use byway_fabric::desired::Choices;
use clap::Args;

/// Flags of every command.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[arg(long, global = true, value_name = "NAME", hide = true)]
    host: Option<String>,
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    inventory: Option<PathBuf>,
}

pub(crate) fn agent(common: &Common) -> anyhow::Result<(Settings, String)> {
    let host = match &common.host {
        Some(name) => name.clone(),
        None => nix::unistd::gethostname()
            .context("ask for the name of this host")?
            .to_string_lossy()
            .into_owned(),
    };
    let settings = Settings {
        host: HostName::try_from(host)?,
        inventory: common.inventory.clone().unwrap_or_else(|| "/etc/byway/inventory.toml".into()),
        choices: Choices::default(),
        run_dir: "/run/byway".into(),
        state_dir: "/var/lib/byway".into(),
        look_every: Duration::from_secs(60),
    };
    Ok((settings, "info".to_owned()))
}

/// A small runtime for one conversation, or for the agent.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}
