//! What is said of a peer: by others, and by us.

use serde::{Deserialize, Serialize};

use super::{HOLD_MAX, HOLD_MIN, Health, Millis, Phase, Silence};

/// How a peer stands, along the data path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its echoes come back.
    Answers,
    /// An echo is late; it is being tried.
    Silent,
    /// Its echoes do not come back, but others know that its data path is whole.
    Vouched,
    /// Nothing arrives there: its routes refuse packets.
    Gone,
    /// It was gone, and came and went too often: its routes refuse packets for a while.
    HeldBack,
    /// It was gone, and its host is there again: its routes are put back on trial.
    Returning,
    /// No echo has come back since the agent started; its routes stay.
    NeverAnswered,
    /// It cannot be tried, for a reason that is this host's own; its routes stay.
    NotTried,
}

/// A change that is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// When.
    pub at: Millis,
    /// What it changed to.
    pub state: State,
    /// Why.
    pub because: String,
}

/// How an agent asks another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Question {
    /// Whether it has heard nothing of it along the data path since it started.
    #[serde(default)]
    pub has_heard_nothing: bool,
}

/// What an agent says of the one who asks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// Whether it hears the asker along the data path; none where it does not know.
    pub hears: Option<bool>,
    /// For how many milliseconds more it holds its routes to the asker back.
    #[serde(default)]
    pub holds_ms: Millis,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Its agent answered.
    Word(Word),
    /// Its agent answered, but knows nothing of the kind.
    NoOpinion,
    /// Its kernel answered to TCP along the data path.
    Kernel,
    /// Nobody answered.
    Nothing {
        /// Why its agent did not, as far as it is known.
        why: String,
    },
}

pub(super) const BY_KERNEL: &str = "its kernel answers to TCP, but not to echoes: something filters ICMP";
const BY_AGENT: &str = "its agent hears this host, but echoes are not answered: something filters ICMP";

impl Said {
    /// Why the data path is whole all the same, if this says so.
    #[must_use]
    pub fn vouches(&self) -> Option<&'static str> {
        match self {
            Self::Kernel => Some(BY_KERNEL),
            Self::Word(Word { hears: Some(true), .. }) => Some(BY_AGENT),
            _ => None,
        }
    }

    pub(super) fn holds_ms(&self) -> Millis {
        match self {
            Self::Word(word) => word.holds_ms.min(HOLD_MAX),
            _ => 0,
        }
    }

    pub(super) fn why_not(&self) -> &'static str {
        match self {
            Self::Word(Word { hears: Some(false), .. }) => {
                "nothing arrives along the data path; its agent answers, but does not hear this host either"
            }
            Self::Word(_) | Self::NoOpinion => {
                "nothing arrives along the data path; its agent answers, but does not try it itself"
            }
            Self::Kernel | Self::Nothing { .. } => NEITHER,
        }
    }

    /// Whose agent answers is on the underlay; trying at once whether it is back would find that, and nothing else.
    pub(super) fn hold_at_least(&self) -> Millis {
        if matches!(self, Self::Word(_) | Self::NoOpinion) { HOLD_MIN } else { 0 }
    }
}

pub(super) const NEITHER: &str = "neither echoes nor its agent are answered";

impl Health {
    /// How it stands.
    #[must_use]
    pub fn state(&self, now: Millis) -> State {
        match &self.phase {
            Phase::Gone { held_until, .. } if *held_until > now => State::HeldBack,
            Phase::Silent { .. } => State::Silent,
            Phase::Returning { .. } => State::Returning,
            _ => self.settled(),
        }
    }

    /// The same without what passes in less than a second.
    pub(super) fn settled(&self) -> State {
        match &self.phase {
            Phase::NotTried { .. } => State::NotTried,
            Phase::NeverAnswered => State::NeverAnswered,
            Phase::Answers | Phase::Silent { .. } => State::Answers,
            Phase::Vouched { .. } => State::Vouched,
            Phase::Gone { .. } | Phase::Returning { .. } => State::Gone,
        }
    }

    /// Why nothing arrives there any more, if its routes are to refuse packets now.
    #[must_use]
    pub fn gone(&self) -> Option<&str> {
        match &self.phase {
            Phase::Gone { because, .. } => Some(because),
            _ => None,
        }
    }

    /// Whether echoes came back and do not any more, whatever others say of it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self.phase, Phase::Gone { .. } | Phase::Vouched { .. })
    }

    /// Why it stands so, and since when, apart from what passes in less than a second.
    #[must_use]
    pub fn last_turn(&self) -> &Turn {
        self.turns.back().unwrap_or_else(|| unreachable!("the first turn is made with it"))
    }

    /// The last changes, the oldest first.
    pub fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.turns.iter()
    }

    /// Until when it is held back, if it is gone and came back too often.
    #[must_use]
    pub fn held_until(&self) -> Option<Millis> {
        match self.phase {
            Phase::Gone { held_until, .. } => Some(held_until),
            _ => None,
        }
    }

    /// How often it came back after it was gone.
    #[must_use]
    pub fn flaps(&self) -> u64 {
        self.flaps
    }

    /// How its agent stands: when it last answered, or since when it does not; none before it was asked.
    #[must_use]
    pub fn agent(&self) -> Option<&Result<Millis, Silence>> {
        self.agent.as_ref()
    }

    /// The round trip in the middle of the last, in microseconds; none before the first.
    #[must_use]
    pub fn trip_micros(&self) -> Option<u32> {
        let mut trips: Vec<u32> = self.trips.iter().copied().collect();
        trips.sort_unstable();
        trips.get(trips.len() / 2).copied()
    }
}
