//! The connections by their ends.
//!
//! The hash is `foldhash`, seeded by the caller: what is hashed comes from strangers, who must not be able to make all
//! connections meet in one place of the table. They never see its answers, so a fast hash with a seed is enough.
//! The order of the table is never used; what is gone through is gone through by place.

use std::hash::Hasher;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use hashbrown::HashTable;

use super::ages::{Ages, Class};
use super::segment::Key;

/// Values by key, each at a place that stays its own.
#[derive(Debug)]
pub(super) struct Table<V> {
    places: HashTable<u32>,
    slots: Vec<(Key, V)>,
    free: Vec<u32>,
    hash: Hash,
    pub(super) ages: Ages,
}

struct Hash {
    seed: u64,
    shared: SharedSeed,
}

impl<V: Default> Table<V> {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            places: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hash: Hash { seed, shared: SharedSeed::from_u64(seed) },
            ages: Ages::new(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.places.len()
    }

    /// One more than the highest place.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        self.places.find(self.hash.of(key), |place| self.slots[*place as usize].0 == *key).copied()
    }

    #[inline]
    pub(super) fn at(&mut self, place: u32) -> (&Key, &mut V) {
        let (key, value) = &mut self.slots[place as usize];
        (key, value)
    }

    /// Puts in what is not there, in the line of those of which nothing is read.
    pub(super) fn insert(&mut self, key: Key, value: V) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Default::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.slots[place as usize] = (key, value);
        let (slots, hash) = (&self.slots, &self.hash);
        self.places.insert_unique(hash.of(&key), place, |place| hash.of(&slots[*place as usize].0));
        self.ages.add(place, Class::Idle);
        place
    }

    /// Takes out what is at a place that is taken.
    pub(super) fn remove(&mut self, place: u32) -> V {
        let (key, value) = std::mem::take(&mut self.slots[place as usize]);
        if let Ok(entry) = self.places.find_entry(self.hash.of(&key), |other| *other == place) {
            entry.remove();
            self.ages.remove(place);
            self.free.push(place);
        }
        value
    }
}

impl Hash {
    #[inline]
    fn of(&self, key: &Key) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write_u128(key.low.ip);
        hasher.write_u128(key.high.ip);
        hasher.write_u32(u32::from(key.low.port) << 16 | u32::from(key.high.port));
        hasher.finish()
    }
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash")
    }
}
