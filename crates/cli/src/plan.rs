//! `byway plan`: what would be changed here, and why, in the sentences of the log.

use std::process::ExitCode;

use byway_agent::once;
use byway_api::path;
use byway_fabric::config::Config;
use byway_fabric::plan::{Plan, Step};

use crate::ask::{Question, agent_or};
use crate::settings;
use crate::show::{FAINT, GOOD, HEAD, columns, print, print_json, styled};
use crate::status::problems;

pub(crate) fn run(config: &Config, ask_agent: bool, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings::settings(config)?;
    let look = once::plan_report(&settings);
    let report = if ask_agent {
        agent_or(&settings, Question::Get(path::PLAN), look)?
    } else {
        settings::runtime()?.block_on(look)?
    };
    if json {
        print_json(&report)?;
    } else {
        let who = if report.by_agent { "the agent would change" } else { "an agent would change" };
        print(&format!("{}: {who}\n{}", styled(HEAD, &report.host), text(&report.plan, columns())));
    }
    Ok(ExitCode::SUCCESS)
}

/// A plan as sentences, for a page of that many columns: what and why side by side, or below each other where the
/// page is too narrow.
pub(crate) fn text(plan: &Plan, columns: usize) -> String {
    let mut text = format!("  {}\n", styled(FAINT, &plan.path));
    for (host, path) in &plan.ways {
        text += &format!(
            "  {host} is reached {path}\n      {}\n",
            styled(FAINT, format!("because {}", path.because()))
        );
    }
    let whats: Vec<String> = plan.steps.iter().map(Step::what).collect();
    let width = whats.iter().map(String::len).max().unwrap_or(0);
    let widest = plan.steps.iter().map(|step| width + step.because().len()).max().unwrap_or(0);
    let between = if widest + "    because ".len() <= columns { None } else { Some("\n      ") };
    for (step, what) in plan.steps.iter().zip(&whats) {
        let because = styled(FAINT, format!("because {}", step.because()));
        text += &match between {
            None => format!("  {what:width$}  {because}\n"),
            Some(between) => format!("  {what}{between}{because}\n"),
        };
    }
    if plan.is_empty() {
        text += &format!("  {}\n", styled(GOOD, "nothing: this host is as it should be"));
    }
    text + &problems(&plan.problems)
}
