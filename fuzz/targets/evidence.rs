//! Any bytes as what the kernel and the firewall programs tell of a packet's end: no panic, and within the limits.

#![no_main]

use byway_fabric::evidence::{Grouping, STEPS_MAX, changes, counters, listing, netstat, reasons, trace_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = reasons::enum_names(bytes, "skb_drop_reason");
    let mut grouping = Grouping::new("byway");
    // As many messages as there are pieces of 64 bytes, and the whole as one.
    for body in bytes.chunks(64).chain([bytes]) {
        if let Ok(message) = trace_bytes::read(body) {
            grouping.take(message);
        }
    }
    let (trails, _) = grouping.finish();
    assert!(trails.iter().all(|trail| trail.steps.len() <= STEPS_MAX));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let mut read = listing::read(text);
        read.speak_iptables(text);
        let _ = listing::saved_table(text, "filter");
        assert!(changes(&counters(text), &counters(text)).is_empty());
        let _ = netstat::listeners(text).count();
        let counted = netstat::read(text, text);
        assert!(netstat::changes(&counted, &counted).is_empty());
    }
});
