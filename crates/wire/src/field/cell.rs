//! One cell of the output: the values of one field in one packet, joined, or only the first or last of them.

/// Which values of a field are printed where it has more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Occurrence {
    /// The first.
    First,
    /// The last.
    Last,
    /// All.
    #[default]
    All,
}

/// Appends the values of one field to a line.
#[derive(Debug)]
pub struct Cell<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    count: usize,
    occurrence: Occurrence,
    aggregator: u8,
}

impl<'o> Cell<'o> {
    /// Starts a cell at the end of `out`.
    pub fn new(out: &'o mut Vec<u8>, occurrence: Occurrence, aggregator: u8) -> Self {
        let start = out.len();
        Self { out, start, count: 0, occurrence, aggregator }
    }

    /// How many values the field had, printed or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds a value, which `write` appends.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.count += 1;
        if self.count > 1 {
            match self.occurrence {
                Occurrence::First => return,
                Occurrence::Last => self.out.truncate(self.start),
                Occurrence::All => self.out.push(self.aggregator),
            }
        }
        write(self.out);
    }
}
