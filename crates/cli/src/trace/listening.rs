//! What the two ends of a trace say to each other after its probe, heard at all places of its way.

use std::time::Duration;

use anyhow::Result;
use byway_fabric::cluster::HostName;
use byway_fabric::journey::Journey;
use byway_fabric::trace::watch::{Event, Limits, Order, What};
use futures_util::future::select_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::TraceArgs;
use super::plan::{NamedSpot, Plan, nonce};
use super::statements::{Statements, announce, place};
use super::station::{Stations, Watching};

/// How long a host may take until it listens, and how long for its last words.
const HOST_TIME_MAX: Duration = Duration::from_secs(3);
/// How much longer a host listens than it should be needed: nobody may have told it to stop.
const LISTEN_ON: Duration = Duration::from_secs(5);
/// Packets that only begin or refuse connections, which are told beside the statements and not needed.
const PACKETS_MAX: u64 = 1_000_000;

/// Hears what the two ends say, at all places of the way of a probe, for as long as the arguments say or until a signal.
pub(super) async fn listen(
    args: &TraceArgs,
    stations: &Stations,
    plan: &Plan,
    way: &Journey,
) -> Result<Statements> {
    let time = Duration::from_secs(args.duration);
    let mut statements = Statements::default();
    let mut open = Vec::new();
    for (host, spots) in plan.spots() {
        match begin(args, stations, plan, &host, &spots, time).await {
            Ok((watching, tells)) => {
                statements.ready(&host, tells);
                open.push((watching, spots));
            }
            Err(error) => statements.gaps.push(format!("{host} tells no statements: {error:#}")),
        }
    }
    hear(args, &mut open, &mut statements, Instant::now() + time).await?;
    farewell(open, &mut statements).await;
    statements.keep(way);
    statements.finish();
    Ok(statements)
}

type Open = (Watching, Vec<NamedSpot>);

/// Lets a host listen; whether it knows how.
async fn begin(
    args: &TraceArgs,
    stations: &Stations,
    plan: &Plan,
    host: &HostName,
    spots: &[NamedSpot],
    time: Duration,
) -> Result<(Watching, bool)> {
    let order = Order {
        id: nonce(),
        what: What::Flow(plan.flow()),
        starts_only: true,
        spots: spots.iter().map(|(spot, _)| spot.clone()).collect(),
        rules: false,
        drops: false,
        statements: args.wanted_statements(plan.to.port),
        limits: Limits {
            millis: u64::try_from((time + LISTEN_ON).as_millis()).unwrap_or(u64::MAX),
            packets: PACKETS_MAX,
            bytes: PACKETS_MAX * u64::from(byway_wire::KEY_SNAPLEN),
            snaplen: byway_wire::KEY_SNAPLEN,
        },
    };
    let mut watching = stations.watch(host, order).await?;
    match timeout(HOST_TIME_MAX, watching.events.recv()).await {
        Ok(Some(Event::Ready { statements, .. })) => Ok((watching, statements)),
        _ => anyhow::bail!("it was not ready in time"),
    }
}

/// Hears until the time is up, or a signal.
async fn hear(
    args: &TraceArgs,
    open: &mut Vec<Open>,
    statements: &mut Statements,
    until: Instant,
) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    announce(args);
    while !open.is_empty() {
        let events = open.iter_mut().map(|(watching, _)| Box::pin(watching.events.recv()));
        let (nth, event) = tokio::select! {
            (event, nth, _) = select_all(events) => (nth, event),
            () = sleep_until(until) => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        if !take(&open[nth], event, statements) {
            open.swap_remove(nth);
        }
    }
    Ok(())
}

/// Lets all hosts end, and hears their last words.
async fn farewell(mut open: Vec<Open>, statements: &mut Statements) {
    for (watching, _) in &mut open {
        watching.stop();
    }
    let until = Instant::now() + HOST_TIME_MAX;
    for one in &mut open {
        while let Ok(event) = timeout_at(until, one.0.events.recv()).await {
            if !take(one, event, statements) {
                break;
            }
        }
    }
}

/// Takes an event in; whether more may come.
fn take((watching, spots): &Open, event: Option<Event>, statements: &mut Statements) -> bool {
    let host = &watching.host;
    match event {
        Some(Event::Statement(said)) => {
            if let Some((spot, container)) = spots.get(said.spot) {
                statements.take(host, &place(container.as_deref(), &spot.interface), said);
            }
            true
        }
        Some(Event::End { unsaid, lost, .. }) => {
            statements.ended(host, unsaid);
            if lost > 0 {
                statements.gaps.push(format!("{lost} packets on {host} were not read: they came too fast"));
            }
            false
        }
        Some(_) => true,
        None => {
            statements.gaps.push(format!("{host} ended before it had told all statements"));
            false
        }
    }
}
