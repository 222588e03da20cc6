//! The local API: HTTP on a unix socket that only root and its group may use.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use byway_api::{DownReport, PlanReport, Refusal, SOCKET, Status, path};
use byway_fabric::health::Question;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::{AgentError, links};
use crate::health::Book;
use crate::metrics::Metrics;
use crate::peers::Asker;

/// Questions that may wait for the loop; more are told to come again.
pub(crate) const ASKS_MAX: usize = 16;
/// How long a status waits for the loop; after this it is told as it was last known.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a status for another host waits: it asks many at once, and wants them all within three seconds.
const PEERS_PATIENCE: Duration = Duration::from_secs(1);
/// How long an answer that is under way may take when the agent ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What only the loop can answer.
#[derive(Debug)]
pub(crate) enum Ask {
    /// How does the host stand now? Whatever is due is done first.
    Status(oneshot::Sender<Option<Status>>),
    /// What would be changed now?
    Plan(oneshot::Sender<Result<PlanReport, AgentError>>),
    /// Take everything out and end.
    Down(oneshot::Sender<Result<DownReport, AgentError>>),
}

/// What answers need: the last status, the way to the loop, and the numbers.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    /// How the host stood last.
    pub(crate) status: Arc<Mutex<Option<Status>>>,
    /// The loop.
    pub(crate) asks: mpsc::Sender<Ask>,
    /// What was counted.
    pub(crate) metrics: Metrics,
    /// How peers answer.
    pub(crate) book: Book,
}

/// The API while it is served.
#[derive(Debug)]
pub(crate) struct Server {
    socket: PathBuf,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Starts to serve in `run_dir`.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn start(run_dir: &Path, desk: Desk) -> Result<Server, AgentError> {
    let socket = run_dir.join(SOCKET);
    let listener =
        listen(&socket).map_err(|cause| AgentError::Listen { what: socket.display().to_string(), cause })?;
    let routes = Router::new()
        .route(path::STATUS, get(tell_status))
        .route(path::PLAN, get(tell_plan))
        .route(path::DOWN, post(take_down))
        .route(path::METRICS, get(tell_metrics))
        .with_state(desk);
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
        if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(until).await {
            tracing::error!(%error, "the local API ended");
        }
    });
    Ok(Server { socket, stop, task })
}

/// Listens on the socket. One that is there was left by an agent that was killed: we hold the lock.
fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

impl Server {
    /// Lets the answers that are under way out, and ends.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            tracing::warn!("a command did not take its answer in time");
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn tell_status(State(desk): State<Desk>) -> Response {
    status_within(&desk, PATIENCE).await
}

/// The same for another host.
pub(crate) async fn tell_peer_status(State(desk): State<Desk>) -> Response {
    status_within(&desk, PEERS_PATIENCE).await
}

/// How the host stands: as the loop says it, or as it was last if the loop is busy.
async fn status_within(desk: &Desk, patience: Duration) -> Response {
    let (answer, answered) = oneshot::channel();
    if desk.asks.try_send(Ask::Status(answer)).is_ok()
        && let Ok(Ok(Some(status))) = tokio::time::timeout(patience, answered).await
    {
        return Json(status).into_response();
    }
    let status = desk.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match status {
        Some(status) => Json(status).into_response(),
        None => refuse(StatusCode::SERVICE_UNAVAILABLE, vec!["the agent has not looked yet".to_owned()]),
    }
}

/// How the host that asks is heard here.
pub(crate) async fn tell_word(
    State(desk): State<Desk>,
    Extension(asker): Extension<Asker>,
    Json(question): Json<Question>,
) -> Response {
    Json(desk.book.asked_by(&asker.host, question)).into_response()
}

async fn tell_metrics(State(desk): State<Desk>) -> Response {
    desk.metrics.answer()
}

async fn tell_plan(State(desk): State<Desk>) -> Response {
    ask(&desk, Ask::Plan).await
}

async fn take_down(State(desk): State<Desk>) -> Response {
    ask(&desk, Ask::Down).await
}

async fn ask<T: serde::Serialize>(
    desk: &Desk,
    question: fn(oneshot::Sender<Result<T, AgentError>>) -> Ask,
) -> Response {
    let (answer, answered) = oneshot::channel();
    if desk.asks.try_send(question(answer)).is_err() {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, vec!["the agent is busy; ask again".to_owned()]);
    }
    match answered.await {
        Ok(Ok(report)) => Json(report).into_response(),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, links(&error)),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, vec!["the agent is ending".to_owned()]),
    }
}

fn refuse(code: StatusCode, chain: Vec<String>) -> Response {
    refuse_with(code, Refusal { chain, hint: None })
}

/// Says no, with what to do about it.
pub(crate) fn refuse_with(code: StatusCode, refusal: Refusal) -> Response {
    (code, Json(refusal)).into_response()
}
