//! Why etcd gave no answer, in words that tell what to do about it.

use std::error::Error;
use std::io;
use std::time::Duration;

use super::options::{BadOptions, Endpoint};
use super::refusal::Refusal;
use super::tls::FileError;
use crate::error::chain;

/// Why there is no answer. Only after [`EtcdError::may_be_done`] is it open whether something was changed.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// Nobody was asked.
    #[error("ask etcd")]
    Options(#[source] BadOptions),
    /// No endpoint could be asked, and nothing was changed.
    #[error("{what} at etcd: no endpoint answers: {}", list(tries))]
    Unreachable {
        /// What was to be done.
        what: String,
        /// Each endpoint that was tried, and what came of it.
        tries: Vec<(Endpoint, Miss)>,
    },
    /// Etcd said no, and nothing was changed.
    #[error("{what} at {endpoint}: etcd refuses: {words}")]
    Refused {
        /// What was to be done.
        what: String,
        /// Who was asked.
        endpoint: Endpoint,
        /// The sort of no.
        refusal: Refusal,
        /// Etcd's words.
        words: String,
    },
    /// It was asked, but whether it was done is not known.
    #[error("{what} at {endpoint}: whether it was done is not known")]
    Unanswered {
        /// What was to be done.
        what: String,
        /// Who was asked.
        endpoint: Endpoint,
        /// Why there is no answer.
        #[source]
        cause: Miss,
    },
    /// A stream that has come about is at its end.
    #[error("{what} at {endpoint} broke off")]
    Ended {
        /// What was going on.
        what: String,
        /// With whom.
        endpoint: Endpoint,
        /// Why.
        #[source]
        cause: Miss,
    },
    /// The answer was none that etcd gives.
    #[error("{what} at {endpoint}: the answer makes no sense: {why}")]
    Nonsense {
        /// What was to be done.
        what: String,
        /// Who was asked.
        endpoint: Endpoint,
        /// What is wrong with it.
        why: &'static str,
    },
    /// More than we ask for or take.
    #[error("{what}: more than {limit}")]
    TooMuch {
        /// What was to be done.
        what: String,
        /// The limit.
        limit: String,
    },
}

/// What came of trying one endpoint.
#[derive(Debug, thiserror::Error)]
pub enum Miss {
    /// No connection, or no address of that name.
    #[error("connect")]
    Connect(#[source] io::Error),
    /// The files of TLS.
    #[error("use the files of TLS")]
    Files(#[source] FileError),
    /// TLS did not come about.
    #[error("agree on TLS")]
    Tls(#[source] io::Error),
    /// It took too long.
    #[error("no {what} within {:.1} s", after.as_secs_f32())]
    Late {
        /// What was missing.
        what: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// The conversation broke off, or made no sense.
    #[error("the conversation broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// Etcd said no.
    #[error("etcd says: {words}")]
    Refused {
        /// The sort of no.
        refusal: Refusal,
        /// Etcd's words.
        words: String,
    },
    /// It is etcd, but another one than before.
    #[error("this is another etcd cluster ({there:x}) than before ({before:x})")]
    OtherCluster {
        /// The number of the cluster there.
        there: u64,
        /// The number of the cluster that answered first.
        before: u64,
    },
}

impl EtcdError {
    /// Whether what was asked for may have been done all the same.
    #[must_use]
    pub fn may_be_done(&self) -> bool {
        matches!(self, Self::Unanswered { .. } | Self::Nonsense { .. })
    }

    /// The sort of no, if etcd has said no.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Unanswered { cause, .. } | Self::Ended { cause, .. } => cause.refusal(),
            Self::Unreachable { tries, .. } => tries.iter().find_map(|(_, miss)| miss.refusal()),
            _ => None,
        }
    }

    /// What to do about it, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { refusal, .. } => refusal.hint().map(str::to_owned),
            Self::Unanswered { cause, .. } | Self::Ended { cause, .. } => cause.hint(),
            // What somebody said tells more than silence.
            Self::Unreachable { tries, .. } => {
                let hint_of = |(_, miss): &(Endpoint, Miss)| miss.hint();
                tries.iter().find_map(hint_of).or_else(|| {
                    Some("does etcd run there, and does a firewall let this host reach it?".to_owned())
                })
            }
            Self::Options(_) | Self::Nonsense { .. } | Self::TooMuch { .. } => None,
        }
    }
}

impl Miss {
    fn refusal(&self) -> Option<Refusal> {
        if let Self::Refused { refusal, .. } = self { Some(*refusal) } else { None }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { refusal, .. } => refusal.hint().map(str::to_owned),
            Self::Tls(cause) => Some(super::tls::hint(cause).to_owned()),
            Self::Files(error) => Some(error.hint()),
            Self::OtherCluster { .. } => Some(
                "the endpoints must be members of one cluster; after etcd was restored, the agent must start anew"
                    .to_owned(),
            ),
            Self::Broken(_) => Some(
                "is that the address for clients of an etcd of version 3.4 or later, with TLS as the endpoint says?"
                    .to_owned(),
            ),
            Self::Connect(_) | Self::Late { .. } => None,
        }
    }
}

impl Refusal {
    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Login => "the user or the password is wrong",
            Self::NoUser => "this etcd has users: say a user and a password",
            Self::Permission => {
                "give the user's role the prefix: etcdctl role grant-permission ROLE --prefix=true readwrite PREFIX"
            }
            Self::Full => {
                "etcd is full: compact it, defragment it, then `etcdctl alarm disarm`; or raise --quota-backend-bytes"
            }
            Self::NoLeader => "more than half of etcd's members must run and reach each other",
            Self::Corrupt => "etcd's members disagree: see etcd's own documentation on data corruption",
            Self::Compacted => "list anew, and watch from there",
            Self::NoSuchLease | Self::TooLarge | Self::Other => return None,
        })
    }
}

fn list(tries: &[(Endpoint, Miss)]) -> String {
    let words: Vec<String> =
        tries.iter().map(|(endpoint, miss)| format!("{endpoint}: {}", chain(miss))).collect();
    words.join("; ")
}
