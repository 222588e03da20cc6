//! Hears the news of connections, and hands on what was asked for once its timing is known.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use byway_fabric::mysql::spoken::Spoken;
use byway_wire::mysql::{Asked, Event, Hear, News, Outcome, Peers, Statement, Timed, Timing};

use super::missed::Missed;
use super::note::Note;

/// Statements that wait for their timing, of all connections together: [`byway_wire::mysql::Listener`] tells each within
/// a second, and more than these are shown without.
const WAITING_MAX: usize = 4096;

/// Shows what is said.
pub(super) trait Show {
    /// Whether it shows requests alone, as they were seen.
    fn shows_requests(&self) -> bool {
        false
    }
    /// A request; only asked of who shows them.
    fn asked(&mut self, _: &Peers, _: &Asked<'_>) -> io::Result<()> {
        Ok(())
    }
    /// Whether statements are counted as they are told, and not kept.
    fn counts(&self) -> bool {
        false
    }
    /// A statement to be counted.
    fn counted(&mut self, _: &Peers, _: &Statement<'_>) -> io::Result<()> {
        Ok(())
    }
    /// A statement with its answer.
    fn spoken(&mut self, spoken: &Spoken<'_>) -> io::Result<()>;
    /// Something about a connection.
    fn note(&mut self, note: &Note) -> io::Result<()>;
    /// Names of addresses, which hold from now on.
    fn learn(&mut self, names: &[(IpAddr, String)]);
    /// Nothing comes for a while: whoever reads along may see what there was.
    fn pause(&mut self) -> io::Result<()>;
    /// Nothing comes any more.
    fn end(&mut self) -> io::Result<()> {
        self.pause()
    }
}

/// Which statements are shown, and how.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Which {
    pub(super) slow: Option<Duration>,
    pub(super) errors: bool,
    pub(super) mask: bool,
    pub(super) count: Option<u64>,
}

impl Which {
    fn takes(&self, whole_ns: Option<u64>, is_error: bool) -> bool {
        let is_slow = |least: Duration| whole_ns.is_some_and(|whole| Duration::from_nanos(whole) >= least);
        match (self.slow, self.errors) {
            (None, false) => true,
            (slow, errors) => slow.is_some_and(is_slow) || errors && is_error,
        }
    }

    /// Whether only some statements are shown.
    fn is_choosy(&self) -> bool {
        self.slow.is_some() || self.errors
    }

    /// Whether requests can be shown before their answers are known.
    fn is_all(&self) -> bool {
        !self.is_choosy() && !self.mask
    }
}

/// Hears everything.
pub(super) struct Ear<'a> {
    show: &'a mut dyn Show,
    which: Which,
    pub(super) missed: &'a mut Missed,
    waiting: VecDeque<(u64, Spoken<'static>)>,
    shows_requests: bool,
    shown: u64,
    /// The first failure to show something; nothing is shown after it.
    failed: Option<io::Error>,
}

impl<'a> Ear<'a> {
    pub(super) fn new(show: &'a mut dyn Show, which: Which, missed: &'a mut Missed) -> Self {
        let shows_requests = show.shows_requests() && which.is_all();
        Self { show, which, missed, waiting: VecDeque::new(), shows_requests, shown: 0, failed: None }
    }

    /// Whether no more need be heard.
    pub(super) fn is_done(&self) -> bool {
        self.failed.is_some() || self.which.count.is_some_and(|most| self.shown >= most)
    }

    pub(super) fn learn(&mut self, names: &[(IpAddr, String)]) {
        self.show.learn(names);
    }

    pub(super) fn pause(&mut self) -> io::Result<()> {
        self.show.pause()
    }

    /// Shows what is left; what has failed on the way.
    pub(super) fn end(mut self) -> io::Result<()> {
        while let Some((_, spoken)) = self.waiting.pop_front() {
            self.show(spoken);
        }
        let flushed = self.show.end();
        self.failed.map_or(flushed, Err)
    }

    fn statement(&mut self, peers: &Peers, statement: &Statement<'_>, timed: Option<Timed>) {
        self.missed.statement(statement);
        if self.shows_requests || self.is_done() {
            return;
        }
        if self.show.counts() {
            let whole_ns =
                statement.answered.map(|to| to.last.time_ns.saturating_sub(statement.asked.last.time_ns));
            if self.which.takes(whole_ns, matches!(statement.answer.outcome, Outcome::Error(_))) {
                let counted = self.show.counted(peers, statement);
                self.keep(counted);
            }
            return;
        }
        let mut spoken = Spoken::of(*peers, statement);
        match timed {
            Some(Timed::Later(number)) => {
                self.waiting.push_back((number, spoken.keep()));
                if self.waiting.len() > WAITING_MAX
                    && let Some((_, first)) = self.waiting.pop_front()
                {
                    self.show(first);
                }
            }
            Some(Timed::Now(timing)) => {
                spoken.timing = timing;
                self.show(spoken);
            }
            None => self.show(spoken),
        }
    }

    fn timing(&mut self, number: u64, timing: Timing) {
        let place = self.waiting.iter().position(|(waiting, _)| *waiting == number);
        if let Some((_, mut spoken)) = place.and_then(|place| self.waiting.remove(place)) {
            spoken.timing = timing;
            self.show(spoken);
        }
    }

    fn show(&mut self, mut spoken: Spoken<'_>) {
        if self.is_done() || !self.which.takes(spoken.timing.whole_ns, spoken.is_error()) {
            return;
        }
        if self.which.mask {
            spoken.mask();
        }
        let shown = self.show.spoken(&spoken);
        self.keep(shown);
        self.shown += 1;
    }

    fn keep(&mut self, shown: io::Result<()>) {
        self.failed = self.failed.take().or(shown.err());
    }
}

impl Hear for Ear<'_> {
    fn hear(&mut self, peers: &Peers, news: News<'_>) {
        match &news {
            News::Said(Event::Asked(asked), _) => {
                if self.shows_requests && !self.is_done() {
                    let shown = self.show.asked(peers, asked);
                    self.keep(shown);
                    self.shown += 1;
                }
            }
            News::Said(Event::Statement(statement), timed) => self.statement(peers, statement, *timed),
            News::Timing(number, timing) => self.timing(*number, *timing),
            _ => {
                self.missed.heard(peers, &news);
                if !self.shows_requests
                    && let Some(note) = Note::of(peers, &news)
                    && !(self.which.is_choosy() && note.is_ordinary())
                {
                    let shown = self.show.note(&note);
                    self.keep(shown);
                }
            }
        }
    }
}
