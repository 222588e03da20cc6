//! The rules' words in etcd's, and back.

use byway_fabric::lease as rules;

use crate::edge::etcd::{Condition, Entry, LeaseId, Revision, Transaction};

/// A key with its value.
pub(in crate::store) fn entry(entry: Entry) -> rules::Entry {
    // Revisions count from 1.
    let revision = u64::try_from(entry.changed.0).unwrap_or_default();
    rules::Entry { key: entry.key, value: entry.value, revision }
}

/// A transaction; what goes with the host's lease goes with this one.
pub(in crate::store) fn request(
    what: &str,
    transaction: &rules::Transaction,
    lease: Option<LeaseId>,
) -> Transaction {
    let request = transaction.unchanged.iter().fold(Transaction::new(what), |request, one| {
        let condition = match i64::try_from(one.revision) {
            Ok(revision) if revision > 0 => Condition::ChangedAt(Revision(revision)),
            _ => Condition::Absent,
        };
        request.when(one.key.as_bytes(), condition)
    });
    let request = transaction.puts.iter().fold(request, |request, put| {
        request.put(put.key.as_bytes(), put.value.as_bytes(), lease.filter(|_| put.with_lease))
    });
    transaction.deletes.iter().fold(request, |request, key| request.delete(key.as_bytes()))
}
