//! What lost packets have in common that those which went on have not, in one sentence.

use std::collections::BTreeSet;
use std::net::IpAddr;

use byway_wire::protocol;

use super::glimpse::Glimpse;

/// Something that a packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trait {
    Service(u8, u16),
    Syn,
    TooLong(u16),
    TooLongToCut(u16),
    Fragment,
    Protocol(u8),
    Destination(u32),
    Source(u32),
}

impl Trait {
    fn holds(self, it: &Glimpse) -> bool {
        match self {
            Self::Service(protocol, port) => it.flow.protocol == protocol && it.flow.destination_port == port,
            Self::Syn => it.is_syn(),
            Self::TooLong(length) => it.length > length,
            Self::TooLongToCut(length) => it.length > length && it.must_not_be_cut(),
            Self::Fragment => it.is_fragment(),
            Self::Protocol(protocol) => it.flow.protocol == protocol,
            Self::Destination(address) => it.flow.destination == address,
            Self::Source(address) => it.flow.source == address,
        }
    }
}

/// What all of `lost` have, and the fewest of `went_on`; none if nothing tells them apart.
pub(super) fn sentence(
    lost: &[&Glimpse],
    went_on: &[&Glimpse],
    address: impl Fn(u32) -> IpAddr,
) -> Option<String> {
    let first = lost.first()?;
    let longest = went_on.iter().map(|it| it.length).max().unwrap_or(u16::MAX);
    let mut traits = vec![
        Trait::TooLongToCut(longest),
        Trait::TooLong(longest),
        Trait::Fragment,
        Trait::Syn,
        Trait::Protocol(first.flow.protocol),
        Trait::Destination(first.flow.destination),
        Trait::Source(first.flow.source),
    ];
    if first.flow.destination_port != 0 {
        traits.insert(2, Trait::Service(first.flow.protocol, first.flow.destination_port));
    }
    let common = traits.into_iter().filter(|it| lost.iter().all(|lost| it.holds(lost)));
    let counted = common.map(|it| (went_on.iter().filter(|on| it.holds(on)).count(), it));
    // What is told first is what most people would look for first.
    let (others, telling) = counted.min_by_key(|(others, _)| *others)?;
    if others == went_on.len() {
        return None;
    }
    let rest = match others {
        0 => format!("none of the {} that went on", went_on.len()),
        others => format!("{others} of the {} that went on", went_on.len()),
    };
    Some(words(telling, lost, &rest, address))
}

fn words(telling: Trait, lost: &[&Glimpse], rest: &str, address: impl Fn(u32) -> IpAddr) -> String {
    let who = if lost.len() == 1 { "the lost one".to_owned() } else { format!("all {} lost", lost.len()) };
    let (is, goes, has) = if lost.len() == 1 { ("is", "goes", "has") } else { ("are", "go", "have") };
    let lengths: BTreeSet<u16> = lost.iter().map(|it| it.length).collect();
    let length = match (lengths.first(), lengths.last()) {
        (Some(least), Some(most)) if least != most => format!("{least} to {most} bytes"),
        (Some(only), _) => format!("{only} bytes"),
        _ => String::new(),
    };
    match telling {
        Trait::Service(protocol, port) => {
            format!("{who} {goes} to {} port {port}, and {rest}", name(protocol))
        }
        Trait::Syn => format!("{who} {is} SYN, asking for a connection, and {rest}"),
        Trait::TooLong(most) => {
            format!("{who} {has} {length}, and {rest} has more than {most}: is there a smaller MTU?")
        }
        Trait::TooLongToCut(most) => format!(
            "{who} {has} {length} and must not be cut, and {rest} has more than {most}: is there a smaller MTU?"
        ),
        Trait::Fragment => format!("{who} {is} fragments, and {rest}"),
        Trait::Protocol(protocol) => format!("{who} {is} {}, and {rest}", name(protocol)),
        Trait::Destination(to) => format!("{who} {goes} to {}, and {rest}", address(to)),
        Trait::Source(from) => format!("{who} {has} the source {}, and {rest}", address(from)),
    }
}

/// The name of a protocol.
pub(super) fn name(number: u8) -> String {
    match number {
        protocol::ICMP => "ICMP".to_owned(),
        protocol::TCP => "TCP".to_owned(),
        protocol::UDP => "UDP".to_owned(),
        protocol::ICMPV6 => "ICMPv6".to_owned(),
        protocol::SCTP => "SCTP".to_owned(),
        protocol::ESP => "ESP".to_owned(),
        protocol::GRE => "GRE".to_owned(),
        other => format!("protocol {other}"),
    }
}
