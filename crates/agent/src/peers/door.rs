//! Who may come in: the inventory in force, how many are here already, and who was refused.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use byway_api::{Refusal, RefusedPeer};
use byway_fabric::cluster::{Host, HostName, PublicKey};
use byway_fabric::problem::{Problem, ProblemKind};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::store::Known;

/// Connections of those who have not proved yet to be a host of the inventory: room for a hundred hosts that all ask
/// at once, as each is through in milliseconds.
pub(super) const STRANGERS_MAX: usize = 128;
/// Such connections from one address: a host asks a few things at once, and one that goes wild shuts out only itself.
pub(super) const STRANGERS_PER_ADDRESS_MAX: usize = 16;
/// Connections of hosts that are known, in all: each costs about 40 KiB while it lives.
pub(super) const PEERS_MAX: usize = 256;
/// Connections of one host: a few people who trace and look at the same time.
pub(super) const CONNECTIONS_PER_PEER_MAX: usize = 16;
/// Addresses whose refusals are remembered: enough to see who knocks, bounded against a network full of strangers.
const REFUSED_MAX: usize = 32;
/// How long a refusal is told: a day is what people remember themselves.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(24);
/// The same refusal is logged again only after this long.
const LOG_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// And no two refusals of any sort within this: a scan of the network is not to fill the disk.
const LOG_PAUSE: Duration = Duration::from_secs(1);

impl Known {
    fn name_of(&self, key: &PublicKey) -> Option<HostName> {
        self.cluster.host_with_key(key).map(|host| host.name.clone())
    }
}

/// The door of this host.
#[derive(Debug)]
pub(crate) struct Door {
    known: watch::Sender<Arc<Known>>,
    book: Mutex<Book>,
}

/// What the door remembers.
#[derive(Debug, Default)]
struct Book {
    strangers: BTreeMap<IpAddr, usize>,
    peers: BTreeMap<PublicKey, usize>,
    refused: VecDeque<Entry>,
    logged_at: Option<Timestamp>,
    listening: BTreeMap<SocketAddr, Result<SocketAddr, String>>,
    speaks_as: Vec<IpAddr>,
}

#[derive(Debug)]
struct Entry {
    key: Option<PublicKey>,
    logged_at: Option<Timestamp>,
    told: RefusedPeer,
}

/// A place at the door, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    door: Arc<Door>,
    whose: Whose,
}

#[derive(Debug)]
enum Whose {
    Stranger(IpAddr),
    Peer(PublicKey),
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.door.book();
        match &self.whose {
            Whose::Stranger(address) => leave(&mut book.strangers, address),
            Whose::Peer(key) => leave(&mut book.peers, key),
        }
    }
}

fn leave<K: Ord>(counts: &mut BTreeMap<K, usize>, who: &K) {
    if let Some(count) = counts.get_mut(who) {
        *count -= 1;
        if *count == 0 {
            counts.remove(who);
        }
    }
}

/// One more of `who`, if neither all nor this one are too many.
fn enter<K: Ord>(counts: &mut BTreeMap<K, usize>, who: K, in_all: usize, of_one: usize) -> bool {
    let has_room =
        counts.values().sum::<usize>() < in_all && counts.get(&who).is_none_or(|count| *count < of_one);
    if has_room {
        *counts.entry(who).or_default() += 1;
    }
    has_room
}

impl Door {
    pub(super) fn new(known: Arc<Known>) -> Self {
        Self { known: watch::Sender::new(known), book: Mutex::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inventory in force.
    pub(super) fn known(&self) -> Arc<Known> {
        self.known.borrow().clone()
    }

    /// Hears when it changes.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    pub(super) fn learn(&self, known: Arc<Known>) {
        let is_strange = |entry: &Entry| entry.key.is_none_or(|key| known.name_of(&key).is_none());
        self.book().refused.retain(is_strange);
        self.known.send_replace(known);
    }

    /// The addresses with which this host speaks along the data path.
    pub(super) fn speaks_as(&self) -> Vec<IpAddr> {
        self.book().speaks_as.clone()
    }

    pub(super) fn speak_as(&self, addresses: Vec<IpAddr>) {
        self.book().speaks_as = addresses;
    }

    /// A place for somebody who has not proved anything yet.
    pub(super) fn let_stranger_in(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let has_room = enter(&mut self.book().strangers, from, STRANGERS_MAX, STRANGERS_PER_ADDRESS_MAX);
        has_room.then(|| Place { door: self.clone(), whose: Whose::Stranger(from) })
    }

    /// A place for somebody who has proved to have this key: with the name of the host, or with what it is told.
    pub(super) fn let_key_in(
        self: &Arc<Self>,
        key: PublicKey,
        from: IpAddr,
    ) -> Result<(HostName, Place), Refusal> {
        let known = self.known();
        let Some(name) = known.name_of(&key) else { return Err(self.refuse_key(&known, key, from)) };
        let mut book = self.book();
        book.refused.retain(|entry| entry.told.address != from);
        if enter(&mut book.peers, key, PEERS_MAX, CONNECTIONS_PER_PEER_MAX) {
            drop(book);
            return Ok((name, Place { door: self.clone(), whose: Whose::Peer(key) }));
        }
        let what = format!(
            "{} has too many conversations: {CONNECTIONS_PER_PEER_MAX} with one host, {PEERS_MAX} in all",
            known.me.name
        );
        Err(Refusal { chain: vec![what], hint: Some("end some of them, or ask again later".to_owned()) })
    }

    /// Tells both sides that a key is not known here.
    fn refuse_key(&self, known: &Known, key: PublicKey, from: IpAddr) -> Refusal {
        let me = &known.me.name;
        let (what, hint) = match known.cluster.host_at(from) {
            Some(Host { name, key: Some(listed), .. }) => (
                format!(
                    "{name} at {from} shows key {key}, but the inventory of {me} has key {listed} for it"
                ),
                format!("if {name} was installed anew: `byway host key {name} {key}` on {me}"),
            ),
            Some(Host { name, key: None, .. }) => (
                format!("{name} at {from} shows key {key}, but the inventory of {me} has none for it"),
                format!("`byway host key {name} {key}` on {me} lists it"),
            ),
            None => (
                format!("the host at {from} shows key {key}, which no host of the inventory of {me} has"),
                format!("if it is one of yours: `byway host key NAME {key}` on {me} lists it"),
            ),
        };
        self.note(from, Some(key), &what, &hint);
        Refusal { chain: vec![what], hint: Some(hint) }
    }

    /// Somebody did not take the key of this host.
    pub(super) fn note_not_trusted(&self, from: IpAddr) {
        let known = self.known();
        let who =
            known.cluster.host_at(from).map_or_else(|| "the host".to_owned(), |host| host.name.to_string());
        let what = format!("{who} at {from} hung up: it expects another key of {}", known.me.name);
        let hint = format!(
            "`byway key` prints the key of {0}; `byway host key {0} KEY` there lists it",
            known.me.name
        );
        self.note(from, None, &what, &hint);
    }

    fn note(&self, address: IpAddr, key: Option<PublicKey>, what: &str, hint: &str) {
        let now = Timestamp::now();
        let mut book = self.book();
        let before = book.refused.iter().position(|entry| entry.told.address == address);
        let before = before.and_then(|at| book.refused.remove(at)).filter(|entry| entry.told.what == what);
        let mut logged_at = before.and_then(|entry| entry.logged_at);
        let is_old = logged_at.is_none_or(|then| now.duration_since(then) > LOG_AGAIN_AFTER);
        let may_speak = book.logged_at.is_none_or(|then| now.duration_since(then).unsigned_abs() > LOG_PAUSE);
        if is_old && may_speak {
            tracing::warn!(hint, "refused: {what}");
            (logged_at, book.logged_at) = (Some(now), Some(now));
        }
        let told = RefusedPeer { at: now, address, what: what.to_owned(), hint: hint.to_owned() };
        book.refused.push_front(Entry { key, logged_at, told });
        book.refused.truncate(REFUSED_MAX);
    }

    /// Who was refused, the newest first.
    pub(super) fn refused(&self, now: Timestamp) -> Vec<RefusedPeer> {
        let mut book = self.book();
        book.refused.retain(|entry| now.duration_since(entry.told.at) < REFUSED_FOR);
        book.refused.iter().map(|entry| entry.told.clone()).collect()
    }

    /// Remembers what came of listening at an address, or that nobody listens there any more.
    pub(super) fn note_listening(&self, at: SocketAddr, outcome: Option<Result<SocketAddr, String>>) {
        let mut book = self.book();
        match outcome {
            None => drop(book.listening.remove(&at)),
            Some(outcome) => {
                let before = book.listening.get(&at);
                if let Err(error) = &outcome
                    && before != Some(&outcome)
                {
                    tracing::error!(%at, error, "other hosts cannot ask this one there; it is tried again");
                }
                book.listening.insert(at, outcome);
            }
        }
    }

    /// Where somebody listens.
    pub(super) fn listening(&self) -> Vec<SocketAddr> {
        self.book().listening.values().filter_map(|outcome| outcome.as_ref().ok().copied()).collect()
    }

    /// Where nobody can listen.
    pub(super) fn deaf(&self) -> Vec<Problem> {
        let book = self.book();
        let failed = book.listening.iter().filter_map(|(at, outcome)| Some((at, outcome.as_ref().err()?)));
        let problem = |(at, error): (&SocketAddr, &String)| Problem {
            kind: ProblemKind::Peers,
            host: None,
            what: format!("other hosts cannot ask this one at {at}: {error}"),
            hint: Some(format!(
                "`ss -ltnp sport = :{port}` shows who has the port; `port` in byway.toml names another, the same on all hosts",
                port = at.port()
            )),
        };
        failed.map(problem).collect()
    }

    /// The inventory has another key for this host than it has.
    pub(super) fn other_key(&self, mine: &PublicKey) -> Option<Problem> {
        let known = self.known();
        let listed = known.me.key.filter(|listed| listed != mine)?;
        let name = &known.me.name;
        Some(Problem {
            kind: ProblemKind::Peers,
            host: None,
            what: format!("the inventory has key {listed} for {name}, but its key is {mine}"),
            hint: Some(format!("`byway host key {name} {mine}`, and copy the file to the other hosts")),
        })
    }

    /// What to do where other hosts have keys and this one has none; nothing where nobody uses them.
    pub(super) fn missing(&self, mine: &PublicKey) -> Option<String> {
        let known = self.known();
        let others_have = known.cluster.hosts.iter().any(|host| host.key.is_some());
        let name = &known.me.name;
        (known.me.key.is_none() && others_have).then(|| {
            format!("the inventory has keys, but none for {name}: `byway host key {name} {mine}` lets it take part")
        })
    }
}
