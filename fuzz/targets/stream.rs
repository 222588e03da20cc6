//! Segments and fragments of any numbers on a few connections: no panic, every byte at its place once, and never more kept
//! than the limits say.
//!
//! The input is a list of packets of 8 bytes: kind and flags, side and connection, number (2), acknowledgement, length,
//! time, place. Small numbers meet each other often; a kind makes them far apart.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use byway_wire::stream::{End, Ends, Gap, Interest, Limits, Piece, Readers, Side, Sighting, Streams};
use byway_wire::{Fragment, Layer, Packet, Stop, Tcp, TcpFlags, Transport, protocol};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { connections: 3, waiting_per_connection: 2_000, waiting_in_all: 3_000 };
/// More than a whole packet of fragments may wait beside the segments.
const WAITING_MAX: usize = 3_000 + (64 << 10) + 1_024 * 256;

/// How far each side of a connection has come, and whether it is over.
struct Book {
    next: [u64; 2],
    is_over: bool,
}

#[derive(Default)]
struct Checked {
    bytes: u64,
    missing: u64,
}

impl Readers for Checked {
    type Reader = Book;

    fn open(&mut self, ends: &Ends, time_ns: u64) -> Option<Book> {
        (ends.second.port() != 9 || time_ns % 2 == 0).then_some(Book { next: [0, 0], is_over: false })
    }

    fn piece(&mut self, book: &mut Book, side: Side, piece: &Piece<'_>) -> Interest {
        assert!(!book.is_over && !piece.bytes.is_empty());
        assert_eq!(piece.offset, book.next[side as usize]);
        book.next[side as usize] += piece.bytes.len() as u64;
        self.bytes += piece.bytes.len() as u64;
        if piece.bytes[0] == 0xff { Interest::Nothing } else { Interest::More }
    }

    fn gap(&mut self, book: &mut Book, side: Side, gap: &Gap) -> Interest {
        assert!(!book.is_over && gap.missing > 0);
        assert_eq!(gap.offset, book.next[side as usize]);
        book.next[side as usize] += gap.missing;
        self.missing += gap.missing;
        Interest::More
    }

    fn sighting(&mut self, _: &mut Book, _: Side, sighting: &Sighting) {
        assert!(sighting.from <= sighting.to);
    }

    fn end(&mut self, book: &mut Book, how: End) -> Interest {
        assert!(!book.is_over);
        book.is_over = true;
        if how == End::Finished { Interest::More } else { Interest::Nothing }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut checked = Checked::default();
    let mut streams = Streams::new(LIMITS, 5);
    for input in bytes.chunks_exact(8) {
        let [kind, ends, high, low, acknowledged, length, time, place] = input.try_into().unwrap_or_default();
        let time_ns = u64::from(time) << 24;
        match kind {
            0xff => streams.settle(time_ns, &mut checked),
            0xfe => drop(streams.give_up_oldest(&mut checked)),
            _ => {
                let far = if kind & 0x80 == 0 { 0 } else { u32::from(place) << 24 };
                let sequence = (u32::from(high) << 8 | u32::from(low)).wrapping_add(far);
                let payload = vec![low; usize::from(length)];
                let packet = packet(kind, ends, sequence, acknowledged, place, &payload);
                streams.take(usize::from(place & 15), time_ns, &packet, &mut checked);
            }
        }
        assert!(streams.waiting_bytes() <= WAITING_MAX && streams.connections() <= 3);
    }
    streams.finish(&mut checked);
    let counts = streams.counts();
    assert_eq!((streams.waiting_bytes(), streams.connections()), (0, 0));
    assert_eq!(counts.bytes, checked.bytes);
    assert_eq!(counts.bytes_lost + counts.bytes_cut + counts.bytes_given_up, checked.missing);
});

fn packet<'a>(
    kind: u8,
    ends: u8,
    sequence: u32,
    acknowledged: u8,
    place: u8,
    payload: &'a [u8],
) -> Packet<'a> {
    let address = |last: u8| match kind & 0x40 {
        0 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
        _ => IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into())),
    };
    let (from, to) = if ends & 1 == 0 { ((1, 8), (2, 9)) } else { ((2, 9), (1, 8)) };
    let port = |port: u8| u16::from(port) + (u16::from(ends >> 1 & 7) << 8);
    let captured = payload.len().saturating_sub(usize::from(ends >> 6) * 3);
    let (needed, had) = (20 + payload.len(), 20 + captured);
    let fragment =
        (kind & 0x20 != 0).then_some(Fragment { offset: u16::from(place >> 4) * 8, more: place & 8 != 0 });
    let tcp = Tcp {
        source_port: port(from.1),
        destination_port: port(to.1),
        sequence,
        acknowledgement: u32::from(acknowledged) << 4,
        flags: TcpFlags(kind & 0x17),
        window: 1,
        options: &[],
        payload: &payload[..captured],
    };
    let is_later = fragment.is_some_and(|fragment| fragment.offset > 0);
    Packet {
        source: address(from.0),
        destination: address(to.0),
        ttl: 64,
        identification: Some(u32::from(acknowledged & 3)),
        dont_fragment: false,
        fragment,
        protocol: protocol::TCP,
        length: 0,
        carried_length: u32::try_from(if is_later { payload.len() } else { needed }).unwrap_or_default(),
        transport: if is_later { Transport::Other(payload) } else { Transport::Tcp(tcp) },
        stop: (captured < payload.len()).then_some(Stop::CutShort { layer: Layer::Payload, needed, had }),
    }
}
