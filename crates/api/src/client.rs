//! Asks the agent over its unix socket: one request, one answer, bounded in time and size.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::Refusal;
use crate::http::{Cause, Conversation, whole};

/// How long the agent may take: it looks at the kernel and may wait for its own repair to end.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// The largest answer: a status of 10,000 hosts is about 4 MiB.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or we may not ask.
    #[error("reach the agent at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// The conversation broke off.
    #[error("ask the agent for {what}")]
    Ask {
        /// What was asked for.
        what: String,
        /// The reason.
        #[source]
        cause: Cause,
    },
    /// No answer in time.
    #[error("the agent did not answer {what} within {} s", ANSWER_TIME_MAX.as_secs())]
    Late {
        /// What was asked for.
        what: String,
    },
    /// The agent said no.
    #[error("{0}")]
    Refused(Refusal),
}

impl ClientError {
    /// What to do about it, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let cause = match self {
            Self::Connect { cause, .. } => cause,
            Self::Refused(refusal) => return refusal.hint.clone(),
            _ => return None,
        };
        (cause.kind() == io::ErrorKind::PermissionDenied)
            .then(|| "only root and its group may ask the agent; use sudo".to_owned())
    }

    /// Whether there is no agent to ask (as opposed to one that cannot be asked).
    #[must_use]
    pub fn nobody_listens(&self) -> bool {
        let Self::Connect { cause, .. } = self else { return false };
        matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
    }
}

/// Asks for something, without changing anything.
///
/// # Errors
/// When nobody answers, or the answer is a refusal.
pub async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    ask(socket, Method::GET, path).await
}

/// Asks for something to be done.
///
/// # Errors
/// When nobody answers, or the answer is a refusal.
pub async fn post<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    ask(socket, Method::POST, path).await
}

async fn ask<T: DeserializeOwned>(socket: &Path, method: Method, path: &str) -> Result<T, ClientError> {
    let connect = |cause| ClientError::Connect { path: socket.to_owned(), cause };
    let stream = UnixStream::connect(socket).await.map_err(connect)?;
    let what = format!("{method} {path}");
    match tokio::time::timeout(ANSWER_TIME_MAX, converse(stream, method, path)).await {
        Err(_) => Err(ClientError::Late { what }),
        Ok(Err(cause)) => Err(ClientError::Ask { what, cause }),
        Ok(Ok((true, body))) => {
            serde_json::from_slice(&body).map_err(|cause| ClientError::Ask { what, cause: cause.into() })
        }
        Ok(Ok((false, body))) => Err(match serde_json::from_slice(&body) {
            Ok(refusal) => ClientError::Refused(refusal),
            Err(cause) => ClientError::Ask { what, cause: cause.into() },
        }),
    }
}

async fn converse(stream: UnixStream, method: Method, path: &str) -> Result<(bool, Bytes), Cause> {
    let mut conversation = Conversation::begin(stream).await?;
    let request = Request::builder().method(method).uri(path).header("host", "byway");
    let answer = conversation.ask(request.body(Full::default())?).await?;
    Ok((answer.status().is_success(), whole(answer, ANSWER_BYTES_MAX).await?))
}
