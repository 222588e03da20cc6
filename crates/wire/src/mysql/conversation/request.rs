//! What a client asks: a command, or part of an answer that is under way.

use super::{Conversation, Emit, Flow, Phase, first_byte};
use crate::mysql::answer::State;
use crate::mysql::command::Command;
use crate::mysql::complete::text;
use crate::mysql::event::{Asked, Event};
use crate::mysql::framing::Message;
use crate::mysql::parameters::query_attributes;
use crate::mysql::pending::{PENDING_MAX, Pending, Request};
use crate::mysql::sureness::{Doubt, Sureness};

/// How much of a message is kept when others that wait have taken all the room.
const CROWDED_KEPT: usize = 1024;

/// A server that has answers for who does not wait sends them sooner, in nanoseconds.
const QUIET_NS: u64 = 100_000_000;

impl Conversation {
    pub(super) fn request(&mut self, message: Message<'_>, emit: Emit<'_>) -> Flow {
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
        self.is_guessing &= !self.is_quiet(&message);
        self.unasked.tell(emit);
        if self.queue.len() >= PENDING_MAX || self.answers_lost {
            self.give_up_answers(emit);
            // Answers to what was given up may still come.
            self.is_guessing |= self.runs_ahead;
        }
        match self.queue.back() {
            // Answers before the first one that was seen are not known to be missing.
            Some(Pending::Request(_)) if self.is_midstream && self.heard_ns == 0 => self.may_run_ahead(),
            Some(Pending::Request(_)) => self.runs_ahead = true,
            // What was lost may be a request that is not answered yet.
            Some(Pending::Unseen) if !self.swallowed.is_begun() => self.may_run_ahead(),
            _ => {}
        }
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

    /// Whether no answer is under way. One who does not wait may have asked for what was lost, and not be answered yet.
    fn is_quiet(&self, message: &Message<'_>) -> bool {
        let since_ns = message.span.first.time_ns.saturating_sub(self.heard_ns);
        self.queue.is_empty() && (!self.runs_ahead || since_ns >= QUIET_NS)
    }

    /// As far as can be seen, the client did not wait for an answer, or that was lost.
    fn may_run_ahead(&mut self) {
        (self.runs_ahead, self.is_guessing) = (true, true);
        self.queue.doubt_answers();
    }

    /// Whether a client's message belongs to the answer that is under way: a file, or a password.
    pub(super) fn is_inside_answer(&mut self, message: &Message<'_>) -> bool {
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

    pub(super) fn take_request(&mut self, command: Command, message: Message<'_>) -> Request {
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
        sureness.doubt_if(self.is_guessing && command.has_answer(), Doubt::AnswerInferred);
        let losses = self.statements.losses;
        let text_at = self.text_at(command, &body);
        for hole in &mut holes {
            hole.at = hole.at.saturating_sub(text_at);
        }
        Request {
            command: Some(command),
            body,
            text_at,
            length,
            holes,
            span,
            last_sequence,
            sureness,
            losses,
        }
    }

    /// Where the text begins.
    pub(super) fn text_at(&mut self, command: Command, body: &[u8]) -> usize {
        let arguments = body.get(1..).unwrap_or_default();
        if command != Command::Query || !self.speech.has_attributes(arguments) {
            return 1;
        }
        query_attributes(arguments, &mut self.scratch).map_or(1, |(_, text)| body.len() - text.len())
    }

    /// Requests were lost: which is not known, nor how many.
    pub(in crate::mysql) fn requests_lost(&mut self) {
        if matches!(self.phase, Phase::Commands) {
            self.is_context_inferred = true;
            self.statements.losses = self.statements.losses.wrapping_add(1);
            if matches!(self.queue.back(), Some(Pending::Request(_))) && !self.answers_lost {
                // The requests before it are the next to be answered, so only those behind it are doubted.
                self.runs_ahead = true;
            }
            self.is_guessing |= self.runs_ahead;
            self.queue.push_unseen();
        }
    }
}
