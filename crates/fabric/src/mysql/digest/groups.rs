//! The groups by their fingerprints.
//!
//! The hash is seeded by the caller, as what is hashed comes from strangers; the order of the table is never used.

use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};

use byway_wire::mysql::text::Charset;
use byway_wire::sql::{Backslashes, DigestId};
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use hashbrown::HashTable;

use super::SHOWN_BYTES_MAX;
use super::figures::Figures;
use super::ranking::Order;
use super::sample::{Sample, Whose};

/// What a group takes beside its texts and times: itself, the spare room of the list, and its place in the table.
const GROUP_BYTES: usize = 2 * size_of::<Group>() + 16;

/// Statements with one fingerprint.
#[derive(Debug)]
pub struct Group {
    fingerprint: Shown,
    id: DigestId,
    whose: Whose<Box<[u8]>>,
    slowest: Shown,
    client: IpAddr,
    server: SocketAddr,
    time_ns: u64,
    whole_ns: Option<u64>,
    pub(super) figures: Figures,
    hash: u64,
}

/// A text to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What is kept of it: [`SHOWN_BYTES_MAX`] at most.
    pub bytes: Vec<u8>,
    /// How long it is, in bytes.
    pub length: usize,
    /// Its character set.
    pub charset: Charset,
    /// What a backslash is in it.
    pub backslashes: Backslashes,
}

impl Shown {
    fn new(text: &[u8], charset: Charset, backslashes: Backslashes) -> Self {
        let mut shown = Self { bytes: Vec::new(), length: 0, charset, backslashes };
        shown.put(text, charset);
        shown
    }

    /// Another text instead.
    fn put(&mut self, text: &[u8], charset: Charset) {
        let kept = &text[..text.len().min(SHOWN_BYTES_MAX)];
        self.bytes.clear();
        self.bytes.reserve_exact(kept.len());
        self.bytes.extend_from_slice(kept);
        (self.length, self.charset) = (text.len(), charset);
    }

    /// Whether the end of it is not kept.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.bytes.len() < self.length
    }
}

impl Group {
    /// What its statements have in common, as `byway_wire::sql::fingerprint` writes it.
    #[must_use]
    pub fn fingerprint(&self) -> &Shown {
        &self.fingerprint
    }

    /// The fingerprint's identifier.
    #[must_use]
    pub fn id(&self) -> DigestId {
        self.id
    }

    /// Whose statements they are.
    #[must_use]
    pub fn whose(&self) -> Whose<&[u8]> {
        self.whose.borrowed()
    }

    /// Counts and times.
    #[must_use]
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The slowest statement; the first one if none was answered.
    #[must_use]
    pub fn slowest(&self) -> &Shown {
        &self.slowest
    }

    /// Between whom the slowest one was.
    #[must_use]
    pub fn slowest_between(&self) -> (IpAddr, SocketAddr) {
        (self.client, self.server)
    }

    /// When the slowest one was asked, in nanoseconds since 1970, and how long it took.
    #[must_use]
    pub fn slowest_ns(&self) -> (u64, Option<u64>) {
        (self.time_ns, self.whole_ns)
    }

    fn new(sample: &Sample<'_>, said: &Said<'_>, hash: u64) -> Self {
        let Sample { client, server, time_ns, backslashes, .. } = *sample;
        Self {
            fingerprint: Shown::new(said.fingerprint, said.charset, backslashes),
            id: DigestId::of(said.fingerprint),
            whose: said.whose.owned(),
            slowest: Shown::new(b"", said.charset, backslashes),
            client,
            server,
            time_ns,
            whole_ns: None,
            figures: Figures::default(),
            hash,
        }
    }

    /// Whether a statement belongs to it. `long`: the identifier of a fingerprint that is too long to be kept.
    fn is_of(&self, said: &Said<'_>, long: Option<DigestId>) -> bool {
        let is_same = match long {
            Some(id) => self.id == id,
            None => self.fingerprint.bytes == said.fingerprint,
        };
        is_same && self.fingerprint.length == said.fingerprint.len() && self.whose.borrowed() == said.whose
    }

    /// Counts a statement; whether it is the slowest so far.
    fn note(&mut self, sample: &Sample<'_>, said: &Said<'_>) -> bool {
        let response_ns = sample.response_ns();
        let is_slowest = self.figures.count == 0 || response_ns > self.whole_ns;
        if is_slowest {
            self.slowest.put(said.text, said.charset);
            self.slowest.backslashes = sample.backslashes;
            (self.client, self.server) = (sample.client, sample.server);
            (self.time_ns, self.whole_ns) = (sample.time_ns, response_ns);
        }
        self.figures.note(sample);
        is_slowest
    }

    fn heap_bytes(&self) -> usize {
        let texts =
            self.fingerprint.bytes.capacity() + self.slowest.bytes.capacity() + self.whose.heap_bytes();
        texts + self.figures.times.heap_bytes()
    }
}

/// What a statement says.
#[derive(Clone, Copy)]
pub(super) struct Said<'a> {
    /// What it has in common with others.
    pub(super) fingerprint: &'a [u8],
    /// Whose it is, as far as that parts it from others.
    pub(super) whose: Whose<&'a [u8]>,
    /// What is shown of it.
    pub(super) text: &'a [u8],
    /// The character set of both.
    pub(super) charset: Charset,
}

/// All groups.
pub(super) struct Groups {
    list: Vec<Group>,
    places: HashTable<u32>,
    seed: u64,
    shared: SharedSeed,
    /// What they take together.
    bytes: usize,
}

impl Groups {
    pub(super) fn new(seed: u64) -> Self {
        let shared = SharedSeed::from_u64(seed);
        Self { list: Vec::new(), places: HashTable::new(), seed, shared, bytes: 0 }
    }

    pub(super) fn list(&self) -> &[Group] {
        &self.list
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts a statement in its group; the group's place, if it is the slowest there.
    pub(super) fn note(&mut self, sample: &Sample<'_>, said: &Said<'_>) -> Option<u32> {
        let place = self.place(sample, said);
        self.change(place, |group| group.note(sample, said)).unwrap_or(false).then_some(place)
    }

    pub(super) fn show(&mut self, place: u32, text: &[u8], charset: Charset) {
        self.change(place, |group| group.slowest.put(text, charset));
    }

    pub(super) fn turn(&mut self) {
        self.list.iter_mut().for_each(|group| group.figures.turn());
    }

    /// Takes out the least important ones, until an eighth of the room is free: so each is looked at seldom.
    pub(super) fn give_up(&mut self, bytes_max: usize, order: Order) -> Vec<Group> {
        let target = bytes_max - bytes_max / 8;
        self.list.sort_unstable_by(|one, other| order.compare(one, other));
        let mut given_up = Vec::new();
        while self.bytes > target
            && let Some(group) = self.list.pop()
        {
            self.bytes = self.bytes.saturating_sub(GROUP_BYTES + group.heap_bytes());
            given_up.push(group);
        }
        self.places.clear();
        for (place, group) in (0..).zip(&self.list) {
            self.places.insert_unique(group.hash, place, |place| self.list[*place as usize].hash);
        }
        given_up
    }

    /// Changes a group, and knows what it takes then.
    fn change<T>(&mut self, place: u32, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        let group = self.list.get_mut(place as usize)?;
        let before = group.heap_bytes();
        let told = change(group);
        self.bytes = (self.bytes + group.heap_bytes()).saturating_sub(before);
        Some(told)
    }

    /// The place of a statement's group, which is there from now on.
    fn place(&mut self, sample: &Sample<'_>, said: &Said<'_>) -> u32 {
        let is_long = said.fingerprint.len() > SHOWN_BYTES_MAX;
        let long = is_long.then(|| DigestId::of(said.fingerprint));
        let hash = self.hash(said);
        let list = &self.list;
        if let Some(place) = self.places.find(hash, |place| list[*place as usize].is_of(said, long)) {
            return *place;
        }
        let group = Group::new(sample, said, hash);
        self.bytes += GROUP_BYTES + group.heap_bytes();
        let place = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        self.list.push(group);
        let list = &self.list;
        self.places.insert_unique(hash, place, |place| list[*place as usize].hash);
        place
    }

    fn hash(&self, said: &Said<'_>) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(said.fingerprint);
        said.whose.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}
