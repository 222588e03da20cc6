//! Which hosts have a real Docker engine, and which one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Host, Topology};

/// Engines in a lab: each takes 120 MB, and a second of a processor to start.
pub const ENGINES_MAX: usize = 32;
/// The longest name of an engine: it is a folder's.
const NAME_BYTES_MAX: usize = 20;

/// The Docker engine of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Where it comes from.
    pub release: Release,
    /// What its iptables rules are made with.
    pub iptables: Iptables,
    /// What is said to dockerd beside `/etc/docker/daemon.json`. It refuses what is said in both.
    pub arguments: Vec<String>,
}

/// Where an engine comes from: `docker` is the one of this machine, anything else the root of that name that
/// `cargo xtask engines` has made, as `20.10` or `28.5`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Release(String);

/// The two programs that are called iptables; the kernel keeps their rules apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Iptables {
    /// In nftables: what Debian and its kin have been using since 2019.
    #[default]
    Nft,
    /// In the older tables, of whose changes the kernel says nothing.
    Legacy,
}

/// Why a text is no release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRelease(String);

impl fmt::Display for BadRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no Docker engine: `docker` for this machine's own, or a release as 28.5", self.0)
    }
}

impl std::error::Error for BadRelease {}

impl Release {
    /// The word for this machine's own engine.
    pub const MACHINE: &str = "docker";

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Release {
    type Err = BadRelease;

    fn from_str(text: &str) -> Result<Self, BadRelease> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let is_number = text.starts_with(|c: char| c.is_ascii_digit());
        let is_name = text.len() <= NAME_BYTES_MAX && text.chars().all(plain);
        if is_name && (is_number || text == Self::MACHINE) {
            return Ok(Self(text.to_owned()));
        }
        Err(BadRelease(text.to_owned()))
    }
}

impl TryFrom<String> for Release {
    type Error = BadRelease;

    fn try_from(text: String) -> Result<Self, BadRelease> {
        text.parse()
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.0
    }
}

impl From<Release> for Engine {
    fn from(release: Release) -> Self {
        Self { release, iptables: Iptables::default(), arguments: Vec::new() }
    }
}

impl Topology {
    /// The same topology with engines, given to the hosts in turn. Docker gives its containers their addresses.
    #[must_use]
    pub fn with_engines(mut self, releases: &[Release]) -> Self {
        for (host, release) in self.hosts.iter_mut().zip(releases.iter().cycle()) {
            host.engine = Some(release.clone().into());
            host.containers.iter_mut().for_each(|container| container.addresses.clear());
        }
        self
    }

    /// The host whose engine runs the container of that name.
    #[must_use]
    pub fn engine_of(&self, container: &str) -> Option<&Host> {
        let mut hosts = self.hosts.iter().filter(|host| host.engine.is_some());
        hosts.find(|host| host.containers.iter().any(|one| one.name == container))
    }
}

impl Host {
    /// What stands in its `/etc/docker/daemon.json` at first: its subnets are docker0's, unless its bridge is
    /// another one, which then is left to be made as a network of Docker.
    #[must_use]
    pub fn daemon_json(&self) -> String {
        let mut keys = serde_json::Map::new();
        for subnet in self.subnets.iter().filter(|_| self.bridge == super::BRIDGE) {
            if subnet.addr().is_ipv6() {
                keys.insert("ipv6".into(), true.into());
                keys.insert("fixed-cidr-v6".into(), subnet.to_string().into());
            } else if let Some(first) = super::nth(subnet, 1) {
                keys.insert("bip".into(), format!("{first}/{}", subnet.prefix_len()).into());
            }
        }
        format!("{:#}\n", serde_json::Value::Object(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    #[test]
    fn engines_are_given_in_turn_and_docker0_holds_the_hosts_subnets() {
        let releases = ["20.10", "28.5"].map(|text| text.parse().unwrap());
        let topology = Topology::two_hosts().with_engines(&releases);
        let given = topology.hosts.iter().map(|host| host.engine.as_ref().unwrap().release.as_str());
        assert_eq!(given.collect::<Vec<_>>(), ["20.10", "28.5"]);
        assert_eq!(topology.flaws(), []);
        assert_eq!(
            topology.hosts[0].daemon_json(),
            "{\n  \"bip\": \"172.41.0.1/16\",\n  \"fixed-cidr-v6\": \"fd00:172:41::/64\",\n  \"ipv6\": true\n}\n"
        );
    }

    #[test]
    fn a_host_with_another_bridge_leaves_docker0_alone() {
        let mut topology = Topology::two_hosts();
        topology.hosts[0].bridge = "byway".into();
        assert_eq!(topology.hosts[0].daemon_json(), "{}\n");
    }

    #[test]
    fn a_release_is_no_path() {
        for text in ["", "..", "../28.5", "28.5/..", "-28", "podman", "123456789012345678901"] {
            assert!(text.parse::<Release>().is_err(), "{text:?}");
        }
        assert_eq!("docker".parse::<Release>().unwrap().as_str(), "docker");
    }
}
