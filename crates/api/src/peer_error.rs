//! Why another host gave no answer, in words that tell what to do about it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use byway_fabric::cluster::{HostName, PublicKey};

use crate::http::Cause;
use crate::{API, Hello, Refusal};

/// Why there is no answer from another host.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Nobody knows by what it could be known.
    #[error("the inventory has no key for {host}")]
    NoKey {
        /// The host.
        host: HostName,
    },
    /// No connection came about.
    #[error("{host} cannot be reached: {}", list(tries))]
    Unreachable {
        /// The host.
        host: HostName,
        /// Each address that was tried, and what came of it.
        tries: Vec<(SocketAddr, io::Error)>,
    },
    /// Somebody is there who is not the host that was meant, or the host has a new key.
    #[error("{host} at {address} shows key {shown}, but the inventory has key {listed} for it")]
    OtherKey {
        /// The host.
        host: HostName,
        /// Where.
        address: SocketAddr,
        /// The key that was shown.
        shown: PublicKey,
        /// The key that was expected.
        listed: PublicKey,
    },
    /// No TLS came about.
    #[error("agree with {host} at {address} on how to talk")]
    Handshake {
        /// The host.
        host: HostName,
        /// Where.
        address: SocketAddr,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// It said no.
    #[error("{host} refuses: {refusal}")]
    Refused {
        /// The host.
        host: HostName,
        /// Its words.
        refusal: Refusal,
    },
    /// It speaks other versions of the API.
    #[error(
        "{host} has byway {} and speaks versions {} to {} of the API, this byway {} speaks {} to {}",
        theirs.version, theirs.api.0, theirs.api.1, env!("CARGO_PKG_VERSION"), API.0, API.1
    )]
    Version {
        /// The host.
        host: HostName,
        /// What it said of itself.
        theirs: Hello,
    },
    /// It took too long.
    #[error("{host} did not {what} within {:.1} s", after.as_secs_f32())]
    Late {
        /// The host.
        host: HostName,
        /// What it was to do.
        what: String,
        /// How long it had.
        after: Duration,
    },
    /// The conversation broke off, or made no sense.
    #[error("ask {host} for {what}")]
    Ask {
        /// The host.
        host: HostName,
        /// What was asked for.
        what: String,
        /// The reason.
        #[source]
        cause: Cause,
    },
    /// This host's own key cannot be used.
    #[error("use the key of this host")]
    OwnKey(#[from] crate::identity::IdentityError),
}

/// The sorts of [`PeerError`], for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// [`PeerError::NoKey`].
    NoKey,
    /// [`PeerError::Unreachable`].
    Unreachable,
    /// [`PeerError::OtherKey`].
    OtherKey,
    /// [`PeerError::Refused`].
    Refused,
    /// [`PeerError::Version`].
    Version,
    /// [`PeerError::Late`].
    Late,
    /// Everything else.
    Broken,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoKey => "no key",
            Self::Unreachable => "unreachable",
            Self::OtherKey => "other key",
            Self::Refused => "refused",
            Self::Version => "other version",
            Self::Late => "no answer",
            Self::Broken => "broken off",
        })
    }
}

impl PeerError {
    /// What sort of gap it is.
    #[must_use]
    pub fn gap(&self) -> Gap {
        match self {
            Self::NoKey { .. } => Gap::NoKey,
            Self::Unreachable { .. } => Gap::Unreachable,
            Self::OtherKey { .. } => Gap::OtherKey,
            Self::Refused { .. } => Gap::Refused,
            Self::Version { .. } => Gap::Version,
            Self::Late { .. } => Gap::Late,
            Self::Handshake { .. } | Self::Ask { .. } | Self::OwnKey(_) => Gap::Broken,
        }
    }

    /// What to do about it, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoKey { host } => Some(format!(
                "`byway key` prints it on {host}; `byway host key {host} KEY` lists it (docs/peers.md)"
            )),
            Self::Unreachable { host, tries } => {
                tries.first().map(|(address, error)| reach(host, *address, error))
            }
            Self::OtherKey { host, shown, .. } => Some(format!(
                "if {host} was installed anew: `byway host key {host} {shown}`; if not, find out who that is"
            )),
            Self::Refused { refusal, .. } => refusal.hint.clone(),
            Self::Version { .. } => Some("install the same version of byway on both".to_owned()),
            Self::Late { host, .. } => Some(format!("`byway status` on {host} says how its agent stands")),
            Self::Handshake { address, .. } => {
                Some(format!("something else may listen on port {}: `port` in byway.toml", address.port()))
            }
            Self::Ask { .. } | Self::OwnKey(_) => None,
        }
    }
}

fn reach(host: &HostName, address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("no agent listens there: `byway status` on {host} says why"),
        ErrorKind::TimedOut => {
            format!(
                "the host is down, or a firewall drops TCP port {port}: let the other hosts of the cluster in"
            )
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("this host has no way to {}", address.ip())
        }
        _ => format!("see whether TCP port {port} of {} can be reached", address.ip()),
    }
}

fn list(tries: &[(SocketAddr, io::Error)]) -> String {
    let words = |(address, error): &(SocketAddr, io::Error)| format!("{address}: {}", reason(error));
    if tries.is_empty() {
        "it has no address".to_owned()
    } else {
        tries.iter().map(words).collect::<Vec<_>>().join(", ")
    }
}

/// The reason without the number that the standard library adds.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::TimedOut => "no answer in time".to_owned(),
        ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}
