//! Frames as hexadecimal text, and what is read from them.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use std::fmt::Write as _;

use byway_wire::{Direction, Frame, LinkType, Named, Packet, PacketKey};

/// Ethernet, IPv4, ICMP echo request from 172.41.0.2 to 172.42.0.2, id 7, seq 1, 8 bytes of data.
const PING: &str = "02000000000b 02000000000a 0800
    4500 0024 1c46 4000 40 01 c610 ac290002 ac2a0002
    0800 f1f0 0007 0001 0102030405060708";

/// The same over IPv6 from `fd00:41::2` to `fd00:42::2`.
const PING6: &str = "02000000000b 02000000000a 86dd
    60000000 0010 3a 40 fd000041000000000000000000000002 fd000042000000000000000000000002
    8000 f1f0 0007 0001 0102030405060708";

const TCP_SYN: &str = "45 00 0034 0001 4000 40 06 0000 0a000001 0a000002
    0fa0 0cea 00000064 00000000 8002 fa f0 0000 0000 0204 05b4 0101 080a";

#[test]
fn a_ping_is_one_line_in_both_families() {
    check(PING, "172.41.0.2 > 172.42.0.2 ICMP echo request id 7 seq 1 ttl 64");
    check(PING6, "fd00:41::2 > fd00:42::2 ICMPv6 echo request id 7 seq 1 ttl 64");
}

#[test]
fn vlan_tags_are_peeled_off_and_told() {
    let tagged = PING.replace("0800\n", "88a8 0064 8100 6065 0800\n");
    check(&tagged, "vlan 100 vlan 101 172.41.0.2 > 172.42.0.2 ICMP echo request id 7 seq 1 ttl 64");
    let tower = PING.replace("0800\n", "8100 0001 8100 0001 8100 0001 8100 0001 8100 0001 0800\n");
    check(&tower, "vlan 1 vlan 1 vlan 1 vlan 1 unread, VLAN tag malformed: more than 4 tags");
    check("ffffffffffff 02000000000a 8100 00", "unread, VLAN tag cut short: 1 of 4 bytes");
}

#[test]
fn arp_is_read_for_ipv4_over_ethernet_only() {
    let arp =
        "ffffffffffff 02000000000a 0806 0001 0800 06 04 0001 02000000000a c0a8c729 000000000000 c0a8c72a";
    check(arp, "ARP who has 192.168.199.42 tell 192.168.199.41");
    check(&arp.replace("04 0001", "04 0002"), "ARP 192.168.199.41 is at 02:00:00:00:00:0a");
    check(&arp.replace("0001 0800", "0006 0800"), "ethertype 0x0806 28 bytes");
    check(&arp[..60], "unread, ARP message cut short: 12 of 28 bytes");
}

#[test]
fn what_is_not_ip_is_left_alone() {
    check("0180c2000000 02000000000a 0027 4242030000", "ethertype 0x0027 5 bytes");
    check("0180c2000000", "unread, Ethernet header cut short: 6 of 14 bytes");
    check("", "unread, Ethernet header cut short: 0 of 14 bytes");
}

#[test]
fn a_link_without_ethernet_starts_with_the_ip_version() {
    check_raw("", "unread, IP version cut short: 0 of 1 bytes");
    check_raw("50", "unread, IP version malformed: the version is neither 4 nor 6");
    check_raw("45", "unread, IPv4 header cut short: 1 of 20 bytes");
    check_raw("60 00", "unread, IPv6 header cut short: 2 of 40 bytes");
}

#[test]
fn an_ethertype_that_contradicts_the_version_is_malformed() {
    check(&PING.replace("4500", "6500"), "unread, IPv4 header malformed: the version is not 4");
    check(&PING6.replace("60000000", "40000000"), "unread, IPv6 header malformed: the version is not 6");
}

#[test]
fn a_frame_cut_by_a_snap_length_gives_what_is_there() {
    let bytes = bytes_of(PING);
    let told = |length: usize| Frame::decode(LinkType::Ethernet, &bytes[..length]).to_string();
    let ways = "172.41.0.2 > 172.42.0.2 ICMP";
    assert_eq!(
        told(46),
        format!("{ways} echo request id 7 seq 1 ttl 64 (payload cut short: 12 of 16 bytes)")
    );
    assert_eq!(told(40), format!("{ways} echo request ttl 64 (ICMP message cut short: 6 of 8 bytes)"));
    assert_eq!(told(36), format!("{ways} ttl 64 (ICMP message cut short: 2 of 4 bytes)"));
    assert_eq!(told(20), "unread, IPv4 header cut short: 6 of 20 bytes");
}

#[test]
fn ethernet_padding_is_not_payload() {
    let udp = "45 00 001d 0001 0000 40 11 0000 0a000001 0a000002 0035 0036 0009 0000 61";
    let bytes = bytes_of(&format!("{udp} 00000000 00000000"));
    let packet = Packet::decode(&bytes).unwrap();
    let byway_wire::Transport::Udp(datagram) = packet.transport else { panic!("{packet}") };
    assert_eq!((datagram.payload, packet.stop), (&b"a"[..], None));
}

#[test]
fn ipv4_options_are_stepped_over() {
    let udp = "47 00 0024 0001 0000 40 11 0000 0a000001 0a000002 0101010101010101 0035 0036 0008 0000";
    check_raw(udp, "10.0.0.1:53 > 10.0.0.2:54 UDP length 8 ttl 64");
    check_raw(
        "47 00 0024 0001 0000 40 11 0000 0a000001 0a000002 01010101",
        "10.0.0.1 > 10.0.0.2 UDP ttl 64 (IPv4 header cut short: 24 of 28 bytes)",
    );
    let short = udp.replacen("47", "44", 1);
    check_raw(
        &short,
        "10.0.0.1 > 10.0.0.2 UDP ttl 64 (IPv4 header malformed: the header is shorter than 20 bytes)",
    );
    let lying = udp.replacen("0024", "0010", 1);
    check_raw(
        &lying,
        "10.0.0.1 > 10.0.0.2 UDP ttl 64 (IPv4 header malformed: the packet is shorter than its header)",
    );
}

#[test]
fn an_ipv4_packet_that_is_only_a_header_carries_nothing() {
    check_raw(
        "45 00 0014 0001 0000 40 01 0000 0a000001 0a000002 0800 f1f0 0007 0001",
        "10.0.0.1 > 10.0.0.2 ICMP ttl 64 (ICMP message cut short: 0 of 4 bytes)",
    );
}

#[test]
fn a_length_left_to_the_network_card_means_all_there_is() {
    check_raw(
        "45 00 0000 0001 0000 40 11 0000 0a000001 0a000002 0035 0036 0000 0000 61626364",
        "10.0.0.1:53 > 10.0.0.2:54 UDP length 0 ttl 64",
    );
}

#[test]
fn only_the_first_fragment_has_ports() {
    let fragment = |place: &str| {
        format!("45 00 0024 0009 {place} 40 11 0000 0a000001 0a000002 0035 0036 0100 0000 0000000000000000")
    };
    check_raw(&fragment("2000"), "10.0.0.1:53 > 10.0.0.2:54 UDP length 256 fragment 9 at 0+ ttl 64");
    check_raw(&fragment("2002"), "10.0.0.1 > 10.0.0.2 UDP fragment 9 at 16+ ttl 64");
    check_raw(&fragment("001f"), "10.0.0.1 > 10.0.0.2 UDP fragment 9 at 248 ttl 64");
    check_raw(
        &fragment("4000"),
        "10.0.0.1:53 > 10.0.0.2:54 UDP length 256 ttl 64 (UDP datagram cut short: 16 of 256 bytes)",
    );
}

#[test]
fn ipv6_extension_headers_are_walked() {
    check_raw(
        &v6(
            "00",
            "3c00 0104 00000000  2b00 0104 00000000  3300 0000 00000000  1101 0000 00000000 00000000
        0035 0036 0008 0000",
        ),
        "[fd00::1]:53 > [fd00::2]:54 UDP length 8 ttl 64",
    );
    check_raw(
        &v6("2c", "1100 0001 0000002a 0035 0036 0100 0000"),
        "[fd00::1]:53 > [fd00::2]:54 UDP length 256 fragment 42 at 0+ ttl 64",
    );
}

#[test]
fn an_ipv6_extension_header_that_is_cut_or_one_too_many_ends_the_walk() {
    check_raw(
        &v6("00", "3c01 0104 00000000 00"),
        "fd00::1 > fd00::2 protocol 0 ttl 64 (IPv6 extension header cut short: 9 of 16 bytes)",
    );
    let fifteen = "3c00 0104 00000000".repeat(14) + "1100 0104 00000000";
    check_raw(
        &v6("3c", &(fifteen + "0035 0036 0008 0000")),
        "[fd00::1]:53 > [fd00::2]:54 UDP length 8 ttl 64",
    );
    check_raw(
        &v6("3c", &"3c00 0104 00000000".repeat(16)),
        "fd00::1 > fd00::2 protocol 60 ttl 64 (IPv6 extension header malformed: more than 15 extension headers)",
    );
}

#[test]
fn a_tcp_segment_names_its_flags() {
    let tcp = |flags: &str| {
        format!(
            "45 00 0029 0001 4000 40 06 0000 0a000001 0a000002 0fa0 0cea 00000064 0000000a 50{flags} faf0 0000 0000 61"
        )
    };
    check_raw(&tcp("02"), "10.0.0.1:4000 > 10.0.0.2:3306 TCP SYN seq 100 win 64240 data 1 ttl 64");
    check_raw(&tcp("12"), "10.0.0.1:4000 > 10.0.0.2:3306 TCP SYN+ACK seq 100 ack 10 win 64240 data 1 ttl 64");
    check_raw(&tcp("00"), "10.0.0.1:4000 > 10.0.0.2:3306 TCP none seq 100 win 64240 data 1 ttl 64");
}

#[test]
fn a_tcp_header_that_is_cut_or_lies_still_gives_its_ports() {
    check_raw(
        TCP_SYN,
        "10.0.0.1:4000 > 10.0.0.2:3306 TCP SYN seq 100 win 64240 ttl 64 (TCP header cut short: 28 of 32 bytes)",
    );
    let lying = TCP_SYN.replace("8002", "4002");
    check_raw(
        &lying,
        "10.0.0.1:4000 > 10.0.0.2:3306 TCP SYN seq 100 win 64240 ttl 64 (TCP header malformed: the header is shorter than 20 bytes)",
    );
    check_raw(
        "45 00 0034 0001 4000 40 06 0000 0a000001 0a000002 0fa0 0cea 00000064 00",
        "10.0.0.1:4000 > 10.0.0.2:3306 TCP seq 100 ttl 64 (TCP header cut short: 9 of 20 bytes)",
    );
    check_raw(
        "45 00 0034 0001 4000 40 06 0000 0a000001 0a000002 0fa0",
        "10.0.0.1 > 10.0.0.2 TCP ttl 64 (TCP header cut short: 2 of 20 bytes)",
    );
}

#[test]
fn an_icmp_error_tells_which_packet_it_is_about() {
    check_raw(
        &time_exceeded("ac290002", "01"),
        "192.168.199.42 > 172.41.0.2 ICMP time exceeded about 172.41.0.2 > 172.42.0.2 ICMP echo request id 7 seq 1 ttl 63",
    );
    check_raw(
        "45 00 0038 0001 0000 40 01 0000 0a000009 0a000001 0304 0000 0000 05dc
         45 00 0600 0002 4000 3f 06 0000 0a000001 0a000002 0fa0 0cea 00000064",
        "10.0.0.9 > 10.0.0.1 ICMP fragmentation needed mtu 1500 about 10.0.0.1:4000 > 10.0.0.2:3306 TCP seq 100 ttl 64",
    );
    let quoted6 = "60000000 0400 06 3f fd000000000000000000000000000001 fd000000000000000000000000000002 0fa0 0cea 00000064";
    check_raw(
        &v6("3a", &format!("0200 0000 00000500 {quoted6}")),
        "fd00::1 > fd00::2 ICMPv6 packet too big mtu 1280 about [fd00::1]:4000 > [fd00::2]:3306 TCP seq 100 ttl 64",
    );
}

#[test]
fn extensions_after_a_quoted_packet_are_not_part_of_it() {
    // RFC 4884: the length field (here 7 words) ends the quotation; four bytes of extension follow.
    let error = "45 00 003c 0001 0000 40 01 0000 0a000009 0a000001 0b00 0000 00070000
        45 00 0040 0002 4000 01 11 0000 0a000001 0a000002 0035 0036 002c 0000 2000 0000";
    let bytes = bytes_of(error);
    let packet = Packet::decode(&bytes).unwrap();
    let byway_wire::Transport::Icmp(icmp) = packet.transport else { panic!("{packet}") };
    let byway_wire::IcmpMessage::Error(error) = icmp.message else { panic!("{icmp}") };
    assert_eq!(error.quoted.len(), 28);
}

#[test]
fn routers_do_not_change_the_key() {
    for ping in [PING, PING6] {
        let before = key_of(ping).unwrap();
        // TTL 64 becomes 62 and the checksum follows; traffic class and flow label are marked; other stations.
        let after = ping
            .replace("40 01 c610", "3e 01 c810")
            .replace("3a 40", "3a 3e")
            .replace("4500 0024", "45b8 0024")
            .replace("60000000", "6b812345")
            .replace("02000000000b 02000000000a", "02000000000c 02000000000d");
        assert_ne!(ping, after);
        assert_eq!(key_of(&after), Some(before));
    }
}

#[test]
fn nat_does_not_change_the_key() {
    // Source address and echo id are translated, and the ICMP checksum with them.
    let masqueraded = PING.replace("ac290002", "c0a8c729").replace("f1f0 0007", "0000 0400");
    assert_eq!(key_of(&masqueraded), key_of(PING));
    let syn = format!("{TCP_SYN} 00000007");
    let translated = syn.replace("0a000001", "c0a8c729").replace("0fa0 0cea", "9c40 0cea");
    assert!(key_of_raw(&syn).is_some());
    assert_eq!(key_of_raw(&translated), key_of_raw(&syn));
}

#[test]
fn nat_does_not_change_the_key_of_an_error_although_it_rewrites_the_quotation() {
    let inside = time_exceeded("ac290002", "01");
    let outside = time_exceeded("c0a8c729", "01");
    assert_ne!(inside, outside);
    assert_eq!(key_of_raw(&inside), key_of_raw(&outside));
    assert_ne!(key_of_raw(&inside), key_of_raw(&time_exceeded("ac290002", "02")), "about another ping");
}

#[test]
fn another_packet_has_another_key() {
    let others = [
        PING.replace("0007 0001", "0007 0002"),
        PING.replace("1c46", "1c47"),
        PING.replace("0102030405060708", "0102030405060709"),
        PING.replace("0800 f1f0", "0000 f1f0"),
        PING6.to_owned(),
        PING6.replace("0007 0001", "0007 0002"),
    ];
    let mut keys: Vec<PacketKey> = others.iter().map(|other| key_of(other).unwrap()).collect();
    keys.push(key_of(PING).unwrap());
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), others.len() + 1);
}

#[test]
fn a_repeated_segment_is_another_packet_by_its_time_stamp() {
    let segment = |stamp: &str| {
        v6("06", &format!("0fa0 0cea 00000064 0000000a 8010 faf0 0000 0000 0101 080a {stamp} 00000001 61"))
    };
    assert!(key_of_raw(&segment("00000001")).is_some());
    assert_ne!(key_of_raw(&segment("00000001")), key_of_raw(&segment("00000002")));
}

#[test]
fn the_first_fragment_keeps_the_key_of_the_whole() {
    let body = "0035 0036 0048 0000 ".to_owned() + &"0a".repeat(64);
    let whole = format!("45 00 005c 0009 0000 40 11 0000 0a000001 0a000002 {body}");
    let first = format!("45 00 0044 0009 2000 3f 11 0000 0a000001 0a000002 {}", &body[..20 + 80]);
    let last = format!("45 00 002c 0009 0006 3f 11 0000 0a000001 0a000002 {}", "0a".repeat(24));
    assert!(key_of_raw(&whole).is_some());
    assert_eq!(key_of_raw(&first), key_of_raw(&whole));
    assert!(key_of_raw(&last).is_some());
    assert_ne!(key_of_raw(&last), key_of_raw(&whole));
}

#[test]
fn a_packet_cut_too_early_has_no_key_rather_than_a_wrong_one() {
    let long = PING.replace("4500 0024", "4500 0054").replace("0102030405060708", &"0a".repeat(56));
    let bytes = bytes_of(&long);
    let whole = Frame::decode(LinkType::Ethernet, &bytes).packet().unwrap().key();
    for length in 34..bytes.len() {
        let key = Frame::decode(LinkType::Ethernet, &bytes[..length]).packet().unwrap().key();
        assert_eq!(key, if length < 14 + 20 + 8 + 32 { None } else { whole }, "{length} bytes");
    }
}

#[test]
fn a_packet_without_a_length_has_a_key_only_if_there_is_enough_of_it() {
    // Cut or not cannot be told where the length was left to the network card.
    let packet = |bytes: usize| {
        "45 00 0000 0001 0000 40 11 0000 0a000001 0a000002 0035 0036 0000 0000".to_owned()
            + &"5a".repeat(bytes)
    };
    assert_eq!(key_of_raw(&packet(31)), None);
    assert!(key_of_raw(&packet(32)).is_some());
    assert_eq!(key_of_raw(&packet(32)), key_of_raw(&packet(33)));
}

#[test]
fn a_key_can_be_written_down_and_read_back() {
    let key = key_of(PING).unwrap();
    assert_eq!(key.to_string().parse(), Ok(key));
    for bad in ["", "12", "+000000000000001", "000000000000000G", "00000000000000001", "ABCDEF0123456789"] {
        let refused = bad.parse::<PacketKey>().unwrap_err();
        assert_eq!(refused.to_string(), "the key of a packet has 16 of 0-9 a-f");
    }
}

#[test]
fn the_key_of_this_ping_is_the_same_on_every_machine_and_in_every_version() {
    assert_eq!(key_of(PING).unwrap().to_string(), "9f64c4b70a80037c");
    assert_eq!(key_of(PING6).unwrap().to_string(), "bf13b742b152d376");
}

fn check(frame: &str, expected: &str) {
    let bytes = bytes_of(frame);
    assert_eq!(Frame::decode(LinkType::Ethernet, &bytes).to_string(), expected);
}

fn check_raw(packet: &str, expected: &str) {
    let bytes = bytes_of(packet);
    assert_eq!(Frame::decode(LinkType::RawIp, &bytes).to_string(), expected);
}

fn key_of(frame: &str) -> Option<PacketKey> {
    Frame::decode(LinkType::Ethernet, &bytes_of(frame)).packet()?.key()
}

fn key_of_raw(packet: &str) -> Option<PacketKey> {
    Frame::decode(LinkType::RawIp, &bytes_of(packet)).packet()?.key()
}

/// A time exceeded about a ping whose source and, in the quotation, echo sequence are given.
fn time_exceeded(source: &str, sequence: &str) -> String {
    format!(
        "45 00 0038 7777 0000 3f 01 0000 c0a8c72a {source} 0b00 0000 00000000
         45 00 0054 1c46 4000 01 01 0000 {source} ac2a0002 0800 f1f0 0007 00{sequence}"
    )
}

/// An IPv6 packet from `fd00::1` to `fd00::2` around what follows its header.
fn v6(next: &str, rest: &str) -> String {
    let mut packet = String::from("60000000");
    write!(packet, "{:04x} {next} 40", bytes_of(rest).len()).unwrap();
    packet + "fd000000000000000000000000000001 fd000000000000000000000000000002" + rest
}

fn bytes_of(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn cooked_captures_tell_direction_and_interface_and_keep_vlan_tags() {
    let ping = PING.split_once("0800\n").unwrap().1;
    let told = |link, text: &str| {
        let bytes = bytes_of(text);
        let frame = Frame::decode(link, &bytes);
        (frame.to_string(), frame.cooked.map(|cooked| (cooked.direction(), cooked.interface)))
    };
    let says = "172.41.0.2 > 172.42.0.2 ICMP echo request id 7 seq 1 ttl 64";
    let sll = format!("0004 0001 0006 02000000000a0000 0800 {ping}");
    assert_eq!(told(LinkType::LinuxSll, &sll), (says.to_owned(), Some((Direction::Out, None))));
    let sll2 = format!("8100 0000 00000007 0001 00 06 02000000000a0000 0065 0800 {ping}");
    let tagged = format!("vlan 101 {says}");
    assert_eq!(told(LinkType::LinuxSll2, &sll2), (tagged, Some((Direction::In, Some(7)))));
    let cut = "unread, Linux cooked header cut short: 2 of 16 bytes";
    assert_eq!(told(LinkType::LinuxSll, "0004").0, cut);
}

#[test]
fn a_bsd_loopback_is_read_in_either_byte_order() {
    let ping = PING.split_once("0800\n").unwrap().1;
    let says = "172.41.0.2 > 172.42.0.2 ICMP echo request id 7 seq 1 ttl 64";
    for family in ["00000002", "02000000"] {
        let bytes = bytes_of(&format!("{family} {ping}"));
        assert_eq!(Frame::decode(LinkType::Null, &bytes).to_string(), says);
    }
    let foreign = Frame::decode(LinkType::Null, &[0, 0, 0, 7]).to_string();
    assert_eq!(foreign, "unread, loopback header malformed: the family is neither IPv4 nor IPv6");
}

#[test]
fn names_stand_before_the_addresses_that_have_one() {
    let names = [("172.41.0.2".parse().unwrap(), "web".to_owned())].into();
    let bytes = bytes_of(PING);
    let frame = Frame::decode(LinkType::Ethernet, &bytes);
    let named = Named { frame: &frame, names: &names }.to_string();
    assert_eq!(named, "web(172.41.0.2) > 172.42.0.2 ICMP echo request id 7 seq 1 ttl 64");
}
