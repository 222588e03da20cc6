//! Everything of a host that Byway could change, written down, so that before and after can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use byway_agent::edge::netlink::Netlink;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::rule::RuleMessage;
use serde::{Deserialize, Serialize};

/// The state of one network namespace, as seen from this thread, by section and line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    sections: BTreeMap<String, BTreeSet<String>>,
}

/// Folders of settings that are compared as a whole.
const SYSCTLS: [&str; 3] =
    ["/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf", "/proc/sys/net/ipv4/ip_forward"];
/// Folders in which Byway leaves a name.
const FILES: [&str; 1] = ["/etc/iproute2"];
/// The sections, and what several of their lines are called.
const SECTIONS: [(&str, &str); 7] = [
    ("link", "links"),
    ("address", "addresses"),
    ("route", "routes"),
    ("rule", "rules"),
    ("nftables line", "nftables lines"),
    ("setting", "settings"),
    ("file", "files"),
];
/// How deep folders are read: `conf/<interface>/<setting>` is two.
const DEPTH_MAX: usize = 3;

impl Snapshot {
    /// Looks at the namespace of this thread.
    ///
    /// # Errors
    /// When something could not be read whole.
    pub fn take() -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let mut snapshot = Self::default();
        snapshot.dump("link", &mut netlink, &RouteNetlinkMessage::GetLink(links()))?;
        snapshot.dump(
            "address",
            &mut netlink,
            &RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        )?;
        snapshot.dump("route", &mut netlink, &RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
        snapshot.dump("rule", &mut netlink, &RouteNetlinkMessage::GetRule(RuleMessage::default()))?;
        for folder in SYSCTLS {
            snapshot.read("setting", Path::new(folder), 0)?;
        }
        for folder in FILES {
            snapshot.read("file", Path::new(folder), 0)?;
        }
        snapshot.ruleset()?;
        Ok(snapshot)
    }

    /// What is different in `later`, a line each: `+` what came, `-` what went.
    #[must_use]
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let none = BTreeSet::new();
        let sections: BTreeSet<&String> = self.sections.keys().chain(later.sections.keys()).collect();
        let mut differences = Vec::new();
        for section in sections {
            let before = self.sections.get(section).unwrap_or(&none);
            let after = later.sections.get(section).unwrap_or(&none);
            differences.extend(before.difference(after).map(|line| format!("- {section} {line}")));
            differences.extend(after.difference(before).map(|line| format!("+ {section} {line}")));
        }
        differences
    }

    /// How much was compared, as one sentence.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |(section, plural): (&str, &str)| {
            format!("{} {plural}", self.sections.get(section).map_or(0, BTreeSet::len))
        };
        SECTIONS.map(count).join(", ")
    }

    fn add(&mut self, section: &str, line: String) {
        self.sections.entry(section.to_owned()).or_default().insert(line);
    }

    fn dump(&mut self, section: &str, netlink: &mut Netlink, request: &RouteNetlinkMessage) -> Result<()> {
        let entries = netlink.dump(request).with_context(|| format!("list every {section}"))?;
        for mut entry in entries {
            still(&mut entry);
            self.add(section, format!("{entry:?}"));
        }
        Ok(())
    }

    /// Reads a file, or the files below a folder; what cannot be read by anyone (`flush` and its like) has no
    /// value.
    fn read(&mut self, section: &str, path: &Path, depth: usize) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        if !path.is_dir() {
            let value = std::fs::read_to_string(path).unwrap_or_default();
            self.add(section, format!("{} = {}", path.display(), value.trim()));
            return Ok(());
        }
        self.add(section, format!("{}/", path.display()));
        if depth < DEPTH_MAX {
            for entry in std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))? {
                self.read(section, &entry?.path(), depth + 1)?;
            }
        }
        Ok(())
    }

    fn ruleset(&mut self) -> Result<()> {
        let output =
            Command::new("nft").args(["--stateless", "list", "ruleset"]).output().context("run nft")?;
        let why = String::from_utf8_lossy(&output.stderr);
        if why.contains("Operation not permitted") {
            // Who may not see it could not have changed it either.
            self.add("nftables line", "not visible to this user".to_owned());
            return Ok(());
        }
        anyhow::ensure!(output.status.success(), "nft cannot list: {}", why.trim());
        for (nth, line) in String::from_utf8_lossy(&output.stdout).lines().enumerate() {
            self.add("nftables line", format!("{nth}: {line}"));
        }
        Ok(())
    }
}

fn links() -> LinkMessage {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    request
}

/// Takes out what moves by itself: counters, ages, and the state that follows the carrier some time later.
fn still(entry: &mut RouteNetlinkMessage) {
    match entry {
        RouteNetlinkMessage::NewLink(link) => link.attributes.retain(|attribute| {
            use LinkAttribute as A;
            !matches!(
                attribute,
                A::Stats(_)
                    | A::OperState(_)
                    | A::Stats64(_)
                    | A::AfSpecUnspec(_)
                    | A::LinkInfo(_)
                    | A::CarrierChanges(_)
                    | A::CarrierUpCount(_)
                    | A::CarrierDownCount(_)
                    | A::Promiscuity(_)
                    | A::AllMulticast(_)
            )
        }),
        RouteNetlinkMessage::NewAddress(address) => {
            address.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::CacheInfo(_)));
        }
        RouteNetlinkMessage::NewRoute(route) => route.attributes.retain(|attribute| {
            !matches!(attribute, RouteAttribute::CacheInfo(_) | RouteAttribute::Expires(_))
        }),
        _ => {}
    }
}
