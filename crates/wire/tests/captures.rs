//! Capture files: what is written is read again as it was, however the bytes come; and no bytes make the reader panic.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use byway_wire::Direction;
use byway_wire::capture::{self, Comments, Counts, Flaw, Interface, Item, Reader, Record};
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
