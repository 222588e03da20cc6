//! `byway down`: everything of ours goes, the host is as it was found.

use std::process::ExitCode;

use byway_agent::once;
use byway_api::{DownReport, client, path};
use byway_fabric::config::Config;

use crate::settings;
use crate::show::{GOOD, LOOK, print, print_json, styled};

pub(crate) fn run(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let settings = settings::settings(config)?;
    let report: DownReport = settings::runtime()?.block_on(async {
        match client::post(&settings.run_dir.join(byway_api::SOCKET), path::DOWN).await {
            Ok(report) => Ok::<_, anyhow::Error>(report),
            Err(error) if error.nobody_listens() => Ok(once::down(&settings).await?),
            Err(error) => Err(error.into()),
        }
    })?;
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
