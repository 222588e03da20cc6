//! IP fragments of TCP segments, put together, at each point for itself.
//!
//! Overlapping fragments are refused with their whole packet, as RFC 5722 says for IPv6: nobody sends them who means well.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use super::counts::Counts;
use super::segment::{Segment, length_of};
use crate::{Fragment, Packet, Tcp, TcpFlags, Transport, protocol};

/// Packets of which fragments are kept. So many may be under way when each of some hundred senders has several.
pub const FRAGMENTS_MAX: usize = 1024;
/// Bytes of fragments that are kept: what Linux keeps too (`ipfrag_high_thresh`).
pub const FRAGMENT_BYTES_MAX: usize = 4 << 20;
/// How long the fragments of a packet are waited for, in nanoseconds: as long as Linux does (`ipfrag_time`).
pub const FRAGMENT_PATIENCE_NS: u64 = 30_000_000_000;
/// Fragments of one packet: 64 KiB in pieces of 576 bytes, the least that every IPv4 host takes, are 118.
pub const PARTS_MAX: usize = 128;

/// What it takes to keep one fragment or one packet beside its bytes, with its share of the tree.
const OVERHEAD_BYTES: usize = 128;

/// Packets of which some fragments are missing.
#[derive(Debug)]
pub(super) struct Fragments {
    packets: BTreeMap<Key, Whole>,
    /// In the order in which they began; some are no longer there.
    order: VecDeque<(Key, u64)>,
    begun: u64,
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    point: u32,
}

/// A packet as far as it is there.
#[derive(Debug)]
struct Whole {
    serial: u64,
    began_ns: u64,
    header: Option<Header>,
    /// By their offset behind the IP header.
    parts: BTreeMap<u32, Box<[u8]>>,
    /// How long it is without the IP header.
    length: Option<u32>,
    bytes: usize,
    is_refused: bool,
}

/// The TCP header, without its options.
#[derive(Debug, Clone, Copy)]
struct Header {
    /// In bytes, with its options.
    length: u32,
    source_port: u16,
    destination_port: u16,
    sequence: u32,
    acknowledgement: u32,
    flags: TcpFlags,
    window: u16,
}

/// A segment that was put together.
#[derive(Debug)]
pub(super) struct Joined {
    key: Key,
    time_ns: u64,
    header: Header,
    payload: Vec<u8>,
}

/// A fragment and its place.
struct Piece<'a> {
    offset: u32,
    bytes: &'a [u8],
    more: bool,
}

/// Why a fragment was not taken.
struct Refused;

impl Fragments {
    pub(super) fn new() -> Self {
        Self { packets: BTreeMap::new(), order: VecDeque::new(), begun: 0, bytes: 0 }
    }

    /// What it takes to keep them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets all, and says how many there were.
    pub(super) fn clear(&mut self) -> u64 {
        let given_up = self.packets.values().filter(|whole| !whole.is_refused).count();
        *self = Self::new();
        given_up as u64
    }

    /// Takes a fragment, and gives the segment if it was the last that was missing.
    pub(super) fn take(
        &mut self,
        point: usize,
        time_ns: u64,
        packet: &Packet<'_>,
        counts: &mut Counts,
    ) -> Option<Joined> {
        let (Some(place), protocol::TCP) = (packet.fragment, packet.protocol) else { return None };
        counts.fragments += 1;
        let key = Key {
            source: packet.source,
            destination: packet.destination,
            identification: packet.identification?,
            point: u32::try_from(point).unwrap_or(u32::MAX),
        };
        self.make_room(time_ns, counts);
        let whole = self.begin(key, time_ns);
        let before = whole.bytes;
        if whole.take(place, packet).is_err() {
            counts.fragments_refused += 1;
        }
        let (after, is_complete) = (whole.bytes, whole.is_complete());
        self.bytes = self.bytes + after - before;
        if !is_complete {
            return None;
        }
        let whole = self.remove(&key)?;
        counts.fragments_joined += 1;
        Some(Joined { key, time_ns, header: whole.header?, payload: whole.payload() })
    }

    fn begin(&mut self, key: Key, time_ns: u64) -> &mut Whole {
        let (serial, order, bytes) = (self.begun, &mut self.order, &mut self.bytes);
        let begun = &mut self.begun;
        self.packets.entry(key).or_insert_with(|| {
            *begun += 1;
            order.push_back((key, serial));
            *bytes += OVERHEAD_BYTES;
            Whole::new(serial, time_ns)
        })
    }

    /// Gives up what is too old, and the oldest where there is no room.
    fn make_room(&mut self, now_ns: u64, counts: &mut Counts) {
        // Ends: every turn takes one from the order.
        while let Some((key, serial)) = self.order.front().copied() {
            let began_ns =
                self.packets.get(&key).filter(|whole| whole.serial == serial).map(|whole| whole.began_ns);
            let is_too_old = began_ns.is_none_or(|began| now_ns.saturating_sub(began) > FRAGMENT_PATIENCE_NS);
            let is_full = self.order.len() >= FRAGMENTS_MAX || self.bytes >= FRAGMENT_BYTES_MAX;
            if !is_too_old && !is_full {
                return;
            }
            self.order.pop_front();
            if began_ns.is_some() && self.remove(&key).is_some_and(|whole| !whole.is_refused) {
                counts.fragments_given_up += 1;
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Whole> {
        let whole = self.packets.remove(key)?;
        self.bytes -= whole.bytes + OVERHEAD_BYTES;
        Some(whole)
    }
}

impl Whole {
    fn new(serial: u64, began_ns: u64) -> Self {
        let (header, parts, length) = (None, BTreeMap::new(), None);
        Self { serial, began_ns, header, parts, length, bytes: 0, is_refused: false }
    }

    fn take(&mut self, place: Fragment, packet: &Packet<'_>) -> Result<(), Refused> {
        if self.is_refused {
            return Err(Refused);
        }
        let taken = self.piece(place, packet).and_then(|piece| self.put(&piece));
        if taken.is_err() {
            // What comes of it later must not make a packet of what is left.
            (self.is_refused, self.header, self.length, self.bytes) = (true, None, None, 0);
            self.parts.clear();
        }
        taken
    }

    /// What a fragment has of the data, without the TCP header in the first.
    fn piece<'a>(&mut self, place: Fragment, packet: &Packet<'a>) -> Result<Piece<'a>, Refused> {
        let offset = u32::from(place.offset);
        let (start, bytes) = match packet.transport {
            Transport::Tcp(tcp) if offset == 0 => {
                let header = Header::of(&tcp);
                self.header = Some(header);
                (header.length, tcp.payload)
            }
            Transport::Other(bytes) if offset > 0 => (offset, bytes),
            _ => return Err(Refused),
        };
        let end = offset + packet.carried_length;
        let is_whole = packet.stop.is_none() && start + length_of(bytes) == end;
        // All but the last end where the next can start.
        let fits = u16::try_from(end).is_ok() && (!place.more || end.is_multiple_of(8));
        (is_whole && fits).then_some(Piece { offset: start, bytes, more: place.more }).ok_or(Refused)
    }

    fn put(&mut self, piece: &Piece<'_>) -> Result<(), Refused> {
        if self.parts.get(&piece.offset).is_some_and(|known| **known == *piece.bytes) {
            // A copy of a fragment, as RFC 8200 (4.5) allows.
            return Ok(());
        }
        let end = piece.offset + length_of(piece.bytes);
        let before = self.parts.range(..end).next_back();
        let overlaps =
            before.is_some_and(|(at, bytes)| at + length_of(bytes) > piece.offset || *at == piece.offset);
        let last = self.parts.last_key_value().map_or(0, |(at, bytes)| at + length_of(bytes));
        let contradicts = match self.length {
            Some(length) => !piece.more || end > length,
            None => !piece.more && last > end,
        };
        if overlaps || contradicts || self.parts.len() >= PARTS_MAX {
            return Err(Refused);
        }
        if !piece.more {
            self.length = Some(end);
        }
        if !piece.bytes.is_empty() {
            self.bytes += piece.bytes.len() + OVERHEAD_BYTES;
            self.parts.insert(piece.offset, piece.bytes.into());
        }
        Ok(())
    }

    /// Without overlaps, it is there when the parts are as long as the whole.
    fn is_complete(&self) -> bool {
        let data: u32 = self.parts.values().map(|bytes| length_of(bytes)).sum();
        self.header.is_some_and(|header| self.length == Some(header.length + data))
    }

    fn payload(&self) -> Vec<u8> {
        self.parts.values().flat_map(|bytes| bytes.iter().copied()).collect()
    }
}

impl Header {
    fn of(tcp: &Tcp<'_>) -> Self {
        Self {
            length: 20 + length_of(tcp.options),
            source_port: tcp.source_port,
            destination_port: tcp.destination_port,
            sequence: tcp.sequence,
            acknowledgement: tcp.acknowledgement,
            flags: tcp.flags,
            window: tcp.window,
        }
    }
}

impl Joined {
    pub(super) fn segment(&self) -> Segment<'_> {
        let Header { length: _, source_port, destination_port, sequence, acknowledgement, flags, window } =
            self.header;
        Segment {
            point: self.key.point,
            time_ns: self.time_ns,
            source: self.key.source,
            destination: self.key.destination,
            tcp: Tcp {
                source_port,
                destination_port,
                sequence,
                acknowledgement,
                flags,
                window,
                options: &[],
                payload: &self.payload,
            },
            length: length_of(&self.payload),
            identification: self.key.identification,
        }
    }
}
