//! How a trace is told to people.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_fabric::journey::{Change, Hop, Journey};
use byway_fabric::trace::report::Told;
use byway_fabric::trace::watch::ProbeKind;

use super::names::with_names;
use super::probing::{Mtu, Party, Traced};
use super::statements::indented;
use crate::show::{BAD, FAINT, GOOD, HEAD, LOOK, duration, styled};

pub(super) fn text(traced: &Traced, list: usize) -> String {
    let mut text = headline(traced);
    let names = traced.names();
    let under = |hop: &Hop| match &traced.statements {
        Some(statements) => statements.under(hop, &names, list),
        None => Vec::new(),
    };
    if let Some(first) = traced.probes.first() {
        text += &probe(first, &names, under);
    }
    if let Some(statements) = &traced.statements {
        text += &statements.note();
    }
    let probe = |told: &Told| probe(told, &names, |_| Vec::new());
    for (nth, told) in traced.probes.iter().enumerate().skip(1) {
        let same = told.verdict.cause == traced.probes[0].verdict.cause;
        text += &if same { short(nth, told) } else { format!("\nprobe {}\n{}", nth + 1, probe(told)) };
    }
    text += &mtus(&traced.mtus);
    for clock in &traced.clocks {
        let (way, ns) = if clock.offset.ns < 0 {
            ("behind", clock.offset.ns.unsigned_abs())
        } else {
            ("ahead of", clock.offset.ns.unsigned_abs())
        };
        text += &styled(
            FAINT,
            format!(
                "the clock of {} is {} {way} that of {}, give or take {}\n",
                clock.host,
                duration(ns),
                clock.than,
                duration(clock.offset.uncertainty_ns)
            ),
        );
    }
    for gap in &traced.gaps {
        text += &format!("{} {gap}\n", styled(LOOK, "gap:"));
    }
    text + &format!("{}\n", lost(traced.lost))
}

/// How large packets may be on the way there, and where that is less than before.
fn mtus(mtus: &[Mtu]) -> String {
    let Some(first) = mtus.first() else { return String::new() };
    let smaller = mtus.iter().scan(first.bytes, |least, mtu| {
        let is_new = mtu.bytes < *least;
        *least = mtu.bytes.min(*least);
        Some(is_new.then_some(mtu))
    });
    let narrows: Vec<String> = smaller
        .flatten()
        .map(|mtu| format!("{} at {} on {}", mtu.bytes, mtu.at.interface, mtu.at.host))
        .collect();
    let rest = if narrows.is_empty() {
        " all the way".to_owned()
    } else {
        format!(", then {}", narrows.join(", then "))
    };
    styled(FAINT, format!("mtu {}{rest}\n", first.bytes))
}

pub(super) fn lost(count: u64) -> String {
    match count {
        0 => styled(FAINT, "no packet was lost while watching"),
        count => styled(BAD, format!("{count} packets that passed are not told: they came too fast")),
    }
}

fn headline(traced: &Traced) -> String {
    let protocol = match traced.protocol {
        ProbeKind::Icmp => "ICMP echo",
        ProbeKind::Tcp => "TCP",
        ProbeKind::Udp => "UDP",
    };
    format!("{} → {}  {protocol}\n", party(&traced.source), party(&traced.destination))
}

fn party(party: &Party) -> String {
    let address = match party.port {
        Some(port) => std::net::SocketAddr::new(party.address, port).to_string(),
        None => party.address.to_string(),
    };
    let place = match (&party.name, &party.host) {
        (Some(name), Some(host)) => format!("{} on {host} ", styled(HEAD, name)),
        (None, Some(host)) => format!("{} ", styled(HEAD, host)),
        _ => String::new(),
    };
    format!("{place}{address}")
}

/// A probe; under each hop of its way there the lines that belong there.
fn probe(told: &Told, names: &BTreeMap<IpAddr, String>, under: impl Fn(&Hop) -> Vec<String>) -> String {
    let mut text = format!("\n{}\n{}", styled(HEAD, "there"), journey(&told.there, names, under));
    let journey = |way: &Journey| journey(way, names, |_| Vec::new());
    if let Some(back) = &told.back {
        text += &format!("\n{}\n{}", styled(HEAD, "back"), journey(back));
    }
    for error in &told.errors {
        text += &format!("\n{}\n{}", styled(HEAD, "an error came back"), journey(error));
    }
    text += "\n";
    for rule in &told.rewritten_by {
        text += &format!("rewritten {rule}\n");
    }
    text += &ttl(&told.there);
    if let Some(ns) = told.round_trip_ns {
        text += &format!("round trip {}\n", duration(ns));
    }
    let style = if told.verdict.cause.arrived() { GOOD } else { BAD };
    text += &format!("{}\n", styled(style, &told.verdict.sentence));
    for line in &told.verdict.evidence {
        text += &format!("  {line}\n");
    }
    if let Some(advice) = &told.verdict.advice {
        text += &format!("  {}\n", styled(FAINT, advice));
    }
    text
}

fn short(nth: usize, told: &Told) -> String {
    let took = told.round_trip_ns.map_or_else(String::new, |ns| format!(" in {}", duration(ns)));
    let what = if told.verdict.cause.arrived() { "arrived" } else { "the same" };
    format!("probe {}: {what}{took}\n", nth + 1)
}

/// The lines of a journey without the verdict, indented; under each hop those that belong there.
fn journey(
    journey: &Journey,
    names: &BTreeMap<IpAddr, String>,
    under: impl Fn(&Hop) -> Vec<String>,
) -> String {
    let told = journey.to_string();
    let lines: Vec<&str> = told.lines().collect();
    let without_verdict = lines.len().saturating_sub(1);
    // The packet as it was first seen has a line before all hops.
    let before_hops = usize::from(journey.hops.iter().any(|hop| hop.seen.is_some()));
    let mut text = String::new();
    for (nth, line) in lines[..without_verdict].iter().enumerate() {
        text += &format!("  {}\n", with_names(line, names));
        let hop = nth.checked_sub(before_hops).and_then(|nth| journey.hops.get(nth));
        text += &indented(6, &hop.map(&under).unwrap_or_default());
    }
    text
}

/// Why the TTL fell, for those who see it for the first time.
fn ttl(journey: &Journey) -> String {
    let ttls = journey.ttls();
    let mut falls: Vec<u8> = ttls.clone();
    falls.dedup();
    let routers: Vec<String> = journey.hops.iter().filter_map(router).collect();
    if falls.len() < 2 || routers.is_empty() {
        return String::new();
    }
    let row: Vec<String> = falls.iter().map(u8::to_string).collect();
    styled(
        FAINT,
        format!("ttl {}: each router takes one off; here {}\n", row.join(" → "), routers.join(", then ")),
    )
}

fn router(hop: &Hop) -> Option<String> {
    let seen = hop.seen.as_ref()?;
    seen.changes.iter().find_map(|change| match change {
        Change::Routed { by, times: 1 } => Some(by.to_string().trim_start_matches("by ").to_owned()),
        Change::Routed { by, times } => Some(format!("{times} {by}")),
        _ => None,
    })
}
