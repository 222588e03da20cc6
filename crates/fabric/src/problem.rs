//! What Byway cannot or will not do, in words that tell what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cluster::HostName;

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What sort of problem it is.
    pub kind: ProblemKind,
    /// The host it is about, if it is about one.
    pub host: Option<HostName>,
    /// The problem in one sentence.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The sorts of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A foreign route to one of our prefixes; it is left alone.
    Conflict,
    /// A subnet that would cut this host off; it is not routed.
    Refused,
    /// A host that is no neighbour on any link.
    NotDirect,
    /// A host that answered before and does not any more; its routes refuse packets.
    Gone,
    /// Something that must come first, from outside.
    Waits,
    /// Other hosts cannot ask this one.
    Peers,
    /// Nobody can read the metrics where they should be.
    Metrics,
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::NotDirect => "not direct",
            Self::Gone => "gone",
            Self::Waits => "waits",
            Self::Peers => "peers",
            Self::Metrics => "metrics",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.what)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}
