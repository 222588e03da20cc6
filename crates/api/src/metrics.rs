//! The agent's numbers as Prometheus reads them.
//!
//! Knows nothing of the agent's loop or of HTTP: [`Numbers`] are counted up and set by whoever does the work, and
//! [`text`] writes them down. All labels come from closed lists, so that no cluster and no stranger makes the page
//! longer: it has some 100 samples, always the same.

mod exposition;
mod histogram;
mod labels;
mod standing;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

pub use exposition::{CONTENT_TYPE, Family, Kind};
pub use histogram::Histogram;
pub use labels::{By, Cause, Counts, Label, Source, Thing};
pub use standing::{ByFamily, Standing};
pub use text::{FAMILIES, text};

use crate::InventoryStatus;

/// What an agent has counted since it started, and how its host stood at the last look.
#[derive(Debug, Clone)]
pub struct Numbers {
    started: Started,
    looks: u64,
    last_look: Option<Timestamp>,
    events: Counts<Source>,
    lost: u64,
    loops: Histogram,
    failed_loops: u64,
    is_failing: bool,
    repairs: Counts<Cause>,
    done: Done,
    changes: BTreeMap<(Thing, By), u64>,
    standing: Option<Standing>,
    inventory: Option<InventoryStatus>,
}

/// What does not change while an agent lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The version of Byway.
    pub version: String,
    /// This host's name in the inventory.
    pub host: String,
    /// When the agent started.
    pub at: Timestamp,
    /// Whether it only looks and answers, and changes nothing on this host.
    pub hands_off: bool,
}

/// What came of the steps of plans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Steps that were done.
    pub applied: Counts<Thing>,
    /// Steps that were tried and refused.
    pub failed: Counts<Thing>,
}

/// What came of one wake: looks and steps until there was nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// From the wake to the rest.
    pub took: Duration,
    /// Whether the agent gave up for now.
    pub failed: bool,
    /// Why something was changed, if anything was.
    pub repaired: Option<Cause>,
}

impl Numbers {
    /// The numbers of an agent that has done nothing yet.
    #[must_use]
    pub fn new(started: Started) -> Self {
        Self {
            started,
            looks: 0,
            last_look: None,
            events: Counts::default(),
            lost: 0,
            loops: Histogram::default(),
            failed_loops: 0,
            is_failing: false,
            repairs: Counts::default(),
            done: Done::default(),
            changes: BTreeMap::new(),
            standing: None,
            inventory: None,
        }
    }

    /// Something was heard.
    pub fn heard(&mut self, source: Source) {
        self.events.add(source, 1);
    }

    /// The kernel had more notices than could be taken.
    pub fn lost_notices(&mut self) {
        self.lost += 1;
    }

    /// Somebody changed what is ours.
    pub fn was_changed(&mut self, thing: Thing, by: By) {
        *self.changes.entry((thing, by)).or_default() += 1;
    }

    /// A look was made.
    pub fn looked(&mut self, at: Timestamp) {
        self.looks += 1;
        self.last_look = Some(at);
    }

    /// Steps of a plan were tried.
    pub fn stepped(&mut self, done: &Done) {
        self.done.applied.add_all(&done.applied);
        self.done.failed.add_all(&done.failed);
    }

    /// A wake was dealt with.
    pub fn came_round(&mut self, round: Round) {
        self.loops.observe(round.took);
        self.is_failing = round.failed;
        self.failed_loops += u64::from(round.failed);
        if let Some(cause) = round.repaired {
            self.repairs.add(cause, 1);
        }
    }

    /// How the host stands, by the last look.
    pub fn stands(&mut self, standing: Standing) {
        self.standing = Some(standing);
    }

    /// How the inventory stands.
    pub fn has_read(&mut self, inventory: InventoryStatus) {
        self.inventory = Some(inventory);
    }
}
