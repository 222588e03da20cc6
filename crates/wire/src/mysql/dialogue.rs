//! One connection of which everything is known together: its ends, what it says, its TLS, and when it was seen where.

use std::net::SocketAddr;

use super::event::{Encrypted, Event, Role};
use super::place::Mark;
use super::session::Limits;
use super::timing::{Points, Timed, Timing};
use super::watcher::{Verdict, Watcher};
use crate::stream::{End, Ends, Gap, Interest, Piece, Side, Sighting};
use crate::tls::{self, KeyLog, Sealed, Tls};

/// Who talks to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peers {
    /// Which connection it is, from 1 on, in the order in which they were met.
    pub number: u64,
    /// Who asks.
    pub client: SocketAddr,
    /// Who answers.
    pub server: SocketAddr,
}

/// What a connection tells.
#[derive(Debug)]
pub enum News<'a> {
    /// What MySQL's protocol says, and of a statement how long its answer took.
    Said(&'a Event<'a>, Option<Timed>),
    /// The timing of a statement that was told before.
    Timing(u64, Timing),
    /// Both sides of its TLS have agreed on how.
    Agreed(&'a tls::Agreed),
    /// Its TLS will not be read, or no longer.
    Sealed(Sealed),
    /// It is over. So many bytes of TLS were counted, of the client and the server.
    Over(End, [u64; 2]),
}

/// Hears what connections tell.
pub trait Hear {
    /// One thing.
    fn hear(&mut self, peers: &Peers, news: News<'_>);
}

/// A connection.
#[derive(Debug)]
pub(super) struct Dialogue {
    number: u64,
    ends: Ends,
    watcher: Watcher,
    points: Points,
    tls: Option<Box<Opening>>,
    /// How much it kept when that was counted last: the listener's.
    pub(super) counted: usize,
}

/// TLS, from these bytes of both sides on.
#[derive(Debug)]
struct Opening {
    from: Encrypted,
    tls: Tls,
    is_told: bool,
}

/// What dialogues share.
pub(super) struct Room<'a> {
    pub(super) hear: &'a mut dyn Hear,
    pub(super) keys: &'a KeyLog,
    /// How much a connection may hold until its keys come.
    pub(super) held_max: usize,
    /// The number of the statement that was told last with its timing to come.
    pub(super) timed: &'a mut u64,
}

impl Dialogue {
    pub(super) fn new(number: u64, ends: Ends, server: Option<Side>, limits: Limits) -> Self {
        let watcher = Watcher::new(limits, server);
        Self { number, ends, watcher, points: Points::default(), tls: None, counted: 0 }
    }

    pub(super) fn memory(&self) -> usize {
        let tls = self.tls.as_ref().map_or(0, |opening| opening.tls.memory());
        size_of::<Self>() + self.watcher.memory() + self.points.memory() + tls
    }

    pub(super) fn piece(&mut self, side: Side, piece: &Piece<'_>, room: &mut Room<'_>) -> Interest {
        let mut encrypted = None;
        let Self { number, ends, watcher, points, .. } = self;
        watcher.piece(side, piece, &mut |server, event| {
            if let Event::Encrypted(from) = &event {
                encrypted = Some(*from);
            }
            tell(&peers(*number, *ends, server), points, room, &event);
        });
        if let (Some(from), Verdict::Mysql(server)) = (encrypted, self.watcher.verdict()) {
            let tls = Tls::new(server.other(), room.held_max);
            self.tls = Some(Box::new(Opening { from, tls, is_told: false }));
        }
        if self.tls.is_some() {
            self.open(side, piece, room);
        }
        self.settle(piece.time_ns, false, room);
        self.interest()
    }

    pub(super) fn gap(&mut self, side: Side, gap: &Gap, room: &mut Room<'_>) -> Interest {
        let Self { number, ends, watcher, points, .. } = self;
        watcher.gap(side, gap, &mut |server, event| {
            tell(&peers(*number, *ends, server), points, room, &event);
        });
        self.each_opened(room, |tls, keys, emit| tls.gap(side, gap, keys, emit));
        self.interest()
    }

    pub(super) fn sighting(&mut self, side: Side, sighting: &Sighting, room: &mut Room<'_>) {
        if let Verdict::Mysql(server) = self.watcher.verdict() {
            let role = if side == server { Role::Server } else { Role::Client };
            self.points.saw(role, sighting);
            if self.points.is_waiting() {
                self.settle(sighting.time_ns, false, room);
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self, how: End, room: &mut Room<'_>) {
        self.each_opened(room, |tls, _, emit| tls.end(emit));
        let Self { number, ends, watcher, points, .. } = self;
        watcher.end(&mut |server, event| tell(&peers(*number, *ends, server), points, room, &event));
        self.settle(0, true, room);
        if let Verdict::Mysql(server) = self.watcher.verdict() {
            let bytes = self.watcher.session().map_or([0; 2], |session| {
                [session.encrypted_bytes(Role::Client), session.encrypted_bytes(Role::Server)]
            });
            room.hear.hear(&peers(self.number, self.ends, server), News::Over(how, bytes));
        }
    }

    fn interest(&self) -> Interest {
        if self.watcher.verdict() == Verdict::Other { Interest::Nothing } else { Interest::More }
    }

    /// Tells the timings that are known by now.
    fn settle(&mut self, now_ns: u64, is_over: bool, room: &mut Room<'_>) {
        let Verdict::Mysql(server) = self.watcher.verdict() else { return };
        while let Some((number, timing)) = self.points.settled(now_ns, is_over) {
            room.hear.hear(&peers(self.number, self.ends, server), News::Timing(number, timing));
        }
    }

    /// Gives TLS the bytes of a piece that are its own.
    fn open(&mut self, side: Side, piece: &Piece<'_>, room: &mut Room<'_>) {
        let (Some(opening), Verdict::Mysql(server)) = (&self.tls, self.watcher.verdict()) else { return };
        let from = if side == server { opening.from.server_from } else { opening.from.client_from };
        let before = usize::try_from(from.saturating_sub(piece.offset)).unwrap_or(usize::MAX);
        let Some(bytes) = piece.bytes.get(before..).filter(|bytes| !bytes.is_empty()) else { return };
        let rest = Piece {
            bytes,
            offset: piece.offset + before as u64,
            time_ns: piece.time_ns,
            starts_segment: piece.starts_segment && before == 0,
        };
        self.each_opened(room, |tls, keys, emit| tls.piece(side, &rest, keys, emit));
    }

    /// Lets TLS do something, and the session read what comes of it.
    fn each_opened(
        &mut self,
        room: &mut Room<'_>,
        act: impl FnOnce(&mut Tls, &KeyLog, &mut dyn FnMut(tls::Event<'_>)),
    ) {
        let Self { number, ends, watcher, points, tls, .. } = self;
        let (Some(opening), Verdict::Mysql(server)) = (tls, watcher.verdict()) else { return };
        let Some(session) = watcher.session() else { return };
        let Opening { tls, is_told, .. } = &mut **opening;
        let peers = peers(*number, *ends, server);
        let role = |side| if side == server { Role::Server } else { Role::Client };
        act(tls, room.keys, &mut |event| match event {
            tls::Event::Agreed(agreed) => room.hear.hear(&peers, News::Agreed(agreed)),
            tls::Event::Plain(side, piece) => {
                let within = piece.offset..piece.offset + piece.bytes.len() as u64;
                session.opened(role(side), piece.bytes, within, piece.time_ns, &mut |event| {
                    tell(&peers, points, room, &event);
                });
            }
            tls::Event::Lost(side, loss) => {
                let at = Mark { offset: loss.offset, time_ns: loss.time_ns };
                session.opened_gap(role(side), loss.missing, at, &mut |event| {
                    tell(&peers, points, room, &event);
                });
            }
            tls::Event::Sealed(_, why) => {
                // Both sides say it mostly, for the same reason.
                if !std::mem::replace(is_told, true) {
                    room.hear.hear(&peers, News::Sealed(why));
                }
            }
        });
    }
}

fn tell(peers: &Peers, points: &mut Points, room: &mut Room<'_>, event: &Event<'_>) {
    let timed = match event {
        Event::Statement(statement) => Some(points.of(statement, room.timed)),
        _ => None,
    };
    room.hear.hear(peers, News::Said(event, timed));
}

fn peers(number: u64, ends: Ends, server: Side) -> Peers {
    let (client, server) = match server {
        Side::First => (ends.second, ends.first),
        Side::Second => (ends.first, ends.second),
    };
    Peers { number, client, server }
}
