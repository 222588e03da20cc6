//! Reads a route straight from the bytes of its message: a host can have a hundred thousand of them, and every
//! look reads them all.
//!
//! It reads what [`from_message`](super::from_message) reads from the same message, in a third of the time; a
//! test compares the two.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use byway_fabric::observed::{Route, RouteKind};
use ipnet::IpNet;

/// `struct rtmsg` of `linux/rtnetlink.h`.
const HEADER_BYTES: usize = 12;
/// `struct rtattr`: length and kind.
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// The lower bits of an attribute's kind (`NLA_TYPE_MASK`); the upper two are flags.
const KIND_MASK: u16 = 0x3fff;

/// A message that cannot be a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a route message of {0} bytes, {HEADER_BYTES} are the least")]
    Header(usize),
    #[error("a route's attribute says that it has {said} bytes of the {left} that are left")]
    Length { said: usize, left: usize },
    #[error("a route's attribute {kind} has {bytes} bytes")]
    Value { kind: u16, bytes: usize },
    #[error("a prefix of {0} bits")]
    Prefix(u8),
}

/// The route of table main that a message describes; none for other tables and families.
pub(super) fn read(body: &[u8]) -> Result<Option<Route>, Malformed> {
    let Some((header, attributes)) = body.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Malformed::Header(body.len()));
    };
    let [family, length, _, _, _, protocol, _, kind, ..] = *header;
    let anywhere: IpAddr = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::UNSPECIFIED.into(),
        libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return Ok(None),
    };
    let mut route = Route {
        to: prefix(anywhere, length)?,
        kind: route_kind(kind),
        via: None,
        dev: None,
        src: None,
        metric: 0,
        protocol,
    };
    for attribute in (Attributes { rest: attributes }) {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_TABLE if attribute.number()? != u32::from(libc::RT_TABLE_MAIN) => return Ok(None),
            libc::RTA_DST => route.to = prefix(attribute.address(anywhere)?, length)?,
            libc::RTA_GATEWAY => route.via = Some(attribute.address(anywhere)?),
            libc::RTA_PREFSRC => route.src = Some(attribute.address(anywhere)?),
            libc::RTA_OIF => route.dev = Some(attribute.number()?),
            libc::RTA_PRIORITY => route.metric = attribute.number()?,
            // A gateway of the other family.
            RTA_VIA => route.kind = RouteKind::Other,
            _ => {}
        }
    }
    Ok(Some(route))
}

/// Not in `libc`.
const RTA_VIA: u16 = 18;

fn prefix(address: IpAddr, length: u8) -> Result<IpNet, Malformed> {
    IpNet::new(address, length).map_err(|_| Malformed::Prefix(length))
}

fn route_kind(kind: u8) -> RouteKind {
    match kind {
        libc::RTN_UNICAST => RouteKind::Unicast,
        libc::RTN_BLACKHOLE => RouteKind::Blackhole,
        libc::RTN_UNREACHABLE => RouteKind::Unreachable,
        libc::RTN_PROHIBIT => RouteKind::Prohibit,
        _ => RouteKind::Other,
    }
}

struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
}

impl Attribute<'_> {
    fn number(&self) -> Result<u32, Malformed> {
        self.value.try_into().map(u32::from_ne_bytes).map_err(|_| self.malformed())
    }

    /// An address of the same family as another.
    fn address(&self, like: IpAddr) -> Result<IpAddr, Malformed> {
        let address = if like.is_ipv4() {
            self.value.try_into().map(|octets: [u8; 4]| octets.into())
        } else {
            self.value.try_into().map(|octets: [u8; 16]| octets.into())
        };
        address.map_err(|_| self.malformed())
    }

    fn malformed(&self) -> Malformed {
        Malformed::Value { kind: self.kind, bytes: self.value.len() }
    }
}

struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            return None;
        }
        let left = rest.len();
        let Some((&[l0, l1, k0, k1], _)) = rest.split_first_chunk::<ATTRIBUTE_HEADER_BYTES>() else {
            return Some(Err(Malformed::Length { said: ATTRIBUTE_HEADER_BYTES, left }));
        };
        let said = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = rest.get(ATTRIBUTE_HEADER_BYTES..said) else {
            return Some(Err(Malformed::Length { said, left }));
        };
        self.rest = &rest[said.next_multiple_of(4).min(left)..];
        Some(Ok(Attribute { kind: u16::from_ne_bytes([k0, k1]) & KIND_MASK, value }))
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Parseable as _;
    use netlink_packet_route::route::RouteMessage;

    use super::*;
    use crate::edge::look::from_message;

    /// `struct rtmsg` of a unicast route in our name.
    const V4: [u8; 12] = [2, 16, 0, 0, 254, 172, 0, 1, 0, 0, 0, 0];
    const V6: [u8; 12] = [10, 64, 0, 0, 254, 172, 0, 1, 0, 0, 0, 0];

    fn message(header: [u8; 12], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = header.to_vec();
        for (kind, value) in attributes {
            bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn told(read: Result<Option<Route>, Malformed>) -> String {
        match read {
            Ok(Some(route)) => {
                let Route { to, kind, via, dev, src, metric, protocol } = route;
                format!("{to} {kind:?} via {via:?} dev {dev:?} src {src:?} metric {metric} proto {protocol}")
            }
            Ok(None) => "not ours to read".to_owned(),
            Err(malformed) => malformed.to_string(),
        }
    }

    /// What the library reads from the same bytes.
    fn oracle(bytes: &[u8]) -> Option<Route> {
        from_message(&RouteMessage::parse(bytes).unwrap())
    }

    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(told(read(bytes)), expected);
        assert_eq!(read(bytes).unwrap(), oracle(bytes));
    }

    fn check_malformed(bytes: &[u8], expected: &str) {
        assert_eq!(told(read(bytes)), expected);
    }

    fn main_table() -> [u8; 4] {
        254_u32.to_ne_bytes()
    }

    #[test]
    fn a_route_to_a_peer_is_read_whole() {
        let (dev, metric) = (7_u32.to_ne_bytes(), 172_u32.to_ne_bytes());
        let v4: [(u16, &[u8]); 6] = [
            (15, &main_table()),
            (1, &[172, 42, 0, 0]),
            (6, &metric),
            (7, &[172, 41, 0, 1]),
            (5, &[192, 168, 199, 42]),
            (4, &dev),
        ];
        check(
            &message(V4, &v4),
            "172.42.0.0/16 Unicast via Some(192.168.199.42) dev Some(7) src Some(172.41.0.1) metric 172 proto 172",
        );
        let to = "fd00:172:42::".parse::<Ipv6Addr>().unwrap().octets();
        let via = "fd00:199::42".parse::<Ipv6Addr>().unwrap().octets();
        // The kernel adds a cache's numbers (12) and a preference (20), which has one byte.
        let v6: [(u16, &[u8]); 7] =
            [(15, &main_table()), (1, &to), (6, &metric), (5, &via), (4, &dev), (12, &[0; 36]), (20, &[0])];
        check(
            &message(V6, &v6),
            "fd00:172:42::/64 Unicast via Some(fd00:199::42) dev Some(7) src None metric 172 proto 172",
        );
    }

    #[test]
    fn a_default_route_has_no_destination() {
        let header = [2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        check(
            &message(header, &[(15, &main_table()), (5, &[192, 168, 199, 1])]),
            "0.0.0.0/0 Unicast via Some(192.168.199.1) dev None src None metric 0 proto 3",
        );
    }

    #[test]
    fn kinds_that_pass_nothing_on_are_known() {
        for (number, name) in [(6, "Blackhole"), (7, "Unreachable"), (8, "Prohibit"), (9, "Other")] {
            let header = [2, 16, 0, 0, 254, 172, 0, number, 0, 0, 0, 0];
            check(
                &message(header, &[(1, &[172, 42, 0, 0])]),
                &format!("172.42.0.0/16 {name} via None dev None src None metric 0 proto 172"),
            );
        }
    }

    #[test]
    fn an_ipv4_route_with_an_ipv6_gateway_is_of_another_kind() {
        let via = [&10_u16.to_ne_bytes()[..], &[0xfd; 16]].concat();
        check(
            &message(V4, &[(1, &[172, 42, 0, 0]), (18, &via)]),
            "172.42.0.0/16 Other via None dev None src None metric 0 proto 172",
        );
    }

    #[test]
    fn other_tables_and_families_are_left_out() {
        check(&message(V4, &[(15, &255_u32.to_ne_bytes()), (1, &[127, 0, 0, 1])]), "not ours to read");
        check_malformed(&message([28, 20, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0], &[]), "not ours to read");
    }

    #[test]
    fn what_cannot_be_a_route_is_an_error_with_the_reason() {
        check_malformed(&[], "a route message of 0 bytes, 12 are the least");
        check_malformed(&V4[..11], "a route message of 11 bytes, 12 are the least");
        check_malformed(&message(V4, &[(1, &[172, 42, 0])]), "a route's attribute 1 has 3 bytes");
        check_malformed(&message(V6, &[(5, &[192, 168, 199, 42])]), "a route's attribute 5 has 4 bytes");
        check_malformed(&message(V4, &[(4, &[7])]), "a route's attribute 4 has 1 bytes");
        check_malformed(&message([2, 33, 0, 0, 254, 172, 0, 1, 0, 0, 0, 0], &[]), "a prefix of 33 bits");
        let left = |said: [u8; 2], rest: &[u8]| [&V4[..], &said, rest].concat();
        let length = |said: u16| said.to_ne_bytes();
        let said = "a route's attribute says that it has";
        check_malformed(
            &left(length(200), &[1, 0, 1, 2]),
            &format!("{said} 200 bytes of the 6 that are left"),
        );
        check_malformed(&left(length(3), &[1, 0]), &format!("{said} 3 bytes of the 4 that are left"));
        check_malformed(&left(length(0), &[1, 0]), &format!("{said} 0 bytes of the 4 that are left"));
        check_malformed(&left(length(8), &[1]), &format!("{said} 4 bytes of the 3 that are left"));
    }

    #[test]
    fn no_bytes_make_it_panic_or_disagree_with_the_library() {
        let (mut state, mut agreed) = (1_u32, 0);
        let good = message(V4, &[(15, &main_table()), (1, &[172, 42, 0, 0]), (5, &[192, 168, 199, 42])]);
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..2 {
                // A linear congruence: the same bytes in every run.
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let place = usize::try_from(state >> 16).unwrap() % bytes.len();
                bytes[place] = state.to_ne_bytes()[1];
            }
            let Ok(ours) = read(&bytes) else { continue };
            let Ok(theirs) = RouteMessage::parse(&bytes) else { continue };
            assert_eq!(ours, from_message(&theirs), "{bytes:?}");
            agreed += 1;
        }
        assert!(agreed > 1000, "{agreed} messages were read by both");
    }
}
