//! How far apart the clocks of files are, from packets that passed from one to the other and back.

use std::collections::BTreeMap;

use super::glimpse::Glimpse;
use super::group::Packets;
use crate::trace::clock::{Offset, RoundTrip};

/// What is known of how far the second file's clock is ahead of the first's, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// From packets both ways.
    Known(Offset),
    /// At most, as packets went from the first to the second only.
    AtMost(i128),
    /// At least, as packets went from the second to the first only.
    AtLeast(i128),
}

/// For each pair of files, the smaller number first, that a packet passed one after the other.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    pub(super) pairs: BTreeMap<(u16, u16), Ahead>,
}

/// A packet from one file to the next: whether from the first to the second, and when each saw it.
#[derive(Debug, Clone, Copy)]
struct Crossing {
    forth: bool,
    first_ns: u64,
    second_ns: u64,
}

impl Clocks {
    pub(super) fn of(packets: &Packets, glimpses: &[Glimpse], files: &[u16]) -> Self {
        let mut crossings: BTreeMap<(u16, u16), Vec<Crossing>> = BTreeMap::new();
        for nth in (0..packets.len()).filter(|nth| packets.sure(*nth) && !packets.ends[*nth].assumed) {
            for pair in packets.of(nth).windows(2) {
                let [a, b] = [pair[0], pair[1]].map(|at| &glimpses[at as usize]);
                let [from, to] = [a, b].map(|it| files[usize::from(it.point)]);
                if from < to {
                    let crossing = Crossing { forth: true, first_ns: a.time_ns, second_ns: b.time_ns };
                    crossings.entry((from, to)).or_default().push(crossing);
                } else if to < from {
                    let crossing = Crossing { forth: false, first_ns: b.time_ns, second_ns: a.time_ns };
                    crossings.entry((to, from)).or_default().push(crossing);
                }
            }
        }
        let pairs = crossings.into_iter().filter_map(|(files, crossings)| Some((files, ahead(crossings)?)));
        Self { pairs: pairs.collect() }
    }

    /// How far `to` is ahead of `from`.
    pub(super) fn offset(&self, from: u16, to: u16) -> Option<Offset> {
        match self.pairs.get(&(from.min(to), from.max(to)))? {
            Ahead::Known(offset) if from < to => Some(*offset),
            Ahead::Known(offset) => Some(Offset { ns: offset.ns.checked_neg()?, ..*offset }),
            Ahead::AtMost(_) | Ahead::AtLeast(_) => None,
        }
    }
}

fn ahead(mut crossings: Vec<Crossing>) -> Option<Ahead> {
    crossings.sort_unstable_by_key(|crossing| (crossing.first_ns, crossing.second_ns, crossing.forth));
    if let Some(offset) = best(&crossings) {
        return Some(Ahead::Known(offset));
    }
    let apart = |crossing: &Crossing| i128::from(crossing.second_ns) - i128::from(crossing.first_ns);
    let (forth, back): (Vec<Crossing>, Vec<Crossing>) = crossings.iter().partition(|crossing| crossing.forth);
    match (forth.iter().map(apart).min(), back.iter().map(apart).max()) {
        (Some(most), None) => Some(Ahead::AtMost(most)),
        (None, Some(least)) => Some(Ahead::AtLeast(least)),
        _ => None,
    }
}

/// The best estimate of all neighbours in time of which one went there and the other back.
fn best(crossings: &[Crossing]) -> Option<Offset> {
    let pairs = crossings.windows(2).filter_map(|pair| match (pair[0], pair[1]) {
        (there, back) if there.forth && !back.forth => RoundTrip {
            left_here: there.first_ns,
            came_there: there.second_ns,
            left_there: back.second_ns,
            came_here: back.first_ns,
        }
        .offset(),
        (back, there) if !back.forth && there.forth => {
            let seen_from_there = RoundTrip {
                left_here: back.second_ns,
                came_there: back.first_ns,
                left_there: there.first_ns,
                came_here: there.second_ns,
            };
            let offset = seen_from_there.offset()?;
            Some(Offset { ns: offset.ns.checked_neg()?, ..offset })
        }
        _ => None,
    });
    pairs.min_by_key(|offset| offset.uncertainty_ns)
}
