//! One connection, piece by piece: the door of the room. Two [`Direction`]s make messages, [`Conversation`] understands them.

use std::ops::Range;

use super::compressed::Compression;
use super::conversation::{Conversation, Emit, Flow};
use super::direction::Direction;
use super::event::{Event, Missed, MissedWhat, Role};
use super::place::{Feed, Mark, Place};
use crate::stream::{Gap, Piece};

/// How much of a server's message is kept: greetings, OK, errors and the like are shorter, and rows are only counted.
const ANSWER_KEPT: usize = 16 << 10;

/// What one connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that are kept of one request. What is beyond is counted. Servers take 16 MiB to 64 MiB (`max_allowed_packet`).
    pub request_bytes_max: usize,
    /// Bytes of requests that wait for an answer; above it only the beginning of each is kept.
    pub pending_bytes_max: usize,
    /// Bytes of prepared statements; above it the oldest is forgotten.
    pub statements_bytes_max: usize,
    /// Bytes that are kept of one parameter which comes in pieces of its own.
    pub long_data_bytes_max: usize,
}

impl Default for Limits {
    /// Statements of up to 36 MiB whole, and a connection with such a one below 64 MiB.
    fn default() -> Self {
        Self {
            request_bytes_max: 36 << 20,
            pending_bytes_max: 36 << 20,
            statements_bytes_max: 8 << 20,
            long_data_bytes_max: 1 << 20,
        }
    }
}

/// Where a connection is joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The server's first byte is the first one of its greeting.
    Greeting,
    /// Anywhere: what is agreed on is not known, and messages are looked for at the beginnings of segments.
    Midstream,
}

/// One connection of MySQL or MariaDB, decoded from what both sides send.
///
/// An answer must not come before the bytes that it acknowledges. Total: any bytes in any order give events, in bounded
/// memory.
#[derive(Debug)]
pub struct Session {
    conversation: Conversation,
    client: Direction,
    server: Direction,
    is_encrypted: bool,
    encrypted: [u64; 2],
}

impl Session {
    /// A connection of which nothing has been seen.
    #[must_use]
    pub fn new(limits: Limits, start: Start) -> Self {
        let is_midstream = start == Start::Midstream;
        Self {
            conversation: Conversation::new(limits, is_midstream),
            client: Direction::new(Role::Client, limits.request_bytes_max, is_midstream),
            server: Direction::new(Role::Server, ANSWER_KEPT, is_midstream),
            is_encrypted: false,
            encrypted: [0; 2],
        }
    }

    /// The next bytes of one side.
    pub fn piece(&mut self, role: Role, piece: &Piece<'_>, emit: Emit<'_>) {
        let feed = Feed { bytes: piece.bytes, place: Place::Plain(piece.offset), time_ns: piece.time_ns };
        if self.is_encrypted {
            self.count_encrypted(role, feed.bytes.len() as u64);
        } else {
            self.feed(role, feed, piece.starts_segment, emit);
        }
    }

    /// The next bytes of one side that were opened from TLS; `within` are the offsets of the record that held them, and
    /// `time_ns` is when its last byte was seen.
    pub fn opened(&mut self, role: Role, bytes: &[u8], within: Range<u64>, time_ns: u64, emit: Emit<'_>) {
        let place = Place::Within(within.start, within.end.saturating_sub(1).max(within.start));
        self.feed(role, Feed { bytes, place, time_ns }, true, emit);
    }

    /// Bytes of one side will not come.
    pub fn gap(&mut self, role: Role, gap: &Gap, emit: Emit<'_>) {
        let at = Mark { offset: gap.offset, time_ns: gap.time_ns };
        emit(Event::Missed(Missed { role, what: MissedWhat::Gap(gap.why), bytes: gap.missing, at }));
        if self.is_encrypted {
            self.count_encrypted(role, gap.missing);
        } else {
            self.missing(role, gap.missing, at, emit);
        }
    }

    /// Bytes within TLS could not be opened: so many, or nobody knows how many.
    pub fn opened_gap(&mut self, role: Role, missing: Option<u64>, at: Mark, emit: Emit<'_>) {
        self.missing(role, missing.unwrap_or(u64::MAX), at, emit);
    }

    /// The connection is over; what still waits for an answer is told.
    pub fn end(&mut self, emit: Emit<'_>) {
        self.client.tell_passed(emit);
        self.server.tell_passed(emit);
        self.conversation.give_up_answers(emit);
    }

    /// How many bytes of TLS each side has sent.
    #[must_use]
    pub fn encrypted_bytes(&self, role: Role) -> u64 {
        self.encrypted[usize::from(role == Role::Server)]
    }

    /// Whether the connection said goodbye, or its login was refused: nothing more is read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.conversation.is_over()
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.conversation.memory() + self.client.memory() + self.server.memory()
    }

    fn count_encrypted(&mut self, role: Role, bytes: u64) {
        let count = &mut self.encrypted[usize::from(role == Role::Server)];
        *count = count.saturating_add(bytes);
    }

    fn feed(&mut self, role: Role, mut feed: Feed<'_>, starts: bool, emit: Emit<'_>) {
        let mut starts = starts;
        // Ends: every round takes bytes, or switches to compression, which a connection does once.
        while !feed.bytes.is_empty() && !self.conversation.is_over() {
            let before = feed.bytes.len();
            let direction = match role {
                Role::Client => &mut self.client,
                Role::Server => &mut self.server,
            };
            let flow = direction.feed(&mut self.conversation, &mut feed, starts, emit);
            self.turn(flow, emit);
            if flow == Flow::Encrypted {
                return self.count_encrypted(role, feed.bytes.len() as u64);
            }
            starts &= feed.bytes.len() == before;
        }
    }

    fn missing(&mut self, role: Role, missing: u64, at: Mark, emit: Emit<'_>) {
        if self.conversation.is_over() {
            return;
        }
        let direction = match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        };
        let flow = direction.missing(&mut self.conversation, missing, at, emit);
        self.turn(flow, emit);
    }

    fn turn(&mut self, flow: Flow, emit: Emit<'_>) {
        match flow {
            Flow::On => {}
            Flow::Lost => {
                let flow = self.conversation.skip_login();
                if let Flow::Compressed(compression) = flow {
                    self.compress(compression, emit);
                }
            }
            Flow::Compressed(compression) => self.compress(compression, emit),
            Flow::Encrypted => self.is_encrypted = true,
        }
    }

    fn compress(&mut self, compression: Compression, emit: Emit<'_>) {
        if self.client.is_compressed() {
            return;
        }
        self.conversation.compresses();
        self.client.compress(compression);
        self.server.compress(compression);
        emit(Event::Compressed(compression));
    }
}
