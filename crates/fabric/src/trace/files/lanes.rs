//! Which of two files is nearer to the sender, where neither TTL nor directions tell.
//!
//! A packet is seen later by the file that it reaches later, and then that file's clock may be wrong by any time. But it
//! is wrong by the same time for packets that go the other way, and those are seen later by the other file:
//!
//! ```text
//! there:  time(B) - time(A) = offset + time under way      so there - back is the time under way, twice: if it is
//! back:   time(B) - time(A) = offset - time under way      positive, packets "there" go from A to B
//! ```

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::glimpse::Glimpse;

/// Pairs of addresses whose way is found out; those of a scanner are not needed.
const LANES_MAX: usize = 64 << 10;

/// Packets between pairs of addresses, as pairs of files saw them.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<Lane, Seen>,
}

/// Two files, the one with the smaller number first, and from whom to whom.
type Lane = (u16, u16, u32, u32);

/// How much later the second file saw them.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    sum_ns: i128,
    count: i128,
}

impl Lanes {
    /// One packet, as two files saw it.
    pub(super) fn note(&mut self, a: &Glimpse, b: &Glimpse, files: &[u16]) {
        let (lane, apart, _) = lane(a, b, files);
        if self.lanes.len() >= LANES_MAX && !self.lanes.contains_key(&lane) {
            return;
        }
        let seen = self.lanes.entry(lane).or_default();
        seen.sum_ns += apart;
        seen.count += 1;
    }

    /// Which of the two saw this packet first; `None` if nothing went the other way.
    pub(super) fn order(&self, a: &Glimpse, b: &Glimpse, files: &[u16]) -> Option<Ordering> {
        let (lane, _, turned) = lane(a, b, files);
        let back = (lane.0, lane.1, lane.3, lane.2);
        let (there, back) = (self.lanes.get(&lane)?, self.lanes.get(&back)?);
        // The means, without dividing; sums of 2^23 times of 2^64 are far from the bounds.
        let later = (there.sum_ns.checked_mul(back.count)?).cmp(&back.sum_ns.checked_mul(there.count)?);
        match later {
            Ordering::Equal => None,
            Ordering::Greater => Some(if turned { Ordering::Greater } else { Ordering::Less }),
            Ordering::Less => Some(if turned { Ordering::Less } else { Ordering::Greater }),
        }
    }
}

/// The lane, how much later the second file saw it, and whether `b` is of the first file.
fn lane(a: &Glimpse, b: &Glimpse, files: &[u16]) -> (Lane, i128, bool) {
    let file = |glimpse: &Glimpse| files[usize::from(glimpse.point)];
    let turned = file(b) < file(a);
    let (first, second) = if turned { (b, a) } else { (a, b) };
    let apart = i128::from(second.time_ns) - i128::from(first.time_ns);
    ((file(first), file(second), first.flow.source, first.flow.destination), apart, turned)
}
