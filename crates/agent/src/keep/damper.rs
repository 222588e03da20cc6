//! When to look next: at the safety net's pace, sooner after a failure, and not without end against somebody
//! who changes everything back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After a failure the agent tries again after this, then twice as long, up to the safety net's pace.
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// More repairs than this within [`WINDOW`] are a fight; the agent then repairs once per [`TRUCE`].
/// At a millisecond each, such a fight costs a tenth of one core.
const REPAIRS_MAX: usize = 1000;
const WINDOW: Duration = Duration::from_secs(10);
const TRUCE: Duration = Duration::from_secs(1);
/// How often rules are looked at whose changes are told in no notice (iptables-legacy).
const POLL: Duration = Duration::from_secs(5);
/// And how often, and for how long, when it is known that somebody writes them now: Docker does after a reload of
/// firewalld, in less than a second if it has few containers. A look costs some hundredths of a second.
const POLL_WHILE_WRITTEN: Duration = Duration::from_millis(250);
const WRITTEN_FOR: Duration = Duration::from_secs(10);

/// The agent's sense of pace.
#[derive(Debug)]
pub(super) struct Damper {
    look_every: Duration,
    /// When everything was last looked at without being told to.
    last_whole_look: Instant,
    /// When somebody was last heard to begin to write rules.
    writing_since: Option<Instant>,
    failures: u32,
    last_failure: Option<Instant>,
    repairs: VecDeque<Instant>,
}

/// Until when to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait {
    /// The next look is due then, however many other wakes there are before.
    pub(super) look_at: Instant,
    /// Before this, notices are left to pile up.
    pub(super) deaf_until: Instant,
}

impl Damper {
    pub(super) fn new(look_every: Duration, now: Instant) -> Self {
        Self {
            look_every,
            last_whole_look: now,
            writing_since: None,
            failures: 0,
            last_failure: None,
            repairs: VecDeque::new(),
        }
    }

    pub(super) fn looked_at_everything(&mut self, now: Instant) {
        self.last_whole_look = now;
    }

    /// Somebody is about to write rules, and whoever is told in no notice must look.
    pub(super) fn others_write(&mut self, now: Instant) {
        self.writing_since = Some(now);
    }

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

    /// `poll`: some changes are told in no notice.
    pub(super) fn wait(&self, now: Instant, poll: bool) -> Wait {
        let retry =
            FIRST_RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(self.look_every);
        let fight = self.repairs.len() == REPAIRS_MAX
            && self.repairs.front().is_some_and(|first| now.duration_since(*first) < WINDOW);
        let are_written = self.writing_since.is_some_and(|since| now.duration_since(since) < WRITTEN_FOR);
        let poll = poll.then_some(if are_written { POLL_WHILE_WRITTEN } else { POLL });
        let pace = poll.unwrap_or(self.look_every).min(self.look_every);
        let safety_net = self.last_whole_look + pace;
        let deaf_until = self.repairs.back().filter(|_| fight).map_or(now, |last| *last + TRUCE);
        let look_at = self.last_failure.map_or(safety_net, |failure| safety_net.min(failure + retry));
        Wait { look_at: look_at.max(deaf_until), deaf_until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn at_rest_the_safety_net_sets_the_pace() {
        let now = Instant::now();
        let wait = Damper::new(MINUTE, now).wait(now, false);
        assert_eq!(wait, Wait { look_at: now + MINUTE, deaf_until: now });
    }

    #[test]
    fn wakes_in_between_do_not_put_the_safety_net_off() {
        let now = Instant::now();
        let damper = Damper::new(MINUTE, now);
        let later = now + Duration::from_secs(50);
        assert_eq!(damper.wait(later, false).look_at, now + MINUTE);
    }

    #[test]
    fn what_no_notice_tells_is_looked_for_and_more_often_while_it_is_written() {
        let now = Instant::now();
        let mut damper = Damper::new(MINUTE, now);
        assert_eq!(damper.wait(now, true).look_at, now + POLL);
        damper.others_write(now);
        assert_eq!(damper.wait(now, true).look_at, now + POLL_WHILE_WRITTEN);
        assert_eq!(damper.wait(now, false).look_at, now + MINUTE, "notices tell the others");
        let later = now + WRITTEN_FOR;
        damper.looked_at_everything(later);
        assert_eq!(damper.wait(later, true).look_at, later + POLL);
    }

    #[test]
    fn failures_are_tried_again_ever_later_but_not_later_than_the_safety_net() {
        let now = Instant::now();
        let mut damper = Damper::new(MINUTE, now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            damper.failed(now);
            waits.push((damper.wait(now, false).look_at - now).as_millis());
        }
        assert_eq!(waits[..4], [250, 500, 1000, 2000]);
        assert_eq!(waits[11], 60_000);
        damper.at_rest();
        assert_eq!(damper.wait(now, false).look_at, now + MINUTE);
    }

    #[test]
    fn a_thousand_repairs_in_a_moment_are_a_fight_and_end_in_a_truce() {
        let now = Instant::now();
        let mut damper = Damper::new(MINUTE, now);
        for _ in 1..REPAIRS_MAX {
            damper.repaired(now);
        }
        assert_eq!(damper.wait(now, false).deaf_until, now);
        damper.repaired(now);
        assert_eq!(damper.wait(now, false).deaf_until, now + TRUCE);
        assert_eq!(
            damper.wait(now + TRUCE / 2, false).deaf_until,
            now + TRUCE,
            "other wakes do not put it off"
        );
        assert_eq!(damper.wait(now + WINDOW, false).deaf_until, now + WINDOW);
    }
}
