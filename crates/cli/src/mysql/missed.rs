//! What there was, and what could not be seen: said at the end, always.

use std::collections::BTreeMap;
use std::fmt;

use byway_wire::capture::Interface;
use byway_wire::mysql::{Doubt, Event, Listener, MissedWhat, News, Outcome, Peers, Statement};
use byway_wire::stream::{Counts, End, Missing};
use byway_wire::{Body, Frame};
use serde::Serialize;

use super::note::why;

/// The counts of one run.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Missed {
    pub(super) packets: u64,
    /// Packets that could not be read as anything.
    unreadable: u64,
    /// Packets that were lost while they were captured; `None` if the capture does not tell.
    dropped: Option<u64>,
    /// Packets that came and were not looked at.
    left: u64,
    statements: u64,
    errors: u64,
    /// Statements without an answer that was due.
    unanswered: u64,
    /// Statements that are not certain.
    doubtful: u64,
    /// Statements before which something was lost that may have changed user, database or character set.
    context_inferred: u64,
    /// Connections of MySQL that are over, by how they began and ended.
    connections: u64,
    /// Connections that were looked at and are not MySQL's.
    others: u64,
    /// Connections whose TLS was not read, and the bytes in it, of both sides; by the reason.
    encrypted: BTreeMap<String, (u64, u64)>,
    #[serde(skip)]
    sealed: BTreeMap<u64, String>,
    /// Bytes that could not be read, by the reason.
    bytes: BTreeMap<&'static str, u64>,
    connections_given_up: u64,
    /// Lines of the key log that could not be read, with the reason; those beyond the first ones are counted.
    bad_key_lines: Vec<String>,
    bad_key_lines_more: u64,
}

/// Connections of which is remembered why their TLS is not read; as many as the listener knows.
const SEALED_MAX: usize = 16 << 10;

impl Missed {
    pub(super) fn unreadable(&mut self, frame: Option<&Frame<'_>>) {
        let is_read = frame.is_some_and(|frame| !matches!(frame.body, Body::Unread(_)));
        self.unreadable += u64::from(!is_read);
    }

    #[inline]
    pub(super) fn statement(&mut self, statement: &Statement<'_>) {
        self.statements += 1;
        match statement.answer.outcome {
            Outcome::Error(_) => self.errors += 1,
            Outcome::Unseen => self.unanswered += 1,
            _ => {}
        }
        self.doubtful += u64::from(!statement.sureness.beside_context().is_certain());
        self.context_inferred += u64::from(statement.sureness.has(Doubt::ContextInferred));
    }

    pub(super) fn heard(&mut self, peers: &Peers, news: &News<'_>) {
        match news {
            // The streams count gaps too, once for all readers.
            News::Said(Event::Missed(missed), _) if !matches!(missed.what, MissedWhat::Gap(_)) => {
                *self.bytes.entry(why(missed.what)).or_default() += missed.bytes;
            }
            News::Sealed(why) if self.sealed.len() < SEALED_MAX => {
                self.sealed.insert(peers.number, why.to_string());
            }
            News::Over(how, [client, server]) => {
                self.connections += u64::from(*how != End::Replaced || client + server > 0);
                if let Some(why) = self.sealed.remove(&peers.number) {
                    let (count, bytes) = self.encrypted.entry(why).or_default();
                    (*count, *bytes) = (*count + 1, *bytes + client + server);
                }
            }
            _ => {}
        }
    }

    /// Takes over what the listener has counted.
    pub(super) fn listened(&mut self, listener: &mut Listener) {
        let counts: Counts = listener.counts();
        let gaps = [
            (Missing::Lost, counts.bytes_lost),
            (Missing::Cut, counts.bytes_cut),
            (Missing::GivenUp, counts.bytes_given_up),
        ];
        for (missing, bytes) in gaps.into_iter().filter(|(_, bytes)| *bytes > 0) {
            *self.bytes.entry(why(MissedWhat::Gap(missing))).or_default() += bytes;
        }
        self.connections_given_up = counts.connections_given_up + counts.connections_lost;
        self.others = listener.others();
        self.bad_key_lines = listener.keys().bad_lines().iter().map(ToString::to_string).collect();
        self.bad_key_lines_more = listener.keys().bad_lines_more();
    }

    /// Takes over what the interfaces have counted, and what the source kept.
    pub(super) fn interfaces(&mut self, interfaces: &[Interface], left: u64) {
        let told = interfaces.iter().filter_map(|interface| interface.counts.dropped);
        self.dropped = told.reduce(u64::saturating_add);
        self.left = left;
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        write!(f, "{} in ", plural(self.statements, "statement"))?;
        write!(f, "{}, ", plural(self.connections, "connection"))?;
        write!(f, "{}; of {}, ", plural(self.errors, "error"), plural(self.packets, "packet"))?;
        match self.dropped {
            Some(dropped) => write!(f, "{dropped} lost in the capture")?,
            None => f.write_str("losses not told by the capture")?,
        }
        writeln!(f, ", {} unreadable", self.unreadable)?;
        let more = [
            (self.unanswered, "statements without an answer that was seen"),
            (self.doubtful, "statements that are not certain, each with the reason"),
            (
                self.context_inferred,
                "statements whose user, database or character set may have changed in what was lost",
            ),
            (
                self.connections_given_up,
                "connections were given up, as there were too many or too much was kept",
            ),
            (self.left, "packets more came and were not looked at"),
        ];
        for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
            writeln!(f, "not all was seen: {count} {what}")?;
        }
        for (why, bytes) in &self.bytes {
            writeln!(f, "not all was seen: {bytes} bytes {why}")?;
        }
        for line in &self.bad_key_lines {
            writeln!(f, "not all was seen: the key log is damaged in {line}")?;
        }
        if self.bad_key_lines_more > 0 {
            writeln!(
                f,
                "not all was seen: the key log is damaged in {} lines more",
                self.bad_key_lines_more
            )?;
        }
        for (why, (connections, bytes)) in &self.encrypted {
            writeln!(
                f,
                "not all was seen: {bytes} bytes of TLS in {}: {why}",
                plural(*connections, "connection")
            )?;
        }
        Ok(())
    }
}
