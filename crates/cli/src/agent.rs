//! `byway agent`: the agent in the foreground, its log on standard error.

use std::process::ExitCode;

use anyhow::Context as _;
use byway_agent::keep::{self, Settings};
use byway_fabric::config::{Config, Key};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings;

pub(crate) fn run(config: &Config, hands_off: bool) -> anyhow::Result<ExitCode> {
    let settings = Settings { hands_off, ..settings::settings(config)? };
    start_log(&config.log.value)?;
    for key in Key::ALL {
        tracing::debug!("{}", config.sentence(key));
    }
    settings::runtime()?.block_on(keep::run(settings))?;
    Ok(ExitCode::SUCCESS)
}

fn start_log(filter: &str) -> anyhow::Result<()> {
    let targets: Targets = filter.parse().with_context(|| format!("understand the log filter `{filter}`"))?;
    // The journal has its own clock.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let registry = tracing_subscriber::registry().with(targets);
    if journal {
        registry.with(lines.without_time()).init();
    } else {
        registry.with(lines).init();
    }
    Ok(())
}
