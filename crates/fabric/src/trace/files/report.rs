//! What was found out, in the words of people.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::journey::{Change, Direction, End};

/// Captures, stitched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stitched {
    /// Where packets were captured, in the order in which most of them pass.
    pub points: Vec<Point>,
    /// How far the clocks of files are apart that saw the same packets.
    pub clocks: Vec<ClockBetween>,
    /// Who sent packets to whom, the busiest first, as many as asked for.
    pub conversations: Vec<Conversation>,
    /// Conversations that are not told.
    pub conversations_more: u64,
    /// Where packets went in and never came out: the 64 places with the most.
    pub losses: Vec<Loss>,
    /// The ways of lost packets, and then of the first of each conversation; of each as many as asked for.
    pub journeys: Vec<Way>,
    /// What there was in all.
    pub totals: Totals,
}

/// A file, and an interface of it if it names several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The interface, if the file tells.
    pub interface: Option<String>,
    /// Which way packets pass it, if the file tells.
    pub direction: Option<Direction>,
}

/// How many packets were seen at a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Where; without a direction.
    #[serde(flatten)]
    pub place: Place,
    /// All.
    pub packets: u64,
    /// Those that came in there, if the file tells.
    pub came_in: u64,
    /// Those that went out there, if the file tells.
    pub went_out: u64,
}

/// How a file's clock differs from another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockBetween {
    /// Whose clock.
    pub file: String,
    /// Than whose.
    pub than: String,
    /// By how much it is ahead.
    #[serde(flatten)]
    pub ahead: Clock,
}

/// How far a clock is ahead, in nanoseconds; negative if it is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "known", rename_all = "kebab-case")]
pub enum Clock {
    /// From packets that went both ways.
    Offset {
        /// So much.
        ns: i64,
        /// It may be more or less by this.
        uncertainty_ns: u64,
    },
    /// At most so much: packets went one way only, and who knows how long they took.
    AtMost {
        /// So much.
        ns: i64,
    },
    /// At least so much: packets went one way only.
    AtLeast {
        /// So much.
        ns: i64,
    },
}

/// Packets from one address to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// From whom, as first seen.
    pub source: IpAddr,
    /// To whom, as first seen.
    pub destination: IpAddr,
    /// The protocol's name.
    pub protocol: String,
    /// What NAT made of the addresses, if it did.
    pub becomes: Option<Becomes>,
    /// How many.
    pub packets: u64,
    /// Those that were seen at every point where they had to be, two at least.
    pub arrived: u64,
    /// Those that went in and never came out.
    pub lost: u64,
    /// Where most of these were last seen.
    pub lost_after: Option<Place>,
    /// Those of which it cannot be told, as a capture began later or had ended.
    pub at_edges: u64,
    /// Those that were seen at one point, and nothing says that they had to go on.
    pub seen_once: u64,
}

/// Addresses after NAT, as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Becomes {
    /// From whom.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
}

/// Two places that packets pass one after the other, and some did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Where they were last seen.
    pub after: Place,
    /// Where they had to be seen next.
    pub before: Place,
    /// How many went on.
    pub went_on: u64,
    /// How many did not.
    pub lost: u64,
    /// How many more did not, of which it cannot be told, as a capture began later or had ended.
    pub at_edges: u64,
    /// What the lost ones have in common that the others have not, if there is something.
    pub in_common: Option<String>,
    /// How many of them an ICMP error was sent about, and the first of these.
    pub errors: u64,
    /// The first of these errors.
    pub error: Option<String>,
}

/// The way of one packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The packet in one line, as first seen.
    pub packet: String,
    /// What became of it: `arrived`, `lost`, `at-edge`, `seen-once`.
    pub end: &'static str,
    /// Where it had to be seen next, if it was lost.
    pub before: Option<Place>,
    /// An ICMP error about it.
    pub error: Option<String>,
    /// Whether the order of its points is that of the files' names, as nothing else told.
    pub order_assumed: bool,
    /// Whether another packet in one of the files is like it, so that only their order told them apart.
    pub repeated: bool,
    /// Where it was seen, in order.
    pub hops: Vec<Hop>,
}

/// A packet at one point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// Which packet of that file, from 1.
    pub number: u32,
    /// When, by that file's clock, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Its TTL there.
    pub ttl: u8,
    /// From whom.
    pub source: End,
    /// To whom.
    pub destination: End,
    /// How long it was on its way from the point before, if that can be told.
    pub took: Option<Took>,
    /// What happened to it since.
    pub changes: Vec<Change>,
}

/// A time under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Took {
    /// In nanoseconds; never negative.
    pub ns: u64,
    /// It may be more or less by this: 0 on one machine.
    pub uncertainty_ns: u64,
}

/// Counts of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// What the files hold: all of the next six together, and the passages of `packets`.
    pub read: u64,
    /// Of what was read: not IP.
    pub other: u64,
    /// Of what was read: nobody knows what it is.
    pub unreadable: u64,
    /// Of what was read: cut too short to be told from others.
    pub too_short: u64,
    /// Of what was read: came after [`super::PASSAGES_MAX`] or [`super::ADDRESSES_MAX`], and was not looked at.
    pub beyond: u64,
    /// Passages that were looked at.
    pub passages: u64,
    /// Different keys of packets.
    pub keys: u64,
    /// Packets: all of the next four together.
    pub packets: u64,
    /// Those that were seen at every point where they had to be, two at least.
    pub complete: u64,
    /// Those that went in and never came out.
    pub lost: u64,
    /// Those of which it cannot be told, as a capture began later or had ended.
    pub at_edges: u64,
    /// Those that were seen at one point, and nothing says that they had to go on.
    pub seen_once: u64,
    /// Packets that are like another one in the same file, so that only their order told them apart.
    pub repeated: u64,
}

impl fmt::Display for Place {
    /// `eth0 of r.pcap, coming in`, `a.pcap`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface} of ")?;
        }
        write!(f, "{}", self.file)?;
        match self.direction {
            Some(Direction::In) => f.write_str(", coming in"),
            Some(Direction::Out) => f.write_str(", going out"),
            None => Ok(()),
        }
    }
}
