//! Fields that are more than a number at a place.

use super::cell::Cell;
use super::layers::{Kind, LayerAt, Quoted};
use super::number;
use super::{Layers, Subject};

/// What a field needs to be read: the packet, one layer of its kind, and where to write.
pub(super) type Read = fn(&Subject<'_>, &LayerAt, &mut Cell<'_>);

pub(super) fn frame_number(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    cell.put(|out| number::decimal(out, subject.number));
}

pub(super) fn frame_len(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    cell.put(|out| number::decimal(out, subject.original_len.into()));
}

pub(super) fn frame_cap_len(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    cell.put(|out| number::decimal(out, subject.bytes.len() as u64));
}

pub(super) fn time_epoch(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    if let Some(time) = subject.time_ns {
        cell.put(|out| number::seconds(out, time));
    }
}

pub(super) fn time_relative(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    if let (Some(first), Some(time)) = (subject.first_ns, subject.time_ns) {
        cell.put(|out| number::between(out, first, time));
    }
}

pub(super) fn time_delta(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    if let Some(time) = subject.time_ns {
        cell.put(|out| number::between(out, subject.previous_ns.unwrap_or(time), time));
    }
}

pub(super) fn interface_id(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    if let Some(interface) = subject.interface {
        cell.put(|out| number::decimal(out, interface as u64));
    }
}

pub(super) fn interface_name(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    if subject.interface.is_some() {
        let name = subject.interface_name.unwrap_or("unknown");
        cell.put(|out| number::text(out, name.as_bytes()));
    }
}

pub(super) fn comment(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    for comment in subject.comments {
        cell.put(|out| number::text(out, comment));
    }
}

pub(super) fn protocols(subject: &Subject<'_>, _: &LayerAt, cell: &mut Cell<'_>) {
    cell.put(|out| {
        for (nth, layer) in subject.layers.as_slice().iter().skip(1).enumerate() {
            if nth > 0 {
                out.push(b':');
            }
            out.extend_from_slice(dissector(layer.kind, subject.layers, nth + 2).as_bytes());
        }
    });
}

/// Wireshark's name of the dissector; `next` is the layer after it.
fn dissector(kind: Kind, layers: &Layers, next: usize) -> &'static str {
    let is_llc = layers.as_slice().get(next).is_some_and(|layer| layer.kind == Kind::Llc);
    let is_last = layers.as_slice().len() <= next;
    match kind {
        Kind::Frame => "frame",
        Kind::Ethernet if is_llc || is_last => "eth",
        Kind::Ethernet => "eth:ethertype",
        Kind::Llc => "llc",
        Kind::Sll | Kind::Sll2 if is_llc || is_last => "sll",
        Kind::Sll | Kind::Sll2 => "sll:ethertype",
        Kind::Null => "null",
        Kind::Raw => "raw",
        Kind::Vlan if is_llc || is_last => "vlan",
        Kind::Vlan => "vlan:ethertype",
        Kind::ServiceVlan if is_llc || is_last => "ieee8021ad",
        Kind::ServiceVlan => "ieee8021ad:ethertype",
        Kind::Arp => "arp",
        Kind::Ipv4 => "ip",
        Kind::Ipv6 => "ipv6",
        Kind::HopByHop => "ipv6.hopopts",
        Kind::Destination => "ipv6.dstopts",
        Kind::Routing => "ipv6.routing",
        Kind::FragmentHeader => "ipv6.fraghdr",
        Kind::Icmp => "icmp",
        Kind::Icmpv6 => "icmpv6",
        Kind::Tcp => "tcp",
        Kind::Udp => "udp",
        Kind::Mysql => "mysql",
        Kind::Data => "data",
    }
}

pub(super) fn sll_station(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    let (length_at, at) = if layer.kind == Kind::Sll { ((4, 2), 6) } else { ((11, 1), 12) };
    if layer.number(subject.bytes, length_at.0, length_at.1) == Some(6)
        && let Some(station) = layer.part(subject.bytes, at, 6)
    {
        cell.put(|out| number::station(out, station));
    }
}

pub(super) fn null_family(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    if let Some(word) = layer.part(subject.bytes, 0, 4).and_then(|word| word.first_chunk::<4>()) {
        let family = crate::cooked::null_family(*word);
        cell.put(|out| number::decimal(out, family.into()));
    }
}

/// Whether the length of a message of ARP fits the addresses of IPv4 over Ethernet.
fn is_arp_of_ipv4(subject: &Subject<'_>, layer: &LayerAt) -> bool {
    layer.number(subject.bytes, 0, 6) == Some(0x0001_0800_0604)
}

pub(super) fn arp_station(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>, at: usize) {
    if is_arp_of_ipv4(subject, layer)
        && let Some(station) = layer.part(subject.bytes, at, 6)
    {
        cell.put(|out| number::station(out, station));
    }
}

pub(super) fn arp_address(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>, at: usize) {
    if is_arp_of_ipv4(subject, layer) {
        address4(subject, layer, cell, at);
    }
}

pub(super) fn address4(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>, at: usize) {
    if let Some(address) = layer.part(subject.bytes, at, 4).and_then(|part| part.first_chunk::<4>()) {
        cell.put(|out| number::ipv4(out, (*address).into()));
    }
}

pub(super) fn address6(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>, at: usize) {
    if let Some(address) = layer.part(subject.bytes, at, 16).and_then(|part| part.first_chunk::<16>()) {
        cell.put(|out| number::ipv6(out, (*address).into()));
    }
}

/// Two bytes of an ICMP echo, or another message that has an identifier and a number.
pub(super) fn echo(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>, at: usize, little: bool) {
    let has_one = match layer.number(subject.bytes, 0, 1) {
        Some(0 | 8 | 13..=18) => layer.kind == Kind::Icmp,
        Some(128 | 129) => layer.kind == Kind::Icmpv6,
        _ => false,
    };
    if !has_one {
        return;
    }
    let Some(value) = layer.number(subject.bytes, at, 2) else { return };
    let value = if little { (value & 0xff) << 8 | value >> 8 } else { value };
    cell.put(|out| match (layer.kind, at) {
        (Kind::Icmpv6, 4) => number::hexadecimal(out, value, 4),
        _ => number::decimal(out, value),
    });
}

pub(super) fn mtu(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    let (kind, code) = (layer.number(subject.bytes, 0, 1), layer.number(subject.bytes, 1, 1));
    let mtu = match (layer.kind, kind, code) {
        (Kind::Icmp, Some(3), Some(4)) => layer.number(subject.bytes, 6, 2),
        (Kind::Icmpv6, Some(2), _) => layer.number(subject.bytes, 4, 4),
        _ => None,
    };
    if let Some(mtu) = mtu {
        cell.put(|out| number::decimal(out, mtu));
    }
}

pub(super) fn stream(_: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    cell.put(|out| number::decimal(out, layer.flow.stream));
}

/// The header's length in bytes, if all 20 bytes without options were kept and it makes sense.
fn tcp_header(subject: &Subject<'_>, layer: &LayerAt) -> Option<usize> {
    layer.part(subject.bytes, 0, 20)?;
    let words = layer.number(subject.bytes, 12, 1)? >> 4;
    usize::try_from(words * 4).ok()
}

pub(super) fn tcp_sequence(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    relative(subject, layer, cell, 4, layer.flow.sequence_base);
}

pub(super) fn tcp_acknowledgement(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    relative(subject, layer, cell, 8, layer.flow.acknowledgement_base);
}

fn relative(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>, at: usize, base: u32) {
    if let Some(Ok(raw)) = layer.number(subject.bytes, at, 4).map(u32::try_from) {
        cell.put(|out| number::decimal(out, raw.wrapping_sub(base).into()));
    }
}

/// Wireshark leaves it out where an ICMP error of IPv4 quotes the segment.
pub(super) fn tcp_sequence_raw(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    if layer.quoted != Quoted::ByIcmp {
        relative(subject, layer, cell, 4, 0);
    }
}

/// How much data the segment had on the link; of a quoted or cut up one nobody knows.
pub(super) fn tcp_len(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    if layer.quoted != Quoted::No || layer.fragment {
        return;
    }
    if let Some(header) = tcp_header(subject, layer)
        && let Some(length) = (layer.wire_end - layer.start).checked_sub(header)
    {
        cell.put(|out| number::decimal(out, length as u64));
    }
}

pub(super) fn tcp_payload(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    let Some(header) = tcp_header(subject, layer) else { return };
    let payload = layer.rest(subject.bytes, header);
    if !payload.is_empty() {
        cell.put(|out| number::bytes(out, payload));
    }
}

/// A number in every option of that kind that has that length.
pub(super) fn tcp_option(
    subject: &Subject<'_>,
    layer: &LayerAt,
    cell: &mut Cell<'_>,
    (kind, length): (u8, u8),
    (at, bytes): (usize, usize),
) {
    let Some(header) = tcp_header(subject, layer) else { return };
    let there = layer.rest(subject.bytes, 20);
    let mut options = &there[..there.len().min(header.saturating_sub(20))];
    // Ends: every step takes at least a byte of 40.
    while let Some((&first, rest)) = options.split_first() {
        match (first, rest.first()) {
            (0, _) | (2.., None) => return,
            (1, _) => options = rest,
            (found, Some(&told)) => {
                let Some(option) = options.get(..usize::from(told)).filter(|_| told >= 2) else { return };
                if (found, told) == (kind, length)
                    && let Some(part) = option.get(at..at + bytes)
                {
                    let value = part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                    cell.put(|out| number::decimal(out, value));
                }
                options = &options[option.len()..];
            }
        }
    }
}

pub(super) fn data_len(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    cell.put(|out| number::decimal(out, layer.rest(subject.bytes, 0).len() as u64));
}

pub(super) fn data(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    cell.put(|out| number::bytes(out, layer.rest(subject.bytes, 0)));
}

/// `COM_QUERY` at the start of a segment: three bytes of length, number 0, command 3, the text.
pub(super) fn mysql_query(subject: &Subject<'_>, layer: &LayerAt, cell: &mut Cell<'_>) {
    let payload = layer.rest(subject.bytes, 0);
    let Some(([low, middle, high, 0, 3], text)) = payload.split_first_chunk::<5>() else { return };
    let length = usize::from(*low) | usize::from(*middle) << 8 | usize::from(*high) << 16;
    let text = &text[..text.len().min(length.saturating_sub(1))];
    // Since MySQL 8.0.23 a client may say first that there are no attributes, in one set.
    let text = text.strip_prefix(&[0, 1]).unwrap_or(text);
    cell.put(|out| number::text(out, text));
}
