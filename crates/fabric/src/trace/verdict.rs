//! What became of a probe, in one sentence, with the evidence for it and what to do.
//!
//! The evidence is weighed in this order, because each says more than what comes after it: what the sender's own
//! kernel refused; a rule that was seen to end it; an answer that says why; what the kernel would do with such a
//! packet now (routes, forwarding, neighbours, interfaces); the kernel's own word for the drop; and if there is
//! nothing, between which two points it was lost.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Whereabouts;
use super::path::Side;
use super::question::Answers;
use super::sort::{Answer, Sorted};
use super::watch::{ProbeKind, Sent};
use crate::cluster::{Cluster, HostName};
use crate::evidence::{CounterChange, KernelDrop, PacketSummary, TracedPacket};
use crate::journey::{Change, End, Journey, Outcome, Sighting, WatchPoint};

mod advice;
mod answered;
mod errors;
mod lost;
mod rules;
mod ways;

/// Everything that is known about one probe.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The hosts.
    pub cluster: &'a Cluster,
    /// How the probe went.
    pub kind: ProbeKind,
    /// From whom.
    pub from: End,
    /// To whom.
    pub to: End,
    /// Both ends as their hosts see them; the second is missing where nobody there can be asked.
    pub sides: (&'a Side, Option<&'a Side>),
    /// What its sender knows.
    pub sent: &'a Sent,
    /// The frames of it that were seen.
    pub sorted: &'a Sorted,
    /// Its way there.
    pub there: &'a Journey,
    /// The way of its answer.
    pub back: &'a Journey,
    /// Rules that packets met.
    pub rules: &'a [(HostName, TracedPacket)],
    /// Rules of iptables-legacy that counted packets meanwhile.
    pub counters: &'a [(HostName, CounterChange)],
    /// Packets that a kernel dropped.
    pub drops: &'a [(HostName, KernelDrop)],
    /// What hosts answered after it was lost.
    pub answers: &'a BTreeMap<HostName, Answers>,
    /// Hosts that could not be asked, and why.
    pub silent: &'a BTreeMap<HostName, String>,
}

/// What became of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// In one word.
    pub cause: Cause,
    /// Where it ended, if it did.
    pub host: Option<HostName>,
    /// In one sentence without a full stop.
    pub sentence: String,
    /// What tells so, a line each.
    pub evidence: Vec<String>,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Why a probe ended where it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It arrived, and its answer too.
    Arrived,
    /// Both arrived, but the receiver saw another source.
    ArrivedRewritten,
    /// It arrived, and nobody answered.
    NoAnswer,
    /// Nobody listens at that port.
    PortClosed,
    /// Somebody listens at that port, but not at that address.
    OtherAddress,
    /// A rule dropped it.
    Rule,
    /// The policy of a chain dropped it.
    Policy,
    /// A firewall answered that it may not pass.
    Rejected,
    /// There is no route.
    NoRoute,
    /// A route says that it goes nowhere.
    RouteRefuses,
    /// A route leads to somebody who does not have it.
    WrongNextHop,
    /// The next hop does not answer.
    NextHopSilent,
    /// The address is bound to another link address.
    WrongNeighbour,
    /// Nobody has that address.
    NobodyThere,
    /// Two hosts have that subnet.
    DuplicateSubnet,
    /// Its source is not reached back by the interface that it came in by.
    ReversePath,
    /// A host does not forward.
    ForwardingOff,
    /// It is too large.
    TooBig,
    /// Its TTL ended.
    TtlExpired,
    /// An interface is down.
    InterfaceDown,
    /// The kernel dropped it for another reason.
    KernelDrop,
    /// The sender's own kernel refused it.
    SenderRefused,
    /// Lost between two hosts.
    LostBetweenHosts,
    /// Lost on a host, nobody knows how.
    LostOnHost,
    /// It went to where nobody can be asked.
    Unknown,
}

impl Cause {
    /// Whether the probe and its answer arrived.
    #[must_use]
    pub fn arrived(self) -> bool {
        matches!(self, Self::Arrived | Self::ArrivedRewritten)
    }
}

/// Judges.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    if case.there.outcome == Outcome::NeverSeen && case.sorted.reply.is_empty() {
        return case.never_left();
    }
    if let Outcome::Lost { .. } = case.there.outcome
        && !case.reached()
    {
        return case.lost(&Leg::there(case));
    }
    match (case.sorted.answer, case.back.arrived()) {
        (Some(Answer::Refused), true) => case.refused(),
        (Some(_), true) => case.arrived(),
        (Some(Answer::Refused), false) if !case.answer_is_the_receivers() => case.lost(&Leg::there(case)),
        (Some(_), false) => case.lost(&Leg::back(case)),
        (None, _) => case.unanswered(),
    }
}

/// One of the two ways.
#[derive(Debug, Clone, Copy)]
struct Leg<'a> {
    back: bool,
    journey: &'a Journey,
    /// Everything that was seen of the packet.
    seen: &'a [Sighting],
    from: End,
    to: End,
    /// As the host of the sender sees both ends.
    sender: Option<&'a Side>,
    /// As the host of the receiver does.
    receiver: Option<&'a Side>,
}

impl<'a> Leg<'a> {
    fn there(case: &Case<'a>) -> Self {
        let (sender, receiver) = case.sides;
        Self {
            back: false,
            journey: case.there,
            seen: &case.sorted.request,
            from: case.from,
            to: case.to,
            sender: Some(sender),
            receiver,
        }
    }

    fn back(case: &Case<'a>) -> Self {
        let (receiver, sender) = case.sides;
        Self {
            back: true,
            journey: case.back,
            seen: &case.sorted.reply,
            from: case.to,
            to: case.from,
            sender,
            receiver: Some(receiver),
        }
    }

    /// The subject of the sentence.
    fn packet(&self) -> &'static str {
        if self.back { "the answer" } else { "the packet" }
    }

    /// Where it was last seen, and where it should have been seen next.
    fn gap(&self) -> (Option<&'a WatchPoint>, Option<&'a WatchPoint>) {
        match &self.journey.outcome {
            Outcome::Lost { after, before } => (Some(after), Some(before)),
            Outcome::Arrived => (self.journey.hops.last().map(|hop| &hop.at), None),
            Outcome::NeverSeen => (None, self.journey.hops.first().map(|hop| &hop.at)),
        }
    }

    /// The hosts where it may have ended, the likeliest first.
    fn hosts(&self) -> Vec<&'a HostName> {
        let (after, before) = self.gap();
        let mut hosts: Vec<&HostName> = after.into_iter().chain(before).map(|point| &point.host).collect();
        hosts.dedup();
        hosts
    }

    /// Whether a packet that a host tells of is this one, as far as its ends tell.
    fn is(&self, packet: &PacketSummary) -> bool {
        let like = |end: End, wanted: End| {
            end.address == wanted.address
                && (end.port.is_none() || wanted.port.is_none() || end.port == wanted.port)
        };
        let is_request_or_reply = |kind: u8| match kind {
            8 | 128 => !self.back,
            0 | 129 => self.back,
            _ => false,
        };
        if packet.icmp.is_some_and(|icmp| !is_request_or_reply(icmp.kind)) {
            return false;
        }
        let fixed_end =
            if self.back { like(packet.source, self.from) } else { like(packet.destination, self.to) };
        // NAT may have put other ends in where it was seen.
        fixed_end
            || self
                .seen
                .iter()
                .any(|seen| seen.source == packet.source && seen.destination == packet.destination)
    }
}

impl Case<'_> {
    /// The rules that rewrote the probe or its answer, if anything did.
    #[must_use]
    pub fn rewritten_by(&self) -> Vec<String> {
        let rewrites = |change: &&Change| {
            matches!(change, Change::SourceRewritten { .. } | Change::DestinationRewritten { .. })
        };
        let hops = self.there.hops.iter().chain(&self.back.hops).filter_map(|hop| hop.seen.as_ref());
        if hops.flat_map(|seen| &seen.changes).find(rewrites).is_none() {
            return Vec::new();
        }
        let rules = rules::rewriting(self, &Leg::there(self));
        rules.iter().map(|(host, step)| format!("on {host}: {}", rules::told(step))).collect()
    }

    /// Whether the probe came to its receiver, though not by every point that was predicted.
    fn reached(&self) -> bool {
        self.there.arrived() || (self.sorted.answer.is_some() && self.answer_is_the_receivers())
    }

    /// Whether the answer was seen where the receiver sends it, and is not somebody's on the way.
    fn answer_is_the_receivers(&self) -> bool {
        match self.back.hops.first() {
            None => true,
            Some(first) => first.seen.is_some() || self.sides.1.is_none(),
        }
    }

    /// The name by which people know an end.
    fn name(&self, end: End) -> String {
        let side = |side: &Side, first: bool| match (&side.this, first) {
            (Whereabouts::Container(cable), _) => Some(cable.container.clone()),
            (Whereabouts::Own { .. }, _) => Some(side.host.to_string()),
            _ => None,
        };
        let known = if end.address == self.from.address {
            side(self.sides.0, true)
        } else if end.address == self.to.address {
            self.sides.1.and_then(|other| side(other, false))
        } else {
            self.cluster
                .hosts
                .iter()
                .find(|host| host.addresses.contains(&end.address))
                .map(|host| host.name.to_string())
        };
        known.map_or_else(|| end.to_string(), |name| format!("{name} ({end})"))
    }

    /// The host that has an address on the underlay.
    fn host_at(&self, address: IpAddr) -> Option<&HostName> {
        self.cluster.hosts.iter().find(|host| host.addresses.contains(&address)).map(|host| &host.name)
    }

    /// The host whose subnets hold an address, or that has it itself.
    fn owner_of(&self, address: IpAddr) -> Option<&HostName> {
        let holds = |host: &&crate::cluster::Host| {
            host.addresses.contains(&address) || host.subnets.iter().any(|subnet| subnet.contains(&address))
        };
        self.cluster.hosts.iter().find(holds).map(|host| &host.name)
    }

    /// What rewrote the source of a probe under way, if anything did.
    fn rewritten_source(&self) -> Option<(End, End)> {
        let hops = self.there.hops.iter().filter_map(|hop| hop.seen.as_ref());
        hops.flat_map(|seen| &seen.changes).find_map(|change| match change {
            Change::SourceRewritten { from, to, .. } => Some((*from, *to)),
            _ => None,
        })
    }
}
