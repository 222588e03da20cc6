//! As many statements as the server and 64 clients can make on the same cores, and `byway mysql` beside them: every one
//! that the server has logged must be printed, letter for letter.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Child, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::PATIENCE;
use crate::rig::clients;
use crate::rig::log;
use crate::rig::stage::{CLIENTS, PORT, Road, SERVER, SERVER_V4, Stage};
use crate::verdict::{Samples, Sheet, Unit};

/// Rounds with byway and without, in turns.
const ROUNDS: usize = 4;
/// Some seconds of statements.
const LOAD: [&str; 2] = ["threads=64", "count=96000"];
/// In MiB, with what was used of the ring.
const MEMORY_LIMIT: f64 = 64.0;

pub(crate) fn measure(sheet: &mut Sheet) {
    let stage = Stage::raise(Road::Plain);
    let (mut alone, mut beside, mut lost) = (Samples::default(), Samples::default(), Samples::default());
    let (mut memory, mut last_words) = (Samples::default(), Vec::new());
    for _ in 0..ROUNDS {
        alone.add(load(&stage));
        let skipped = stage.log_bytes();
        let heard = listened(&stage);
        let (logged, missing) = compared(&stage.log_from(skipped), &heard.printed);
        beside.add(heard.rate);
        lost.add(100.0 * f64::from(missing) / f64::from(logged));
        memory.add(heard.memory_mebibytes);
        last_words.push(format!("{missing} of {logged} were not printed; byway said: {}", heard.last_words));
    }
    let (with, without) = (beside.median(), alone.median());
    sheet.part(
        "Live, 64 clients, the server and byway mysql -i eth0 -T fields -e mysql.query on the same cores",
    );
    sheet.said(&format!("{with:.0} statements a second, {without:.0} without byway"));
    for words in last_words {
        sheet.said(&words);
    }
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

/// What somebody heard who listened at the server's interface.
struct Heard {
    /// Statements in a second.
    rate: f64,
    printed: Vec<u8>,
    last_words: String,
    /// The most that it had at once.
    memory_mebibytes: f64,
}

fn listened(stage: &Stage) -> Heard {
    let out = tempfile::tempfile_in("/dev/shm").unwrap();
    let mut command = stage.lab.command(SERVER, env!("CARGO_BIN_EXE_byway"));
    command.args(["mysql", "-n", "-i", "eth0", "-T", "fields", "-e", "mysql.query", "-E", "header=y"]);
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The header is written out when it listens, and nothing has come for a while.
    let deadline = Instant::now() + PATIENCE;
    while length(&out) == 0 {
        assert!(Instant::now() < deadline, "byway mysql does not listen");
        std::thread::yield_now();
    }
    let rate = load(stage);
    let memory_mebibytes = most_memory(&child);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let mut last_words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut last_words).unwrap();
    assert!(child.wait().unwrap().success(), "{last_words}");
    let mut printed = vec![0; usize::try_from(length(&out)).unwrap()];
    out.read_exact_at(&mut printed, 0).unwrap();
    Heard { rate, printed, last_words: last_words.trim_end().to_owned(), memory_mebibytes }
}

/// `VmHWM`, see proc(5); in MiB. The child of ours has entered the node and waits for its own, which is byway.
fn most_memory(child: &Child) -> f64 {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let byway = std::fs::read_to_string(children).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", byway.trim())).unwrap();
    let words = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    words.trim_end_matches("kB").trim().parse::<f64>().unwrap() / 1024.0
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
