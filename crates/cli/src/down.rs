//! `byway down`: everything of ours goes, the host is as it was found.

use std::process::ExitCode;

use byway_agent::once;
use byway_api::{DownReport, path};
use byway_fabric::config::Config;

use crate::ask::{Question, agent_or};
use crate::settings;
use crate::show::{GOOD, LOOK, print, print_json, styled};

pub(crate) fn run(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings::settings(config)?;
    let report = agent_or(&settings, Question::Post(path::DOWN), once::down(&settings))?;
    if json {
        print_json(&report)?;
    } else {
        print(&text(&report));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(report: &DownReport) -> String {
    let mut text = String::new();
    for done in &report.done {
        text += &format!("  {done}\n");
    }
    for left in &report.left {
        text += &format!("  {} {left}\n", styled(LOOK, "left:"));
    }
    let verdict =
        if report.done.is_empty() { "nothing of byway's was here" } else { "this host is as it was found" };
    text + &format!("{}\n", styled(GOOD, verdict))
}
