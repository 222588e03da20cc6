//! Asks one endpoint after the other until one answers: each once, and all within a time.
//!
//! What only looks is asked of the next when one fails. What changes something is not, once it was sent: it could be done
//! twice. Who asked looks, and decides.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status};

use super::Etcd;
use super::error::{EtcdError, Miss};
use super::line::Line;
use super::options::{Endpoint, Options};
use super::refusal::{No, Refusal};

/// How long anything may take, however many endpoints there are: three silent ones, and one that answers late.
pub(super) const CALL_TIME: Duration = Duration::from_secs(20);

/// What all clones of a conversation share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    /// The number of the cluster that answered first.
    cluster: OnceLock<u64>,
    current: Mutex<Current>,
}

/// The connection in use, and the endpoint that is next.
#[derive(Debug, Default)]
struct Current {
    line: Option<Arc<Line>>,
    next: usize,
}

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It changes nothing, or the same however often.
    Look,
    /// It changes something.
    Change,
}

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        Self { options, cluster: OnceLock::new(), current: Mutex::default() }
    }
}

/// An answer, and on which line it came.
pub(super) type Answer<A> = (A, Arc<Line>);

impl Etcd {
    /// Makes a call at the first endpoint that answers. `what` tells it in errors.
    pub(super) async fn ask<A, F>(
        &self,
        what: &str,
        kind: Kind,
        call: impl Fn(Arc<Line>) -> F,
    ) -> Result<Answer<A>, EtcdError>
    where
        F: Future<Output = Result<A, Status>>,
    {
        let until = Instant::now() + CALL_TIME;
        let mut tries: Vec<(Endpoint, Miss)> = Vec::new();
        // One more than there are endpoints: the line in use may have broken without our noticing.
        for _ in 0..=self.shared.options.endpoints.len() {
            let line = match self.line(until).await {
                Ok(line) => line,
                Err((endpoint, No::Trouble(miss))) => {
                    if !note(&mut tries, endpoint, miss, until) {
                        break;
                    }
                    continue;
                }
                Err((endpoint, no)) => return Err(refused(what, endpoint, no)),
            };
            let asked = line.call(self.shared.options.login.as_ref(), || call(Arc::clone(&line)));
            let late = No::Trouble(Miss::Late { what: "answer", after: CALL_TIME });
            let miss = match timeout_at(until, asked).await.unwrap_or(Err(late)) {
                Ok(answer) => return Ok((answer, line)),
                Err(No::Trouble(miss)) => miss,
                Err(no) => return Err(refused(what, line.endpoint.clone(), no)),
            };
            line.hang_up();
            let endpoint = line.endpoint.clone();
            if kind == Kind::Change {
                return Err(EtcdError::Unanswered { what: what.to_owned(), endpoint, cause: miss });
            }
            if !note(&mut tries, endpoint, miss, until) {
                break;
            }
        }
        Err(EtcdError::Unreachable { what: what.to_owned(), tries })
    }

    /// The line in use, or a new one to the endpoint whose turn it is.
    async fn line(&self, until: Instant) -> Result<Arc<Line>, (Endpoint, No)> {
        let endpoints = &self.shared.options.endpoints;
        let late = || No::Trouble(Miss::Late { what: "connection", after: CALL_TIME });
        // Others may be connecting, one after the other; we do not wait for longer than for an answer.
        let current = timeout_at(until, self.shared.current.lock()).await;
        let mut current = current.map_err(|_| (endpoints[0].clone(), late()))?;
        match current.line.take() {
            Some(line) if line.is_open() => return Ok(Arc::clone(current.line.insert(line))),
            Some(_) => current.next += 1,
            None => {}
        }
        let endpoint = &endpoints[current.next % endpoints.len()];
        // Boxed: it is rare and large, and would be part of whatever asks.
        let opening = Box::pin(Line::open(endpoint, &self.shared.options));
        let opened = timeout_at(until, opening).await.unwrap_or_else(|_| Err(late()));
        match opened.and_then(|line| self.same_cluster(line)) {
            Ok(line) => Ok(Arc::clone(current.line.insert(Arc::new(line)))),
            Err(no) => {
                current.next += 1;
                Err((endpoint.clone(), no))
            }
        }
    }

    /// Revisions of another cluster mean nothing here.
    fn same_cluster(&self, line: Line) -> Result<Line, No> {
        let (there, before) = (line.cluster, *self.shared.cluster.get_or_init(|| line.cluster));
        if there == before { Ok(line) } else { Err(No::Trouble(Miss::OtherCluster { there, before })) }
    }
}

/// Remembers the last that came of an endpoint; whether there is time for another.
fn note(tries: &mut Vec<(Endpoint, Miss)>, endpoint: Endpoint, miss: Miss, until: Instant) -> bool {
    tries.retain(|(other, _)| *other != endpoint);
    tries.push((endpoint, miss));
    Instant::now() < until
}

fn refused(what: &str, endpoint: Endpoint, no: No) -> EtcdError {
    let (refusal, words) = match no {
        No::Refused(refusal, words) => (refusal, words),
        No::LoginLapsed(words) => (Refusal::NoUser, words),
        No::Trouble(_) => unreachable!("trouble is no refusal"),
    };
    EtcdError::Refused { what: what.to_owned(), endpoint, refusal, words }
}

/// The message of an answer.
pub(super) fn message<A>(answer: Result<Response<A>, Status>) -> Result<A, Status> {
    answer.map(Response::into_inner)
}
