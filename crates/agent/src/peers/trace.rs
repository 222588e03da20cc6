//! What a peer asks for when it follows a packet: where things are, what passes, what a packet would meet. A probe is
//! the one thing that is done for it: an ordinary packet from one of this host's containers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use byway_api::{Refusal, path};
use byway_fabric::trace::Search;
use byway_fabric::trace::question::Question;
use byway_fabric::trace::watch::{Order, ProbeOrder, StopOrder};
use tokio::sync::mpsc;

use super::door::Door;
use super::lines;
use crate::edge::docker::{self, Place};
use crate::error::chain;
use crate::serve::refuse_with;
use crate::trace::watching::{self, Stopper};
use crate::trace::{self, TraceError, question, search};

/// Orders that are carried out at the same time: each has a thread, and some sockets with 4 MiB of the kernel's room.
const ORDERS_MAX: usize = 16;

/// What the routes share.
#[derive(Clone)]
struct Desk {
    door: Arc<Door>,
    docker: Place,
    orders: Arc<Mutex<BTreeMap<u64, Stopper>>>,
}

/// The routes of traces.
pub(super) fn routes(door: &Arc<Door>, docker: Place) -> Router {
    Router::new()
        .route(path::SEARCH, post(find))
        .route(path::WATCH, post(watch))
        .route(path::STOP, post(stop))
        .route(path::PROBE, post(probe))
        .route(path::QUESTION, post(answer))
        .with_state(Desk { door: door.clone(), docker, orders: Arc::default() })
}

async fn find(State(desk): State<Desk>, Json(wanted): Json<Search>) -> Response {
    let me = desk.door.known().me.name.clone();
    let endpoints = docker::ask_once(&desk.docker).await.map(|docker| docker.endpoints).unwrap_or_default();
    blocking(move || search::search(&me, &wanted, &endpoints)).await
}

async fn answer(Json(wanted): Json<Question>) -> Response {
    blocking(move || Ok(question::answer(&wanted))).await
}

async fn blocking<T: serde::Serialize + Send + 'static>(
    work: impl FnOnce() -> Result<T, TraceError> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(found)) => Json(found).into_response(),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, chain(&error)),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending".to_owned()),
    }
}

/// Watches until the order's limits, until it is told to stop, or until the asker hangs up.
async fn watch(State(desk): State<Desk>, Json(order): Json<Order>) -> Response {
    let stopper = match desk.begin(order.id) {
        Ok(stopper) => stopper,
        Err(why) => return refuse(StatusCode::SERVICE_UNAVAILABLE, why),
    };
    lines(move |sender: mpsc::Sender<_>| async move {
        let _end = Carried { desk, id: order.id, stopper: stopper.clone() };
        let work = tokio::task::spawn_blocking(move || {
            let outcome = watching::watch(&order, &stopper, &mut |event| sender.blocking_send(event).is_ok());
            if let Err(error) = outcome {
                tracing::warn!(error = chain(&error), "watching for another host ended");
            }
        });
        drop(work.await);
    })
}

async fn stop(State(desk): State<Desk>, Json(order): Json<StopOrder>) -> Response {
    let known = desk.orders().get(&order.id).cloned();
    match known {
        Some(stopper) => {
            stopper.stop();
            Json(()).into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, format!("no order {} is carried out here", order.id)),
    }
}

/// Sends probes; the one line of the answer comes when they are answered or given up.
async fn probe(Json(order): Json<ProbeOrder>) -> Response {
    lines(|sender: mpsc::Sender<_>| async move {
        let sent =
            tokio::task::spawn_blocking(move || trace::probe(&order).map_err(|error| chain(&error))).await;
        if let Ok(sent) = sent {
            drop(sender.send(sent).await);
        }
    })
}

impl Desk {
    fn orders(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Stopper>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, id: u64) -> Result<Stopper, String> {
        let stopper = Stopper::new().map_err(|error| format!("make an event file: {error}"))?;
        let mut orders = self.orders();
        if orders.len() >= ORDERS_MAX {
            return Err(format!(
                "{ORDERS_MAX} orders to watch are carried out here already; try again later"
            ));
        }
        if orders.contains_key(&id) {
            return Err(format!("order {id} is carried out here already"));
        }
        orders.insert(id, stopper.clone());
        Ok(stopper)
    }
}

/// An order while it is carried out; when it is dropped, nobody listens any more.
struct Carried {
    desk: Desk,
    id: u64,
    stopper: Stopper,
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.stopper.hang_up();
        self.desk.orders().remove(&self.id);
    }
}

fn refuse(code: StatusCode, what: String) -> Response {
    refuse_with(code, Refusal { chain: vec![what], hint: None }).into_response()
}
