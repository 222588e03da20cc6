//! Reads and writes kernel settings below `/proc/sys/net`, of the network namespace of this process.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use byway_fabric::observed::Link;
use byway_fabric::sysctl::Sysctl;

/// A setting that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// It is there and cannot be read.
    #[error("read {sysctl}")]
    Read {
        /// Which.
        sysctl: Sysctl,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// It was not taken.
    #[error("put {sysctl} = {value}")]
    Write {
        /// Which.
        sysctl: Sysctl,
        /// The value.
        value: String,
        /// The reason.
        #[source]
        cause: io::Error,
    },
}

/// The settings that can matter, of the host and of its links that are nobody's port.
///
/// # Errors
/// When one is there and cannot be read. One that this kernel does not have, or whose interface went away
/// meanwhile, is left out.
pub fn read(links: &BTreeMap<u32, Link>) -> Result<BTreeMap<Sysctl, String>, SysctlError> {
    let of_links = links.values().filter(|link| !link.enslaved).flat_map(|link| Sysctl::of_link(&link.name));
    let mut values = BTreeMap::new();
    for sysctl in Sysctl::of_host().chain(of_links) {
        match std::fs::read_to_string(file(&sysctl)) {
            Ok(value) => drop(values.insert(sysctl, value.trim().to_owned())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(SysctlError::Read { sysctl, cause }),
        }
    }
    Ok(values)
}

/// Sets one.
///
/// # Errors
/// [`SysctlError::Write`].
pub fn write(sysctl: &Sysctl, value: &str) -> Result<(), SysctlError> {
    let written = std::fs::write(file(sysctl), value);
    written.map_err(|cause| SysctlError::Write { sysctl: sysctl.clone(), value: value.to_owned(), cause })
}

fn file(sysctl: &Sysctl) -> PathBuf {
    PathBuf::from("/proc/sys").join(sysctl.path())
}
