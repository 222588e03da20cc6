//! One connection to one member: TCP, TLS if the endpoint says so, HTTP/2, and a login. It is made once and used until it
//! breaks.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::header::{HeaderName, HeaderValue};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Response, Status};
use tower_service::Service;

use super::error::Miss;
use super::options::{Endpoint, Login, Options};
use super::refusal::{No, Refusal, understand};
use super::tls;
use super::words::auth_client::AuthClient;
use super::words::kv_client::KvClient;
use super::words::lease_client::LeaseClient;
use super::words::watch_client::WatchClient;
use super::words::{AuthenticateRequest, RangeRequest};

/// How long a name and a TCP connection may take; between hosts of one cluster it is milliseconds.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// How long one answer may take. Etcd itself gives up after 5 s and twice the time of an election (2 s).
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(7);
/// How long the first answers on a connection may take: nothing is written for them, so a member that is well is quick.
const GREETING_TIME: Duration = Duration::from_secs(3);
/// After so much silence on a connection on which something is awaited, the member's HTTP/2 is asked whether it is there.
/// Etcd hangs up on who asks more often than every 5 s.
const PING_AFTER: Duration = Duration::from_secs(10);
/// How long that answer may take.
const PONG_TIME: Duration = Duration::from_secs(5);
/// The largest answer that is taken, in bytes. Etcd takes 1.5 MiB in a request, so entries are not larger.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How much of a stream that nobody reads is held, in bytes; and of all streams of a connection.
const WINDOW_BYTES: (u32, u32) = (1 << 18, 1 << 21);

/// A connection to a member on which calls can be made.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) endpoint: Endpoint,
    /// The number of the cluster that is there.
    pub(super) cluster: u64,
    channel: Channel,
    /// Somebody waited in vain on it.
    broken: AtomicBool,
    _end: EndWithUs,
}

/// The task that carries the bytes of a connection.
#[derive(Debug)]
struct EndWithUs(tokio::task::JoinHandle<()>);

impl Drop for EndWithUs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Line {
    /// Connects to a member, and looks whether it is one that lets us in.
    pub(super) async fn open(endpoint: &Endpoint, options: &Options) -> Result<Self, No> {
        let (channel, end) = connect(endpoint, options).await.map_err(No::Trouble)?;
        let mut line = Self {
            endpoint: endpoint.clone(),
            cluster: 0,
            channel,
            broken: AtomicBool::new(false),
            _end: end,
        };
        if let Some(login) = &options.login {
            line.log_in(login).await?;
        }
        line.cluster = line.greet(&options.prefix).await?;
        Ok(line)
    }

    /// Whether it can still be used, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.channel.sender.is_closed()
    }

    /// Ends the use of a line that is broken: what comes next is said elsewhere, what is going on may go on.
    pub(super) fn hang_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
    }

    /// Makes a call, with a new login if the old one lapsed, within [`ANSWER_TIME`] each time.
    pub(super) async fn call<A, F>(&self, login: Option<&Login>, call: impl Fn() -> F) -> Result<A, No>
    where
        F: Future<Output = Result<A, Status>>,
    {
        match (bounded(ANSWER_TIME, call()).await, login) {
            (Err(No::LoginLapsed(_)), Some(login)) => {
                self.log_in(login).await?;
                lapsed_is_refused(bounded(ANSWER_TIME, call()).await)
            }
            (outcome, _) => lapsed_is_refused(outcome),
        }
    }

    pub(super) fn keys(&self) -> KvClient<Channel> {
        KvClient::with_origin(self.channel.clone(), self.origin()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(super) fn leases(&self) -> LeaseClient<Channel> {
        LeaseClient::with_origin(self.channel.clone(), self.origin())
    }

    pub(super) fn watches(&self) -> WatchClient<Channel> {
        WatchClient::with_origin(self.channel.clone(), self.origin())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// What stands in the requests as the server: the endpoint.
    fn origin(&self) -> hyper::Uri {
        self.endpoint.to_string().parse().unwrap_or_default()
    }

    /// Gets a token for the calls that follow.
    async fn log_in(&self, login: &Login) -> Result<(), No> {
        let Login { user, password } = login;
        let request = AuthenticateRequest { name: user.clone(), password: password.0.clone() };
        self.channel.carry(None);
        let mut auth = AuthClient::with_origin(self.channel.clone(), self.origin());
        match bounded(GREETING_TIME, async { auth.authenticate(request).await.map(Response::into_inner) })
            .await
        {
            Ok(answer) => {
                let token = HeaderValue::try_from(answer.token);
                let token = token.map_err(|error| No::Trouble(Miss::Broken(Box::new(error))))?;
                self.channel.carry(Some(token));
                Ok(())
            }
            // It has no users (yet); once it has, calls are refused, and then we log in.
            Err(No::Refused(_, words)) if words.contains("authentication is not enabled") => Ok(()),
            Err(no) => lapsed_is_refused(Err(no)),
        }
    }

    /// Hears which cluster this is; a member without a leader, and one that does not let us read, says so here.
    async fn greet(&self, prefix: &str) -> Result<u64, No> {
        let key = prefix.as_bytes().to_vec();
        let request = RangeRequest { key, serializable: true, count_only: true, ..RangeRequest::default() };
        let mut keys = self.keys();
        let answer =
            bounded(GREETING_TIME, async { keys.range(request).await.map(Response::into_inner) }).await;
        let header = lapsed_is_refused(answer)?.header;
        let nothing = || No::Trouble(Miss::Broken("it does not say which cluster it is".into()));
        header.map(|header| header.cluster_id).ok_or_else(nothing)
    }
}

/// Where there is no login to renew, a login that does not count is a refusal.
fn lapsed_is_refused<A>(outcome: Result<A, No>) -> Result<A, No> {
    outcome.map_err(|no| match no {
        No::LoginLapsed(words) => No::Refused(Refusal::NoUser, words),
        no => no,
    })
}

async fn bounded<A>(time: Duration, call: impl Future<Output = Result<A, Status>>) -> Result<A, No> {
    let late = || No::Trouble(Miss::Late { what: "answer", after: time });
    timeout(time, call).await.map_err(|_| late())?.map_err(|status| understand(&status))
}

async fn connect(endpoint: &Endpoint, options: &Options) -> Result<(Channel, EndWithUs), Miss> {
    let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
    let late = Miss::Late { what: "connection", after: CONNECT_TIME };
    let stream = timeout(CONNECT_TIME, connecting).await.map_err(|_| late)?;
    let stream =
        stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)).map_err(Miss::Connect)?;
    if endpoint.tls {
        speak(tls::agree(stream, endpoint, &options.tls).await?).await
    } else {
        speak(stream).await
    }
}

async fn speak<S>(stream: S) -> Result<(Channel, EndWithUs), Miss>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES.0)
        .initial_connection_window_size(WINDOW_BYTES.1)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PONG_TIME)
        .handshake(TokioIo::new(stream));
    // This only writes; what is there is heard in the first answer.
    let (sender, conversation) = handshake.await.map_err(|error| Miss::Broken(Box::new(error)))?;
    let task = tokio::spawn(async {
        if let Err(error) = conversation.await {
            tracing::debug!(error = crate::error::chain(&error), "a conversation with etcd broke off");
        }
    });
    Ok((Channel { sender, token: Arc::default() }, EndWithUs(task)))
}

/// What carries a call: HTTP/2, with the words that etcd wants beside each.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    sender: SendRequest<Body>,
    token: Arc<Mutex<Option<HeaderValue>>>,
}

impl Channel {
    fn carry(&self, token: Option<HeaderValue>) {
        let token = token.map(|mut token| {
            token.set_sensitive(true);
            token
        });
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

impl Service<hyper::Request<Body>> for Channel {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, mut request: hyper::Request<Body>) -> Self::Future {
        /// With it, a member that belongs to no majority says so, also in a stream that is going on.
        const WANTS_LEADER: HeaderName = HeaderName::from_static("hasleader");
        const TOKEN: HeaderName = HeaderName::from_static("token");
        let headers = request.headers_mut();
        headers.insert(WANTS_LEADER, HeaderValue::from_static("true"));
        if let Some(token) = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            headers.insert(TOKEN, token);
        }
        Box::pin(self.sender.send_request(request))
    }
}
