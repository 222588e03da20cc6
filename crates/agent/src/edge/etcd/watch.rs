//! Watches what begins alike, from a revision on.
//!
//! A watch says how it ends: the revision is not kept any more, or the stream broke. Either way the list is made anew. It
//! cannot end unnoticed: where nothing comes for a while, etcd is asked whether it is still watching.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use super::ask::{Kind, message};
use super::error::{EtcdError, Miss};
use super::keys::Entry;
use super::line::{ANSWER_TIME, Line};
use super::refusal::{No, understand};
use super::words::event::EventType;
use super::words::watch_request::RequestUnion;
use super::words::{self, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use super::{Etcd, Revision, behind, printable};

/// After so long without a word, etcd is asked for one. It speaks up by itself only every 10 minutes.
const QUIET_TIME: Duration = Duration::from_secs(10);
/// How many requests may wait to be sent: there is never more than one.
const REQUESTS_MAX: usize = 2;

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was written.
    Put(Entry),
    /// It was deleted, or went with its lease.
    Gone {
        /// The key, below the prefix.
        key: Vec<u8>,
        /// When.
        revision: Revision,
    },
}

/// What a watch tells.
#[derive(Debug)]
pub enum Told {
    /// What happened, in order; at least one.
    Changes(Vec<Change>),
    /// What happened from there on is not kept any more: it is at an end. Nothing before the revision can be watched.
    Compacted(Revision),
    /// It is at an end.
    Broken(EtcdError),
}

/// A watch that is going on. Nothing is read ahead of who calls [`Watch::next`], except what fits HTTP/2's window.
#[derive(Debug)]
pub struct Watch {
    etcd: Etcd,
    what: String,
    line: Arc<Line>,
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// The last word came then.
    Quiet(Instant),
    /// Asked for a word then.
    Asked(Instant),
    Ended,
}

impl Etcd {
    /// Watches what begins with `beginning`, and tells everything that came after a revision.
    ///
    /// # Errors
    /// When no endpoint lets us watch.
    pub async fn watch(&self, beginning: impl AsRef<[u8]>, after: Revision) -> Result<Watch, EtcdError> {
        let what = format!("watch {} after revision {after}", printable(beginning.as_ref()));
        let key = self.whole(beginning.as_ref());
        let create = WatchCreateRequest {
            range_end: behind(&key),
            key,
            start_revision: after.0.saturating_add(1),
            progress_notify: true,
        };
        let ((requests, answers), line) =
            self.ask(&what, Kind::Look, |line| begin(line, create.clone())).await?;
        let state = State::Quiet(Instant::now());
        Ok(Watch { etcd: self.clone(), what, line, requests, answers, state })
    }
}

impl Watch {
    /// The next that it tells. To stop waiting in between loses nothing.
    pub async fn next(&mut self) -> Told {
        loop {
            let until = match self.state {
                State::Quiet(since) => since + QUIET_TIME,
                State::Asked(since) => since + ANSWER_TIME,
                State::Ended => return Told::Broken(self.ended(Miss::Broken("it has ended before".into()))),
            };
            let miss = match (timeout_at(until, self.answers.message()).await, self.state) {
                (Err(_), State::Quiet(_)) if self.ask_for_a_word() => continue,
                (Err(_), _) => Miss::Late { what: "word", after: ANSWER_TIME },
                (Ok(Ok(Some(answer))), _) => match self.understand(answer) {
                    Ok(Some(told)) => return told,
                    Ok(None) => continue,
                    Err(miss) => miss,
                },
                (Ok(Ok(None)), _) => Miss::Broken("etcd has ended it".into()),
                (Ok(Err(status)), _) => miss(&status),
            };
            return self.broken(miss);
        }
    }

    fn ask_for_a_word(&mut self) -> bool {
        self.state = State::Asked(Instant::now());
        let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
        self.requests.try_send(WatchRequest { request_union: Some(request) }).is_ok()
    }

    /// What an answer tells; none if only that the watch is alive.
    fn understand(&mut self, answer: WatchResponse) -> Result<Option<Told>, Miss> {
        self.state = State::Quiet(Instant::now());
        if answer.compact_revision > 0 {
            self.state = State::Ended;
            return Ok(Some(Told::Compacted(Revision(answer.compact_revision))));
        }
        if answer.canceled {
            return Err(miss(&cancelled(&answer)));
        }
        let changes = answer.events.into_iter().map(|event| self.change(event));
        let changes = changes.collect::<Result<Vec<_>, _>>().map_err(|why| Miss::Broken(why.into()))?;
        Ok((!changes.is_empty()).then_some(Told::Changes(changes)))
    }

    fn change(&self, event: words::Event) -> Result<Change, &'static str> {
        let kind = EventType::try_from(event.r#type).map_err(|_| "an event is of an unknown kind")?;
        let entry = self.etcd.entry(event.kv.ok_or("an event has no key")?)?;
        Ok(match kind {
            EventType::Put => Change::Put(entry),
            EventType::Delete => Change::Gone { key: entry.key, revision: entry.changed },
        })
    }

    fn broken(&mut self, miss: Miss) -> Told {
        self.state = State::Ended;
        self.line.hang_up();
        Told::Broken(self.ended(miss))
    }

    fn ended(&self, cause: Miss) -> EtcdError {
        EtcdError::Ended { what: self.what.clone(), endpoint: self.line.endpoint.clone(), cause }
    }
}

type Begun = (mpsc::Sender<WatchRequest>, Streaming<WatchResponse>);

/// Opens a watch, and hears that it is there.
async fn begin(line: Arc<Line>, create: WatchCreateRequest) -> Result<Begun, Status> {
    let (requests, mut waiting) = mpsc::channel(REQUESTS_MAX);
    let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    requests.try_send(create).map_err(|_| Status::internal("a new channel is full"))?;
    let outgoing = stream::poll_fn(move |context| waiting.poll_recv(context));
    let mut answers = message(line.watches().watch(outgoing).await)?;
    let ended = || Status::unavailable("the stream ended before it began");
    let first = answers.message().await?.ok_or_else(ended)?;
    // A revision that is not kept is told in the next answer.
    if first.canceled {
        return Err(cancelled(&first));
    }
    if !first.created {
        return Err(Status::internal("the watch was not created"));
    }
    Ok((requests, answers))
}

/// Etcd's reason, which stands in the answer, as if it were that of the call.
fn cancelled(answer: &WatchResponse) -> Status {
    Status::permission_denied(answer.cancel_reason.clone())
}

fn miss(status: &Status) -> Miss {
    match understand(status) {
        No::Refused(refusal, words) => Miss::Refused { refusal, words },
        No::LoginLapsed(words) => Miss::Refused { refusal: super::Refusal::NoUser, words },
        No::Trouble(miss) => miss,
    }
}
