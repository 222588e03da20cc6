//! Our accepts in chains that others write too: which they are, where they must stand, and what to do so that
//! they do.
//!
//! The accepts ask for our mark and nothing else. The mark is set in our own table, for packets from peers'
//! subnets, in by an uplink, to opted-in networks (and the other way), before Docker looks at them. So two
//! rules per family serve any number of hosts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::contract::{Accepts, MARK};

/// The comment by which a rule of ours is known.
pub const COMMENT: &str = "byway";

/// One of the chains in which a rule of ours stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// `DOCKER-USER` of table filter: Docker asks it first and leaves its content to the admin.
    DockerUser,
    /// `PREROUTING` of table raw: since 28.0 Docker drops there.
    Raw,
}

impl Place {
    /// The table and the chain.
    #[must_use]
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::DockerUser => ("filter", "DOCKER-USER"),
            Self::Raw => ("raw", "PREROUTING"),
        }
    }

    /// Whether a rule ends what comes after it for packets of ours: ours must stand before the first such.
    ///
    /// In `DOCKER-USER` that is a `RETURN` for everything, with which Docker to 28.1 ends the chain; the admin's own
    /// rules stay in force before ours. In raw it is any of Docker's drops, which it only appends.
    fn ends_our_packets(self, rule: &str) -> bool {
        match self {
            Self::DockerUser => matches!(rule, "-j RETURN" | "-j DROP" | "-j ACCEPT" | "-j REJECT"),
            Self::Raw => rule.starts_with("-d ") && rule.contains(" ! -i ") && rule.ends_with(" -j DROP"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, chain) = self.names();
        write!(f, "{table} {chain}")
    }
}

/// Our accept, as `iptables-save` prints it, without the `-A CHAIN`.
#[must_use]
pub fn accept() -> String {
    format!("-m mark --mark {MARK:#x}/{MARK:#x} -m comment --comment {COMMENT} -j ACCEPT")
}

/// The places that an engine's contract asks for.
#[must_use]
pub fn places(accepts: Accepts) -> &'static [Place] {
    if accepts.raw { &[Place::DockerUser, Place::Raw] } else { &[Place::DockerUser] }
}

/// What to do with one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// Rules to delete, as they are written, ours all.
    pub delete: Vec<String>,
    /// Where to insert our accept after that, from 1, and why; none if it stands right.
    pub insert: Option<(usize, &'static str)>,
}

/// Compares a chain, rule by rule as `iptables-save` prints it, with how it should be: our accept in it once, before
/// everything that would keep packets from it; or not at all, if it is not `wanted`.
#[must_use]
pub fn mend(place: Place, chain: &[String], wanted: bool) -> Mend {
    let accept = accept();
    let is_ours = |rule: &&String| rule.contains(&format!("--comment {COMMENT} "));
    let others: Vec<&String> = chain.iter().filter(|rule| !is_ours(rule)).collect();
    let end = others.iter().position(|rule| place.ends_our_packets(rule)).unwrap_or(others.len());
    let ours: Vec<usize> =
        chain.iter().enumerate().filter(|(_, rule)| is_ours(rule)).map(|(at, _)| at).collect();
    let stands_right = match ours[..] {
        [at] => chain[at] == accept && at <= end,
        _ => false,
    };
    if wanted && stands_right {
        return Mend { delete: Vec::new(), insert: None };
    }
    let why = match ours[..] {
        [] => "it is missing",
        [at] if chain[at] == accept => "it stands behind a rule that ends its packets",
        _ => "another of ours stands there",
    };
    Mend { delete: chain.iter().filter(is_ours).cloned().collect(), insert: wanted.then_some((end + 1, why)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `OURS` stands for our accept.
    fn told(place: Place, chain: &str, wanted: bool) -> String {
        let rules: Vec<String> = chain.lines().map(|line| line.trim().replace("OURS", &accept())).collect();
        let mend = mend(place, &rules, wanted);
        let insert = mend.insert.map_or_else(|| "-".to_owned(), |(at, why)| format!("at {at}: {why}"));
        format!("delete {}, insert {insert}", mend.delete.len())
    }

    #[test]
    fn an_empty_chain_gets_it() {
        assert_eq!(told(Place::DockerUser, "", true), "delete 0, insert at 1: it is missing");
    }

    #[test]
    fn the_admins_rules_stay_before_it_and_dockers_return_behind_it() {
        let chain = "-s 172.42.9.9/32 -j DROP
                     -j RETURN";
        assert_eq!(told(Place::DockerUser, chain, true), "delete 0, insert at 2: it is missing");
        let chain = "-s 172.42.9.9/32 -j DROP
                     OURS
                     -j RETURN";
        assert_eq!(told(Place::DockerUser, chain, true), "delete 0, insert -");
    }

    #[test]
    fn existence_is_not_enough() {
        let chain = "-j RETURN
                     OURS";
        let expected = "delete 1, insert at 1: it stands behind a rule that ends its packets";
        assert_eq!(told(Place::DockerUser, chain, true), expected);
        let chain = "-d 172.41.0.2/32 ! -i docker0 -j DROP
                     OURS";
        assert_eq!(told(Place::Raw, chain, true), expected);
    }

    #[test]
    fn in_raw_it_stands_before_dockers_first_drop_and_behind_the_admins_rules() {
        let chain = "-i eth7 -j NOTRACK
                     -d 172.41.0.2/32 ! -i docker0 -j DROP";
        assert_eq!(told(Place::Raw, chain, true), "delete 0, insert at 2: it is missing");
        let chain = "-d 172.41.0.2/32 ! -i docker0 -p tcp -m tcp --dport 80 -j DROP";
        assert_eq!(told(Place::Raw, chain, true), "delete 0, insert at 1: it is missing");
    }

    #[test]
    fn there_is_one_of_it() {
        let chain = "OURS
                     OURS";
        assert_eq!(told(Place::Raw, chain, true), "delete 2, insert at 1: another of ours stands there");
        let chain = "-m comment --comment byway -j DROP";
        assert_eq!(told(Place::Raw, chain, true), "delete 1, insert at 1: another of ours stands there");
    }

    #[test]
    fn where_it_is_not_wanted_it_goes() {
        assert_eq!(told(Place::Raw, "OURS", false), "delete 1, insert -");
        assert_eq!(told(Place::Raw, "-i eth7 -j NOTRACK", false), "delete 0, insert -");
    }
}
