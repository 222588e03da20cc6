//! The closed lists that labels are taken from, and counters for each of a list.

use std::collections::BTreeMap;

use byway_fabric::health::State;
use byway_fabric::plan::Step;
use byway_fabric::problem::ProblemKind;

use crate::HostState;

/// A closed list of label values.
pub trait Label: Copy + Ord + 'static {
    /// All of it, in the order in which it is written.
    const ALL: &'static [Self];

    /// The label's value: the word that the JSON of the status has, where it has one.
    fn word(self) -> &'static str;
}

macro_rules! labels {
    ($($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)+ })+) => { $(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    )+ };
}

labels! {
    /// From where something was heard.
    Source {
        /// Notices of links, addresses, routes and forwarding.
        Kernel = "kernel",
        /// Notices of nftables.
        Nftables = "nftables",
        /// Docker came, changed its networks or containers, or went.
        Docker = "docker",
        /// A peer has gone, or is to be tried again.
        Health = "health",
        /// firewalld came, did anything, or went.
        Firewalld = "firewalld",
        /// The inventory may have been written.
        Inventory = "inventory",
        /// Nothing was heard for long enough, or something failed.
        Timer = "timer",
        /// A command or another host asked.
        Command = "command",
    }

    /// What Byway changes on a host.
    Thing {
        /// A route.
        Route = "route",
        /// Our nftables table, its rules or its sets.
        Table = "table",
        /// A kernel setting.
        Setting = "setting",
        /// A tunnel to peers behind routers, or what it knows of one.
        Tunnel = "tunnel",
        /// Our rule in a chain that Docker shares.
        DockerChain = "docker-chain",
    }

    /// Why a host was changed.
    Cause {
        /// The agent had started.
        Start = "start",
        /// The inventory had changed.
        Inventory = "inventory",
        /// A peer had gone, or was back.
        Health = "health",
        /// Routes were missing or wrong.
        Route = "route",
        /// The table was missing, wrong or not up to date.
        Table = "table",
        /// A kernel setting was not what it should be.
        Setting = "setting",
        /// A tunnel was missing, wrong, or did not know what it must.
        Tunnel = "tunnel",
        /// Our rule was missing or out of its place in a chain of Docker's.
        DockerChain = "docker-chain",
        /// More than one of these at once.
        Several = "several",
    }

    /// Who changed what is ours.
    By {
        /// A process.
        Process = "process",
        /// The kernel itself, as it does when a link goes.
        Kernel = "kernel",
        /// Nobody says.
        Unknown = "unknown",
    }
}

impl Thing {
    /// What a step is about.
    #[must_use]
    pub fn of(step: &Step) -> Self {
        match step {
            Step::PutTable { .. }
            | Step::PutElements { .. }
            | Step::DelElements { .. }
            | Step::DelTable { .. } => Self::Table,
            Step::MendChain { .. } => Self::DockerChain,
            Step::PutSysctl { .. } => Self::Setting,
            Step::PutTunnel { .. }
            | Step::PutEntry { .. }
            | Step::DelEntry { .. }
            | Step::DelTunnel { .. } => Self::Tunnel,
            Step::PutRoute { .. } | Step::DelRoute { .. } => Self::Route,
        }
    }
}

impl Cause {
    /// What was wrong, from all that was changed; nothing where nothing was.
    #[must_use]
    pub fn of(things: impl IntoIterator<Item = Thing>) -> Option<Self> {
        let mut things = things.into_iter();
        let first = things.next()?;
        let one = match first {
            Thing::Route => Self::Route,
            Thing::Table => Self::Table,
            Thing::Setting => Self::Setting,
            Thing::Tunnel => Self::Tunnel,
            Thing::DockerChain => Self::DockerChain,
        };
        Some(if things.all(|thing| thing == first) { one } else { Self::Several })
    }
}

impl Label for ProblemKind {
    const ALL: &'static [Self] = &[
        Self::Conflict,
        Self::Refused,
        Self::NotDirect,
        Self::Gone,
        Self::Waits,
        Self::Peers,
        Self::Metrics,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::NotDirect => "not-direct",
            Self::Gone => "gone",
            Self::Waits => "waits",
            Self::Peers => "peers",
            Self::Metrics => "metrics",
        }
    }
}

/// Of other hosts only: the host that speaks is not counted among them.
impl Label for HostState {
    const ALL: &'static [Self] =
        &[Self::Routed, Self::Missing, Self::Conflict, Self::NotDirect, Self::Gone, Self::Refused];

    fn word(self) -> &'static str {
        match self {
            Self::ThisHost => "this-host",
            Self::Routed => "routed",
            Self::Missing => "missing",
            Self::Conflict => "conflict",
            Self::NotDirect => "not-direct",
            Self::Gone => "gone",
            Self::Refused => "refused",
        }
    }
}

impl Label for State {
    const ALL: &'static [Self] = &[
        Self::Answers,
        Self::Silent,
        Self::Vouched,
        Self::Gone,
        Self::HeldBack,
        Self::Returning,
        Self::NeverAnswered,
        Self::NotTried,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Silent => "silent",
            Self::Vouched => "vouched",
            Self::Gone => "gone",
            Self::HeldBack => "held-back",
            Self::Returning => "returning",
            Self::NeverAnswered => "never-answered",
            Self::NotTried => "not-tried",
        }
    }
}

/// A number for each of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts<L>(BTreeMap<L, u64>);

impl<L> Default for Counts<L> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<L: Label> Counts<L> {
    /// Counts some more.
    pub fn add(&mut self, label: L, more: u64) {
        *self.0.entry(label).or_default() += more;
    }

    /// Counts what others have counted.
    pub fn add_all(&mut self, others: &Self) {
        for (label, count) in &others.0 {
            self.add(*label, *count);
        }
    }

    /// How many there are of one.
    #[must_use]
    pub fn of(&self, label: L) -> u64 {
        self.0.get(&label).copied().unwrap_or_default()
    }

    /// All of the list, those of which there are none too: a series that comes into being with a one is no growth.
    pub(super) fn all(&self) -> impl Iterator<Item = (L, u64)> {
        L::ALL.iter().map(|label| (*label, self.of(*label)))
    }
}

impl<L: Label> FromIterator<L> for Counts<L> {
    fn from_iter<T: IntoIterator<Item = L>>(labels: T) -> Self {
        let mut counts = Self::default();
        labels.into_iter().for_each(|label| counts.add(label, 1));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_as_json_has_the_same_words() {
        for kind in ProblemKind::ALL {
            assert_eq!(serde_json::to_value(kind).ok(), Some(kind.word().into()));
        }
        for state in HostState::ALL {
            assert_eq!(serde_json::to_value(state).ok(), Some(state.word().into()));
        }
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).ok(), Some(state.word().into()));
        }
    }

    #[test]
    fn a_repair_of_one_sort_is_called_by_it_and_one_of_more_sorts_is_several() {
        assert_eq!(Cause::of([]), None);
        assert_eq!(Cause::of([Thing::Route, Thing::Route]), Some(Cause::Route));
        assert_eq!(Cause::of([Thing::Table, Thing::Route, Thing::Table]), Some(Cause::Several));
    }
}
