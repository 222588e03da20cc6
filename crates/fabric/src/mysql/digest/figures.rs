//! What is counted of a group of statements.

use super::sample::{End, Sample};
use super::times::Times;

/// Counts of statements and their answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// How many.
    pub count: u64,
    /// Those that the server answered with an error.
    pub errors: u64,
    /// Those whose answer, or its end, was not seen. They have no response time.
    pub unanswered: u64,
    /// Those of which something is not sure.
    pub doubtful: u64,
    /// Rows that were sent.
    pub rows: u64,
    /// Rows that were changed.
    pub affected: u64,
    /// Bytes of the rows that were sent.
    pub bytes: u64,
    /// When the first and the last of them were asked, in nanoseconds since 1970.
    pub seen_ns: Option<(u64, u64)>,
    /// Response times to the end of the answer.
    pub times: Times,
    /// Within the last interval.
    recent: u64,
    /// Before the running interval.
    before: u64,
}

impl Figures {
    /// Counts a statement.
    pub(super) fn note(&mut self, sample: &Sample<'_>) {
        self.count += 1;
        self.errors += u64::from(sample.end == End::Error);
        self.unanswered += u64::from(sample.end == End::Unseen);
        self.doubtful += u64::from(!sample.is_certain);
        self.rows = self.rows.saturating_add(sample.rows);
        self.affected = self.affected.saturating_add(sample.affected);
        self.bytes = self.bytes.saturating_add(sample.bytes);
        self.widen_to(sample.time_ns, sample.time_ns);
        if let Some(ns) = sample.response_ns() {
            self.times.note(ns);
        }
    }

    /// Counts all of another.
    pub(super) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.unanswered += other.unanswered;
        self.doubtful += other.doubtful;
        self.rows = self.rows.saturating_add(other.rows);
        self.affected = self.affected.saturating_add(other.affected);
        self.bytes = self.bytes.saturating_add(other.bytes);
        if let Some((first, last)) = other.seen_ns {
            self.widen_to(first, last);
        }
        self.times.add(&other.times);
        self.recent += other.recent;
        self.before += other.before;
    }

    /// Begins another interval.
    pub(super) fn turn(&mut self) {
        self.recent = self.count.saturating_sub(self.before);
        self.before = self.count;
    }

    /// How many there were in the last interval.
    #[must_use]
    pub fn recent(&self) -> u64 {
        self.recent
    }

    /// From when the first was asked to when the last was.
    #[must_use]
    pub fn span_ns(&self) -> Option<u64> {
        self.seen_ns.map(|(first, last)| last - first)
    }

    fn widen_to(&mut self, first: u64, last: u64) {
        let (earliest, latest) = self.seen_ns.unwrap_or((first, last));
        self.seen_ns = Some((earliest.min(first), latest.max(last)));
    }
}
