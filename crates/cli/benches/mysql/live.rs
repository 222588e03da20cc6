//! As many statements as the server and 64 clients can make on the same cores, and `byway mysql` beside them: every one
//! that the server has logged must be printed, letter for letter.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::PATIENCE;
use crate::cost::{Cost, ended};
use crate::rig::clients;
use crate::rig::log;
use crate::rig::stage::{CLIENTS, PORT, Road, SERVER, SERVER_V4, Stage};
use crate::verdict::{Samples, Sheet, Unit};

/// Rounds with byway and without, in turns.
const ROUNDS: usize = 4;
/// Some seconds of statements.
const LOAD: [&str; 2] = ["threads=64", "count=96000"];
/// In MiB. The ring in the kernel, 8 MiB, counts as well.
const MEMORY_LIMIT: f64 = 64.0;

pub(crate) fn measure(sheet: &mut Sheet) {
    let stage = Stage::raise(Road::Plain);
    let (mut alone, mut beside, mut lost) = (Samples::default(), Samples::default(), Samples::default());
    let mut memory = Samples::default();
    for _ in 0..ROUNDS {
        alone.add(load(&stage));
        let skipped = stage.log_bytes();
        let (rate, printed, cost) = listened(&stage);
        let (logged, missing) = compared(&stage.log_from(skipped), &printed);
        beside.add(rate);
        lost.add(100.0 * f64::from(missing) / f64::from(logged));
        memory.add(cost.memory_mebibytes);
    }
    let (with, without) = (beside.median(), alone.median());
    sheet.part(
        "Live, 64 clients, the server and byway mysql -i eth0 -T fields -e mysql.query on the same cores",
    );
    sheet.said(&format!("{with:.0} statements a second, {without:.0} without byway"));
    sheet.unit(Unit::Percent);
    let none = Samples::from_iter([0.0]);
    sheet.at_most(
        "statements that were not printed",
        &Samples::from_iter([lost.max()]),
        1.0,
        ("the log", &none),
    );
    sheet.unit(Unit::Mebibytes);
    sheet.limit_for_all("memory", &memory, MEMORY_LIMIT);
}

/// Plays the load; statements in a second.
fn load(stage: &Stage) -> f64 {
    let program = clients::build("load", stage.folder.path());
    let port = PORT.to_string();
    let begun = Instant::now();
    let sent = clients::run(&stage.lab, CLIENTS, &program, &[&[SERVER_V4, &port], &LOAD[..]].concat(), None);
    f64::from(u32::try_from(sent.queries).unwrap()) / begun.elapsed().as_secs_f64()
}

/// Plays it while somebody listens at the server's interface; what was printed.
fn listened(stage: &Stage) -> (f64, Vec<u8>, Cost) {
    let out = tempfile::tempfile_in("/dev/shm").unwrap();
    let mut command = stage.lab.command(SERVER, env!("CARGO_BIN_EXE_byway"));
    command.args(["mysql", "-n", "-i", "eth0", "-T", "fields", "-e", "mysql.query", "-E", "header=y"]);
    let child = command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(Stdio::null()).spawn();
    let child = child.unwrap().id();
    // The header is written out when it listens, and nothing has come for a while.
    let deadline = Instant::now() + PATIENCE;
    while length(&out) == 0 {
        assert!(Instant::now() < deadline, "byway mysql does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let rate = load(stage);
    kill(Pid::from_raw(child.cast_signed()), Signal::SIGINT).unwrap();
    let cost = ended(child);
    let mut printed = vec![0; usize::try_from(length(&out)).unwrap()];
    out.read_exact_at(&mut printed, 0).unwrap();
    (rate, printed, cost)
}

fn length(file: &File) -> u64 {
    file.metadata().unwrap().len()
}

/// How many statements the server has logged, and how many of them were not printed as they were.
fn compared(logged: &[u8], printed: &[u8]) -> (u32, u32) {
    let queries = log::entries(logged).into_iter().filter(|entry| entry.command == log::QUERY);
    let mut queries: Vec<Vec<u8>> = queries.map(|entry| entry.text).collect();
    let mut lines: Vec<&[u8]> = printed.split(|byte| *byte == b'\n').skip(1).collect();
    queries.sort_unstable();
    lines.sort_unstable();
    let mut lines = lines.into_iter().peekable();
    let is_printed = |query: &Vec<u8>| {
        while lines.next_if(|line| *line < query.as_slice()).is_some() {}
        lines.next_if(|line| *line == query.as_slice()).is_some()
    };
    let found = queries.iter().map(is_printed).filter(|is_printed| *is_printed).count();
    let count = |number: usize| u32::try_from(number).unwrap();
    (count(queries.len()), count(queries.len() - found))
}
