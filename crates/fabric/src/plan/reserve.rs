//! Routes that say whose a subnet is, so that Docker gives it to no network by itself.
//!
//! Docker passes over subnets that overlap an IPv4 route with the scope of a link (`netutils`, `ipamutils` of moby;
//! tried on 20.10, 26, 28.5 and 29). An `unreachable` route of that scope with the last of all metrics is such a
//! route and takes no packet from any other. Where no other is there, a packet into the cluster ends with
//! "unreachable" instead of leaving by the default route.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::Step;
use crate::desired::Desired;
use crate::observed::{Observed, RESERVED_METRIC, Route, RouteKind};

/// What to put and what to take out.
pub(super) struct Reservations {
    pub(super) puts: Vec<Step>,
    pub(super) dels: Vec<Step>,
}

pub(super) fn steps(desired: &Desired, observed: &Observed) -> Reservations {
    let present = || observed.routes.iter().filter(|route| route.is_reservation());
    let right: BTreeSet<IpNet> =
        present().filter(|route| route.kind == RouteKind::Unreachable).map(|route| route.to).collect();
    let spare = present().filter(|route| !desired.reserved.contains(&route.to));
    Reservations {
        puts: desired.reserved.difference(&right).map(put).collect(),
        dels: spare
            .map(|route| Step::del_route(route, observed, "it is not to be kept from Docker".to_owned()))
            .collect(),
    }
}

fn put(to: &IpNet) -> Step {
    Step::PutRoute {
        route: Route::reservation(*to),
        text: format!("unreachable {to} scope link metric {RESERVED_METRIC}"),
        because: "Docker must give it to no network by itself".to_owned(),
    }
}
