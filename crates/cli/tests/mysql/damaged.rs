//! Captures that lack something: what is told is what was told of the whole one, or says why it is not.
//!
//! What is told of the whole one is compared with the server's log before ([`crate::decoded`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::rig::rewrite::{Dice, Format, Recording};
use crate::rig::scene::Scene;
use crate::rig::script::Form;
use crate::rig::told::{Statement, Told};

/// How likely a packet is lost (one in so many), and by which seed.
const LOSSES: [(usize, u64); 8] = [(10, 1), (10, 2), (20, 3), (20, 4), (50, 5), (50, 6), (200, 7), (200, 8)];
/// Of so many hundredths of the packets nothing is seen at first.
const JOINED_AT: [usize; 4] = [5, 20, 50, 80];
/// How many bytes of each packet are seen.
const SNAPLENS: [usize; 4] = [70, 96, 200, 700];

/// What is not told of a damaged capture as of a whole one, even if nothing is missing in the statement.
const OF_THE_RUN: [&str; 1] = ["connection"];
const TIMES: [&str; 5] = ["time_ns", "first_ns", "whole_ns", "server_ns", "network_ns"];

/// Which times are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    /// Those of the only packet.
    Exact,
    /// Those of the first packet that was not lost of several that are alike.
    OfCopies,
}

impl Times {
    /// What may differ.
    fn others(self) -> &'static [&'static str] {
        if self == Self::Exact { &[] } else { &TIMES }
    }
}

/// Damages the capture of a scene in many ways.
pub(crate) fn check(scene: &Scene, recording: &Recording, options: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pcap");
    let (name, whole) = (scene.script.name, Told::of(&[&scene.captures[0]], options));
    let times = if name == "sll2" { Times::OfCopies } else { Times::Exact };
    let tell = |damaged: &Recording, format| {
        damaged.write(&path, format);
        Told::of(&[&path], options)
    };
    nothing_missing(name, &whole, recording, &tell);
    let mut count = 0;
    for (one_in, seed) in LOSSES {
        let (damaged, _) = recording.with_loss(one_in, &mut Dice(seed));
        let told = tell(&damaged, Format::Usual);
        assert_right_or_marked(times, &format!("{name}, one in {one_in} lost by {seed}"), &whole, &told);
        count += told.statements.len();
    }
    // Without its handshake TLS tells nothing; else what is lost costs itself and what is near.
    let least =
        if scene.script.form == Form::Encrypted { 0 } else { whole.statements.len() * LOSSES.len() / 2 };
    assert!(count >= least, "{name}: {count} statements after losses, not {least}");
    for hundredths in JOINED_AT {
        let damaged = recording.without_first(recording.packets.len() * hundredths / 100);
        let told = tell(&damaged, Format::Usual);
        assert_right_or_marked(times, &format!("{name}, joined at {hundredths}%"), &whole, &told);
    }
    for snaplen in SNAPLENS {
        let told = tell(&recording.cut(snaplen), Format::Usual);
        assert_right_or_marked(times, &format!("{name}, cut at {snaplen}"), &whole, &told);
    }
}

/// What lacks nothing is told as it was, whatever happened to its packets.
fn nothing_missing(
    name: &str,
    whole: &Told,
    recording: &Recording,
    tell: &impl Fn(&Recording, Format) -> Told,
) {
    let same = |how: &str, told: &Told, but: &[&str]| {
        assert_eq!(objects(told, but), objects(whole, but), "{name}, {how}");
        assert_eq!(told.summary["bytes"], serde_json::json!({}), "{name}, {how}");
    };
    same("the other byte order", &tell(recording, Format::BigEndianNanoseconds), &[]);
    if recording.link == 1 {
        same("with a tag", &tell(&recording.tagged(7), Format::Usual), &[]);
    }
    for seed in 1..=3 {
        let moved = recording.reordered(5, &mut Dice(seed));
        same(&format!("out of order by {seed}"), &tell(&moved, Format::Usual), &TIMES);
        let doubled = recording.with_doubles(10, 4, &mut Dice(seed));
        same(&format!("twice by {seed}"), &tell(&doubled, Format::Usual), &TIMES);
    }
}

/// The statements of each connection, in their order, as they were told.
fn objects(told: &Told, but: &[&str]) -> BTreeMap<SocketAddr, Vec<serde_json::Value>> {
    let mut objects: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for statement in &told.statements {
        objects.entry(statement.client).or_default().push(without(statement, but).into());
    }
    objects
}

fn without(statement: &Statement, but: &[&str]) -> serde_json::Map<String, serde_json::Value> {
    let mut object = statement.object.clone();
    object.retain(|name, _| !but.contains(&name.as_str()) && !OF_THE_RUN.contains(&name.as_str()));
    object
}

/// Each statement is one of the whole capture, none is told twice, and what differs is marked.
fn assert_right_or_marked(times: Times, about: &str, whole: &Told, told: &Told) {
    let mut rest: BTreeMap<SocketAddr, std::slice::Iter<'_, &Statement>> = BTreeMap::new();
    let mut all: BTreeMap<SocketAddr, Vec<&Statement>> = BTreeMap::new();
    for statement in &whole.statements {
        all.entry(statement.client).or_default().push(statement);
    }
    for (client, statements) in &all {
        rest.insert(*client, statements.iter());
    }
    for statement in &told.statements {
        let rest = rest.get_mut(&statement.client).unwrap_or_else(|| panic!("{about}: {statement:?}"));
        let left = rest.clone();
        let found = rest.any(|whole| is_right_or_marked(times, statement, whole));
        assert!(found, "{about}: {:#?}\n is none of these: {:#?}", statement.object, near(statement, left));
    }
    let doubtful = told.statements.iter().filter(|statement| !statement.doubts.is_empty()).count();
    assert_eq!(told.summary["doubtful"], doubtful, "{about}");
    assert_eq!(told.summary["statements"], told.statements.len(), "{about}");
}

/// What it was, most likely.
fn near(statement: &Statement, rest: std::slice::Iter<'_, &Statement>) -> Vec<String> {
    let time = statement.number("time_ns");
    let near = rest.filter(|other| other.number("time_ns") == time);
    near.map(|other| {
        let differs =
            |(name, value): &(&String, &serde_json::Value)| statement.object.get(*name) != Some(*value);
        let differing: Vec<_> = other.object.iter().filter(differs).collect();
        format!("{} {differing:?}", other.words())
    })
    .collect()
}

const PARAMETERS_INFERRED: &str = "the parameters may be others: requests were lost";
const STATEMENT_INFERRED: &str = "the statement may be another one";
const OF_TEXT: [&str; 9] = [
    STATEMENT_INFERRED,
    "bytes of the request were not seen",
    "the end of the request was not seen",
    "the request is too long to be kept",
    "its PREPARE was not seen",
    "bytes of its PREPARE were not seen",
    "the parameters could not be read",
    PARAMETERS_INFERRED,
    "values are missing in it",
];
const OF_ANSWER: [&str; 6] = [
    "joined midstream",
    "bytes of the answer were not seen",
    "the end of the answer was not seen",
    "no answer was seen",
    "the answer may be another one's",
    "the answer is not one to this command",
];
const ANSWER: [&str; 9] =
    ["outcome", "rows", "columns", "row_bytes", "results", "affected", "insert_id", "warnings", "message"];
const OF_CONTEXT: [&str; 1] = ["joined midstream"];
const CONTEXT: [&str; 2] = ["user", "database"];

/// Whether all is as it was, but for what is doubted.
fn is_right_or_marked(times: Times, told: &Statement, whole: &Statement) -> bool {
    let has = |doubts: &[&str]| told.doubts.iter().any(|doubt| doubts.contains(&doubt.as_str()));
    let same = |names: &[&str]| names.iter().all(|name| told.object.get(*name) == whole.object.get(*name));
    let is_context_open = has(&OF_CONTEXT) || told.string("context") == Some("inferred");
    if told.doubts.is_empty() && whole.doubts.is_empty() && !is_context_open {
        return without(told, times.others()) == without(whole, times.others());
    }
    told.command == whole.command
        && (times == Times::OfCopies || same(&["time_ns"]))
        && (has(&OF_ANSWER) || same(&ANSWER))
        && (is_context_open || same(&CONTEXT))
        // Without the character set nobody can tell what is not ASCII.
        && (is_context_open && !whole.words().is_ascii()
            || if has(&OF_TEXT) { is_part(told, whole) } else { told.text == whole.text })
}

/// Whether a text with `[...12 bytes not seen]` in it may be the whole one.
fn is_part(told: &Statement, whole: &Statement) -> bool {
    // Long data that was lost, or values read by other types.
    let is_other = |doubt: &String| doubt == PARAMETERS_INFERRED || doubt == STATEMENT_INFERRED;
    let has_other_parameters = told.doubts.iter().any(is_other);
    let (told, whole) = (told.words(), whole.words());
    let is_beside = |doubt: &str| told.contains(doubt);
    if is_beside("whose PREPARE was") || has_other_parameters {
        return true;
    }
    let mut rest = whole.as_str();
    let mut parts: Vec<&str> = Vec::new();
    for (nth, part) in told.split("[...").enumerate() {
        let part = if nth == 0 { part } else { part.split_once(']').map_or("", |(_, part)| part) };
        parts.extend(part.split('?'));
    }
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// A capture that was cut while it was made.
pub(crate) fn check_cut(told: &Told, whole: usize) {
    assert!(told.statements.len() * 10 > whole * 9, "{} of {whole}", told.statements.len());
}
