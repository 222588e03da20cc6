//! Changes keys: all of it or nothing, and only if they are as expected.

use super::ask::{Kind, message};
use super::error::EtcdError;
use super::keys::Entry;
use super::words::compare::{CompareResult, CompareTarget, TargetUnion};
use super::words::request_op::Request;
use super::words::response_op::Response;
use super::words::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};
use super::{Etcd, LeaseId, Revision, behind};

/// The most of each: conditions, changes, reads. It is what etcd takes if not told otherwise (`--max-txn-ops`).
pub const OPERATIONS_MAX: usize = 128;
/// The most entries that one read of a transaction brings; whole lists are made by [`Etcd::list`].
const READ_ENTRIES_MAX: i64 = 500;

/// What must be so of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is not there.
    Absent,
    /// It was last changed then, so it is as it was read.
    ChangedAt(Revision),
    /// It has been written so often since it was made, from 1.
    Version(i64),
}

/// Conditions, what is changed if all of them hold, and what is read if not. The same key may be changed only once.
#[derive(Debug, Clone)]
pub struct Transaction {
    what: String,
    conditions: Vec<(Vec<u8>, Condition)>,
    changes: Vec<Change>,
    reads: Vec<Read>,
}

#[derive(Debug, Clone)]
enum Change {
    Put(Vec<u8>, Vec<u8>, Option<LeaseId>),
    Delete(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Read {
    Key(Vec<u8>),
    Beginning(Vec<u8>),
}

/// What came of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All was changed, in this revision.
    Done(Revision),
    /// A condition did not hold; nothing was changed.
    Not {
        /// When it was looked.
        revision: Revision,
        /// What the reads found, one after the other.
        found: Vec<Vec<Entry>>,
    },
}

impl Transaction {
    /// One that changes nothing yet; `what` tells it in errors, such as "claim 10.7.1.0/24".
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), conditions: Vec::new(), changes: Vec::new(), reads: Vec::new() }
    }

    /// Only if this is so.
    #[must_use]
    pub fn when(mut self, key: impl Into<Vec<u8>>, condition: Condition) -> Self {
        self.conditions.push((key.into(), condition));
        self
    }

    /// Then write this; with a lease it goes when the lease goes.
    #[must_use]
    pub fn put(mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, lease: Option<LeaseId>) -> Self {
        self.changes.push(Change::Put(key.into(), value.into(), lease));
        self
    }

    /// Then delete this, if it is there.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.changes.push(Change::Delete(key.into()));
        self
    }

    /// Otherwise read this key.
    #[must_use]
    pub fn otherwise_get(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.reads.push(Read::Key(key.into()));
        self
    }

    /// Otherwise read what begins with this, 500 keys at most.
    #[must_use]
    pub fn otherwise_list(mut self, beginning: impl Into<Vec<u8>>) -> Self {
        self.reads.push(Read::Beginning(beginning.into()));
        self
    }

    fn is_too_large(&self) -> bool {
        [self.conditions.len(), self.changes.len(), self.reads.len()].into_iter().any(|n| n > OPERATIONS_MAX)
    }
}

impl Etcd {
    /// Does a transaction, once: where [`EtcdError::may_be_done`] says so, look before it is done again.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub async fn commit(&self, transaction: &Transaction) -> Result<Outcome, EtcdError> {
        let what = &transaction.what;
        if transaction.is_too_large() {
            let limit = format!("{OPERATIONS_MAX} conditions, changes or reads");
            return Err(EtcdError::TooMuch { what: what.clone(), limit });
        }
        let request = self.spell(transaction);
        let call = |line: std::sync::Arc<super::line::Line>| {
            let request = request.clone();
            async move { message(line.keys().txn(request).await) }
        };
        let (answer, line) = self.ask(what, Kind::Change, call).await?;
        let nonsense = |why| EtcdError::Nonsense { what: what.clone(), endpoint: line.endpoint.clone(), why };
        self.outcome(answer).map_err(nonsense)
    }

    fn outcome(&self, answer: TxnResponse) -> Result<Outcome, &'static str> {
        let revision = answer.header.map(|header| Revision(header.revision)).ok_or("it has no revision")?;
        if answer.succeeded {
            return Ok(Outcome::Done(revision));
        }
        let reads = answer.responses.into_iter().filter_map(|response| match response.response {
            Some(Response::ResponseRange(range)) => Some(range.kvs),
            _ => None,
        });
        let entries = |kvs: Vec<_>| kvs.into_iter().map(|entry| self.entry(entry)).collect();
        Ok(Outcome::Not { revision, found: reads.map(entries).collect::<Result<_, _>>()? })
    }

    /// The transaction in etcd's words.
    fn spell(&self, transaction: &Transaction) -> TxnRequest {
        let operation = |request| RequestOp { request: Some(request) };
        TxnRequest {
            compare: transaction.conditions.iter().map(|(key, must)| self.compare(key, must)).collect(),
            success: transaction.changes.iter().map(|change| operation(self.change(change))).collect(),
            failure: transaction.reads.iter().map(|read| operation(self.read(read))).collect(),
        }
    }

    fn compare(&self, key: &[u8], must: &Condition) -> Compare {
        let (target, value) = match must {
            Condition::Absent => (CompareTarget::Create, TargetUnion::CreateRevision(0)),
            Condition::ChangedAt(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(revision.0)),
            Condition::Version(version) => (CompareTarget::Version, TargetUnion::Version(*version)),
        };
        Compare {
            result: CompareResult::Equal.into(),
            target: target.into(),
            key: self.whole(key),
            target_union: Some(value),
        }
    }

    fn change(&self, change: &Change) -> Request {
        match change {
            Change::Put(key, value, lease) => {
                let lease = lease.map_or(0, |lease| lease.0.get());
                Request::RequestPut(PutRequest { key: self.whole(key), value: value.clone(), lease })
            }
            Change::Delete(key) => Request::RequestDeleteRange(DeleteRangeRequest {
                key: self.whole(key),
                ..DeleteRangeRequest::default()
            }),
        }
    }

    fn read(&self, read: &Read) -> Request {
        let limit = READ_ENTRIES_MAX;
        Request::RequestRange(match read {
            Read::Key(key) => RangeRequest { key: self.whole(key), limit, ..RangeRequest::default() },
            Read::Beginning(beginning) => {
                let key = self.whole(beginning);
                RangeRequest { range_end: behind(&key), key, limit, ..RangeRequest::default() }
            }
        })
    }
}
