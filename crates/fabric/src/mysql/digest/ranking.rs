//! The groups in the order of what matters, and what the others have together.

use std::cmp::Ordering;

use super::Digests;
use super::figures::Figures;
use super::groups::Group;

/// What the most important groups have most of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Response time, all together, as `pt-query-digest` sorts.
    #[default]
    Time,
    /// Statements.
    Count,
    /// Errors.
    Errors,
    /// Rows that were sent.
    Rows,
    /// Rows that were changed.
    Affected,
    /// Bytes of the rows that were sent.
    Bytes,
    /// The longest response time.
    Max,
    /// The mean response time.
    Average,
}

/// The most important groups.
#[derive(Debug)]
pub struct Ranking<'d> {
    /// They, from the first on.
    pub rows: Vec<Row<'d>>,
    /// All the others as one, if there are any. With `rows` they are all statements.
    pub others: Option<Others>,
}

/// A group in its place.
#[derive(Debug, Clone, Copy)]
pub struct Row<'d> {
    /// Its place, from 1 on.
    pub rank: usize,
    /// Its part, from 0 to 1, of what is sorted by; of the response time where that does not add up.
    pub share: f64,
    /// The group.
    pub group: &'d Group,
}

/// Groups that are not told one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct Others {
    /// How many there are.
    pub groups: u64,
    /// How many more there were that were given up ([`Digests::given_up`]).
    pub given_up: u64,
    /// Their part, as [`Row::share`].
    pub share: f64,
    /// What they have together.
    pub figures: Figures,
}

impl Order {
    /// How much a group has of it.
    #[must_use]
    pub fn measure(self, figures: &Figures) -> u64 {
        match self {
            Self::Time => figures.times.sum_ns(),
            Self::Count => figures.count,
            Self::Errors => figures.errors,
            Self::Rows => figures.rows,
            Self::Affected => figures.affected,
            Self::Bytes => figures.bytes,
            Self::Max => figures.times.max_ns().unwrap_or(0),
            Self::Average => figures.times.average_ns().unwrap_or(0),
        }
    }

    /// The more important one first; between equals the same one each time.
    pub(super) fn compare(self, one: &Group, other: &Group) -> Ordering {
        let weight = |group: &Group| {
            let figures = group.figures();
            (self.measure(figures), figures.times.sum_ns(), figures.count)
        };
        let name = |group: &Group| group.id();
        weight(other)
            .cmp(&weight(one))
            .then_with(|| name(one).cmp(&name(other)))
            .then_with(|| one.whose().cmp(&other.whose()))
    }

    /// The part of the whole.
    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    fn share(self, part: &Figures, whole: &Figures) -> f64 {
        let additive = match self {
            Self::Max | Self::Average => Self::Time,
            Self::Time | Self::Count | Self::Errors | Self::Rows | Self::Affected | Self::Bytes => self,
        };
        match additive.measure(whole) {
            0 => 0.0,
            whole => additive.measure(part) as f64 / whole as f64,
        }
    }
}

impl<'d> Ranking<'d> {
    pub(super) fn of(digests: &'d Digests, most: usize) -> Self {
        let order = digests.settings.order;
        let mut groups: Vec<&Group> = digests.groups.list().iter().collect();
        groups.sort_unstable_by(|one, other| order.compare(one, other));
        let rest = groups.split_off(most.min(groups.len()));
        let share = |figures| order.share(figures, &digests.all);
        let row = |(rank, group): (usize, &'d Group)| Row { rank, share: share(group.figures()), group };
        let rows = (1..).zip(groups).map(row).collect();
        let mut figures = digests.given_up.clone();
        for group in &rest {
            figures.add(group.figures());
        }
        let share = share(&figures);
        let others = Others { groups: rest.len() as u64, given_up: digests.given_up_count, share, figures };
        Self { rows, others: (others.figures.count > 0).then_some(others) }
    }
}
