//! Where one packet went: sightings at watch points, stitched into hops with what changed at each.
//!
//! The order of the hops is that of the predicted path. Times of two hosts are never compared: their clocks
//! differ by more than a packet takes. They only give durations within one host.
//!
//! ```text
//! predicted path ──┐
//!                  ├── stitch ──> Journey { hops, elsewhere } ──> lines of text, JSON
//! sightings ───────┘
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_wire::{Packet, PacketKey};
use serde::{Deserialize, Serialize};

use crate::cluster::HostName;

mod change;
mod text;

pub use change::{Change, Whom};

/// A place where packets are seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WatchPoint {
    /// On which host.
    pub host: HostName,
    /// In which container or other namespace of it; `None` for the host itself.
    pub container: Option<String>,
    /// At which interface, by its name there.
    pub interface: String,
    /// Whether packets come in or go out there, as the namespace that owns the interface sees it.
    pub direction: Direction,
}

/// Which way a packet passes an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the wire to us.
    In,
    /// From us to the wire.
    Out,
}

/// One end of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct End {
    /// Its address.
    pub address: IpAddr,
    /// Its TCP or UDP port.
    pub port: Option<u16>,
}

/// One packet seen at one watch point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Where.
    pub at: WatchPoint,
    /// When, by that host's clock, in nanoseconds since 1970.
    pub time_ns: u64,
    /// From whom.
    pub source: End,
    /// To whom.
    pub destination: End,
    /// Routers that may still pass it on.
    pub ttl: u8,
    /// Its length in bytes, by its own word.
    #[serde(default)]
    pub length: u32,
    /// Whether it is the first part of a packet that was cut.
    #[serde(default)]
    pub fragment: bool,
    /// What identifies the packet at every watch point.
    #[serde(with = "key_text")]
    pub key: PacketKey,
    /// The packet in one line.
    pub text: String,
}

/// The way of one packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Journey {
    /// The points of the predicted path in their order, seen or not.
    pub hops: Vec<Hop>,
    /// Where else it was seen, ordered by host, container and interface.
    pub elsewhere: Vec<Hop>,
    /// How it ended.
    pub outcome: Outcome,
}

/// One point where a packet was to be seen, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Where.
    pub at: WatchPoint,
    /// What was seen there; `None` is a gap.
    pub seen: Option<Seen>,
}

/// A packet at one point of its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The first passage.
    #[serde(flatten)]
    pub first: Sighting,
    /// How often it passed in all; more than once is a loop or a duplicate.
    pub times: usize,
    /// The lowest TTL with which it passed: lower than that of the first passage if it went in a circle.
    pub ttl_lowest: u8,
    /// Since it was seen at the hop before, if that was on the same host and seen, in nanoseconds.
    pub since_previous_ns: Option<u64>,
    /// What changed since it was last seen. Empty at its first hop.
    pub changes: Vec<Change>,
}

/// How a journey ended, as far as was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum Outcome {
    /// At the last point of the path.
    Arrived,
    /// Behind one point and before another.
    Lost {
        /// Where it was last seen.
        after: WatchPoint,
        /// Where it should have been seen next.
        before: WatchPoint,
    },
    /// Nowhere on the path.
    NeverSeen,
}

/// Sightings by packet: what carries one key is one packet, as far as NAT leaves it to be told.
#[must_use]
pub fn by_packet(sightings: Vec<Sighting>) -> BTreeMap<PacketKey, Vec<Sighting>> {
    let mut packets: BTreeMap<PacketKey, Vec<Sighting>> = BTreeMap::new();
    for sighting in sightings {
        packets.entry(sighting.key).or_default().push(sighting);
    }
    packets
}

/// Joins the sightings of one packet (see [`by_packet`]) to its way along the predicted path.
///
/// The path names each point once. Which passage was the first at a point that was passed twice is told by
/// the TTL, which only falls, and then by the host's own clock.
#[must_use]
pub fn stitch(predicted: &[WatchPoint], sightings: Vec<Sighting>) -> Journey {
    let mut by_point: BTreeMap<WatchPoint, Vec<Sighting>> = BTreeMap::new();
    for sighting in sightings {
        by_point.entry(sighting.at.clone()).or_default().push(sighting);
    }
    let mut hops: Vec<Hop> = Vec::with_capacity(predicted.len());
    for at in predicted {
        let passages = by_point.remove(at).unwrap_or_default();
        let before = hops.iter().rev().find_map(|hop| hop.seen.as_ref()).map(|seen| &seen.first);
        let adjacent = hops.last().is_some_and(|hop| hop.seen.is_some());
        let seen = see(passages, before, adjacent);
        hops.push(Hop { at: at.clone(), seen });
    }
    let outcome = outcome(&hops);
    let elsewhere = by_point.into_iter().map(|(at, passages)| Hop { at, seen: see(passages, None, false) });
    Journey { hops, elsewhere: elsewhere.collect(), outcome }
}

/// What the passages of one point come to. `adjacent`: the point before was seen too.
fn see(mut passages: Vec<Sighting>, before: Option<&Sighting>, adjacent: bool) -> Option<Seen> {
    passages.sort_by_key(|passage| (std::cmp::Reverse(passage.ttl), passage.time_ns));
    let times = passages.len();
    let ttl_lowest = passages.last()?.ttl;
    let first = passages.into_iter().next()?;
    let changes = before.map_or_else(Vec::new, |before| change::between(before, &first));
    let near = before.filter(|before| adjacent && before.at.host == first.at.host);
    // A clock that was set back in between gives no duration rather than a negative one.
    let since_previous_ns = near.and_then(|before| first.time_ns.checked_sub(before.time_ns));
    Some(Seen { first, times, ttl_lowest, since_previous_ns, changes })
}

fn outcome(hops: &[Hop]) -> Outcome {
    let Some(last) = hops.iter().rposition(|hop| hop.seen.is_some()) else { return Outcome::NeverSeen };
    match hops.get(last + 1) {
        None => Outcome::Arrived,
        Some(next) => Outcome::Lost { after: hops[last].at.clone(), before: next.at.clone() },
    }
}

impl Sighting {
    /// What a packet shows at a watch point; `None` if it was cut too short to be told from others.
    #[must_use]
    pub fn of(at: WatchPoint, time_ns: u64, packet: &Packet<'_>) -> Option<Self> {
        let (source_port, destination_port) = packet.transport.ports().unzip();
        Some(Self {
            at,
            time_ns,
            source: End { address: packet.source, port: source_port },
            destination: End { address: packet.destination, port: destination_port },
            ttl: packet.ttl,
            length: packet.length,
            fragment: packet.fragment.is_some(),
            key: packet.key()?,
            text: packet.to_string(),
        })
    }
}

impl Journey {
    /// Whether it was seen at the last point of its path.
    #[must_use]
    pub fn arrived(&self) -> bool {
        self.outcome == Outcome::Arrived
    }

    /// The TTL at each point where it was seen, in the order of the path.
    #[must_use]
    pub fn ttls(&self) -> Vec<u8> {
        self.hops.iter().filter_map(|hop| hop.seen.as_ref()).map(|seen| seen.first.ttl).collect()
    }
}

/// A key in a file or message is its text.
mod key_text {
    use byway_wire::PacketKey;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    pub(super) fn serialize<S: Serializer>(key: &PacketKey, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PacketKey, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
