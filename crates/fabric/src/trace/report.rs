//! Everything that a trace found out, put together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::clock::{self, Offset, RoundTrip};
use super::path::{Path, Side};
use super::question::Answers;
use super::sort::{Answer, Probes, Sorted, sort};
use super::verdict::{Case, Verdict, judge};
use super::watch::{Frame, ProbeReport};
use crate::cluster::{Cluster, HostName};
use crate::evidence::{CounterChange, KernelDrop, TracedPacket};
use crate::journey::{End, Journey, Sighting, WatchPoint, stitch};

/// What hosts told of the probes of one order.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// The hosts.
    pub cluster: &'a Cluster,
    /// What was sent.
    pub probes: &'a Probes,
    /// From whom.
    pub from: End,
    /// Both ends as their hosts see them; the second is missing where nobody there can be asked.
    pub sides: (&'a Side, Option<&'a Side>),
    /// The points where somebody watched, in their order.
    pub path: &'a Path,
    /// What the sender knows.
    pub sent: &'a ProbeReport,
    /// The frames.
    pub frames: &'a [(WatchPoint, &'a Frame)],
    /// Rules that packets met.
    pub rules: &'a [(HostName, TracedPacket)],
    /// Rules of iptables-legacy that counted packets meanwhile.
    pub counters: &'a [(HostName, CounterChange)],
    /// Packets that a kernel dropped.
    pub drops: &'a [(HostName, KernelDrop)],
    /// Hosts that could not be asked, and why.
    pub silent: &'a BTreeMap<HostName, String>,
}

/// One probe and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Its way there.
    pub there: Journey,
    /// The way of its answer; none if nothing of one was seen.
    pub back: Option<Journey>,
    /// What the answer was.
    pub answer: Option<Answer>,
    /// Errors about it, each with the way it came.
    pub errors: Vec<Journey>,
    /// The rules that rewrote it or its answer, each with its host.
    pub rewritten_by: Vec<String>,
    /// From when it left its sender to when the answer was back, in nanoseconds by the sender's clock.
    pub round_trip_ns: Option<u64>,
    /// What became of it.
    pub verdict: Verdict,
}

/// How two hosts' clocks differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockOffset {
    /// Whose clock.
    pub host: HostName,
    /// Than whose.
    pub than: HostName,
    /// By how much it is ahead.
    #[serde(flatten)]
    pub offset: Offset,
}

impl Seen<'_> {
    /// Which frames belong to which probe.
    #[must_use]
    pub fn sorted(&self) -> Vec<Sorted> {
        sort(self.probes, self.frames)
    }

    /// Whether every probe and its answer were seen at every point of their way.
    #[must_use]
    pub fn complete(&self) -> bool {
        let whole = |sorted: Sorted| {
            stitch(&self.path.there, sorted.request).arrived()
                && stitch(&self.path.back, sorted.reply).arrived()
        };
        self.sorted().into_iter().all(whole)
    }

    /// Tells what became of each probe. `answers` are what hosts said when they were asked about what was lost.
    #[must_use]
    pub fn told(&self, answers: &BTreeMap<HostName, Answers>) -> Vec<Told> {
        let tell = |(sorted, sent): (Sorted, &super::watch::Sent)| {
            let there = stitch(&self.path.there, sorted.request.clone());
            let back = stitch(&self.path.back, sorted.reply.clone());
            let case = Case {
                cluster: self.cluster,
                kind: self.probes.kind,
                from: self.sender(sent),
                to: self.probes.to,
                sides: self.sides,
                sent,
                sorted: &sorted,
                there: &there,
                back: &back,
                rules: self.rules,
                counters: self.counters,
                drops: self.drops,
                answers,
                silent: self.silent,
            };
            let (verdict, rewritten_by) = (judge(&case), case.rewritten_by());
            let errors =
                sorted.errors.iter().map(|error| stitch(&self.path.back, error.seen.clone())).collect();
            Told {
                round_trip_ns: round_trip(&there, &back),
                there,
                back: (!sorted.reply.is_empty()).then_some(back),
                answer: sorted.answer,
                errors,
                rewritten_by,
                verdict,
            }
        };
        self.sorted().into_iter().zip(&self.sent.sent).map(tell).collect()
    }

    fn sender(&self, sent: &super::watch::Sent) -> End {
        End { address: self.from.address, port: (sent.port != 0).then_some(sent.port) }
    }

    /// How far the clocks of neighbouring hosts are apart, from packets that went both ways between them.
    #[must_use]
    pub fn clocks(&self) -> Vec<ClockOffset> {
        let mut hosts: Vec<&HostName> = self.path.there.iter().map(|point| &point.host).collect();
        hosts.dedup();
        let sorted = self.sorted();
        let pair = |pair: &[&HostName]| {
            let [than, host] = pair else { return None };
            let trips = sorted
                .iter()
                .filter_map(|sorted| trip(&self.path.there, &self.path.back, sorted, than, host));
            Some(ClockOffset { host: (*host).clone(), than: (*than).clone(), offset: clock::best(trips)? })
        };
        hosts.windows(2).filter_map(pair).collect()
    }
}

fn round_trip(there: &Journey, back: &Journey) -> Option<u64> {
    let left = there.hops.first()?.seen.as_ref()?;
    let came = back.hops.last()?.seen.as_ref()?;
    (left.first.at.host == came.first.at.host).then(|| came.first.time_ns.checked_sub(left.first.time_ns))?
}

/// The times at the ends of the link between two hosts.
fn trip(
    there: &[WatchPoint],
    back: &[WatchPoint],
    sorted: &Sorted,
    here: &HostName,
    other: &HostName,
) -> Option<RoundTrip> {
    let time = |points: &[WatchPoint], seen: &[Sighting], host: &HostName, last: bool| {
        let mut on_host = points.iter().filter(|point| point.host == *host);
        let point = if last { on_host.next_back() } else { on_host.next() }?;
        seen.iter().filter(|sighting| sighting.at == *point).map(|sighting| sighting.time_ns).min()
    };
    Some(RoundTrip {
        left_here: time(there, &sorted.request, here, true)?,
        came_there: time(there, &sorted.request, other, false)?,
        left_there: time(back, &sorted.reply, other, true)?,
        came_here: time(back, &sorted.reply, here, false)?,
    })
}
