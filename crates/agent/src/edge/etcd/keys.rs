//! Reads keys: one, or all that begin alike, at one revision.

use super::ask::{Kind, message};
use super::error::EtcdError;
use super::words::{KeyValue, RangeRequest, RangeResponse};
use super::{Etcd, LeaseId, Revision, behind, printable};
use std::num::NonZeroI64;

/// The most entries of a list: some per host of the largest cluster, many times over.
pub const LIST_ENTRIES_MAX: usize = 1 << 16;
/// The most bytes of a list, keys and values.
pub const LIST_BYTES_MAX: usize = 64 << 20;
/// How many entries are asked for at once: at some hundred bytes each far below what is taken as one answer.
const PAGE_ENTRIES: i64 = 500;

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, below the prefix.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// When it was made.
    pub created: Revision,
    /// When it was last changed.
    pub changed: Revision,
    /// How often it was written since it was made, from 1.
    pub version: i64,
    /// The lease with which it goes.
    pub lease: Option<LeaseId>,
}

/// All entries that begin alike, as they were at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// When; a watch from there misses nothing.
    pub revision: Revision,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
}

impl Etcd {
    /// Reads one key, as a majority of the members knows it now.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, EtcdError> {
        let key = key.as_ref();
        let what = format!("read {}", printable(key));
        let request = RangeRequest { key: self.whole(key), ..RangeRequest::default() };
        let (answer, line) = self.ask(&what, Kind::Look, |line| read(line.keys(), request.clone())).await?;
        let entries = answer.kvs.into_iter().map(|entry| self.entry(entry)).collect::<Result<Vec<_>, _>>();
        let nonsense = |why| EtcdError::Nonsense { what, endpoint: line.endpoint.clone(), why };
        Ok(entries.map_err(nonsense)?.pop())
    }

    /// Reads all keys that begin with `beginning`, as they were at one revision, page by page.
    ///
    /// # Errors
    /// When there is no answer, when it is more than [`LIST_ENTRIES_MAX`] or [`LIST_BYTES_MAX`], and when the revision was
    /// compacted meanwhile ([`super::Refusal::Compacted`]).
    pub async fn list(&self, beginning: impl AsRef<[u8]>) -> Result<Listing, EtcdError> {
        let what = format!("list {}", printable(beginning.as_ref()));
        let first = self.whole(beginning.as_ref());
        let mut request = RangeRequest { range_end: behind(&first), key: first, ..RangeRequest::default() };
        request.limit = PAGE_ENTRIES;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        loop {
            let (page, line) = self.ask(&what, Kind::Look, |line| read(line.keys(), request.clone())).await?;
            let nonsense =
                |why| EtcdError::Nonsense { what: what.clone(), endpoint: line.endpoint.clone(), why };
            let revision = page.header.map(|header| header.revision).ok_or("it has no revision");
            if request.revision == 0 {
                request.revision = revision.map_err(nonsense)?;
            }
            let more = page.more;
            if more && page.kvs.is_empty() {
                return Err(nonsense("a page is empty"));
            }
            for entry in page.kvs {
                // Otherwise a member that repeats itself would keep us for ever.
                if entry.key < request.key {
                    return Err(nonsense("its keys are out of order"));
                }
                request.key = [&entry.key[..], &[0]].concat();
                bytes += entry.key.len() + entry.value.len();
                entries.push(self.entry(entry).map_err(nonsense)?);
            }
            if entries.len() > LIST_ENTRIES_MAX || bytes > LIST_BYTES_MAX {
                return Err(EtcdError::TooMuch {
                    what,
                    limit: format!("{LIST_ENTRIES_MAX} keys or {LIST_BYTES_MAX} bytes"),
                });
            }
            if !more {
                return Ok(Listing { revision: Revision(request.revision), entries });
            }
        }
    }

    /// An entry as we tell it, or what is wrong with it.
    pub(super) fn entry(&self, entry: KeyValue) -> Result<Entry, &'static str> {
        let key = self.below(&entry.key).ok_or("a key is not below the prefix")?.to_vec();
        Ok(Entry {
            key,
            value: entry.value,
            created: Revision(entry.create_revision),
            changed: Revision(entry.mod_revision),
            version: entry.version,
            lease: NonZeroI64::new(entry.lease).map(LeaseId),
        })
    }
}

async fn read(
    mut keys: super::words::kv_client::KvClient<super::line::Channel>,
    request: RangeRequest,
) -> Result<RangeResponse, tonic::Status> {
    message(keys.range(request).await)
}
