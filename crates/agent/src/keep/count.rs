//! What the loop counts of a wake.

use std::collections::BTreeSet;

use byway_api::metrics::{By, Cause, Numbers, Source, Thing};

use super::listen::Wake;
use crate::edge::notices::{Notice, Touch};

/// Why the loop goes round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The agent has started.
    Start,
    /// The inventory has changed.
    Store,
    /// A peer has gone, or is back.
    Health,
    /// Something may be wrong.
    Doubt,
}

/// What was done while the loop went round.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    /// In sentences.
    pub(super) sentences: Vec<String>,
    /// To what.
    pub(super) things: BTreeSet<Thing>,
}

impl Deeds {
    /// Why something was done; nothing where nothing was.
    pub(super) fn cause(&self, why: Why) -> Option<Cause> {
        let found = Cause::of(self.things.iter().copied())?;
        Some(match why {
            Why::Start => Cause::Start,
            Why::Store => Cause::Inventory,
            Why::Health => Cause::Health,
            Why::Doubt => found,
        })
    }
}

/// Counts what a wake was about, every notice of it.
pub(super) fn wake(numbers: &mut Numbers, wake: &Wake) {
    match wake {
        Wake::Changed(notices) => notices.iter().for_each(|heard| notice(numbers, heard)),
        Wake::Docker(_) => numbers.heard(Source::Docker),
        Wake::Health => numbers.heard(Source::Health),
        Wake::Firewalld(_) => numbers.heard(Source::Firewalld),
        Wake::Store => numbers.heard(Source::Inventory),
        Wake::Timer => numbers.heard(Source::Timer),
        Wake::Ask(_) => numbers.heard(Source::Command),
        Wake::Ways(_) | Wake::Alive | Wake::Stop(_) => {}
    }
}

fn notice(numbers: &mut Numbers, notice: &Notice) {
    match notice {
        Notice::Kernel | Notice::OurRoute(_) => numbers.heard(Source::Kernel),
        Notice::Ruleset | Notice::OurTable(_) => numbers.heard(Source::Nftables),
        Notice::Lost => numbers.lost_notices(),
    }
}

/// Who touched what is ours. The kernel takes routes by itself, but no tables: there port 0 means that nobody says.
pub(super) fn by(touch: &Touch, thing: Thing) -> By {
    match thing {
        _ if touch.port != 0 => By::Process,
        Thing::Route => By::Kernel,
        _ => By::Unknown,
    }
}
