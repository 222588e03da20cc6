//! Any bytes as a frame, with and without a link header: no panic, and what must always hold does.

#![no_main]

use byway_wire::{Body, Frame, LinkType, Packet, PacketKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for link in [LinkType::Ethernet, LinkType::RawIp, LinkType::Null, LinkType::LinuxSll, LinkType::LinuxSll2] {
        let frame = Frame::decode(link, bytes);
        assert!(!frame.to_string().is_empty());
        if let Body::Packet(packet) = &frame.body {
            hold(packet);
            cut(link, bytes, packet.key());
            if link == LinkType::RawIp {
                age(bytes, packet.key());
            }
        }
    }
});

/// A key can be read back, and only whole packets or long enough pieces have one.
fn hold(packet: &Packet<'_>) {
    if let Some(key) = packet.key() {
        assert_eq!(key.to_string().parse::<PacketKey>(), Ok(key));
        assert_eq!(packet.key(), Some(key));
    }
}

/// A packet that was cut has the key of the whole or none.
fn cut(link: LinkType, bytes: &[u8], whole: Option<PacketKey>) {
    for length in [bytes.len() / 4, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let cut = Frame::decode(link, &bytes[..length]);
        if let (Some(key), Some(whole)) = (cut.packet().and_then(Packet::key), whole) {
            assert_eq!(key, whole);
        }
    }
}

/// A packet that a router passed on has the key that it had.
fn age(bytes: &[u8], before: Option<PacketKey>) {
    let mut later = bytes.to_vec();
    // The TTL and the checksum of IPv4, the hop limit of IPv6.
    let changed = if bytes[0] >> 4 == 4 { &[8, 10, 11][..] } else { &[7][..] };
    changed.iter().for_each(|at| later[*at] = later[*at].wrapping_sub(1));
    let after = Frame::decode(LinkType::RawIp, &later);
    assert_eq!(after.packet().and_then(Packet::key), before);
}
