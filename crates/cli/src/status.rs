//! `byway status`: how this host stands.

mod all;
mod health;
mod store;

use std::process::ExitCode;

use byway_agent::once;
use byway_api::{AgentStatus, HostState, PeersStatus, Status, path};
use byway_fabric::config::Config;
use byway_fabric::docker::Endpoint;
use byway_fabric::path::Path;
use byway_fabric::problem::Problem;
use jiff::Timestamp;

use crate::ask::{Question, agent_or};
use crate::settings;
use crate::show::{BAD, FAINT, GOOD, HEAD, LOOK, print, print_json, styled, table};
pub(crate) use all::run_all;

pub(crate) fn run(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings::settings(config)?;
    let status = agent_or(&settings, Question::Get(path::STATUS), once::status(&settings))?;
    if json {
        print_json(&status)?;
    } else {
        print(&text(&status, Timestamp::now()));
    }
    Ok(if is_well(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether nobody has to look: an agent keeps the host, and everything that should be there is.
fn is_well(status: &Status) -> bool {
    let agent_is_well = status.agent.as_ref().is_some_and(|agent| agent.trouble.is_none());
    let inventory = &status.inventory;
    let is_let_in = inventory.lease.as_ref().is_none_or(|lease| lease.refused.is_none());
    let store_is_well = inventory.rejected.is_none() && is_let_in;
    agent_is_well && store_is_well && status.problems.is_empty() && status.pending == 0
}

fn text(status: &Status, now: Timestamp) -> String {
    let mut text = headline(status, now);
    text += &agent_lines(status.agent.as_ref(), now);
    text += &store::lines(&status.inventory, now);
    text += "\n";
    text += &hosts(status);
    text += &health::lines(status, now);
    text += &containers(&status.endpoints);
    text += &problems(&status.problems);
    text + &status.peers.as_ref().map_or_else(String::new, |peers| strangers(peers, now))
}

/// Who was refused here, and what would let this host take part: nobody has to do anything about it.
fn strangers(peers: &PeersStatus, now: Timestamp) -> String {
    let mut text = String::new();
    for refused in &peers.refused {
        text += &format!("\nrefused {}: {}", ago(refused.at, now), refused.what);
        text += &format!("\n  {}", styled(FAINT, &refused.hint));
    }
    if let Some(hint) = &peers.hint {
        text += &format!("\n{}", styled(FAINT, hint));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

fn headline(status: &Status, now: Timestamp) -> String {
    let (expected, present) = routes(status);
    let verdict = match (&status.agent, is_well(status)) {
        (_, true) => styled(GOOD, "well"),
        (None, _) => styled(BAD, "no agent runs here"),
        _ => styled(LOOK, "needs a look"),
    };
    let since = status.agent.as_ref().map_or_else(String::new, |agent| {
        format!(" · agent pid {} since {}", agent.pid, ago(agent.since, now))
    });
    let pending =
        if status.pending > 0 { format!(" · {} changes due", status.pending) } else { String::new() };
    format!(
        "{}  {verdict} · {} hosts · routes {present} of {expected} present{pending}{since}\n",
        styled(HEAD, &status.host),
        status.hosts.len(),
    )
}

fn routes(status: &Status) -> (usize, usize) {
    let hosts = &status.hosts;
    (hosts.iter().map(|host| host.routes_expected).sum(), hosts.iter().map(|host| host.routes_present).sum())
}

fn agent_lines(agent: Option<&AgentStatus>, now: Timestamp) -> String {
    let Some(agent) = agent else { return String::new() };
    let mut text = String::new();
    if agent.hands_off {
        text += &format!(
            "{} it only looks and answers (--hands-off); what is due is left undone\n",
            styled(LOOK, "hands off:")
        );
    }
    if let Some(trouble) = &agent.trouble {
        text += &format!("{} {trouble}\n", styled(BAD, "trouble:"));
    }
    if let Some(change) = &agent.last_change {
        text += &format!("last change   {}, by {}, {}\n", change.what, change.who, ago(change.at, now));
    }
    if let Some(repair) = &agent.last_repair {
        let first = repair.steps.first().map_or("", String::as_str);
        let more = repair.steps.len().saturating_sub(1);
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
        let ms = repair.micros as f64 / 1000.0;
        text += &format!("last repair   {first}{more}, in {ms:.1} ms, {}\n", ago(repair.at, now));
    }
    text
}

fn hosts(status: &Status) -> String {
    let list = |items: Vec<String>| items.join(" ");
    let rows = status.hosts.iter().map(|host| {
        let routes = match host.state {
            HostState::ThisHost => "-".to_owned(),
            _ => format!("{}/{}", host.routes_present, host.routes_expected),
        };
        [
            host.name.to_string(),
            list(host.addresses.iter().map(ToString::to_string).collect()),
            list(host.subnets.iter().map(ToString::to_string).collect()),
            routes,
            host.path.as_ref().map_or("-", Path::word).to_owned(),
            host.state.to_string(),
            health::cell(host),
        ]
    });
    table(["HOST", "ADDRESSES", "SUBNETS", "ROUTES", "PATH", "STATE", "HEALTH"], rows)
}

/// The containers that are on the cluster, and where on this host they are plugged in.
fn containers(endpoints: &[Endpoint]) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let rows = endpoints.iter().map(|endpoint| {
        let addresses: Vec<String> = endpoint.addresses.iter().map(ToString::to_string).collect();
        let compose = endpoint.compose.as_ref();
        [
            endpoint.container.clone(),
            compose
                .map_or_else(|| "-".to_owned(), |compose| format!("{}/{}", compose.project, compose.service)),
            endpoint.network.clone(),
            addresses.join(" "),
            endpoint.veth.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    format!("\n{}", table(["CONTAINER", "SERVICE", "NETWORK", "ADDRESSES", "INTERFACE"], rows))
}

/// Problems as sentences, with what to do below each.
pub(crate) fn problems(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        text += &format!("\n{} {}", styled(LOOK, format!("{}:", problem.kind)), problem.what);
        if let Some(hint) = &problem.hint {
            text += &format!("\n  {}", styled(FAINT, hint));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// How long ago, in the largest unit that says enough.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (count, unit) = match seconds {
        0..=1 => return "just now".to_owned(),
        2..=119 => (seconds, "s"),
        120..=7_199 => (seconds / 60, "min"),
        7_200..=172_799 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit} ago")
}
