//! Two sides on the loopback: what is answered, what is bounded, and what each side hears when the other goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use byway_api::identity::Identity;
use byway_api::peer::{Bounds, Peer, PeerError};
use byway_api::{Hello, path};
use byway_fabric::cluster::{Cluster, Host, HostName, PublicKey};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use super::door::{CONNECTIONS_PER_PEER_MAX, Door};
use super::routes::{REQUEST_BYTES_MAX, guarded};
use super::talk::Asker;
use super::{Peers, lines};
use crate::store::Known;

/// Long enough for a loaded machine; nothing waits for it to pass.
const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(20),
    handshake: Duration::from_secs(20),
    answer: Duration::from_secs(20),
    answer_bytes: 1 << 20,
};

/// A server, and somebody who asks it.
struct Pair {
    server: Peers,
    at: SocketAddr,
    host: Host,
    asker: Identity,
}

fn host(name: &str, key: Option<PublicKey>) -> Host {
    let name = HostName::try_from(name.to_owned()).unwrap();
    Host { name, addresses: vec!["127.0.0.1".parse().unwrap()], subnets: Vec::new(), key }
}

fn known(me: &Host, others: &[Host]) -> Arc<Known> {
    let hosts = std::iter::once(me).chain(others).cloned().collect();
    Arc::new(Known { me: me.clone(), cluster: Cluster { prefixes: Vec::new(), hosts } })
}

impl Pair {
    async fn start(routes: impl FnOnce(&Arc<Door>) -> Router) -> Self {
        let (mine, asker) = (Identity::make().unwrap(), Identity::make().unwrap());
        let host_of = |name, identity: &Identity| host(name, Some(identity.public()));
        let (server, other) = (host_of("server", &mine), host_of("asker", &asker));
        let known = known(&server, &[other]);
        let peers = Peers::start(Ok(mine), 0, known, routes);
        let at = loop {
            if let Some(at) = peers.status().listening.first() {
                break *at;
            }
            tokio::task::yield_now().await;
        };
        Self { server: peers, at, host: server, asker }
    }

    async fn connect(&self) -> Result<Peer, PeerError> {
        Peer::connect(&self.host, self.at.port(), &self.asker, BOUNDS).await
    }

    /// The server's inventory does not list the asker any more.
    fn forget_asker(&self) {
        self.server.learn(known(&self.host, &[]));
    }

    /// Speaks to the server without our own client: what it answers until it hangs up.
    async fn say(&self, words: &str) -> String {
        let (config, _) = self.asker.ask(self.host.key.unwrap()).unwrap();
        let mut stream = self.tls(config).await.unwrap();
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn tls(
        &self,
        config: rustls::ClientConfig,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = ServerName::IpAddress(self.at.ip().into());
        let stream = TcpStream::connect(self.at).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// What the routes of these stories can do: say who asked, echo, and count without end.
fn plain(door: &Arc<Door>) -> Router {
    let routes = Router::new()
        .route("/v1/who", get(async |Extension(asker): Extension<Asker>| Json(asker.host)))
        .route("/v1/echo", post(async |Json(words): Json<String>| Json(words)));
    guarded(door, routes)
}

/// Counts from 1 to the number that is asked for, or without end; says on the channel when it was dropped.
fn counting(door: &Arc<Door>, dropped: mpsc::UnboundedSender<()>) -> Router {
    struct Says(mpsc::UnboundedSender<()>);
    impl Drop for Says {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let count = move |Json(last): Json<Option<u64>>| {
        let says = Says(dropped.clone());
        async move {
            lines(move |to: mpsc::Sender<u64>| async move {
                let _says = says;
                for number in 1..=last.unwrap_or(3) {
                    if to.send(number).await.is_err() {
                        return;
                    }
                }
                if last.is_none() {
                    std::future::pending::<()>().await;
                }
            })
        }
    };
    guarded(door, Router::new().route("/v1/count", post(count)))
}

#[tokio::test]
async fn a_known_host_is_answered_any_number_of_times_over_one_connection() {
    let pair = Pair::start(plain).await;
    let mut peer = pair.connect().await.unwrap();
    assert_eq!((peer.hello().host.as_str(), peer.address()), ("server", pair.at));
    for _ in 0..3 {
        assert_eq!(peer.get::<String>("/v1/who").await.unwrap(), "asker");
        assert_eq!(peer.post::<_, String>("/v1/echo", &"ü").await.unwrap(), "ü");
    }
    let error = peer.get::<String>("/v1/nothing").await.unwrap_err();
    assert_eq!(error.to_string(), "server refuses: there is no GET /v1/nothing");
    assert_eq!(peer.get::<String>("/v1/who").await.unwrap(), "asker", "a refusal ends nothing");
}

#[tokio::test]
async fn what_comes_bit_by_bit_comes_whole_and_in_order() {
    let (dropped, mut hears) = mpsc::unbounded_channel();
    let pair = Pair::start(|door| counting(door, dropped)).await;
    let peer = pair.connect().await.unwrap();
    let mut numbers = peer.stream::<_, u64>("/v1/count", &Some(10_000), BOUNDS.answer).await.unwrap();
    for expected in 1..=10_000 {
        assert_eq!(numbers.next().await.unwrap().unwrap(), expected);
    }
    assert!(numbers.next().await.is_none());
    hears.recv().await.unwrap();
}

#[tokio::test]
async fn a_handler_ends_as_soon_as_the_asker_has_gone() {
    let (dropped, mut hears) = mpsc::unbounded_channel();
    let pair = Pair::start(|door| counting(door, dropped)).await;
    let peer = pair.connect().await.unwrap();
    let mut numbers = peer.stream::<_, u64>("/v1/count", &None::<u64>, BOUNDS.answer).await.unwrap();
    assert_eq!(numbers.next().await.unwrap().unwrap(), 1);
    assert!(hears.try_recv().is_err(), "it goes on as long as somebody listens");
    drop(numbers);
    hears.recv().await.unwrap();
}

#[tokio::test]
async fn a_stream_ends_when_its_time_is_over() {
    let (dropped, mut hears) = mpsc::unbounded_channel();
    let pair = Pair::start(|door| counting(door, dropped)).await;
    let peer = pair.connect().await.unwrap();
    let time = Duration::from_millis(300);
    let mut numbers = match peer.stream::<_, u64>("/v1/count", &None::<u64>, time).await {
        Ok(numbers) => numbers,
        // On a machine that stood still meanwhile it did not even begin in time, which is told the same way.
        Err(error) => return assert!(matches!(error, PeerError::Late { .. }), "{error}"),
    };
    let error = loop {
        match numbers.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "server did not end POST /v1/count within 0.3 s");
    drop(numbers);
    hears.recv().await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_taken_out_of_the_inventory_is_hung_up_on_at_once() {
    let (dropped, mut hears) = mpsc::unbounded_channel();
    let pair = Pair::start(|door| counting(door, dropped)).await;
    let mut idle = pair.connect().await.unwrap();
    let peer = pair.connect().await.unwrap();
    let mut numbers = peer.stream::<_, u64>("/v1/count", &None::<u64>, BOUNDS.answer).await.unwrap();
    pair.forget_asker();
    hears.recv().await.unwrap();
    let error = loop {
        match numbers.next().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, PeerError::Ask { .. }),
        "a stream that was cut off is no stream that ended: {error}"
    );
    assert!(idle.get::<Hello>(path::HELLO).await.is_err());
    let refused = pair.connect().await.unwrap_err();
    let key = pair.asker.public();
    let expected = format!(
        "server refuses: server at 127.0.0.1 shows key {key}, but the inventory of server has key {} for it",
        pair.host.key.unwrap()
    );
    assert_eq!(refused.to_string(), expected);
    assert_eq!(pair.server.status().refused.len(), 1);
}

#[tokio::test]
async fn a_request_that_is_too_large_is_refused() {
    let pair = Pair::start(plain).await;
    let mut peer = pair.connect().await.unwrap();
    let error = peer.post::<_, String>("/v1/echo", &"x".repeat(REQUEST_BYTES_MAX)).await.unwrap_err();
    let words = format!("the request is larger than {REQUEST_BYTES_MAX} bytes");
    // The server does not read on: the answer may be lost behind what it left unread.
    assert!(error.to_string().contains(&words) || matches!(error, PeerError::Ask { .. }), "{error}");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let chunks = chunk.repeat(2) + "0\r\n\r\n";
    let head = "POST /v1/echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = pair.say(&format!("{head}{chunks}")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
    let answer = pair.say(&format!("GET /v1/hello HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000))).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let headers = (0..100).map(|nth| format!("x{nth}: 1\r\n")).collect::<Vec<_>>().concat();
    let answer = pair.say(&format!("GET /v1/hello HTTP/1.1\r\n{headers}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = pair.say("no HTTP at all\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(pair.connect().await.unwrap().get::<String>("/v1/who").await.unwrap(), "asker");
}

#[tokio::test]
async fn one_host_has_so_many_conversations_and_not_one_more() {
    let pair = Pair::start(plain).await;
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS_PER_PEER_MAX {
        peers.push(pair.connect().await.unwrap());
    }
    let refused = pair.connect().await.unwrap_err();
    assert!(
        refused.to_string().starts_with("server refuses: server has too many conversations: 16"),
        "{refused}"
    );
    assert!(refused.hint().is_some());
    assert!(pair.server.status().refused.is_empty(), "it is no stranger");
    peers.pop();
    // The server hears that one has gone a moment after.
    while pair.connect().await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_in_a_version_that_is_not_spoken_names_both_versions() {
    let pair = Pair::start(plain).await;
    let ask = |path: &str, version: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nuser-agent: byway/9.9.9\r\nbyway-api: {version}\r\n\r\n"
        )
    };
    for version in ["0", "9", "x", ""] {
        let answer = pair.say(&ask("/v1/who", version)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        let expected = format!(
            "server has byway/{} and speaks versions 1 to 1 of the API, byway/9.9.9 asked in version {version}",
            env!("CARGO_PKG_VERSION")
        );
        assert!(answer.contains(&expected), "{answer}");
        let hello = pair.say(&ask(path::HELLO, version)).await;
        assert!(hello.contains(r#""api":[1,1]"#), "hello is understood in every version: {hello}");
    }
}

#[tokio::test]
async fn a_host_of_the_future_is_told_apart_by_name_and_versions() {
    let hello = async || {
        let host = HostName::try_from("server".to_owned()).unwrap();
        Json(Hello { host, version: "9.9.9".to_owned(), api: (7, 9), speaks_as: Vec::new() })
    };
    let pair = Pair::start(|_| Router::new().route(path::HELLO, get(hello))).await;
    let error = pair.connect().await.unwrap_err();
    let expected = format!(
        "server has byway 9.9.9 and speaks versions 7 to 9 of the API, this byway {} speaks 1 to 1",
        env!("CARGO_PKG_VERSION")
    );
    assert!(matches!(error, PeerError::Version { .. }));
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn whoever_shows_no_key_or_expects_another_one_gets_no_word() {
    #[derive(Debug)]
    struct NoKey;
    impl rustls::client::ResolvesClientCert for NoKey {
        fn resolve(
            &self,
            _: &[&[u8]],
            _: &[rustls::SignatureScheme],
        ) -> Option<Arc<rustls::sign::CertifiedKey>> {
            None
        }

        fn only_raw_public_keys(&self) -> bool {
            true
        }

        fn has_certs(&self) -> bool {
            true
        }
    }
    let pair = Pair::start(plain).await;
    let (mut config, _) = pair.asker.ask(pair.host.key.unwrap()).unwrap();
    config.client_auth_cert_resolver = Arc::new(NoKey);
    // The client is through before the server has seen its empty hands.
    if let Ok(mut stream) = pair.tls(config).await {
        let _ = stream.write_all(b"GET /v1/hello HTTP/1.1\r\n\r\n").await;
        let mut answer = Vec::new();
        assert!(stream.read_to_end(&mut answer).await.is_err() && answer.is_empty(), "{answer:?}");
    }
    assert!(pair.server.status().refused.is_empty());

    let other = Identity::make().unwrap().public();
    let mut wrong = pair.host.clone();
    wrong.key = Some(other);
    let error = Peer::connect(&wrong, pair.at.port(), &pair.asker, BOUNDS).await.unwrap_err();
    let PeerError::OtherKey { shown, listed, .. } = error else { panic!("{error}") };
    assert_eq!((Some(shown), listed), (pair.host.key, other));
    let refused = loop {
        if let Some(refused) = pair.server.status().refused.pop() {
            break refused;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.what, "server at 127.0.0.1 hung up: it expects another key of server");
}
