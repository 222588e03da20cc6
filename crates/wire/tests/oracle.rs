//! Random packets: nothing panics, and what is read agrees with `etherparse`, a decoder made by others.
//!
//! Compared is what both could read. Where they part on purpose is said at `comparable`.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use byway_wire::{Body, Frame, Icmp, IcmpMessage, LinkType, Packet, PacketKey, Stop, Transport};
use etherparse::{LaxNetSlice, LaxSlicedPacket, PacketBuilder, TransportSlice};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        touch_all(&bytes);
    }

    #[test]
    fn no_bytes_behind_a_good_start_make_it_panic(
        start in prop::sample::select(vec![&[0x45u8][..], &[0x60], &[0x45, 0, 0, 60, 0, 1, 0, 0, 64, 1]]),
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        touch_all(&[start, &bytes].concat());
    }

    #[test]
    fn whole_packets_are_read_as_the_other_decoder_reads_them(packet in any_packet()) {
        prop_assert_eq!(Frame::decode(LinkType::Ethernet, &packet).stop(), None);
        compare(&packet)?;
    }

    #[test]
    fn cut_packets_are_read_as_the_other_decoder_reads_them(packet in any_packet(), cut in any::<prop::sample::Index>()) {
        compare(&packet[..cut.index(packet.len())])?;
    }

    #[test]
    fn damaged_packets_are_read_as_the_other_decoder_reads_them(
        packet in any_packet(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut packet = packet;
        for (at, byte) in damage {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        touch_all(&packet);
        compare(&packet)?;
    }

    #[test]
    fn a_router_never_changes_the_key(packet in any_packet(), hops in 1u8..=64, checksum in any::<u16>()) {
        let mut later = packet.clone();
        age(&mut later, hops, checksum);
        prop_assert_eq!(key(&later), key(&packet));
        prop_assert!(key(&packet).is_some());
    }

    #[test]
    fn a_snap_length_never_makes_a_wrong_key(packet in any_packet(), cut in any::<prop::sample::Index>()) {
        let cut = &packet[..cut.index(packet.len())];
        prop_assert!(key(cut).is_none_or(|cut| Some(cut) == key(&packet)));
    }
}

/// Everything that can be asked of bytes.
fn touch_all(bytes: &[u8]) {
    let links =
        [LinkType::Ethernet, LinkType::RawIp, LinkType::Null, LinkType::LinuxSll, LinkType::LinuxSll2];
    for link in links {
        let frame = Frame::decode(link, bytes);
        assert!(!frame.to_string().is_empty());
        if let Some(packet) = frame.packet() {
            let _key = packet.key();
        }
    }
}

fn key(frame: &[u8]) -> Option<PacketKey> {
    Frame::decode(LinkType::Ethernet, frame).packet()?.key()
}

/// Does to an Ethernet frame without tags what routers do: lower the TTL, put a new checksum in.
fn age(frame: &mut [u8], hops: u8, checksum: u16) {
    let ip = 14 + 4 * Frame::decode(LinkType::Ethernet, frame).vlans.as_slice().len();
    if frame[ip] >> 4 == 4 {
        frame[ip + 8] = frame[ip + 8].wrapping_sub(hops);
        frame[ip + 10..ip + 12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        frame[ip + 7] = frame[ip + 7].wrapping_sub(hops);
    }
}

fn compare(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = Frame::decode(LinkType::Ethernet, bytes);
    let Ok(theirs) = LaxSlicedPacket::from_ethernet(bytes) else {
        prop_assert!(ours.ethernet.is_none());
        return Ok(());
    };
    let Some(packet) = ours.packet() else {
        // An EtherType that contradicts the version: they believe the version, the kernel and we drop it.
        let refused = matches!(ours.body, Body::Unread(Stop::Malformed { .. }));
        prop_assert!(
            refused || !matches!(theirs.net, Some(LaxNetSlice::Ipv4(_) | LaxNetSlice::Ipv6(_))),
            "{ours}"
        );
        return Ok(());
    };
    compare_net(packet, theirs.net.as_ref())?;
    if comparable(packet) {
        compare_transport(packet, theirs.transport.as_ref())?;
    }
    Ok(())
}

/// Not compared: first fragments, whose start of a transport header they leave alone; IPv4 authentication headers, which only they step over; IP and UDP lengths that lie, which
/// we refuse and they replace by what is there; IPv6 extensions out of their order, where they stop.
fn comparable(packet: &Packet<'_>) -> bool {
    let lies = matches!(packet.stop, Some(Stop::Malformed { .. }));
    !lies && packet.fragment.is_none() && packet.protocol != byway_wire::protocol::AUTHENTICATION
}

fn compare_net(ours: &Packet<'_>, theirs: Option<&LaxNetSlice<'_>>) -> Result<(), TestCaseError> {
    match theirs {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            prop_assert_eq!(ours.source, std::net::IpAddr::from(header.source_addr()));
            prop_assert_eq!(ours.destination, std::net::IpAddr::from(header.destination_addr()));
            prop_assert_eq!(ours.ttl, header.ttl());
            prop_assert_eq!(ours.protocol, header.protocol().0);
            prop_assert_eq!(ours.identification, Some(header.identification().into()));
            prop_assert_eq!(ours.dont_fragment, header.dont_fragment());
            prop_assert_eq!(ours.fragment.is_some(), ip.is_payload_fragmented());
            prop_assert_eq!(
                ours.fragment.map_or(0, |part| part.offset),
                header.fragments_offset().byte_offset()
            );
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            prop_assert_eq!(ours.source, std::net::IpAddr::from(header.source_addr()));
            prop_assert_eq!(ours.destination, std::net::IpAddr::from(header.destination_addr()));
            prop_assert_eq!(ours.ttl, header.hop_limit());
        }
        Some(LaxNetSlice::Arp(_)) => prop_assert!(false, "they see ARP, we {ours}"),
        // They give up on IPv4 headers whose options are cut; we keep the addresses.
        None => prop_assert!(ours.stop.is_some()),
    }
    Ok(())
}

fn compare_transport(ours: &Packet<'_>, theirs: Option<&TransportSlice<'_>>) -> Result<(), TestCaseError> {
    match (&ours.transport, theirs) {
        (Transport::Tcp(tcp), Some(TransportSlice::Tcp(other))) => {
            prop_assert_eq!(tcp.source_port, other.source_port());
            prop_assert_eq!(tcp.destination_port, other.destination_port());
            prop_assert_eq!(tcp.sequence, other.sequence_number());
            prop_assert_eq!(tcp.acknowledgement, other.acknowledgment_number());
            prop_assert_eq!(tcp.window, other.window_size());
            prop_assert_eq!(tcp.flags.contain(byway_wire::TcpFlags::SYN), other.syn());
            prop_assert_eq!(tcp.options, other.options());
            prop_assert_eq!(tcp.payload, other.payload());
        }
        (Transport::Udp(udp), Some(TransportSlice::Udp(other))) => {
            prop_assert_eq!(udp.source_port, other.source_port());
            prop_assert_eq!(udp.destination_port, other.destination_port());
            prop_assert_eq!(udp.length, other.length());
            prop_assert_eq!(udp.payload, other.payload());
        }
        (Transport::Icmp(icmp), Some(TransportSlice::Icmpv4(other))) => {
            prop_assert_eq!((icmp.kind, icmp.code), (other.type_u8(), other.code_u8()));
            compare_echo(icmp, other.bytes5to8(), other.payload())?;
        }
        (Transport::Icmp(icmp), Some(TransportSlice::Icmpv6(other))) => {
            prop_assert_eq!((icmp.kind, icmp.code), (other.type_u8(), other.code_u8()));
            compare_echo(icmp, other.bytes5to8(), other.payload())?;
        }
        // Headers that are cut, other protocols, datagrams whose length is 0 or more than there is, and ICMP time stamps, of which
        // they take only those of the right size.
        (Transport::Other(_) | Transport::Udp(_) | Transport::Icmp(Icmp { kind: 13 | 14, .. }), None)
        | (Transport::Other(_), Some(TransportSlice::Igmp(_))) => {}
        (_, None) => prop_assert!(ours.stop.is_some(), "only we read {ours}"),
        (ours, theirs) => prop_assert!(false, "we read {ours:?}, they {theirs:?}"),
    }
    Ok(())
}

fn compare_echo(ours: &Icmp<'_>, word: [u8; 4], payload: &[u8]) -> Result<(), TestCaseError> {
    if let IcmpMessage::EchoRequest(echo) | IcmpMessage::EchoReply(echo) = ours.message {
        let (id, sequence) = (echo.id.to_be_bytes(), echo.sequence.to_be_bytes());
        prop_assert_eq!([id[0], id[1], sequence[0], sequence[1]], word);
        prop_assert_eq!(echo.payload, payload);
    }
    Ok(())
}

/// What a random packet carries.
#[derive(Debug, Clone)]
enum Content {
    Tcp { ports: (u16, u16), sequence: u32, window: u16, syn: bool },
    Udp { ports: (u16, u16) },
    Ping { id: u16, sequence: u16 },
}

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        (any::<(u16, u16)>(), any::<u32>(), any::<u16>(), any::<bool>())
            .prop_map(|(ports, sequence, window, syn)| Content::Tcp { ports, sequence, window, syn }),
        any::<(u16, u16)>().prop_map(|ports| Content::Udp { ports }),
        any::<(u16, u16)>().prop_map(|(id, sequence)| Content::Ping { id, sequence }),
    ]
}

/// An Ethernet frame with no, one or two VLAN tags around IPv4 or IPv6.
fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let addresses = prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(from, to)| (from.to_vec(), to.to_vec())),
        any::<([u8; 16], [u8; 16])>().prop_map(|(from, to)| (from.to_vec(), to.to_vec())),
    ];
    let payload = prop::collection::vec(any::<u8>(), 0..100);
    (0usize..=2, addresses, 65u8.., any_content(), payload).prop_map(
        |(tags, (from, to), ttl, content, payload)| frame(tags, &from, &to, ttl, &content, &payload),
    )
}

fn frame(tags: usize, from: &[u8], to: &[u8], ttl: u8, content: &Content, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let ip = match (<[u8; 4]>::try_from(from), <[u8; 16]>::try_from(from)) {
        (Ok(from), _) => ethernet.ipv4(from, to.try_into().unwrap(), ttl),
        (_, from) => ethernet.ipv6(from.unwrap(), to.try_into().unwrap(), ttl),
    };
    match *content {
        Content::Udp { ports } => ip.udp(ports.0, ports.1).write(&mut bytes, payload).unwrap(),
        Content::Tcp { ports, sequence, window, syn } => {
            let mut tcp = ip.tcp(ports.0, ports.1, sequence, window).ack(sequence ^ 1);
            tcp = if syn { tcp.syn() } else { tcp };
            tcp = tcp.options_raw(&[1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
            tcp.write(&mut bytes, payload).unwrap();
        }
        Content::Ping { id, sequence } if from.len() == 4 => {
            ip.icmpv4_echo_request(id, sequence).write(&mut bytes, payload).unwrap();
        }
        Content::Ping { id, sequence } => {
            ip.icmpv6_echo_request(id, sequence).write(&mut bytes, payload).unwrap();
        }
    }
    for tag in 0..tags {
        bytes.splice(12..12, [0x81, 0x00, 0x20, u8::try_from(tag).unwrap()]);
    }
    bytes
}
