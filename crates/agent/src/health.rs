//! Tries the peers all the time: along the data path by echoes, over the agents' own channel by asking.
//!
//! ```text
//! keep.rs ── what a look found ──> book.rs: a page for each peer ──> reach, status, what peers are told
//!    ^                                 ^  │ what is due
//!    │ a peer is gone, or tried again  │  v
//!    └──────────────────────────── this task ──> edge/echo.rs, ask.rs
//! ```
//!
//! What is believed is decided in `fabric::health`, which has no clock and no sockets; this only carries.

mod ask;
mod book;

use std::sync::Arc;
use std::time::Duration;

use byway_fabric::cluster::HostName;
use byway_fabric::health::{Deed, Said};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::edge::echo::Echoes;
pub(crate) use ask::Asker;
pub(crate) use book::{Book, Lost};

/// Between two rounds at least: what is due within it is done together.
const STEP: Duration = Duration::from_millis(10);
/// Answers taken in one round from each socket: what a flood is worth.
const ANSWERS_MAX: usize = 4096;

/// The task, while it lives.
#[derive(Debug)]
pub(crate) struct Trials(JoinHandle<()>);

impl Trials {
    /// Begins to try whoever is in the book. Without sockets nobody is, and the book says why.
    pub(crate) fn start(book: Book, asker: Asker) -> Option<Self> {
        match Echoes::open() {
            Ok(echoes) => Some(Self(tokio::spawn(run(book, echoes, Arc::new(asker))))),
            Err(error) => {
                tracing::error!(%error, "peers cannot be tried; their routes stay whatever happens");
                None
            }
        }
    }
}

impl Drop for Trials {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What came of a question.
struct Told {
    peer: HostName,
    asked: Deed,
    said: Said,
    speaks_as: Option<Vec<std::net::IpAddr>>,
}

async fn run(book: Book, echoes: Echoes, asker: Arc<Asker>) {
    let mut questions = JoinSet::new();
    let mut last = Instant::now();
    loop {
        let due = book.due().max(last + STEP);
        let told = tokio::select! {
            () = sleep_until(due) => None,
            () = book.changed() => None,
            Some(told) = questions.join_next() => told.ok(),
        };
        last = Instant::now();
        // Whatever came before is heard before anybody is judged.
        for answer in echoes.answers(ANSWERS_MAX) {
            book.take_in(&answer);
        }
        if let Some(told) = told {
            book.told(told);
        }
        for question in book.tick(&echoes) {
            let asker = asker.clone();
            questions.spawn(async move { asker.ask(question).await });
        }
        book.tell_who_is_lost();
    }
}
