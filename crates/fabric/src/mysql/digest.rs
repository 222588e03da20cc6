//! Which statements a server is busy with: all that differ in their values only are one group, with its counts and times.
//!
//! ```text
//! Sample ──> fingerprint ──> Group (Figures: counts, Times) ──> Ranking, the most important first
//!                └─────────> Figures of all                └──> one line for all the others
//! ```
//!
//! Groups and identifiers are those of `pt-query-digest` (`byway_wire::sql` makes them). What is kept is bounded: when
//! there are too many groups the least important ones are given up, and what they counted goes to the others, so that
//! the sums stay exact.

mod figures;
mod groups;
mod ranking;
mod sample;
mod times;

use byway_wire::mysql::text::Charset;
use byway_wire::sql;

pub use figures::Figures;
pub use groups::{Group, Shown};
use groups::{Groups, Said};
pub use ranking::{Order, Others, Ranking, Row};
pub use sample::{By, End, Sample, Whose};
pub use times::Times;

/// Bytes that groups take together, before the least important eighth of them is given up: enough for 10,000 groups of
/// statements of some hundred bytes.
pub const BYTES_MAX: usize = 16 << 20;
/// Bytes of a statement that are looked at: more has only who inserts many rows, and the first of them tell.
pub const TEXT_BYTES_MAX: usize = 4 << 20;
/// Bytes of a fingerprint, and of the slowest statement of a group, that are kept.
pub const SHOWN_BYTES_MAX: usize = 4 << 10;
/// Bytes that a buffer keeps from one statement to the next: few statements are longer.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// How statements are grouped, and which of them matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What parts statements beside their fingerprint.
    pub by: By,
    /// What the most important ones have most of.
    pub order: Order,
    /// Bytes that groups take together; [`BYTES_MAX`] if nothing speaks for another bound.
    pub bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { by: By::Nothing, order: Order::Time, bytes_max: BYTES_MAX }
    }
}

/// Statements, by what they have in common.
#[derive(Debug)]
pub struct Digests {
    settings: Settings,
    all: Figures,
    groups: Groups,
    /// Of groups that were given up.
    given_up: Figures,
    given_up_count: u64,
    interval: Interval,
    scratch: Scratch,
}

/// A group's slowest statement so far, until another one is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slowest(u32);

/// The time between two looks of somebody who watches.
#[derive(Debug, Clone, Copy, Default)]
struct Interval {
    /// When the running one has begun.
    begun_ns: Option<u64>,
    /// How long the last one was.
    last_ns: Option<u64>,
}

/// Buffers that one statement after the other uses.
#[derive(Debug, Default)]
struct Scratch {
    words: Vec<u8>,
    fingerprint: Vec<u8>,
}

impl Digests {
    /// Without any statement. `seed`: for the hash of what strangers send; any number that they cannot know.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            settings,
            all: Figures::default(),
            groups: Groups::new(seed),
            given_up: Figures::default(),
            given_up_count: 0,
            interval: Interval::default(),
            scratch: Scratch::default(),
        }
    }

    /// Counts a statement. If it is the slowest of its group, its text was kept, and the answer says so: who knows a
    /// better one to show, with the values of an execution in it, may [`Self::show`] that.
    pub fn note(&mut self, sample: &Sample<'_>) -> Option<Slowest> {
        if self.groups.bytes() > self.settings.bytes_max {
            self.give_up();
        }
        let Scratch { words, fingerprint } = &mut self.scratch;
        words.clear();
        fingerprint.clear();
        let sql = sample.sql();
        let (sql, charset) =
            sql.as_ref().map_or((None, Charset::Utf8), |(sql, charset)| (Some(&**sql), *charset));
        let words = sample.words(sql, words);
        sql::fingerprint(words, sample.backslashes, fingerprint);
        let whose = sample.whose(self.settings.by);
        let said = Said { fingerprint, whose, text: sql.unwrap_or(words), charset };
        let slowest = self.groups.note(sample, &said);
        self.all.note(sample);
        self.scratch.shrink();
        slowest.map(Slowest)
    }

    /// Keeps another text for the slowest statement of a group, cut to [`SHOWN_BYTES_MAX`].
    pub fn show(&mut self, slowest: Slowest, text: &[u8], charset: Charset) {
        self.groups.show(slowest.0, text, charset);
    }

    /// Begins another interval: [`Self::per_second`] tells of the one that is over from now on.
    pub fn turn(&mut self, now_ns: u64) {
        let begun_ns = self.interval.begun_ns.replace(now_ns);
        self.interval.last_ns = begun_ns.map(|begun_ns| now_ns.saturating_sub(begun_ns));
        self.all.turn();
        self.given_up.turn();
        self.groups.turn();
    }

    /// How many statements per second: within the last interval ([`Self::turn`]), else from the first statement of all to
    /// the last one. `None` if that is no time.
    #[must_use]
    pub fn per_second(&self, figures: &Figures) -> Option<f64> {
        let (count, time_ns) = match self.interval.last_ns {
            Some(last_ns) => (figures.recent(), last_ns),
            None => (figures.count, self.all.span_ns()?),
        };
        #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
        let per_second = |time_ns: u64| count as f64 / (time_ns as f64 / 1e9);
        (time_ns > 0).then(|| per_second(time_ns))
    }

    /// All statements together.
    #[must_use]
    pub fn all(&self) -> &Figures {
        &self.all
    }

    /// How many groups there are now.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.list().len()
    }

    /// How many groups were given up so far. One that came back and was given up again counts twice; what it counted
    /// before is with the others.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.given_up_count
    }

    /// What groups were told apart by, and in which order they are.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The most important groups, as many as asked for, and all the others as one.
    #[must_use]
    pub fn ranked(&self, most: usize) -> Ranking<'_> {
        Ranking::of(self, most)
    }

    /// Bytes that are kept, as far as they depend on what was noted.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.groups.bytes() + self.scratch.words.capacity() + self.scratch.fingerprint.capacity()
    }

    /// Gives up the least important groups.
    fn give_up(&mut self) {
        let order = self.settings.order;
        for group in self.groups.give_up(self.settings.bytes_max, order) {
            self.given_up.add(&group.figures);
            self.given_up_count += 1;
        }
    }
}

impl Scratch {
    /// A long statement leaves no large buffer behind.
    fn shrink(&mut self) {
        for buffer in [&mut self.words, &mut self.fingerprint] {
            if buffer.capacity() > SPARE_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
    }
}
