//! What hosts would do with such a packet now: routes, forwarding, neighbours, interfaces.

use super::{Case, Cause, Leg, Verdict};
use crate::cluster::HostName;
use crate::evidence::{LinkState, NoRoute, RouteAnswer};
use crate::trace::Whereabouts;
use crate::trace::path::Side;

/// Anything that explains the loss.
pub(super) fn any(case: &Case<'_>, leg: &Leg<'_>) -> Option<Verdict> {
    down(case, leg)
        .or_else(|| of_route(case, leg))
        .or_else(|| of_whereabouts(case, leg))
        .or_else(|| of_neighbour(case, leg))
}

/// An interface of its way that is down.
fn down(case: &Case<'_>, leg: &Leg<'_>) -> Option<Verdict> {
    let (after, before) = leg.gap();
    for host in leg.hosts() {
        let Some(answers) = case.answers.get(host) else { continue };
        // The interfaces on both sides of the gap, and those further on: one that is down takes its neighbours' word.
        let on_way = |link: &&LinkState| {
            leg.journey.hops.iter().any(|hop| {
                hop.at.host == *host && hop.at.container.is_none() && hop.at.interface == link.name
            })
        };
        let dead =
            |link: &&LinkState| !link.up || (!link.carrier && !is_bridge_without_ports(leg, host, link));
        let Some(link) = answers.interfaces.iter().filter(on_way).find(dead) else { continue };
        let how = if link.up { "has no carrier: its other end is down" } else { "is down" };
        let place = after.or(before).map_or_else(String::new, |point| format!("; it was last seen {point}"));
        let place = if after.is_some() { place } else { String::new() };
        return Some(Verdict {
            cause: Cause::InterfaceDown,
            host: Some(host.clone()),
            sentence: format!("{} ended on {host}, where the interface {} {how}", leg.packet(), link.name),
            evidence: vec![format!(
                "ip link on {host}: {} up={} carrier={}{place}",
                link.name, link.up, link.carrier
            )],
            advice: Some(format!("ip link set {} up, on {host}", link.name)),
        });
    }
    None
}

/// A bridge without a port that is on has no carrier; that alone is no fault of the bridge's.
fn is_bridge_without_ports(leg: &Leg<'_>, host: &HostName, link: &LinkState) -> bool {
    let side = [leg.sender, leg.receiver].into_iter().flatten().find(|side| side.host == *host);
    side.is_some_and(|side| match &side.this {
        Whereabouts::Container(cable) => cable.bridge.as_deref() == Some(link.name.as_str()),
        Whereabouts::Nobody { interface } => *interface == link.name,
        _ => false,
    })
}

/// What the kernel says where the packet would go.
pub(super) fn of_route(case: &Case<'_>, leg: &Leg<'_>) -> Option<Verdict> {
    for host in leg.hosts() {
        let Some(RouteAnswer::None { why, .. }) =
            case.answers.get(host).and_then(|answers| answers.route.as_ref())
        else {
            continue;
        };
        return Some(no_way(case, leg, host, *why));
    }
    None
}

fn no_way(case: &Case<'_>, leg: &Leg<'_>, host: &HostName, why: NoRoute) -> Verdict {
    let to = leg.to.address;
    let packet = leg.packet();
    let entry = leg.gap().0.filter(|point| point.host == *host).map_or("", |point| point.interface.as_str());
    let (kind, sentence, advice) = match why {
        NoRoute::NoRoute => (
            Cause::NoRoute,
            format!("{host} has no route to {to}, so {packet} ended there"),
            missing(case, host, to),
        ),
        NoRoute::NotForwarding => (
            Cause::ForwardingOff,
            format!("{host} does not forward what comes in at {entry}, so {packet} ended there"),
            format!("sysctl net.ipv4.conf.{entry}.forwarding=1 on {host}; byway's agent keeps it on"),
        ),
        NoRoute::Unreachable | NoRoute::Prohibit | NoRoute::Blackhole => {
            let refusal = match why {
                NoRoute::Unreachable => "unreachable",
                NoRoute::Prohibit => "prohibit",
                _ => "blackhole",
            };
            (
                Cause::RouteRefuses,
                format!("{host} has a {refusal} route for {to}, so {packet} ended there"),
                format!("see who put it: ip route get {to}; ip route show type {refusal}, on {host}"),
            )
        }
        NoRoute::WrongSource => (
            Cause::ReversePath,
            format!(
                "{host} dropped {packet} at {entry}: by its routes {} is not reached back by that interface (rp_filter)",
                leg.from.address
            ),
            format!(
                "let both ways use one interface, or set net.ipv4.conf.{entry}.rp_filter=2 (loose) on {host}"
            ),
        ),
        NoRoute::Other => (
            Cause::NoRoute,
            format!("{host} has no way for {packet} to {to}"),
            format!("ip route get {to}, on {host}"),
        ),
    };
    let from = leg.from.address;
    let door = if entry.is_empty() { String::new() } else { format!(" that comes in at {entry}") };
    let evidence = vec![format!("asked for a packet from {from} to {to}{door}, {host} says: {why}")];
    Verdict { cause: kind, host: Some(host.clone()), sentence, evidence, advice: Some(advice) }
}

fn missing(case: &Case<'_>, host: &HostName, to: std::net::IpAddr) -> String {
    match case.owner_of(to) {
        Some(owner) if owner != host => {
            format!("byway's agent on {host} keeps the route to {owner}: see byway status there")
        }
        _ => format!("ip route get {to}, on {host}"),
    }
}

/// Where the ends are, as their hosts see them: nobody has the address, somebody else has the subnet, or the next
/// hop is not the host that has it.
pub(super) fn of_whereabouts(case: &Case<'_>, leg: &Leg<'_>) -> Option<Verdict> {
    let hosts = leg.hosts();
    let to = leg.to.address;
    if let Some(side) = leg.receiver.filter(|side| hosts.contains(&&side.host))
        && let Whereabouts::Nobody { interface } = &side.this
    {
        return Some(Verdict {
            cause: Cause::NobodyThere,
            host: Some(side.host.clone()),
            sentence: format!("no container of {} has {to}, so {} ended there", side.host, leg.packet()),
            evidence: vec![format!("{} asks for it at {interface}, and nobody there answers", side.host)],
            advice: Some(format!("is the container running? byway status on {} lists them", side.host)),
        });
    }
    let sender = leg.sender.filter(|side| {
        hosts.contains(&&side.host) || leg.gap().0.is_none_or(|point| point.host == side.host)
    })?;
    by_sender(case, leg, sender)
}

fn by_sender(case: &Case<'_>, leg: &Leg<'_>, sender: &Side) -> Option<Verdict> {
    let to = leg.to.address;
    let owner = case.owner_of(to).filter(|owner| **owner != sender.host);
    let packet = leg.packet();
    let host = Some(sender.host.clone());
    match (&sender.other, owner) {
        (Whereabouts::Nowhere { why }, _) if why == "no route" => {
            Some(no_way(case, leg, &sender.host, NoRoute::NoRoute))
        }
        (Whereabouts::Nowhere { why }, _) => Some(Verdict {
            cause: Cause::RouteRefuses,
            host,
            sentence: format!("{} has {why} for {to}, so {packet} ended there", sender.host),
            evidence: Vec::new(),
            advice: Some(format!("see who put it: ip route get {to}, on {}", sender.host)),
        }),
        (Whereabouts::Own { interface } | Whereabouts::Nobody { interface }, Some(owner)) => {
            Some(duplicate(sender, owner, to, interface, packet))
        }
        (Whereabouts::Container(cable), Some(owner)) => {
            Some(duplicate(sender, owner, to, cable.bridge.as_ref().unwrap_or(&cable.veth), packet))
        }
        (Whereabouts::Away { interface, via }, Some(owner)) => {
            let theirs = case.cluster.hosts.iter().find(|host| host.name == *owner)?;
            let via = (*via)?;
            if theirs.addresses.contains(&via) {
                return None;
            }
            let other = case.host_at(via).map_or_else(String::new, |other| format!(", which is {other}"));
            Some(Verdict {
                cause: Cause::WrongNextHop,
                host,
                sentence: format!(
                    "{} sends {to} by {interface} to {via}{other}, but it is on {owner}, so {packet} never came there",
                    sender.host
                ),
                evidence: vec![format!("ip route get {to} on {}: via {via} dev {interface}", sender.host)],
                advice: Some(missing(case, &sender.host, to)),
            })
        }
        _ => None,
    }
}

fn duplicate(
    sender: &Side,
    owner: &HostName,
    to: std::net::IpAddr,
    interface: &str,
    packet: &str,
) -> Verdict {
    let here = &sender.host;
    Verdict {
        cause: Cause::DuplicateSubnet,
        host: Some(here.clone()),
        sentence: format!(
            "{to} is on {owner} by the inventory, but {here} has its subnet on its own {interface}, so {packet} never left"
        ),
        evidence: vec![format!("ip route get {to} on {here}: dev {interface}")],
        advice: Some(format!(
            "remove or renumber the network of {interface} on {here}; byway status there names it"
        )),
    }
}

/// The next hop does not answer, or is bound to somebody else's link address.
pub(super) fn of_neighbour(case: &Case<'_>, leg: &Leg<'_>) -> Option<Verdict> {
    for host in leg.hosts() {
        let Some((hop, state)) = case.answers.get(host).and_then(|answers| answers.next_hop.clone()) else {
            continue;
        };
        let who = case.host_at(hop).map_or_else(|| hop.to_string(), |other| format!("{other} ({hop})"));
        match state {
            Some(state) if !state.is_usable() => {
                return Some(Verdict {
                    cause: Cause::NextHopSilent,
                    host: Some(host.clone()),
                    sentence: format!(
                        "{host} asks the link for {who} and nobody answers, so {} ended there",
                        leg.packet()
                    ),
                    evidence: vec![format!("ip neigh on {host}: {hop} {}", state.state)],
                    advice: Some(format!("is {who} up and on this link? arping {hop}, on {host}")),
                });
            }
            Some(state) => {
                let found = wrong_neighbour(leg, host, hop, state.lladdr.as_deref());
                if found.is_some() {
                    return found;
                }
            }
            None => {}
        }
    }
    None
}

fn wrong_neighbour(
    leg: &Leg<'_>,
    host: &HostName,
    hop: std::net::IpAddr,
    mac: Option<&str>,
) -> Option<Verdict> {
    let side = leg.receiver.filter(|side| side.host == *host && hop == leg.to.address)?;
    let Whereabouts::Container(cable) = &side.this else { return None };
    let mac = mac.filter(|mac| !mac.eq_ignore_ascii_case(&cable.mac) && !cable.mac.is_empty())?;
    Some(Verdict {
        cause: Cause::WrongNeighbour,
        host: Some(host.clone()),
        sentence: format!(
            "{host} sends {hop} to {mac}, but {} has {}, so {} went to nobody",
            cable.container,
            cable.mac,
            leg.packet()
        ),
        evidence: vec![format!("ip neigh on {host}: {hop} lladdr {mac}")],
        advice: Some(format!(
            "ip neigh del {hop} dev {}, on {host}",
            cable.bridge.as_deref().unwrap_or(&cable.veth)
        )),
    })
}
