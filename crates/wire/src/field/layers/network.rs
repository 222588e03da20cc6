//! IPv4, and IPv6 with its extension headers.

use super::rest::{Rest, bound, u8_in, u16_in};
use super::{Kind, Layers};
use crate::packet::protocol;

impl Layers {
    pub(super) fn ipv4(&mut self, bytes: &[u8], rest: Rest) {
        if !rest.is_there() || !self.push(Kind::Ipv4, rest) {
            return;
        }
        let Some(first) = u8_in(bytes, rest, 0) else { return };
        let header = usize::from(first & 15) * 4;
        if first >> 4 != 4 || header < 20 {
            return self.shorten(1);
        }
        let Some(length) = u16_in(bytes, rest, 2).map(usize::from) else { return };
        let on_the_link = rest.wire_end - rest.start;
        // 0 is left to the network card (segmentation offload): what is there counts.
        let length = if length == 0 { on_the_link } else { length };
        if length < header {
            return self.shorten(4);
        }
        let rest = bound(rest, length);
        let (Some(flags), Some(number)) = (u16_in(bytes, rest, 6), u8_in(bytes, rest, 9)) else { return };
        if !rest.has(header) {
            return;
        }
        let inner = Rest { fragment: rest.fragment || flags & 0x2000 != 0, ..rest.after(header) };
        if flags & 0x1fff != 0 {
            return self.data(inner);
        }
        self.transport(bytes, number, inner);
    }

    pub(super) fn ipv6(&mut self, bytes: &[u8], rest: Rest) {
        if !rest.is_there() || !self.push(Kind::Ipv6, rest) {
            return;
        }
        let Some(first) = u8_in(bytes, rest, 0) else { return };
        if first >> 4 != 6 {
            return self.shorten(1);
        }
        let (Some(promised), Some(next)) = (u16_in(bytes, rest, 4), u8_in(bytes, rest, 6)) else { return };
        if !rest.has(40) {
            return;
        }
        let rest = if promised == 0 { rest } else { bound(rest, 40 + usize::from(promised)) };
        self.extensions(bytes, next, rest.after(40));
    }

    fn extensions(&mut self, bytes: &[u8], mut next: u8, mut rest: Rest) {
        // Ends: every header takes 8 bytes, and a place of which there are LAYERS_MAX.
        while let Some(kind) = extension_kind(next) {
            if !rest.is_there() || !self.push(kind, rest) {
                return;
            }
            if kind == Kind::FragmentHeader && !self.all_or_nothing(rest, 8) {
                return;
            }
            let (Some(after), Some(field)) = (u8_in(bytes, rest, 0), u8_in(bytes, rest, 1)) else { return };
            let length = if kind == Kind::FragmentHeader { 8 } else { usize::from(field) * 8 + 8 };
            if !rest.has(length) {
                return;
            }
            if kind == Kind::FragmentHeader {
                let place = u16_in(bytes, rest, 2).unwrap_or_default();
                if place & 0xfff8 != 0 {
                    return self.data(rest.after(length));
                }
                rest.fragment |= place & 1 != 0;
            }
            (next, rest) = (after, rest.after(length));
        }
        if next != protocol::NO_NEXT {
            self.transport(bytes, next, rest);
        }
    }
}

fn extension_kind(number: u8) -> Option<Kind> {
    match number {
        protocol::HOP_BY_HOP => Some(Kind::HopByHop),
        protocol::DESTINATION => Some(Kind::Destination),
        protocol::ROUTING => Some(Kind::Routing),
        protocol::FRAGMENT => Some(Kind::FragmentHeader),
        _ => None,
    }
}
