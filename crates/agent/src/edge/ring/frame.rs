//! What is in a block: frames with what the kernel tells of them. Nothing in a block is believed before it was
//! compared with the block's end.

use std::mem::size_of;

use crate::edge::watch::Vlan;

/// `struct tpacket_block_desc`: the version, where its private part is, and then the header of version 1.
const BLOCK_FRAMES_AT: usize = 12;
const BLOCK_FIRST_AT: usize = 16;
/// `struct tpacket3_hdr`.
const NEXT_AT: usize = 0;
const SECONDS_AT: usize = 4;
const NANOSECONDS_AT: usize = 8;
const KEPT_AT: usize = 12;
const LENGTH_AT: usize = 16;
const STATUS_AT: usize = 20;
const MAC_AT: usize = 24;
const TAG_AT: usize = 32;
const TAG_KIND_AT: usize = 36;
/// `struct sockaddr_ll` stands behind the header, aligned (`TPACKET_ALIGN`).
const ADDRESS_AT: usize = size_of::<libc::tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
const INDEX_AT: usize = ADDRESS_AT + 4;
const KIND_AT: usize = ADDRESS_AT + 10;
const HEADER_BYTES: usize = ADDRESS_AT + size_of::<libc::sockaddr_ll>();

/// The two hardware addresses of an Ethernet frame, behind which a VLAN tag stands.
const ADDRESSES_BYTES: usize = 12;

/// A frame that passed the interface and the filter, in the ring's own memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it passed, in nanoseconds since 1970, by the clock that [`Frame::clock`] names.
    pub time_ns: u64,
    /// Whose time it is.
    pub clock: Clock,
    /// How it passed.
    pub direction: Direction,
    /// The outermost VLAN tag, which the kernel takes out of the frame.
    pub vlan: Option<Vlan>,
    /// Its first bytes: as many as the filter said.
    pub bytes: &'a [u8],
    /// How many bytes it had on the link (without a tag that was taken out).
    pub original_len: u32,
    /// The index of the interface in its namespace.
    pub interface_index: u32,
}

/// Who has looked at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The kernel, when the frame came to it (`TP_STATUS_TS_SOFTWARE`).
    Kernel,
    /// The kernel, when it put the frame into the ring.
    Ring,
    /// The card, by a clock of its own, which need not go as the kernel's does.
    Card,
}

/// How a frame passed an interface (`sll_pkttype` of `packet(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It came in, for this host.
    In,
    /// It came in, for everybody.
    Broadcast,
    /// It came in, for a group.
    Multicast,
    /// It came in, for somebody else: on its way through a bridge, or because the interface is promiscuous.
    Passing,
    /// It went out.
    Out,
}

impl Direction {
    /// Whether it went out.
    #[must_use]
    pub fn is_out(self) -> bool {
        self == Self::Out
    }

    fn of(kind: u8) -> Self {
        match kind {
            libc::PACKET_BROADCAST => Self::Broadcast,
            libc::PACKET_MULTICAST => Self::Multicast,
            libc::PACKET_OTHERHOST => Self::Passing,
            libc::PACKET_OUTGOING => Self::Out,
            _ => Self::In,
        }
    }
}

impl Frame<'_> {
    /// The frame as it was on the link and its length there: the VLAN tag is put back where it was, in `room`, which
    /// is overwritten. Without a tag the frame is lent as it is.
    pub fn whole<'b>(&'b self, room: &'b mut Vec<u8>) -> (&'b [u8], u32) {
        let Some(tag) = self.vlan else { return (self.bytes, self.original_len) };
        let end = self.bytes.len().min(ADDRESSES_BYTES);
        let (addresses, rest) = self.bytes.split_at(end);
        room.clear();
        if addresses.len() < ADDRESSES_BYTES {
            // Cut before the place of the tag.
            room.extend_from_slice(addresses);
            return (room, self.original_len.saturating_add(4));
        }
        room.extend_from_slice(addresses);
        room.extend_from_slice(&tag.ethertype.to_be_bytes());
        room.extend_from_slice(&tag.tag.to_be_bytes());
        room.extend_from_slice(rest);
        (room, self.original_len.saturating_add(4))
    }

    /// Copies the frame as it was on the link, as [`Frame::whole`] has it, into `room`; its length there.
    pub fn copy_to(&self, room: &mut Vec<u8>) -> u32 {
        if self.vlan.is_none() {
            room.clear();
            room.extend_from_slice(self.bytes);
            return self.original_len;
        }
        let (_, original_len) = self.whole(room);
        original_len
    }

    /// Whether the filter or the ring cut it.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        usize::try_from(self.original_len).is_ok_and(|len| self.bytes.len() < len)
    }
}

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of a block of {block_bytes}: {what}")]
pub struct BadBlock {
    /// Where, from the block's start.
    pub at: usize,
    /// How long the block is.
    pub block_bytes: usize,
    /// What is there.
    pub what: &'static str,
}

/// What the kernel tells of a frame, and where the frame is in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    time_ns: u64,
    clock: Clock,
    direction: Direction,
    vlan: Option<Vlan>,
    start: usize,
    end: usize,
    original_len: u32,
    interface_index: u32,
}

impl Header {
    /// With its bytes: `None` if that is another block than it was read from.
    pub(super) fn frame(self, block: &[u8]) -> Option<Frame<'_>> {
        let Self { time_ns, clock, direction, vlan, start, end, original_len, interface_index } = self;
        let bytes = block.get(start..end)?;
        Some(Frame { time_ns, clock, direction, vlan, bytes, original_len, interface_index })
    }
}

/// A place in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Where the next frame is.
    at: usize,
    /// How many frames are left.
    pub(super) left: u32,
}

impl Cursor {
    /// The first frame of a block.
    pub(super) fn start(block: &[u8]) -> Self {
        let first = number(block, BLOCK_FIRST_AT).and_then(|at| usize::try_from(at).ok());
        Self { at: first.unwrap_or(usize::MAX), left: number(block, BLOCK_FRAMES_AT).unwrap_or(0) }
    }

    /// The place behind all frames.
    pub(super) fn end(self) -> Self {
        Self { left: 0, ..self }
    }

    /// What is told of the frame here, and the place of the next one.
    pub(super) fn read(self, block: &[u8]) -> Result<(Header, Self), BadBlock> {
        let bad = |what| BadBlock { at: self.at, block_bytes: block.len(), what };
        let rest = block.get(self.at..).ok_or_else(|| bad("a frame would start behind the end"))?;
        let header: &[u8; HEADER_BYTES] = rest.first_chunk().ok_or_else(|| bad("a header is cut off"))?;
        let field = |at| number(header, at).unwrap_or(0);
        let start = usize::from(half(header, MAC_AT));
        let kept = usize::try_from(field(KEPT_AT)).unwrap_or(usize::MAX);
        let end = start.checked_add(kept).filter(|end| *end <= rest.len());
        let end = end.ok_or_else(|| bad("a frame goes on behind the end"))?;
        let read = Header {
            time_ns: u64::from(field(SECONDS_AT)) * 1_000_000_000 + u64::from(field(NANOSECONDS_AT)),
            clock: clock(field(STATUS_AT)),
            direction: Direction::of(header[KIND_AT]),
            vlan: vlan(header),
            start: self.at + start,
            end: self.at + end,
            original_len: field(LENGTH_AT),
            interface_index: field(INDEX_AT),
        };
        let step = usize::try_from(field(NEXT_AT)).unwrap_or(usize::MAX);
        if self.left > 1 && step < HEADER_BYTES {
            return Err(bad("the next frame would be inside of this one's header"));
        }
        Ok((read, Self { at: self.at.saturating_add(step), left: self.left.saturating_sub(1) }))
    }

    /// When the frame here passed.
    pub(super) fn time_ns(self, block: &[u8]) -> Option<u64> {
        let header = block.get(self.at..)?;
        Some(
            u64::from(number(header, SECONDS_AT)?) * 1_000_000_000
                + u64::from(number(header, NANOSECONDS_AT)?),
        )
    }
}

fn clock(status: u32) -> Clock {
    match status {
        card if card & libc::TP_STATUS_TS_RAW_HARDWARE != 0 => Clock::Card,
        kernel if kernel & libc::TP_STATUS_TS_SOFTWARE != 0 => Clock::Kernel,
        _ => Clock::Ring,
    }
}

fn vlan(header: &[u8; HEADER_BYTES]) -> Option<Vlan> {
    let status = number(header, STATUS_AT)?;
    let tag = u16::try_from(number(header, TAG_AT)? & 0xffff).ok()?;
    // Before Linux 3.14 there was only one kind of tag, and it was not told.
    let told = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    let ethertype = if told { half(header, TAG_KIND_AT) } else { 0x8100 };
    (status & libc::TP_STATUS_VLAN_VALID != 0).then_some(Vlan { ethertype, tag })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn half(header: &[u8; HEADER_BYTES], at: usize) -> u16 {
    header.get(at..).and_then(<[u8]>::first_chunk).copied().map_or(0, u16::from_ne_bytes)
}

#[cfg(test)]
mod tests;
