//! Our nftables table `inet byway`: what its rules say, and how it is written down.
//!
//! The rules hardly ever change; the sets do, and whether the chain `forward` is there. So a host that joins costs one
//! set element, and the order of the rules can be compared as text. An `accept` here ends nothing but our own chain:
//! what the host's own policy, Docker or firewalld drop stays dropped.
//!
//! | chain     | hook, priority    | what it does                                                                |
//! |-----------|-------------------|-----------------------------------------------------------------------------|
//! | `admit`   | prerouting, -310  | marks what comes from peers for our containers, before Docker's drops; drops cluster addresses that come in where they cannot come from |
//! | `forward` | forward, 0        | keeps outsiders out of containers; there only where nobody else does        |
//! | `keep`    | postrouting, 99   | keeps source addresses in the cluster: an identity SNAT before anyone's masquerade |
//! | `door`    | input, 0          | keeps strangers out of the tunnels; there only where there are any          |
//! | `leave`   | postrouting, 110  | masquerades what leaves the cluster, unless somebody already did            |
//!
//! `admit` is paid for each packet, and `forward` where it is there: so each begins with what lets most packets out of
//! it, and asks for few things before (docs/benchmarks.md). The others, of type nat, see the first packet of each
//! connection only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The family and name of our table.
pub const TABLE: &str = "inet byway";

/// A whole table: sets and chains by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Table {
    /// The sets.
    pub sets: BTreeMap<String, Set>,
    /// The base chains.
    pub chains: BTreeMap<String, Chain>,
}

/// The type of what is no set at all and was put into our table by somebody else; its name says what it is.
pub const FOREIGN: &str = "foreign";

/// A named set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// Its nft type: `ifname`, `ipv4_addr`, `ipv6_addr`.
    pub of: String,
    /// What is in it.
    pub elements: BTreeSet<Element>,
}

/// A member of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Element {
    /// Addresses.
    Prefix(IpNet),
    /// The name of an interface, or anything that somebody else put there.
    Text(String),
}

impl Element {
    /// The addresses that it stands for, if it stands for any.
    #[must_use]
    pub fn prefix(&self) -> Option<IpNet> {
        match self {
            Self::Prefix(prefix) => Some(*prefix),
            Self::Text(_) => None,
        }
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Text(text) => write!(f, "\"{text}\""),
        }
    }
}

/// A base chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Where it is hooked in, as nft writes it: `type filter hook forward priority 0; policy accept;`.
    pub hook: String,
    /// Its rules in their order.
    pub rules: Vec<Rule>,
}

/// A rule in nft's own words, without its counter's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it matches and does.
    pub text: String,
    /// Why it is there.
    pub comment: String,
}

/// The hooks of our chains.
const CHAINS: [(&str, &str); 5] = [
    ("admit", "type filter hook prerouting priority -310; policy accept;"),
    (GUARD, "type filter hook forward priority 0; policy accept;"),
    ("keep", "type nat hook postrouting priority 99; policy accept;"),
    ("leave", "type nat hook postrouting priority 110; policy accept;"),
    (DOOR, "type filter hook input priority 0; policy accept;"),
];

/// The chain that is there only where somebody must be kept out.
pub(crate) const GUARD: &str = "forward";

/// The chain that is there only where there are tunnels. (nft 1.1 takes no chain with the name `tunnel`.)
const DOOR: &str = "door";

/// The rules, chain by chain; one with `IP` stands for both families (`ip`, `4` and `ip6`, `6`). `$uplinks`,
/// `$inside` and `$localN` are the only member of the set of that name where there is only one, as there mostly is: to
/// compare it costs a fifth of looking it up.
const RULES: [(&str, &str, &str); 13] = [
    ("admit", "iifname $inside IP saddr $localN accept", "our containers, mostly"),
    (
        "admit",
        "iifname $uplinks IP daddr $localN IP saddr @peersN counter meta mark set meta mark | 0x00100000 accept",
        "what Docker may let in",
    ),
    ("admit", "iifname != $uplinks IP saddr @peersN counter drop", "peers come in by an uplink only"),
    ("admit", "IP saddr @localN iifname != @inside counter drop", "our containers are inside only"),
    (GUARD, "ct state established,related accept", "answers"),
    (
        GUARD,
        "iifname $uplinks IP saddr @peersN IP daddr @localN counter accept",
        "from peers to our containers",
    ),
    (GUARD, "IP daddr @localN ct status dnat counter accept", "published ports"),
    (
        GUARD,
        "iifname $uplinks IP daddr @localN oifname @guardN counter drop",
        "the rest is not for outsiders",
    ),
    (
        "keep",
        "IP saddr @localN IP daddr @peersN counter snat IP to IP saddr",
        "keep the source, leaving for peers",
    ),
    (
        "keep",
        "IP saddr @peersN IP daddr @localN counter snat IP to IP saddr",
        "keep the source, coming from peers",
    ),
    ("leave", "IP saddr @localN IP daddr @peersN counter accept", "never masquerade inside the cluster"),
    ("leave", "IP saddr @localN oifname != @inside counter masquerade", "what leaves the cluster"),
    // A tunnel that learns nothing still takes what anybody sends to its port. 7172 is `TUNNEL_PORT`.
    (DOOR, "udp dport 7172 IP saddr != @endsN counter drop", "only peers speak through the tunnel"),
];

/// What the sets of our table hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Interfaces by which peers are reached.
    pub uplinks: BTreeSet<String>,
    /// Interfaces that hold our own subnets.
    pub inside: BTreeSet<String>,
    /// Our own subnets, as far as an interface holds them.
    pub local: BTreeSet<IpNet>,
    /// The other hosts' subnets.
    pub peers: BTreeSet<IpNet>,
    /// The underlay addresses of peers that may speak through our tunnels; none where there are no tunnels.
    pub ends: BTreeSet<IpAddr>,
    /// Interfaces out of which nobody but us keeps outsiders, for IPv4 and for IPv6.
    pub guard: [BTreeSet<String>; 2],
}

/// Our table with these members.
#[must_use]
pub fn table(members: &Members) -> Table {
    let text = |name: &String| Element::Text(name.clone());
    let mut sets = BTreeMap::new();
    sets.insert("uplinks".to_owned(), set("ifname", members.uplinks.iter().map(text)));
    // A host's own packets to itself come in by `lo`.
    let inside = members.inside.iter().map(text).chain([Element::Text("lo".to_owned())]);
    sets.insert("inside".to_owned(), set("ifname", inside));
    for (name, names) in ["guard4", "guard6"].into_iter().zip(&members.guard) {
        sets.insert(name.to_owned(), set("ifname", names.iter().map(text)));
    }
    let ends: BTreeSet<IpNet> = members.ends.iter().copied().map(IpNet::from).collect();
    let mut of_addresses = vec![("local", &members.local), ("peers", &members.peers)];
    // Where there are no tunnels, there is nothing in the table that is about them.
    of_addresses.extend((!ends.is_empty()).then_some(("ends", &ends)));
    for (name, prefixes) in of_addresses {
        let (v4, v6): (Vec<IpNet>, Vec<IpNet>) = prefixes.iter().partition(|prefix| prefix.addr().is_ipv4());
        sets.insert(format!("{name}4"), set("ipv4_addr", v4.into_iter().map(Element::Prefix)));
        sets.insert(format!("{name}6"), set("ipv6_addr", v6.into_iter().map(Element::Prefix)));
    }
    let guarded = members.guard.iter().any(|bridges| !bridges.is_empty());
    let is_there = |name: &str| match name {
        GUARD => guarded,
        DOOR => !ends.is_empty(),
        _ => true,
    };
    let chains = CHAINS.iter().filter(|(name, _)| is_there(name)).map(|(name, hook)| {
        let chain = Chain { hook: (*hook).to_owned(), rules: rules_of(name, &sets) };
        ((*name).to_owned(), chain)
    });
    let chains = chains.collect();
    Table { sets, chains }
}

fn set(of: &str, elements: impl Iterator<Item = Element>) -> Set {
    Set { of: of.to_owned(), elements: elements.collect() }
}

fn rules_of(chain: &str, sets: &BTreeMap<String, Set>) -> Vec<Rule> {
    let of_chain = RULES.iter().filter(|(name, ..)| *name == chain);
    let of_families = of_chain.flat_map(|(_, text, why)| {
        let families = if text.contains("IP") { &FAMILIES[..] } else { &FAMILIES[..1] };
        families.iter().map(|family| rule(text, why, *family))
    });
    // Names of interfaces come last: nothing in them is replaced.
    let named = of_families.map(|rule| {
        let order = ["local4", "local6", "inside", "uplinks"];
        let put = |text: String, set: &str| text.replace(&format!("${set}"), &only_of(set, sets));
        Rule { text: order.into_iter().fold(rule.text, put), comment: rule.comment }
    });
    named.collect()
}

/// The only member of a set as it is compared with, or the set. That a host speaks to itself by `lo` does not count.
fn only_of(name: &str, sets: &BTreeMap<String, Set>) -> String {
    let loopback = Element::Text("lo".to_owned());
    let members = sets.get(name).into_iter().flat_map(|set| &set.elements);
    let members: Vec<&Element> = members.filter(|member| **member != loopback).collect();
    let is_one_address =
        |member: &Element| member.prefix().is_some_and(|net| net.prefix_len() == net.max_prefix_len());
    match members[..] {
        // nft lists a single address without its length, and so the rule would never be as it was written.
        [only] if !is_one_address(only) => only.to_string(),
        _ => format!("@{name}"),
    }
}

/// What `IP` and `N` of a rule stand for.
const FAMILIES: [(&str, &str); 2] = [("ip", "4"), ("ip6", "6")];

fn rule(text: &str, why: &str, (ip, n): (&str, &str)) -> Rule {
    let text = text
        .replace("IP", ip)
        .replace("localN", &format!("local{n}"))
        .replace("peersN", &format!("peers{n}"))
        .replace("guardN", &format!("guard{n}"))
        .replace("endsN", &format!("ends{n}"));
    Rule { text, comment: format!("byway: {why}") }
}

impl Table {
    /// Whether there is somebody whom only we keep out.
    #[must_use]
    pub fn guards(&self) -> bool {
        ["guard4", "guard6"]
            .iter()
            .any(|name| self.sets.get(*name).is_some_and(|set| !set.elements.is_empty()))
    }

    /// One transaction for `nft -f -` that puts this table in the place of whatever is there.
    #[must_use]
    pub fn replace_script(&self) -> String {
        // The first line makes sure that there is something to delete.
        format!("table {TABLE} {{}}\ndelete table {TABLE}\n{}", self.text())
    }

    /// The table as a person would write it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("table {TABLE} {{\n");
        for (name, set) in &self.sets {
            set.write(name, &mut text);
        }
        for (name, chain) in &self.chains {
            chain.write(name, &mut text);
        }
        text + "}\n"
    }
}

impl Set {
    fn write(&self, name: &str, text: &mut String) {
        let _ = write!(text, "\tset {name} {{\n\t\ttype {}\n", self.of);
        if self.of != "ifname" {
            text.push_str("\t\tflags interval\n");
        }
        if !self.elements.is_empty() {
            let _ = writeln!(text, "\t\telements = {{ {} }}", list(&self.elements));
        }
        text.push_str("\t}\n\n");
    }
}

impl Chain {
    fn write(&self, name: &str, text: &mut String) {
        let _ = write!(text, "\tchain {name} {{\n\t\t{}\n", self.hook);
        for rule in &self.rules {
            let _ = writeln!(text, "\t\t{} comment \"{}\"", rule.text, rule.comment);
        }
        // nft 1.0.6 wants the newline before the brace.
        text.push_str("\t}\n\n");
    }
}

/// Elements as nft wants them between braces.
#[must_use]
pub fn list<'a>(elements: impl IntoIterator<Item = &'a Element>) -> String {
    elements.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
