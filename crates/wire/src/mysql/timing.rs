//! How long an answer took, and how much of that was the network: from the times of one watch point each, never from the
//! clocks of two.
//!
//! ```text
//! client ──q──> point A ──q──> point B ──q──> server          at A: answer − question = network and server
//!        <──a──         <──a──         <──a──                 at B: answer − question = (nearly) the server alone
//! ```

use std::collections::VecDeque;

use super::event::{Role, Statement};
use super::place::Span;
use crate::stream::Sighting;

/// Sightings that are kept of a connection: those of a statement at ten points, with as many segments before its answer.
const SIGHTINGS_MAX: usize = 512;
/// Statements of a connection that wait for the other points to see their answer.
const WAITING_MAX: usize = 64;
/// How long one waits, in nanoseconds: points of one capture are merged by time, so the others are not far.
const PATIENCE_NS: u64 = 1_000_000_000;

/// How long the answer of a statement took, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// From the last byte of the request to the first one of the answer, where that took longest: nearest to the client.
    pub first_ns: Option<u64>,
    /// To the last byte of the answer, at the same point.
    pub whole_ns: Option<u64>,
    /// To the first byte of the answer where that took the shortest: nearest to the server. Only if more than one point
    /// saw both.
    pub server_ns: Option<u64>,
    /// At how many points both were seen.
    pub points: u32,
}

impl Timing {
    /// The part of the time that the network took between the points.
    #[must_use]
    pub fn network_ns(&self) -> Option<u64> {
        Some(self.first_ns?.saturating_sub(self.server_ns?))
    }

    /// Of a connection that is seen at one point only.
    fn at_one_point(asked: Span, answered: Span) -> Self {
        let since = |end: u64| Some(end.saturating_sub(asked.last.time_ns));
        Self {
            first_ns: since(answered.first.time_ns),
            whole_ns: since(answered.last.time_ns),
            server_ns: None,
            points: 1,
        }
    }
}

/// What is known of a statement's timing when it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timed {
    /// All.
    Now(Timing),
    /// The other points have not seen the answer yet: it is told later, under this number.
    Later(u64),
}

/// The points of one connection.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// The only point so far. From the second one on, sightings are kept.
    only: Option<usize>,
    several: bool,
    seen: VecDeque<(Role, Sighting)>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    asked: Span,
    answered: Span,
    until_ns: u64,
}

impl Points {
    /// Bytes of one side were seen at a point.
    #[inline]
    pub(super) fn saw(&mut self, role: Role, sighting: &Sighting) {
        if !self.several {
            match self.only {
                Some(only) if only == sighting.point => return,
                Some(_) => self.several = true,
                None => {
                    self.only = Some(sighting.point);
                    return;
                }
            }
        }
        if self.seen.len() == SIGHTINGS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((role, *sighting));
    }

    /// The timing of a statement that was just told.
    pub(super) fn of(&mut self, statement: &Statement<'_>, number: &mut u64) -> Timed {
        let Some(answered) = statement.answered else { return Timed::Now(Timing::default()) };
        if !self.several {
            return Timed::Now(Timing::at_one_point(statement.asked, answered));
        }
        *number += 1;
        let until_ns = answered.last.time_ns.saturating_add(PATIENCE_NS);
        self.waiting.push_back(Waiting { number: *number, asked: statement.asked, answered, until_ns });
        Timed::Later(*number)
    }

    /// The statements whose answer every point has seen that saw the request, or that have waited for long enough.
    pub(super) fn settled(&mut self, now_ns: u64, is_over: bool) -> Option<(u64, Timing)> {
        let first = self.waiting.front()?;
        let (timing, is_complete) = self.timing(first);
        let is_late = now_ns >= first.until_ns || self.waiting.len() > WAITING_MAX;
        if !(is_complete || is_late || is_over) {
            return None;
        }
        let number = first.number;
        self.waiting.pop_front();
        Some((number, timing))
    }

    /// Whether a statement waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn memory(&self) -> usize {
        self.seen.capacity() * size_of::<(Role, Sighting)>() + self.waiting.capacity() * size_of::<Waiting>()
    }

    /// The timing as far as it is known, and whether every point that saw the request has seen all of the answer.
    fn timing(&self, waiting: &Waiting) -> (Timing, bool) {
        let (mut timing, mut is_complete, mut shortest) = (Timing::default(), true, None::<u64>);
        let asked = self.at(Role::Client, waiting.asked.last.offset);
        for (point, asked_ns) in asked {
            let at = |offset| self.at(Role::Server, offset).find(|(other, _)| *other == point);
            let (first, last) = (at(waiting.answered.first.offset), at(waiting.answered.last.offset));
            // After a loss on the way the last byte may be there before the first.
            is_complete &= first.is_some() && last.is_some();
            let Some((_, first_ns)) = first else { continue };
            let took = first_ns.saturating_sub(asked_ns);
            timing.points += 1;
            shortest = Some(shortest.map_or(took, |known| known.min(took)));
            if timing.first_ns.is_none_or(|known| took >= known) {
                timing.first_ns = Some(took);
                timing.whole_ns = last.map(|(_, last_ns)| last_ns.max(first_ns).saturating_sub(asked_ns));
            }
        }
        if timing.points == 0 {
            return (Timing::at_one_point(waiting.asked, waiting.answered), is_complete);
        }
        timing.server_ns = shortest.filter(|_| timing.points > 1);
        (timing, is_complete)
    }

    /// Where and when a byte was seen, each point once.
    fn at(&self, role: Role, offset: u64) -> impl Iterator<Item = (usize, u64)> + '_ {
        let holds = move |(of, sighting): &(Role, Sighting)| {
            *of == role && (sighting.from..sighting.to).contains(&offset)
        };
        self.seen.iter().enumerate().filter(move |(_, one)| holds(one)).filter_map(move |(nth, (_, one))| {
            let earlier = self.seen.iter().take(nth).any(|other| holds(other) && other.1.point == one.point);
            (!earlier).then_some((one.point, one.time_ns))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::Mark;
    use super::*;
    use crate::stream::Seen;

    #[test]
    fn a_point_that_sees_the_end_of_an_answer_first_is_waited_for() {
        let mut points = Points::default();
        let mut saw = |role, point, from, to, time_ns| {
            points.saw(role, &Sighting { point, from, to, time_ns, seen: Seen::First });
        };
        saw(Role::Client, 9, 0, 1, 0);
        for (point, time_ns) in [(0, 100), (1, 200)] {
            saw(Role::Client, point, 0, 10, time_ns);
        }
        saw(Role::Server, 1, 0, 3000, 300);
        saw(Role::Server, 0, 2000, 3000, 900);
        let span = |first, last, time_ns| Span {
            first: Mark { offset: first, time_ns },
            last: Mark { offset: last, time_ns },
        };
        points.waiting.push_back(Waiting {
            number: 1,
            asked: span(0, 9, 100),
            answered: span(0, 2999, 300),
            until_ns: PATIENCE_NS,
        });
        assert_eq!(points.settled(900, false), None);
        points.saw(Role::Server, &Sighting { point: 0, from: 0, to: 2000, time_ns: 950, seen: Seen::Again });
        let timing = Timing { first_ns: Some(850), whole_ns: Some(850), server_ns: Some(100), points: 2 };
        assert_eq!(points.settled(950, false), Some((1, timing)));
    }
}
