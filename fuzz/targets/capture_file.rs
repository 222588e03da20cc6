//! Any bytes as a capture file: no panic, nothing outside of what was shown, and always an end.

#![no_main]

use byway_wire::capture::{self, BLOCK_BYTES_MAX, Item, Reader, SNAPLEN_MAX};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new();
    let mut rest = bytes;
    let mut written = Vec::new();
    while let Ok(needed) = reader.needs(rest) {
        assert!(needed > 0 && needed <= BLOCK_BYTES_MAX);
        if rest.len() < needed {
            assert!(!reader.cut_short(rest).to_string().is_empty());
            break;
        }
        let Ok(item) = reader.take(rest) else { break };
        if let Item::Packet(packet) = item {
            let record = packet.of(rest);
            assert!(packet.data.end <= needed && packet.options.end <= needed);
            assert!(record.bytes.len() <= SNAPLEN_MAX);
            assert!(record.interface < reader.interfaces().len());
            written.clear();
            capture::packet(&mut written, 0, &record);
            assert_eq!(written.len() % 4, 0);
            again(&written, &record);
        }
        rest = &rest[needed..];
    }
});

/// What was written is read as it was.
fn again(block: &[u8], record: &capture::Record<'_>) {
    let mut file = Vec::new();
    capture::section(&mut file, "fuzz");
    capture::interface(&mut file, &capture::Interface { link: 1, ..capture::Interface::default() });
    file.extend(block);
    let (mut reader, mut rest) = (Reader::new(), &file[..]);
    while !rest.is_empty() {
        let needed = reader.needs(rest).expect("our own block");
        let item = reader.take(rest).expect("our own block");
        if let Item::Packet(packet) = item {
            let same = packet.of(rest);
            assert_eq!((same.bytes, same.original_len), (record.bytes, record.original_len));
            assert_eq!(same.time_ns.unwrap_or(0), record.time_ns.unwrap_or(0));
            assert_eq!(same.direction, record.direction);
            assert!(same.comments.iter().eq(record.comments.iter()));
        }
        rest = &rest[needed..];
    }
}
