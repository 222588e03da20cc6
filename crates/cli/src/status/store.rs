//! How the store of the hosts stands: the inventory, or etcd and this host's lease there.

use byway_api::{InventoryStatus, LeaseStatus};
use jiff::Timestamp;

use super::ago;
use crate::show::{BAD, LOOK, styled};

/// Keys that cannot be read are told up to so many; the rest are counted.
const GARBAGE_TOLD: usize = 3;

/// What somebody should know of it; nothing where all is well and there is no lease.
pub(super) fn lines(inventory: &InventoryStatus, now: Timestamp) -> String {
    let mut text = String::new();
    if let Some(lease) = &inventory.lease {
        text += &lease_lines(&inventory.path, lease, now);
    }
    if let Some(rejected) = &inventory.rejected {
        let (name, what) = match &inventory.lease {
            None => ("inventory:", "is not taken"),
            Some(_) => ("etcd:", "says nothing"),
        };
        text += &format!(
            "{} {} {what} since {}; the last good state stays in force\n  {}\n",
            styled(BAD, name),
            inventory.path,
            ago(rejected.since, now),
            rejected.mistakes.replace('\n', "\n  "),
        );
    }
    text
}

fn lease_lines(path: &str, lease: &LeaseStatus, now: Timestamp) -> String {
    let mut text = String::new();
    let subnets: Vec<String> = lease.subnets.iter().map(ToString::to_string).collect();
    if let (Some(generation), Some(renewed)) = (lease.generation, lease.renewed_at) {
        text += &format!(
            "lease         {} in {path}, start {generation}, renewed {}, good for {} s\n",
            subnets.join(" "),
            ago(renewed, now),
            lease.seconds,
        );
    }
    if let Some(refused) = &lease.refused {
        text += &format!(
            "{} not let in since {}: {}\n",
            styled(BAD, "lease:"),
            ago(refused.since, now),
            refused.mistakes
        );
    }
    for one in &lease.passed_over {
        text += &format!("              {one}\n");
    }
    for one in lease.garbage.iter().take(GARBAGE_TOLD) {
        text += &format!("{} {one} (ignored)\n", styled(LOOK, "etcd has"));
    }
    let more = lease.garbage.len().saturating_sub(GARBAGE_TOLD) + lease.more_garbage;
    if more > 0 {
        text += &format!("{} {more} more keys that cannot be read\n", styled(LOOK, "etcd has"));
    }
    text
}
