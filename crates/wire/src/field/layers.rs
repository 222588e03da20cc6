//! Cuts a frame into its layers: where each starts, how far it can be read, and how long it was on the link.
//!
//! It parts where Wireshark does, so that fields occur as often as there; the tests compare.

use crate::cooked;
use crate::packet::protocol;

/// Layers of a frame: two link headers' worth of tags, and some packets in packets. A frame of 1,500 bytes with more
/// is somebody's test; what lies deeper is not shown.
pub const LAYERS_MAX: usize = 32;

/// Where MySQL and `MariaDB` listen.
const MYSQL_PORT: u16 = 3306;

/// What a layer is.
#[expect(missing_docs, reason = "the names are the protocols' own")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Frame,
    Ethernet,
    Llc,
    /// SLL: a cooked header of 16 bytes.
    Sll,
    /// SLL2: a cooked header of 20 bytes.
    Sll2,
    Null,
    Raw,
    /// 802.1Q.
    Vlan,
    /// 802.1ad.
    ServiceVlan,
    Arp,
    Ipv4,
    Ipv6,
    HopByHop,
    Destination,
    Routing,
    FragmentHeader,
    Icmp,
    Icmpv6,
    Tcp,
    Udp,
    /// What TCP carries from or to port 3306.
    Mysql,
    /// What is carried and not read.
    Data,
}

/// A layer's place in the frame.
#[derive(Debug, Clone, Copy)]
pub struct LayerAt {
    /// What it is.
    pub kind: Kind,
    /// Which ICMP error quotes it, if one does.
    pub quoted: Quoted,
    /// Whether it is in the first fragment of a packet.
    pub fragment: bool,
    /// Its first byte.
    pub start: usize,
    /// Where it can be read to: the end of what was kept, or of what makes sense.
    pub end: usize,
    /// Where it ended on the link.
    pub wire_end: usize,
    /// For TCP and UDP: the connection's number, and what its sequence numbers are counted from.
    pub(super) flow: FlowAt,
}

/// Whether a layer is quoted by an ICMP error, the outermost counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoted {
    /// It is not.
    No,
    /// By one of IPv4.
    ByIcmp,
    /// By one of IPv6.
    ByIcmpv6,
}

/// What only earlier packets tell of a segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FlowAt {
    pub(super) stream: u64,
    pub(super) sequence_base: u32,
    pub(super) acknowledgement_base: u32,
}

/// The layers of one frame; kept and used again for the next.
#[derive(Debug, Clone)]
pub struct Layers {
    list: [LayerAt; LAYERS_MAX],
    count: usize,
    /// The link type's number: 228 and 229 have no layer of their own before the packet.
    link: u32,
}

const NOTHING: LayerAt = LayerAt {
    kind: Kind::Frame,
    quoted: Quoted::No,
    fragment: false,
    start: 0,
    end: 0,
    wire_end: 0,
    flow: FlowAt { stream: 0, sequence_base: 0, acknowledgement_base: 0 },
};

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

/// What follows a layer.
#[derive(Debug, Clone, Copy)]
struct Rest {
    start: usize,
    end: usize,
    wire_end: usize,
    quoted: Quoted,
    fragment: bool,
}

impl Rest {
    fn after(self, bytes: usize) -> Self {
        // Beyond the end there is nothing, but what was on the link goes on.
        Self { start: self.start + bytes, ..self }
    }

    fn quoted_by(self, by: Quoted) -> Self {
        Self { quoted: if self.quoted == Quoted::No { by } else { self.quoted }, ..self }
    }

    fn has(self, bytes: usize) -> bool {
        self.start + bytes <= self.end
    }

    /// Whether there was anything on the link.
    fn is_there(self) -> bool {
        self.start < self.end
    }
}

impl Layers {
    /// No layers yet.
    #[must_use]
    pub fn new() -> Self {
        Self { list: [NOTHING; LAYERS_MAX], count: 0, link: 0 }
    }

    /// Cuts a frame of that link type (see [`crate::LinkType::from_number`]).
    pub fn cut(&mut self, link: u32, bytes: &[u8], original_len: u32) {
        self.count = 0;
        self.link = link;
        let wire_end = (original_len as usize).max(bytes.len());
        let rest = Rest { start: 0, end: bytes.len(), wire_end, quoted: Quoted::No, fragment: false };
        self.push(Kind::Frame, rest);
        match link {
            1 => self.ethernet(bytes, rest),
            12 | 14 | 101 => self.raw(bytes, rest),
            228 => self.ipv4(bytes, rest),
            229 => self.ipv6(bytes, rest),
            0 | 108 => self.null(bytes, rest),
            113 => self.sll(bytes, rest),
            276 => self.sll2(bytes, rest),
            _ => {}
        }
    }

    /// The layers, from the outside in; the first is always the frame.
    #[must_use]
    pub fn as_slice(&self) -> &[LayerAt] {
        &self.list[..self.count]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [LayerAt] {
        &mut self.list[..self.count]
    }

    /// True if there was room.
    fn push(&mut self, kind: Kind, rest: Rest) -> bool {
        let Some(place) = self.list.get_mut(self.count) else { return false };
        let Rest { start, end, wire_end, quoted, fragment } = rest;
        *place = LayerAt { kind, quoted, fragment, start, end, wire_end, flow: FlowAt::default() };
        self.count += 1;
        true
    }

    /// The layer pushed last can be read only so far.
    fn shorten(&mut self, bytes: usize) {
        if let Some(last) = self.count.checked_sub(1).and_then(|at| self.list.get_mut(at)) {
            last.end = last.end.min(last.start + bytes);
        }
    }

    fn ethernet(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Ethernet, rest);
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

    fn data(&mut self, rest: Rest) {
        if rest.is_there() {
            self.push(Kind::Data, rest);
        }
    }

    fn raw(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Raw, rest);
        self.either(bytes, rest);
    }

    /// The version says which.
    fn either(&mut self, bytes: &[u8], rest: Rest) {
        match u8_in(bytes, rest, 0).map(|first| first >> 4) {
            Some(4) => self.ipv4(bytes, rest),
            Some(6) => self.ipv6(bytes, rest),
            _ => {}
        }
    }

    fn null(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Null, rest);
        let Some(word) = bytes.first_chunk::<4>() else { return };
        match cooked::null_family(*word) {
            2 => self.ipv4(bytes, rest.after(4)),
            family if cooked::is_inet6(family) => self.ipv6(bytes, rest.after(4)),
            _ => self.data(rest.after(4)),
        }
    }

    fn sll(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Sll, rest);
        let Some(kind) = u16_in(bytes, rest, 14) else { return };
        self.ethertype(bytes, kind, rest.after(16));
    }

    fn sll2(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Sll2, rest);
        let Some(kind) = u16_in(bytes, rest, 0) else { return };
        if rest.has(20) {
            self.ethertype(bytes, kind, rest.after(20));
        }
    }

    fn ipv4(&mut self, bytes: &[u8], rest: Rest) {
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
        if !rest.has(20) {
            return;
        }
        let inner = Rest { fragment: rest.fragment || flags & 0x2000 != 0, ..rest.after(header) };
        if flags & 0x1fff != 0 {
            return self.data(inner);
        }
        self.transport(bytes, number, inner);
    }

    fn ipv6(&mut self, bytes: &[u8], rest: Rest) {
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

    fn transport(&mut self, bytes: &[u8], number: u8, rest: Rest) {
        if !rest.is_there() {
            return;
        }
        match number {
            protocol::ICMP => self.icmp(bytes, rest),
            protocol::ICMPV6 => self.icmpv6(bytes, rest),
            protocol::TCP => self.tcp(bytes, rest),
            protocol::UDP => self.udp(bytes, rest),
            // IP in IP.
            4 => self.ipv4(bytes, rest),
            41 => self.ipv6(bytes, rest),
            _ => self.data(rest),
        }
    }

    fn icmp(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Icmp, rest);
        match u8_in(bytes, rest, 0) {
            Some(0 | 8) => self.data(rest.after(8)),
            Some(3 | 4 | 5 | 11 | 12) => self.ipv4(bytes, rest.after(8).quoted_by(Quoted::ByIcmp)),
            _ => {}
        }
    }

    fn icmpv6(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Icmpv6, rest);
        match u8_in(bytes, rest, 0) {
            Some(128 | 129) => self.data(rest.after(8)),
            Some(1..=4) => self.ipv6(bytes, rest.after(8).quoted_by(Quoted::ByIcmpv6)),
            _ => {}
        }
    }

    fn tcp(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Tcp, rest);
        if !rest.has(20) {
            // Of a header that was cut only the ports are shown, and what ICMP promises to quote.
            return self.shorten(if rest.quoted == Quoted::ByIcmp { 8 } else { 4 });
        }
        let header = usize::from(u8_in(bytes, rest, 12).unwrap_or_default() >> 4) * 4;
        if header < 20 {
            return self.shorten(13);
        }
        let payload = rest.after(header);
        let is_mysql = [0, 2].into_iter().any(|at| u16_in(bytes, rest, at) == Some(MYSQL_PORT));
        if is_mysql && payload.is_there() {
            self.push(Kind::Mysql, payload);
        } else {
            self.data(payload);
        }
    }

    fn udp(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Udp, rest);
        let Some(length) = u16_in(bytes, rest, 4) else { return };
        if length < 8 {
            return self.shorten(6);
        }
        if rest.has(8) {
            self.data(bound(rest, length.into()).after(8));
        }
    }
}

/// Not longer than its own header says.
fn bound(rest: Rest, length: usize) -> Rest {
    let end = rest.start + length;
    Rest { end: rest.end.min(end), wire_end: rest.wire_end.min(end), ..rest }
}

fn vlan_kind(ethertype: u16) -> Option<Kind> {
    match ethertype {
        0x8100 | 0x9100 => Some(Kind::Vlan),
        0x88a8 => Some(Kind::ServiceVlan),
        _ => None,
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

fn u8_in(bytes: &[u8], rest: Rest, at: usize) -> Option<u8> {
    rest.has(at + 1).then(|| bytes.get(rest.start + at).copied())?
}

fn u16_in(bytes: &[u8], rest: Rest, at: usize) -> Option<u16> {
    let two = bytes.get(rest.start + at..)?.first_chunk::<2>()?;
    rest.has(at + 2).then_some(u16::from_be_bytes(*two))
}

impl LayerAt {
    /// So many bytes of it, if they were kept.
    #[must_use]
    pub fn part<'a>(&self, frame: &'a [u8], at: usize, length: usize) -> Option<&'a [u8]> {
        let start = self.start.checked_add(at)?;
        let end = start.checked_add(length)?;
        if end <= self.end { frame.get(start..end) } else { None }
    }

    /// A number in it of 1 to 8 bytes.
    pub(super) fn number(&self, frame: &[u8], at: usize, length: usize) -> Option<u64> {
        let part = self.part(frame, at, length)?;
        Some(part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// All of it that was kept, from `at` on.
    #[must_use]
    pub fn rest<'a>(&self, frame: &'a [u8], at: usize) -> &'a [u8] {
        self.start.checked_add(at).and_then(|start| frame.get(start..self.end)).unwrap_or_default()
    }
}
