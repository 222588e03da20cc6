//! What a server answers: to the command at the front of the queue, or to one that was lost.

use super::{Conversation, Emit, Flow, first_byte};
use crate::mysql::answer::{self, State, Step};
use crate::mysql::event::{Event, Outcome};
use crate::mysql::framing::Message;
use crate::mysql::pending::Pending;
use crate::mysql::place::{Feed, Mark, Span};
use crate::mysql::sureness::Doubt;

/// A first byte of a packet that is missing does not matter in a row longer than this: it is no end of rows.
const ROW_FOR_SURE: u64 = 256;

impl Conversation {
    pub(super) fn response(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        self.heard_ns = message.span.last.time_ns;
        if self.is_late_eof(message) {
            return Flow::On;
        }
        if matches!(self.queue.front(), Some(Pending::Unseen)) && !self.end_of_unseen(message, emit) {
            return Flow::On;
        }
        let Some(Pending::Request(front)) = self.queue.front() else { return self.unasked(message, emit) };
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
    pub(super) fn is_late_eof(&mut self, message: &Message<'_>) -> bool {
        let Some(sequence) = self.late_eof.take() else { return false };
        let is_eof = sequence == message.sequence && answer::is_eof(message.payload.bytes(), message.length);
        self.speech.deprecate_eof.get_or_insert(!is_eof);
        is_eof
    }

    /// Whether the answers to lost requests are over, and this message is for the next request.
    pub(super) fn end_of_unseen(&mut self, message: &Message<'_>, emit: Emit<'_>) -> bool {
        // A long answer counts through 255 and 0 to 1 again.
        let is_first = message.sequence == 1 && self.swallowed.sequence != Some(0);
        if !is_first || self.queue.len() == 1 {
            self.swallowed.take(message);
            return false;
        }
        self.queue.pop();
        self.swallowed.tell(emit);
        self.begin(emit);
        self.is_guessing |= self.queue.len() > 1;
        if self.is_guessing {
            self.doubt(Doubt::AnswerInferred);
        }
        true
    }

    pub(super) fn is_row_for_sure(&self, message: &Message<'_>) -> bool {
        let is_inside = matches!(self.answering.state, State::Rows | State::Definitions(_));
        is_inside && message.length > ROW_FOR_SURE && !message.payload.bytes().is_empty()
    }

    pub(super) fn odd(&mut self, doubt: Doubt) -> Flow {
        self.doubt(doubt);
        Flow::Lost
    }

    /// Steps over whole definitions of columns, or rows, of the answer under way.
    pub(in crate::mysql) fn pass(&mut self, feed: &mut Feed<'_>) {
        let has_many = matches!(self.answering.state, State::Rows | State::Definitions(_));
        if has_many && self.late_eof.is_none() {
            self.answering.pass(feed, &mut self.expected);
        }
    }

    /// Bytes are missing within a message of the server.
    pub(in crate::mysql) fn answer_holed(&mut self) {
        self.doubt(Doubt::AnswerHoled);
    }

    /// It is not known where the server's next message begins; what waits may have been answered in what is lost.
    pub(in crate::mysql) fn answers_lost(&mut self, first: Option<Mark>) {
        if let Some(first) = first {
            self.answering.saw(Span { first, last: first });
        }
        self.answers_lost = !self.queue.is_empty();
        self.late_eof = None;
    }

    /// Bytes of the server that are passed over.
    pub(in crate::mysql) fn passed_over(&mut self, last: Mark) {
        self.answers_lost |= !self.queue.is_empty();
        if let Some(span) = &mut self.answering.span {
            span.last = last;
        }
    }

    /// Whether an answer may begin: somebody waits for one, and it has not been lost.
    pub(in crate::mysql) fn awaits_answer(&self) -> bool {
        let is_first = self.answering.state == State::First && self.answering.span.is_none();
        matches!(self.queue.front(), Some(Pending::Request(_))) && is_first && !self.answers_lost
    }

    /// The server speaks though nobody waits.
    fn unasked(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        match answer::error(message.payload.bytes()) {
            Some(error) => emit(Event::Unasked(error, message.span.first)),
            None => self.unasked.take(message),
        }
        Flow::On
    }
}
