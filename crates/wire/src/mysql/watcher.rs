//! Finds out whether a connection is MySQL, and which side is the server; then hands on to [`Session`].
//!
//! Told by the port, or by the server's greeting, or, midstream, by the shape of a client's command. A header of the PROXY
//! protocol in front of the client's bytes is stepped over.

use super::event::{Event, Role};
use super::greeting::Greeting;
use super::session::{Limits, Session, Start};
use super::shape::{self, Care};
use crate::stream::{Gap, Piece, Side};

/// Bytes that are held while it is not known what they are: a greeting, or a header of the PROXY protocol, of which the
/// first version has up to 107 bytes, and the second one seldom more than some hundred.
const HELD_MAX: usize = 1024;
/// Bytes after which it is not MySQL, if nothing was found: the rest of a long answer may come first.
const BYTES_MAX: u64 = 1 << 20;
/// Changes of direction after which it is not MySQL, if nothing was found.
const TURNS_MAX: u32 = 8;
/// The signature of the second version of the PROXY protocol.
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Open,
    /// It is MySQL or MariaDB, and that side is the server.
    Mysql(Side),
    /// It is something else: nothing more is wanted.
    Other,
}

/// Hears what a connection tells, with the side that is the server.
pub(super) type Tell<'e> = &'e mut dyn FnMut(Side, Event<'_>);

/// A connection of which it is to be found out what it is.
#[derive(Debug)]
pub struct Watcher {
    limits: Limits,
    told: Option<Side>,
    state: State,
}

#[derive(Debug)]
enum State {
    Opening(Opening),
    Known(Side, Box<Session>),
    Other,
}

/// The beginning of a connection.
#[derive(Debug, Default)]
struct Opening {
    first: Held,
    second: Held,
    bytes: u64,
    turns: u32,
    last: Option<Side>,
}

/// The first bytes of one side.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    offset: u64,
    time_ns: u64,
    /// They are no beginning of anything known here, or lie behind one.
    is_given_up: bool,
}

/// What bytes at the beginning of a side are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opens {
    Greeting,
    /// A header of the PROXY protocol, that long.
    Proxy(usize),
    /// More must be seen.
    Open,
    Other,
}

impl Watcher {
    /// A connection of which nothing has been seen; `server` if the port tells which side that is.
    #[must_use]
    pub fn new(limits: Limits, server: Option<Side>) -> Self {
        Self { limits, told: server, state: State::Opening(Opening::default()) }
    }

    /// What is known of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.state {
            State::Opening(_) => Verdict::Open,
            State::Known(server, _) => Verdict::Mysql(*server),
            State::Other => Verdict::Other,
        }
    }

    /// The session, once it is known to be one.
    #[must_use]
    pub fn session(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Known(_, session) => Some(session),
            _ => None,
        }
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let beside = match &self.state {
            State::Opening(opening) => opening.first.bytes.capacity() + opening.second.bytes.capacity(),
            State::Known(_, session) => session.memory(),
            State::Other => 0,
        };
        size_of::<Self>() + beside
    }

    /// The next bytes of one side.
    pub fn piece(&mut self, side: Side, piece: &Piece<'_>, emit: Tell<'_>) {
        match &mut self.state {
            State::Known(server, session) => {
                session.piece(role(*server, side), piece, &mut |event| emit(*server, event));
            }
            State::Opening(_) => self.open(side, piece, emit),
            State::Other => {}
        }
    }

    /// Bytes of one side will not come.
    pub fn gap(&mut self, side: Side, gap: &Gap, emit: Tell<'_>) {
        match &mut self.state {
            State::Known(server, session) => {
                session.gap(role(*server, side), gap, &mut |event| emit(*server, event));
            }
            State::Opening(opening) => {
                opening.held(side).give_up();
                if let Some(server) = self.told {
                    let session = self.know(server, Start::Midstream);
                    session.gap(role(server, side), gap, &mut |event| emit(server, event));
                }
            }
            State::Other => {}
        }
    }

    /// The connection is over.
    pub fn end(&mut self, emit: Tell<'_>) {
        if let State::Known(server, session) = &mut self.state {
            session.end(&mut |event| emit(*server, event));
        }
    }

    fn know(&mut self, server: Side, start: Start) -> &mut Session {
        let session = Box::new(Session::new(self.limits, start));
        self.state = State::Known(server, session);
        match &mut self.state {
            State::Known(_, session) => session,
            _ => unreachable!("it was made known above"),
        }
    }

    fn open(&mut self, side: Side, piece: &Piece<'_>, emit: Tell<'_>) {
        let State::Opening(opening) = &mut self.state else { return };
        opening.count(side, piece);
        if opening.held(side).is_given_up {
            return self.midstream(side, piece, emit);
        }
        opening.held(side).hold(piece);
        match opening.held(side).opens() {
            Opens::Open => {}
            Opens::Greeting if self.told.is_none_or(|server| server == side) => {
                self.greeted(side, piece, emit);
            }
            Opens::Proxy(length) if self.told.is_none_or(|server| server != side) => {
                opening.held(side).skip(length);
                self.behind_proxy(side, piece, emit);
            }
            Opens::Greeting | Opens::Proxy(_) | Opens::Other => {
                opening.held(side).give_up();
                self.midstream(side, piece, emit);
            }
        }
        self.give_up_late();
    }

    /// What came behind the PROXY header in the same bytes may be a command, on a connection that was joined midstream
    /// no more than one that begins; so nothing is done but to wait for the greeting.
    fn behind_proxy(&mut self, side: Side, piece: &Piece<'_>, emit: Tell<'_>) {
        let State::Opening(opening) = &mut self.state else { return };
        let held = opening.held(side);
        held.is_given_up = true;
        if !held.bytes.is_empty() {
            let length = held.bytes.len().min(piece.bytes.len());
            let bytes = &piece.bytes[piece.bytes.len() - length..];
            let offset = piece.offset + (piece.bytes.len() - length) as u64;
            self.midstream(side, &Piece { bytes, offset, ..*piece }, emit);
        }
    }

    fn greeted(&mut self, side: Side, piece: &Piece<'_>, emit: Tell<'_>) {
        let State::Opening(opening) = &mut self.state else { return };
        let held = std::mem::take(opening.held(side));
        let whole =
            Piece { bytes: &held.bytes, offset: held.offset, time_ns: held.time_ns, starts_segment: true };
        // What did not fit into what is held is the end of the last piece.
        let end = held.offset + held.bytes.len() as u64;
        let rest =
            usize::try_from(end.saturating_sub(piece.offset)).ok().and_then(|at| piece.bytes.get(at..));
        let rest = Piece { bytes: rest.unwrap_or_default(), offset: end, starts_segment: false, ..*piece };
        let session = self.know(side, Start::Greeting);
        session.piece(Role::Server, &whole, &mut |event| emit(side, event));
        if !rest.bytes.is_empty() {
            session.piece(Role::Server, &rest, &mut |event| emit(side, event));
        }
    }

    /// Bytes that do not begin a connection.
    fn midstream(&mut self, side: Side, piece: &Piece<'_>, emit: Tell<'_>) {
        let server = match self.told {
            Some(server) => server,
            None if piece.starts_segment && shape::command(piece.bytes, Care::Unknown).is_some() => {
                side.other()
            }
            None => return self.give_up_late(),
        };
        let session = self.know(server, Start::Midstream);
        session.piece(role(server, side), piece, &mut |event| emit(server, event));
    }

    fn give_up_late(&mut self) {
        let State::Opening(opening) = &self.state else { return };
        if self.told.is_none() && (opening.bytes > BYTES_MAX || opening.turns > TURNS_MAX) {
            self.state = State::Other;
        }
    }
}

fn role(server: Side, side: Side) -> Role {
    if side == server { Role::Server } else { Role::Client }
}

impl Opening {
    fn held(&mut self, side: Side) -> &mut Held {
        match side {
            Side::First => &mut self.first,
            Side::Second => &mut self.second,
        }
    }

    fn count(&mut self, side: Side, piece: &Piece<'_>) {
        self.bytes += piece.bytes.len() as u64;
        self.turns += u32::from(self.last.is_some_and(|last| last != side));
        self.last = Some(side);
    }
}

impl Held {
    fn hold(&mut self, piece: &Piece<'_>) {
        if self.bytes.is_empty() {
            (self.offset, self.time_ns) = (piece.offset, piece.time_ns);
        }
        let room = HELD_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&piece.bytes[..piece.bytes.len().min(room)]);
    }

    fn skip(&mut self, length: usize) {
        self.bytes.drain(..length.min(self.bytes.len()));
    }

    fn give_up(&mut self) {
        *self = Self { is_given_up: true, ..Self::default() };
    }

    fn opens(&self) -> Opens {
        match greeting(&self.bytes) {
            Opens::Other => {}
            known => return known,
        }
        match proxy(&self.bytes) {
            Opens::Open if self.bytes.len() >= HELD_MAX => Opens::Other,
            known => known,
        }
    }
}

/// Whether a server's greeting begins there.
fn greeting(bytes: &[u8]) -> Opens {
    /// The longest version that is believed, and the shortest and longest greeting.
    const VERSION_MAX: usize = 128;
    const LENGTHS: std::ops::RangeInclusive<usize> = 30..=512;
    let Some((header, payload)) = bytes.split_first_chunk::<4>() else { return Opens::Open };
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
    if header[3] != 0 || !LENGTHS.contains(&length) || payload.first().is_some_and(|protocol| *protocol != 10)
    {
        return Opens::Other;
    }
    let version = payload.get(1..).unwrap_or_default();
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~');
    match version.iter().position(|byte| *byte == 0) {
        Some(end) if end == 0 || end > VERSION_MAX || !version[..end].iter().all(is_text) => {
            return Opens::Other;
        }
        None if version.len() > VERSION_MAX || !version.iter().all(is_text) => return Opens::Other,
        _ => {}
    }
    if payload.len() < length {
        return Opens::Open;
    }
    if Greeting::read(&payload[..length]).is_some() { Opens::Greeting } else { Opens::Other }
}

/// Whether a header of the PROXY protocol begins there:
/// <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.
fn proxy(bytes: &[u8]) -> Opens {
    const V1: &[u8] = b"PROXY ";
    if is_start(bytes, V1) {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n");
        return end.map_or(Opens::Open, |end| Opens::Proxy(end + 2));
    }
    if !is_start(bytes, PROXY_V2) {
        return Opens::Other;
    }
    let Some(length) = bytes.get(14..16) else { return Opens::Open };
    let length = 16 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    if bytes.len() < length { Opens::Open } else { Opens::Proxy(length) }
}

/// Whether one is the beginning of the other.
fn is_start(bytes: &[u8], mark: &[u8]) -> bool {
    let length = bytes.len().min(mark.len());
    bytes[..length] == mark[..length]
}
