//! The clients: C programs on libmariadb, and the terminal client of MariaDB itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use byway_lab::{Engines, Lab};

/// What every client is made of beside its own file.
const SHARED: [(&str, &str); 2] =
    [("client.h", include_str!("../clients/client.h")), ("keylog.c", include_str!("../clients/keylog.c"))];
/// Each by its name.
const SOURCES: [(&str, &str); 9] = [
    ("bulk", include_str!("../clients/bulk.c")),
    ("charsets", include_str!("../clients/charsets.c")),
    ("infile", include_str!("../clients/infile.c")),
    ("large", include_str!("../clients/large.c")),
    ("load", include_str!("../clients/load.c")),
    ("newer", include_str!("../clients/newer.c")),
    ("pipelined", include_str!("../clients/pipelined.c")),
    ("prepared", include_str!("../clients/prepared.c")),
    ("session", include_str!("../clients/session.c")),
];
/// What knows where libmariadb is.
const CONFIG: &str = "mariadb_config";

/// What a client says that it has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Text statements.
    pub queries: usize,
    /// Executions of prepared ones, of every kind; a bulk is one.
    pub executions: usize,
}

/// Makes a client in a folder, or finds it there.
pub fn build(name: &str, folder: &Path) -> PathBuf {
    let program = folder.join(name);
    if program.is_file() {
        return program;
    }
    let source = SOURCES.iter().find(|(other, _)| *other == name).unwrap();
    for (file, text) in SHARED {
        std::fs::write(folder.join(file), text).unwrap();
    }
    let file = folder.join(format!("{name}.c"));
    std::fs::write(&file, source.1).unwrap();
    let mut compiler = Command::new("cc");
    // Exported, so that libmariadb finds the SSL_CTX_new of keylog.c.
    compiler.args(["-O1", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-o"]).arg(&program).arg(&file);
    compiler.arg(folder.join("keylog.c")).args(config("--include")).args(config("--libs"));
    let out = compiler.args(["-lpthread", "-ldl"]).output().unwrap();
    assert!(out.status.success(), "cc {name}.c: {}", String::from_utf8_lossy(&out.stderr));
    program
}

/// Runs a client in a node; it must succeed.
pub fn run(lab: &Lab, node: &str, program: &Path, arguments: &[&str], keys: Option<&Path>) -> Sent {
    let mut command = lab.command(node, program);
    command.args(arguments).stdin(Stdio::null()).env_remove("SSLKEYLOGFILE");
    command.envs(keys.map(|keys| ("SSLKEYLOGFILE", keys)));
    let out = command.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{} {arguments:?}: {said}{errors}", program.display());
    let counts: Vec<usize> = said.split_whitespace().map(|word| word.parse().unwrap()).collect();
    Sent { queries: counts[0], executions: counts[1] }
}

/// Runs MariaDB's own terminal client in a node, which reads a script as if somebody typed it.
pub fn run_terminal(lab: &Lab, node: &str, arguments: &[&str], script: &str) {
    let root = Engines::of_this_user().unwrap().mariadb().unwrap_or_else(|error| panic!("{error:#}"));
    let mut command = lab.command(node, "chroot");
    command.arg(root).args(["mariadb", "--no-defaults", "--force"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    // Its status tells of the statement that was to fail; the log tells whether it came there at all.
    child.wait().unwrap();
}

fn config(option: &str) -> Vec<String> {
    let out = Command::new(CONFIG).arg(option).output();
    let out = out.unwrap_or_else(|error| panic!("{CONFIG} (of libmariadb-dev): {error}"));
    String::from_utf8(out.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}
