//! The same routes as files for those who want no daemon: what other network programs read at boot.
//!
//! Knows each program's syntax and nothing of this machine. Routes go to a host's own address and only within
//! a family: a host without an address of a family is named in a comment instead of being left out silently.
//!
//! One file per program, each with one function from a picture of the cluster to files.

mod debian;
mod docker;
mod forwarding;
mod netplan;
mod networkd;
mod nft;
mod redhat;
mod shell;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::cluster::{Cluster, Host, HostName};
use crate::docker::Engine;
use crate::inventory::Family;
use crate::toml_text::quoted;

/// Whom the files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A shell script of `ip` and `sysctl` commands that may be run again.
    Ip,
    /// systemd-networkd: a drop-in for the uplink's `.network` file.
    Networkd,
    /// Red Hat network-scripts: `route-<iface>` and `route6-<iface>`.
    Ifcfg,
    /// Netplan: a YAML file.
    Netplan,
    /// Debian ifupdown, the reader of `/etc/network/interfaces`: a script in `if-up.d`.
    Interfaces,
    /// nftables: the table that lets cluster traffic through.
    Nft,
    /// Docker: a shell script with that table, and with what an engine asks for beside it.
    Docker,
}

impl Format {
    /// All formats, in the order in which they are documented.
    pub const ALL: [Self; 7] =
        [Self::Ip, Self::Networkd, Self::Ifcfg, Self::Netplan, Self::Interfaces, Self::Nft, Self::Docker];

    /// Its name, as a user writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Networkd => "networkd",
            Self::Ifcfg => "ifcfg",
            Self::Netplan => "netplan",
            Self::Interfaces => "interfaces",
            Self::Nft => "nft",
            Self::Docker => "docker",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or(UnknownFormat)
    }
}

/// A text that is not the name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a format is one of ip, networkd, ifcfg, netplan, interfaces, nft, docker")]
pub struct UnknownFormat;

/// A file, and where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// The path at which its reader looks for it.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// Why there are no files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The host is none of the cluster's.
    #[error("host {name} is not in the cluster")]
    UnknownHost {
        /// The name.
        name: HostName,
    },
    /// The kernel may know such an interface, but a name like this is not safe in scripts and files.
    #[error("{} cannot be written as an interface into configuration files", quoted(name))]
    Interface {
        /// The name.
        name: String,
    },
    /// The firewall rules are about a bridge.
    #[error("the firewall rules need the name of the containers' bridge")]
    NeedsBridge,
    /// What Docker asks for depends on which it is.
    #[error("what Docker asks for depends on its version, and no Docker answers here")]
    NeedsEngine,
}

impl RenderError {
    /// What to do about it, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Interface { .. } => Some("letters, digits and . _ - + @ are safe, up to 15 of them"),
            Self::NeedsBridge => Some("name it with --bridge, for instance --bridge docker0"),
            Self::NeedsEngine => Some("say which: --engine 28.5.2, and --backend if it is not iptables-nft"),
            Self::UnknownHost { .. } => None,
        }
    }
}

/// Writes the files that give `host` its routes, through `uplink`, and let packets pass between it and `bridges`.
///
/// `engine` is the Docker that runs there; only [`Format::Docker`] asks for it.
///
/// Without bridges, IPv4 forwarding is switched on for all interfaces, not only for those that need it.
///
/// # Errors
/// When the host is none of the cluster's, or an interface has a name that is not safe in files.
pub fn render(
    format: Format,
    cluster: &Cluster,
    host: &HostName,
    uplink: &str,
    bridges: &[String],
    engine: Option<&Engine>,
) -> Result<Vec<RenderedFile>, RenderError> {
    let picture = Picture::new(cluster, host, uplink, bridges)?;
    match format {
        Format::Ip => Ok(shell::files(&picture)),
        Format::Networkd => Ok(networkd::files(&picture)),
        Format::Ifcfg => Ok(redhat::files(&picture)),
        Format::Netplan => Ok(netplan::files(&picture)),
        Format::Interfaces => Ok(debian::files(&picture)),
        Format::Nft => nft::files(&picture, cluster),
        Format::Docker => docker::files(&picture, cluster, engine),
    }
}

/// All that the files say.
struct Picture<'a> {
    host: &'a Host,
    uplink: &'a str,
    bridges: &'a [String],
    entries: Vec<Entry>,
}

/// A route, or a sentence where there cannot be one.
enum Entry {
    Route { to: IpNet, via: IpAddr },
    Note { family: Family, text: String },
}

impl Entry {
    fn family(&self) -> Family {
        match self {
            Self::Route { via, .. } => Family::of(*via),
            Self::Note { family, .. } => *family,
        }
    }
}

impl<'a> Picture<'a> {
    fn new(
        cluster: &'a Cluster,
        name: &HostName,
        uplink: &'a str,
        bridges: &'a [String],
    ) -> Result<Self, RenderError> {
        for interface in bridges.iter().map(String::as_str).chain([uplink]) {
            check_interface(interface)?;
        }
        let host = cluster.host(name).ok_or_else(|| RenderError::UnknownHost { name: name.clone() })?;
        let others: Vec<&Host> = cluster.hosts.iter().filter(|other| other.name != *name).collect();
        let entries = Family::BOTH.iter().flat_map(|family| entries(host, &others, *family)).collect();
        Ok(Self { host, uplink, bridges, entries })
    }

    /// Every route as `write` makes it and every note as a comment, each with its newline.
    fn lines(&self, family: Option<Family>, write: impl Fn(&IpNet, &IpAddr) -> String) -> String {
        let entries =
            self.entries.iter().filter(|entry| family.is_none_or(|family| family == entry.family()));
        let line = |entry: &Entry| match entry {
            Entry::Route { to, via } => write(to, via) + "\n",
            Entry::Note { text, .. } => format!("# {text}\n"),
        };
        entries.map(line).collect()
    }

    fn has_routes(&self, family: Family) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Route { .. }) && entry.family() == family)
    }

    fn has_route(&self) -> bool {
        Family::BOTH.into_iter().any(|family| self.has_routes(family))
    }

    /// The first line of every file that can have comments.
    fn headline(&self, format: Format) -> String {
        format!(
            "# Routes of {} to the containers of the other hosts, by `byway render --format {format}`.\n",
            self.host.name
        )
    }
}

fn entries(host: &Host, others: &[&Host], family: Family) -> Vec<Entry> {
    let of_family = |other: &Host| -> Vec<IpNet> {
        other.subnets.iter().filter(|subnet| Family::of(subnet.addr()) == family).copied().collect()
    };
    let wanted: Vec<(&Host, Vec<IpNet>)> = others.iter().map(|other| (*other, of_family(other))).collect();
    if host.addresses.iter().any(|address| Family::of(*address) == family) {
        return wanted.into_iter().flat_map(|(other, subnets)| entries_to(other, subnets, family)).collect();
    }
    if wanted.iter().all(|(_, subnets)| subnets.is_empty()) {
        return Vec::new();
    }
    let text =
        format!("host {} has no {family} address: no {family} subnet is reachable directly", host.name);
    vec![Entry::Note { family, text }]
}

fn entries_to(other: &Host, subnets: Vec<IpNet>, family: Family) -> Vec<Entry> {
    match other.addresses.iter().find(|address| Family::of(**address) == family) {
        Some(via) => subnets.into_iter().map(|to| Entry::Route { to, via: *via }).collect(),
        None if subnets.is_empty() => Vec::new(),
        None => {
            let list = subnets.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
            let text =
                format!("host {} has no {family} address: {list} is not reachable directly", other.name);
            vec![Entry::Note { family, text }]
        }
    }
}

/// Every line of `text` with `indent` before it.
fn indented(text: &str, indent: &str) -> String {
    text.split_inclusive('\n').flat_map(|line| [indent, line]).collect()
}

/// Stricter than the kernel, which takes quotes, dollars and semicolons: these files are read by shells.
fn check_interface(name: &str) -> Result<(), RenderError> {
    let is_plain =
        name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '@'));
    let starts_well = !name.starts_with(['-', '.', '+', '@']);
    if is_plain && starts_well && crate::config::check_interface_name(name).is_ok() {
        Ok(())
    } else {
        Err(RenderError::Interface { name: name.to_owned() })
    }
}
