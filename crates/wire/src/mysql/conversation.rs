//! One connection, message by message: login, commands in their order, and the answer to each.
//!
//! ```text
//! Greeting ──> Login ──> Auth ──> Commands ──> Over
//!                └─(TLS, opened by somebody else)─┘
//! ```
//!
//! Knows nothing of packets, compression and pieces: those are [`super::session`]'s.

mod login;
mod request;
mod response;

use std::mem;

use super::answer::{Answering, State};
use super::capabilities::Capabilities;
use super::command::Command;
use super::compressed::Compression;
use super::event::{Event, Missed, MissedWhat, Outcome, Role};
use super::framing::Message;
use super::identity::Identity;
use super::parameters::Types;
use super::pending::{Pending, Queue};
use super::place::Mark;
use super::session::Limits;
use super::speech::Speech;
use super::statements::Statements;
use super::sureness::Doubt;

/// Where events go.
pub(super) type Emit<'e> = &'e mut dyn FnMut(Event<'_>);

/// How far a connection has come.
#[derive(Debug)]
enum Phase {
    Greeting,
    Login,
    Auth { plugin: Vec<u8>, rounds: u32 },
    Commands,
    Over,
}

/// What is to be done after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// The next message follows.
    On,
    /// The message makes no sense there: look for the beginning of another one.
    Lost,
    /// What follows is compressed.
    Compressed(Compression),
    /// What follows is TLS.
    Encrypted,
}

/// Answers that came for requests which were lost.
#[derive(Debug, Default)]
struct Swallowed {
    bytes: u64,
    first: Option<Mark>,
    /// Of the last of them.
    sequence: Option<u8>,
}

impl Swallowed {
    fn is_begun(&self) -> bool {
        self.first.is_some()
    }

    fn take(&mut self, message: &Message<'_>) {
        self.first.get_or_insert(message.span.first);
        self.bytes += message.length + 4;
        self.sequence = Some(message.last_sequence);
    }

    /// Tells of it, and forgets it.
    fn tell(&mut self, emit: Emit<'_>) {
        let Self { bytes, first, .. } = mem::take(self);
        if let Some(at) = first {
            emit(Event::Missed(Missed { role: Role::Server, what: MissedWhat::WithoutRequest, bytes, at }));
        }
    }
}

/// One connection.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, and any may be so with any other"
)]
pub(super) struct Conversation {
    pub(super) limits: Limits,
    phase: Phase,
    pub(super) speech: Speech,
    /// What the server can, and where its greeting ended.
    server: (Capabilities, u64),
    pub(super) identity: Identity,
    pub(super) queue: Queue,
    pub(super) statements: Statements,
    pub(super) answering: Answering,
    pub(super) scratch: Types,
    /// The sequence of the server's next message.
    expected: u8,
    pub(super) is_midstream: bool,
    is_compressed: bool,
    /// The sequence of an EOF that may end the last PREPARE.
    late_eof: Option<u8>,
    swallowed: Swallowed,
    /// Answers that came when nobody waited.
    unasked: Swallowed,
    /// Answers to what waits may have been lost.
    answers_lost: bool,
    /// The client does not wait for an answer before it asks for more: it did so once.
    runs_ahead: bool,
    /// Requests or answers were lost: which answer is whose is a guess until nothing waits.
    is_guessing: bool,
    /// When the server was heard last.
    heard_ns: u64,
    /// User, database or character set may have been changed by what was lost.
    pub(super) is_context_inferred: bool,
}

impl Conversation {
    pub(super) fn new(limits: Limits, is_midstream: bool) -> Self {
        Self {
            limits,
            phase: if is_midstream { Phase::Commands } else { Phase::Greeting },
            speech: Speech::unknown(),
            server: (Capabilities::default(), 0),
            identity: Identity::default(),
            queue: Queue::default(),
            statements: Statements::default(),
            answering: Answering::default(),
            scratch: Types::default(),
            expected: 0,
            is_midstream,
            is_compressed: false,
            late_eof: None,
            swallowed: Swallowed::default(),
            unasked: Swallowed::default(),
            answers_lost: false,
            runs_ahead: false,
            is_guessing: false,
            heard_ns: 0,
            is_context_inferred: false,
        }
    }

    /// Bytes of memory beside the struct itself.
    pub(super) fn memory(&self) -> usize {
        self.queue.memory() + self.statements.memory() + self.identity.memory() + self.scratch.memory()
    }

    /// Whether nothing more is to be read.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// What follows is compressed, as was agreed on or as it looks.
    pub(super) fn compresses(&mut self) {
        self.is_compressed = true;
    }

    /// Whether it was not seen what was agreed on, and so it may be compressed.
    pub(super) fn may_be_compressed(&self) -> bool {
        self.is_midstream && !self.is_compressed
    }

    /// The next message of one side.
    pub(super) fn message(&mut self, role: Role, message: Message<'_>, emit: Emit<'_>) -> Flow {
        match (&mut self.phase, role) {
            (Phase::Greeting, Role::Server) => self.greeting(&message, emit),
            (Phase::Login, Role::Client) => self.login(&message, emit),
            (Phase::Greeting, Role::Client) => Flow::Lost,
            (Phase::Auth { rounds, .. }, Role::Client) => {
                *rounds = rounds.saturating_add(1);
                Flow::On
            }
            (Phase::Auth { .. } | Phase::Login, Role::Server) => self.authentication(&message, emit),
            (Phase::Commands, Role::Client) => self.request(message, emit),
            (Phase::Commands, Role::Server) => self.response(&message, emit),
            (Phase::Over, _) => Flow::On,
        }
    }

    /// The command at the front begins to wait for its answer; those that have none are over at once.
    fn begin(&mut self, emit: Emit<'_>) {
        // Ends: every round takes one out of the queue.
        while let Some(Pending::Request(front)) = self.queue.front() {
            self.answering = Answering::default();
            self.expected = front.last_sequence.wrapping_add(1);
            let command = front.command();
            if command.has_answer() {
                return;
            }
            self.complete(Outcome::NotDue, emit);
            if command == Command::Quit {
                self.give_up_answers(emit);
                self.phase = Phase::Over;
            }
        }
    }

    fn doubt(&mut self, doubt: Doubt) {
        if let Some(front) = self.queue.front_request() {
            front.sureness.doubt(doubt);
        }
    }

    /// Nobody will know any more what was answered to what waits.
    pub(super) fn give_up_answers(&mut self, emit: Emit<'_>) {
        self.unasked.tell(emit);
        // Ends: every round takes one out of the queue.
        while let Some(front) = self.queue.front() {
            let command = match front {
                Pending::Unseen => {
                    self.queue.pop();
                    self.swallowed.tell(emit);
                    continue;
                }
                Pending::Request(request) => request.command(),
            };
            let outcome = match () {
                () if !command.has_answer() => Outcome::NotDue,
                () if self.answering.state == State::Stream => Outcome::Stream,
                () => Outcome::Unseen,
            };
            if outcome == Outcome::Unseen {
                let is_begun = self.answering.span.is_some();
                self.doubt(if is_begun { Doubt::AnswerCut } else { Doubt::AnswerUnseen });
                if let (false, Some(front)) = (is_begun, self.queue.front_request()) {
                    front.sureness.settle(Doubt::AnswerInferred);
                }
            }
            self.complete(outcome, emit);
        }
        self.answers_lost = false;
    }
}

/// The first byte of a message, if it was seen.
fn first_byte(message: &Message<'_>) -> Option<u8> {
    let is_missing = message.holes.first().is_some_and(|hole| hole.at == 0);
    if is_missing { None } else { message.payload.bytes().first().copied() }
}
