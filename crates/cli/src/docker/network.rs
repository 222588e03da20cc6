//! `byway docker network`: a network of Docker's that holds this host's subnets, beside docker0 and without a
//! restart of Docker.

use std::process::ExitCode;

use anyhow::Result;
use byway_agent::edge::docker::{ask_once, create_network};
use byway_agent::edge::look;
use byway_agent::keep::Settings;
use byway_agent::once::interfaces_of;
use byway_fabric::cluster::Host;
use byway_fabric::docker::new_network::{Found, NewNetwork};
use clap::Args;
use serde_json::json;

use crate::complaint::Advised;
use crate::settings;
use crate::show::{FAINT, GOOD, HEAD, print, print_json, styled};

/// `byway docker network`
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Make it
    #[arg(long)]
    create: bool,
    /// Its name
    #[arg(long, default_value = "byway")]
    name: String,
}

pub(super) fn run(args: &NetworkArgs, host: &Host, settings: &Settings, json: bool) -> Result<ExitCode> {
    let runtime = settings::runtime()?;
    let engine = runtime.block_on(ask_once(&settings.docker)).ok_or_else(|| Advised {
        what: format!("Docker does not answer at {}", settings.docker.socket.display()),
        hint: "start Docker, or say where its socket is: `docker-socket` in byway.toml".to_owned(),
        cause: None,
    })?;
    let (uplink, _) = interfaces_of(host);
    let wanted = NewNetwork::of(host, &args.name, uplink.as_deref().and_then(look::mtu))?;
    let found = wanted.find(&engine.networks)?;
    let made = args.create && found == Found::Missing;
    if made {
        runtime.block_on(create_network(&settings.docker.socket, &wanted))?;
    }
    if json {
        print_json(&json!({ "network": wanted, "there": found == Found::Same, "created": made }))?;
    } else {
        print(&text(&wanted, found, made));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(wanted: &NewNetwork, found: Found, made: bool) -> String {
    let name = &wanted.name;
    if found == Found::Same {
        return format!("{}\n", styled(GOOD, format!("network {name} is there already")));
    }
    let verb = if made { "was made" } else { "would be made" };
    let mut text = format!("{}\n", styled(HEAD, format!("network {name} {verb}")));
    for (subnet, gateway) in &wanted.subnets {
        text += &format!("  {subnet}, this host is {gateway}\n");
    }
    let mtu = wanted.mtu.map_or_else(String::new, |mtu| format!(", MTU {mtu} as the uplink"));
    text += &format!("  bridge {}{mtu}\n", wanted.bridge);
    if !made {
        text += "nothing was done; --create does it\n";
    }
    let use_it = format!(
        "docker run --network {name} …, and in compose.yaml:\n  networks: {{ default: {{ name: {name}, external: true }} }}"
    );
    text + &format!("{}\n", styled(FAINT, use_it))
}
