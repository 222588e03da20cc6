//! How far two hosts' clocks are apart, estimated from packets that went both ways between them, with what the
//! estimate cannot know.
//!
//! ```text
//! here   t1 ─────────┐              ┌────────── t4        offset      = ((t2 - t1) + (t3 - t4)) / 2
//! there         t2 ──┘──── … ──── t3┘                     uncertainty = ((t4 - t1) - (t3 - t2)) / 2
//! ```
//!
//! The way there and the way back may take differently long, which nobody can see from the ends; what both took
//! together bounds the mistake (RFC 5905, section 8).

use serde::Serialize;

/// One packet there and one back, as nanoseconds of the clocks of two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrip {
    /// The first packet left here.
    pub left_here: u64,
    /// It came there, by the other clock.
    pub came_there: u64,
    /// The second left there, by the other clock.
    pub left_there: u64,
    /// It came here.
    pub came_here: u64,
}

/// How far the other clock is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Offset {
    /// In nanoseconds; negative if it is behind.
    pub ns: i64,
    /// It may be more or less by so much, in nanoseconds.
    pub uncertainty_ns: u64,
}

impl RoundTrip {
    /// The estimate from this pair; none where a clock was set in between, so that the time spent under way would be
    /// negative, or the clocks are centuries apart.
    #[must_use]
    pub fn offset(&self) -> Option<Offset> {
        let apart = |later: u64, earlier: u64| i128::from(later) - i128::from(earlier);
        let (here, there) = (apart(self.came_here, self.left_here), apart(self.left_there, self.came_there));
        let under_way = here - there;
        if here < 0 || there < 0 || under_way < 0 {
            return None;
        }
        // Rounded down whatever its sign: a clock that is set changes the offset by just that.
        let both = apart(self.came_there, self.left_here) + apart(self.left_there, self.came_here);
        let ahead = both.div_euclid(2);
        Some(Offset {
            ns: ahead.try_into().ok()?,
            uncertainty_ns: u64::try_from(under_way).ok()?.div_ceil(2),
        })
    }
}

/// The best of several estimates: the one that knows most.
#[must_use]
pub fn best(trips: impl IntoIterator<Item = RoundTrip>) -> Option<Offset> {
    trips.into_iter().filter_map(|trip| trip.offset()).min_by_key(|offset| offset.uncertainty_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trip(t1: u64, t2: u64, t3: u64, t4: u64) -> RoundTrip {
        RoundTrip { left_here: t1, came_there: t2, left_there: t3, came_here: t4 }
    }

    #[test]
    fn a_clock_an_hour_ahead_is_told_to_the_time_under_way() {
        let hour = 3_600_000_000_000;
        let offset = trip(1_000, hour + 1_500, hour + 2_000, 2_300).offset();
        assert_eq!(offset, Some(Offset { ns: 3_600_000_000_100, uncertainty_ns: 400 }));
    }

    #[test]
    fn a_clock_behind_gives_a_negative_offset_and_never_a_negative_uncertainty() {
        assert_eq!(trip(9_000, 100, 200, 9_300).offset(), Some(Offset { ns: -9_000, uncertainty_ns: 100 }));
    }

    #[test]
    fn a_clock_that_was_set_in_between_gives_no_estimate() {
        assert_eq!(trip(1_000, 500, 400, 1_200).offset(), None);
        assert_eq!(trip(1_000, 500, 900, 1_200).offset(), None);
        assert_eq!(trip(0, u64::MAX, u64::MAX, 0).offset(), None);
    }

    #[test]
    fn the_pair_that_was_quickest_under_way_counts() {
        let slow = trip(0, 500, 600, 1_100);
        let quick = trip(0, 110, 200, 210);
        assert_eq!(best([slow, quick]).map(|offset| offset.uncertainty_ns), Some(60));
    }
}
