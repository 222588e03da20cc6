//! When to look next: at the safety net's pace, sooner after a failure, and not without end against somebody
//! who changes everything back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After a failure the agent tries again after this, then twice as long, up to the safety net's pace.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// More repairs than this within [`WINDOW`] are a fight; the agent then repairs once per [`TRUCE`].
const REPAIRS_MAX: usize = 100;
const WINDOW: Duration = Duration::from_secs(10);
const TRUCE: Duration = Duration::from_secs(1);

/// The agent's sense of pace.
#[derive(Debug, Default)]
pub(super) struct Damper {
    failures: u32,
    last_failure: Option<Instant>,
    repairs: VecDeque<Instant>,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// The timer.
    pub(super) timer: Duration,
    /// Before this, notices are left to pile up.
    pub(super) deaf: Duration,
}

impl Damper {
    pub(super) fn repaired(&mut self, now: Instant) {
        self.repairs.push_back(now);
        if self.repairs.len() > REPAIRS_MAX {
            self.repairs.pop_front();
        }
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
    }

    pub(super) fn at_rest(&mut self) {
        self.failures = 0;
        self.last_failure = None;
    }

    pub(super) fn wait(&self, now: Instant, look_every: Duration) -> Wait {
        let retry = self
            .last_failure
            .map(|_| FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(10)));
        let fight = self.repairs.len() == REPAIRS_MAX
            && self.repairs.front().is_some_and(|first| now.duration_since(*first) < WINDOW);
        let timer = retry.map_or(look_every, |retry| retry.min(look_every));
        Wait { timer, deaf: if fight { TRUCE } else { Duration::ZERO } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn at_rest_the_safety_net_sets_the_pace() {
        let wait = Damper::default().wait(Instant::now(), MINUTE);
        assert_eq!(wait, Wait { timer: MINUTE, deaf: Duration::ZERO });
    }

    #[test]
    fn failures_are_tried_again_ever_later_but_not_later_than_the_safety_net() {
        let (mut damper, now) = (Damper::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..12 {
            damper.failed(now);
            waits.push(damper.wait(now, MINUTE).timer.as_millis());
        }
        assert_eq!(waits[..4], [250, 500, 1000, 2000]);
        assert_eq!(waits[11], 60_000);
        damper.at_rest();
        assert_eq!(damper.wait(now, MINUTE).timer, MINUTE);
    }

    #[test]
    fn a_hundred_repairs_in_a_moment_are_a_fight_and_end_in_a_truce() {
        let (mut damper, now) = (Damper::default(), Instant::now());
        for _ in 0..99 {
            damper.repaired(now);
        }
        assert_eq!(damper.wait(now, MINUTE).deaf, Duration::ZERO);
        damper.repaired(now);
        assert_eq!(damper.wait(now, MINUTE).deaf, TRUCE);
        assert_eq!(damper.wait(now + WINDOW, MINUTE).deaf, Duration::ZERO);
    }
}
