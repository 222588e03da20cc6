//! Joins trace messages to the way of each packet through the rules of one host.
//!
//! The kernel's number for a packet comes again with later packets of the same flow. But whoever asked for the trace
//! did it with a rule of his own that accepts, in a chain that comes before all others: its message begins a packet.
//!
//! And the number changes on the way where a bridge asks the rules of IP (`br_netfilter`, as Docker wants it): it is made
//! of the interface too, which is the port at first and then the bridge. Then the packet is known by its headers.

use std::collections::BTreeMap;

use super::trace_bytes::{Likeness, TraceMessage};
use super::{PacketSummary, Verdict};

/// Packets that are kept of one trace. A trace follows a few probes; one that is left on a busy flow must end somewhere.
pub const PACKETS_MAX: usize = 1024;
/// Steps that are kept of one packet: more than the longest way through the rules of a host with Kubernetes.
pub const STEPS_MAX: usize = 512;

/// How many packets back one is looked for whose number has changed: as many as can be under way at once in one host's
/// rules, many times over.
const RECENT_MAX: usize = 64;

/// How the names of the chains begin that ask for traces, of this trace and of others at the same time. (The table
/// that keeps the cluster has the same name in another family, and is evidence like any other.)
pub const ASKING_CHAINS: &str = "trace-";

/// Where a packet was judged: family, table, chain and the rule's handle (none for the chain's policy).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The family of the table.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule.
    pub handle: Option<u64>,
}

/// The way of one packet, before names and texts are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trail {
    /// The packet as it came.
    pub packet: Option<PacketSummary>,
    /// The packet as the last chain saw it.
    pub last: Option<PacketSummary>,
    /// The interface that it came in by.
    pub iif: Option<u32>,
    /// The interface that it was to leave by.
    pub oif: Option<u32>,
    /// What was said of it, and where.
    pub steps: Vec<(Place, Verdict)>,
    /// How many steps more than [`STEPS_MAX`].
    pub steps_left_out: usize,
}

/// Takes messages in and gives packets out.
#[derive(Debug)]
pub struct Grouping {
    own: String,
    trails: Vec<Trail>,
    /// Which of the trails a number means now.
    open: BTreeMap<u32, usize>,
    /// What each of the trails is known by.
    known: Vec<Option<Likeness>>,
    packets_left_out: u64,
}

impl Grouping {
    /// For the trace that the rules of the table `own` ask for.
    #[must_use]
    pub fn new(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            trails: Vec::new(),
            open: BTreeMap::new(),
            known: Vec::new(),
            packets_left_out: 0,
        }
    }

    /// Takes a message in. One of a packet that somebody else traces is passed over.
    pub fn take(&mut self, message: TraceMessage) {
        let is_asking = message.chain.starts_with(ASKING_CHAINS);
        if is_asking && message.table == self.own && message.handle.is_some() {
            self.begin(message.id, message.likeness.clone());
        } else if let Some(likeness) = &message.likeness {
            self.recognise(message.id, likeness);
        }
        let Some(trail) = self.open.get(&message.id).and_then(|nth| self.trails.get_mut(*nth)) else {
            return;
        };
        trail.iif = trail.iif.or(message.iif);
        trail.oif = message.oif.or(trail.oif);
        if let Some(packet) = message.packet {
            trail.packet.get_or_insert_with(|| packet.clone());
            trail.last = Some(packet);
        }
        let is_end_of_chain =
            message.handle.is_none() && matches!(message.verdict, Verdict::Continue | Verdict::Return);
        if is_asking || is_end_of_chain {
            return;
        }
        let TraceMessage { family, table, chain, handle, verdict, .. } = message;
        if trail.steps.len() < STEPS_MAX {
            trail.steps.push((Place { family, table, chain, handle }, verdict));
        } else {
            trail.steps_left_out += 1;
        }
    }

    /// A number that is shown with a packet means that packet from here on.
    fn recognise(&mut self, id: u32, likeness: &Likeness) {
        let is_it = |nth: &usize| self.known[*nth].as_ref() == Some(likeness);
        if self.open.get(&id).is_some_and(is_it) {
            return;
        }
        let recent = (0..self.trails.len()).rev().take(RECENT_MAX);
        let goes_on =
            |nth: &usize| !self.trails[*nth].steps.last().is_some_and(|(_, verdict)| verdict.ends());
        match recent.filter(is_it).find(goes_on) {
            Some(nth) => self.open.insert(id, nth),
            // Somebody else's packet.
            None => self.open.remove(&id),
        };
    }

    fn begin(&mut self, id: u32, likeness: Option<Likeness>) {
        if self.trails.len() < PACKETS_MAX {
            self.open.insert(id, self.trails.len());
            self.trails.push(Trail::default());
            self.known.push(likeness);
        } else {
            self.open.remove(&id);
            self.packets_left_out += 1;
        }
    }

    /// The packets in the order in which they came, and how many more there were than [`PACKETS_MAX`].
    #[must_use]
    pub fn finish(self) -> (Vec<Trail>, u64) {
        (self.trails, self.packets_left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: u32, table: &str, chain: &str, handle: Option<u64>, verdict: Verdict) -> TraceMessage {
        let (table, chain) = (table.to_owned(), chain.to_owned());
        TraceMessage {
            id,
            family: "ip",
            table,
            chain,
            handle,
            verdict,
            iif: Some(3),
            oif: None,
            packet: None,
        }
    }

    fn told(grouping: Grouping) -> Vec<String> {
        let (trails, _) = grouping.finish();
        let step =
            |(place, verdict): &(Place, Verdict)| format!("{} {}: {verdict}", place.table, place.chain);
        trails.iter().map(|trail| trail.steps.iter().map(step).collect::<Vec<_>>().join(", ")).collect()
    }

    #[test]
    fn each_message_of_our_own_begins_a_packet_though_its_number_comes_again() {
        let mut grouping = Grouping::new("byway");
        for _ in 0..2 {
            grouping.take(message(7, "byway", "trace-prerouting", Some(2), Verdict::Accept));
            grouping.take(message(7, "filter", "FORWARD", Some(5), Verdict::Continue));
            grouping.take(message(7, "filter", "FORWARD", None, Verdict::PolicyDrop));
        }
        let one = "filter FORWARD: continue, filter FORWARD: policy drop";
        assert_eq!(told(grouping), [one, one]);
    }

    #[test]
    fn what_others_trace_is_passed_over_and_our_lasting_table_is_evidence() {
        let mut grouping = Grouping::new("byway-2");
        grouping.take(message(8, "byway", "trace-prerouting", Some(2), Verdict::Accept));
        grouping.take(message(8, "filter", "FORWARD", Some(5), Verdict::Drop));
        grouping.take(message(7, "byway", "trace-prerouting", Some(2), Verdict::Accept));
        grouping.take(message(7, "byway-2", "trace-prerouting", Some(2), Verdict::Accept));
        grouping.take(message(7, "byway", "forward", Some(5), Verdict::Drop));
        assert_eq!(told(grouping), ["byway forward: drop"]);
    }

    #[test]
    fn packets_and_steps_have_their_limits_and_what_is_left_out_is_counted() {
        let mut grouping = Grouping::new("byway");
        for id in 0..=u32::try_from(PACKETS_MAX).unwrap() {
            grouping.take(message(id, "byway", "trace-output", Some(2), Verdict::Accept));
            grouping.take(message(id, "filter", "OUTPUT", Some(5), Verdict::Accept));
        }
        for _ in 0..STEPS_MAX {
            grouping.take(message(0, "filter", "OUTPUT", Some(5), Verdict::Continue));
        }
        let (trails, left_out) = grouping.finish();
        assert_eq!((trails.len(), left_out), (PACKETS_MAX, 1));
        assert_eq!((trails[0].steps.len(), trails[0].steps_left_out), (STEPS_MAX, 1));
    }
}
