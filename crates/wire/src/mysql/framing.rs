//! Messages out of bytes: packets of 4 bytes header and up to 16 MiB, put together where they continue.

use std::mem;

use super::place::{Feed, Hole, Mark, Span};

/// The length of a packet that another one continues.
const FULL: u32 = 0xff_ffff;
/// Holes that are kept of one message; more are counted in the last one.
pub(super) const HOLES_MAX: usize = 16;
/// Room that a buffer keeps for the next message. A statement is seldom longer; one that was is not paid for ever.
pub(super) const ROOM_KEPT: usize = 16 << 10;

/// Room that a message takes at first when it does not lie in one piece.
const ROOM_FIRST: usize = 2 << 10;

/// One message, whole or as far as it was seen.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// Of its first packet.
    pub(super) sequence: u8,
    /// Of its last packet.
    pub(super) last_sequence: u8,
    /// How long it was on the wire, without the headers of packets.
    pub(super) length: u64,
    pub(super) payload: Payload<'a>,
    pub(super) holes: &'a [Hole],
    pub(super) span: Span,
    /// Whether its end was not seen, and so its length is not known either.
    pub(super) is_cut: bool,
}

/// What was kept of a message.
#[derive(Debug)]
pub(super) enum Payload<'a> {
    /// It lay in one piece.
    Borrowed(&'a [u8]),
    /// It was put together, and may be taken away.
    Held(&'a mut Vec<u8>),
}

impl Payload<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Held(bytes) => bytes,
        }
    }

    /// Puts it into `body`, without a copy if it was put together already.
    pub(super) fn move_to(self, body: &mut Vec<u8>) {
        body.clear();
        match self {
            Self::Borrowed(bytes) => body.extend_from_slice(bytes),
            Self::Held(bytes) => mem::swap(bytes, body),
        }
    }
}

/// The state between pieces of one direction.
#[derive(Debug)]
pub(super) struct Framing {
    /// How much of a message is kept.
    keep_max: usize,
    header: [u8; 4],
    header_filled: usize,
    /// What is to come of the current packet.
    left: u32,
    /// Whether a message has begun.
    is_open: bool,
    sequence: u8,
    length: u64,
    held: Vec<u8>,
    holes: Vec<Hole>,
    span: Span,
}

impl Framing {
    pub(super) fn new(keep_max: usize) -> Self {
        Self {
            keep_max,
            header: [0; 4],
            header_filled: 0,
            left: 0,
            is_open: false,
            sequence: 0,
            length: 0,
            held: Vec::new(),
            holes: Vec::new(),
            span: Span::default(),
        }
    }

    /// Bytes of memory beside the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.held.capacity() + self.holes.capacity() * size_of::<Hole>()
    }

    /// Whether the next byte begins a message.
    pub(super) fn is_between(&self) -> bool {
        !self.is_open
    }

    /// Forgets the message that has begun.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.keep_max);
    }

    /// The next message, if it is there whole; takes its bytes from `feed`, and all of them if it is not.
    pub(super) fn take<'s, 'a: 's>(&'s mut self, feed: &mut Feed<'a>) -> Option<Message<'s>> {
        if !self.is_open {
            if let [a, b, c, sequence, rest @ ..] = feed.bytes {
                let length = u32::from_le_bytes([*a, *b, *c, 0]);
                if length < FULL && rest.len() >= length as usize {
                    return Some(borrowed(feed, length, *sequence, self.keep_max));
                }
            }
            if feed.bytes.is_empty() {
                return None;
            }
            self.open(feed.first());
        }
        self.fill(feed).then(|| self.close(false))
    }

    fn open(&mut self, first: Mark) {
        if self.held.capacity() > ROOM_KEPT {
            self.held = Vec::new();
        }
        self.held.clear();
        self.holes.clear();
        (self.is_open, self.header_filled, self.length) = (true, 0, 0);
        self.span = Span { first, last: first };
    }

    /// Takes bytes until the message is whole or there are no more; whether it is whole.
    fn fill(&mut self, feed: &mut Feed<'_>) -> bool {
        // Ends: every round takes bytes, or the message is whole, or there are none left.
        loop {
            if self.header_filled < 4 {
                let bytes = feed.split(4 - self.header_filled);
                self.header[self.header_filled..][..bytes.len()].copy_from_slice(bytes);
                self.header_filled += bytes.len();
                if self.header_filled < 4 {
                    return false;
                }
                self.packet();
            }
            let bytes = feed.split(self.left as usize);
            #[expect(clippy::cast_possible_truncation, reason = "not more than `left`")]
            let taken = bytes.len() as u32;
            self.left -= taken;
            self.keep(bytes);
            self.span.last = feed.last();
            if self.left > 0 {
                return false;
            }
            if self.packet_length() < FULL {
                return true;
            }
            self.header_filled = 0;
        }
    }

    fn packet(&mut self) {
        if self.length == 0 {
            self.sequence = self.header[3];
        }
        self.left = self.packet_length();
        self.length += u64::from(self.left);
    }

    fn packet_length(&self) -> u32 {
        u32::from_le_bytes([self.header[0], self.header[1], self.header[2], 0])
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.keep_max.saturating_sub(self.held.len());
        let bytes = &bytes[..bytes.len().min(room)];
        if self.held.capacity() - self.held.len() < bytes.len() {
            // Twice the room each time, but never more than the message says that it is long.
            let declared = usize::try_from(self.length).unwrap_or(usize::MAX).min(self.keep_max);
            let more = self.held.capacity().max(ROOM_FIRST).min(declared.saturating_sub(self.held.len()));
            self.held.reserve_exact(more.max(bytes.len()));
        }
        self.held.extend_from_slice(bytes);
    }

    fn close(&mut self, is_cut: bool) -> Message<'_> {
        self.is_open = false;
        Message {
            sequence: self.sequence,
            last_sequence: self.header[3],
            length: self.length,
            payload: Payload::Held(&mut self.held),
            holes: &self.holes,
            span: self.span,
            is_cut,
        }
    }

    /// Tries to step over missing bytes.
    pub(super) fn gap(&mut self, missing: u64, at: Mark) -> AfterGap<'_> {
        if !self.is_open || self.header_filled < 4 {
            self.is_open = false;
            return AfterGap::Lost(None);
        }
        let inside = u64::from(self.left).min(missing);
        self.hole(inside);
        #[expect(clippy::cast_possible_truncation, reason = "not more than `left`")]
        let stepped = inside as u32;
        self.left -= stepped;
        if inside < missing || self.left == 0 && self.packet_length() == FULL {
            let is_cut = self.left > 0 || self.packet_length() == FULL;
            return AfterGap::Lost(Some(self.close(is_cut)));
        }
        self.span.last = at;
        if self.left == 0 { AfterGap::Whole(self.close(false)) } else { AfterGap::Inside }
    }

    fn hole(&mut self, missing: u64) {
        if missing == 0 {
            return;
        }
        let (at, is_full) = (self.held.len(), self.holes.len() >= HOLES_MAX);
        match self.holes.last_mut() {
            Some(last) if last.at == at => last.missing += missing,
            Some(last) if is_full => last.missing += missing,
            _ => self.holes.push(Hole { at, missing }),
        }
    }
}

/// A message that lies whole in `feed`: nothing is copied.
fn borrowed<'a>(feed: &mut Feed<'a>, length: u32, sequence: u8, keep_max: usize) -> Message<'a> {
    let first = feed.first();
    feed.split(4);
    let payload = feed.split(length as usize);
    Message {
        sequence,
        last_sequence: sequence,
        length: u64::from(length),
        payload: Payload::Borrowed(&payload[..payload.len().min(keep_max)]),
        holes: &[],
        span: Span { first, last: feed.last() },
        is_cut: false,
    }
}

/// Where missing bytes leave the framing.
#[derive(Debug)]
pub(super) enum AfterGap<'a> {
    /// They were all of the current packet, and more of it is to come.
    Inside,
    /// They were the end of the current message.
    Whole(Message<'a>),
    /// They went beyond the current packet: where the next message begins is not known. What was seen of the last one.
    Lost(Option<Message<'a>>),
}
