//! What the ways between containers on two hosts cost, side by side in the same rounds.
//!
//! CPU time is the measure, of both ends and of everything that the kernel does in between on both hosts: on a
//! machine that others use too, throughput is mostly about them. Client and server run on one CPU, before all
//! others; `paths/processor.rs` says why nothing is missed there. Latency is that of two ends that share a CPU: what
//! it costs to wake another one, which is the same for all ways, is not in it.
//!
//! Each round goes through all ways for one kind of traffic before it comes to the next, and begins with another
//! way each time. A ratio is taken within a round, and the median of the ratios is told with its 95 % interval.
//!
//! The wire is the lab's: veth pairs to a bridge. At first it hands over super-packets, then frames of the MTU, and
//! at last only 1 Gbit/s of them.

#[path = "paths/processor.rs"]
mod processor;
#[path = "paths/station.rs"]
mod station;
#[path = "paths/tables.rs"]
mod tables;
#[path = "paths/traffic.rs"]
mod traffic;
#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;
#[path = "paths/way.rs"]
mod way;
#[path = "paths/ways.rs"]
mod ways;
#[path = "paths/wire.rs"]
mod wire;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use processor::Core;
use tables::{Rounds, Tables};
use traffic::{CONNECTION, DATAGRAM, EXCHANGE, GIGABIT, Kind, MERGED, SEGMENTS};
use way::Way;
use wire::Sent;

/// With so many the interval of a median is about 2 % wide on a busy machine.
const ROUNDS: usize = 31;
/// The same for the slow wire, where a round takes longer and samples hardly differ.
const SLOW_ROUNDS: usize = 15;

/// What is measured while the wire hands over super-packets, as one between two network cards with offloads.
static ON_MERGED_WIRE: [&Kind; 4] = [&EXCHANGE, &DATAGRAM, &CONNECTION, &MERGED];

#[expect(clippy::print_stderr, reason = "somebody must know why there are no numbers")]
fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("paths: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> Result<ExitCode> {
    let core = Core::last()?;
    core.check().context(
        "this bench needs the machine's root, for Docker engines and the first place on a CPU: \
         `sudo cargo xtask bench paths`",
    )?;
    let ways = ways::open(&core)?;
    let mut tables = Tables::new(&ways, &core);
    for (kind, rounds) in ON_MERGED_WIRE.into_iter().zip(measure(&ways, &ON_MERGED_WIRE, ROUNDS)?) {
        tables.costs(kind, &rounds);
    }
    for rounds in segments(&ways)? {
        tables.costs(&SEGMENTS, &rounds);
    }
    match ways.iter().try_for_each(|way| wire::slow_down(&way.lab)) {
        Ok(()) => {
            for rounds in measure(&ways, &[&GIGABIT], SLOW_ROUNDS)? {
                tables.goodput(&GIGABIT, &rounds);
            }
        }
        Err(why) => tables.missing(&GIGABIT, &why),
    }
    ways.into_iter().try_for_each(Way::close)?;
    Ok(tables.finish())
}

/// All kinds over all ways, so often, after a round that does not count.
fn measure(ways: &[Way], kinds: &[&'static Kind], count: usize) -> Result<Vec<Rounds>> {
    let mut all: Vec<Rounds> = kinds.iter().map(|_| Rounds::new(ways.len())).collect();
    for nth in 0..=count {
        for (kind, rounds) in kinds.iter().zip(&mut all) {
            for way in order(nth, ways.len()) {
                let cost = ways[way].cost(kind)?;
                if nth > 0 {
                    rounds.add(way, cost);
                }
            }
        }
    }
    Ok(all)
}

/// Begins with another way in each round, and goes backwards in every other.
fn order(round: usize, ways: usize) -> impl Iterator<Item = usize> {
    (0..ways).map(move |nth| {
        let way = if round.is_multiple_of(2) { round + nth } else { round + ways - nth };
        way % ways
    })
}

/// Streams while the wire carries frames of the MTU: one that had other frames is an error.
fn segments(ways: &[Way]) -> Result<Vec<Rounds>> {
    let mut before = Vec::new();
    for way in ways {
        wire::segment(&way.lab)?;
        before.push(Sent::by(&way.lab)?);
    }
    let rounds = measure(ways, &[&SEGMENTS], ROUNDS)?;
    for (way, before) in ways.iter().zip(before) {
        Sent::by(&way.lab)?.ensure_segments_since(before).context(way.name)?;
    }
    Ok(rounds)
}
