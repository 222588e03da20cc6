//! `byway docker bip`: gives docker0 this host's subnet, as the seeds did by hand.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use byway_agent::edge::docker::Running;
use byway_agent::keep::Settings;
use byway_fabric::cluster::Host;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::daemon_file::{self, FileArgs, Wanted};

pub(super) fn run(args: &FileArgs, host: &Host, settings: &Settings, json: bool) -> Result<ExitCode> {
    let wanted = Wanted {
        keys: wanted(host)?,
        already: "gives docker0 this host's subnet already",
        restart,
        not_replaced: &[],
    };
    daemon_file::run(args, &wanted, settings, json)
}

/// The keys by which docker0 holds the first subnet of each family; its address is the subnet's first.
fn wanted(host: &Host) -> Result<Vec<(&'static str, Value)>> {
    let subnet = |ipv6: bool| host.subnets.iter().find(|net| net.addr().is_ipv6() == ipv6);
    let mut wanted = Vec::new();
    if let Some(IpNet::V4(v4)) = subnet(false) {
        let gateway = v4.hosts().next().context("a subnet without an address")?;
        wanted.push(("bip", json!(format!("{gateway}/{}", v4.prefix_len()))));
    }
    if let Some(v6) = subnet(true) {
        wanted.extend([("ipv6", json!(true)), ("fixed-cidr-v6", json!(v6.to_string()))]);
    }
    Ok(wanted)
}

/// What must happen so that docker0 has it. dockerd gives docker0 another address only when it starts with no
/// container running; with live-restore and running containers it keeps the old one (tried on 28.5.2).
fn restart(running: Option<&Running>) -> String {
    let how = match running {
        None => "Docker does not run here (or may not be asked): docker0 gets it when Docker starts",
        Some(running) if running.containers.is_empty() => {
            "docker0 gets it after `systemctl restart docker`; no container runs"
        }
        Some(running) if running.live_restore => {
            "docker0 gets it only when Docker starts with no container running, and live-restore keeps them: stop them \
             first, then `systemctl restart docker`"
        }
        Some(_) => "docker0 gets it after `systemctl restart docker`, which stops them",
    };
    format!("{how}\n")
}
