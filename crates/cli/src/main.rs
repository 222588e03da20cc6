//! The one binary, `byway`: every subcommand, the agent too.
//!
//! Nothing is decided here: a command asks the agent, or looks once by itself, and renders the answer as text
//! for people or, with `--json`, for programs.

mod agent;
mod down;
mod plan;
mod settings;
mod show;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Containers on different Docker hosts reach each other by plain Linux routes.
#[derive(Debug, Parser)]
#[command(name = "byway", version, about, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: settings::Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keep this host's routes, rules and settings right, in the foreground (for systemd)
    Agent,
    /// Show how this host stands: hosts, subnets, routes, conflicts, the last change and who made it
    Status,
    /// Show what would be changed on this host, and why; changes nothing
    Plan,
    /// Take everything of Byway's out and leave this host as it was found
    Down,
}

fn main() -> ExitCode {
    // A reader that has seen enough (`byway status | head`) is no error.
    show::end_quietly_on_broken_pipe();
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Agent => agent::run(&cli.common),
        Command::Status => status::run(&cli.common),
        Command::Plan => plan::run(&cli.common),
        Command::Down => down::run(&cli.common),
    };
    outcome.unwrap_or_else(|error| show::error(&error, cli.common.json))
}
