//! From the rounds to the table: each way beside bare, and Byway beside what is made by hand.

use crate::processor::Core;
use crate::traffic::{Cost, Kind, Per};
use crate::verdict::{Samples, Sheet, Unit};
use crate::way::Way;
use crate::ways::{BARE, BY_HAND, BYWAY};

/// What Byway may cost of what the same costs when it is made by hand.
const BY_HAND_TIMES: f64 = 1.03;
/// What of the bare goodput must be left where the wire is the limit.
const GOODPUT_SHARE: f64 = 0.99;

/// What was measured of one kind: for each way, one cost for each round.
#[derive(Debug)]
pub(crate) struct Rounds(Vec<Vec<Cost>>);

impl Rounds {
    pub(crate) fn new(ways: usize) -> Self {
        Self(vec![Vec::new(); ways])
    }

    pub(crate) fn add(&mut self, way: usize, cost: Cost) {
        self.0[way].push(cost);
    }
}

/// The table that is printed.
#[derive(Debug)]
pub(crate) struct Tables {
    sheet: Sheet,
    names: Vec<&'static str>,
}

/// Something that a cost tells.
type Of = fn(&Cost) -> f64;

impl Tables {
    pub(crate) fn new(ways: &[Way], core: &Core) -> Self {
        let mut sheet = Sheet::new("What the ways between containers on two hosts cost");
        if !core.counts_softirqd() {
            sheet.said("ksoftirqd is not to be seen here: what the kernel puts off is not counted");
        }
        Self { sheet, names: ways.iter().map(|way| way.name).collect() }
    }

    /// CPU time and latency of one kind.
    pub(crate) fn costs(&mut self, kind: &Kind, rounds: &Rounds) {
        self.sheet.part(&format!("{}: CPU time", kind.title));
        self.sheet.unit(match kind.per {
            Per::Operation => Unit::Seconds,
            Per::Byte => Unit::SecondsPerByte,
        });
        let cpu: Of = |cost| cost.cpu;
        self.beside_bare(rounds, cpu, |bare, way| bare / way, "as cheap");
        self.byway_beside_others(rounds, cpu);
        if kind.per == Per::Operation {
            let latencies: [(&str, Of); 2] = [("p50", |cost| cost.p50), ("p99", |cost| cost.p99)];
            for (name, latency) in latencies {
                self.sheet.part(&format!("{}: latency, {name}", kind.title));
                self.beside_bare(rounds, latency, |bare, way| way / bare, "times as long");
            }
        }
    }

    /// Bytes in a second on a wire that is the limit.
    pub(crate) fn goodput(&mut self, kind: &Kind, rounds: &Rounds) {
        self.sheet.part(&format!("{}: goodput", kind.title));
        self.sheet.unit(Unit::BytesPerSecond);
        let rate: Of = |cost| cost.rate;
        self.beside_bare(rounds, rate, |bare, way| way / bare, "of it");
        let (byway, bare) = (self.of(BYWAY, rounds, rate), self.of(BARE, rounds, rate));
        let share = ratios(&byway, &bare);
        self.sheet.in_rounds_within(
            BYWAY,
            &byway.into_iter().collect(),
            (BARE, &bare.into_iter().collect()),
            (&share, "of it"),
            GOODPUT_SHARE..=f64::INFINITY,
        );
    }

    /// What could not be measured here, and why.
    pub(crate) fn missing(&mut self, kind: &Kind, why: &anyhow::Error) {
        self.sheet.part(&format!("{}: not measured: {why:#}", kind.title));
    }

    pub(crate) fn finish(&self) -> std::process::ExitCode {
        self.sheet.finish()
    }

    /// Only by hand is a limit; the others do something else.
    fn byway_beside_others(&mut self, rounds: &Rounds, cpu: Of) {
        let byway = self.of(BYWAY, rounds, cpu);
        let samples = byway.iter().copied().collect();
        for name in self.names.clone().into_iter().filter(|name| ![BARE, BYWAY].contains(name)) {
            let other = self.of(name, rounds, cpu);
            let times = ratios(&byway, &other);
            let (peer, times) = ((name, &other.into_iter().collect()), (&times, "times the cost"));
            if name == BY_HAND {
                self.sheet.in_rounds_within(BYWAY, &samples, peer, times, 0.0..=BY_HAND_TIMES);
            } else {
                self.sheet.in_rounds(BYWAY, &samples, peer, times);
            }
        }
    }

    fn beside_bare(&mut self, rounds: &Rounds, of: Of, ratio: fn(f64, f64) -> f64, words: &str) {
        let bare = self.of(BARE, rounds, of);
        for name in self.names.clone() {
            let way = self.of(name, rounds, of);
            let ratios = bare.iter().zip(&way).map(|(bare, way)| ratio(*bare, *way)).collect();
            let (samples, bare) = (way.into_iter().collect(), bare.iter().copied().collect());
            if name == BARE {
                self.sheet.told(name, &samples);
            } else {
                self.sheet.in_rounds(name, &samples, (BARE, &bare), (&ratios, words));
            }
        }
    }

    /// One number of one way, round by round.
    fn of(&self, name: &str, rounds: &Rounds, of: Of) -> Vec<f64> {
        let way = self.names.iter().position(|one| *one == name);
        way.map_or(Vec::new(), |way| rounds.0[way].iter().map(of).collect())
    }
}

fn ratios(ours: &[f64], theirs: &[f64]) -> Samples {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}
