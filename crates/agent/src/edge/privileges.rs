//! What this process may do, checked before the first step instead of found out half way.

use caps::{CapSet, Capability};

/// A capability that is missing.
#[derive(Debug, thiserror::Error)]
#[error(
    "this needs the capability CAP_NET_ADMIN, to change routes, rules and settings of this network namespace \
     (run it as root, with sudo, or give it AmbientCapabilities=CAP_NET_ADMIN)"
)]
pub struct MissingCapability;

/// Checks that routes and rules can be changed.
///
/// # Errors
/// When they cannot.
pub fn check() -> Result<(), MissingCapability> {
    match caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN) {
        Ok(true) => Ok(()),
        _ => Err(MissingCapability),
    }
}
