//! The prepared statements of one connection.

use std::collections::BTreeMap;

use super::event::{Prepared, Text};
use super::parameters::{LongData, Types};
use super::place::Hole;
use super::sureness::Sureness;

/// What is remembered of one statement, beside its buffers; for the bound on memory.
const ENTRY: usize = size_of::<Statement>() + 32;
/// The number that stands for the statement that was prepared last (MariaDB).
const LAST: u32 = u32::MAX;
/// Parameters of one statement with long data; more are not kept apart, and the statement's parameters cannot be read.
const LONGS_MAX: usize = 1024;

/// One prepared statement.
#[derive(Debug, Default)]
pub(super) struct Statement {
    /// The message by which it was prepared, from `text_at` on its text; empty if that was not seen.
    pub(super) body: Vec<u8>,
    pub(super) text_at: usize,
    pub(super) length: u64,
    pub(super) holes: Vec<Hole>,
    /// `None` if the PREPARE was not seen.
    pub(super) prepared: Option<Prepared>,
    pub(super) sureness: Sureness,
    pub(super) types: Types,
    /// After how many losses of requests the types were sent.
    pub(super) types_loss: u32,
    /// How many losses there had been when it was prepared or executed last.
    pub(super) seen_loss: u32,
    pub(super) longs: Vec<LongData>,
    pub(super) fetches: u32,
    pub(super) rows: u64,
}

impl Statement {
    /// Its SQL; `None` if that was not seen.
    pub(super) fn text(&self) -> Option<Text<'_>> {
        self.prepared?;
        let bytes = self.body.get(self.text_at..).unwrap_or_default();
        Some(Text { bytes, length: self.length, holes: &self.holes })
    }

    fn memory(&self) -> usize {
        let longs: usize = self.longs.iter().map(|long| long.bytes.capacity() + size_of::<LongData>()).sum();
        let holes = self.holes.capacity() * size_of::<Hole>();
        ENTRY + self.body.capacity() + holes + self.types.memory() + longs
    }
}

/// All of them, by number, up to a bound: those that were prepared first are forgotten first.
#[derive(Debug, Default)]
pub(super) struct Statements {
    by_id: BTreeMap<u32, Statement>,
    last: Option<u32>,
    memory: usize,
    /// How often requests were lost.
    pub(super) losses: u32,
}

impl Statements {
    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// The number that is meant: MariaDB has one for "the last one".
    pub(super) fn meant(&self, id: u32) -> u32 {
        if id == LAST { self.last.unwrap_or(LAST) } else { id }
    }

    /// PREPARE was refused, so there is no last one.
    pub(super) fn none_prepared(&mut self) {
        self.last = None;
    }

    pub(super) fn put(&mut self, id: u32, statement: Statement, memory_max: usize) {
        self.close(id);
        self.last = Some(id);
        self.memory += statement.memory();
        self.by_id.insert(id, statement);
        // Ends: every round takes one out.
        while self.memory > memory_max && self.by_id.len() > 1 {
            let Some(oldest) = self.by_id.keys().next().copied() else { break };
            self.close(oldest);
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&Statement> {
        self.by_id.get(&id)
    }

    /// The statement, to be changed by `change`; made if it is not known, as it is when it was prepared before the capture.
    pub(super) fn change<R>(
        &mut self,
        id: u32,
        memory_max: usize,
        change: impl FnOnce(&mut Statement) -> R,
    ) -> R {
        if !self.by_id.contains_key(&id) {
            let last = self.last;
            self.put(id, Statement::default(), memory_max);
            self.last = last;
        }
        let statement = self.by_id.entry(id).or_default();
        let before = statement.memory();
        let result = change(statement);
        self.memory = (self.memory + statement.memory()).saturating_sub(before);
        result
    }

    pub(super) fn close(&mut self, id: u32) {
        if let Some(statement) = self.by_id.remove(&id) {
            self.memory = self.memory.saturating_sub(statement.memory());
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self { losses: self.losses, ..Self::default() };
    }

    /// More of a parameter's long data, of which not more than `bytes_max` are kept.
    pub(super) fn long_data(
        &mut self,
        id: u32,
        parameter: u16,
        bytes: &[u8],
        length: u64,
        limits: (usize, usize),
    ) {
        let (bytes_max, memory_max) = limits;
        self.change(id, memory_max, |statement| {
            let known = statement.longs.iter().position(|long| long.parameter == parameter);
            let place = match known {
                Some(place) => place,
                None if statement.longs.len() < LONGS_MAX => {
                    statement.longs.push(LongData { parameter, ..LongData::default() });
                    statement.longs.len() - 1
                }
                None => return,
            };
            let long = &mut statement.longs[place];
            let room = bytes_max.saturating_sub(long.bytes.len());
            long.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
            long.length = long.length.saturating_add(length);
        });
    }
}
