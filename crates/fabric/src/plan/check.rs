//! A second pair of eyes: looks at every plan, and knows only what must never happen.

use std::fmt;

use super::{Plan, Step};
use crate::desired::{Desired, holder};
use crate::observed::{Route, RouteKind};

/// What a plan must never do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A route to something that is not a peer's.
    PutsRouteElsewhere(String),
    /// A route of somebody else is deleted.
    DeletesForeign(String),
    /// A route refuses packets to a host that answers, or was not tried.
    RefusesWithoutReason(String),
    /// A route goes before its successor has come.
    DeletesBeforePut(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutsRouteElsewhere(what) => write!(f, "{what}, which is not a subnet of a peer"),
            Self::DeletesForeign(what) => write!(f, "{what}, which is not ours"),
            Self::RefusesWithoutReason(what) => write!(f, "{what}, whose host is not known to be gone"),
            Self::DeletesBeforePut(what) => write!(f, "{what} before its successor is there"),
        }
    }
}

impl Plan {
    /// Looks for violations.
    ///
    /// # Errors
    /// The first that was found.
    pub fn check(&self, desired: &Desired) -> Result<(), Violation> {
        let mut deleted = false;
        for step in &self.steps {
            match step {
                Step::PutRoute { route, .. } if route.is_refusal() && !refuses_for_cause(route, desired) => {
                    return Err(Violation::RefusesWithoutReason(step.what()));
                }
                Step::PutRoute { route, .. }
                    if !leads_to_a_peer(route, desired) && !reserves(route, desired) =>
                {
                    return Err(Violation::PutsRouteElsewhere(step.what()));
                }
                Step::PutRoute { .. } if deleted => return Err(Violation::DeletesBeforePut(step.what())),
                Step::DelRoute { route, .. } if !route.is_ours() => {
                    return Err(Violation::DeletesForeign(step.what()));
                }
                Step::DelRoute { .. } => deleted = true,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Says whose a subnet of the cluster is, and loses against every other route to it.
fn reserves(route: &Route, desired: &Desired) -> bool {
    let is_last = route.is_reservation() && route.kind == RouteKind::Unreachable && route.via.is_none();
    is_last && desired.owners.contains_key(&route.to)
}

/// Only who is known to be gone is refused, and only its whole subnet.
fn refuses_for_cause(route: &Route, desired: &Desired) -> bool {
    let is_gone = desired.routes.get(&route.to).is_some_and(|wanted| wanted.gone.is_some());
    is_gone && route.via.is_none() && route.dev.is_none()
}

fn leads_to_a_peer(route: &Route, desired: &Desired) -> bool {
    let held_by_peer = holder(&desired.owners, &route.to).is_some_and(|(_, host)| *host != desired.me);
    route.is_ours() && held_by_peer && (route.via.is_some() || route.is_refusal())
}
