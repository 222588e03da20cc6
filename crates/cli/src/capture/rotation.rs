//! When a file of a ring is done, how the next one is called, and which one goes for it. Decides only; `pcapng.rs`
//! has the files.
//!
//! Names and rules are dumpcap's (`-b`): `NAME_00001_20261122031500.pcapng`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most files that are kept, as we remember the name of each: ten times what dumpcap takes.
pub(crate) const FILES_MAX: u32 = 100_000;
/// What a packet's block needs beside its bytes, with its flags and padding.
const BLOCK_BYTES: u64 = 44;

/// When a file is done, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rule {
    /// No file is larger, unless a single packet is.
    pub(crate) bytes: Option<u64>,
    /// No file holds packets of a longer time.
    pub(crate) time: Option<Duration>,
    /// So many are kept; all without.
    pub(crate) files: Option<u32>,
}

/// A file as far as it is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Filled {
    pub(crate) bytes: u64,
    /// When its first packet was seen.
    pub(crate) first_ns: Option<u64>,
}

impl Rule {
    /// Whether it asks for more than one file.
    pub(crate) fn is_some(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a packet belongs into the next file. A file has at least one packet.
    pub(crate) fn is_full(&self, filled: Filled, packet_bytes: usize, time_ns: Option<u64>) -> bool {
        let after = filled.bytes.saturating_add(packet_bytes as u64).saturating_add(BLOCK_BYTES);
        let is_too_large = self.bytes.is_some_and(|most| after > most);
        filled.first_ns.is_some() && is_too_large || time_ns.is_some_and(|now| self.is_over(filled, now))
    }

    /// Whether its time is over.
    pub(crate) fn is_over(&self, filled: Filled, now_ns: u64) -> bool {
        let held = filled.first_ns.map(|first| Duration::from_nanos(now_ns.saturating_sub(first)));
        held.zip(self.time).is_some_and(|(held, most)| held >= most)
    }
}

/// The files of a ring, by name.
#[derive(Debug)]
pub(crate) struct Names {
    base: PathBuf,
    keep: Option<u32>,
    number: u64,
    kept: VecDeque<PathBuf>,
}

impl Names {
    pub(crate) fn new(base: &Path, rule: Rule) -> Self {
        Self { base: base.to_owned(), keep: rule.files, number: 0, kept: VecDeque::new() }
    }

    /// The name of the next file, which is opened at `time` (`20261122031500`).
    pub(crate) fn next(&mut self, time: &str) -> PathBuf {
        self.number += 1;
        let stem = self.base.file_stem().unwrap_or_default().to_string_lossy();
        let end = self.base.extension().map(|end| format!(".{}", end.to_string_lossy()));
        let name = format!("{stem}_{:05}_{time}{}", self.number, end.unwrap_or_default());
        self.base.with_file_name(name)
    }

    /// Remembers a file that was opened; says which one is to go for it.
    pub(crate) fn opened(&mut self, name: PathBuf) -> Option<PathBuf> {
        let keep = usize::try_from(self.keep?).unwrap_or(usize::MAX);
        self.kept.push_back(name);
        if self.kept.len() > keep { self.kept.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    /// Packets (second, bytes) go into files by a rule; which packets share a file.
    fn check(rule: Rule, packets: &str, expected: &str) {
        let mut filled = Filled::default();
        let mut files: Vec<Vec<&str>> = vec![Vec::new()];
        for packet in packets.split_whitespace() {
            let (second, bytes) = packet.split_once(':').unwrap();
            let time_ns = second.parse::<u64>().unwrap() * 1_000_000_000;
            let bytes: usize = bytes.parse().unwrap();
            if rule.is_full(filled, bytes, Some(time_ns)) {
                filled = Filled::default();
                files.push(Vec::new());
            }
            filled.bytes += bytes as u64 + BLOCK_BYTES;
            filled.first_ns.get_or_insert(time_ns);
            files.last_mut().unwrap().push(packet);
        }
        let files: Vec<String> = files.iter().map(|file| file.join(" ")).collect();
        assert_eq!(files.join(" | "), expected);
    }

    #[test]
    fn a_file_is_done_before_it_is_too_large() {
        let rule = Rule { bytes: Some(1000), ..Rule::default() };
        check(rule, "0:456 0:456 0:456 0:10", "0:456 0:456 | 0:456 0:10");
        check(rule, "0:457 0:456", "0:457 | 0:456");
    }

    #[test]
    fn a_packet_that_is_too_large_has_a_file_of_its_own() {
        let rule = Rule { bytes: Some(1000), ..Rule::default() };
        check(rule, "0:9000 0:9000 0:10", "0:9000 | 0:9000 | 0:10");
    }

    #[test]
    fn a_file_is_done_when_its_first_packet_is_old_enough() {
        let rule = Rule { time: Some(Duration::from_mins(1)), ..Rule::default() };
        check(rule, "5:10 64:10 65:10 400:10", "5:10 64:10 | 65:10 | 400:10");
        // A clock that is put back is no reason.
        check(rule, "500:10 5:10", "500:10 5:10");
    }

    #[test]
    fn whatever_comes_first_ends_it() {
        let rule = Rule { time: Some(Duration::from_secs(2)), bytes: Some(200), files: None };
        check(rule, "0:10 1:10 2:10 2:103 2:103", "0:10 1:10 | 2:10 | 2:103 | 2:103");
    }

    #[test]
    fn names_are_dumpcaps_and_the_oldest_goes() {
        let mut names = Names::new(Path::new("/cap/db.2.pcapng"), Rule { files: Some(2), ..Rule::default() });
        let first = names.next("20261122031500");
        assert_eq!(first, Path::new("/cap/db.2_00001_20261122031500.pcapng"));
        assert_eq!(names.opened(first.clone()), None);
        let second = names.next("20261122031501");
        assert_eq!(names.opened(second), None);
        let third = names.next("20261122031502");
        assert_eq!(third, Path::new("/cap/db.2_00003_20261122031502.pcapng"));
        assert_eq!(names.opened(third), Some(first));
        let mut all = Names::new(Path::new("x"), Rule::default());
        let only = all.next("20261122031500");
        assert_eq!((only.as_path(), all.opened(only.clone())), (Path::new("x_00001_20261122031500"), None));
    }
}
