//! `byway key`: the public key of this host, for the inventory.

use std::io::Write as _;
use std::process::ExitCode;

use byway_agent::key::{self, FILE};
use byway_fabric::config::Config;
use serde_json::json;

use crate::show::{print, print_json};

pub(crate) fn run(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let state_dir = &config.state_dir.value;
    let (identity, is_new) = key::load_or_make(state_dir)?;
    let public = identity.public();
    let file = state_dir.join(FILE);
    if json {
        print_json(&json!({ "key": public, "file": file, "made": is_new }))?;
    } else {
        if is_new {
            // Not on standard output, which goes into an inventory.
            let _ = writeln!(anstream::stderr(), "made a key for this host: {}", file.display());
        }
        print(&format!("{public}\n"));
    }
    Ok(ExitCode::SUCCESS)
}
