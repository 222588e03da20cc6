//! Completions and manual pages, generated from the commands as they are.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::Cli;
use crate::show;

pub(crate) fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "byway", &mut script);
    show::print(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

/// Writes `byway.1`, `byway-status.1`, … into `folder`.
pub(crate) fn manual(folder: &Path) -> anyhow::Result<ExitCode> {
    let write = || {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(Cli::command(), folder)
    };
    write().with_context(|| format!("write the manual pages into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
