//! `byway docker options`: what an engine must be told so that it lets marked packets through; most need nothing.

use std::process::ExitCode;

use anyhow::Result;
use byway_agent::edge::docker::{Running, ask_once};
use byway_agent::keep::Settings;
use byway_fabric::docker::contract::{MARK, OPTIONS, contract};
use byway_fabric::docker::{Backend, Engine, Flavour};
use serde_json::json;

use super::daemon_file::{self, FileArgs, Wanted};
use crate::complaint::Advised;
use crate::settings;
use crate::show::{GOOD, print, print_json, styled};

pub(super) fn run(args: &FileArgs, settings: &Settings, json: bool) -> Result<ExitCode> {
    let asked = settings::runtime()?.block_on(ask_once(&settings.docker)).ok_or_else(|| Advised {
        what: format!("Docker does not answer at {}", settings.docker.socket.display()),
        hint: "what it needs depends on its version and its firewall backend: start it first".to_owned(),
        cause: None,
    })?;
    // Which iptables it is does not matter here: neither needs an option.
    let backend = if asked.nftables { Backend::Nftables } else { Backend::Iptables(Flavour::Nft) };
    let contract = contract(&Engine { version: asked.version, backend });
    if contract.daemon_options.is_empty() {
        return nothing_needed(&asked.version.to_string(), json);
    }
    let [direct, mark] = OPTIONS;
    let wanted = Wanted {
        keys: vec![(direct, json!(true)), (mark, json!(format!("{MARK:#x}/{MARK:#x}")))],
        already: "has the options that let the cluster through already",
        restart,
        not_replaced: &OPTIONS[1..],
    };
    daemon_file::run(args, &wanted, settings, json)
}

fn nothing_needed(version: &str, json: bool) -> Result<ExitCode> {
    if json {
        print_json(&json!({ "changes": [], "written": false, "backup": null }))?;
    } else {
        let said = format!("Docker {version} writes its rules with iptables and needs no options");
        print(&format!("{}\n", styled(GOOD, said)));
    }
    Ok(ExitCode::SUCCESS)
}

/// What must happen so that they are in force. Docker reads them only when it starts; with live-restore, which a reload
/// switches on, containers go on through that (tried on 28.5.2 and 29).
fn restart(running: Option<&Running>) -> String {
    let how = match running {
        None => "they are in force when Docker starts",
        Some(running) if running.containers.is_empty() => {
            "they are in force after `systemctl restart docker`; no container runs"
        }
        Some(running) if running.live_restore => {
            "they are in force after `systemctl restart docker`; live-restore is on, so containers go on through it"
        }
        Some(_) => {
            "they are in force after `systemctl restart docker`, which stops them; with \"live-restore\": true in the \
             same file and `systemctl reload docker` first, they go on through it"
        }
    };
    format!("{how}\n")
}
