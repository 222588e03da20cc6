//! What iptables-legacy counted between two looks: the kernel traces these rules to nobody, but it counts for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Owner, owner};

/// Rules and policies that are kept of one look. Larger rule sets than this are not written by hand or by Docker.
pub const COUNTERS_MAX: usize = 200_000;

/// A rule or policy of one table, as `iptables-legacy-save` prints it; the third is which of several equal ones.
pub type Counter = (String, String, usize);

/// A rule or a policy that ends packets, and how many it ended between two looks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CounterChange {
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule as `iptables-save` prints it; for a policy `-P FORWARD DROP`, as people set it.
    pub rule: String,
    /// Packets, of anybody: whose they were is not told.
    pub packets: u64,
    /// Whose the rule is.
    pub owner: Owner,
}

/// Reads the output of `iptables-legacy-save -c`: packets by rule and policy, of those that end packets.
#[must_use]
pub fn counters(text: &str) -> BTreeMap<Counter, u64> {
    let mut found: BTreeMap<Counter, u64> = BTreeMap::new();
    let mut equal: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut table = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if let Some((rule, packets)) = rule(line).or_else(|| policy(line))
            && found.len() < COUNTERS_MAX
        {
            let nth = equal.entry((table.to_owned(), rule.clone())).or_default();
            found.insert((table.to_owned(), rule, *nth), packets);
            *nth += 1;
        }
    }
    found
}

/// What grew between two looks. A rule that is new has counted from 0.
#[must_use]
pub fn changes(before: &BTreeMap<Counter, u64>, after: &BTreeMap<Counter, u64>) -> Vec<CounterChange> {
    let change = |(counter, packets): (&Counter, &u64)| {
        let grown = packets.checked_sub(before.get(counter).copied().unwrap_or(0))?;
        let (table, rule, _) = counter;
        let chain = rule.split(' ').nth(1)?;
        let owner = owner(table, chain, rule.starts_with("-A ").then_some(rule));
        let (table, chain) = (table.clone(), chain.to_owned());
        (grown > 0).then(|| CounterChange { table, chain, rule: rule.clone(), packets: grown, owner })
    };
    after.iter().filter_map(change).collect()
}

/// `[12:1008] -A FORWARD -s 10.0.0.1/32 -j DROP`.
fn rule(line: &str) -> Option<(String, u64)> {
    let (counts, rule) = line.strip_prefix('[')?.split_once("] ")?;
    let mut words = rule.split(' ').skip_while(|word| *word != "-j").skip(1);
    let ends = matches!(words.next()?, "DROP" | "REJECT");
    (ends && rule.starts_with("-A ")).then_some((rule.to_owned(), packets(counts)?))
}

/// `:FORWARD DROP [12:1008]`.
fn policy(line: &str) -> Option<(String, u64)> {
    let (chain, rest) = line.strip_prefix(':')?.split_once(" DROP [")?;
    Some((format!("-P {chain} DROP"), packets(rest.strip_suffix(']')?)?))
}

fn packets(counts: &str) -> Option<u64> {
    counts.split(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# Generated\n*filter\n:INPUT ACCEPT [9:900]\n:FORWARD DROP [3:252]\n:DOCKER - [0:0]\n\
        [1:84] -A FORWARD -s 10.0.0.1/32 -j DROP\n[1:84] -A FORWARD -s 10.0.0.1/32 -j DROP\n\
        [4:336] -A FORWARD -j DOCKER\n[0:0] -A DOCKER ! -i docker0 -o docker0 -j DROP\nCOMMIT\n";

    #[test]
    fn rules_and_policies_that_ended_packets_between_two_looks_are_told() {
        let after = BEFORE
            .replace("FORWARD DROP [3:", "FORWARD DROP [5:")
            .replacen("[1:84]", "[2:168]", 1)
            .replace("[4:336]", "[7:588]")
            .replace("[0:0] -A DOCKER", "[1:84] -A DOCKER");
        let found = changes(&counters(BEFORE), &counters(&after));
        let told: Vec<String> = found
            .iter()
            .map(|change| format!("{} {} {}: {}", change.packets, change.table, change.rule, change.owner))
            .collect();
        assert_eq!(
            told,
            [
                "1 filter -A DOCKER ! -i docker0 -o docker0 -j DROP: Docker",
                "1 filter -A FORWARD -s 10.0.0.1/32 -j DROP: an admin's",
                "2 filter -P FORWARD DROP: somebody's",
            ]
        );
    }

    #[test]
    fn a_rule_that_was_put_anew_counts_from_nothing_and_one_that_was_zeroed_is_not_told() {
        let one = "*filter\n[3:252] -A FORWARD -j DROP\n";
        assert_eq!(changes(&counters(""), &counters(one))[0].packets, 3);
        assert_eq!(changes(&counters(one), &counters("*filter\n[0:0] -A FORWARD -j DROP\n")), []);
    }
}
