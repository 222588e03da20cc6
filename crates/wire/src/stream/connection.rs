//! One connection: segments in, bytes out in their order.
//!
//! The common way is short: a segment that starts where the last one ended, of a sender who has acknowledged nothing
//! that is not here, goes straight to the reader. Everything else is held, and after each packet it is seen whether
//! something can go on: see `going_on`.

mod going_on;

use super::counts::Counts;
use super::half::{Half, Since};
use super::readers::{End, Interest, Readers, Seen, Sighting};
use super::segment::{Key, Segment, length_of};
use super::waiting::{Fresh, How, Waiting};
use super::{Gap, Missing, Piece, Side};
use crate::TcpFlags;

/// Packets of a connection that may pass before acknowledged bytes count as missing, for each point that sees it: what
/// a card or a kernel with several queues puts in another order is a few packets apart.
pub const PATIENCE_PACKETS: u32 = 32;
/// Time that may pass instead, in nanoseconds: no link holds packets back for a second.
pub const PATIENCE_NS: u64 = 1_000_000_000;
/// How far a number can be from where it is expected: the largest window of TCP (RFC 7323, 2.3).
pub const WINDOW_MAX: u32 = 1 << 30;
/// Segments one after the other whose numbers fit to nothing, after which a connection is begun anew where they are:
/// so many were lost that its numbers are meaningless, or a new one was opened unseen.
pub const STRAYS_MAX: u8 = 32;
/// How far ahead of what was seen a RST may be: what can be under way and not be seen.
const RESET_AHEAD_MAX: u64 = 1 << 20;

/// A connection, and what its reader keeps.
#[derive(Debug)]
pub(super) struct Connection<T> {
    halves: [Half; 2],
    reading: Reading<T>,
    waiting: Option<Box<Waiting>>,
    closing: Option<Closing>,
    packets: u32,
    strays: u8,
    /// Whether [`Side::First`] is the lower end of the key.
    pub(super) first_is_low: bool,
    /// Whether it stands in the queue of those that wait.
    pub(super) is_queued: bool,
}

#[derive(Debug)]
enum Reading<T> {
    NotYet,
    On(T),
    /// Over; some readers want to know what slower points see.
    Ended(Option<T>),
    Unwanted,
}

/// A RST was seen; it counts when everything before it was.
#[derive(Debug, Clone, Copy)]
struct Closing {
    by: Side,
    at: u64,
    since: Since,
}

/// Where things go, and when it is.
pub(super) struct Outlet<'a, R> {
    pub(super) readers: &'a mut R,
    pub(super) counts: &'a mut Counts,
    pub(super) key: &'a Key,
    pub(super) now_ns: u64,
}

/// Whether the connection could place a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Followed,
    /// Not this one, and not many before it.
    LostTrack,
}

impl<T> Default for Connection<T> {
    fn default() -> Self {
        Self::new(true)
    }
}

impl<T> Connection<T> {
    pub(super) fn new(first_is_low: bool) -> Self {
        Self {
            halves: [Half::default(), Half::default()],
            reading: Reading::NotYet,
            waiting: None,
            closing: None,
            packets: 0,
            strays: 0,
            first_is_low,
            is_queued: false,
        }
    }

    /// Whether it has a reader that wants its bytes.
    #[inline]
    pub(super) fn is_read(&self) -> bool {
        matches!(self.reading, Reading::On(_))
    }

    /// Whether something must happen for it to go on.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
            || matches!(self.reading, Reading::On(_) | Reading::NotYet)
                && (self.closing.is_some() || !self.halves.iter().all(Half::is_settled))
    }

    /// What waits, in bytes.
    #[inline]
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.bytes())
    }

    /// Whether a SYN opens another connection on the same ports.
    pub(super) fn is_another(&self, side: Side, segment: &Segment<'_>) -> bool {
        let mine = &self.halves[side as usize];
        let is_over = matches!(self.reading, Reading::Ended(_) | Reading::Unwanted);
        mine.starts_elsewhere(segment.data_sequence())
            || is_over && mine.is_unknown()
            || segment
                .acknowledgement()
                .is_some_and(|number| self.halves[side.other() as usize].starts_far_from(number))
    }

    /// Takes a segment of one side.
    #[inline]
    pub(super) fn take<R: Readers<Reader = T>>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        limit: usize,
        out: &mut Outlet<'_, R>,
    ) -> Outcome {
        if matches!(self.reading, Reading::Unwanted) {
            return Outcome::Followed;
        }
        self.packets = self.packets.wrapping_add(1);
        self.halves[side as usize].is_seen = true;
        let outcome = if segment.has(TcpFlags::RST) {
            self.reset(side, segment, out)
        } else {
            if segment.has(TcpFlags::SYN) {
                self.open(side, segment);
            }
            self.place(side, segment, out)
        };
        if self.is_waiting() {
            self.go_on(limit, out);
        }
        self.close(out);
        outcome
    }

    /// Where both directions start.
    #[cold]
    fn open(&mut self, side: Side, segment: &Segment<'_>) {
        self.halves[side as usize].begin_after_syn(segment.data_sequence());
        if let Some(acknowledgement) = segment.acknowledgement() {
            self.halves[side.other() as usize].begin_after_syn(acknowledgement);
        }
    }

    #[inline]
    fn place<R: Readers<Reader = T>>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        out: &mut Outlet<'_, R>,
    ) -> Outcome {
        let now = self.since(out.now_ns);
        let mine = &mut self.halves[side as usize];
        let fin = segment.has(TcpFlags::FIN);
        if segment.length > 0 || fin {
            mine.begin(segment.data_sequence());
        }
        let start = if mine.has_begun() {
            let Some(start) = mine.offset(segment.data_sequence(), WINDOW_MAX) else {
                return self.stray(out);
            };
            start
        } else {
            0
        };
        let end = start + i64::from(segment.length);
        let needs = segment.acknowledgement().map_or(0, |acknowledgement| {
            self.halves[side.other() as usize].acknowledge(acknowledgement, WINDOW_MAX, now)
        });
        let next = self.halves[side as usize].next;
        // Asks whether the other side is there: the last byte once more, or none. What it holds is no data.
        if segment.length <= 1
            && !fin
            && start.checked_add(1) == Some(next.cast_signed())
            && self.is_done(side)
        {
            out.counts.probes += 1;
            return Outcome::Followed;
        }
        let outcome =
            if segment.length > 0 { self.data(side, segment, start, needs, out) } else { Outcome::Followed };
        if fin && let Ok(end) = u64::try_from(end) {
            self.halves[side as usize].finish(end);
        }
        outcome
    }

    /// Whether the other side has all that was handed out of this one: only then is a probe sent.
    fn is_done(&self, side: Side) -> bool {
        let mine = &self.halves[side as usize];
        mine.acknowledged() == mine.next && self.waiting.is_none()
    }

    #[inline]
    fn data<R: Readers<Reader = T>>(
        &mut self,
        side: Side,
        segment: &Segment<'_>,
        start: i64,
        needs: u64,
        out: &mut Outlet<'_, R>,
    ) -> Outcome {
        let mine = &mut self.halves[side as usize];
        let end = start + i64::from(segment.length);
        let (from, to) = (u64::try_from(start).unwrap_or(0), u64::try_from(end).unwrap_or(0));
        if start < 0 {
            out.counts.bytes_before_start += end.min(0).abs_diff(start);
        }
        let fresh = fresh_part(segment, start, mine.next.max(from), to);
        let lacks = |waiting: &Waiting| waiting.lacks(side, &fresh);
        let is_new = to > mine.next && self.waiting.as_deref().is_none_or(lacks);
        let seen = mine.notice(segment, from, to, is_new);
        out.count(seen);
        let sighting = Sighting { point: segment.point as usize, from, to, time_ns: segment.time_ns, seen };
        if let Reading::Ended(reader) = &mut self.reading {
            return match reader {
                _ if is_new => self.stray(out),
                Some(reader) => {
                    out.readers.sighting(reader, side, &sighting);
                    Outcome::Followed
                }
                None => Outcome::Followed,
            };
        }
        self.strays = 0;
        if let Some(reader) = self.reader(out) {
            out.readers.sighting(reader, side, &sighting);
            if let Some(waiting) = &mut self.waiting {
                waiting.relax(side, from, to, needs);
            }
            if is_new {
                self.put(side, &fresh, How { needs, since: self.since(segment.time_ns) }, out);
            }
        }
        Outcome::Followed
    }

    /// The reader, who is asked for when there is the first thing to read.
    #[inline]
    fn reader<R: Readers<Reader = T>>(&mut self, out: &mut Outlet<'_, R>) -> Option<&mut T> {
        if matches!(self.reading, Reading::NotYet) {
            let reader = out.readers.open(&out.key.ends(self.first_is_low), out.now_ns);
            self.reading = reader.map_or(Reading::Unwanted, Reading::On);
        }
        match &mut self.reading {
            Reading::On(reader) => Some(reader),
            _ => None,
        }
    }

    /// New bytes: to the reader if nothing is before them, else to those that wait.
    #[inline]
    fn put<R: Readers<Reader = T>>(
        &mut self,
        side: Side,
        fresh: &Fresh<'_>,
        how: How,
        out: &mut Outlet<'_, R>,
    ) {
        let is_next = fresh.from == self.halves[side as usize].next;
        if is_next && self.waiting.is_none() && self.halves[side.other() as usize].is_past(how.needs) {
            self.hand_out(side, fresh.bytes, fresh.starts_segment, how.since.time_ns, out);
            self.tell_missing(side, fresh.to, Missing::Cut, out);
        } else {
            out.counts.waited += 1;
            self.halves[side as usize].reaches(fresh.to, how.since);
            self.waiting.get_or_insert_default().insert(side, fresh, how);
        }
    }

    #[inline]
    fn hand_out<R: Readers<Reader = T>>(
        &mut self,
        side: Side,
        bytes: &[u8],
        starts_segment: bool,
        time_ns: u64,
        out: &mut Outlet<'_, R>,
    ) {
        let Reading::On(reader) = &mut self.reading else { return };
        if bytes.is_empty() {
            return;
        }
        let offset = self.halves[side as usize].next;
        out.counts.bytes += bytes.len() as u64;
        let interest = out.readers.piece(reader, side, &Piece { bytes, offset, time_ns, starts_segment });
        self.pass(side, bytes.len() as u64, interest, out.now_ns);
    }

    /// Tells that what is before that offset will not come, if there is something.
    #[inline]
    fn tell_missing<R: Readers<Reader = T>>(
        &mut self,
        side: Side,
        until: u64,
        why: Missing,
        out: &mut Outlet<'_, R>,
    ) {
        let offset = self.halves[side as usize].next;
        let Some(missing) = until.checked_sub(offset).filter(|missing| *missing > 0) else { return };
        if matches!(self.reading, Reading::Unwanted | Reading::Ended(_)) {
            return;
        }
        *out.missing(why) += missing;
        let gap = Gap { missing, offset, time_ns: out.now_ns, why };
        let Some(reader) = self.reader(out) else { return };
        let interest = out.readers.gap(reader, side, &gap);
        self.pass(side, missing, interest, out.now_ns);
    }

    #[inline]
    fn pass(&mut self, side: Side, bytes: u64, interest: Interest, now_ns: u64) {
        let now = self.since(now_ns);
        let mine = &mut self.halves[side as usize];
        mine.advance(bytes, now);
        mine.reaches(mine.next, now);
        if interest == Interest::Nothing {
            (self.reading, self.waiting, self.closing) = (Reading::Unwanted, None, None);
        }
    }

    #[inline]
    fn since(&self, time_ns: u64) -> Since {
        Since { packets: self.packets, time_ns }
    }

    /// A RST counts only near to where its sender is: others are old, or forged.
    #[cold]
    fn reset<R>(&mut self, by: Side, segment: &Segment<'_>, out: &mut Outlet<'_, R>) -> Outcome {
        let mine = &self.halves[by as usize];
        let at = if mine.has_begun() {
            let offset =
                mine.offset(segment.tcp.sequence, WINDOW_MAX).and_then(|offset| u64::try_from(offset).ok());
            let first = mine.acknowledged().min(mine.next);
            offset.filter(|at| (first..=mine.next + RESET_AHEAD_MAX).contains(at))
        } else {
            Some(0)
        };
        let Some(at) = at else { return self.stray(out) };
        let since = self.since(segment.time_ns);
        self.closing.get_or_insert(Closing { by, at, since });
        Outcome::Followed
    }

    fn stray<R>(&mut self, out: &mut Outlet<'_, R>) -> Outcome {
        out.counts.strays += 1;
        self.strays = self.strays.saturating_add(1);
        if self.strays >= STRAYS_MAX { Outcome::LostTrack } else { Outcome::Followed }
    }

    /// Ends it if it is at its end.
    #[inline]
    fn close<R: Readers<Reader = T>>(&mut self, out: &mut Outlet<'_, R>) {
        if let Some(closing) = self.closing {
            let is_there = self.waiting.is_none()
                && self.halves.iter().all(Half::is_settled)
                && self.halves[closing.by as usize].next >= closing.at;
            if is_there || self.is_overdue(closing.since, out.now_ns) {
                self.end(End::Reset { by: closing.by }, out);
            }
        } else if self.halves.iter().all(Half::is_finished) && self.waiting.is_none() {
            self.end(End::Finished, out);
        }
    }

    /// Hands out what waits, and ends it: as it ended itself, or if it had not, for this reason.
    pub(super) fn wind_up<R: Readers<Reader = T>>(&mut self, how: End, out: &mut Outlet<'_, R>) {
        self.drain(out);
        self.close(out);
        self.end(how, out);
    }

    /// Ends it as it is, unless it has ended.
    fn end<R: Readers<Reader = T>>(&mut self, how: End, out: &mut Outlet<'_, R>) {
        (self.waiting, self.closing) = (None, None);
        match std::mem::replace(&mut self.reading, Reading::Ended(None)) {
            Reading::On(mut reader) => {
                let interest = out.readers.end(&mut reader, how);
                self.reading = Reading::Ended((interest == Interest::More).then_some(reader));
            }
            Reading::NotYet => {}
            ended @ (Reading::Ended(_) | Reading::Unwanted) => self.reading = ended,
        }
    }
}

impl Half {
    /// Notes that a point has seen these bytes, and says how.
    #[inline]
    fn notice(&mut self, segment: &Segment<'_>, from: u64, to: u64, is_new: bool) -> Seen {
        let mark = segment.mark();
        let seen = if is_new {
            Seen::First
        } else if self.is_copy(segment.point, mark, from) {
            Seen::Copy
        } else {
            Seen::Again
        };
        self.note(segment.point, mark, to);
        seen
    }
}

impl<R> Outlet<'_, R> {
    #[inline]
    fn count(&mut self, seen: Seen) {
        match seen {
            Seen::First => {}
            Seen::Copy => self.counts.copies += 1,
            Seen::Again => self.counts.retransmissions += 1,
        }
    }

    fn missing(&mut self, why: Missing) -> &mut u64 {
        match why {
            Missing::Lost => &mut self.counts.bytes_lost,
            Missing::Cut => &mut self.counts.bytes_cut,
            Missing::GivenUp => &mut self.counts.bytes_given_up,
        }
    }
}

/// What of a segment lies at or behind an offset.
#[inline]
fn fresh_part<'a>(segment: &Segment<'a>, start: i64, from: u64, to: u64) -> Fresh<'a> {
    let skipped = usize::try_from(from.cast_signed() - start).unwrap_or(usize::MAX);
    let captured = skipped.min(length_of(segment.tcp.payload) as usize);
    Fresh { from, bytes: &segment.tcp.payload[captured..], to, starts_segment: skipped == 0 }
}
