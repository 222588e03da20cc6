//! Asks the agent of another host: TLS with both keys pinned, one connection, everything bounded.
//!
//! ```text
//! connect ──> its addresses in turn ──> handshake: is it their key? ──> hello: a common version? ──> Peer
//!   Peer ──> get, post: one question, one answer          (any number of them)
//!   Peer ──> stream:    one question, lines until the end (the connection belongs to them then)
//! ```

use std::io;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use byway_fabric::cluster::{Host, HostName, PublicKey};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::http::{Cause, Conversation, whole};
use crate::identity::Identity;
pub use crate::peer_error::{Gap, PeerError};
use crate::{API, API_HEADER, Hello, Refusal, path};

/// The largest answer of another host: a status of 10,000 hosts is about 4 MiB.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// The longest line of a stream: the largest packet, as JSON, several times over.
const LINE_BYTES_MAX: usize = 1 << 20;

/// How long after the first address the next one is tried as well (RFC 8305, 5, has 250 ms for the whole internet).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(100);

type Stream = tokio_rustls::client::TlsStream<TcpStream>;

/// How long the steps of a conversation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Until there is a TCP connection; hosts of a cluster share a link.
    pub connect: Duration,
    /// Until both have proved their keys.
    pub handshake: Duration,
    /// Until the whole answer to a question, or the beginning of a stream, is there.
    pub answer: Duration,
    /// The most bytes that an answer may have.
    pub answer_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            handshake: Duration::from_secs(1),
            answer: Duration::from_secs(10),
            answer_bytes: ANSWER_BYTES_MAX,
        }
    }
}

/// A connection to the agent of another host, which has proved to have its key. Closed when dropped.
#[derive(Debug)]
pub struct Peer {
    host: HostName,
    address: SocketAddr,
    hello: Hello,
    bounds: Bounds,
    conversation: Conversation,
}

impl Peer {
    /// Connects to `host` on `port`, as the one who has the key `mine`.
    ///
    /// # Errors
    /// Why the host cannot be asked; each kind is one of [`PeerError`].
    pub async fn connect(host: &Host, port: u16, mine: &Identity, bounds: Bounds) -> Result<Self, PeerError> {
        let theirs = host.key.ok_or_else(|| PeerError::NoKey { host: host.name.clone() })?;
        let (stream, address) = reach(host, port, mine, theirs, bounds).await?;
        let ask = |cause| PeerError::Ask { host: host.name.clone(), what: "anything".to_owned(), cause };
        let conversation = Conversation::begin(stream).await.map_err(ask)?;
        let unknown =
            Hello { host: host.name.clone(), version: String::new(), api: API, speaks_as: Vec::new() };
        let mut peer = Self { host: host.name.clone(), address, hello: unknown, bounds, conversation };
        let hello: Hello = peer.get(path::HELLO).await?;
        if hello.api.0 > API.1 || hello.api.1 < API.0 {
            return Err(PeerError::Version { host: peer.host, theirs: hello });
        }
        peer.hello = hello;
        Ok(peer)
    }

    /// What the host said of itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The address at which it was reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, PeerError> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        self.answer(format!("GET {path}"), request).await
    }

    /// Asks for something that needs words of ours.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &B,
    ) -> Result<T, PeerError> {
        let request = self.words(path, body)?;
        self.answer(format!("POST {path}"), request).await
    }

    /// Asks for something that comes bit by bit, for at most `time` in all. Dropping the lines closes the
    /// connection, and the other host ends what it does for us.
    ///
    /// # Errors
    /// When it does not begin, or the answer is a refusal.
    pub async fn stream<B: Serialize, T: DeserializeOwned>(
        mut self,
        path: &str,
        body: &B,
        time: Duration,
    ) -> Result<Lines<T>, PeerError> {
        let request = self.words(path, body)?;
        let (what, after) = (format!("POST {path}"), self.bounds.answer.min(time));
        let until = Instant::now() + time;
        let begin = async {
            let answer = self.conversation.ask(request).await?;
            if answer.status().is_success() {
                return Ok(Ok(answer.into_body()));
            }
            Ok(Err(refusal(answer, ANSWER_BYTES_MAX).await?))
        };
        let body = match timeout(after, begin).await {
            Ok(Ok(Ok(body))) => body,
            Ok(Ok(Err(refusal))) => return Err(PeerError::Refused { host: self.host, refusal }),
            Ok(Err(cause)) => return Err(PeerError::Ask { host: self.host, what, cause }),
            Err(_) => return Err(PeerError::Late { host: self.host, what: format!("answer {what}"), after }),
        };
        Ok(Lines { peer: self, what, body, left: Vec::new(), looked_at: 0, until, time, item: PhantomData })
    }

    fn words<B: Serialize>(&self, path: &str, body: &B) -> Result<Request<Full<Bytes>>, PeerError> {
        match serde_json::to_vec(body) {
            Ok(body) => self.request(Method::POST, path, body.into()),
            Err(cause) => Err(self.broken(format!("POST {path}"), cause.into())),
        }
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, PeerError> {
        let what = format!("{method} {path}");
        Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.host.as_str())
            .header("user-agent", concat!("byway/", env!("CARGO_PKG_VERSION")))
            .header("content-type", "application/json")
            .header(API_HEADER, self.hello.api.1.min(API.1))
            .body(Full::new(body))
            .map_err(|cause| self.broken(what, cause.into()))
    }

    async fn answer<T: DeserializeOwned>(
        &mut self,
        what: String,
        request: Request<Full<Bytes>>,
    ) -> Result<T, PeerError> {
        let (after, bytes_max) = (self.bounds.answer, self.bounds.answer_bytes);
        let talk = async {
            let answer = self.conversation.ask(request).await?;
            if answer.status().is_success() {
                return Ok(Ok(whole(answer, bytes_max).await?));
            }
            Ok(Err(refusal(answer, bytes_max).await?))
        };
        let host = self.host.clone();
        match timeout(after, talk).await {
            Ok(Ok(Ok(body))) => {
                serde_json::from_slice(&body).map_err(|cause| self.broken(what, cause.into()))
            }
            Ok(Ok(Err(refusal))) => Err(PeerError::Refused { host, refusal }),
            Ok(Err(cause)) => Err(self.broken(what, cause)),
            Err(_) => Err(PeerError::Late { host, what: format!("answer {what}"), after }),
        }
    }

    fn broken(&self, what: String, cause: Cause) -> PeerError {
        PeerError::Ask { host: self.host.clone(), what, cause }
    }
}

/// What was said with a status that is not success.
async fn refusal(answer: Response<Incoming>, bytes_max: usize) -> Result<Refusal, Cause> {
    let status: StatusCode = answer.status();
    let body = whole(answer, bytes_max).await?;
    Ok(serde_json::from_slice(&body)
        .unwrap_or_else(|_| Refusal { chain: vec![format!("it answers {status}")], hint: None }))
}

/// What comes bit by bit: one JSON value a line.
#[derive(Debug)]
pub struct Lines<T> {
    peer: Peer,
    what: String,
    body: Incoming,
    /// What came of lines that are not told yet, and how far there is no end of a line in it.
    left: Vec<u8>,
    looked_at: usize,
    until: Instant,
    time: Duration,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// Waits for the next one; none when the other host has said all. After an error comes nothing that makes sense.
    pub async fn next(&mut self) -> Option<Result<T, PeerError>> {
        loop {
            if let Some(line) = self.take_line() {
                let read = serde_json::from_slice(&line);
                return Some(read.map_err(|cause| self.peer.broken(self.what.clone(), cause.into())));
            }
            if self.left.len() > LINE_BYTES_MAX {
                let cause = format!("a line is longer than {LINE_BYTES_MAX} bytes").into();
                return Some(Err(self.peer.broken(self.what.clone(), cause)));
            }
            match timeout_at(self.until, self.body.frame()).await {
                Ok(Some(Ok(frame))) => self.left.extend(frame.into_data().unwrap_or_default()),
                Ok(Some(Err(cause))) => return Some(Err(self.peer.broken(self.what.clone(), cause.into()))),
                Ok(None) if self.left.is_empty() => return None,
                Ok(None) => {
                    let cause = "the last line is cut off".into();
                    self.left.clear();
                    return Some(Err(self.peer.broken(self.what.clone(), cause)));
                }
                Err(_) => {
                    let (host, what) = (self.peer.host.clone(), format!("end {}", self.what));
                    return Some(Err(PeerError::Late { host, what, after: self.time }));
                }
            }
        }
    }

    /// The first whole line of what has come.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(at) = self.left[self.looked_at..].iter().position(|byte| *byte == b'\n') else {
            self.looked_at = self.left.len();
            return None;
        };
        let rest = self.left.split_off(self.looked_at + at + 1);
        self.looked_at = 0;
        Some(std::mem::replace(&mut self.left, rest))
    }
}

/// A stream to the host, in which both have proved their keys: its addresses are tried one shortly after the other,
/// the first at which the host answers as itself is taken.
async fn reach(
    host: &Host,
    port: u16,
    mine: &Identity,
    theirs: PublicKey,
    bounds: Bounds,
) -> Result<(Stream, SocketAddr), PeerError> {
    let attempt = |(nth, address): (u32, &IpAddr)| {
        let address = SocketAddr::new(*address, port);
        async move {
            sleep(NEXT_ADDRESS_AFTER * nth).await;
            (address, approach(host, address, mine, theirs, bounds).await)
        }
    };
    let mut attempts: FuturesUnordered<_> = (0..).zip(&host.addresses).map(attempt).collect();
    let (mut tries, mut there) = (Vec::new(), None);
    while let Some((address, outcome)) = attempts.next().await {
        match outcome {
            Ok(stream) => return Ok((stream, address)),
            Err(Miss::Nobody(error)) => tries.push((address, error)),
            // Somebody else's key says more than silence.
            Err(Miss::Somebody(error)) if there.is_none() || error.gap() == Gap::OtherKey => {
                there = Some(error);
            }
            Err(Miss::Somebody(_)) => {}
        }
    }
    tries.sort_by_key(|(address, _)| *address);
    Err(there.unwrap_or_else(|| PeerError::Unreachable { host: host.name.clone(), tries }))
}

/// What came of one address.
enum Miss {
    Nobody(io::Error),
    Somebody(PeerError),
}

/// A TCP connection to one address, and TLS over it.
async fn approach(
    host: &Host,
    address: SocketAddr,
    mine: &Identity,
    theirs: PublicKey,
    bounds: Bounds,
) -> Result<Stream, Miss> {
    let late = Err(io::Error::from(io::ErrorKind::TimedOut));
    let stream = timeout(bounds.connect, TcpStream::connect(address)).await.unwrap_or(late);
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)).map_err(Miss::Nobody)?;
    let (config, shown) = mine.ask(theirs).map_err(|error| Miss::Somebody(error.into()))?;
    let name = ServerName::IpAddress(address.ip().into());
    let connector = TlsConnector::from(Arc::new(config));
    let outcome = timeout(bounds.handshake, connector.connect(name, stream)).await;
    let host = host.name.clone();
    Err(Miss::Somebody(match (outcome, shown.other()) {
        (Ok(Ok(stream)), _) => return Ok(stream),
        (_, Some(shown)) => PeerError::OtherKey { host, address, shown, listed: theirs },
        (Ok(Err(cause)), None) => PeerError::Handshake { host, address, cause },
        (Err(_), None) => {
            PeerError::Late { host, what: format!("prove its key at {address}"), after: bounds.handshake }
        }
    }))
}
