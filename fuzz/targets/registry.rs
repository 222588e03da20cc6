//! Any keys and values as what a shared store holds: no panic, an answer to a host that asks for its place, and the same
//! whether it is read at once or bit by bit. A line each: the key, a blank, the value.

#![no_main]

use byway_fabric::cluster::HostName;
use byway_fabric::lease::{Change, Claimant, Entry, HostId, Listing, Registry, claim};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..).map(|(line, revision)| {
        let at = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default().to_vec();
        Entry { key: line[..at].to_vec(), value, revision }
    });
    let entries: Vec<Entry> = lines.collect();
    let registry = Registry::read(&Listing { entries: entries.clone() });
    let mut bit_by_bit = Registry::default();
    for entry in entries {
        bit_by_bit.apply(&Change::Put(entry));
    }
    assert_eq!(bit_by_bit, registry);
    let _ = registry.routed();
    let name = HostName::try_from("docker4".to_owned()).unwrap();
    let host = Claimant {
        id: HostId::of(4),
        name,
        addresses: vec![[192, 168, 199, 4].into()],
        key: None,
        subnets: Vec::new(),
        uses: Vec::new(),
        generation: None,
    };
    let _ = claim(&registry, &host, &|_| None);
});
