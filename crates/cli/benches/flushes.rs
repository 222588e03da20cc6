//! How long a Docker host is without what Byway keeps among others' rules: from the notice that it is broken to the
//! notice that it is whole, on real engines; with iptables-legacy, of which nothing tells, from the deed to the repair.

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

#[path = "repair/ear.rs"]
mod ear;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use byway_lab::{Iptables, Lab, Options, Release, Spread};
use ear::{Ear, NEAR, NFNLGRP_NFTABLES, NFT_NEWGEN, PATIENCE, hear_at_once, run, start};
use nix::libc;
use verdict::{Samples, Sheet, wall};

/// What a repair may take after a notice, in the middle.
const LIMIT: f64 = 100e-3;
/// How long a change of iptables-legacy may stay unseen: the poll, and a look.
const LIMIT_OF_POLL: f64 = 5.5;
/// Changes of iptables-legacy; each costs half a poll in the middle.
const LEGACY_DEEDS: usize = 5;
/// How often iptables-legacy is looked at.
const PACE: Duration = Duration::from_millis(20);

fn main() -> Result<ExitCode> {
    hear_at_once();
    let mut sheet =
        Sheet::new("On Docker hosts: from the notice that it is broken to the notice that it is whole");
    for release in ["20.10", "28.5"] {
        let lab = up(release, Iptables::Nft)?;
        let mut deeds = vec![
            "iptables -F DOCKER-USER",
            "nft insert rule ip filter DOCKER-USER counter return",
            "nft delete table inet byway",
        ];
        deeds.extend((release == "28.5").then_some("iptables -t raw -F"));
        for deed in deeds {
            sheet.limit(&format!("Docker {release}: {deed}"), &repairs(&lab, deed)?, LIMIT);
        }
        let flushed = repairs_of_table(&lab)?;
        sheet.limit(&format!("Docker {release}: nft flush ruleset, our table"), &flushed, LIMIT);
        lab.down()?;
    }
    let lab = up("28.5", Iptables::Legacy)?;
    sheet.limit("Docker 28.5 on iptables-legacy: iptables -t raw -F", &legacy(&lab)?, LIMIT_OF_POLL);
    lab.down()?;
    Ok(sheet.finish())
}

/// Two hosts with that engine, whose containers reach each other.
fn up(release: &str, iptables: Iptables) -> Result<Lab> {
    let release: Release = release.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut topology = Spread { hosts: 2, containers: 1, segments: 1 }.topology().with_engines(&[release]);
    for host in &mut topology.hosts {
        host.engine.as_mut().context("every host has an engine")?.iptables = iptables;
    }
    let lab = Lab::up(&topology, &Options::private(env!("CARGO_BIN_EXE_byway").as_ref()), |_| {})?;
    let address = run_for(&lab, "docker inspect -f '{{.NetworkSettings.IPAddress}}' c41")?;
    let reaches = lab.command("c42", "ping").args(["-n", "-c1", "-i0.2", "-w20", address.trim()]).output()?;
    ensure!(reaches.status.success(), "c42 does not reach {address}");
    Ok(lab)
}

fn run_for(lab: &Lab, script: &str) -> Result<String> {
    let output = lab.command(NEAR, "sh").args(["-ec", script]).output()?;
    ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A deed is one transaction, and so is its repair.
fn repairs(lab: &Lab, script: &str) -> Result<Samples> {
    let ear = Ear::open(lab, libc::NETLINK_NETFILTER, &[NFNLGRP_NFTABLES])?;
    ear.deeds(|| {
        let _deed = start(lab, script)?;
        let broken = ear.until(1, |notice| notice.kind == NFT_NEWGEN)?;
        Ok(ear.until(1, |notice| notice.kind == NFT_NEWGEN)? - broken)
    })
}

/// Everything is flushed; Docker's own rules stay away, ours come back.
fn repairs_of_table(lab: &Lab) -> Result<Samples> {
    /// Subsystem 10, message 0.
    const NFT_NEWTABLE: u16 = 0x0a00;
    let ear = Ear::open(lab, libc::NETLINK_NETFILTER, &[NFNLGRP_NFTABLES])?;
    ear.deeds(|| {
        let _deed = start(lab, "nft flush ruleset")?;
        let broken = ear.until(1, |notice| notice.kind == NFT_NEWGEN)?;
        let is_ours = |body: &[u8]| body.windows(6).any(|bytes| bytes == b"byway\0");
        Ok(ear.until(1, |notice| notice.kind == NFT_NEWTABLE && is_ours(notice.body))? - broken)
    })
}

fn legacy(lab: &Lab) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..LEGACY_DEEDS {
        run(lab, "iptables-legacy -t raw -F")?;
        let begun = wall();
        while !run_for(lab, "iptables-legacy-save -t raw")?.contains("--comment byway ") {
            ensure!(wall() - begun < PATIENCE.as_secs_f64(), "it was not repaired");
            sleep(PACE);
        }
        samples.add(wall() - begun);
    }
    Ok(samples)
}
