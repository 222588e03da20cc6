//! What is due at a time.

use super::pace::EXCUSES_MAX;
use super::word::NEITHER;
use super::{
    CALM, Deed, HOLD_MIN, HOPE_EVERY_MAX, Health, LATE, Millis, PATIENCE, Pace, Phase, SLOW_EVERY, TRIES,
    TRY_EVERY, WITNESS_TIME, longer,
};

impl Health {
    /// What is to be sent now; answers that came before must have been told. Says when it is due again.
    pub fn tick(&mut self, now: Millis, pace: &Pace) -> Vec<Deed> {
        if now < self.due {
            return Vec::new();
        }
        let late = now - self.due > LATE;
        let mut deeds = match &self.phase {
            Phase::NotTried { .. } | Phase::NeverAnswered => self.hope(now, pace),
            Phase::Answers => self.listen(now, pace),
            Phase::Silent { .. } => self.doubt(now, late),
            Phase::Vouched { .. } => self.listen_to_others(now, pace),
            Phase::Gone { .. } => self.wait_for_it(now, pace),
            Phase::Returning { .. } => self.put_on_trial(now, late),
        };
        // Each has only so much to say; once is enough.
        deeds.sort_unstable();
        deeds.dedup();
        deeds
    }

    fn hope(&mut self, now: Millis, pace: &Pace) -> Vec<Deed> {
        let patience = (SLOW_EVERY << self.hopes.min(6)).min(HOPE_EVERY_MAX);
        self.hopes = self.hopes.saturating_add(1);
        let is_own_fault = matches!(self.phase, Phase::NotTried { .. });
        self.due = now + if is_own_fault { SLOW_EVERY } else { patience }.max(pace.echo_every);
        let mut deeds = vec![Deed::Echo];
        deeds.extend(self.ask(now, pace.ask_every, Deed::Ask));
        deeds
    }

    fn listen(&mut self, now: Millis, pace: &Pace) -> Vec<Deed> {
        self.grow_calm(now);
        match self.unanswered {
            Some(sent) if now >= sent + PATIENCE => {
                self.fall_silent(now);
                self.doubt(now, false)
            }
            Some(sent) => {
                self.due = sent + PATIENCE;
                Vec::new()
            }
            None if now < self.echo_at => {
                self.due = self.echo_at;
                Vec::new()
            }
            None => {
                self.unanswered = Some(now);
                self.echo_at = now + pace.echo_every;
                self.due = now + PATIENCE;
                let mut deeds = vec![Deed::Echo];
                deeds.extend(self.ask(now, pace.ask_every, Deed::Ask));
                deeds
            }
        }
    }

    fn doubt(&mut self, now: Millis, late: bool) -> Vec<Deed> {
        let Phase::Silent { since, tries, excuses, no_witness } = &mut self.phase else {
            return Vec::new();
        };
        if late && *excuses < EXCUSES_MAX {
            (*tries, *excuses) = (0, *excuses + 1);
        }
        let spent = now.saturating_sub(*since) >= WITNESS_TIME;
        if *tries >= TRIES && (no_witness.is_some() || spent) {
            let (because, at_least) = no_witness.take().unwrap_or_else(|| (NEITHER.to_owned(), 0));
            self.go(now, &because, at_least);
            return Vec::new();
        }
        *tries += 1;
        let ask = *tries == 1 && no_witness.is_none();
        self.due = now + TRY_EVERY;
        if ask { vec![Deed::Echo, Deed::AskWitnesses] } else { vec![Deed::Echo] }
    }

    fn listen_to_others(&mut self, now: Millis, pace: &Pace) -> Vec<Deed> {
        self.due = now + pace.echo_every;
        let mut deeds = vec![Deed::Echo];
        deeds.extend(self.ask(now, SLOW_EVERY.max(pace.echo_every), Deed::AskWitnesses));
        deeds
    }

    fn wait_for_it(&mut self, now: Millis, pace: &Pace) -> Vec<Deed> {
        let Phase::Gone { held_until, .. } = self.phase else { return Vec::new() };
        if now < held_until {
            self.due = held_until;
            return Vec::new();
        }
        self.due = now + pace.back_every;
        let mut deeds = vec![Deed::UnderlayEcho];
        deeds.extend(self.ask(now, pace.back_every, Deed::AskWhetherBack));
        deeds
    }

    fn put_on_trial(&mut self, now: Millis, late: bool) -> Vec<Deed> {
        let Phase::Returning { until, because, .. } = &mut self.phase else { return Vec::new() };
        if late {
            *until = (*until).max(now + 2 * TRY_EVERY);
        }
        if now >= *until {
            let because = because.clone();
            self.hold = longer(self.hold);
            self.go(now, &because, 0);
            return Vec::new();
        }
        self.due = now + TRY_EVERY;
        vec![Deed::Echo]
    }

    /// Asks if it is time and nobody is being asked.
    fn ask(&mut self, now: Millis, every: Millis, deed: Deed) -> Option<Deed> {
        if self.asking || now < self.ask_at {
            return None;
        }
        self.asking = true;
        self.ask_at = now + every;
        Some(deed)
    }

    /// The time that it is held back is halved each time that it was calm for long.
    fn grow_calm(&mut self, now: Millis) {
        while self.hold > 0 && now >= self.calm_since + CALM {
            self.calm_since += CALM;
            self.hold = if self.hold / 2 < HOLD_MIN { 0 } else { self.hold / 2 };
        }
    }
}
