//! What another host can ask: the one place where its routes are listed. All of them only look.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use byway_api::{API, API_HEADER, Hello, Refusal, path};

use super::door::Door;
use crate::edge::docker::Place;
use crate::serve::{Desk, refuse_with, tell_peer_status, tell_word};

/// The largest request: a question is a few hundred bytes.
pub(super) const REQUEST_BYTES_MAX: usize = 64 << 10;
/// How long until an answer begins; one that comes bit by bit may take longer in all.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The routes for hosts that are known. Each request carries an [`super::talk::Asker`].
pub(crate) fn routes(door: &Arc<Door>, desk: Desk, docker: Place) -> Router {
    let looks = Router::new().route(path::STATUS, get(tell_peer_status)).route(path::HEALTH, post(tell_word));
    let looks = looks.with_state(desk);
    guarded(door, looks.merge(super::trace::routes(door, docker)))
}

/// Routes with what all of them need: hello, bounds, versions, and words for what is not there.
pub(super) fn guarded(door: &Arc<Door>, routes: Router) -> Router {
    let hello = Router::new().route(path::HELLO, get(tell_hello)).with_state(door.clone());
    routes
        .fallback(no_such_path)
        .layer(from_fn_with_state(door.clone(), agree))
        .merge(hello)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(from_fn(bound))
}

async fn tell_hello(State(door): State<Arc<Door>>) -> Json<Hello> {
    Json(hello(&door))
}

fn hello(door: &Door) -> Hello {
    Hello {
        host: door.known().me.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: API,
        speaks_as: door.speaks_as(),
    }
}

async fn no_such_path(method: Method, uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("there is no {method} {}", uri.path()), None)
}

/// Lets only requests through that mean a version which we speak.
async fn agree(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let said =
        request.headers().get(API_HEADER).map(|value| value.to_str().ok().and_then(|text| text.parse().ok()));
    match said {
        // Without a word it means what the path says.
        None => next.run(request).await,
        Some(Some(version)) if (API.0..=API.1).contains(&version) => next.run(request).await,
        Some(_) => {
            let agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
            let Hello { host, version, api, .. } = hello(&door);
            let asked = request
                .headers()
                .get(API_HEADER)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("no number");
            let what = format!(
                "{host} has byway/{version} and speaks versions {} to {} of the API, {} asked in version {asked}",
                api.0,
                api.1,
                agent.unwrap_or("somebody")
            );
            let hint = "install the same version of byway on both".to_owned();
            refuse(StatusCode::BAD_REQUEST, what, Some(hint))
        }
    }
}

/// Bounds every request in size, and the time until its answer begins.
async fn bound(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<usize>().ok());
    if length.is_some_and(|length| length > REQUEST_BYTES_MAX) {
        let what = format!("the request is larger than {REQUEST_BYTES_MAX} bytes");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, what, None);
    }
    let answer = tokio::time::timeout(ANSWER_TIME, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let what = format!("there was no answer within {} s", ANSWER_TIME.as_secs());
        refuse(StatusCode::GATEWAY_TIMEOUT, what, None)
    })
}

fn refuse(code: StatusCode, what: String, hint: Option<String>) -> Response {
    refuse_with(code, Refusal { chain: vec![what], hint }).into_response()
}
