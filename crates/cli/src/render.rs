//! `byway render`: the configuration files for those who want no daemon.

use std::process::ExitCode;

use byway_agent::keep::Settings;
use byway_agent::once::{engine_here, interfaces_of};
use byway_fabric::cluster::Host;
use byway_fabric::docker::{Backend, Engine, Version};
use byway_fabric::render::{Format, RenderedFile, render};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::complaint::Advised;
use crate::{hosts, settings, show};

/// `byway render`
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// Whom the files are for
    #[arg(long, short, value_parser = PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| name.parse::<Format>()))]
    format: Format,
    /// The interface through which the other hosts are reached [default: the one that has the host's address]
    #[arg(long, value_name = "INTERFACE")]
    uplink: Option<String>,
    /// A bridge of containers, as docker0 [default: those that hold the host's subnets]; without any, IPv4
    /// forwarding is switched on for all interfaces
    #[arg(long = "bridge", value_name = "INTERFACE", value_delimiter = ',')]
    bridges: Vec<String>,
    /// For `docker`: the version of the engine [default: the one that runs here]
    #[arg(long, value_name = "VERSION")]
    engine: Option<Version>,
    /// For `docker`: what the engine writes its rules with: iptables-nft, iptables-legacy, nftables, none
    #[arg(long, value_name = "BACKEND", default_value = "iptables-nft", requires = "engine")]
    backend: Backend,
}

/// Prints the files for this host, or for another one of the inventory.
pub(crate) fn run(args: &RenderArgs, settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let known = hosts::known(settings)?;
    let host = &known.me;
    let (found_uplink, found_bridges) = interfaces_of(host);
    let uplink = args.uplink.clone().or(found_uplink).ok_or_else(|| no_uplink(host))?;
    let bridges = if args.bridges.is_empty() { &found_bridges } else { &args.bridges };
    let engine = match args.engine {
        Some(version) => Some(Engine { version, backend: args.backend }),
        None if args.format == Format::Docker => settings::runtime()?.block_on(engine_here(settings)),
        None => None,
    };
    let files = render(args.format, &known.cluster, &host.name, &uplink, bridges, engine.as_ref())?;
    if json {
        show::print_json(&as_json(&files))?;
    } else {
        show::print(&as_text(&files));
    }
    Ok(ExitCode::SUCCESS)
}

fn no_uplink(host: &Host) -> Advised {
    Advised {
        what: format!("no interface of this machine has an address of host {}", host.name),
        hint: "name the host's interface with --uplink".into(),
        cause: None,
    }
}

/// The files one after the other, each below a comment with its path.
fn as_text(files: &[RenderedFile]) -> String {
    files.iter().map(|file| format!("# --- {}\n{}", file.path, file.text)).collect::<Vec<_>>().concat()
}

fn as_json(files: &[RenderedFile]) -> serde_json::Map<String, serde_json::Value> {
    files.iter().map(|file| (file.path.clone(), file.text.clone().into())).collect()
}
