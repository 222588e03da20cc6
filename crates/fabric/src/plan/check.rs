//! A second pair of eyes: looks at every plan, and knows only what must never happen.

use std::fmt;

use super::{Plan, Step};
use crate::desired::{Desired, holder};
use crate::observed::{Route, RouteKind};
use crate::tunnel::{Entry, Underlay};

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
    /// A route through a tunnel that is not ready for it.
    PutsRouteNowhere(String),
    /// A tunnel is made or told something after routes were put, or goes before the last route.
    TunnelOutOfTurn(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutsRouteElsewhere(what) => write!(f, "{what}, which is not a subnet of a peer"),
            Self::DeletesForeign(what) => write!(f, "{what}, which is not ours"),
            Self::RefusesWithoutReason(what) => write!(f, "{what}, whose host is not known to be gone"),
            Self::DeletesBeforePut(what) => write!(f, "{what} before its successor is there"),
            Self::PutsRouteNowhere(what) => write!(f, "{what}, of which the tunnel knows nothing"),
            Self::TunnelOutOfTurn(what) => write!(f, "{what} out of its turn"),
        }
    }
}

impl Plan {
    /// Looks for violations.
    ///
    /// # Errors
    /// The first that was found.
    pub fn check(&self, desired: &Desired) -> Result<(), Violation> {
        let (mut put, mut deleted, mut closed) = (false, false, false);
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
                Step::PutRoute { route, .. } if !has_its_tunnel(route, desired) => {
                    return Err(Violation::PutsRouteNowhere(step.what()));
                }
                Step::PutTunnel { .. } | Step::PutEntry { .. } if put || deleted => {
                    return Err(Violation::TunnelOutOfTurn(step.what()));
                }
                Step::PutRoute { .. } | Step::DelRoute { .. } if closed => {
                    return Err(Violation::TunnelOutOfTurn(step.what()));
                }
                Step::DelTunnel { .. } | Step::DelEntry { .. } => closed = true,
                Step::PutRoute { .. } => put = true,
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

/// Whether a route leaves by something else than a tunnel, or the tunnel is to know its next hop.
fn has_its_tunnel(route: &Route, desired: &Desired) -> bool {
    let Some(underlay) = route.dev.and_then(Underlay::at) else { return true };
    let entries = desired.tunnels.get(&underlay).into_iter().flat_map(|tunnel| tunnel.entries.keys());
    let mut hops = entries.filter_map(|entry| match entry {
        Entry::Neighbour { address, .. } => Some(*address),
        Entry::Forward { .. } => None,
    });
    hops.any(|hop| route.via == Some(hop))
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
