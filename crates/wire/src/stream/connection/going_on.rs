//! What a connection does with what waits: `step` is the list of what can happen next, the best first.

use super::{Connection, Outlet, PATIENCE_NS, PATIENCE_PACKETS, Reading};
use crate::stream::half::{Half, Since};
use crate::stream::readers::Readers;
use crate::stream::waiting::How;
use crate::stream::{Missing, Side};

const SIDES: [Side; 2] = [Side::First, Side::Second];

/// How long holes are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Some,
    None,
}

impl<T> Connection<T> {
    /// Lets go on what can.
    #[cold]
    pub(super) fn go_on<R: Readers<Reader = T>>(&mut self, limit: usize, out: &mut Outlet<'_, R>) {
        // Ends: every step takes something away that waits, or settles a hole.
        while self.step(Patience::Some, out) {}
        while self.waiting_bytes() > limit && self.step(Patience::None, out) {}
        if self.closing.is_some_and(|closing| self.is_overdue(closing.since, out.now_ns)) {
            self.drain(out);
        }
    }

    /// Lets go on what can, some time after the last packet.
    pub(in crate::stream) fn look_again<R: Readers<Reader = T>>(
        &mut self,
        limit: usize,
        out: &mut Outlet<'_, R>,
    ) {
        self.go_on(limit, out);
        self.close(out);
    }

    /// Waits for nothing any longer.
    pub(in crate::stream) fn drain<R: Readers<Reader = T>>(&mut self, out: &mut Outlet<'_, R>) {
        // Ends, as above.
        while self.step(Patience::None, out) {}
    }

    /// The next thing that can happen; false if there is none.
    fn step<R: Readers<Reader = T>>(&mut self, patience: Patience, out: &mut Outlet<'_, R>) -> bool {
        if matches!(self.reading, Reading::Unwanted | Reading::Ended(_)) {
            self.waiting = None;
            return false;
        }
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_empty()) {
            self.waiting = None;
        }
        if let Some(side) = SIDES.into_iter().find(|side| self.is_ready(*side)).or_else(|| self.knotted()) {
            self.hand_out_front(side, out);
        } else if let Some((side, until)) = self.hole(patience, out.now_ns) {
            self.settle_hole(side, until, out);
        } else if let (Patience::None, Some((side, until))) = (patience, self.first_that_waits()) {
            self.tell_missing(side, until, Missing::GivenUp, out);
            self.hand_out_front(side, out);
        } else {
            return false;
        }
        true
    }

    /// Whether the first part of a side is the next one, and all is there that its sender had.
    fn is_ready(&self, side: Side) -> bool {
        self.front_is_next(side)
            && self.front(side).is_some_and(|(_, how)| self.halves[side.other() as usize].is_past(how.needs))
    }

    /// Where both sides only wait for each other, one of the parts is a repetition, sent after its sender had heard
    /// more than when it was sent first. It is the one that came later.
    fn knotted(&self) -> Option<Side> {
        let arrival =
            |side| self.front(side).filter(|_| self.front_is_next(side)).map(|(_, how)| how.since.packets);
        let (first, second) = (arrival(Side::First)?, arrival(Side::Second)?);
        let first_is_later = self.packets.wrapping_sub(first) < self.packets.wrapping_sub(second);
        Some(if first_is_later { Side::First } else { Side::Second })
    }

    fn front_is_next(&self, side: Side) -> bool {
        self.front(side).is_some_and(|(from, _)| from == self.halves[side as usize].next)
    }

    fn front(&self, side: Side) -> Option<(u64, How)> {
        self.waiting.as_ref()?.front(side).map(|(from, part)| (from, part.how))
    }

    fn hand_out_front<R: Readers<Reader = T>>(&mut self, side: Side, out: &mut Outlet<'_, R>) {
        let Some(part) = self.waiting.as_mut().and_then(|waiting| waiting.pop(side)) else { return };
        self.hand_out(side, &part.bytes, part.starts_segment, part.how.since.time_ns, out);
        self.tell_missing(side, part.end, Missing::Cut, out);
    }

    /// Bytes that the other side has and that are not here, for long enough: whose, and up to where.
    fn hole(&self, patience: Patience, now_ns: u64) -> Option<(Side, u64)> {
        let due = SIDES.map(|side| self.due(side, patience, now_ns));
        let in_turn = |side: Side| {
            let until = due[side as usize]?;
            let until = self.turn_of_other(side).map_or(until, |turn| until.min(turn));
            (until > self.halves[side as usize].next).then_some((side, until))
        };
        // Where both wait for their turn, one has to begin.
        let first = || due[1].and(due[0]).map(|until| (Side::First, until));
        SIDES.into_iter().find_map(in_turn).or_else(first)
    }

    /// Up to where bytes of a side are missing for long enough.
    fn due(&self, side: Side, patience: Patience, now_ns: u64) -> Option<u64> {
        let (mine, other) = (&self.halves[side as usize], &self.halves[side.other() as usize]);
        let has_it = mine.acknowledged();
        // Where nothing comes the other way, nobody acknowledges.
        let nobody_says = !other.is_seen && patience == Patience::Some;
        let until = match self.front(side) {
            Some((from, _)) if nobody_says => from,
            Some((from, _)) => from.min(has_it),
            None => has_it,
        };
        let is_due = patience == Patience::None || self.is_overdue(self.hole_since(side), now_ns);
        (until > mine.next && is_due).then_some(until)
    }

    /// What waits on the other side stands before the bytes of this one from there on, as its sender had not more of
    /// them: what is missing is told in turns too, or an answer would be taken for that of another request.
    fn turn_of_other(&self, side: Side) -> Option<u64> {
        let (from, how) = self.front(side.other())?;
        let other = &self.halves[side.other() as usize];
        // It goes on only if what is before it comes, or is known to be missing.
        let will_go_on = from <= other.next.max(other.acknowledged());
        will_go_on.then_some(how.needs)
    }

    /// When it was first seen that bytes are missing: they were acknowledged, or others came from behind them.
    fn hole_since(&self, side: Side) -> Since {
        let mine = &self.halves[side as usize];
        let age = |since: &Since| self.packets.wrapping_sub(since.packets);
        let came = self.front(side).map(|(_, how)| how.since);
        let acknowledged = (!mine.is_settled()).then_some(mine.ahead_since);
        came.into_iter().chain(acknowledged).max_by_key(age).unwrap_or_default()
    }

    pub(super) fn is_overdue(&self, since: Since, now_ns: u64) -> bool {
        let points = self.halves.iter().map(Half::points_seen).max().unwrap_or(1);
        self.packets.wrapping_sub(since.packets) >= PATIENCE_PACKETS * points
            || now_ns.saturating_sub(since.time_ns) >= PATIENCE_NS
    }

    /// One byte at the end, behind which nothing came, is a FIN that was not seen.
    fn settle_hole<R: Readers<Reader = T>>(&mut self, side: Side, until: u64, out: &mut Outlet<'_, R>) {
        let is_at_end = self.front(side).is_none();
        let mine = &mut self.halves[side as usize];
        let (since, is_whole) = (mine.ahead_since, until == mine.acknowledged());
        if is_at_end && is_whole && until - mine.next == 1 && !mine.has_fin() {
            mine.guess_fin();
            return;
        }
        self.tell_missing(side, until, Missing::Lost, out);
        if !is_whole {
            // The rest is missing for as long.
            self.halves[side as usize].ahead_since = since;
        }
    }

    /// The part that came first of those at the front: whose, and where it is.
    fn first_that_waits(&self) -> Option<(Side, u64)> {
        let fronts =
            SIDES.into_iter().filter_map(|side| self.front(side).map(|(from, how)| (side, from, how)));
        let age = |how: How| self.packets.wrapping_sub(how.since.packets);
        fronts.max_by_key(|(_, _, how)| age(*how)).map(|(side, from, _)| (side, from))
    }
}
