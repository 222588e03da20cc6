//! Answers that come bit by bit: one JSON value a line, from a task that ends when the asker goes away.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Values that wait for the network; whoever makes them waits then.
const WAITING_MAX: usize = 64;
/// How long an answer may take in all: a watch that somebody forgot ends by itself.
const TIME_MAX: Duration = Duration::from_hours(1);

/// An answer of what `work` sends, one value a line. `work` is dropped as soon as the asker hangs up, the host is
/// not listed any more, or after an hour; the answer ends when `work` does.
pub fn lines<T, F>(work: impl FnOnce(mpsc::Sender<T>) -> F) -> Response
where
    T: Serialize + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, values) = mpsc::channel(WAITING_MAX);
    let work = work(sender);
    let work = tokio::spawn(async move { drop(timeout(TIME_MAX, work).await) });
    let body = Body::from_stream(Lines { values, work });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

struct Lines<T> {
    values: mpsc::Receiver<T>,
    work: JoinHandle<()>,
}

impl<T> Drop for Lines<T> {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl<T: Serialize> Stream for Lines<T> {
    type Item = Result<Bytes, serde_json::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.values.poll_recv(context).map(|value| Some(line(&value?)))
    }
}

/// A value as a line. One that cannot be written breaks the answer off, which the asker sees.
fn line<T: Serialize>(value: &T) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line.into())
}
