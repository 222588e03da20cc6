//! `byway render`: the configuration files for those who want no daemon.

use std::path::Path;
use std::process::ExitCode;

use byway_fabric::cluster::Host;
use byway_fabric::render::{Format, RenderedFile, render};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};

use crate::complaint::Advised;
use crate::{hosts, show};

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
}

/// Prints the files for host `host` of the inventory at `path`. `here` finds the interface that has the host's
/// address and the bridges that hold its subnets, where this machine is that host.
pub(crate) fn run(
    args: &RenderArgs,
    path: &Path,
    host: &str,
    json: bool,
    here: impl Fn(&Host) -> (Option<String>, Vec<String>),
) -> anyhow::Result<ExitCode> {
    let inventory = hosts::read(path)?;
    let host = inventory.host(host)?;
    let (found_uplink, found_bridges) = here(host);
    let uplink = args.uplink.clone().or(found_uplink).ok_or_else(|| no_uplink(host))?;
    let bridges = if args.bridges.is_empty() { &found_bridges } else { &args.bridges };
    let files = render(args.format, inventory.cluster(), &host.name, &uplink, bridges)?;
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
