//! All fields of any bytes, of every link type: no panic, and no value breaks the line.

#![no_main]

use byway_wire::capture::Comments;
use byway_wire::field::{Cell, FIELDS, Flows, Layers, Occurrence, Subject};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((more, bytes)) = bytes.split_first() else { return };
    let mut flows = Flows::new();
    let mut layers = Layers::new();
    let mut line = Vec::new();
    for link in [0, 1, 12, 101, 108, 113, 228, 229, 276, 999] {
        let original_len = bytes.len() as u32 + u32::from(*more);
        layers.cut(link, bytes, original_len, Some(u64::from(*more) << 30));
        flows.follow(&mut layers, bytes);
        let subject = Subject {
            bytes,
            original_len,
            number: 1,
            time_ns: Some(u64::MAX),
            first_ns: Some(0),
            previous_ns: Some(u64::from(*more)),
            interface: Some(0),
            interface_name: None,
            comments: Comments::among(bytes, *more & 1 == 0),
            layers: &layers,
        };
        for field in FIELDS {
            line.clear();
            field.write(&subject, &mut Cell::new(&mut line, Occurrence::All, b','));
            assert!(!line.iter().any(|byte| *byte < b' '), "{} breaks the line", field.name);
            assert!(std::str::from_utf8(&line).is_ok(), "{}", field.name);
        }
    }
});
