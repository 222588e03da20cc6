//! Looks up the texts of rules: `nft` knows them by their handles, and the tables of iptables-nft are told in the words
//! of `iptables-save`.

use std::collections::BTreeMap;

use byway_fabric::evidence::listing::{self, Listing};
use byway_fabric::evidence::{Place, RuleStep, TracedPacket, Trail, Verdict, owner};

use crate::edge::program::{ProgramError, blocking};

/// Tables of which texts are looked up in one trace; hosts have a dozen.
const TABLES_MAX: usize = 64;
/// The tables that iptables knows.
const IPTABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];

/// What was listed of the tables that packets met.
#[derive(Debug, Default)]
pub(super) struct Texts {
    listings: BTreeMap<(&'static str, String), Listing>,
    /// What all tables of iptables-nft hold, by family.
    saved: BTreeMap<&'static str, Option<String>>,
}

impl Texts {
    /// Lists the tables of these places that are not known yet.
    ///
    /// # Errors
    /// When `nft` cannot be run. A table that has gone meanwhile has no texts, and that is no error.
    pub(super) fn look_up(&mut self, trails: &[Trail]) -> Result<(), ProgramError> {
        for (place, _) in trails.iter().flat_map(|trail| &trail.steps) {
            let key = (place.family, place.table.clone());
            if !self.listings.contains_key(&key) && self.listings.len() < TABLES_MAX {
                let listing = self.list(place)?;
                self.listings.insert(key, listing);
            }
        }
        Ok(())
    }

    fn list(&mut self, place: &Place) -> Result<Listing, ProgramError> {
        // Terse: without what is in sets, which may be a lot.
        let arguments = ["-a", "-t", "list", "table", place.family, &place.table];
        let text = match blocking::run("nft", &arguments, "list a table") {
            Ok(text) => text,
            Err(ProgramError::Refused { .. }) => return Ok(Listing::default()),
            Err(error) => return Err(error),
        };
        let mut listing = listing::read(&String::from_utf8_lossy(&text));
        if let Some(saved) = self.saved(place).and_then(|all| listing::saved_table(all, &place.table)) {
            listing.speak_iptables(saved);
        }
        Ok(listing)
    }

    /// What `iptables-nft-save` prints, if the table may be one of iptables, and the program is there.
    fn saved(&mut self, place: &Place) -> Option<&str> {
        let program = match place.family {
            "ip" => "iptables-nft-save",
            "ip6" => "ip6tables-nft-save",
            _ => return None,
        };
        if !IPTABLES.contains(&place.table.as_str()) {
            return None;
        }
        let run = || blocking::run(program, &[], "list the rules").ok();
        let saved = self
            .saved
            .entry(place.family)
            .or_insert_with(|| run().map(|text| String::from_utf8_lossy(&text).into_owned()));
        saved.as_deref()
    }

    /// A packet's way in words.
    pub(super) fn tell(&self, trail: Trail, name: impl Fn(u32) -> Option<String>) -> TracedPacket {
        let rewritten = trail.last.filter(|last| Some(last) != trail.packet.as_ref());
        TracedPacket {
            packet: trail.packet,
            rewritten,
            iif: trail.iif.and_then(&name),
            oif: trail.oif.and_then(&name),
            steps: trail.steps.into_iter().map(|(place, verdict)| self.step(place, verdict)).collect(),
            steps_left_out: trail.steps_left_out,
        }
    }

    fn step(&self, place: Place, verdict: Verdict) -> RuleStep {
        let Place { family, table, chain, handle } = place;
        let listing = self.listings.get(&(family, table.clone()));
        let known = listing.and_then(|listing| listing.chains.get(&chain));
        let rule = handle.and_then(|handle| listing?.rule(&chain, handle)).map(str::to_owned);
        // A rule whose text has gone is still no policy.
        let owner = owner(&table, &chain, rule.as_deref().or(handle.map(|_| "")));
        RuleStep {
            family: family.to_owned(),
            hook: known.and_then(|chain| chain.hook.clone()),
            priority: known.and_then(|chain| chain.priority.clone()),
            table,
            chain,
            handle,
            rule,
            owner,
            verdict,
        }
    }
}
