//! The closed table: every field that is known, and how it is read.

use super::Subject;
use super::cell::Cell;
use super::layers::{Kind, LayerAt};
use super::number;
use super::special::{self, Read};

/// A field by the name that Wireshark gave it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// The kinds of layers that have it.
    kinds: &'static [Kind],
    how: How,
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// A number of so many bytes at a place, shifted right and masked.
    Number {
        at: usize,
        bytes: usize,
        shift: u32,
        mask: u64,
        print: Print,
    },
    Station {
        at: usize,
    },
    Address4 {
        at: usize,
    },
    Address6 {
        at: usize,
    },
    /// Both, as Wireshark's `ip.addr` and `tcp.port`.
    Both {
        first: &'static How,
        second: &'static How,
    },
    Special(Read),
    /// The same, of what only earlier packets tell.
    Remembered(Read),
}

#[derive(Debug, Clone, Copy)]
enum Print {
    Decimal,
    /// With so many digits.
    Hexadecimal(u32),
}

impl Field {
    /// Whether it can only be told with [`super::Flows`].
    #[must_use]
    pub fn needs_flows(&self) -> bool {
        matches!(self.how, How::Remembered(_))
    }

    /// Writes all its values in a packet.
    pub fn write(&self, subject: &Subject<'_>, cell: &mut Cell<'_>) {
        for layer in subject.layers.as_slice() {
            if self.kinds.contains(&layer.kind) {
                self.how.write(subject, layer, cell);
            }
        }
    }
}

impl How {
    fn write(&self, subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
        match *self {
            Self::Number { at, bytes, shift, mask, print } => {
                let Some(value) = layer.number(subject.bytes, at, bytes) else { return };
                let value = (value >> shift) & mask;
                cell.put(|out| match print {
                    Print::Decimal => number::decimal(out, value),
                    Print::Hexadecimal(digits) => number::hexadecimal(out, value, digits),
                });
            }
            Self::Station { at } => {
                if let Some(station) = layer.part(subject.bytes, at, 6) {
                    cell.put(|out| number::station(out, station));
                }
            }
            Self::Address4 { at } => special::address4(subject, layer, cell, at),
            Self::Address6 { at } => special::address6(subject, layer, cell, at),
            Self::Both { first, second } => {
                first.write(subject, layer, cell);
                second.write(subject, layer, cell);
            }
            Self::Special(read) | Self::Remembered(read) => read(subject, layer, cell),
        }
    }
}

/// The field of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

const fn decimal(at: usize, bytes: usize) -> How {
    How::Number { at, bytes, shift: 0, mask: u64::MAX, print: Print::Decimal }
}

const fn hexadecimal(at: usize, bytes: usize, digits: u32) -> How {
    How::Number { at, bytes, shift: 0, mask: u64::MAX, print: Print::Hexadecimal(digits) }
}

const fn bits(at: usize, bytes: usize, shift: u32, mask: u64) -> How {
    How::Number { at, bytes, shift, mask, print: Print::Decimal }
}

const fn bits_hexadecimal(at: usize, bytes: usize, shift: u32, mask: u64, digits: u32) -> How {
    How::Number { at, bytes, shift, mask, print: Print::Hexadecimal(digits) }
}

/// One row of the table.
const fn row(name: &'static str, about: &'static str, kinds: &'static [Kind], how: How) -> Field {
    Field { name, about, kinds, how }
}

const FRAME: &[Kind] = &[Kind::Frame];
const ETH: &[Kind] = &[Kind::Ethernet];
const VLAN: &[Kind] = &[Kind::Vlan];
const SLL2: &[Kind] = &[Kind::Sll2];
const COOKED: &[Kind] = &[Kind::Sll, Kind::Sll2];
const ARP: &[Kind] = &[Kind::Arp];
const IP: &[Kind] = &[Kind::Ipv4];
const IP6: &[Kind] = &[Kind::Ipv6];
const FRAG6: &[Kind] = &[Kind::FragmentHeader];
const ICMP: &[Kind] = &[Kind::Icmp];
const ICMP6: &[Kind] = &[Kind::Icmpv6];
const TCP: &[Kind] = &[Kind::Tcp];
const UDP: &[Kind] = &[Kind::Udp];
const DATA: &[Kind] = &[Kind::Data];

/// Every field that is known, in the order of the layers.
#[rustfmt::skip]
pub static FIELDS: &[Field] = &[
    row("frame.number", "which packet, from 1", FRAME, How::Special(special::frame_number)),
    row("frame.time_epoch", "when, in seconds since 1970", FRAME, How::Special(special::time_epoch)),
    row("frame.time_relative", "seconds since the first packet", FRAME, How::Special(special::time_relative)),
    row("frame.time_delta", "seconds since the packet before", FRAME, How::Special(special::time_delta)),
    row("frame.len", "bytes on the link", FRAME, How::Special(special::frame_len)),
    row("frame.cap_len", "bytes that were kept", FRAME, How::Special(special::frame_cap_len)),
    row("frame.protocols", "its layers; what TCP and UDP carry is data, or mysql on port 3306", FRAME, How::Special(special::protocols)),
    row("frame.interface_id", "which interface, from 0", FRAME, How::Special(special::interface_id)),
    row("frame.interface_name", "the interface's name", FRAME, How::Special(special::interface_name)),
    row("frame.comment", "what was written about the packet", FRAME, How::Special(special::comment)),

    row("eth.dst", "to which station", ETH, How::Station { at: 0 }),
    row("eth.src", "from which station", ETH, How::Station { at: 6 }),
    row("eth.addr", "both stations", ETH, How::Both { first: &How::Station { at: 0 }, second: &How::Station { at: 6 } }),
    row("eth.type", "what follows", ETH, How::Special(|subject, layer, cell| {
        if let Some(kind) = layer.number(subject.bytes, 12, 2).filter(|kind| *kind >= 0x600) {
            cell.put(|out| number::hexadecimal(out, kind, 4));
        }
    })),
    row("vlan.priority", "the tag's priority", VLAN, bits(0, 2, 13, 7)),
    row("vlan.dei", "whether it may be dropped first", VLAN, bits(0, 2, 12, 1)),
    row("vlan.id", "which VLAN (802.1Q; of two tags the inner)", VLAN, bits(0, 2, 0, 0xfff)),
    row("vlan.etype", "what follows the tag", VLAN, How::Special(|subject, layer, cell| {
        if let Some(kind) = layer.number(subject.bytes, 2, 2).filter(|kind| *kind >= 0x600) {
            cell.put(|out| number::hexadecimal(out, kind, 4));
        }
    })),
    row("sll.pkttype", "for whom: 0 us, 1 all, 2 some, 3 others, 4 sent by us", COOKED, How::Special(|subject, layer, cell| {
        let (at, bytes) = if layer.kind == Kind::Sll { (0, 2) } else { (10, 1) };
        decimal(at, bytes).write(subject, layer, cell);
    })),
    row("sll.hatype", "the kind of link (ARPHRD)", COOKED, How::Special(|subject, layer, cell| {
        let at = if layer.kind == Kind::Sll { 2 } else { 8 };
        decimal(at, 2).write(subject, layer, cell);
    })),
    row("sll.halen", "bytes of the sender's station", COOKED, How::Special(|subject, layer, cell| {
        let (at, bytes) = if layer.kind == Kind::Sll { (4, 2) } else { (11, 1) };
        decimal(at, bytes).write(subject, layer, cell);
    })),
    row("sll.src.eth", "from which station", COOKED, How::Special(special::sll_station)),
    row("sll.etype", "what follows", COOKED, How::Special(|subject, layer, cell| {
        let at = if layer.kind == Kind::Sll { 14 } else { 0 };
        hexadecimal(at, 2, 4).write(subject, layer, cell);
    })),
    row("sll.ifindex", "the interface's number (SLL2 only)", SLL2, decimal(4, 4)),
    row("null.family", "the address family of a BSD loopback", &[Kind::Null], How::Special(special::null_family)),

    row("arp.hw.type", "the kind of link", ARP, decimal(0, 2)),
    row("arp.proto.type", "the kind of address", ARP, hexadecimal(2, 2, 4)),
    row("arp.hw.size", "bytes of a station", ARP, decimal(4, 1)),
    row("arp.proto.size", "bytes of an address", ARP, decimal(5, 1)),
    row("arp.opcode", "1 asks, 2 answers", ARP, decimal(6, 2)),
    row("arp.src.hw_mac", "the sender's station", ARP, How::Special(|s, l, c| special::arp_station(s, l, c, 8))),
    row("arp.src.proto_ipv4", "the sender's address", ARP, How::Special(|s, l, c| special::arp_address(s, l, c, 14))),
    row("arp.dst.hw_mac", "the target's station", ARP, How::Special(|s, l, c| special::arp_station(s, l, c, 18))),
    row("arp.dst.proto_ipv4", "the target's address", ARP, How::Special(|s, l, c| special::arp_address(s, l, c, 24))),

    row("ip.version", "4", IP, bits(0, 1, 4, 15)),
    row("ip.hdr_len", "bytes of the header", IP, How::Special(|subject, layer, cell| {
        if let Some(first) = layer.number(subject.bytes, 0, 1) {
            cell.put(|out| number::decimal(out, (first & 15) * 4));
        }
    })),
    row("ip.dsfield", "the DSCP and ECN byte", IP, hexadecimal(1, 1, 2)),
    row("ip.dsfield.dscp", "the class of service", IP, bits(1, 1, 2, 63)),
    row("ip.dsfield.ecn", "congestion notification", IP, bits(1, 1, 0, 3)),
    row("ip.len", "bytes of the packet by its own word", IP, decimal(2, 2)),
    row("ip.id", "identification", IP, hexadecimal(4, 2, 4)),
    row("ip.flags", "the three flags", IP, bits_hexadecimal(6, 1, 5, 7, 2)),
    row("ip.flags.rb", "reserved", IP, bits(6, 1, 7, 1)),
    row("ip.flags.df", "must not be cut up", IP, bits(6, 1, 6, 1)),
    row("ip.flags.mf", "more fragments follow", IP, bits(6, 1, 5, 1)),
    row("ip.frag_offset", "where the fragment starts, in units of 8 bytes", IP, bits(6, 2, 0, 0x1fff)),
    row("ip.ttl", "routers that may still pass it on", IP, decimal(8, 1)),
    row("ip.proto", "what it carries", IP, decimal(9, 1)),
    row("ip.checksum", "of the header; not checked", IP, hexadecimal(10, 2, 4)),
    row("ip.src", "from whom", IP, How::Address4 { at: 12 }),
    row("ip.dst", "to whom", IP, How::Address4 { at: 16 }),
    row("ip.addr", "both addresses", IP, How::Both { first: &How::Address4 { at: 12 }, second: &How::Address4 { at: 16 } }),
    row("ip.src_host", "from whom; names are never asked for, as with tshark -n", IP, How::Address4 { at: 12 }),
    row("ip.dst_host", "to whom, the same", IP, How::Address4 { at: 16 }),
    row("ip.host", "both addresses, the same", IP, How::Both { first: &How::Address4 { at: 12 }, second: &How::Address4 { at: 16 } }),

    row("ipv6.version", "6", IP6, bits(0, 1, 4, 15)),
    row("ipv6.tclass", "the DSCP and ECN byte", IP6, bits_hexadecimal(0, 4, 20, 0xff, 8)),
    row("ipv6.flow", "the flow label", IP6, bits_hexadecimal(0, 4, 0, 0xf_ffff, 6)),
    row("ipv6.plen", "bytes after the header by its own word", IP6, decimal(4, 2)),
    row("ipv6.nxt", "what follows the header", IP6, decimal(6, 1)),
    row("ipv6.hlim", "routers that may still pass it on", IP6, decimal(7, 1)),
    row("ipv6.src", "from whom", IP6, How::Address6 { at: 8 }),
    row("ipv6.dst", "to whom", IP6, How::Address6 { at: 24 }),
    row("ipv6.addr", "both addresses", IP6, How::Both { first: &How::Address6 { at: 8 }, second: &How::Address6 { at: 24 } }),
    row("ipv6.fraghdr.nxt", "what the fragments carry", FRAG6, decimal(0, 1)),
    row("ipv6.fraghdr.offset", "where the fragment starts, in units of 8 bytes", FRAG6, bits(2, 2, 3, 0x1fff)),
    row("ipv6.fraghdr.more", "more fragments follow", FRAG6, bits(2, 2, 0, 1)),
    row("ipv6.fraghdr.ident", "identification", FRAG6, hexadecimal(4, 4, 8)),

    row("icmp.type", "the type", ICMP, decimal(0, 1)),
    row("icmp.code", "the code", ICMP, decimal(1, 1)),
    row("icmp.checksum", "of the message; not checked", ICMP, hexadecimal(2, 2, 4)),
    row("icmp.ident", "which ping", ICMP, How::Special(|s, l, c| special::echo(s, l, c, 4, false))),
    row("icmp.ident_le", "the same, read little-endian", ICMP, How::Special(|s, l, c| special::echo(s, l, c, 4, true))),
    row("icmp.seq", "which of its messages", ICMP, How::Special(|s, l, c| special::echo(s, l, c, 6, false))),
    row("icmp.seq_le", "the same, read little-endian", ICMP, How::Special(|s, l, c| special::echo(s, l, c, 6, true))),
    row("icmp.mtu", "what would have passed", ICMP, How::Special(special::mtu)),
    row("icmpv6.type", "the type", ICMP6, decimal(0, 1)),
    row("icmpv6.code", "the code", ICMP6, decimal(1, 1)),
    row("icmpv6.checksum", "of the message; not checked", ICMP6, hexadecimal(2, 2, 4)),
    row("icmpv6.echo.identifier", "which ping", ICMP6, How::Special(|s, l, c| special::echo(s, l, c, 4, false))),
    row("icmpv6.echo.sequence_number", "which of its messages", ICMP6, How::Special(|s, l, c| special::echo(s, l, c, 6, false))),
    row("icmpv6.mtu", "what would have passed", ICMP6, How::Special(special::mtu)),

    row("tcp.srcport", "from which port", TCP, decimal(0, 2)),
    row("tcp.dstport", "to which port", TCP, decimal(2, 2)),
    row("tcp.port", "both ports", TCP, How::Both { first: &decimal(0, 2), second: &decimal(2, 2) }),
    row("tcp.stream", "which connection, from 0; the last 65536 are remembered", TCP, How::Remembered(special::stream)),
    row("tcp.len", "bytes of data on the link", TCP, How::Special(special::tcp_len)),
    row("tcp.seq", "counted from the connection's first segment; the last 65536 are remembered", TCP, How::Remembered(special::tcp_sequence)),
    row("tcp.seq_raw", "as it is in the header", TCP, How::Special(special::tcp_sequence_raw)),
    row("tcp.ack", "counted from the other side's first segment; the last 65536 are remembered", TCP, How::Remembered(special::tcp_acknowledgement)),
    row("tcp.ack_raw", "as it is in the header", TCP, decimal(8, 4)),
    row("tcp.hdr_len", "bytes of the header", TCP, How::Special(|subject, layer, cell| {
        if let Some(words) = layer.number(subject.bytes, 12, 1) {
            cell.put(|out| number::decimal(out, (words >> 4) * 4));
        }
    })),
    row("tcp.flags", "all flags", TCP, bits_hexadecimal(12, 2, 0, 0xfff, 4)),
    row("tcp.flags.cwr", "congestion window reduced", TCP, bits(13, 1, 7, 1)),
    row("tcp.flags.ece", "congestion was met", TCP, bits(13, 1, 6, 1)),
    row("tcp.flags.urg", "urgent", TCP, bits(13, 1, 5, 1)),
    row("tcp.flags.ack", "the acknowledgement is meant", TCP, bits(13, 1, 4, 1)),
    row("tcp.flags.push", "hand over now", TCP, bits(13, 1, 3, 1)),
    row("tcp.flags.reset", "refuses or breaks", TCP, bits(13, 1, 2, 1)),
    row("tcp.flags.syn", "opens", TCP, bits(13, 1, 1, 1)),
    row("tcp.flags.fin", "ends", TCP, bits(13, 1, 0, 1)),
    row("tcp.window_size_value", "bytes that may come back, before scaling", TCP, decimal(14, 2)),
    row("tcp.checksum", "of the segment; not checked", TCP, hexadecimal(16, 2, 4)),
    row("tcp.urgent_pointer", "where urgent data ends", TCP, decimal(18, 2)),
    row("tcp.options.mss_val", "the longest segment it takes", TCP, How::Special(|s, l, c| special::tcp_option(s, l, c, (2, 4), (2, 2)))),
    row("tcp.options.wscale.shift", "how its window is scaled", TCP, How::Special(|s, l, c| special::tcp_option(s, l, c, (3, 3), (2, 1)))),
    row("tcp.options.timestamp.tsval", "its clock", TCP, How::Special(|s, l, c| special::tcp_option(s, l, c, (8, 10), (2, 4)))),
    row("tcp.options.timestamp.tsecr", "the other's clock", TCP, How::Special(|s, l, c| special::tcp_option(s, l, c, (8, 10), (6, 4)))),
    row("tcp.payload", "its data", TCP, How::Special(special::tcp_payload)),

    row("udp.srcport", "from which port", UDP, decimal(0, 2)),
    row("udp.dstport", "to which port", UDP, decimal(2, 2)),
    row("udp.port", "both ports", UDP, How::Both { first: &decimal(0, 2), second: &decimal(2, 2) }),
    row("udp.stream", "which pair of ports, from 0; the last 65536 are remembered", UDP, How::Remembered(special::stream)),
    row("udp.length", "bytes of the datagram by its own word", UDP, decimal(4, 2)),
    row("udp.checksum", "of the datagram; not checked", UDP, hexadecimal(6, 2, 4)),

    row("data.len", "bytes that are carried and not read here", DATA, How::Special(special::data_len)),
    row("data.data", "the same as hexadecimal", DATA, How::Special(special::data)),
    row("mysql.query", "a COM_QUERY that starts a segment from or to port 3306", &[Kind::Mysql], How::Special(special::mysql_query)),
];
