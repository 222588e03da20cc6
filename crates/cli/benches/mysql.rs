//! Captures with 210,048 statements of 64 connections to a real `MariaDB`: what it costs to read and write their packets
//! with tcpdump, and beside it, in turns, to print the statements in them. Then the same load live.

#![allow(clippy::unwrap_used, reason = "for benches only")]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "mysql/cost.rs"]
mod cost;
#[path = "mysql/live.rs"]
mod live;
#[path = "mysql/loads.rs"]
mod loads;
#[path = "../tests/mysql/rig/mod.rs"]
mod rig;
#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};

use cost::{Cost, cost};
use loads::Load;
use verdict::{Samples, Sheet, Unit};

const BYWAY: &str = env!("CARGO_BIN_EXE_byway");
/// How often each is measured. The first time, when the file may come from the disk, is thrown away.
const ROUNDS: usize = 6;
/// The CPU time for text statements, beside that of tcpdump, which only reads and writes.
const TEXTS_LIMIT: f64 = 2.0;
/// The same for what has to be kept between packets: prepared statements.
const EXECUTIONS_LIMIT: f64 = 3.0 * TEXTS_LIMIT;
/// In MiB, however large the file is.
const MEMORY_LIMIT: f64 = 64.0;

/// One way to print.
struct Way {
    what: &'static str,
    arguments: &'static [&'static str],
    /// How many times the CPU time of tcpdump it may take.
    limit: Option<f64>,
}

const fn way(what: &'static str, arguments: &'static [&'static str], limit: Option<f64>) -> Way {
    Way { what, arguments, limit }
}

const QUERIES: Way = way("-e mysql.query", &["-T", "fields", "-e", "mysql.query"], Some(TEXTS_LIMIT));
/// It is about memory: most of what they cost is writing them out, which tcpdump does not.
const LARGE: Way = way("-e mysql.query", &["-T", "fields", "-e", "mysql.query"], None);
const STATEMENTS: Way =
    way("-e byway.statement", &["-T", "fields", "-e", "byway.statement"], Some(EXECUTIONS_LIMIT));
const TOP: Way = way("--top", &["--top"], Some(EXECUTIONS_LIMIT));
const LINES: Way = way("lines for people", &[], None);
const OBJECTS: Way = way("--json", &["--json"], None);

fn main() -> ExitCode {
    if cost::was_errand() {
        return ExitCode::SUCCESS;
    }
    let mut sheet = Sheet::new("byway mysql: captures of MariaDB and 64 clients, and live");
    files(&mut sheet, "text statements", &loads::texts(), &[QUERIES, STATEMENTS, TOP, LINES, OBJECTS]);
    files(&mut sheet, "executions", &loads::executions(), &[STATEMENTS, TOP, LINES, OBJECTS]);
    files(&mut sheet, "statements of up to 33 MB", &loads::large(), &[LARGE]);
    live::measure(&mut sheet);
    sheet.finish()
}

/// All ways in turns, and tcpdump before each round.
fn files(sheet: &mut Sheet, name: &str, load: &Load, ways: &[Way]) {
    let megabytes = std::fs::metadata(&load.capture).unwrap().len() / 1_000_000;
    let count = load.sent.queries + load.sent.executions;
    sheet.part(&format!("{count} {name}, {megabytes} MB, {}", load.capture.display()));
    let (mut peer, mut costs) = (Vec::new(), vec![Vec::new(); ways.len()]);
    let file = load.capture.as_os_str();
    for _ in 0..ROUNDS {
        peer.push(cost("tcpdump", &["-r".as_ref(), file, "-w".as_ref(), "/dev/null".as_ref()]));
        for (way, costs) in ways.iter().zip(&mut costs) {
            let mut arguments: Vec<&OsStr> = vec!["mysql".as_ref(), "-n".as_ref(), "-r".as_ref(), file];
            arguments.extend(way.arguments.iter().map(OsStr::new));
            costs.push(cost(BYWAY, &arguments));
        }
    }
    let cpu = |costs: &[Cost]| costs.iter().skip(1).map(|cost| cost.cpu_seconds).collect::<Samples>();
    let memory = |costs: &[Cost]| costs.iter().map(|cost| cost.memory_mebibytes).collect::<Samples>();
    let tcpdump = cpu(&peer);
    for (way, costs) in ways.iter().zip(&costs) {
        let (what, peer) = (format!("{}, CPU", way.what), ("tcpdump -w /dev/null", &tcpdump));
        sheet.unit(Unit::Seconds);
        match way.limit {
            Some(limit) => sheet.at_most(&what, &cpu(costs), limit, peer),
            None => sheet.compared(&what, &cpu(costs), peer),
        }
        sheet.unit(Unit::Mebibytes);
        sheet.limit_for_all(&format!("{}, memory", way.what), &memory(costs), MEMORY_LIMIT);
    }
    sheet.said(&printed(load));
}

/// Every statement is printed: as many as the clients counted.
fn printed(load: &Load) -> String {
    let lines = |field: &str, command: &[u8]| {
        let fields = ["-T", "fields", "-e", "mysql.command", "-e", field];
        let mut byway = Command::new(BYWAY);
        byway.args(["mysql", "-n", "-r"]).arg(&load.capture).args(fields).stdout(Stdio::piped());
        let mut child = byway.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let count = out.split(b'\n').filter(|line| line.as_ref().unwrap().starts_with(command)).count();
        assert!(child.wait().unwrap().success());
        count
    };
    let (queries, executions) = (lines("mysql.query", b"3\t"), lines("byway.statement", b"23\t"));
    assert_eq!((queries, executions), (load.sent.queries, load.sent.executions), "each is printed once");
    format!("{queries} queries and {executions} executions are printed, as many as the clients have sent")
}
