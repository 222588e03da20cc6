//! How fast: every rhythm, patience and bound, with its reason.

/// Milliseconds since the agent started, or between two such times.
pub type Millis = u64;

/// Between two echoes to a peer that answers: a third of the second within which its death is to be known.
pub const ECHO_EVERY: Millis = 300;
/// How long an echo may be without an answer until it is doubted: a hundred times what a busy network takes.
pub const PATIENCE: Millis = 150;
/// Between two tries while a peer is in doubt or on trial.
pub const TRY_EVERY: Millis = 50;
/// Tries without an answer until a peer is gone, so that some lost packets are no death.
pub const TRIES: u32 = 5;
/// How long the witnesses have: as long as the tries take. A handshake takes some milliseconds.
pub const WITNESS_TIME: Millis = 300;
/// How late a look may come: one later than this heard nothing because this host was busy, and does not count.
pub const LATE: Millis = 100;
/// Tries that are not counted because of that, in a row: a host that is always busy must come to an end too.
pub(super) const EXCUSES_MAX: u32 = 3;
/// Answers in a row until a peer that was gone is believed to be back.
pub const RETURN_ANSWERS: u32 = 3;
/// How long a route is on trial: the peer must have put its own back meanwhile.
pub const TRIAL: Millis = 600;
/// Between two echoes to a peer that cannot be tried, or never answered, at first, and between two questions to the witnesses of
/// one that others vouch for.
pub const SLOW_EVERY: Millis = 1_000;
/// Between two questions to the agent of a peer that answers; nothing depends on it but what is told.
pub const ASK_EVERY: Millis = 5_000;
/// Between two echoes to a peer that never answered at most: it takes twice as long each time, as most of them are not
/// there. Its agent says when it is.
pub const HOPE_EVERY_MAX: Millis = 60_000;
/// How long a peer that came and went is held back at least.
pub const HOLD_MIN: Millis = 1_000;
/// And at most: what is back for good is used again within a minute.
pub const HOLD_MAX: Millis = 60_000;
/// How long a peer must answer until the time that it is held back is halved.
pub const CALM: Millis = 60_000;
/// Echoes that one agent sends in a second, to all peers, while all is well: some microseconds of work each.
pub const PROBES_PER_SECOND_MAX: u64 = 1_000;
/// Peers that nobody may be at that are tried in a second: each takes a place in the kernel's table of neighbours for some
/// seconds, which has 1,024 if nobody gave it more (`gc_thresh3`, `arp(7)`).
pub const STRANGERS_PER_SECOND_MAX: u64 = 100;
/// Questions that one agent asks others in a second while all is well: a handshake costs both about a millisecond.
pub const ASKS_PER_SECOND_MAX: u64 = 2;

/// How fast this agent tries its peers: slower where they are many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two echoes to a peer that answers, at least [`ECHO_EVERY`].
    pub echo_every: Millis,
    /// Between two questions to its agent, at least [`ASK_EVERY`].
    pub ask_every: Millis,
    /// Between two looks whether one that is gone is back, at least [`ECHO_EVERY`].
    pub back_every: Millis,
}

impl Pace {
    /// The pace for so many peers, of whom so many are gone.
    #[must_use]
    pub fn of(peers: usize, gone: usize) -> Self {
        let spread = |per_second| peers as u64 * 1_000 / per_second;
        Self {
            echo_every: ECHO_EVERY.max(spread(PROBES_PER_SECOND_MAX)),
            back_every: ECHO_EVERY.max(gone as u64 * 1_000 / STRANGERS_PER_SECOND_MAX),
            ask_every: ASK_EVERY.max(spread(ASKS_PER_SECOND_MAX)),
        }
    }
}
