//! One connection of another host: handshake, who is it, then HTTP until it is over.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use byway_api::Refusal;
use byway_api::identity::key_of;
use byway_fabric::cluster::{HostName, PublicKey};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::AlertDescription;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::door::{Door, Place};
use crate::edge::tcp;
use crate::serve::refuse_with;

/// How long a handshake may take; it takes two round trips.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// How long until the whole head of a request is there, from the handshake or the answer before: bounds idle
/// connections and those that send byte by byte.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The largest head of a request; ours have some hundred bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The most headers of a request; ours have five.
const HEADERS_MAX: usize = 32;
/// How long a host that is refused has to ask something and hear that it is.
const REFUSAL_TIME: Duration = Duration::from_secs(3);

/// Who asks; every request of a known host carries it as an extension.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The host, as the inventory in force calls it.
    pub host: HostName,
}

/// Talks until it is over.
pub(super) async fn talk(
    door: Arc<Door>,
    place: Place,
    stream: TcpStream,
    from: IpAddr,
    acceptor: TlsAcceptor,
    routes: Router,
) {
    if let Err(error) = tcp::keep_asking(&stream) {
        tracing::debug!(%from, %error, "a connection that cannot be watched over");
    }
    let stream = match timeout(HANDSHAKE_TIME, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return no_handshake(&door, from, &error),
        Err(_) => return tracing::debug!(%from, "no handshake in time"),
    };
    let Some(key) = key_of(stream.get_ref().1.peer_certificates()) else { return };
    match door.let_key_in(key, from) {
        Err(refusal) => {
            // It keeps its place among the strangers as long as it is here.
            let _ = timeout(REFUSAL_TIME, tell(stream, refusal)).await;
            drop(place);
        }
        Ok((host, seat)) => {
            drop(place);
            tokio::select! {
                () = converse(stream, Asker { host }, routes) => {}
                () = until_unknown(&door, key) => tracing::info!(%from, %key, "hung up: the inventory has no such key any more"),
            }
            drop(seat);
        }
    }
}

/// Notes that somebody does not take our key; all else is noise of the network.
fn no_handshake(door: &Door, from: IpAddr, error: &io::Error) {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    if cause == Some(&rustls::Error::AlertReceived(AlertDescription::AccessDenied)) {
        door.note_not_trusted(from);
    } else {
        tracing::debug!(%from, %error, "no handshake");
    }
}

/// Waits until the inventory in force does not list that key.
async fn until_unknown(door: &Door, key: PublicKey) {
    let mut changes = door.changes();
    // The door outlives its guests; an error would mean that the agent ends.
    let _ = changes.wait_for(|known| known.cluster.host_with_key(&key).is_none()).await;
}

/// HTTP as narrow as our own clients need it.
fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    http
}

async fn converse(stream: TlsStream<TcpStream>, asker: Asker, routes: Router) {
    let routes = routes.layer(axum::Extension(asker));
    let served = http().serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a host that asked broke off");
    }
}

/// Answers whatever is asked with the refusal, once.
async fn tell(stream: TlsStream<TcpStream>, refusal: Refusal) {
    let answer = service_fn(move |_: Request<Incoming>| {
        let refusal = refusal.clone();
        async move { Ok::<Response, std::convert::Infallible>(refuse_with(StatusCode::FORBIDDEN, refusal)) }
    });
    if let Err(error) = http().keep_alive(false).serve_connection(TokioIo::new(stream), answer).await {
        tracing::debug!(%error, "a host that was refused did not wait to hear it");
    }
}
