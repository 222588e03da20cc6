//! Cuts a frame into its layers: where each starts, how far it can be read, and how long it was on the link.
//!
//! It parts where Wireshark does, so that fields occur as often as there; the tests compare.

mod link;
mod network;
mod rest;
mod transport;

use rest::Rest;

/// Layers of a frame: two link headers' worth of tags, and some packets in packets. A frame of 1,500 bytes with more
/// is somebody's test; what lies deeper is not shown.
pub const LAYERS_MAX: usize = 32;

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
    pub(super) flow: Option<FlowAt>,
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
    /// When the frame was seen, in seconds as 32 bits have them: what `ping` sends is told by it.
    second: u32,
}

const NOTHING: LayerAt = LayerAt {
    kind: Kind::Frame,
    quoted: Quoted::No,
    fragment: false,
    start: 0,
    end: 0,
    wire_end: 0,
    flow: None,
};

impl Default for Layers {
    fn default() -> Self {
        Self::new()
    }
}

impl Layers {
    /// No layers yet.
    #[must_use]
    pub fn new() -> Self {
        Self { list: [NOTHING; LAYERS_MAX], count: 0, link: 0, second: 0 }
    }

    /// Cuts a frame of that link type (see [`crate::LinkType::from_number`]) that was seen then, in nanoseconds since
    /// 1970.
    pub fn cut(&mut self, link: u32, bytes: &[u8], original_len: u32, time_ns: Option<u64>) {
        self.count = 0;
        self.link = link;
        let second = (time_ns.unwrap_or_default() / 1_000_000_000) & u64::from(u32::MAX);
        self.second = u32::try_from(second).unwrap_or_default();
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
        *place = LayerAt { kind, quoted, fragment, start, end, wire_end, flow: None };
        self.count += 1;
        true
    }

    /// The layer pushed last can be read only so far.
    fn shorten(&mut self, bytes: usize) {
        if let Some(last) = self.count.checked_sub(1).and_then(|at| self.list.get_mut(at)) {
            last.end = last.end.min(last.start + bytes);
        }
    }

    /// Of a header that was cut before that, Wireshark shows nothing.
    fn all_or_nothing(&mut self, rest: Rest, bytes: usize) -> bool {
        if !rest.has(bytes) {
            self.shorten(0);
        }
        rest.has(bytes)
    }

    fn data(&mut self, rest: Rest) {
        // Of what is not read, only what was kept counts.
        if rest.start < rest.end {
            self.push(Kind::Data, rest);
        }
    }
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
