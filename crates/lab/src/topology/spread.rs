//! A topology from numbers: so many hosts, so many containers on each, so many segments.
//!
//! Host `docker41` has 192.168.199.41, 172.41.0.0/16, `fd00:199::41` and `fd00:172:41::/64`, and so on with one
//! number for each host: 41 to 254, and then 2 to 40. Segment k (from 0) is 192.168.(199-k).0/24.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{BRIDGE, Container, Host, Router, Segment, Topology};

/// The first host's number.
const NUMBER_FIRST: usize = 41;
/// The last number: 192.168.199.255 is a broadcast address.
const NUMBER_LAST: usize = 254;
/// Where the numbers go on after the last: 1 is the router's.
const NUMBER_AGAIN: usize = 2;

/// How many of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Hosts, 1 to [`super::HOSTS_MAX`].
    pub hosts: usize,
    /// Containers on each host, 0 to [`super::CONTAINERS_PER_HOST_MAX`].
    pub containers: usize,
    /// Segments, 1 to [`super::SEGMENTS_MAX`]; with more than one there is a router between them.
    pub segments: usize,
}

impl Default for Spread {
    /// Two hosts with one container each, on one segment.
    fn default() -> Self {
        Self { hosts: 2, containers: 1, segments: 1 }
    }
}

impl Spread {
    /// The topology of that size. Numbers out of range make one with [flaws](Topology::flaws).
    #[must_use]
    pub fn topology(&self) -> Topology {
        let segments: Vec<Segment> = (0..self.segments).map(segment).collect();
        let nth_segment = |nth_host: usize| nth_host * self.segments / self.hosts;
        let hosts = (0..self.hosts).map(|nth| host(nth, nth_segment(nth), self.containers)).collect();
        let routers = if self.segments > 1 { vec![router(self.segments)] } else { Vec::new() };
        Topology { segments, hosts, routers }
    }
}

fn segment(nth: usize) -> Segment {
    let name = if nth == 0 { "lan".to_owned() } else { format!("lan{}", nth + 1) };
    let v4 = Ipv4Net::new_assert(Ipv4Addr::new(192, 168, byte(199 - nth.min(199)), 0), 24);
    let v6 = Ipv6Net::new_assert(underlay_v6(nth, 0), 64);
    Segment { name, prefixes: vec![v4.into(), v6.into()] }
}

fn host(nth: usize, nth_segment: usize, containers: usize) -> Host {
    let number = number(nth);
    let subnets: Vec<IpNet> = vec![
        Ipv4Net::new_assert(Ipv4Addr::new(172, byte(number), 0, 0), 16).into(),
        Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x172, digits(number), 0, 0, 0, 0, 0), 64).into(),
    ];
    let mut host = Host {
        name: format!("docker{number}"),
        segment: segment(nth_segment).name,
        addresses: underlay(nth_segment, number),
        subnets,
        bridge: BRIDGE.into(),
        engine: None,
        containers: Vec::new(),
    };
    host.containers = (0..containers)
        .map(|nth| Container { name: container_name(number, nth), addresses: host.container_addresses(nth) })
        .collect();
    host
}

/// `c41`, `c41-2`, `c41-3`, …
fn container_name(number: usize, nth: usize) -> String {
    if nth == 0 { format!("c{number}") } else { format!("c{number}-{}", nth + 1) }
}

fn router(segments: usize) -> Router {
    Router { name: "router".into(), addresses: (0..segments).flat_map(|nth| underlay(nth, 1)).collect() }
}

fn underlay(nth_segment: usize, number: usize) -> Vec<IpAddr> {
    let v4 = Ipv4Addr::new(192, 168, byte(199 - nth_segment.min(199)), byte(number));
    vec![v4.into(), underlay_v6(nth_segment, digits(number)).into()]
}

fn underlay_v6(nth_segment: usize, last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, digits(199 - nth_segment.min(199)), 0, 0, 0, 0, 0, last)
}

fn number(nth: usize) -> usize {
    let number = NUMBER_FIRST + nth;
    if number <= NUMBER_LAST { number } else { number - NUMBER_LAST - 1 + NUMBER_AGAIN }
}

/// The group of an IPv6 address that reads like the decimal number: 41 is 0x41.
fn digits(number: usize) -> u16 {
    u16::from_str_radix(&number.to_string(), 16).unwrap_or(u16::MAX)
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(topology: &Topology, expected: &str) {
        assert_eq!(told(topology), expected.lines().map(str::trim).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn the_default_is_the_two_hosts_that_started_all_this() {
        check(
            &Topology::two_hosts(),
            "docker41 on lan 192.168.199.41/24 fd00:199::41/64
             docker0 172.41.0.1/16 fd00:172:41::1/64
             c41 172.41.0.2 fd00:172:41::2
             docker42 on lan 192.168.199.42/24 fd00:199::42/64
             docker0 172.42.0.1/16 fd00:172:42::1/64
             c42 172.42.0.2 fd00:172:42::2",
        );
    }

    #[test]
    fn two_segments_have_a_router_and_half_of_the_hosts_each() {
        let topology = Spread { hosts: 2, containers: 0, segments: 2 }.topology();
        check(
            &topology,
            "router 192.168.199.1 fd00:199::1 192.168.198.1 fd00:198::1
             docker41 on lan 192.168.199.41/24 fd00:199::41/64
             docker0 172.41.0.1/16 fd00:172:41::1/64
             docker42 on lan2 192.168.198.42/24 fd00:198::42/64
             docker0 172.42.0.1/16 fd00:172:42::1/64",
        );
    }

    #[test]
    fn every_size_up_to_the_limits_is_without_a_flaw() {
        for hosts in [1, 2, 3, 100, 214, 215, 250] {
            for (containers, segments) in [(0, 1), (1, 1), (2, 2), (2, 8)] {
                let topology = Spread { hosts, containers, segments }.topology();
                assert_eq!(
                    topology.flaws(),
                    [],
                    "{hosts} hosts, {containers} containers, {segments} segments"
                );
            }
        }
        let many = Spread { hosts: 1, containers: 250, segments: 1 }.topology();
        assert_eq!(many.flaws(), []);
    }

    #[test]
    fn a_size_over_the_limits_is_refused() {
        let flaws = Spread { hosts: 251, containers: 1, segments: 1 }.topology().flaws();
        let told: Vec<String> = flaws.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["host: 251 hosts are more than 250"]);
    }

    /// Addresses as text, one node in a line.
    fn told(topology: &Topology) -> String {
        let mut lines = Vec::new();
        for router in &topology.routers {
            lines.push(format!("{} {}", router.name, spaced(&router.addresses)));
        }
        for host in &topology.hosts {
            let segment = topology.segment(&host.segment).unwrap();
            lines.push(format!("{} on {} {}", host.name, host.segment, spaced(&host.in_segment(segment))));
            lines.push(format!("{} {}", host.bridge, spaced(&host.bridge_addresses())));
            lines.extend(host.containers.iter().map(|c| format!("{} {}", c.name, spaced(&c.addresses))));
        }
        lines.join("\n")
    }

    fn spaced<T: ToString>(items: &[T]) -> String {
        items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
    }
}
