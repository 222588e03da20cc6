//! What is wrong with a topology, all of it at once.
//!
//! Knows places (`host[1].addresses[0]`), not files: whoever read a file looks the place up in its text.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use byway_fabric::cluster::HostName;
use ipnet::IpNet;

use super::{BRIDGE, Container, ENGINES_MAX, Host, LINK_NAME_MAX, Router, Segment, Topology, nth};

/// Hosts in a lab: with one /16 each and one number each there are 253; this leaves some.
pub const HOSTS_MAX: usize = 250;
/// Containers on a host: they fit a /24 beside the bridge.
pub const CONTAINERS_PER_HOST_MAX: usize = 250;
/// Hosts, containers and routers together: each holds three namespaces open, and a bridge takes 1023 ports.
pub const NODES_MAX: usize = 1000;
/// Segments in a lab: more than anyone needs to see what a router does.
pub const SEGMENTS_MAX: usize = 8;
/// The host's end of a container's wire is called `veth` and the container's name.
const CONTAINER_NAME_MAX: usize = LINK_NAME_MAX - "veth".len();
/// A router's port on the switch is called by its name, a dot and the number of the segment.
const ROUTER_NAME_MAX: usize = LINK_NAME_MAX - ".1".len();
/// Names that the kernel or the lab itself uses.
const RESERVED: [&str; 5] = [super::SWITCH, "lo", "all", "default", "eth0"];

/// One thing that is wrong with a topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Where, as in `host[1].addresses[0]` (from 0).
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it, if we know.
    pub hint: Option<String>,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl Topology {
    /// All that is wrong with it; nothing if a lab can be made of it.
    #[must_use]
    pub fn flaws(&self) -> Vec<Flaw> {
        let mut check =
            Check { topology: self, names: BTreeMap::new(), taken: BTreeMap::new(), flaws: Vec::new() };
        check.sizes();
        if !check.flaws.is_empty() {
            // Of too many, each would be wrong in some way of its own.
            return check.flaws;
        }
        for (nth, segment) in self.segments.iter().enumerate() {
            check.segment(&format!("segment[{nth}]"), nth, segment);
        }
        for (nth, router) in self.routers.iter().enumerate() {
            check.router(&format!("router[{nth}]"), router);
        }
        for (nth, host) in self.hosts.iter().enumerate() {
            check.host(&format!("host[{nth}]"), nth, host);
        }
        check.flaws
    }
}

struct Check<'a> {
    topology: &'a Topology,
    /// Names of nodes and segments, and what has them.
    names: BTreeMap<&'a str, String>,
    /// Addresses, and what has them.
    taken: BTreeMap<IpAddr, String>,
    flaws: Vec<Flaw>,
}

impl<'a> Check<'a> {
    fn flaw(&mut self, place: &str, what: String) {
        self.flaws.push(Flaw { place: place.into(), what, hint: None });
    }

    fn flaw_with_hint(&mut self, place: &str, what: String, hint: String) {
        self.flaws.push(Flaw { place: place.into(), what, hint: Some(hint) });
    }

    fn sizes(&mut self) {
        let Topology { segments, hosts, .. } = self.topology;
        self.at_most("host", hosts.len(), HOSTS_MAX, "hosts");
        self.at_most("segment", segments.len(), SEGMENTS_MAX, "segments");
        let nodes = self.topology.nodes().len() - 1;
        self.at_most("host", nodes, NODES_MAX, "hosts, containers and routers");
        let engines = hosts.iter().filter(|host| host.engine.is_some()).count();
        self.at_most("host", engines, ENGINES_MAX, "Docker engines");
        if hosts.is_empty() {
            self.flaw("host", "a lab has at least one host".into());
        }
        if segments.is_empty() {
            self.flaw("segment", "a lab has at least one segment".into());
        }
    }

    fn at_most(&mut self, place: &str, count: usize, max: usize, of: &str) {
        if count > max {
            self.flaw(place, format!("{count} {of} are more than {max}"));
        }
    }

    fn segment(&mut self, place: &str, nth: usize, segment: &'a Segment) {
        self.name(&format!("{place}.name"), "segment", &segment.name, LINK_NAME_MAX);
        self.one_of_each_family(&format!("{place}.prefixes"), segment.prefixes.iter().map(IpNet::addr));
        for (at, prefix) in segment.prefixes.iter().enumerate() {
            let place = format!("{place}.prefixes[{at}]");
            self.no_host_bits(&place, prefix);
            let before = &self.topology.segments[..nth];
            if let Some(other) = before.iter().find(|other| other.prefixes.iter().any(|p| overlap(p, prefix)))
            {
                self.flaw(&place, format!("{prefix} overlaps segment {}", other.name));
            }
        }
    }

    fn router(&mut self, place: &str, router: &'a Router) {
        self.name(&format!("{place}.name"), "router", &router.name, ROUTER_NAME_MAX);
        if router.addresses.is_empty() {
            self.flaw(place, format!("router {} has no address", router.name));
        }
        let mut legs = BTreeMap::new();
        for (at, address) in router.addresses.iter().enumerate() {
            let place = format!("{place}.addresses[{at}]");
            self.take(&place, *address, &router.name);
            let Some(segment) = self.topology.segment_of(*address) else {
                self.flaw(&place, format!("{address} is in no segment"));
                continue;
            };
            if let Some(other) = legs.insert((&segment.name, address.is_ipv4()), address) {
                self.flaw(
                    &place,
                    format!("{address} is the second address in segment {} after {other}", segment.name),
                );
            }
        }
    }

    fn host(&mut self, place: &str, nth: usize, host: &'a Host) {
        self.name(&format!("{place}.name"), "host", &host.name, LINK_NAME_MAX);
        self.link_name(&format!("{place}.bridge"), &host.bridge, LINK_NAME_MAX);
        if ["lo", "eth0"].contains(&host.bridge.as_str()) {
            self.flaw(
                &format!("{place}.bridge"),
                format!("{} is another interface of the host", host.bridge),
            );
        }
        self.underlay(place, host);
        if host.engine.is_some() && host.bridge == BRIDGE {
            let at_most_one =
                |ipv4| host.subnets.iter().filter(|one| one.addr().is_ipv4() == ipv4).count() < 2;
            if !at_most_one(true) || !at_most_one(false) {
                let hint = format!("{BRIDGE} holds one; with another bridge they are for networks of Docker");
                let what = "an engine's subnets are at most one of each family".into();
                self.flaw_with_hint(&format!("{place}.subnets"), what, hint);
            }
        }
        for (at, subnet) in host.subnets.iter().enumerate() {
            self.subnet(&format!("{place}.subnets[{at}]"), (nth, at), host, subnet);
        }
        let containers = host.containers.len();
        self.at_most(&format!("{place}.container"), containers, CONTAINERS_PER_HOST_MAX, "containers");
        for (at, container) in host.containers.iter().enumerate() {
            self.container(&format!("{place}.container[{at}]"), host, container);
        }
    }

    fn underlay(&mut self, place: &str, host: &'a Host) {
        self.one_of_each_family(&format!("{place}.addresses"), host.addresses.iter().copied());
        let Some(segment) = self.topology.segment(&host.segment) else {
            let names = self.topology.segments.iter().map(|segment| segment.name.as_str());
            let hint = crate::names::suggest(&host.segment, names);
            self.flaw_with_hint(
                &format!("{place}.segment"),
                format!("there is no segment {}", host.segment),
                hint,
            );
            return;
        };
        for (at, address) in host.addresses.iter().enumerate() {
            let place = format!("{place}.addresses[{at}]");
            self.take(&place, *address, &host.name);
            if segment.prefix_for(*address).is_none() {
                let hint = format!("{} is {}", segment.name, listed(&segment.prefixes));
                self.flaw_with_hint(&place, format!("{address} is not in segment {}", segment.name), hint);
            }
        }
    }

    fn subnet(&mut self, place: &str, (nth_host, at): (usize, usize), host: &'a Host, subnet: &IpNet) {
        self.no_host_bits(place, subnet);
        match nth(subnet, 1) {
            Some(address) => self.take(place, address, &format!("{} of {}", host.bridge, host.name)),
            None => self.flaw(place, format!("{subnet} has no room for the bridge's address")),
        }
        let earlier = self.topology.hosts[..nth_host]
            .iter()
            .flat_map(|other| other.subnets.iter().map(move |s| (other, s)));
        let own = host.subnets[..at].iter().map(|other| (host, other));
        if let Some((other, theirs)) = earlier.chain(own).find(|(_, theirs)| overlap(theirs, subnet)) {
            self.flaw(place, format!("{subnet} overlaps {theirs} of {}", other.name));
        }
        let mut segments = self.topology.segments.iter();
        if let Some(segment) = segments.find(|segment| segment.prefixes.iter().any(|p| overlap(p, subnet))) {
            self.flaw(place, format!("{subnet} overlaps segment {}", segment.name));
        }
    }

    fn container(&mut self, place: &str, host: &'a Host, container: &'a Container) {
        self.name(&format!("{place}.name"), "container", &container.name, CONTAINER_NAME_MAX);
        if host.engine.is_some() {
            if !container.addresses.is_empty() {
                let what = format!("Docker gives {} its addresses", container.name);
                self.flaw(&format!("{place}.addresses"), what);
            }
            return;
        }
        self.one_of_each_family(&format!("{place}.addresses"), container.addresses.iter().copied());
        for (at, address) in container.addresses.iter().enumerate() {
            let place = format!("{place}.addresses[{at}]");
            self.take(&place, *address, &container.name);
            if host.in_subnet(*address).is_none() {
                let hint = format!("{} has {}", host.name, listed(&host.subnets));
                self.flaw_with_hint(&place, format!("{address} is in no subnet of {}", host.name), hint);
            }
        }
    }

    fn name(&mut self, place: &str, what: &str, name: &'a str, length_max: usize) {
        self.link_name(place, name, length_max);
        if RESERVED.contains(&name) {
            self.flaw(place, format!("the name {name} is taken by the lab itself"));
        }
        if let Some(other) = self.names.insert(name, format!("{what} at {place}")) {
            self.flaw_with_hint(place, format!("two are called {name}"), format!("the other is the {other}"));
        }
    }

    fn link_name(&mut self, place: &str, name: &str, length_max: usize) {
        if let Err(bad) = HostName::try_from(name.to_owned()) {
            self.flaw(place, format!("{name:?} is no name: {bad}"));
        } else if name.len() > length_max {
            let hint = "interfaces are named after it, and their names end at 15".into();
            self.flaw_with_hint(place, format!("{name} is longer than {length_max} characters"), hint);
        }
    }

    fn take(&mut self, place: &str, address: IpAddr, owner: &str) {
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            self.flaw(place, format!("{address} is not an address of a machine"));
        }
        if let Some(other) = self.taken.insert(address, owner.into()) {
            self.flaw(place, format!("{address} is already the address of {other}"));
        }
    }

    fn one_of_each_family(&mut self, place: &str, addresses: impl Iterator<Item = IpAddr> + Clone) {
        let ipv4 = addresses.clone().filter(IpAddr::is_ipv4).count();
        let ipv6 = addresses.filter(IpAddr::is_ipv6).count();
        if ipv4 + ipv6 == 0 {
            self.flaw(place, "needs at least one, IPv4 or IPv6".into());
        }
        if ipv4 > 1 || ipv6 > 1 {
            self.flaw(place, "has more than one of a family".into());
        }
    }

    fn no_host_bits(&mut self, place: &str, prefix: &IpNet) {
        if prefix.addr() != prefix.network() {
            let hint = format!("write {}", prefix.trunc());
            self.flaw_with_hint(place, format!("{prefix} has bits behind its length"), hint);
        }
    }
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn listed(prefixes: &[IpNet]) -> String {
    prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_has_a_name_of_its_own() {
        let mut topology = Topology::two_hosts();
        topology.hosts[0].bridge = "eth0".into();
        topology.hosts[1].bridge = "a-bridge-of-many-letters".into();
        let flaws: Vec<String> = topology.flaws().iter().map(ToString::to_string).collect();
        assert_eq!(
            flaws,
            [
                "host[0].bridge: eth0 is another interface of the host",
                "host[1].bridge: a-bridge-of-many-letters is longer than 15 characters \
                 (interfaces are named after it, and their names end at 15)"
            ]
        );
    }
}
