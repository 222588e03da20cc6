//! Leases: what is written with one goes when nobody has kept it alive for its time.

use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::ask::{Kind, message};
use super::error::EtcdError;
use super::line::{ANSWER_TIME, Line};
use super::words::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
};
use super::{Etcd, LeaseId};

/// A lease that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its number.
    pub id: LeaseId,
    /// How long it lives unless it is kept alive: at least as long as was asked for, and than etcd's elections take.
    pub time: Duration,
}

/// How long a lease will live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remaining {
    /// Unless it is kept alive, in whole seconds.
    pub left: Duration,
    /// When it is kept alive.
    pub granted: Duration,
}

/// Keeps one lease alive, whenever it is told to.
#[derive(Debug)]
pub struct KeepAlive {
    etcd: Etcd,
    lease: LeaseId,
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    line: Arc<Line>,
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Etcd {
    /// Has a lease granted that lives for `time`, in whole seconds, rounded up.
    ///
    /// # Errors
    /// When there is no answer, or a refusal. If [`EtcdError::may_be_done`], one that nobody knows lapses by itself.
    pub async fn grant(&self, time: Duration) -> Result<Lease, EtcdError> {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let ttl = i64::try_from(seconds).unwrap_or(i64::MAX).max(1);
        let what = format!("grant a lease of {ttl} s");
        let call = |line: Arc<Line>| async move {
            message(line.leases().lease_grant(LeaseGrantRequest { ttl }).await)
        };
        let (answer, line) = self.ask(&what, Kind::Change, call).await?;
        let why = "it has no lease";
        let nonsense = || EtcdError::Nonsense { what, endpoint: line.endpoint.clone(), why };
        let id = NonZeroI64::new(answer.id).filter(|_| answer.ttl > 0).map(LeaseId).ok_or_else(nonsense)?;
        Ok(Lease { id, time: seconds_of(answer.ttl) })
    }

    /// Ends a lease, and all that was written with it. One that is gone already is fine.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), EtcdError> {
        let id = lease.0.get();
        // A second time changes nothing, as numbers are not given twice.
        let call = |line: Arc<Line>| async move {
            message(line.leases().lease_revoke(LeaseRevokeRequest { id }).await)
        };
        match self.ask(&format!("revoke the lease {lease}"), Kind::Look, call).await {
            Err(error) if error.refusal() != Some(super::Refusal::NoSuchLease) => Err(error),
            _ => Ok(()),
        }
    }

    /// How long a lease will live; none if it is gone.
    ///
    /// # Errors
    /// When there is no answer, or a refusal.
    pub async fn remaining(&self, lease: LeaseId) -> Result<Option<Remaining>, EtcdError> {
        let id = lease.0.get();
        let call = |line: Arc<Line>| async move {
            message(line.leases().lease_time_to_live(LeaseTimeToLiveRequest { id }).await)
        };
        let (answer, _) = self.ask(&format!("ask for the lease {lease}"), Kind::Look, call).await?;
        let remaining = Remaining { left: seconds_of(answer.ttl), granted: seconds_of(answer.granted_ttl) };
        Ok((answer.ttl > 0).then_some(remaining))
    }

    /// Prepares to keep a lease alive; nothing is said to etcd before [`KeepAlive::renew`].
    #[must_use]
    pub fn keep_alive(&self, lease: LeaseId) -> KeepAlive {
        KeepAlive { etcd: self.clone(), lease, stream: None }
    }
}

impl KeepAlive {
    /// Keeps the lease alive, and tells for how long; none if it is gone. All is said in one stream as long as it holds;
    /// if it broke, another is opened once.
    ///
    /// # Errors
    /// When no endpoint answers; it may be called again.
    pub async fn renew(&mut self) -> Result<Option<Duration>, EtcdError> {
        // Taken out: a stream that is left in the middle of an answer is not used again.
        if let Some(mut stream) = self.stream.take() {
            if let Some(answer) = stream.renew(self.lease).await {
                self.stream = Some(stream);
                return Ok(time_of(answer));
            }
            stream.line.hang_up();
        }
        let (answer, stream) = self.open().await?;
        self.stream = Some(stream);
        Ok(time_of(answer))
    }

    async fn open(&self) -> Result<(LeaseKeepAliveResponse, Stream), EtcdError> {
        let lease = self.lease;
        let what = format!("keep the lease {lease} alive");
        // To keep a lease alive twice is to keep it alive.
        let ((answer, requests, answers), line) =
            self.etcd.ask(&what, Kind::Look, |line| begin(line, lease)).await?;
        Ok((answer, Stream { line, requests, answers }))
    }
}

impl Stream {
    /// One renewal; none if the stream is broken.
    async fn renew(&mut self, lease: LeaseId) -> Option<LeaseKeepAliveResponse> {
        self.requests.try_send(LeaseKeepAliveRequest { id: lease.0.get() }).ok()?;
        timeout(ANSWER_TIME, self.answers.message()).await.ok()?.ok()?
    }
}

type Begun = (LeaseKeepAliveResponse, mpsc::Sender<LeaseKeepAliveRequest>, Streaming<LeaseKeepAliveResponse>);

/// Opens a stream with a first renewal in it: etcd answers nothing before.
async fn begin(line: Arc<Line>, lease: LeaseId) -> Result<Begun, Status> {
    // Each request waits for its answer before the next.
    let (requests, mut waiting) = mpsc::channel(1);
    let first = LeaseKeepAliveRequest { id: lease.0.get() };
    requests.try_send(first).map_err(|_| Status::internal("a new channel is full"))?;
    let outgoing = stream::poll_fn(move |context| waiting.poll_recv(context));
    let mut answers = message(line.leases().lease_keep_alive(outgoing).await)?;
    let ended = || Status::unavailable("the stream ended before it began");
    let answer = answers.message().await?.ok_or_else(ended)?;
    Ok((answer, requests, answers))
}

/// Etcd says 0 of a lease that is gone.
fn time_of(answer: LeaseKeepAliveResponse) -> Option<Duration> {
    (answer.ttl > 0).then(|| seconds_of(answer.ttl))
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default())
}
