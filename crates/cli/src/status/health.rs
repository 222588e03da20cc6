//! How peers answer, in words.

use std::time::Duration;

use byway_api::{HostStatus, PeerHealth, Status};
use byway_fabric::health::State;
use jiff::Timestamp;

use super::ago;
use crate::show::{FAINT, LOOK, styled};

/// A word for a state, as people say it.
fn word(state: State) -> &'static str {
    match state {
        State::Answers => "answers",
        State::Silent => "silent",
        State::Vouched => "answers, not to echoes",
        State::Gone => "gone",
        State::HeldBack => "held back",
        State::Returning => "on trial",
        State::NeverAnswered => "never answered",
        State::NotTried => "not tried",
    }
}

/// The cell of a host in the table: how it answers, and how fast.
pub(super) fn cell(host: &HostStatus) -> String {
    let Some(health) = &host.health else { return "-".to_owned() };
    match (health.state, health.round_trip_micros) {
        (State::Answers, Some(micros)) => format!("answers in {}", trip(micros)),
        (state, _) => word(state).to_owned(),
    }
}

/// A round trip, with two digits where it is short.
fn trip(micros: u32) -> String {
    let ms = Duration::from_micros(micros.into()).as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

/// What is to be said of peers that do not simply answer; who is gone is among the problems too.
pub(super) fn lines(status: &Status, now: Timestamp) -> String {
    let peers = status.hosts.iter().filter_map(|host| Some((host, host.health.as_ref()?)));
    let mut text = String::new();
    for (host, health) in peers {
        let plain = matches!(health.state, State::Answers | State::Silent);
        if !plain {
            let state = word(health.state);
            let since = ago(health.since, now);
            text += &format!("\n{} {state} since {since}: {}", styled(LOOK, &host.name), health.because);
            text += &held(health, now);
        }
        if let Some(agent) = health.agent.as_ref().filter(|agent| !agent.answers) {
            let why = agent.why.as_deref().unwrap_or("nobody knows why");
            let since = ago(agent.since, now);
            text +=
                &format!("\n{} its agent does not answer, since {since}: {why}", styled(FAINT, &host.name));
        }
        if health.flaps > 0 {
            text += &format!("\n{} came back {} times", styled(FAINT, &host.name), health.flaps);
            text += &history(health, now);
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn held(health: &PeerHealth, now: Timestamp) -> String {
    let Some(until) = health.held_until else { return String::new() };
    let seconds = until.duration_since(now).as_secs().max(0);
    format!("; it came and went, so it is held back for {seconds} s more at least")
}

/// The last changes told under a peer.
const TURNS_TOLD_MAX: usize = 4;

fn history(health: &PeerHealth, now: Timestamp) -> String {
    let skipped = health.history.len().saturating_sub(TURNS_TOLD_MAX);
    let turns = health.history.iter().skip(skipped);
    let told: Vec<String> = turns.map(|turn| format!("{} {}", word(turn.state), ago(turn.at, now))).collect();
    format!(": {}", told.join(", "))
}
