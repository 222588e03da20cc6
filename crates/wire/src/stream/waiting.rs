//! What waits in a connection: bytes with a hole before them, and bytes whose sender knew what is not here yet.

use std::collections::BTreeMap;

use super::Side;
use super::half::Since;

/// What it takes to keep one part beside its bytes, with its share of the tree: so many small parts are no way round
/// the bound.
const PART_BYTES: usize = 128;

/// Parts of both directions.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    sides: [BTreeMap<u64, Part>; 2],
    bytes: usize,
}

/// Bytes that wait, or the place of some that were cut off when they were captured.
#[derive(Debug)]
pub(super) struct Part {
    /// Nothing where they were cut off.
    pub(super) bytes: Box<[u8]>,
    /// Where the next part can be.
    pub(super) end: u64,
    pub(super) starts_segment: bool,
    pub(super) how: How,
}

/// How a part came.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// So far had its sender acknowledged the other side.
    pub(super) needs: u64,
    pub(super) since: Since,
}

/// A segment from the first of its bytes that was not handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fresh<'a> {
    pub(super) from: u64,
    /// As far as they were captured.
    pub(super) bytes: &'a [u8],
    pub(super) to: u64,
    pub(super) starts_segment: bool,
}

impl Waiting {
    /// In bytes, with what it takes to keep them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sides.iter().all(BTreeMap::is_empty)
    }

    /// Where the first part of a side is, and the part.
    pub(super) fn front(&self, side: Side) -> Option<(u64, &Part)> {
        self.sides[side as usize].first_key_value().map(|(from, part)| (*from, part))
    }

    pub(super) fn pop(&mut self, side: Side) -> Option<Part> {
        let (_, part) = self.sides[side as usize].pop_first()?;
        self.bytes -= part.weight();
        Some(part)
    }

    /// Whether some of these bytes do not wait already.
    pub(super) fn lacks(&self, side: Side, fresh: &Fresh<'_>) -> bool {
        let parts = &self.sides[side as usize];
        let captured = fresh.from + fresh.bytes.len() as u64;
        !uncovered(parts, fresh.from, captured, Count::BytesOnly).is_empty()
            || !uncovered(parts, captured, fresh.to, Count::All).is_empty()
    }

    /// Keeps what does not wait already. What came first stays; only in place of bytes that were cut off come others.
    pub(super) fn insert(&mut self, side: Side, fresh: &Fresh<'_>, how: How) {
        let captured = fresh.from + fresh.bytes.len() as u64;
        self.carve(side, fresh.from, captured);
        for (from, end) in uncovered(&self.sides[side as usize], fresh.from, captured, Count::All) {
            let bytes = part_of(fresh, from, end).into();
            let starts_segment = fresh.starts_segment && from == fresh.from;
            self.put(side, from, Part { bytes, end, starts_segment, how });
        }
        for (from, end) in uncovered(&self.sides[side as usize], captured, fresh.to, Count::All) {
            self.put(side, from, Part { bytes: Box::default(), end, starts_segment: false, how });
        }
    }

    /// These bytes came once more, in a segment whose sender had acknowledged less: sent earlier, though it came later.
    pub(super) fn relax(&mut self, side: Side, from: u64, to: u64, needs: u64) {
        for (_, part) in self.sides[side as usize].range_mut(from..to.max(from)) {
            if part.end <= to {
                part.how.needs = part.how.needs.min(needs);
            }
        }
    }

    fn put(&mut self, side: Side, from: u64, part: Part) {
        self.bytes += part.weight();
        self.sides[side as usize].insert(from, part);
    }

    /// Takes places of cut bytes out of a range.
    fn carve(&mut self, side: Side, from: u64, to: u64) {
        let parts = &self.sides[side as usize];
        let cut: Vec<u64> =
            overlapping(parts, from, to).filter(|(_, part)| part.is_cut()).map(|(at, _)| at).collect();
        for at in cut {
            let Some(part) = self.sides[side as usize].remove(&at) else { continue };
            self.bytes -= part.weight();
            let rest = |end| Part { bytes: Box::default(), end, starts_segment: false, how: part.how };
            if at < from {
                self.put(side, at, rest(from));
            }
            if part.end > to {
                self.put(side, to, rest(part.end));
            }
        }
    }
}

impl Part {
    fn is_cut(&self) -> bool {
        self.bytes.is_empty()
    }

    fn weight(&self) -> usize {
        self.bytes.len() + PART_BYTES
    }
}

/// What covers a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    All,
    /// Not the places of cut bytes.
    BytesOnly,
}

/// The parts that have something in a range, in order. No part overlaps another, so at most one starts before it.
fn overlapping(parts: &BTreeMap<u64, Part>, from: u64, to: u64) -> impl Iterator<Item = (u64, &Part)> {
    let before = parts.range(..from).next_back().filter(|(_, part)| part.end > from);
    let within = (from < to).then(|| parts.range(from..to)).into_iter().flatten();
    before.filter(|_| from < to).into_iter().chain(within).map(|(at, part)| (*at, part))
}

/// The ranges between the parts.
fn uncovered(parts: &BTreeMap<u64, Part>, from: u64, to: u64, count: Count) -> Vec<(u64, u64)> {
    let mut at = from;
    let mut ranges = Vec::new();
    for (start, part) in
        overlapping(parts, from, to).filter(|(_, part)| count == Count::All || !part.is_cut())
    {
        if start > at {
            ranges.push((at, start));
        }
        at = at.max(part.end);
    }
    if at < to {
        ranges.push((at, to));
    }
    ranges
}

fn part_of<'a>(fresh: &Fresh<'a>, from: u64, end: u64) -> &'a [u8] {
    let place = |offset: u64| usize::try_from(offset - fresh.from).unwrap_or(usize::MAX);
    fresh.bytes.get(place(from)..place(end)).unwrap_or_default()
}
