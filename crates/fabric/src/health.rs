//! Whether a peer answers along the data path: what to try next, and what to believe.
//!
//! Knows no clock and no socket: time comes in as a number, and what is to be sent goes out as a [`Deed`].
//!
//! ```text
//!                    answer            150 ms without                    5 tries, nobody vouches
//!   never answered ─────────> answers ────────────────> silent ─────────────────────────────────> gone <──┐
//!         ^                    ^ ^ ^                     │  │                                       │     │
//!     not tried <─ cannot send │ │ └─────── answer ──────┘  └─ vouched for ──> vouched              │     │ no
//!                              │ └───────────────── answer ───────────────────────┘                 │     │ answer
//!                              └─── 3 answers ──── returning <── held long enough, its host is there ┘    │
//!                                                      └──────────────────────────────────────────────────┘
//! ```
//!
//! A peer is called gone only if its data path had answered before, and two more witnesses were asked: its agent, over
//! the agents' own channel, and its kernel, by TCP along the data path. A false alarm costs more than a late one.
//!
//! While a peer is gone its route refuses packets, ours too, so the way back begins on the underlay: when its agent
//! or its kernel answers there, the route is put back on trial. Both sides must do that at once, or neither hears the
//! other; so each tells the other how long it holds back.

mod pace;
mod tick;
mod word;

use std::collections::VecDeque;

pub use pace::{
    ASK_EVERY, ASKS_PER_SECOND_MAX, CALM, ECHO_EVERY, HOLD_MAX, HOLD_MIN, HOPE_EVERY_MAX, LATE, Millis,
    PATIENCE, PROBES_PER_SECOND_MAX, Pace, RETURN_ANSWERS, SLOW_EVERY, STRANGERS_PER_SECOND_MAX, TRIAL,
    TRIES, TRY_EVERY, WITNESS_TIME,
};
pub use word::{Question, Said, State, Turn, Word};

/// Changes that are remembered of each peer: a bad night, bounded for a cluster of thousands.
pub const TURNS_MAX: usize = 16;
/// Round trips of which the one in the middle is told.
pub const TRIPS_MAX: usize = 9;

/// What is to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// An echo along the data path.
    Echo,
    /// An echo to the peer's own addresses on the underlay.
    UnderlayEcho,
    /// Its agent is to be asked, without hurry.
    Ask,
    /// The same within [`WITNESS_TIME`]: it was gone, and may be back.
    AskWhetherBack,
    /// Its agent, and its kernel by TCP along the data path, are to be asked, within [`WITNESS_TIME`].
    AskWitnesses,
}

/// What is known of one peer.
#[derive(Debug, Clone)]
pub struct Health {
    phase: Phase,
    /// When it is due again.
    due: Millis,
    /// How often it was tried since somebody last said that it is there; none has been answered.
    hopes: u32,
    /// When its agent is asked again.
    ask_at: Millis,
    /// Whether somebody is being asked.
    asking: bool,
    /// When the next echo is due, while it answers.
    echo_at: Millis,
    /// When the first echo was sent that nothing has answered.
    unanswered: Option<Millis>,
    /// When its host last answered on the underlay.
    underlay: Option<Millis>,
    /// How long it is held back when it goes next.
    hold: Millis,
    /// Since when it has been calm, as far as that has not shortened the hold yet.
    calm_since: Millis,
    agent: Option<Result<Millis, Silence>>,
    trips: VecDeque<u32>,
    turns: VecDeque<Turn>,
    flaps: u64,
}

/// An agent that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Since when.
    pub since: Millis,
    /// Why, as far as it is known.
    pub why: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    NotTried { because: String },
    NeverAnswered,
    Answers,
    Silent { since: Millis, tries: u32, excuses: u32, no_witness: Option<(String, Millis)> },
    Vouched { by: String },
    Gone { because: String, held_until: Millis },
    Returning { until: Millis, answers: u32, because: String },
}

impl Health {
    /// A peer of which nothing is known yet; first due at `first`.
    #[must_use]
    pub fn new(now: Millis, first: Millis) -> Self {
        let started =
            Turn { at: now, state: State::NeverAnswered, because: "the agent has started".to_owned() };
        Self {
            phase: Phase::NeverAnswered,
            due: first,
            ask_at: first,
            hopes: 0,
            asking: false,
            echo_at: now,
            unanswered: None,
            underlay: None,
            hold: 0,
            calm_since: now,
            agent: None,
            trips: VecDeque::new(),
            turns: VecDeque::from([started]),
            flaps: 0,
        }
    }

    /// When it is to be looked at again; [`Health::tick`] before that is harmless.
    #[must_use]
    pub fn due(&self) -> Millis {
        self.due
    }

    /// There are other ways to try it than before.
    pub fn hurry(&mut self, now: Millis) {
        if matches!(self.phase, Phase::NotTried { .. } | Phase::NeverAnswered) {
            (self.due, self.hopes) = (now, 0);
        }
    }

    /// Packets go there by another path than before: what did not arrive by the old one is tried at once, as if nothing
    /// had been held back.
    pub fn another_path(&mut self, now: Millis) {
        if let Phase::Gone { held_until, .. } = &mut self.phase {
            *held_until = now;
            self.come_back(now);
        }
        if matches!(self.phase, Phase::Vouched { .. }) {
            self.due = now;
        }
    }

    /// An echo came back along the data path, after so many microseconds.
    pub fn answered(&mut self, now: Millis, trip_micros: u32) {
        if self.trips.len() == TRIPS_MAX {
            self.trips.pop_front();
        }
        self.trips.push_back(trip_micros);
        self.unanswered = None;
        match &mut self.phase {
            Phase::Answers => {}
            Phase::NotTried { .. } | Phase::NeverAnswered | Phase::Silent { .. } | Phase::Vouched { .. } => {
                self.turn(now, Phase::Answers, "echoes are answered");
            }
            // An answer that was under way for long; what it proves is that something is there.
            Phase::Gone { .. } => self.come_back(now),
            Phase::Returning { answers, .. } => {
                *answers += 1;
                if *answers >= RETURN_ANSWERS {
                    self.flaps += 1;
                    self.hold = longer(self.hold);
                    self.calm_since = now;
                    self.turn(now, Phase::Answers, "echoes are answered again");
                }
            }
        }
    }

    /// Its host answered on the underlay.
    pub fn answered_on_underlay(&mut self, now: Millis) {
        self.underlay = Some(now);
    }

    /// An echo could not be sent, for a reason that is this host's own.
    pub fn not_sent(&mut self, now: Millis, because: &str) {
        match self.phase {
            // There is no way out while its route refuses packets, which it may do for a moment more.
            Phase::Gone { .. } | Phase::Returning { .. } => {}
            _ => self.turn(now, Phase::NotTried { because: because.to_owned() }, because),
        }
    }

    /// What came of asking: `asked` is what was to be done.
    pub fn told(&mut self, now: Millis, asked: Deed, said: &Said) {
        self.asking = false;
        self.note_agent(now, said);
        let by_witnesses = asked == Deed::AskWitnesses;
        match (&mut self.phase, said.vouches()) {
            (Phase::Silent { .. }, Some(by)) => {
                self.turn(now, Phase::Vouched { by: by.to_owned() }, by);
            }
            (Phase::Silent { no_witness, .. }, None) if by_witnesses => {
                *no_witness = Some((said.why_not().to_owned(), said.hold_at_least()));
            }
            (Phase::Vouched { .. }, None) if by_witnesses => self.fall_silent(now),
            (Phase::Gone { .. }, _) => self.told_while_gone(now, said),
            _ => {}
        }
    }

    fn told_while_gone(&mut self, now: Millis, said: &Said) {
        let Phase::Gone { held_until, .. } = &mut self.phase else { return };
        match said {
            _ if now < *held_until => {}
            // It will ask, or can be asked, when it lets go.
            Said::Word(Word { holds_ms: 1.., .. }) => *held_until = now + said.holds_ms(),
            Said::Word(_) | Said::NoOpinion => self.come_back(now),
            // Its agent is away, but its host is there.
            _ if self.underlay.is_some_and(|at| now.saturating_sub(at) < SLOW_EVERY) => self.come_back(now),
            _ => {}
        }
    }

    /// Its agent asks this one, so it is there, and wants to be heard. An agent that has just started is a new
    /// beginning: what came and went before is forgotten.
    pub fn asked_by_it(&mut self, now: Millis, question: Question) {
        if let (Phase::Gone { held_until, .. }, true) = (&mut self.phase, question.has_heard_nothing) {
            (*held_until, self.hold) = (now, 0);
        }
        self.hurry(now);
        self.come_back(now);
    }

    /// What its agent is asked.
    #[must_use]
    pub fn question(&self) -> Question {
        Question { has_heard_nothing: self.turns.iter().all(|turn| turn.state != State::Answers) }
    }

    /// What its agent is told when it asks.
    #[must_use]
    pub fn word(&self, now: Millis) -> Word {
        let hears = match &self.phase {
            Phase::Answers => Some(true),
            Phase::Vouched { by } => Some(by == word::BY_KERNEL),
            Phase::NotTried { .. } | Phase::NeverAnswered => None,
            Phase::Silent { .. } | Phase::Gone { .. } | Phase::Returning { .. } => Some(false),
        };
        Word { hears, holds_ms: self.held_until().map_or(0, |until| until.saturating_sub(now)) }
    }

    fn note_agent(&mut self, now: Millis, said: &Said) {
        match (said, &self.agent) {
            (Said::Word(_) | Said::NoOpinion, _) => self.agent = Some(Ok(now)),
            (Said::Kernel, _) | (Said::Nothing { .. }, Some(Err(_))) => {}
            (Said::Nothing { why }, _) => {
                self.agent = Some(Err(Silence { since: now, why: why.clone() }));
            }
        }
    }

    /// The route is put back on trial.
    fn come_back(&mut self, now: Millis) {
        let Phase::Gone { because, held_until } = &self.phase else { return };
        if now >= *held_until {
            self.unanswered = None;
            self.due = now;
            self.phase = Phase::Returning { until: now + TRIAL, answers: 0, because: because.clone() };
        }
    }

    fn fall_silent(&mut self, now: Millis) {
        self.due = now;
        self.phase = Phase::Silent { since: now, tries: 0, excuses: 0, no_witness: None };
    }

    fn go(&mut self, now: Millis, because: &str, at_least: Millis) {
        let held_until = now + self.hold.max(at_least);
        self.underlay = None;
        self.ask_at = held_until;
        self.turn(now, Phase::Gone { because: because.to_owned(), held_until }, because);
    }

    /// Changes the phase, and remembers it if it is another state than the last that was remembered.
    fn turn(&mut self, now: Millis, phase: Phase, because: &str) {
        self.phase = phase;
        (self.due, self.echo_at) = (now, now);
        self.unanswered = None;
        let state = self.settled();
        if self.turns.back().is_some_and(|last| last.state == state) {
            return;
        }
        if self.turns.len() == TURNS_MAX {
            self.turns.pop_front();
        }
        self.turns.push_back(Turn { at: now, state, because: because.to_owned() });
    }
}

/// How long it is held back after one more flap.
fn longer(hold: Millis) -> Millis {
    (hold * 2).clamp(HOLD_MIN, HOLD_MAX)
}

#[cfg(test)]
mod tests;
