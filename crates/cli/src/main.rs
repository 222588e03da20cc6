//! The one binary, `byway`: every subcommand, the agent too.
//!
//! Nothing is decided here: a command asks the agent, or looks once by itself, and renders the answer as text
//! for people or, with `--json`, for programs.

mod agent;
mod ask;
mod capture;
mod complaint;
mod docker;
mod down;
mod hosts;
mod key;
mod lab;
mod mysql;
mod paper;
mod plan;
mod render;
mod settings;
mod show;
mod status;
mod store;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use settings::{AgentFlags, Common};

/// Containers on different Docker hosts reach each other by plain Linux routes.
#[derive(Debug, Parser)]
#[command(name = "byway", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep this host's routes, rules and settings right, in the foreground (for systemd)
    Agent {
        #[command(flatten)]
        flags: AgentFlags,
        /// Only look, and answer what is asked; change nothing on this host
        #[arg(long)]
        hands_off: bool,
    },
    /// Show how this host stands; exit status 1 if somebody should look
    Status {
        /// All hosts of the inventory, each asked over the network with this host's key
        #[arg(long)]
        all: bool,
    },
    /// Show what would be changed on this host, and why; changes nothing
    Plan(AgentFlags),
    /// Print the public key of this host, for the inventory; makes the key if there is none yet
    Key,
    /// Take everything of Byway's out and leave this host as it was found
    Down,
    /// Follow a packet over all hosts of its way, and say where it ended and why
    Trace(trace::TraceArgs),
    /// List the hosts of the inventory, or those in etcd
    Hosts,
    /// Set a cluster up in etcd, or move one from an inventory to etcd or back
    Store {
        #[command(subcommand)]
        command: store::StoreCommand,
    },
    /// Add a host, give it its key, or remove one
    Host {
        #[command(subcommand)]
        command: hosts::HostCommand,
    },
    /// Prepare this host's Docker
    Docker {
        #[command(subcommand)]
        command: docker::DockerCommand,
    },
    /// Print persistent configuration files, for people who want no daemon
    Render(render::RenderArgs),
    /// Show the packets of capture files: a line each, or tshark's fields; writes pcapng
    Capture(Box<capture::CaptureArgs>),
    /// Show the statements of MySQL and MariaDB that pass, with their answers, of interfaces or capture files
    Mysql(Box<mysql::MysqlArgs>),
    /// Hosts and containers made of network namespaces on this machine
    Lab {
        #[command(subcommand)]
        command: lab::Command,
    },
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder
        folder: std::path::PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.common.json;
    run(cli).unwrap_or_else(|error| complaint::print(&error, json))
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let common = &cli.common;
    match cli.command {
        Command::Agent { flags, hands_off } => agent::run(&settings::config(common, &flags)?, hands_off),
        Command::Status { all } => {
            let config = settings::config(common, &AgentFlags::default())?;
            if all { status::run_all(&config, common.json) } else { status::run(&config, common.json) }
        }
        Command::Key => key::run(&settings::config(common, &AgentFlags::default())?, common.json),
        Command::Plan(flags) => {
            // An agent that runs goes by its own flags.
            let ask_agent = flags == AgentFlags::default();
            plan::run(&settings::config(common, &flags)?, ask_agent, common.json)
        }
        Command::Down => down::run(&settings::config(common, &AgentFlags::default())?, common.json),
        Command::Trace(args) => {
            trace::run(&args, &settings::config(common, &AgentFlags::default())?, common.json)
        }
        Command::Hosts => hosts::list(&settings::config(common, &AgentFlags::default())?, common.json),
        Command::Host { command } => {
            hosts::edit(command, &settings::config(common, &AgentFlags::default())?, common.json)
        }
        Command::Store { command } => {
            store::run(command, &settings::config(common, &AgentFlags::default())?, common.json)
        }
        Command::Docker { command } => {
            let settings = settings::settings(&settings::config(common, &AgentFlags::default())?)?;
            docker::run(&command, &settings, common.json)
        }
        Command::Render(args) => {
            let settings = settings::settings(&settings::config(common, &AgentFlags::default())?)?;
            render::run(&args, &settings, common.json)
        }
        Command::Capture(args) => capture::run(&args, common),
        Command::Mysql(args) => mysql::run(&args, common),
        Command::Lab { command } => lab::run(command, common.json),
        Command::Completions { shell } => Ok(paper::completions(shell)),
        Command::Man { folder } => paper::manual(&folder),
    }
}
