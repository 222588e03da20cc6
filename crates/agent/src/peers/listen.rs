//! Listens on this host's own addresses, as the inventory lists them, and takes connections.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::door::Door;
use super::talk;
use crate::edge::tcp;

/// How long until an address at which nobody could listen is tried again: whoever has the port may go.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A pause when the kernel gives no connection, as it does without free descriptors: else the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A task that ends with this.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens wherever the inventory in force says, until it is aborted.
pub(super) async fn listen(door: Arc<Door>, port: u16, acceptor: TlsAcceptor, routes: Router) {
    let mut inventory = door.changes();
    let mut tasks: BTreeMap<SocketAddr, Task> = BTreeMap::new();
    loop {
        let known = inventory.borrow_and_update().clone();
        let wanted: Vec<SocketAddr> =
            known.me.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
        tasks.retain(|at, _| {
            let stays = wanted.contains(at);
            if !stays {
                door.note_listening(*at, None);
            }
            stays
        });
        for at in &wanted {
            if !tasks.contains_key(at) {
                let started = start(&door, *at, &acceptor, &routes);
                door.note_listening(*at, Some(started.as_ref().map(|(at, _)| *at).map_err(words)));
                tasks.extend(started.ok().map(|(_, task)| (*at, task)));
            }
        }
        tokio::select! {
            changed = inventory.changed() => if changed.is_err() { return },
            () = sleep(TRY_AGAIN_AFTER), if tasks.len() < wanted.len() => {}
        }
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "something else listens on that port".to_owned(),
        _ => error.to_string(),
    }
}

fn start(
    door: &Arc<Door>,
    at: SocketAddr,
    acceptor: &TlsAcceptor,
    routes: &Router,
) -> io::Result<(SocketAddr, Task)> {
    let listener = tcp::listen(at)?;
    let bound = listener.local_addr()?;
    tracing::debug!(at = %bound, "other hosts can ask this one");
    let task = tokio::spawn(take(listener, door.clone(), acceptor.clone(), routes.clone()));
    Ok((bound, Task(task.abort_handle())))
}

async fn take(listener: TcpListener, door: Arc<Door>, acceptor: TlsAcceptor, routes: Router) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // One that finds no room is closed without a word: its sender has proved nothing yet.
                if let Some(place) = door.let_stranger_in(from.ip()) {
                    let talk =
                        talk::talk(door.clone(), place, stream, from.ip(), acceptor.clone(), routes.clone());
                    tokio::spawn(talk);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
