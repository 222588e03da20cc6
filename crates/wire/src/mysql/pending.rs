//! The commands of a connection that are not answered yet, in order.

use std::collections::VecDeque;

use super::command::Command;
use super::place::{Hole, Span};
use super::sureness::{Doubt, Sureness};

/// Commands that wait for their answers. Clients that do not wait send some hundreds ahead.
pub(super) const PENDING_MAX: usize = 4096;
/// Buffers that are kept for the next commands.
const SPARE_MAX: usize = 8;
/// A buffer that is longer is not kept.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// One place in the queue.
#[derive(Debug)]
pub(super) enum Pending {
    Request(Request),
    /// Requests that were lost: none, one or several.
    Unseen,
}

/// A command as it was asked.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) command: Option<Command>,
    /// The message, with its first byte.
    pub(super) body: Vec<u8>,
    /// Where in it the text begins, or what is behind the first byte.
    pub(super) text_at: usize,
    /// How long the message was.
    pub(super) length: u64,
    /// What is missing, by place in what is from `text_at` on.
    pub(super) holes: Vec<Hole>,
    pub(super) span: Span,
    pub(super) last_sequence: u8,
    pub(super) sureness: Sureness,
    /// How often requests had been lost when it was asked.
    pub(super) losses: u32,
}

impl Request {
    pub(super) fn command(&self) -> Command {
        self.command.unwrap_or(Command::Other(0))
    }

    /// The message without its first byte.
    pub(super) fn arguments(&self) -> &[u8] {
        self.body.get(1..).unwrap_or_default()
    }

    fn memory(&self) -> usize {
        self.body.capacity() + self.holes.capacity() * size_of::<Hole>()
    }
}

/// The queue, and what it takes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Pending>,
    spare: Vec<Vec<u8>>,
    memory: usize,
}

impl Queue {
    pub(super) fn memory(&self) -> usize {
        let spare: usize = self.spare.iter().map(Vec::capacity).sum();
        self.memory + spare + self.waiting.capacity() * size_of::<Pending>()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.waiting.front()
    }

    pub(super) fn back(&self) -> Option<&Pending> {
        self.waiting.back()
    }

    pub(super) fn front_request(&mut self) -> Option<&mut Request> {
        match self.waiting.front_mut()? {
            Pending::Request(request) => Some(request),
            Pending::Unseen => None,
        }
    }

    /// Which answer is whose is a guess, of all that wait.
    pub(super) fn doubt_answers(&mut self) {
        for pending in &mut self.waiting {
            if let Pending::Request(request) = pending {
                request.sureness.doubt_if(request.command().has_answer(), Doubt::AnswerInferred);
            }
        }
    }

    pub(super) fn push(&mut self, request: Request) {
        self.memory += request.memory();
        self.waiting.push_back(Pending::Request(request));
    }

    pub(super) fn push_unseen(&mut self) {
        if !matches!(self.waiting.back(), Some(Pending::Unseen)) {
            self.waiting.push_back(Pending::Unseen);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        let pending = self.waiting.pop_front()?;
        if let Pending::Request(request) = &pending {
            self.memory = self.memory.saturating_sub(request.memory());
        }
        Some(pending)
    }

    /// A buffer for the next command.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(super) fn spare(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
