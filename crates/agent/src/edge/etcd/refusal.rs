//! What etcd says when it says no. Its words are the same since 3.0 (`rpctypes/error.go`), the codes beside them are not
//! as telling.

use tonic::{Code, Status};

use super::error::Miss;

/// The sorts of noes that somebody can do something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The user or the password is wrong.
    Login,
    /// It wants a user, and we said none.
    NoUser,
    /// The user may not do this.
    Permission,
    /// The store is full, and takes nothing before somebody made room.
    Full,
    /// The member belongs to no majority.
    NoLeader,
    /// The revision is not kept any more.
    Compacted,
    /// The lease has lapsed, or never was.
    NoSuchLease,
    /// The request is larger than etcd takes.
    TooLarge,
    /// The members disagree on what is stored.
    Corrupt,
    /// Something else; etcd's words tell.
    Other,
}

/// Beginnings of etcd's words, and what they mean.
const WORDS: [(&str, Refusal); 14] = [
    ("etcdserver: authentication failed", Refusal::Login),
    ("etcdserver: user name is empty", Refusal::NoUser),
    ("etcdserver: user name not found", Refusal::NoUser),
    ("etcdserver: invalid auth token", Refusal::NoUser),
    ("etcdserver: revision of auth store is old", Refusal::NoUser),
    ("etcdserver: permission denied", Refusal::Permission),
    ("etcdserver: mvcc: database space exceeded", Refusal::Full),
    ("etcdserver: no leader", Refusal::NoLeader),
    ("etcdserver: mvcc: required revision has been compacted", Refusal::Compacted),
    ("etcdserver: requested lease not found", Refusal::NoSuchLease),
    ("etcdserver: request is too large", Refusal::TooLarge),
    ("etcdserver: too many operations in txn request", Refusal::TooLarge),
    ("etcdserver: corrupt cluster", Refusal::Corrupt),
    ("etcdserver: ", Refusal::Other),
];

/// What a failed call means.
#[derive(Debug)]
pub(super) enum No {
    /// Etcd has said no, and nothing was done.
    Refused(Refusal, String),
    /// The login does not count any more; nothing was done, and with a new one it may be.
    LoginLapsed(String),
    /// There is no telling what was done.
    Trouble(Miss),
}

/// Sorts a failed call.
pub(super) fn understand(status: &Status) -> No {
    let words = super::printable(status.message().as_bytes());
    match sort(status.message()) {
        Some(Refusal::NoUser) => No::LoginLapsed(words),
        // These may be said after the request was handed on.
        Some(refusal @ (Refusal::NoLeader | Refusal::Corrupt)) => {
            No::Trouble(Miss::Refused { refusal, words })
        }
        Some(Refusal::Other) if !is_final(status.code()) => {
            No::Trouble(Miss::Refused { refusal: Refusal::Other, words })
        }
        Some(refusal) => No::Refused(refusal, words),
        None => No::Trouble(Miss::Broken(what_broke(status).into())),
    }
}

fn sort(words: &str) -> Option<Refusal> {
    WORDS.iter().find(|(beginning, _)| words.starts_with(beginning)).map(|(_, refusal)| *refusal)
}

/// Whether etcd says this only of what it has not done. A timeout is `Unavailable`.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::ResourceExhausted
    )
}

/// Not etcd's words: those of HTTP/2, TLS or the kernel, innermost last.
fn what_broke(status: &Status) -> String {
    let mut parts = vec![super::printable(status.message().as_bytes())];
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let text = super::printable(error.to_string().as_bytes());
        if !parts.contains(&text) {
            parts.push(text);
        }
        cause = error.source();
    }
    parts.retain(|part| !part.is_empty());
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_leaves_open_what_was_done_and_a_refusal_does_not() {
        let timeout =
            Status::unavailable("etcdserver: request timed out, possibly due to previous leader failure");
        assert!(matches!(understand(&timeout), No::Trouble(Miss::Refused { refusal: Refusal::Other, .. })));
        let leader = Status::unavailable("etcdserver: no leader");
        assert!(matches!(understand(&leader), No::Trouble(Miss::Refused { refusal: Refusal::NoLeader, .. })));
        let full = Status::resource_exhausted("etcdserver: mvcc: database space exceeded");
        assert!(matches!(understand(&full), No::Refused(Refusal::Full, _)));
        let twice = Status::invalid_argument("etcdserver: duplicate key given in txn request");
        assert!(matches!(understand(&twice), No::Refused(Refusal::Other, _)));
        let token = Status::unauthenticated("etcdserver: invalid auth token");
        assert!(matches!(understand(&token), No::LoginLapsed(_)));
        assert!(matches!(understand(&Status::internal("h2 protocol error")), No::Trouble(Miss::Broken(_))));
    }
}
