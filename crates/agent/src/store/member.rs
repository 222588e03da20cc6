//! A host's membership in a cluster that etcd holds: enters, claims subnets, stays alive, hears of the others.
//!
//! ```text
//! connect ─> lease ─> list ─> claim ─> publish ─> wait (watch, renewal, uses) ─┐
//!    ^                 ^        ^─────────────────────────────────────────────┤ something changed
//!    │                 └─ the watch is at its end, or somebody was faster ────┤
//!    └─ pause ── etcd cannot be reached ──────────────────────────────────────┘
//! ```
//!
//! All of it is level: what is claimed and told follows from the whole listing, kept up to date by the watch. While etcd
//! cannot be reached nothing is told, so that what was in force stays.

mod addresses;
mod session;
mod words;

pub(super) use words::{entry, request};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use byway_api::{LeaseStatus, Rejected};
use byway_fabric::lease::Claimant;
use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::shared::{Seen, Shared};
use super::{Known, remembered};
use crate::edge::etcd::{Etcd, EtcdError, Lease};
use crate::error::chain;

/// How long it may take to give the lease back: somebody waits for `byway down`.
const LEAVE_TIME: Duration = Duration::from_secs(3);
/// The pause after the first failure, doubled with each one after it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// And the longest: what etcd bears from some hundred hosts that come back at once.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// What is known is written to the disk as soon as it changes, but for at most one part in so many of the time: an agent
/// that is killed starts from there, and would take out what it does not know of.
const REMEMBER_PART: u32 = 20;
/// The longest pause between two writes that follows from that.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);

/// What is told of the store.
#[derive(Debug, Clone)]
pub struct Told {
    /// What should be in force; none before etcd has let this host in.
    pub(super) known: Option<Arc<Known>>,
    /// When etcd was last heard.
    pub(super) read_at: Option<Timestamp>,
    /// When the lease was last renewed.
    pub(super) renewed_at: Option<Timestamp>,
    /// How many conversations have failed.
    pub(super) errors: u64,
    /// Why etcd says nothing, and since when.
    pub(super) trouble: Option<Rejected>,
    /// How this host stands there.
    pub(super) lease: LeaseStatus,
}

impl Told {
    pub(super) fn nothing(read_at: Option<Timestamp>, now: Timestamp) -> Self {
        let trouble = Rejected { since: now, mistakes: "etcd has not been reached yet".to_owned() };
        let lease = LeaseStatus::default();
        Self { known: None, read_at, renewed_at: None, errors: 0, trouble: Some(trouble), lease }
    }
}

/// A host as it takes part.
#[derive(Debug)]
pub(super) struct Member {
    shared: Shared,
    claimant: Claimant,
    lease: Option<Lease>,
    tell: watch::Sender<Told>,
    hear: watch::Receiver<Seen>,
    path: PathBuf,
    /// When what is known may be written down again, and what was.
    written: Option<(Instant, Arc<Known>)>,
}

impl Member {
    pub(super) fn new(
        shared: Shared,
        claimant: Claimant,
        path: PathBuf,
        tell: watch::Sender<Told>,
        hear: watch::Receiver<Seen>,
    ) -> Self {
        Self { shared, claimant, lease: None, tell, hear, path, written: None }
    }

    /// Takes part for as long as the agent runs, or until it is told to leave.
    pub(super) async fn run(mut self, left: oneshot::Receiver<()>) {
        tokio::select! {
            () = self.take_part() => return,
            told = left => if told.is_err() { return },
        }
        if timeout(LEAVE_TIME, self.give_back()).await.is_err() {
            tracing::warn!(
                "etcd does not answer; the others hear that this host is gone when its lease lapses"
            );
        }
    }

    /// Gives the lease back, and with it goes what says that this host is there.
    async fn give_back(&self) {
        let Some(lease) = self.lease else { return };
        let given_back = async { Etcd::connect(&self.shared.options).await?.revoke(lease.id).await };
        if let Err(error) = given_back.await {
            tracing::warn!(error = chain(&error), "the lease was not given back; it lapses by itself");
        }
    }

    async fn take_part(&mut self) {
        let mut pause = PAUSE_MIN;
        // What a host must not be given is known after the first look only.
        if self.hear.wait_for(Option::is_some).await.is_err() {
            return;
        }
        loop {
            let begun = Instant::now();
            let Err(error) = self.session().await else { return };
            self.trouble(&error);
            if begun.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// Tells that etcd says nothing; since when is told with the first of several reasons.
    fn trouble(&self, error: &EtcdError) {
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let mistakes = format!("{}{hint}", chain(error));
        self.tell.send_if_modified(|told| {
            told.errors += 1;
            let is_new = told.trouble.as_ref().is_none_or(|trouble| trouble.mistakes != mistakes);
            if is_new {
                tracing::error!(%mistakes, "etcd says nothing; what was in force stays so");
                let since = told.trouble.as_ref().map_or_else(Timestamp::now, |trouble| trouble.since);
                told.trouble = Some(Rejected { since, mistakes });
            }
            is_new
        });
    }

    /// Tells that etcd was heard.
    fn heard(&self) {
        self.tell.send_if_modified(|told| {
            told.read_at = Some(Timestamp::now());
            let had_trouble = told.trouble.take().is_some();
            if had_trouble {
                tracing::info!("etcd is heard");
            }
            had_trouble
        });
    }

    /// Notes that the lease lives; nobody is woken by that.
    fn renewed(&self) {
        self.tell.send_if_modified(|told| {
            told.renewed_at = Some(Timestamp::now());
            told.read_at = told.renewed_at;
            false
        });
    }

    /// Tells what should be in force.
    fn publish(&mut self, known: Known, lease: LeaseStatus) {
        let known = Arc::new(known);
        self.tell.send_if_modified(|told| {
            told.read_at = Some(Timestamp::now());
            let is_new = told.known.as_ref() != Some(&known) || told.lease != lease;
            if is_new {
                (told.known, told.lease) = (Some(Arc::clone(&known)), lease);
            }
            is_new
        });
    }

    /// Tells how this host stands there, where it has not been let in.
    fn publish_lease(&self, lease: LeaseStatus) {
        self.tell.send_if_modified(|told| {
            let is_new = told.lease != lease;
            told.lease = lease;
            is_new
        });
    }

    /// When what is known is to be written down; none if it is.
    fn due(&self) -> Option<Instant> {
        let known = self.tell.borrow().known.clone()?;
        match &self.written {
            Some((_, written)) if Arc::ptr_eq(written, &known) => None,
            Some((next, written)) if written.me == known.me => Some(*next),
            // Its own subnets a host must not forget.
            _ => Some(Instant::now()),
        }
    }

    fn remember(&mut self) {
        let Some(known) = self.tell.borrow().known.clone() else { return };
        let (begun, store, now) = (Instant::now(), self.shared.name(), Timestamp::now());
        if let Err(error) = remembered::write(&self.path, &store, &known, now) {
            tracing::error!(path = %self.path.display(), %error, "what is known of the cluster could not be written");
        }
        let pause = (REMEMBER_PART * begun.elapsed()).min(REMEMBER_EVERY);
        self.written = Some((Instant::now() + pause, known));
    }
}
