//! Response times of many statements in little memory: a histogram whose buckets grow with the times.
//!
//! Every doubling of the time has [`PARTS`] buckets, so a percentile is off by no more than a thirty-second of itself
//! (3.2 %; `pt-query-digest`: 5 %). Below 1 µs, which no network answers in, and above 19 hours it may be off by more.
//! Sum, smallest and largest are exact, and with them the 95th percentile of up to 20 times.

/// Buckets for every doubling.
const PARTS: usize = 16;
/// The logarithm of [`PARTS`].
const PARTS_LOG: u32 = 4;
/// The logarithm of the time, in nanoseconds, below which all buckets are equally wide.
const SHORT_LOG: u32 = 10;
/// The logarithm of the time, in nanoseconds, from which on all share the last bucket.
const LONG_LOG: u32 = 46;
/// All buckets there can be.
pub(super) const BUCKETS: usize = (LONG_LOG - SHORT_LOG + 1) as usize * PARTS;

/// Response times, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Times {
    count: u64,
    sum_ns: u64,
    extremes_ns: Option<(u64, u64)>,
    /// Which bucket the first of `counts` is.
    first: usize,
    /// From the lowest bucket that is not empty to the highest.
    counts: Vec<u64>,
}

impl Times {
    /// Adds one.
    pub fn note(&mut self, ns: u64) {
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.widen_to(ns, ns);
        *self.at(bucket(ns)) += 1;
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        if let Some((least, most)) = other.extremes_ns {
            self.widen_to(least, most);
        }
        for (nth, count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            *self.at(other.first + nth) += count;
        }
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All together.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The shortest.
    #[must_use]
    pub fn min_ns(&self) -> Option<u64> {
        self.extremes_ns.map(|(least, _)| least)
    }

    /// The longest.
    #[must_use]
    pub fn max_ns(&self) -> Option<u64> {
        self.extremes_ns.map(|(_, most)| most)
    }

    /// The mean.
    #[must_use]
    pub fn average_ns(&self) -> Option<u64> {
        self.sum_ns.checked_div(self.count)
    }

    /// The time that so many of a hundred did not exceed: 50 is the median.
    #[must_use]
    pub fn percentile_ns(&self, percent: u8) -> Option<u64> {
        let (least, most) = self.extremes_ns?;
        let rank = (u128::from(self.count) * u128::from(percent.min(100))).div_ceil(100).max(1);
        // The first and the last one are known.
        if rank >= u128::from(self.count) {
            return Some(most);
        }
        if rank == 1 {
            return Some(least);
        }
        let mut below = 0;
        let place = self.counts.iter().position(|count| {
            below += u128::from(*count);
            below >= rank
        });
        Some(place.map_or(most, |place| middle(self.first + place).clamp(least, most)))
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<u64>()
    }

    fn widen_to(&mut self, least: u64, most: u64) {
        let (lowest, highest) = self.extremes_ns.unwrap_or((least, most));
        self.extremes_ns = Some((lowest.min(least), highest.max(most)));
    }

    /// The count of a bucket.
    fn at(&mut self, bucket: usize) -> &mut u64 {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if let Some(missing) = self.first.checked_sub(bucket).filter(|missing| *missing > 0) {
            self.counts.reserve_exact(missing);
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let place = bucket - self.first;
        if let Some(missing) = (place + 1).checked_sub(self.counts.len()).filter(|missing| *missing > 0) {
            self.counts.reserve_exact(missing);
            self.counts.resize(place + 1, 0);
        }
        &mut self.counts[place]
    }
}

/// Which bucket a time belongs to.
fn bucket(ns: u64) -> usize {
    let log = ns.checked_ilog2().unwrap_or(0);
    let part = |width_log: u32| usize::try_from(ns >> width_log).unwrap_or(usize::MAX) % PARTS;
    match log {
        0..SHORT_LOG => part(SHORT_LOG - PARTS_LOG),
        SHORT_LOG..LONG_LOG => (log - SHORT_LOG + 1) as usize * PARTS + part(log - PARTS_LOG),
        _ => BUCKETS - 1,
    }
}

/// The time in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let (row, part) = ((bucket / PARTS) as u64, (bucket % PARTS) as u64);
    let (start, width_log) = match row.checked_sub(1) {
        None => (0, SHORT_LOG - PARTS_LOG),
        Some(row) => {
            let log = SHORT_LOG + u32::try_from(row).unwrap_or(0);
            (1 << log, log - PARTS_LOG)
        }
    };
    start + (part << width_log) + (1 << width_log) / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BUCKETS, Times, bucket, middle};

    fn times(all: &[u64]) -> Times {
        let mut times = Times::default();
        for ns in all {
            times.note(*ns);
        }
        times
    }

    /// As it is defined: the smallest that so many of a hundred do not exceed.
    fn exact(all: &[u64], percent: u8) -> u64 {
        let mut sorted = all.to_vec();
        sorted.sort_unstable();
        let rank = (sorted.len() * usize::from(percent)).div_ceil(100).max(1);
        sorted[rank - 1]
    }

    #[test]
    fn one_time_is_all_percentiles() {
        let one = times(&[123_456_789]);
        let told = [0, 50, 95, 99, 100].map(|percent| one.percentile_ns(percent));
        assert_eq!(told, [Some(123_456_789); 5]);
        assert_eq!((one.min_ns(), one.average_ns(), one.max_ns()), (told[0], told[0], told[0]));
    }

    #[test]
    fn of_two_times_both_are_known() {
        let two = times(&[300_000_001, 600_000_001]);
        let told = [50, 51, 95, 99].map(|percent| two.percentile_ns(percent));
        assert_eq!(told, [300_000_001, 600_000_001, 600_000_001, 600_000_001].map(Some));
    }

    #[test]
    fn nothing_has_no_percentile() {
        let none = Times::default();
        assert_eq!((none.percentile_ns(50), none.average_ns(), none.max_ns()), (None, None, None));
    }

    #[test]
    fn a_few_slow_ones_show_in_the_high_percentiles_alone() {
        let mut all = vec![1_000_000; 97];
        all.extend([900_000_000; 3]);
        let times = times(&all);
        let milliseconds = |percent| times.percentile_ns(percent).unwrap() / 1_000_000;
        assert!(milliseconds(50) <= 1 && milliseconds(95) <= 1, "{times:?}");
        assert!((880..=900).contains(&milliseconds(99)), "{times:?}");
    }

    #[test]
    fn every_bucket_holds_its_own_middle() {
        for nth in 0..BUCKETS {
            assert_eq!(bucket(middle(nth)), nth, "{} ns", middle(nth));
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn sums_do_not_wrap() {
        let long = times(&[u64::MAX, u64::MAX]);
        assert_eq!(long.sum_ns(), u64::MAX);
        assert_eq!(long.percentile_ns(50), Some(u64::MAX));
    }

    /// Short and long ones alike.
    fn some() -> impl Strategy<Value = Vec<u64>> {
        let one = (0_u32..46, any::<u64>()).prop_map(|(log, bits)| (1 << log) + bits % (1_u64 << log));
        proptest::collection::vec(one, 1..200)
    }

    proptest! {
        #[test]
        fn a_percentile_is_off_by_a_thirty_second_at_most(all in some(), percent in 0_u8..=100) {
            let (told, exact) = (times(&all).percentile_ns(percent).unwrap(), exact(&all, percent));
            let most = (exact / 32).max(32);
            prop_assert!(told.abs_diff(exact) <= most, "{told} instead of {exact}");
        }

        #[test]
        fn times_of_two_together_are_those_of_one(one in some(), other in some()) {
            let mut sum = times(&one);
            sum.add(&times(&other));
            let both: Vec<u64> = one.into_iter().chain(other).collect();
            prop_assert_eq!(sum, times(&both));
        }

        #[test]
        fn memory_has_a_bound(all in proptest::collection::vec(any::<u64>(), 0..100)) {
            prop_assert!(times(&all).counts.len() <= BUCKETS);
        }
    }
}
