//! Captures with 210,048 statements of 64 connections to a real `MariaDB`: what it costs just to read and write their
//! packets, which is the measure for reading the statements in them.

#![allow(clippy::unwrap_used, reason = "for benches only")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "mysql/loads.rs"]
mod loads;
#[path = "../tests/mysql/rig/mod.rs"]
mod rig;
#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::process::{Command, ExitCode, Stdio};

use loads::Load;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use verdict::{Samples, Sheet};

/// How often each is measured. The first time, when the file may come from the disk, is thrown away.
const ROUNDS: usize = 6;

fn main() -> ExitCode {
    let mut sheet = Sheet::new("Captures of MariaDB and 64 clients");
    for (name, load) in [("text statements", loads::texts()), ("executions", loads::executions())] {
        let megabytes = std::fs::metadata(&load.capture).unwrap().len() / 1_000_000;
        let count = load.sent.queries + load.sent.executions;
        sheet.part(&format!("{count} {name}, {megabytes} MB, {}", load.capture.display()));
        sheet.told("tcpdump -r FILE -w /dev/null, CPU", &rounds(&load));
    }
    sheet.finish()
}

fn rounds(load: &Load) -> Samples {
    let cost = || {
        let before = children_cpu();
        let mut command = Command::new("tcpdump");
        command.arg("-r").arg(&load.capture).args(["-w", "/dev/null"]);
        assert!(command.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        children_cpu() - before
    };
    (0..ROUNDS).map(|_| cost()).skip(1).collect()
}

/// In seconds.
fn children_cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64()
}
