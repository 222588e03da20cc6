//! The headers of links: Ethernet with its tags, cooked ones, and none.

use super::rest::{Rest, u8_in, u16_in};
use super::{Kind, Layers};
use crate::cooked;

impl Layers {
    pub(super) fn ethernet(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Ethernet, rest);
        self.all_or_nothing(rest, 14);
        let Some(kind) = u16_in(bytes, rest, 12) else { return };
        self.ethertype(bytes, kind, rest.after(14));
    }

    fn ethertype(&mut self, bytes: &[u8], mut kind: u16, mut rest: Rest) {
        // Ends: every tag takes 4 bytes, and a place of which there are LAYERS_MAX.
        while let Some(tag) = vlan_kind(kind) {
            if !rest.is_there() || !self.push(tag, rest) {
                return;
            }
            let Some(next) = u16_in(bytes, rest, 2) else { return };
            (kind, rest) = (next, rest.after(4));
        }
        match kind {
            0x0800 => self.ipv4(bytes, rest),
            0x86dd => self.ipv6(bytes, rest),
            0x0806 if rest.is_there() => {
                self.push(Kind::Arp, rest);
            }
            0..0x0600 if rest.is_there() => {
                self.push(Kind::Llc, rest);
            }
            0..0x0600 => {}
            _ => self.data(rest),
        }
    }

    pub(super) fn raw(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Raw, rest);
        // Wireshark looks this far for PPP before it believes in IP.
        if rest.has(8) {
            self.either(bytes, rest);
        }
    }

    /// The version says which.
    fn either(&mut self, bytes: &[u8], rest: Rest) {
        match u8_in(bytes, rest, 0).map(|first| first >> 4) {
            Some(4) => self.ipv4(bytes, rest),
            Some(6) => self.ipv6(bytes, rest),
            _ => {}
        }
    }

    pub(super) fn null(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Null, rest);
        let Some(word) = bytes.first_chunk::<4>() else { return };
        match cooked::null_family(*word) {
            2 => self.ipv4(bytes, rest.after(4)),
            family if cooked::is_inet6(family) => self.ipv6(bytes, rest.after(4)),
            _ => self.data(rest.after(4)),
        }
    }

    pub(super) fn sll(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Sll, rest);
        self.all_or_nothing(rest, 4);
        let Some(kind) = u16_in(bytes, rest, 14) else { return };
        self.ethertype(bytes, kind, rest.after(16));
    }

    pub(super) fn sll2(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Sll2, rest);
        self.all_or_nothing(rest, 12);
        let Some(kind) = u16_in(bytes, rest, 0) else { return };
        if rest.has(20) {
            self.ethertype(bytes, kind, rest.after(20));
        }
    }
}

fn vlan_kind(ethertype: u16) -> Option<Kind> {
    match ethertype {
        0x8100 | 0x9100 => Some(Kind::Vlan),
        0x88a8 => Some(Kind::ServiceVlan),
        _ => None,
    }
}
