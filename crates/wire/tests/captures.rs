//! Capture files: what is written is read again as it was, however the bytes come; and no bytes make the reader panic.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use byway_wire::Direction;
use byway_wire::capture::{self, Comments, Counts, Flaw, Interface, Item, Reader, Record};
use byway_wire::field::{Cell, FIELDS, Flows, Layers, Occurrence, Subject};
use proptest::prelude::*;

/// A packet as it is written: time, interface, direction, bytes, original length, comments.
type Written = (u64, usize, Option<Direction>, Vec<u8>, u32, Vec<String>);

fn any_written() -> impl Strategy<Value = Written> {
    let direction = prop_oneof![Just(None), Just(Some(Direction::In)), Just(Some(Direction::Out))];
    let bytes = prop::collection::vec(any::<u8>(), 0..80);
    let comments = prop::collection::vec("[a-z ü]{0,9}", 0..3);
    (any::<u64>(), 0..3_usize, direction, bytes, any::<u32>(), comments)
}

fn written(packets: &[Written]) -> Vec<u8> {
    let mut out = Vec::new();
    capture::section(&mut out, "test");
    for link in [1, 101, 276] {
        let name = Some(format!("link{link}"));
        capture::interface(&mut out, &Interface { name, link, snaplen: 96, ..Interface::default() });
    }
    for (time_ns, interface, direction, bytes, original_len, comments) in packets {
        let mut options = Vec::new();
        for comment in comments {
            options.extend(1_u16.to_le_bytes());
            options.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
            options.extend(comment.as_bytes());
            options.resize(options.len().next_multiple_of(4), 0);
        }
        let record = Record {
            time_ns: Some(*time_ns),
            interface: *interface,
            direction: *direction,
            bytes,
            original_len: *original_len,
            comments: Comments::among(&options, false),
        };
        capture::packet(&mut out, u32::try_from(*interface).unwrap(), &record);
    }
    capture::statistics(&mut out, 1, 5, Counts { received: Some(9), dropped: Some(2) });
    out
}

/// All packets of a file, and what stopped the reading, if something did.
fn read(file: &[u8]) -> (Vec<Written>, Reader, Option<Flaw>) {
    let (mut reader, mut rest, mut packets) = (Reader::new(), file, Vec::new());
    while !rest.is_empty() {
        let needed = match reader.needs(rest) {
            Ok(needed) if needed <= rest.len() => needed,
            Ok(_) => {
                let flaw = reader.cut_short(rest);
                return (packets, reader, Some(flaw));
            }
            Err(flaw) => return (packets, reader, Some(flaw)),
        };
        match reader.take(rest) {
            Ok(Item::Packet(at)) => {
                let record = at.of(rest);
                let comments = record.comments.iter().map(|text| String::from_utf8_lossy(text).into_owned());
                packets.push((
                    record.time_ns.unwrap_or_default(),
                    record.interface,
                    record.direction,
                    record.bytes.to_vec(),
                    record.original_len,
                    comments.collect(),
                ));
            }
            Ok(Item::Other) => {}
            Err(flaw) => return (packets, reader, Some(flaw)),
        }
        rest = &rest[needed..];
    }
    (packets, reader, None)
}

#[test]
fn the_names_of_addresses_are_read_again_however_many_there_are() {
    let many = (0..2_500_u32).map(|nth| {
        let address =
            if nth % 2 == 0 { Ipv4Addr::from(nth).into() } else { Ipv6Addr::from(u128::from(nth)).into() };
        (address, format!("web-{nth}"))
    });
    let many: Vec<(IpAddr, String)> = many.collect();
    let mut file = Vec::new();
    capture::section(&mut file, "test");
    capture::names(&mut file, many.iter().map(|(address, name)| (*address, name.as_str())));
    capture::names(&mut file, [(many[0].0, "x".repeat(300).as_str())]);
    let (packets, reader, flaw) = read(&file);
    assert_eq!((packets.len(), flaw), (0, None));
    assert_eq!(reader.names(), many);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_again(packets in prop::collection::vec(any_written(), 0..8)) {
        let (again, reader, flaw) = read(&written(&packets));
        prop_assert_eq!(flaw, None);
        prop_assert_eq!(again, packets);
        prop_assert_eq!(reader.interfaces()[1].counts, Counts { received: Some(9), dropped: Some(2) });
        prop_assert_eq!(reader.interfaces()[2].name.as_deref(), Some("link276"));
    }

    #[test]
    fn a_file_that_is_cut_gives_its_first_packets(
        packets in prop::collection::vec(any_written(), 1..8), cut in any::<prop::sample::Index>(),
    ) {
        let file = written(&packets);
        let (again, ..) = read(&file[..cut.index(file.len())]);
        prop_assert!(again.len() <= packets.len());
        prop_assert_eq!(&again[..], &packets[..again.len()]);
    }

    #[test]
    fn no_bytes_make_a_field_panic_or_break_the_line(
        start in prop::sample::select(vec![
            "", "0200000000010200000000020800 45000040 00010000 4006 0000 ac290002 ac2a0002",
            "0200000000010200000000020800 45000040 00010000 4001 0000 ac290002 ac2a0002 0b00 0000 00000000 45",
            "02000000000102000000000286dd 60000000 0040 00 40 fd000041000000000000000000000002 fd000042000000000000000000000002",
            "0200000000010200000000028100 0001 0806",
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        link in prop::sample::select(vec![0, 1, 12, 101, 108, 113, 228, 229, 276, 999]),
        original_len in any::<u32>(),
    ) {
        let digits: Vec<u8> = start.bytes().filter(|byte| *byte != b' ').collect();
        let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        let bytes: Vec<u8> = pairs.chain(bytes).collect();
        let (mut flows, mut layers, mut line) = (Flows::new(), Layers::new(), Vec::new());
        layers.cut(link, &bytes, original_len, Some(1));
        flows.follow(&mut layers, &bytes);
        let subject = Subject {
            bytes: &bytes,
            original_len,
            number: 1,
            time_ns: Some(1),
            first_ns: Some(2),
            previous_ns: None,
            interface: Some(0),
            interface_name: None,
            comments: Comments::among(&bytes, true),
            layers: &layers,
        };
        for field in FIELDS {
            field.write(&subject, &mut Cell::new(&mut line, Occurrence::All, b','));
        }
        prop_assert!(std::str::from_utf8(&line).is_ok_and(|line| !line.contains(char::is_control)));
    }

    #[test]
    fn no_damage_makes_it_panic(
        packets in prop::collection::vec(any_written(), 0..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = written(&packets);
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let _ = read(&file);
    }
}

#[test]
fn damage_is_told_with_its_place() {
    let mut file = written(&[(1, 0, None, vec![1, 2, 3, 4], 4, Vec::new())]);
    let at = file.len() - 52 - 36;
    assert_eq!(file[at..at + 4], [6, 0, 0, 0], "the packet's block");
    file[at + 20] = 99;
    let flaw = read(&file).2.unwrap();
    let place = u64::try_from(at).unwrap();
    assert_eq!(flaw, Flaw::Malformed { offset: place, what: "a packet longer than its block", value: 99 });
    assert_eq!(flaw.to_string(), format!("damaged at byte {place}: a packet longer than its block (99)"));
}
