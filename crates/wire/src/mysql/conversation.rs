//! One connection, message by message: login, commands in their order, and the answer to each.
//!
//! ```text
//! Greeting ──> Login ──> Auth ──> Commands ──> Over
//!                └─(TLS, opened by somebody else)─┘
//! ```
//!
//! Knows nothing of packets, compression and pieces: those are [`super::session`]'s.

use std::mem;

use super::answer::{self, Answering, State, Step};
use super::bytes::Bytes;
use super::capabilities::Capabilities;
use super::command::Command;
use super::complete::text;
use super::compressed::Compression;
use super::event::{Asked, Encrypted, Event, LoggedIn, Missed, MissedWhat, Outcome, Role, ServerError};
use super::framing::Message;
use super::greeting::{FirstWords, Greeting, Login};
use super::identity::{Identity, name};
use super::parameters::{Types, query_attributes};
use super::pending::{PENDING_MAX, Pending, Queue, Request};
use super::place::{Feed, Mark};
use super::session::Limits;
use super::speech::Speech;
use super::statements::Statements;
use super::sureness::{Doubt, Sureness};

/// Where events go.
pub(super) type Emit<'e> = &'e mut dyn FnMut(Event<'_>);

/// How much of a message is kept when others that wait have taken all the room.
const CROWDED_KEPT: usize = 1024;
/// A first byte of a packet that is missing does not matter in a row longer than this: it is no end of rows.
const ROW_FOR_SURE: u64 = 256;

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
    /// Answers to what waits may have been lost.
    answers_lost: bool,
    /// Requests or answers were lost while several waited: which answer is whose is a guess until nothing waits.
    is_guessing: bool,
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
            answers_lost: false,
            is_guessing: false,
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

    fn greeting(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        let bytes = message.payload.bytes();
        if let Some(error) = answer::error(bytes) {
            return self.refused(error, message.span.last, emit);
        }
        let Some(greeting) = Greeting::read(bytes) else { return Flow::Lost };
        self.server = (greeting.capabilities, message.span.last.offset + 1);
        self.identity.version = Some(name(greeting.version));
        self.phase = Phase::Login;
        emit(Event::Greeting(greeting, message.span.first));
        Flow::On
    }

    fn login(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        match FirstWords::read(message.payload.bytes()) {
            Some(FirstWords::Login(login)) => {
                self.logs_in(&login);
                emit(Event::Login(login, message.span.last));
                Flow::On
            }
            Some(FirstWords::TlsPlease(capabilities)) => {
                let client_from = message.span.last.offset + 1;
                let time_ns = message.span.last.time_ns;
                emit(Event::Encrypted(Encrypted {
                    client_from,
                    server_from: self.server.1,
                    time_ns,
                    capabilities,
                }));
                Flow::Encrypted
            }
            None => Flow::Lost,
        }
    }

    fn logs_in(&mut self, login: &Login<'_>) {
        // A MariaDB client leaves MySQL's flag out, and a MySQL client knows nothing of MariaDB's.
        self.speech = Speech::agreed(login.capabilities.both(self.server.0));
        self.identity.logs_in(login.user, login.database, Some(u16::from(login.collation)));
        self.phase = Phase::Auth { plugin: name(login.plugin), rounds: 0 };
    }

    fn authentication(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        let bytes = message.payload.bytes();
        if let Some(error) = answer::error(bytes) {
            return self.refused(error, message.span.last, emit);
        }
        let Phase::Auth { plugin, rounds } = &mut self.phase else { return Flow::Lost };
        *rounds = rounds.saturating_add(1);
        match bytes.first() {
            Some(0) => self.accepted(message, emit),
            Some(0xfe) => {
                if let Some(other) = Bytes(&bytes[1..]).until_nul() {
                    *plugin = name(other);
                }
                Flow::On
            }
            Some(1) => Flow::On,
            _ => Flow::Lost,
        }
    }

    fn accepted(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        let mut answering = Answering::default();
        let _ = answering.message(Command::Ping, message, &mut self.speech);
        if let Some(database) = answering.database {
            self.identity.goes_to(&database);
        }
        self.logged_in(None, message.span.last, emit);
        self.phase = Phase::Commands;
        self.agreed_compression()
    }

    fn agreed_compression(&self) -> Flow {
        let capabilities = self.speech.capabilities;
        if capabilities.has(Capabilities::COMPRESS) {
            Flow::Compressed(Compression::Zlib)
        } else if capabilities.has(Capabilities::ZSTD_COMPRESSION) {
            Flow::Compressed(Compression::Zstd)
        } else {
            Flow::On
        }
    }

    fn refused(&mut self, error: ServerError<'_>, at: Mark, emit: Emit<'_>) -> Flow {
        self.logged_in(Some(error), at, emit);
        self.phase = Phase::Over;
        Flow::On
    }

    fn logged_in(&self, refused: Option<ServerError<'_>>, at: Mark, emit: Emit<'_>) {
        let (plugin, rounds) = match &self.phase {
            Phase::Auth { plugin, rounds } => (plugin.as_slice(), *rounds),
            _ => (&[][..], 0),
        };
        let context = self.identity.context();
        let capabilities = self.speech.capabilities;
        emit(Event::LoggedIn(LoggedIn { context, refused, plugin, rounds, capabilities }, at));
    }

    /// Part of the login was lost: goes on with commands, with what is known of how they look.
    ///
    /// Gives what follows if that was agreed on before.
    pub(super) fn skip_login(&mut self) -> Flow {
        match self.phase {
            Phase::Commands | Phase::Over => Flow::On,
            Phase::Greeting | Phase::Login => {
                (self.phase, self.is_midstream) = (Phase::Commands, true);
                Flow::On
            }
            Phase::Auth { .. } => {
                self.phase = Phase::Commands;
                self.agreed_compression()
            }
        }
    }

    fn request(&mut self, message: Message<'_>, emit: Emit<'_>) -> Flow {
        if self.is_inside_answer(&message) {
            return Flow::On;
        }
        if message.sequence != 0 {
            return Flow::Lost;
        }
        let Some(code) = first_byte(&message) else {
            // All that is known is that there was a request.
            if message.length > 0 || message.is_cut {
                self.requests_lost();
                return Flow::On;
            }
            return Flow::Lost;
        };
        if self.queue.len() >= PENDING_MAX || self.answers_lost {
            self.give_up_answers(emit);
        }
        self.is_guessing &= !self.queue.is_empty();
        let request = self.take_request(Command::from_code(code), message);
        emit(Event::Asked(Asked {
            command: request.command(),
            text: text(&request),
            request: request.span,
            context: self.identity.context(),
            sureness: request.sureness,
        }));
        self.queue.push(request);
        if self.queue.len() == 1 {
            self.begin(emit);
        }
        Flow::On
    }

    /// Whether a client's message belongs to the answer that is under way: a file, or a password.
    fn is_inside_answer(&mut self, message: &Message<'_>) -> bool {
        let Some(Pending::Request(front)) = self.queue.front() else { return false };
        let next = message.last_sequence.wrapping_add(1);
        if self.answering.state == State::File {
            let sent = self.answering.local_infile.get_or_insert(0);
            *sent = sent.saturating_add(message.length);
            if message.length == 0 {
                self.answering.state = State::First;
            }
            self.expected = next;
            return true;
        }
        if front.command() == Command::ChangeUser && message.sequence != 0 {
            self.expected = next;
            return true;
        }
        // A replica acknowledges what it has stored (semi-synchronous replication).
        self.answering.state == State::Stream && message.payload.bytes().first() == Some(&0xef)
    }

    fn take_request(&mut self, command: Command, message: Message<'_>) -> Request {
        let mut body = self.queue.buffer();
        let missing: u64 = message.holes.iter().map(|hole| hole.missing).sum();
        let mut holes = message.holes.to_vec();
        let (length, span, last_sequence) = (message.length, message.span, message.last_sequence);
        let is_cut = message.is_cut;
        message.payload.move_to(&mut body);
        let is_long = body.len() as u64 + missing < length && !is_cut;
        let is_crowded = self.queue.memory() > self.limits.pending_bytes_max && body.len() > CROWDED_KEPT;
        if is_crowded {
            body.truncate(CROWDED_KEPT);
            body.shrink_to_fit();
        }
        let mut sureness = Sureness::default();
        sureness.doubt_if(!holes.is_empty(), Doubt::RequestHoled);
        sureness.doubt_if(is_cut, Doubt::RequestCut);
        sureness.doubt_if(is_long || is_crowded, Doubt::RequestTooLong);
        sureness.doubt_if(self.is_guessing, Doubt::AnswerInferred);
        let text_at = self.text_at(command, &body);
        for hole in &mut holes {
            hole.at = hole.at.saturating_sub(text_at);
        }
        Request { command: Some(command), body, text_at, length, holes, span, last_sequence, sureness }
    }

    /// Where the text begins.
    fn text_at(&mut self, command: Command, body: &[u8]) -> usize {
        let arguments = body.get(1..).unwrap_or_default();
        if command != Command::Query || !self.speech.has_attributes(arguments) {
            return 1;
        }
        query_attributes(arguments, &mut self.scratch).map_or(1, |(_, text)| body.len() - text.len())
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

    fn response(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        if self.is_late_eof(message) {
            return Flow::On;
        }
        if matches!(self.queue.front(), Some(Pending::Unseen)) && !self.end_of_unseen(message, emit) {
            return Flow::On;
        }
        let Some(Pending::Request(front)) = self.queue.front() else { return unasked(message, emit) };
        let command = front.command();
        if message.sequence != self.expected && !self.is_compressed {
            return self.odd(Doubt::AnswerCut);
        }
        self.expected = message.last_sequence.wrapping_add(1);
        if first_byte(message).is_none() && !self.is_row_for_sure(message) {
            return self.odd(Doubt::AnswerHoled);
        }
        if !message.holes.is_empty() {
            self.doubt(Doubt::AnswerHoled);
        }
        match self.answering.message(command, message, &mut self.speech) {
            Step::More => return Flow::On,
            Step::Odd => return self.odd(Doubt::AnswerOdd),
            Step::Done(outcome) => self.complete(outcome, emit),
            Step::DoneButEof => {
                self.late_eof = Some(self.expected);
                self.complete(Outcome::Ok, emit);
            }
        }
        self.begin(emit);
        Flow::On
    }

    /// Whether it is the EOF that ends a PREPARE where it was not known if there would be one.
    fn is_late_eof(&mut self, message: &Message<'_>) -> bool {
        let Some(sequence) = self.late_eof.take() else { return false };
        let is_eof = sequence == message.sequence && answer::is_eof(message.payload.bytes(), message.length);
        self.speech.deprecate_eof.get_or_insert(!is_eof);
        is_eof
    }

    /// Whether the answers to lost requests are over, and this message is for the next request.
    fn end_of_unseen(&mut self, message: &Message<'_>, emit: Emit<'_>) -> bool {
        // A long answer counts through 255 and 0 to 1 again.
        let is_first = message.sequence == 1 && self.swallowed.sequence != Some(0);
        if !is_first || self.queue.len() == 1 {
            self.swallowed.first.get_or_insert(message.span.first);
            self.swallowed.bytes += message.length + 4;
            self.swallowed.sequence = Some(message.last_sequence);
            return false;
        }
        self.queue.pop();
        self.tell_swallowed(emit);
        self.begin(emit);
        self.is_guessing = self.queue.len() > 1;
        if self.is_guessing {
            self.doubt(Doubt::AnswerInferred);
        }
        true
    }

    fn tell_swallowed(&mut self, emit: Emit<'_>) {
        let Swallowed { bytes, first, .. } = mem::take(&mut self.swallowed);
        if let Some(at) = first {
            emit(Event::Missed(Missed { role: Role::Server, what: MissedWhat::WithoutRequest, bytes, at }));
        }
    }

    fn is_row_for_sure(&self, message: &Message<'_>) -> bool {
        let is_inside = matches!(self.answering.state, State::Rows | State::Definitions(_));
        is_inside && message.length > ROW_FOR_SURE && !message.payload.bytes().is_empty()
    }

    fn odd(&mut self, doubt: Doubt) -> Flow {
        self.doubt(doubt);
        Flow::Lost
    }

    fn doubt(&mut self, doubt: Doubt) {
        if let Some(front) = self.queue.front_request() {
            front.sureness.doubt(doubt);
        }
    }

    /// Steps over whole rows of the answer under way.
    pub(super) fn pass_rows(&mut self, feed: &mut Feed<'_>) {
        if self.answering.state == State::Rows && self.late_eof.is_none() {
            self.answering.pass_rows(feed, &mut self.expected);
        }
    }

    /// Bytes are missing within a message of the server.
    pub(super) fn answer_holed(&mut self) {
        self.doubt(Doubt::AnswerHoled);
    }

    /// Requests were lost: which is not known, nor how many.
    pub(super) fn requests_lost(&mut self) {
        if matches!(self.phase, Phase::Commands) {
            self.statements.losses = self.statements.losses.wrapping_add(1);
            self.is_guessing = self.queue.len() > 1;
            self.queue.push_unseen();
        }
    }

    /// It is not known where the server's next message begins; what waits may have been answered in what is lost.
    pub(super) fn answers_lost(&mut self, first: Option<Mark>) {
        if let Some(first) = first {
            self.answering.saw(super::place::Span { first, last: first });
        }
        self.answers_lost = !self.queue.is_empty();
        self.is_guessing |= self.queue.len() > 1;
        self.late_eof = None;
    }

    /// Bytes of the server that are passed over.
    pub(super) fn passed_over(&mut self, last: Mark) {
        self.answers_lost |= !self.queue.is_empty();
        if let Some(span) = &mut self.answering.span {
            span.last = last;
        }
    }

    /// Whether an answer may begin: somebody waits for one, and it has not been lost.
    pub(super) fn awaits_answer(&self) -> bool {
        let is_first = self.answering.state == State::First && self.answering.span.is_none();
        matches!(self.queue.front(), Some(Pending::Request(_))) && is_first && !self.answers_lost
    }

    /// Nobody will know any more what was answered to what waits.
    pub(super) fn give_up_answers(&mut self, emit: Emit<'_>) {
        // Ends: every round takes one out of the queue.
        while let Some(front) = self.queue.front() {
            let command = match front {
                Pending::Unseen => {
                    self.queue.pop();
                    self.tell_swallowed(emit);
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

/// The server speaks though nobody waits.
fn unasked(message: &Message<'_>, emit: Emit<'_>) -> Flow {
    let at = message.span.first;
    if let Some(error) = answer::error(message.payload.bytes()) {
        emit(Event::Unasked(error, at));
    } else {
        let what = MissedWhat::WithoutRequest;
        emit(Event::Missed(Missed { role: Role::Server, what, bytes: message.length + 4, at }));
    }
    Flow::On
}
