//! One HTTP conversation over any stream: what the unix socket and TLS have in common.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

/// Why a conversation broke off.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A connection that can be asked; it is closed when this is dropped.
#[derive(Debug)]
pub(crate) struct Conversation {
    sender: SendRequest<Full<Bytes>>,
    talk: JoinHandle<()>,
}

impl Conversation {
    /// Begins to speak HTTP over a stream.
    pub(crate) async fn begin(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, Cause> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // How it ends is told to whoever waits for an answer.
        let talk = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, talk })
    }

    /// Asks one thing; the answer's body may still be on its way.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Cause> {
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.talk.abort();
    }
}

/// The whole body of an answer, if it is not larger than `bytes_max`.
pub(crate) async fn whole(answer: Response<Incoming>, bytes_max: usize) -> Result<Bytes, Cause> {
    Ok(Limited::new(answer.into_body(), bytes_max).collect().await?.to_bytes())
}
