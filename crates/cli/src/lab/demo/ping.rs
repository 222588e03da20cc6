//! One ping, by the program that everybody has.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use byway_lab::Lab;

/// The line that tells of the answer; none if there was none within a second.
pub(super) fn ping(lab: &Lab, from: &str, to: IpAddr) -> Result<Option<String>> {
    let output = lab.command(from, "ping").args(["-n", "-c", "1", "-W", "1", &to.to_string()]).output();
    let output = output.context("run ping")?;
    let said = String::from_utf8_lossy(&output.stdout);
    // Exit status 1 is "no answer"; everything else that fails says why.
    if !output.status.success() && output.status.code() != Some(1) && !said.contains("nreachable") {
        let why = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(why.contains("nreachable"), "ping could not be run in {from}: {}", why.trim());
    }
    Ok(said.lines().find(|line| line.contains("bytes from")).map(str::to_owned))
}
