//! Puts and deletes routes, many in one conversation.

use byway_fabric::observed::{PROTOCOL, Route};
use byway_fabric::plan::Step;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::look::already_gone;
use super::netlink::{Netlink, Refusal, Request};

/// What a step asks of the kernel's routing table; none if it is about something else.
#[must_use]
pub fn request(step: &Step) -> Option<Request> {
    match step {
        Step::PutRoute { route, .. } => {
            let message = RouteNetlinkMessage::NewRoute(message(route));
            Some(Request { message, flags: NLM_F_CREATE | NLM_F_REPLACE })
        }
        Step::DelRoute { route, .. } => {
            Some(Request { message: RouteNetlinkMessage::DelRoute(message(route)), flags: 0 })
        }
        _ => None,
    }
}

/// Does the routing steps among `steps` in their order, and returns the refusals; their `nth` counts the
/// routing steps only.
///
/// # Errors
/// When the conversation with the kernel fails.
pub fn apply(
    netlink: &mut Netlink,
    steps: &[Step],
) -> Result<Vec<(String, Refusal)>, super::netlink::NetlinkError> {
    let routing: Vec<(&Step, Request)> =
        steps.iter().filter_map(|step| Some((step, request(step)?))).collect();
    let requests: Vec<Request> = routing.iter().map(|(_, request)| request.clone()).collect();
    let refusals = netlink.batch(&requests)?;
    let gone = |step: &Step, refusal: &Refusal| {
        matches!(step, Step::DelRoute { .. }) && already_gone(&refusal.cause)
    };
    let named = refusals.into_iter().filter_map(|refusal| {
        let (step, _) = routing.get(refusal.nth)?;
        (!gone(step, &refusal)).then(|| (step.what(), refusal))
    });
    Ok(named.collect())
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family =
        if route.to.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    header.destination_prefix_length = route.to.prefix_len();
    header.table = RouteHeader::RT_TABLE_MAIN;
    header.protocol = RouteProtocol::from(PROTOCOL);
    header.scope = RouteScope::Universe;
    header.kind = RouteType::Unicast;
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(RouteAddress::from(route.to.addr())));
    attributes.push(RouteAttribute::Priority(route.metric));
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(RouteAddress::from(via))));
    attributes.extend(route.dev.map(RouteAttribute::Oif));
    attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(RouteAddress::from(src))));
    message
}
