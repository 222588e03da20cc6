//! The contract with an engine as a script: what the agent keeps, put there once.

use super::{Format, Picture, RenderError, RenderedFile, nft};
use crate::cluster::Cluster;
use crate::docker::contract::{Accepts, MARK, OPTIONS, contract};
use crate::docker::rules::{Place, accept, places};
use crate::docker::{Engine, Flavour};
use crate::observed::RESERVED_METRIC;

const PATH: &str = "/usr/local/sbin/byway-docker";

pub(super) fn files(
    picture: &Picture<'_>,
    cluster: &Cluster,
    engine: Option<&Engine>,
) -> Result<Vec<RenderedFile>, RenderError> {
    let engine = engine.ok_or(RenderError::NeedsEngine)?;
    let contract = contract(engine);
    let mut text = format!(
        "\
#!/bin/sh
# What lets the other hosts reach the containers of {host} past Docker {version} ({backend}), by `byway render --format {format}`:
# {because}.
# May be run again. A reboot forgets it, and so does a flush of rules: run it whenever Docker has started.
set -e

",
        host = picture.host.name,
        version = engine.version,
        backend = engine.backend,
        format = Format::Docker,
        because = contract.because,
    );
    if !contract.daemon_options.is_empty() {
        text += &options();
    }
    text += &format!("nft -f - <<'TABLE'\n{}TABLE\n", nft::table_text(picture, cluster)?);
    text += &contract.accepts.map(accepts).unwrap_or_default();
    text += &reservations(cluster);
    Ok(vec![RenderedFile { path: PATH.to_owned(), text }])
}

/// What no script can do.
fn options() -> String {
    let [direct, mark] = OPTIONS;
    format!(
        "# Docker must be started with these in /etc/docker/daemon.json (`byway docker options --write` puts them there):\n\
         #   \"{direct}\": true, \"{mark}\": \"{MARK:#x}/{MARK:#x}\"\n\n"
    )
}

fn accepts(accepts: Accepts) -> String {
    let accept = accept();
    let [v4, v6] = match accepts.flavour {
        Flavour::Nft => ["iptables-nft", "ip6tables-nft"],
        Flavour::Legacy => ["iptables-legacy", "ip6tables-legacy"],
    };
    let mut text = format!(
        r#"
# Docker's own chain for others: behind the admin's rules, before the RETURN with which engines to 28.1 end it.
user() {{
    "$1" -S DOCKER-USER >/dev/null 2>&1 || return 0
    while "$1" -D DOCKER-USER {accept} 2>/dev/null; do :; done
    at=$("$1" -S DOCKER-USER | grep -n -x -m1 -e '-A DOCKER-USER -j RETURN' | cut -d: -f1)
    if [ -n "$at" ]; then
        "$1" -I DOCKER-USER "$((at - 1))" {accept}
    else
        "$1" -A DOCKER-USER {accept}
    fi
}}
user {v4}
user {v6}
"#
    );
    if places(accepts).contains(&Place::Raw) {
        text += &format!(
            r#"
# Before Docker's drops, which it only appends.
raw() {{
    while "$1" -t raw -D PREROUTING {accept} 2>/dev/null; do :; done
    "$1" -t raw -I PREROUTING {accept}
}}
raw {v4}
raw {v6}
"#
        );
    }
    text
}

fn reservations(cluster: &Cluster) -> String {
    let subnets = cluster.hosts.iter().flat_map(|host| &host.subnets).filter(|net| net.addr().is_ipv4());
    let line = |net| {
        format!("ip route replace unreachable {net} scope link metric {RESERVED_METRIC} proto static\n")
    };
    let lines: String = subnets.map(line).collect();
    format!("\n# Docker gives subnets with such a route to no network by itself.\n{lines}")
}
