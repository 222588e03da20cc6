//! The metrics over TCP, for anybody who reaches the address: one question for each connection, bounded in everything.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use byway_api::path;
use byway_fabric::problem::{Problem, ProblemKind};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::Metrics;
use crate::edge::tcp;

/// Connections at one time. When one more comes, whoever has been here longest is hung up on: a scrape is through in
/// milliseconds, so that is never one, however many hold their connections.
pub(super) const CONNECTIONS_MAX: usize = 32;
/// How long a connection may take in all: Prometheus' own patience, unless told otherwise.
const CONVERSATION_TIME: Duration = Duration::from_secs(10);
/// The largest head of a request, the least that hyper takes; that of Prometheus has some 300 bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The most headers of a request; that of Prometheus has six, and proxies add some.
const HEADERS_MAX: usize = 32;
/// How long until an address at which nobody could listen is tried again: whoever has the port may go.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A pause when the kernel gives no connection, as it does without free descriptors: else the task would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The place where metrics can be read, while it lives.
#[derive(Debug)]
pub(crate) struct Listening {
    at: SocketAddr,
    trouble: Arc<Mutex<Option<String>>>,
    task: AbortHandle,
}

impl Listening {
    /// Starts to listen, and goes on trying where that fails.
    pub(crate) fn start(at: SocketAddr, metrics: Metrics) -> Self {
        let first = tcp::listen_here(at);
        let trouble = Arc::new(Mutex::new(None));
        note(&trouble, at, first.as_ref().err());
        let task = tokio::spawn(listen(at, first, trouble.clone(), metrics));
        Self { at, trouble, task: task.abort_handle() }
    }

    /// What somebody should look at.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (at, port) = (self.at, self.at.port());
        Some(Problem {
            kind: ProblemKind::Metrics,
            host: None,
            what: format!("nobody can read the metrics at {at}: {trouble}"),
            hint: Some(format!(
                "`ss -ltnp sport = :{port}` shows who has the port, `ip address` which addresses there are; \
                 `metrics` in byway.toml names another"
            )),
        })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Remembers why nobody can listen, and logs it once.
fn note(trouble: &Mutex<Option<String>>, at: SocketAddr, error: Option<&io::Error>) {
    let words = error.map(words);
    let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
    if *trouble != words {
        if let Some(error) = &words {
            tracing::error!(%at, error, "nobody can read the metrics; it is tried again");
        } else {
            tracing::info!(%at, "the metrics can be read");
        }
    }
    *trouble = words;
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "something else listens on that port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this host does not have that address".to_owned(),
        _ => error.to_string(),
    }
}

async fn listen(
    at: SocketAddr,
    first: io::Result<TcpListener>,
    trouble: Arc<Mutex<Option<String>>>,
    metrics: Metrics,
) {
    let mut listener = first;
    loop {
        match listener {
            Ok(listener) => return take(listener, metrics).await,
            Err(_) => sleep(TRY_AGAIN_AFTER).await,
        }
        listener = tcp::listen_here(at);
        note(&trouble, at, listener.as_ref().err());
    }
}

/// Takes connections until it is aborted.
pub(super) async fn take(listener: TcpListener, metrics: Metrics) {
    let mut guests = Guests::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                guests.make_room();
                guests.0.push_back(tokio::spawn(talk(stream, metrics.clone())).abort_handle());
            }
            Err(error) => {
                tracing::warn!(%error, "a connection that would read the metrics could not be taken");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who is connected, the oldest first; they are hung up on when this is dropped.
#[derive(Default)]
struct Guests(VecDeque<AbortHandle>);

impl Guests {
    fn make_room(&mut self) {
        self.0.retain(|guest| !guest.is_finished());
        while self.0.len() >= CONNECTIONS_MAX {
            self.0.pop_front().as_ref().map(AbortHandle::abort);
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

async fn talk(stream: TcpStream, metrics: Metrics) {
    let service =
        service_fn(move |request| std::future::ready(Ok::<_, Infallible>(answer(&request, &metrics))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(CONVERSATION_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false);
    match timeout(CONVERSATION_TIME, http.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "somebody who would read the metrics broke off"),
        Err(_) => tracing::debug!("somebody who would read the metrics took too long"),
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Body> {
    match (request.uri().path(), request.method()) {
        (path::METRICS, &Method::GET) => metrics.answer(),
        (path::METRICS, _) => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response(),
        _ => (StatusCode::NOT_FOUND, "there is only /metrics\n").into_response(),
    }
}
