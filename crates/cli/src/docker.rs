//! `byway docker …`: prepares this host's Docker.

mod bip;
mod daemon_file;
mod network;
mod options;

use std::process::ExitCode;

use byway_agent::keep::Settings;
use clap::Subcommand;

use crate::hosts;

/// `byway docker …`
#[derive(Debug, Subcommand)]
pub(crate) enum DockerCommand {
    /// Show what docker0 needs in daemon.json to hold this host's subnet; changes nothing without --write
    Bip(daemon_file::FileArgs),
    /// Show the network that holds this host's subnets beside docker0; makes it with --create, no restart needed
    Network(network::NetworkArgs),
    /// Show which options this engine needs to let the cluster through; changes nothing without --write
    Options(daemon_file::FileArgs),
}

pub(crate) fn run(command: &DockerCommand, settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
    let host = || Ok::<_, anyhow::Error>(hosts::known(settings)?.me.clone());
    match command {
        DockerCommand::Bip(args) => bip::run(args, &host()?, settings, json),
        DockerCommand::Network(args) => network::run(args, &host()?, settings, json),
        DockerCommand::Options(args) => options::run(args, settings, json),
    }
}
