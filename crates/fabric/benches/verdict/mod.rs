//! What the measurements share: samples with their median and spread, and the table in which each stands beside
//! a peer or a limit of the same run, with a verdict.
//!
//! Times are in seconds. The spread is the middle half of the samples: on a machine that others use too, the
//! extremes say more about the others than about us.

#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::expect_used, reason = "a bench without a clock ends there")]

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::process::ExitCode;

use nix::time::{ClockId, clock_gettime};

/// The CPU time that this thread has taken, in the kernel for us too.
pub(crate) fn thread_cpu() -> f64 {
    clock(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Time on the wall, from some point on.
pub(crate) fn wall() -> f64 {
    clock(ClockId::CLOCK_MONOTONIC)
}

fn clock(clock: ClockId) -> f64 {
    let time = clock_gettime(clock).expect("every Linux has these clocks");
    std::time::Duration::from(time).as_secs_f64()
}

/// Measured values, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, sample: f64) {
        let place = self.0.partition_point(|other| *other < sample);
        self.0.insert(place, sample);
    }

    pub(crate) fn join(&mut self, others: Self) {
        others.0.into_iter().for_each(|sample| self.add(sample));
    }

    pub(crate) fn median(&self) -> f64 {
        self.at_percent(50)
    }

    pub(crate) fn max(&self) -> f64 {
        self.at_percent(100)
    }

    /// The sample that so many percent of the others do not exceed.
    pub(crate) fn at_percent(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last * percent).div_ceil(100)).copied().unwrap_or(f64::NAN)
    }

    /// Between which two samples the true median lies, with at least 95 % certainty, however they are spread: as
    /// far from the middle as heads may be from half in so many throws (`n / 2 - 1.96 * sqrt(n) / 2`).
    pub(crate) fn interval(&self) -> (f64, f64) {
        let count = self.0.len();
        let below = (50 * count).saturating_sub((98 * 98 * count).isqrt()) / 100;
        let nth = below.saturating_sub(1);
        let sample = |nth: usize| self.0.get(nth).copied().unwrap_or(f64::NAN);
        (sample(nth), sample(count.saturating_sub(1 + nth)))
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }
}

/// How values are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    SecondsPerByte,
    BytesPerSecond,
    Mebibytes,
    Ticks,
    Percent,
}

impl Unit {
    fn text(self, value: f64) -> String {
        match self {
            Self::Seconds if value < 1e-6 => format!("{:.0} ns", value * 1e9),
            Self::Seconds if value < 1e-3 => format!("{:.1} µs", value * 1e6),
            Self::Seconds if value < 1.0 => format!("{:.2} ms", value * 1e3),
            Self::Seconds => format!("{value:.2} s"),
            Self::SecondsPerByte => format!("{:.3} ns/B", value * 1e9),
            Self::BytesPerSecond => format!("{:.1} Mbit/s", value * 8e-6),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::Ticks => format!("{value:.0} ticks"),
            Self::Percent => format!("{value:.2} %"),
        }
    }
}

/// The table of one bench.
#[derive(Debug)]
pub(crate) struct Sheet {
    title: &'static str,
    unit: Unit,
    part: String,
    rows: Vec<[String; 5]>,
    missed: Vec<String>,
}

impl Sheet {
    pub(crate) fn new(title: &'static str) -> Self {
        let head = ["what", "measured (middle half)", "beside", "ratio", "verdict"].map(str::to_owned);
        Self { title, unit: Unit::Seconds, part: String::new(), rows: vec![head], missed: Vec::new() }
    }

    /// The following rows are in this unit.
    pub(crate) fn unit(&mut self, unit: Unit) {
        self.unit = unit;
    }

    /// The following rows are about this.
    pub(crate) fn part(&mut self, title: &str) {
        self.said("");
        self.said(title);
        self.part = format!("{title}: ");
    }

    /// A sentence instead of values.
    pub(crate) fn said(&mut self, text: &str) {
        self.rows.push([text.to_owned(), String::new(), String::new(), String::new(), String::new()]);
    }

    /// A value that is only told.
    pub(crate) fn told(&mut self, what: &str, samples: &Samples) {
        self.row(what, self.measured(samples), String::new(), String::new(), "");
    }

    /// The median must be at most `limit`.
    pub(crate) fn limit(&mut self, what: &str, samples: &Samples, limit: f64) {
        self.limit_of(what, samples, samples.median(), limit, "");
    }

    /// The largest sample must be at most `limit`.
    pub(crate) fn limit_for_all(&mut self, what: &str, samples: &Samples, limit: f64) {
        self.limit_of(what, samples, samples.max(), limit, " for the worst");
    }

    fn limit_of(&mut self, what: &str, samples: &Samples, value: f64, limit: f64, of: &str) {
        let measured = format!("{} worst {}", self.measured(samples), self.unit.text(samples.max()));
        let ratio = value / limit;
        let beside = format!("limit {}{of}", self.unit.text(limit));
        self.row(
            what,
            measured,
            beside,
            format!("{ratio:.2}"),
            if ratio <= 1.0 { "within" } else { "MISSED" },
        );
    }

    /// The median must be at most so many times that of the peer.
    pub(crate) fn at_most(&mut self, what: &str, samples: &Samples, times: f64, peer: (&str, &Samples)) {
        let (ours, theirs) = (samples.median(), peer.1.median());
        let verdict = if ours <= times * theirs { "within" } else { "MISSED" };
        // Two that lose nothing have no ratio.
        let ratio = if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "—".to_owned() };
        self.beside(what, samples, peer, &format!("{ratio} (limit {times})"), verdict);
    }

    /// The peer must take at least so many times as long.
    pub(crate) fn faster(&mut self, what: &str, samples: &Samples, times: f64, peer: (&str, &Samples)) {
        let ratio = peer.1.median() / samples.median();
        let verdict = if ratio >= times { "within" } else { "MISSED" };
        self.beside(what, samples, peer, &format!("{ratio:.2} times faster (limit {times})"), verdict);
    }

    /// A peer without a limit.
    pub(crate) fn compared(&mut self, what: &str, samples: &Samples, peer: (&str, &Samples)) {
        let ratio = samples.median() / peer.1.median();
        self.beside(what, samples, peer, &format!("{ratio:.2}"), "");
    }

    /// A peer that was measured in the same rounds; the ratios are those of each round, and what they are.
    pub(crate) fn in_rounds(
        &mut self,
        what: &str,
        samples: &Samples,
        peer: (&str, &Samples),
        ratios: (&Samples, &str),
    ) {
        self.beside(what, samples, peer, &format!("{} {}", with_interval(ratios.0), ratios.1), "");
    }

    /// The same, and the median of the ratios must be in this range. It misses, or is within, only if its whole
    /// interval says so.
    pub(crate) fn in_rounds_within(
        &mut self,
        what: &str,
        samples: &Samples,
        peer: (&str, &Samples),
        ratios: (&Samples, &str),
        range: RangeInclusive<f64>,
    ) {
        let (low, high) = ratios.0.interval();
        let verdict = match (range.contains(&low), range.contains(&high)) {
            (true, true) => "within",
            (false, false) => "MISSED",
            _ => "open: the limit is in the interval",
        };
        let (from, to) = (range.start(), range.end());
        let limit = if *to == f64::INFINITY { format!("at least {from}") } else { format!("at most {to}") };
        let told = format!("{} {} ({limit})", with_interval(ratios.0), ratios.1);
        self.beside(what, samples, peer, &told, verdict);
    }

    fn beside(&mut self, what: &str, samples: &Samples, peer: (&str, &Samples), ratio: &str, verdict: &str) {
        let beside = format!("{} {}", peer.0, self.measured(peer.1));
        self.row(what, self.measured(samples), beside, ratio.to_owned(), verdict);
    }

    fn measured(&self, samples: &Samples) -> String {
        let text = |percent| self.unit.text(samples.at_percent(percent));
        if samples.0.len() == 1 {
            return text(50);
        }
        format!("{} ({} … {})", text(50), text(25), text(75))
    }

    fn row(&mut self, what: &str, measured: String, beside: String, ratio: String, verdict: &str) {
        if verdict == "MISSED" {
            self.missed.push(format!("{}{what}: {measured}, {beside}, ratio {ratio}", self.part));
        }
        self.rows.push([what.to_owned(), measured, beside, ratio, verdict.to_owned()]);
    }

    /// Prints the table; fails if a limit was missed.
    #[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what a bench is for")]
    pub(crate) fn finish(&self) -> ExitCode {
        println!("\n{}\n{}", self.title, self.text());
        for missed in &self.missed {
            eprintln!("MISSED {missed}");
        }
        if self.missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn text(&self) -> String {
        // A sentence stands alone in its line, so it makes no column wide.
        let of_values = || self.rows.iter().filter(|row| row[1..].iter().any(|cell| !cell.is_empty()));
        let widest = |nth: usize| of_values().map(|row| row[nth].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(widest);
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            text += &format!("  {}\n", line.trim_end());
        }
        text
    }
}

fn with_interval(ratios: &Samples) -> String {
    let (low, high) = ratios.interval();
    format!("{:.3} ({low:.3} … {high:.3})", ratios.median())
}
