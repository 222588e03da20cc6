//! The bytes of one side: opens what is compressed, puts messages together, steps over what is missing, and finds its
//! place again at the beginning of a segment.

use super::compressed::{Compressed, Compression, Opened};
use super::conversation::{Conversation, Emit, Flow};
use super::event::{Event, Missed, MissedWhat, Role};
use super::framing::{AfterGap, Framing};
use super::place::{Feed, Mark};
use super::shape::{self, Care, Shape};

/// One side.
#[derive(Debug)]
pub(super) struct Direction {
    messages: Messages,
    compressed: Option<Compressed>,
    /// It is not known where a compressed frame begins.
    is_frame_lost: bool,
}

/// Its messages.
#[derive(Debug)]
struct Messages {
    role: Role,
    framing: Framing,
    lost: Option<Lost>,
}

/// It is not known where a message begins.
#[derive(Debug, Default)]
struct Lost {
    /// The first byte that was passed over since.
    first: Option<Mark>,
    /// How many were.
    passed: u64,
}

impl Direction {
    pub(super) fn new(role: Role, keep_max: usize, is_lost: bool) -> Self {
        let lost = is_lost.then(Lost::default);
        Self {
            messages: Messages { role, framing: Framing::new(keep_max), lost },
            compressed: None,
            is_frame_lost: false,
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.compressed.is_some()
    }

    /// What follows is compressed. Where messages are not found, neither are frames.
    pub(super) fn compress(&mut self, compression: Compression) {
        self.compressed = Some(Compressed::new(compression));
        self.is_frame_lost = self.messages.lost.is_some();
    }

    /// Bytes of memory beside the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.messages.framing.memory() + self.compressed.as_ref().map_or(0, Compressed::memory)
    }

    /// Tells what was passed over, if it is not told yet.
    pub(super) fn tell_passed(&mut self, emit: Emit<'_>) {
        self.messages.tell_passed(emit);
    }

    /// Reads bytes, all of them unless something else follows. `starts` is whether they begin a segment.
    pub(super) fn feed(
        &mut self,
        conversation: &mut Conversation,
        feed: &mut Feed<'_>,
        starts: bool,
        emit: Emit<'_>,
    ) -> Flow {
        let Some(compressed) = &mut self.compressed else {
            return self.messages.feed(conversation, feed, starts, emit);
        };
        if self.is_frame_lost {
            let sequence = u8::from(self.messages.role == Role::Server);
            if !starts || shape::compressed(feed.bytes, sequence).is_none() {
                self.messages.pass_over(conversation, feed);
                return Flow::On;
            }
            compressed.reset();
            self.is_frame_lost = false;
        }
        while let Some(opened) = compressed.take(feed) {
            match opened {
                Opened::Plain(mut plain, begins) => {
                    self.messages.feed(conversation, &mut plain, begins, emit);
                }
                Opened::Missing(bytes, at) => {
                    emit(Event::Missed(Missed {
                        role: self.messages.role,
                        what: MissedWhat::Damaged,
                        bytes,
                        at,
                    }));
                    self.messages.missing(conversation, bytes, at, emit);
                }
            }
        }
        Flow::On
    }

    /// Bytes are missing.
    pub(super) fn missing(
        &mut self,
        conversation: &mut Conversation,
        missing: u64,
        at: Mark,
        emit: Emit<'_>,
    ) -> Flow {
        let Some(compressed) = &mut self.compressed else {
            return self.messages.missing(conversation, missing, at, emit);
        };
        if self.is_frame_lost {
            return self.messages.missing(conversation, missing, at, emit);
        }
        match compressed.gap(missing, at) {
            Ok(None) => Flow::On,
            Ok(Some((missing, at))) => self.messages.missing(conversation, missing, at, emit),
            Err(()) => {
                self.is_frame_lost = true;
                self.messages.missing(conversation, u64::MAX, at, emit)
            }
        }
    }
}

impl Messages {
    fn feed(
        &mut self,
        conversation: &mut Conversation,
        feed: &mut Feed<'_>,
        starts: bool,
        emit: Emit<'_>,
    ) -> Flow {
        if self.lost.is_some() {
            match self.begins(conversation, feed.bytes).filter(|_| starts) {
                Some(Shape::Plain) => self.found(emit),
                Some(Shape::Compressed(compression)) => return Flow::Compressed(compression),
                None => {
                    self.pass_over(conversation, feed);
                    return Flow::On;
                }
            }
        }
        loop {
            if self.role == Role::Server && self.framing.is_between() {
                conversation.pass(feed);
            }
            let Some(message) = self.framing.take(feed) else { return Flow::On };
            match conversation.message(self.role, message, emit) {
                Flow::On => {}
                Flow::Lost => {
                    self.lose(conversation, None);
                    self.pass_over(conversation, feed);
                    return Flow::Lost;
                }
                other => return other,
            }
        }
    }

    /// What begins there, if it is something to go on from.
    fn begins(&self, conversation: &Conversation, bytes: &[u8]) -> Option<Shape> {
        let plain = |is_so: bool| is_so.then_some(Shape::Plain);
        match self.role {
            Role::Server => plain(conversation.awaits_answer() && shape::is_answer(bytes)),
            Role::Client if conversation.may_be_compressed() => shape::command(bytes, Care::Known),
            Role::Client => plain(shape::is_command(bytes, Care::Known)),
        }
    }

    fn found(&mut self, emit: Emit<'_>) {
        self.tell_passed(emit);
        self.lost = None;
        self.framing.reset();
    }

    fn tell_passed(&mut self, emit: Emit<'_>) {
        if let Some(Lost { first: Some(at), passed: bytes }) = self.lost.take() {
            emit(Event::Missed(Missed { role: self.role, what: MissedWhat::Unaligned, bytes, at }));
        }
    }

    fn pass_over(&mut self, conversation: &mut Conversation, feed: &mut Feed<'_>) {
        let first = feed.first();
        let passed = feed.split(feed.bytes.len()).len() as u64;
        if passed == 0 {
            return;
        }
        let lost = self.lost.get_or_insert_default();
        lost.first.get_or_insert(first);
        lost.passed += passed;
        if self.role == Role::Server {
            conversation.passed_over(feed.last());
        }
    }

    fn lose(&mut self, conversation: &mut Conversation, answer: Option<Mark>) {
        self.lost.get_or_insert_default();
        match self.role {
            Role::Client => conversation.requests_lost(),
            Role::Server => conversation.answers_lost(answer),
        }
    }

    fn missing(&mut self, conversation: &mut Conversation, missing: u64, at: Mark, emit: Emit<'_>) -> Flow {
        if self.lost.is_some() {
            self.lose(conversation, None);
            return Flow::On;
        }
        match self.framing.gap(missing, at) {
            AfterGap::Inside => {
                if self.role == Role::Server {
                    conversation.answer_holed();
                }
                Flow::On
            }
            AfterGap::Whole(message) => match conversation.message(self.role, message, emit) {
                Flow::Lost => {
                    self.lose(conversation, None);
                    Flow::Lost
                }
                other => other,
            },
            AfterGap::Lost(None) => {
                self.lose(conversation, None);
                Flow::Lost
            }
            AfterGap::Lost(Some(message)) => {
                let first = message.span.first;
                if self.role == Role::Client || !message.is_cut {
                    conversation.message(self.role, message, emit);
                }
                self.lose(conversation, Some(first));
                Flow::Lost
            }
        }
    }
}
