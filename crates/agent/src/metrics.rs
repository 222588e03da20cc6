//! The agent's numbers, between the loop that counts and whoever reads them.
//!
//! A reader gets what is at hand: it makes no look and wakes nobody. Whatever goes wrong with reading them over TCP
//! ([`listen`]) is told in the status and ends neither the agent nor its routes.

mod listen;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use byway_api::metrics::{self, Numbers, Started};

pub(crate) use listen::Listening;

/// The numbers, shared.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Mutex<Numbers>>);

impl Metrics {
    pub(crate) fn new(started: Started) -> Self {
        Self(Arc::new(Mutex::new(Numbers::new(started))))
    }

    /// Counts something. Keep it short: readers wait meanwhile, and so does the loop for them.
    pub(crate) fn note(&self, count: impl FnOnce(&mut Numbers)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The page as an answer.
    pub(crate) fn answer(&self) -> Response {
        // Written from a copy, so that the loop never waits for the writing.
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&numbers)).into_response()
    }
}
