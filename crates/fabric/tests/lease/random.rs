//! Any mess: joins with old listings, lapses, restarts, copies. No two hosts that are there hold one subnet, and nobody
//! loses one while it is there.

use std::collections::BTreeMap;

use byway_fabric::lease::{Claim, Claimant, Registry, SubnetRecord, claim};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Model, ask, host};

/// How many listings back somebody may be.
const OLD: usize = 6;

#[derive(Debug, Clone)]
enum Deed {
    /// A host looks, as of so many listings ago, and does what follows.
    Claim(usize, usize),
    /// It starts again and remembers its id only.
    Restart(usize),
    /// Its lease lapses.
    Lapse(usize),
    /// Somebody starts a copy of its disk elsewhere in its place.
    Copy(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let nth = 0_usize..6;
    prop_oneof![
        6 => (nth.clone(), 0..OLD).prop_map(|(nth, old)| Deed::Claim(nth, old)),
        1 => nth.clone().prop_map(Deed::Restart),
        1 => nth.clone().prop_map(Deed::Lapse),
        1 => nth.prop_map(Deed::Copy),
    ]
}

fn holders(registry: &Registry) -> BTreeMap<IpNet, String> {
    let held = registry.subnets.iter().filter_map(|(subnet, stored)| match &stored.value {
        SubnetRecord::Held { by } if registry.alive.contains_key(by) => Some((*subnet, by.to_string())),
        _ => None,
    });
    held.collect()
}

fn try_claim(model: &mut Model, registry: &Registry, host: &mut Claimant) {
    if let Ok(Claim::Write { transaction, generation, subnets, .. }) = claim(registry, host, &|_| None)
        && model.apply(&transaction, &host.id)
    {
        (host.generation, host.subnets) = (Some(generation), subnets);
    }
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("cluster".to_owned()),
        "hosts/[0-9a-f]{32}",
        Just("hosts/00000000000000000000000000000004".to_owned()),
        Just("alive/00000000000000000000000000000004".to_owned()),
        "names/docker[0-9]",
        "subnets/10[.][0-9]{1,3}[.]0[.]0-[0-9]{1,3}",
        "subnets/fd00::-[0-9]{1,3}",
        ".{0,20}",
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        (0_u8..40, 0_u8..200, 0_u8..140).prop_map(|(prefix, ipv4, ipv6)| format!(
            r#"{{"prefixes":["10.0.0.0/{prefix}","fd00::/{prefix}"],"subnet-lengths":{{"ipv4":{ipv4},"ipv6":{ipv6}}}}}"#
        )),
        Just(r#"{"name":"docker1","addresses":[],"generation":18446744073709551615}"#.to_owned()),
        Just(r#"{"generation":3,"addresses":["192.168.199.4"]}"#.to_owned()),
        Just(r#"{"state":"held","by":"00000000000000000000000000000004"}"#.to_owned()),
        Just(r#"{"state":"reserved","name":"docker4"}"#.to_owned()),
        Just("\"00000000000000000000000000000004\"".to_owned()),
        ".{0,40}",
    ]
}

proptest! {
    #[test]
    fn whatever_is_in_a_store_is_read_and_answered(entries in vec((key(), value()), 0..30)) {
        let mut model = Model::of(&["10.0.0.0/14", "fd00::/62"], 16);
        for (key, value) in entries {
            model.write(&key, value.as_bytes());
        }
        let _ = model.registry().routed();
        let _ = ask(&model, &host(4));
    }

    #[test]
    fn what_is_taken_in_bit_by_bit_is_what_a_new_listing_says(
        writes in vec((key(), prop::option::weighted(0.7, value())), 0..60)
    ) {
        let (mut model, mut registry) = (Model::default(), Registry::default());
        for (key, value) in writes {
            match &value {
                Some(value) => model.write(&key, value.as_bytes()),
                None if model.has(&key) => model.remove(&key),
                None => {}
            }
            registry.apply(&model.change(&key));
            prop_assert_eq!(&registry, &model.registry());
            prop_assert_eq!(registry.keys(), model.keys());
        }
    }

    #[test]
    fn nobody_gets_what_another_has(deeds in vec(deed(), 1..120)) {
        let mut model = Model::of(&["10.0.0.0/14", "fd00::/62"], 16);
        let mut hosts: Vec<Claimant> = (0..6).map(|nth| host(nth * 4)).collect();
        let mut listings = vec![model.registry()];
        for deed in deeds {
            let before = holders(&model.registry());
            let mut gone = None;
            match deed {
                Deed::Claim(nth, old) => {
                    let registry = listings[listings.len().saturating_sub(old + 1)].clone();
                    try_claim(&mut model, &registry, &mut hosts[nth]);
                }
                Deed::Restart(nth) => {
                    let Claimant { addresses, .. } = hosts[nth].clone();
                    hosts[nth] = Claimant { addresses, ..host(u8::try_from(nth * 4).unwrap()) };
                }
                Deed::Lapse(nth) => {
                    model.lapse(&hosts[nth].id);
                    gone = Some(hosts[nth].id.to_string());
                }
                Deed::Copy(nth) => {
                    let elsewhere = format!("192.168.199.{}", 100 + nth).parse().unwrap();
                    hosts[nth] = Claimant { addresses: vec![elsewhere], generation: None, ..hosts[nth].clone() };
                }
            }
            let registry = model.registry();
            let after = holders(&registry);
            for (subnet, holder) in before.iter().filter(|(_, holder)| gone.as_ref() != Some(holder)) {
                prop_assert_eq!(after.get(subnet), Some(holder), "{} was taken from who was there", subnet);
            }
            for (nth, (subnet, _)) in after.iter().enumerate() {
                let touches = |other: &IpNet| other.contains(subnet) || subnet.contains(other);
                prop_assert!(!after.keys().skip(nth + 1).any(touches), "{} is held twice", subnet);
            }
            listings.push(registry);
        }
        // After quiet, whoever can be let in is.
        for host in &mut hosts {
            let registry = model.registry();
            try_claim(&mut model, &registry, host);
            if let Ok(claim) = ask(&model, host) {
                prop_assert_eq!(claim, Claim::Holds);
            }
        }
    }
}
