//! Reads and mends the chains that Docker shares with others, with the iptables that Docker itself writes with.
//!
//! A change is one `iptables-restore --noflush`: a transaction per table, so a rule that moves is never missing.

use std::fmt::Write as _;

use byway_fabric::docker::Flavour;
use byway_fabric::docker::rules::Place;
use byway_fabric::docker::saved::{self, Saved};

use super::program::{ProgramError, Runs};

/// Seconds to wait for the lock of iptables-legacy, which Docker takes for moments.
const LOCK_SECONDS: &str = "5";

/// What one family's rules say, of all tables. A table that was never used is not there, and is not made by looking.
///
/// # Errors
/// When iptables cannot be run.
pub async fn read(runs: &mut Runs, flavour: Flavour, ipv6: bool) -> Result<Saved, ProgramError> {
    let text = runs.run(save(flavour, ipv6), &[], "", "list the rules").await?;
    Ok(saved::read(&String::from_utf8_lossy(&text), ipv6))
}

/// Deletes and inserts rules of one chain, in one transaction.
///
/// # Errors
/// When iptables refused; nothing has changed then.
pub async fn mend(
    runs: &mut Runs,
    flavour: Flavour,
    ipv6: bool,
    place: Place,
    delete: &[String],
    insert: Option<(usize, &str)>,
) -> Result<(), ProgramError> {
    let (table, chain) = place.names();
    let mut script = format!("*{table}\n");
    for rule in delete {
        let _ = writeln!(script, "-D {chain} {rule}");
    }
    if let Some((at, rule)) = insert {
        let _ = writeln!(script, "-I {chain} {at} {rule}");
    }
    script.push_str("COMMIT\n");
    let arguments = ["--noflush", "--wait", LOCK_SECONDS];
    runs.run(restore(flavour, ipv6), &arguments, &script, &format!("mend {place}")).await.map(drop)
}

fn save(flavour: Flavour, ipv6: bool) -> &'static str {
    match (flavour, ipv6) {
        (Flavour::Nft, false) => "iptables-nft-save",
        (Flavour::Nft, true) => "ip6tables-nft-save",
        (Flavour::Legacy, false) => "iptables-legacy-save",
        (Flavour::Legacy, true) => "ip6tables-legacy-save",
    }
}

fn restore(flavour: Flavour, ipv6: bool) -> &'static str {
    match (flavour, ipv6) {
        (Flavour::Nft, false) => "iptables-nft-restore",
        (Flavour::Nft, true) => "ip6tables-nft-restore",
        (Flavour::Legacy, false) => "iptables-legacy-restore",
        (Flavour::Legacy, true) => "ip6tables-legacy-restore",
    }
}
