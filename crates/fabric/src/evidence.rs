//! By whose hand a packet ended on one host: what its rules, its counters, its kernel and its routes say of it.
//!
//! These are the words in which agents tell each other; how they are heard is the agent's business. Nothing here
//! decides: a verdict needs the evidence of all hosts on the way.
//!
//! ```text
//! nftables' trace messages ──> trace_bytes ──> grouping ──┐
//! nft -a list, iptables-save ────────────────> listing ───┼──> TracedPacket { steps with text and owner }
//! iptables-legacy-save -c, twice ────────────> counters ──┼──> CounterChange
//! bytes of a packet that was dropped ────────> drops ─────┼──> KernelDrop, and a sentence
//! the kernel's answers about a packet's way ─> fib ───────┘
//! ```

use std::fmt;
use std::net::IpAddr;

use byway_wire::{IcmpMessage, Packet, Transport};
use serde::{Deserialize, Serialize};

use crate::journey::End;

mod counters;
mod drops;
mod fib;
mod grouping;
pub mod listing;
pub mod netstat;
mod owner;
pub mod reasons;
pub mod trace_bytes;

pub use counters::{COUNTERS_MAX, Counter, CounterChange, changes, counters};
pub use drops::{HEAD_BYTES_MAX, KernelDrop, sentence};
pub use fib::{LinkState, Listener, NeighbourState, NetstatChange, NoRoute, RouteAnswer, RouteQuestion, Way};
pub use grouping::{ASKING_CHAINS, Grouping, PACKETS_MAX, Place, STEPS_MAX, Trail};
pub use owner::{Owner, owner};

/// Ends of one flow: both of its own, and what NAT may make of them at several hosts.
pub const ENDS_MAX: usize = 32;

/// Which packets are asked about.
///
/// A packet belongs if its protocol is that one and its source or its destination is one of the ends; and so does
/// an ICMP error about such a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Flow {
    /// The number of the protocol (`byway_wire::protocol`).
    pub protocol: u8,
    /// The ends; one without a port means all packets of its address. At most [`ENDS_MAX`] are looked at.
    pub ends: Vec<End>,
}

impl Flow {
    /// The ends that are looked at.
    pub fn bounded_ends(&self) -> impl Iterator<Item = &End> {
        self.ends.iter().take(ENDS_MAX)
    }

    /// Whether a packet belongs.
    #[must_use]
    pub fn holds(&self, packet: &Packet<'_>) -> bool {
        if let Transport::Icmp(icmp) = packet.transport
            && let IcmpMessage::Error(error) = icmp.message
            && let Ok(about) = error.about()
        {
            return self.holds_itself(packet) || self.holds_itself(&about);
        }
        self.holds_itself(packet)
    }

    fn holds_itself(&self, packet: &Packet<'_>) -> bool {
        let (from, to) = packet.transport.ports().unzip();
        // A later fragment has no ports, so its address must do.
        let is_end = |address: IpAddr, port: Option<u16>| {
            let fits = |end: &End| end.port.is_none() || port.is_none() || end.port == port;
            self.bounded_ends().any(|end| end.address == address && fits(end))
        };
        packet.protocol == self.protocol && (is_end(packet.source, from) || is_end(packet.destination, to))
    }
}

/// What is known of a packet from its first bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketSummary {
    /// From whom, as it was there and then.
    pub source: End,
    /// To whom.
    pub destination: End,
    /// The number of the protocol.
    pub protocol: u8,
    /// Routers that may still pass it on.
    pub ttl: u8,
    /// If it is ICMP, what kind.
    pub icmp: Option<IcmpSummary>,
    /// The packet in one line.
    pub text: String,
}

/// An ICMP message in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcmpSummary {
    /// The type.
    pub kind: u8,
    /// The code.
    pub code: u8,
    /// An echo's number of the conversation.
    pub id: Option<u16>,
    /// An echo's number in it.
    pub sequence: Option<u16>,
}

impl PacketSummary {
    /// Reads the first bytes of a packet, from its IP header; none if not even the addresses are there.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Packet::decode(bytes).ok().map(|packet| Self::of(&packet))
    }

    /// What a packet shows.
    #[must_use]
    pub fn of(packet: &Packet<'_>) -> Self {
        let (from, to) = packet.transport.ports().unzip();
        let icmp = match packet.transport {
            Transport::Icmp(icmp) => {
                let (id, sequence) = match icmp.message {
                    IcmpMessage::EchoRequest(echo) | IcmpMessage::EchoReply(echo) => {
                        (Some(echo.id), Some(echo.sequence))
                    }
                    IcmpMessage::Error(_) | IcmpMessage::Other(_) => (None, None),
                };
                Some(IcmpSummary { kind: icmp.kind, code: icmp.code, id, sequence })
            }
            _ => None,
        };
        Self {
            source: End { address: packet.source, port: from },
            destination: End { address: packet.destination, port: to },
            protocol: packet.protocol,
            ttl: packet.ttl,
            icmp,
            text: packet.to_string(),
        }
    }
}

/// One packet and the rules that it met on one host, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedPacket {
    /// The packet as it came, before anybody rewrote it. None if the kernel did not show it.
    pub packet: Option<PacketSummary>,
    /// The packet as the last chain saw it, if that differs: rewritten, or with a lower TTL.
    pub rewritten: Option<PacketSummary>,
    /// The interface that it came in by; none for one of the host's own.
    pub iif: Option<String>,
    /// The interface that it was to leave by, as far as it came.
    pub oif: Option<String>,
    /// What rules and policies said of it. The one of our own that asked for the trace is left out.
    pub steps: Vec<RuleStep>,
    /// How many more steps there were than [`STEPS_MAX`].
    pub steps_left_out: usize,
}

impl TracedPacket {
    /// The step that ended it, if one did: a drop of a rule or a policy, on this host.
    #[must_use]
    pub fn end(&self) -> Option<&RuleStep> {
        self.steps.iter().rev().find(|step| step.verdict.ends())
    }
}

/// What one rule, or a chain's policy, said of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStep {
    /// The family of the table: `ip`, `ip6`, `inet`, `bridge`, `netdev`, `arp`.
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain in it.
    pub chain: String,
    /// Where a base chain hangs (`forward`), if that is known.
    pub hook: Option<String>,
    /// Its priority there, as nft says it (`filter`, `-300`).
    pub priority: Option<String>,
    /// The number of the rule, which `nft -a` prints; none for a policy.
    pub handle: Option<u64>,
    /// The rule as people know it: what `iptables-save` prints for a table of iptables (`-A FORWARD …`), or else
    /// what nft prints. None for a policy, or if the rule has gone.
    pub rule: Option<String>,
    /// Whose it is.
    pub owner: Owner,
    /// What it said.
    pub verdict: Verdict,
}

impl fmt::Display for RuleStep {
    /// `table ip filter, chain FORWARD: -A FORWARD -s 10.0.0.1/32 -j DROP (Docker): drop`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {}, chain {}: ", self.family, self.table, self.chain)?;
        match (&self.rule, self.handle) {
            (Some(rule), _) => write!(f, "{rule}")?,
            (None, Some(handle)) => write!(f, "rule with handle {handle}")?,
            (None, None) => write!(f, "policy")?,
        }
        write!(f, " ({}): {}", self.owner, self.verdict)
    }
}

/// What a rule or a policy says of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "chain", rename_all = "kebab-case")]
pub enum Verdict {
    /// This base chain is done with it; later ones may still drop it.
    Accept,
    /// It ends here; a reject too, which has answered before.
    Drop,
    /// On to another chain, and back.
    Jump(String),
    /// On to another chain, for good.
    Goto(String),
    /// Back to the chain that jumped here, by a rule or at the chain's end.
    Return,
    /// On with the next rule.
    Continue,
    /// A program decides.
    Queue,
    /// Somebody in the kernel has taken it over (`fwd`, `synproxy`).
    Stolen,
    /// No rule of the base chain decided, and its policy lets it through.
    PolicyAccept,
    /// No rule of the base chain decided, and its policy ends it.
    PolicyDrop,
    /// A number that is not known here.
    Unknown(String),
}

impl Verdict {
    /// Whether the packet goes no further.
    #[must_use]
    pub fn ends(&self) -> bool {
        matches!(self, Self::Drop | Self::PolicyDrop)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Return => f.write_str("return"),
            Self::Continue => f.write_str("continue"),
            Self::Queue => f.write_str("queue"),
            Self::Stolen => f.write_str("stolen"),
            Self::PolicyAccept => f.write_str("policy accept"),
            Self::PolicyDrop => f.write_str("policy drop"),
            Self::Unknown(code) => write!(f, "verdict {code}"),
        }
    }
}

#[cfg(test)]
mod tests;
