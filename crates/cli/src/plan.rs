//! `byway plan`: what would be changed here, and why, in the sentences of the log.

use std::process::ExitCode;

use byway_agent::once;
use byway_api::{PlanReport, client, path};
use byway_fabric::config::Config;
use byway_fabric::plan::{Plan, Step};

use crate::settings;
use crate::show::{FAINT, GOOD, HEAD, print, print_json, styled};
use crate::status::problems;

pub(crate) fn run(config: &Config, ask_agent: bool, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings::settings(config)?;
    let report: PlanReport = settings::runtime()?.block_on(async {
        if !ask_agent {
            return Ok(once::plan_report(&settings).await?);
        }
        match client::get(&settings.run_dir.join(byway_api::SOCKET), path::PLAN).await {
            Ok(report) => Ok::<_, anyhow::Error>(report),
            Err(error) if error.nobody_listens() => Ok(once::plan_report(&settings).await?),
            Err(error) => Err(error.into()),
        }
    })?;
    if json {
        print_json(&report)?;
    } else {
        let who = if report.by_agent { "the agent would change" } else { "an agent would change" };
        print(&format!("{}: {who}\n{}", styled(HEAD, &report.host), text(&report.plan)));
    }
    Ok(ExitCode::SUCCESS)
}

/// A plan as aligned sentences.
pub(crate) fn text(plan: &Plan) -> String {
    let mut text = String::new();
    let whats: Vec<String> = plan.steps.iter().map(Step::what).collect();
    // Very long steps do not push all reasons off the screen.
    let width = whats.iter().map(String::len).filter(|len| *len <= 84).max().unwrap_or(0);
    for (step, what) in plan.steps.iter().zip(&whats) {
        text += &format!("  {what:width$}  {}\n", styled(FAINT, format!("because {}", step.because())));
    }
    if plan.is_empty() {
        text += &format!("  {}\n", styled(GOOD, "nothing: this host is as it should be"));
    }
    text + &problems(&plan.problems)
}
