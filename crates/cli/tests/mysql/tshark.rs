//! `-T fields -e mysql.query` beside tshark, for what both can decode.

use std::path::Path;
use std::process::Command;

use crate::common::BYWAY;

/// Compares what both print, line by line. tshark prints one line for each frame, with commas between its statements.
pub(crate) fn check(name: &str, capture: &Path) {
    let theirs = lines(Command::new("tshark").arg("-r").arg(capture).args([
        "-Y",
        "mysql.query",
        "-T",
        "fields",
        "-e",
        "mysql.query",
    ]));
    let ours = lines(Command::new(BYWAY).args(["mysql", "--no-names", "-r"]).arg(capture).args([
        "-T",
        "fields",
        "-e",
        "mysql.query",
    ]));
    let mut rest = ours.iter();
    let mut compared = 0;
    for line in theirs.iter().filter(|line| is_for_both(line)) {
        let mut next = rest.by_ref().filter(|line| is_for_both(line));
        let mut joined = next.next().cloned().unwrap_or_default();
        while joined.len() < line.len() {
            let Some(more) = next.next() else { break };
            joined += ",";
            joined += more;
        }
        assert_eq!(&joined, line, "{name}");
        compared += 1;
    }
    assert!(compared > 0, "{name}: tshark prints nothing that both can decode");
}

fn lines(command: &mut Command) -> Vec<String> {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// tshark 4.0 has U+FFFD for every byte that is not ASCII, and does not escape the backslash.
fn is_for_both(line: &str) -> bool {
    line.is_ascii() && !line.contains('\\')
}
