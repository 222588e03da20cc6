//! `byway status --all`: how all hosts stand, each asked over the network. One that cannot be asked is a gap, with
//! its reason, and keeps nobody else from being shown.

use std::process::ExitCode;
use std::time::Duration;

use byway_agent::keep::Settings;
use byway_agent::{key, once};
use byway_api::identity::Identity;
use byway_api::peer::{Bounds, Gap, Peer, PeerError};
use byway_api::{Status, path};
use byway_fabric::cluster::{Host, HostName};
use byway_fabric::config::Config;
use futures_util::stream::{self, StreamExt as _};
use serde::Serialize;

use super::{is_well, problems, routes};
use crate::ask::{Question, answer};
use crate::complaint::Advised;
use crate::show::{BAD, FAINT, HEAD, LOOK, print, print_json, styled, table};
use crate::{complaint, hosts, settings};

/// Hosts that are asked at the same time: each takes two sockets at most, and a process has 1024.
const ASKED_AT_ONCE: usize = 256;
/// How long one host may take in all: whoever waits for the table does not wait for three seconds.
const HOST_TIME: Duration = Duration::from_millis(2500);

/// One host's line.
#[derive(Debug, Serialize)]
struct Answer {
    host: HostName,
    well: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Missing>,
}

/// Why there is no status of a host.
#[derive(Debug, Serialize)]
struct Missing {
    kind: Gap,
    /// What went wrong and why, outermost first.
    chain: Vec<String>,
    hint: Option<String>,
}

pub(crate) fn run_all(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings::settings(config)?;
    let known = hosts::known(&settings)?;
    let me = known.me.name.clone();
    let identity = key::load(&settings.state_dir)?.ok_or_else(no_key)?;
    let listed = &known.cluster.hosts;
    let ask = async |host: &Host| {
        if host.name == me { here(&settings, &me).await } else { there(host, settings.port, &identity).await }
    };
    let answers: Vec<Answer> =
        settings::runtime()?.block_on(stream::iter(listed).map(ask).buffered(ASKED_AT_ONCE).collect());
    if json {
        print_json(&serde_json::json!({ "hosts": answers }))?;
    } else {
        print(&text(&answers));
    }
    let all_well = answers.iter().all(|answer| answer.well);
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn no_key() -> Advised {
    Advised {
        what: "this host has no key by which the others could know it".to_owned(),
        hint: "the agent makes it when it starts, and `byway key` does (docs/peers.md)".to_owned(),
        cause: None,
    }
}

async fn here(settings: &Settings, me: &HostName) -> Answer {
    match answer(settings, Question::Get(path::STATUS), once::status(settings)).await {
        Ok(status) => told(me, status),
        Err(error) => {
            let chain = error.chain().map(ToString::to_string).collect();
            missing(me, Gap::Broken, chain, complaint::hints(&error).into_iter().next())
        }
    }
}

async fn there(host: &Host, port: u16, identity: &Identity) -> Answer {
    let bounds = Bounds { answer: HOST_TIME, ..Bounds::default() };
    let ask = async {
        let mut peer = Peer::connect(host, port, identity, bounds).await?;
        peer.get(path::STATUS).await
    };
    let late =
        || PeerError::Late { host: host.name.clone(), what: "tell its status".to_owned(), after: HOST_TIME };
    match tokio::time::timeout(HOST_TIME, ask).await.unwrap_or_else(|_| Err(late())) {
        Ok(status) => told(&host.name, status),
        Err(error) => {
            let hint = error.hint();
            let gap = error.gap();
            let chain = anyhow::Error::from(error).chain().map(ToString::to_string).collect();
            missing(&host.name, gap, chain, hint)
        }
    }
}

fn told(host: &HostName, status: Status) -> Answer {
    Answer { host: host.clone(), well: is_well(&status), status: Some(status), gap: None }
}

fn missing(host: &HostName, kind: Gap, chain: Vec<String>, hint: Option<String>) -> Answer {
    Answer { host: host.clone(), well: false, status: None, gap: Some(Missing { kind, chain, hint }) }
}

fn text(answers: &[Answer]) -> String {
    let mut text = table(["HOST", "STATE", "ROUTES", "PROBLEMS", "VERSION"], answers.iter().map(row));
    for answer in answers.iter().filter(|answer| !answer.well) {
        text += &format!("\n{}", styled(HEAD, &answer.host));
        text += &match (&answer.status, &answer.gap) {
            (Some(status), _) => unwell(status),
            (None, Some(gap)) => {
                let hint = gap.hint.as_ref();
                let hint = hint.map_or_else(String::new, |hint| format!("\n  {}", styled(FAINT, hint)));
                format!("\n{} {}{hint}\n", styled(BAD, format!("{}:", gap.kind)), gap.chain.join(": "))
            }
            (None, None) => String::new(),
        };
    }
    text
}

fn row(answer: &Answer) -> [String; 5] {
    let host = answer.host.to_string();
    let Some(status) = &answer.status else {
        let kind = answer.gap.as_ref().map_or(Gap::Broken, |gap| gap.kind);
        return [host, kind.to_string(), "-".to_owned(), "-".to_owned(), "-".to_owned()];
    };
    let (expected, present) = routes(status);
    let state = match (&status.agent, answer.well) {
        (_, true) => "well",
        (None, _) => "no agent",
        _ => "needs a look",
    };
    let problems = status.problems.len().to_string();
    [host, state.to_owned(), format!("{present}/{expected}"), problems, status.version.clone()]
}

/// What is wrong with a host that told its status.
fn unwell(status: &Status) -> String {
    let mut text = String::new();
    match &status.agent {
        None => {
            text += &format!("\n{} `byway agent` keeps the host right", styled(BAD, "no agent runs here:"));
        }
        Some(agent) => text
            .extend(agent.trouble.iter().map(|trouble| format!("\n{} {trouble}", styled(BAD, "trouble:")))),
    }
    if status.pending > 0 {
        text += &format!("\n{} {} changes are due", styled(LOOK, "pending:"), status.pending);
    }
    if let Some(rejected) = &status.inventory.rejected {
        text += &format!("\n{} {}", styled(BAD, "inventory:"), rejected.mistakes);
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text + &problems(&status.problems)
}
