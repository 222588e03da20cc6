//! Watches the eight interfaces between the two containers, and joins what was seen to two journeys.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use byway_agent::edge::watch::{Watch, icmp};
use byway_fabric::cluster::HostName;
use byway_fabric::journey::{Direction, Journey, Sighting, WatchPoint, by_packet, stitch};
use byway_lab::{Host, Lab};
use byway_wire::Frame;

/// An interface that is watched, on the way from the near container to the far one.
struct Post {
    host: HostName,
    container: Option<String>,
    watch: Watch,
    /// How a packet passes it on the way there.
    there: Direction,
}

/// All of them, in the order of the way there.
pub(super) struct Watches {
    posts: Vec<Post>,
}

impl Watches {
    pub(super) fn open(lab: &Lab, near: &Host, far: &Host) -> Result<Self> {
        let mut posts = half(lab, near, [Direction::Out, Direction::In, Direction::In, Direction::Out])?;
        let mut other = half(lab, far, [Direction::In, Direction::Out, Direction::Out, Direction::In])?;
        other.reverse();
        posts.append(&mut other);
        Ok(Self { posts })
    }

    /// The ways of the question from `from` to `to`, and of its answer.
    pub(super) fn journeys(&mut self, from: IpAddr, to: IpAddr) -> Result<[Journey; 2]> {
        let mut sightings = Vec::new();
        for post in &mut self.posts {
            sightings.extend(post.take()?);
            ensure!(post.watch.lost()? == 0, "packets at {} were lost", post.watch.interface());
        }
        let there: Vec<WatchPoint> = self.posts.iter().map(|post| post.point(post.there)).collect();
        let back: Vec<WatchPoint> =
            self.posts.iter().rev().map(|post| post.point(turned(post.there))).collect();
        let mut packets = by_packet(sightings);
        Ok([journey(&mut packets, from, to, &there)?, journey(&mut packets, to, from, &back)?])
    }
}

fn turned(direction: Direction) -> Direction {
    match direction {
        Direction::In => Direction::Out,
        Direction::Out => Direction::In,
    }
}

/// The interfaces of one host, from its container outwards.
fn half(lab: &Lab, host: &Host, there: [Direction; 4]) -> Result<Vec<Post>> {
    let container = host.containers.first().context("a host without a container")?.name.clone();
    let wire = format!("veth{container}");
    let places = [
        (container.as_str(), "eth0", Some(container.clone())),
        (host.name.as_str(), wire.as_str(), None),
        (host.name.as_str(), host.bridge.as_str(), None),
        (host.name.as_str(), "eth0", None),
    ];
    let mut posts = Vec::new();
    for ((node, interface, container), there) in places.into_iter().zip(there) {
        let socket =
            lab.socket(node, libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)?;
        let watch = Watch::on(socket, interface, &icmp())?;
        posts.push(Post { host: HostName::try_from(host.name.clone())?, container, watch, there });
    }
    Ok(posts)
}

impl Post {
    fn point(&self, direction: Direction) -> WatchPoint {
        WatchPoint {
            host: self.host.clone(),
            container: self.container.clone(),
            interface: self.watch.interface().to_owned(),
            direction,
        }
    }

    /// What has passed by now: the kernel hands a packet over before it passes it on.
    fn take(&mut self) -> Result<Vec<Sighting>> {
        let mut sightings = Vec::new();
        while let Some(captured) = self.watch.next(Instant::now())? {
            let direction = if captured.outgoing { Direction::Out } else { Direction::In };
            let frame = Frame::decode(self.watch.link(), &captured.frame);
            let sighting = frame
                .packet()
                .and_then(|packet| Sighting::of(self.point(direction), captured.time_ns, packet));
            sightings.extend(sighting);
        }
        Ok(sightings)
    }
}

/// The way of the packet between these two; there is one, as one ping was sent.
fn journey(
    packets: &mut BTreeMap<byway_wire::PacketKey, Vec<Sighting>>,
    from: IpAddr,
    to: IpAddr,
    path: &[WatchPoint],
) -> Result<Journey> {
    let is_it = |sightings: &Vec<Sighting>| {
        sightings.iter().any(|sighting| {
            sighting.source.address == from
                && sighting.destination.address == to
                && sighting.text.contains("echo")
        })
    };
    let key = packets.iter().find(|(_, sightings)| is_it(sightings)).map(|(key, _)| *key);
    let key = key.with_context(|| format!("no ping from {from} to {to} was seen anywhere"))?;
    Ok(stitch(path, packets.remove(&key).unwrap_or_default()))
}
