//! How long things took, in buckets.

use std::time::Duration;

/// The upper bounds of the buckets, in microseconds, and as they are written, in seconds. A repair takes a
/// millisecond, a look on a host with thousands of routes tens of them, one that runs iptables some hundred; what takes
/// seconds is in trouble.
pub(super) const BOUNDS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// Durations that were observed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    within: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// One more; a duration that is exactly a bound is within it.
    pub fn observe(&mut self, took: Duration) {
        let bucket = BOUNDS.iter().position(|(micros, _)| took <= Duration::from_micros(*micros));
        if let Some(count) = bucket.and_then(|bucket| self.within.get_mut(bucket)) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// Each bound with how many were not above it, the last bound being infinite.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let mut so_far = 0;
        let bounded = BOUNDS.iter().zip(self.within).map(move |((_, bound), count)| {
            so_far += count;
            (*bound, so_far)
        });
        bounded.chain([("+Inf", self.count)])
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long they took in all.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_they_are_and_in_order() {
        for (micros, text) in BOUNDS {
            assert_eq!(text, Duration::from_micros(micros).as_secs_f64().to_string());
        }
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn a_duration_is_counted_in_every_bucket_that_it_is_not_above() {
        let mut histogram = Histogram::default();
        for micros in [1, 1_000, 1_001, 60_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counts: Vec<_> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!(counts[..4], [1, 2, 3, 3]);
        assert_eq!(counts[13..], [3, 4]);
        assert_eq!((histogram.count(), histogram.sum()), (4, Duration::from_micros(60_002_002)));
    }
}
