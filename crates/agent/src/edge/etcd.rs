//! Asks etcd (3.4 and later): keys, transactions, leases, watches. The only place that knows gRPC.
//!
//! ```text
//! Etcd ── ask (ask.rs): one endpoint after the other, each once, within CALL_TIME
//!   └── Line (line.rs): TCP, TLS (tls.rs), HTTP/2, login; made anew when the last one broke
//! ```
//!
//! Nothing is tried again without bound: who asks looks at the whole when something went wrong. That is what a store is
//! for, on top of this: list, watch from the revision of the list, list again when the watch is at its end.

mod ask;
mod error;
mod keys;
mod lease;
mod line;
mod options;
mod refusal;
mod tls;
mod transaction;
mod watch;
#[allow(missing_docs, unreachable_pub, unused_qualifications, dead_code, clippy::all, clippy::pedantic)]
mod words;

use std::num::NonZeroI64;
use std::sync::Arc;

pub use error::{EtcdError, Miss};
pub use keys::{Entry, LIST_BYTES_MAX, LIST_ENTRIES_MAX, Listing};
pub use lease::{KeepAlive, Lease, Remaining};
pub use options::{BadEndpoint, BadOptions, ENDPOINTS_MAX, Endpoint, Login, Options, Password, TlsFiles};
pub use refusal::Refusal;
pub use tls::FileError;
pub use transaction::{Condition, OPERATIONS_MAX, Outcome, Transaction};
pub use watch::{Change, Told, Watch};

/// A conversation with an etcd cluster, below one prefix of its keys. Clones share it.
#[derive(Debug, Clone)]
pub struct Etcd {
    shared: Arc<ask::Shared>,
}

impl Etcd {
    /// Reaches the first endpoint that answers as an etcd in which we may read below the prefix.
    ///
    /// # Errors
    /// When the options make no sense, and when no endpoint is there or lets us in.
    pub async fn connect(options: &Options) -> Result<Self, EtcdError> {
        options.check().map_err(EtcdError::Options)?;
        let etcd = Self { shared: Arc::new(ask::Shared::new(options.clone())) };
        etcd.ask("connect", ask::Kind::Look, |_| async { Ok(()) }).await?;
        Ok(etcd)
    }

    /// A key as etcd has it.
    fn whole(&self, key: &[u8]) -> Vec<u8> {
        [self.shared.options.prefix.as_bytes(), key].concat()
    }

    /// A key of etcd as it is below our prefix; none if it is elsewhere.
    fn below<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        key.strip_prefix(self.shared.options.prefix.as_bytes())
    }
}

/// A state of the whole store: etcd counts its changes, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

/// The number of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub NonZeroI64);

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// As etcd's own tools write it.
impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The first key behind all that begin with `prefix`, as etcd wants it; one zero byte if there is none.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let Some(last) = prefix.iter().rposition(|byte| *byte != u8::MAX) else { return vec![0] };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end
}

/// Bytes of others as a short text without control characters.
fn printable(bytes: &[u8]) -> String {
    /// Longer ones are cut: they stand in one line of a log.
    const CHARACTERS_MAX: usize = 200;
    let text = String::from_utf8_lossy(bytes);
    let clean = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    text.chars().take(CHARACTERS_MAX).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_behind_it() {
        for (prefix, end) in
            [(&b"/a/"[..], &b"/a0"[..]), (b"a\xff\xff", b"b"), (b"\xff", b"\0"), (b"", b"\0")]
        {
            assert_eq!(behind(prefix), end);
        }
    }

    #[test]
    fn the_words_are_made_from_the_proto_as_it_is() {
        let proto = include_bytes!("../../../../proto/etcd.proto");
        // FNV-1a, as in proto/src/main.rs.
        let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        let sum = proto.iter().fold(0xcbf2_9ce4_8422_2325, mix);
        let words = include_str!("etcd/words.rs");
        assert!(words.contains(&format!("etcd.proto ({sum:016x})")), "run `cargo xtask etcd`");
    }

    #[test]
    fn what_others_wrote_is_cut_and_cleaned_before_it_is_shown() {
        assert_eq!(printable(b"a\x1b[31m"), "a\u{fffd}[31m");
        assert_eq!(printable(&[b'x'; 5000]).len(), 200);
    }
}
