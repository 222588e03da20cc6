//! In which order a packet passed the points that saw it: its TTL falls; on one machine time tells; what goes out on
//! one machine comes in on the next; and where that is not told, the packets that went the other way (`lanes`).

use std::cmp::{Ordering, Reverse};

use byway_wire::Direction;

use super::glimpse::Glimpse;
use super::group::Packets;
use super::lanes::Lanes;

/// Puts the members of every packet in order.
pub(super) fn arrange(packets: &mut Packets, glimpses: &[Glimpse], files: &[u16]) {
    let mut lanes = Lanes::default();
    for nth in 0..packets.len() {
        let sure = packets.sure(nth);
        let members = packets.of_mut(nth);
        if members.len() < 2 {
            continue;
        }
        members.sort_unstable_by_key(|at| {
            let it = &glimpses[*at as usize];
            (
                Reverse(it.ttl),
                files[usize::from(it.point)],
                it.time_ns,
                it.direction() == Some(Direction::Out),
                it.number,
            )
        });
        if sure {
            open_questions(members, glimpses, files, |a, b| lanes.note(a, b, files));
        }
    }
    for nth in 0..packets.len() {
        let members = packets.of_mut(nth);
        if members.len() > 1 {
            packets.ends[nth].assumed = settle(members, glimpses, files, &lanes);
        }
    }
}

/// The first glimpses of two files that saw a packet with one TTL, where directions do not say which was first.
fn open_questions(
    members: &[u32],
    glimpses: &[Glimpse],
    files: &[u16],
    mut ask: impl FnMut(&Glimpse, &Glimpse),
) {
    for level in members.chunk_by(|a, b| glimpses[*a as usize].ttl == glimpses[*b as usize].ttl) {
        let runs: Vec<&[u32]> =
            level.chunk_by(|a, b| file(glimpses, files, *a) == file(glimpses, files, *b)).collect();
        for pair in runs.windows(2) {
            if leaning(pair[0], glimpses) == leaning(pair[1], glimpses) {
                ask(&glimpses[pair[0][0] as usize], &glimpses[pair[1][0] as usize]);
            }
        }
    }
}

/// Orders what has one TTL; true if nothing but the names of the files said how.
fn settle(members: &mut [u32], glimpses: &[Glimpse], files: &[u16], lanes: &Lanes) -> bool {
    let mut assumed = false;
    for level in members.chunk_by_mut(|a, b| glimpses[*a as usize].ttl == glimpses[*b as usize].ttl) {
        let runs = level.chunk_by(|a, b| file(glimpses, files, *a) == file(glimpses, files, *b));
        let mut ordered: Vec<Vec<u32>> = Vec::new();
        for run in runs {
            // As there may be circles among guesses, this is no sort: each goes before the first that it precedes.
            let before = |other: &Vec<u32>| {
                let told = precedes(run, other, glimpses, files, lanes);
                assumed |= told.is_none();
                told == Some(Ordering::Less)
            };
            let at = ordered.iter().position(before).unwrap_or(ordered.len());
            ordered.insert(at, run.to_vec());
        }
        if ordered.len() > 1 {
            level.iter_mut().zip(ordered.into_iter().flatten()).for_each(|(place, member)| *place = member);
        }
    }
    assumed
}

/// Which of two files saw a packet first.
fn precedes(
    run: &[u32],
    other: &[u32],
    glimpses: &[Glimpse],
    files: &[u16],
    lanes: &Lanes,
) -> Option<Ordering> {
    match leaning(run, glimpses).cmp(&leaning(other, glimpses)) {
        Ordering::Equal => lanes.order(&glimpses[run[0] as usize], &glimpses[other[0] as usize], files),
        decided => Some(decided),
    }
}

/// Whether a packet only left a machine there, or only came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Leaning {
    Leaves,
    Unknown,
    Comes,
}

fn leaning(run: &[u32], glimpses: &[Glimpse]) -> Leaning {
    let all = |way| run.iter().all(|at| glimpses[*at as usize].direction() == Some(way));
    if all(Direction::Out) {
        Leaning::Leaves
    } else if all(Direction::In) {
        Leaning::Comes
    } else {
        Leaning::Unknown
    }
}

fn file(glimpses: &[Glimpse], files: &[u16], member: u32) -> u16 {
    files[usize::from(glimpses[member as usize].point)]
}
