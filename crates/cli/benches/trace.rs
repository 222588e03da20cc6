//! How long people wait for `byway trace` over two hosts: from the command to the verdict, when the probe arrives and
//! when it is dropped.

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use byway_lab::{Lab, Options, Topology};
use verdict::{Samples, Sheet, wall};

const BYWAY: &str = env!("CARGO_BIN_EXE_byway");
/// What a trace that arrives may take.
const LIMIT: f64 = 0.5;
/// What one may take that waits for an answer in vain; a second of it is the wait.
const LIMIT_DROPPED: f64 = 2.0;
/// Traces of each kind.
const TRACES: usize = 20;
/// Who drops, on the other host.
const DROP: &str = "nft 'add table ip mine; add chain ip mine ward { type filter hook forward priority 0; }
                         add rule ip mine ward ip daddr 172.42.0.2 drop'";

fn main() -> Result<ExitCode> {
    let mut sheet = Sheet::new("byway trace over two hosts: from the command to the verdict");
    let lab = Lab::up(&Topology::two_hosts(), &Options::private(BYWAY.as_ref()), |_| {})?;
    for (what, destination) in [("an echo", "172.42.0.2"), ("a connection that is refused", "172.42.0.2:80")]
    {
        sheet.limit_for_all(&format!("{what}, IPv4"), &traces(&lab, destination)?, LIMIT);
    }
    sheet.limit_for_all("an echo, IPv6", &traces(&lab, "fd00:172:42::2")?, LIMIT);
    let dropped = lab.command("docker42", "sh").args(["-ec", DROP]).status()?;
    ensure!(dropped.success(), "docker42 does not take the rule");
    sheet.limit_for_all("an echo that a rule drops", &traces(&lab, "172.42.0.2")?, LIMIT_DROPPED);
    lab.down()?;
    Ok(sheet.finish())
}

fn traces(lab: &Lab, destination: &str) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..TRACES {
        let begun = wall();
        let told = lab.command("docker41", BYWAY).args(["trace", "c41", destination]).output()?;
        samples.add(wall() - begun);
        let told = String::from_utf8_lossy(&told.stdout);
        ensure!(told.contains("\nback\n") || told.contains("was dropped on docker42"), "{told}");
    }
    Ok(samples)
}
