//! The contract with Docker: what stands in the way of cluster packets on an engine, and the least that lets
//! them through.
//!
//! Everything that depends on a version or a backend is in one table, [`contract`]. Docker's own rules are
//! never changed; ours stand beside them, as narrow as subnets, uplinks and bridges allow.

pub mod bridges;
pub mod contract;
pub mod daemon_json;
pub mod new_network;
pub mod rules;
pub mod saved;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A Docker engine, as it says of itself and as its rules show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Its version.
    pub version: Version,
    /// Who writes its rules.
    pub backend: Backend,
}

/// The version of an engine: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(pub u16, pub u16, pub u16);

/// How an engine writes its firewall rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// By `iptables` and `ip6tables` of that flavour.
    Iptables(Flavour),
    /// Into nftables tables of its own (29 and later, `--firewall-backend=nftables`).
    Nftables,
    /// Not at all (`--iptables=false`).
    Off,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iptables(Flavour::Nft) => "iptables-nft",
            Self::Iptables(Flavour::Legacy) => "iptables-legacy",
            Self::Nftables => "nftables",
            Self::Off => "no rules",
        })
    }
}

/// A text that is no backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a backend is one of iptables-nft, iptables-legacy, nftables, none")]
pub struct UnknownBackend;

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        match text {
            "iptables" | "iptables-nft" => Ok(Self::Iptables(Flavour::Nft)),
            "iptables-legacy" => Ok(Self::Iptables(Flavour::Legacy)),
            "nftables" => Ok(Self::Nftables),
            "none" => Ok(Self::Off),
            _ => Err(UnknownBackend),
        }
    }
}

/// Which of the two iptables: they do not see each other's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// `iptables-nft`.
    Nft,
    /// `iptables-legacy`.
    Legacy,
}

/// A network of containers on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The name of its bridge.
    pub bridge: String,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// Made with `--internal`: nothing goes in or out.
    pub internal: bool,
    /// Whether it was opted in: by its name in the settings, or by the label `byway`.
    pub opted_in: bool,
}

/// A container's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The container's name.
    pub container: String,
    /// The project and the service of a container that compose has made.
    pub compose: Option<Compose>,
    /// The name of the network.
    pub network: String,
    /// Its addresses in that network, of each family that the network has.
    pub addresses: Vec<IpAddr>,
    /// Its hardware address, as Docker writes it: `02:42:ac:29:00:02`.
    pub mac: String,
    /// The host's end of its cable; none where the kernel does not tell.
    pub veth: Option<String>,
}

/// What compose says of a container in its labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compose {
    /// `com.docker.compose.project`.
    pub project: String,
    /// `com.docker.compose.service`.
    pub service: String,
}

/// What is seen of Docker on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The engine.
    pub engine: Engine,
    /// Its networks.
    pub networks: Vec<Network>,
    /// The interfaces of the containers that run.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Whether it was told to put no drops in raw (`allow-direct-routing`, `DOCKER_INSECURE_NO_IPTABLES_RAW`).
    #[serde(default)]
    pub no_raw_drops: bool,
    /// The shared chains that exist, in the engine's own iptables.
    pub chains: Vec<SeenChain>,
    /// What is there of its own rules, of each family for which it writes any.
    pub walls: Vec<Walls>,
}

/// What is there of Docker's own rules of one family: ours rely on them, and they keep outsiders out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each says of one table whether something is there")]
pub struct Walls {
    /// Of IPv6.
    pub ipv6: bool,
    /// What is forwarded is asked: FORWARD jumps to `DOCKER-USER`, or Docker's own chain hangs at the hook.
    pub forward: bool,
    /// Published ports are translated.
    pub nat: bool,
    /// What no rule of FORWARD accepts is dropped.
    pub policy_drops: bool,
    /// Bridges whose own rules drop what is not for a published port.
    pub closed: BTreeSet<String>,
    /// Bridges whose own rules accept our mark (`bridge-accept-fwmark`).
    pub marked: BTreeSet<String>,
    /// Drops of everything to a container that does not come from its bridge.
    pub raw_drops: Vec<RawDrop>,
}

/// A drop before routing, for one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawDrop {
    /// The container's address.
    pub to: IpAddr,
    /// The interfaces from which it may be spoken to: its bridge, and trusted ones.
    pub except: BTreeSet<String>,
}

impl Walls {
    /// Whether outsiders are kept out of what is behind a bridge.
    #[must_use]
    pub fn protect(&self, bridge: &str) -> bool {
        self.forward && (self.policy_drops || self.closed.contains(bridge))
    }
}

/// A chain that others write too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenChain {
    /// Of ip6tables.
    pub ipv6: bool,
    /// Which.
    pub place: rules::Place,
    /// Its rules, as `iptables-save` prints them.
    pub rules: Vec<String>,
}

impl Seen {
    /// Its own rules of a family.
    #[must_use]
    pub fn walls(&self, ipv6: bool) -> Option<&Walls> {
        self.walls.iter().find(|walls| walls.ipv6 == ipv6)
    }

    /// Whether its own rules keep outsiders out of what is behind a bridge.
    #[must_use]
    pub fn protects(&self, bridge: &str, ipv6: bool) -> bool {
        self.walls(ipv6).is_some_and(|walls| walls.protect(bridge))
    }

    /// Whether an interface is the bridge of a network that must stay out of reach.
    #[must_use]
    pub fn keeps_out(&self, bridge: &str) -> bool {
        self.networks
            .iter()
            .any(|network| network.bridge == bridge && (network.internal || !network.opted_in))
    }
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the version of an engine")]
pub struct BadVersion(String);

impl FromStr for Version {
    type Err = BadVersion;

    /// Reads `28.5.2`, also with what distributions hang on: `20.10.24+dfsg1`, `29.0.0-rc.1`.
    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(text.chars().take(40).collect());
        let plain = text.split(['+', '-', '~']).next().unwrap_or_default();
        let mut parts = plain.split('.').map(|part| part.parse::<u16>().map_err(|_| bad()));
        let major = parts.next().ok_or_else(bad)??;
        let minor = parts.next().ok_or_else(bad)??;
        Ok(Self(major, minor, parts.next().unwrap_or(Ok(0))?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl TryFrom<String> for Version {
    type Error = BadVersion;

    fn try_from(text: String) -> Result<Self, BadVersion> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (text, version) in [
            ("28.5.2", Version(28, 5, 2)),
            ("20.10.24+dfsg1", Version(20, 10, 24)),
            ("29.0.0-rc.1", Version(29, 0, 0)),
            ("27.5", Version(27, 5, 0)),
        ] {
            assert_eq!(text.parse(), Ok(version), "{text}");
        }
        for text in ["", "docker", "28", "28.x.1", "99999.1.1"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }
}
