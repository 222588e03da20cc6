//! Asks iptables-legacy what its rules have counted: the kernel traces them to nobody.
//!
//! Two looks, before and after, tell which rule or policy ended packets in between; whose packets is not told.

use std::collections::BTreeMap;

use byway_fabric::evidence::{self, Counter, CounterChange};

use super::program::{ProgramError, blocking};

/// List the tables of iptables-legacy that were ever used; asking the program itself would make them.
const LEGACY_TABLES: [(&str, &str); 2] = [
    ("/proc/thread-self/net/ip_tables_names", "iptables-legacy-save"),
    ("/proc/thread-self/net/ip6_tables_names", "ip6tables-legacy-save"),
];

/// What the rules of iptables-legacy had counted at one moment, by family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LegacyCounters([BTreeMap<Counter, u64>; 2]);

impl LegacyCounters {
    /// Looks, in the network namespace of this thread. A namespace without tables of iptables-legacy has none, and that
    /// is no error.
    ///
    /// # Errors
    /// When there are tables, but the program cannot be run.
    pub fn look() -> Result<Self, ProgramError> {
        let mut found = Self::default();
        for ((tables, program), counters) in LEGACY_TABLES.iter().zip(&mut found.0) {
            // A kernel without them has no such file.
            if std::fs::read_to_string(tables).is_ok_and(|names| !names.trim().is_empty()) {
                let text = blocking::run(program, &["-c"], "list the counters")?;
                *counters = evidence::counters(&String::from_utf8_lossy(&text));
            }
        }
        Ok(found)
    }

    /// Looks again and tells what ended packets since.
    ///
    /// # Errors
    /// As [`LegacyCounters::look`].
    pub fn changes(&self) -> Result<Vec<CounterChange>, ProgramError> {
        let now = Self::look()?;
        Ok(self.0.iter().zip(&now.0).flat_map(|(before, after)| evidence::changes(before, after)).collect())
    }
}
