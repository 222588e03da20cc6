//! Any bytes as an inventory: no panic; a mistake has a place inside of the text and can be told; what was read is
//! read the same again.

#![no_main]

use byway_fabric::inventory;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match inventory::read_bytes("byway.toml", bytes) {
        Ok(read) => assert_eq!(inventory::read_bytes("byway.toml", bytes).as_ref(), Ok(&read)),
        Err(mistakes) => {
            assert!(!mistakes.list.is_empty());
            assert!(!mistakes.to_string().is_empty());
            let inside =
                |span: &std::ops::Range<usize>| span.start <= span.end && span.end <= mistakes.text.len();
            assert!(mistakes.list.iter().all(|mistake| inside(&mistake.span)));
        }
    }
});
