//! How stitched captures are told to people: the points, who talked to whom, what was lost, and the ways of packets.

use byway_fabric::journey::Change;
use byway_fabric::trace::files::{
    Clock, ClockBetween, Conversation, Hop, Loss, Point, Stitched, Totals, Way,
};

use crate::show::{BAD, FAINT, GOOD, HEAD, LOOK, duration, styled, table};

pub(in crate::trace) fn text(stitched: &Stitched) -> String {
    let mut text = points(&stitched.points);
    text.extend(stitched.clocks.iter().map(clock));
    text += "\n";
    text.extend(stitched.conversations.iter().map(conversation));
    if stitched.conversations_more > 0 {
        text += &styled(FAINT, format!("… and {} more; --list N shows N\n", stitched.conversations_more));
    }
    text.extend(stitched.losses.iter().filter(|loss| loss.lost + loss.at_edges > 0).map(loss));
    text.extend(stitched.journeys.iter().map(way));
    text + "\n"
}

fn points(points: &[Point]) -> String {
    let count = |count: u64| if count == 0 { String::new() } else { count.to_string() };
    let row = |point: &Point| {
        [point.place.to_string(), point.packets.to_string(), count(point.came_in), count(point.went_out)]
            .map(plain)
    };
    table(["POINT", "PACKETS", "IN", "OUT"], points.iter().map(row))
}

fn clock(between: &ClockBetween) -> String {
    let ClockBetween { file, than, ahead } = between;
    let of = |ns: i64| duration(ns.unsigned_abs());
    let way = |ns: i64| if ns < 0 { "behind" } else { "ahead of" };
    let line = match *ahead {
        Clock::Offset { ns, uncertainty_ns } => {
            format!(
                "the clock of {file} is {} {} that of {than}, give or take {}",
                of(ns),
                way(ns),
                duration(uncertainty_ns)
            )
        }
        Clock::AtMost { ns } if ns >= 0 => {
            format!("the clock of {file} is at most {} ahead of that of {than}; {ONE_WAY}", of(ns))
        }
        Clock::AtMost { ns } => {
            format!("the clock of {file} is at least {} behind that of {than}; {ONE_WAY}", of(ns))
        }
        Clock::AtLeast { ns } if ns >= 0 => {
            format!("the clock of {file} is at least {} ahead of that of {than}; {ONE_WAY}", of(ns))
        }
        Clock::AtLeast { ns } => {
            format!("the clock of {file} is at most {} behind that of {than}; {ONE_WAY}", of(ns))
        }
    };
    styled(FAINT, plain(line)) + "\n"
}

/// Why there is only a bound.
const ONE_WAY: &str = "packets went one way only, so no more can be told";

fn conversation(told: &Conversation) -> String {
    let Conversation { source, destination, protocol, packets, arrived, lost, at_edges, seen_once, .. } =
        told;
    let nat = told.becomes.as_ref().map_or_else(String::new, |becomes| {
        format!(" (with NAT {} → {})", becomes.source, becomes.destination)
    });
    let mut parts = vec![format!("{packets} {}", noun(*packets))];
    if *arrived > 0 {
        parts.push(styled(GOOD, format!("{arrived} arrived at the last point")));
    }
    if *lost > 0 {
        let after = told.lost_after.as_ref().map_or_else(String::new, |place| format!(" after {place}"));
        parts.push(styled(BAD, plain(format!("{lost} lost{after}"))));
    }
    if *at_edges > 0 {
        parts.push(format!("{at_edges} at the edge of a capture"));
    }
    if *seen_once > 0 {
        parts.push(format!("{seen_once} seen at one point only"));
    }
    format!("{source} → {destination} {protocol}{nat}: {}\n", parts.join(", "))
}

fn loss(loss: &Loss) -> String {
    let Loss { after, before, went_on, lost, at_edges, .. } = loss;
    let edges = if *at_edges == 0 {
        String::new()
    } else {
        format!("; of {at_edges} more it cannot be told, as a capture began later or had ended")
    };
    let mut text = format!("\n{}\n", styled(HEAD, plain(format!("between {after} and {before}"))));
    let style = if *lost == 0 { FAINT } else { BAD };
    text += &format!("  {}{edges}\n", styled(style, format!("{lost} never came out, {went_on} did")));
    if let Some(in_common) = &loss.in_common {
        text += &format!("  {in_common}\n");
    } else if *lost > 0 && *went_on > 0 {
        text += &styled(FAINT, "  nothing in them tells those that were lost from those that went on\n");
    }
    if let Some(error) = &loss.error {
        text += &format!("  {} of them got an answer: {error}\n", loss.errors);
    }
    text
}

fn way(way: &Way) -> String {
    let mut text = format!("\n{}\n", styled(HEAD, plain(way.packet.clone())));
    let rows = way.hops.iter().map(|hop| {
        [format!("  {}", hop.place), format!("packet {}", hop.number), format!("ttl {}", hop.ttl), story(hop)]
            .map(plain)
    });
    // The first line is the table's head.
    text.extend(table([""; 4], rows).lines().skip(1).map(|line| format!("{line}\n")));
    match (way.end, &way.before) {
        ("lost", Some(before)) => {
            text += &format!("  {}\n", styled(BAD, plain(format!("lost: not seen at {before}"))));
        }
        (_, Some(before)) => {
            text += &format!(
                "  {}\n",
                styled(LOOK, plain(format!("at the edge: {before} was not captured then")))
            );
        }
        _ => {}
    }
    if let Some(error) = &way.error {
        text += &format!("  answered by {error}\n");
    }
    if way.order_assumed {
        text +=
            &styled(FAINT, "  nothing tells which file saw it first: they are in the order of their names\n");
    }
    if way.repeated {
        text += &styled(FAINT, "  another packet is like it: only their order tells them apart\n");
    }
    text
}

fn story(hop: &Hop) -> String {
    let mut parts: Vec<String> = hop.changes.iter().map(Change::to_string).collect();
    match hop.took {
        Some(took) if took.uncertainty_ns == 0 => parts.push(format!("after {}", duration(took.ns))),
        Some(took) => {
            parts.push(format!(
                "after {}, give or take {}",
                duration(took.ns),
                duration(took.uncertainty_ns)
            ));
        }
        None => {}
    }
    parts.join(", ")
}

pub(in crate::trace) fn totals(totals: &Totals) -> String {
    let Totals {
        read,
        other,
        unreadable,
        too_short,
        beyond,
        keys,
        packets,
        complete,
        lost,
        at_edges,
        seen_once,
        ..
    } = totals;
    let mut text = format!(
        "{packets} {}: {complete} complete, {lost} lost, {at_edges} at the edge of a capture, {seen_once} seen at one point only; {} keys, {} alike\n",
        noun(*packets),
        keys,
        totals.repeated,
    );
    text += &format!(
        "{read} read: {} stitched, {other} not IP, {unreadable} unreadable, {too_short} cut too short to be told apart, {beyond} left out as there were too many\n",
        totals.passages,
    );
    text
}

fn noun(count: u64) -> &'static str {
    if count == 1 { "packet" } else { "packets" }
}

/// Without control characters: names of files and interfaces are chosen by strangers.
fn plain(text: String) -> String {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
    } else {
        text
    }
}
