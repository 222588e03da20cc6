//! Installs what a task needs, then runs it: `cargo xtask demo | test | bench | fuzz | engines | etcd`.
//!
//! Knows only names of programs and packages; what is shown, tested and measured lives in the crates.

mod engines;
mod fuzz;
mod packages;
mod rooms;

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask TASK

  demo            two hosts, a container on each: the whole story on your terminal, in under a minute
  test            everything that must hold, as CI runs it (formatting, lints, all tests, some fuzzing)
  bench [NAME…]   what things cost, beside a peer or a limit in the same run
  fuzz [TARGET [SECONDS]]
                  feeds a decoder with hostile input, or each of them (targets: see fuzz/targets), 60 s if not said
  engines [--mariadb]
                  real Docker engines for `byway lab up --engine`, in ~/.cache/byway (needs root once)
  etcd [--check]  makes what the agent says to etcd from proto/etcd.proto, or says whether it is up to date

Each installs the system packages that it lacks first, and says so.
";

/// Why a task did not come to its end; printed as it is.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Outcome = Result<(), Failure>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["demo", ref rest @ ..] => demo(rest),
        ["test", ref rest @ ..] => test(rest),
        ["bench", ref names @ ..] => bench(names),
        ["engines"] => engines::set_up(false),
        ["engines", "--mariadb"] => engines::set_up(true),
        ["etcd", ref rest @ ..] => etcd(rest),
        ["fuzz"] => fuzz::all("60", &[]),
        ["fuzz", target] => fuzz::one(target, "60"),
        ["fuzz", target, seconds] => fuzz::one(target, seconds),
        _ => Err(Failure(USAGE.to_owned())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is what xtask is for")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// The programs that every task with hosts needs, and the Debian packages that have them.
const LAB: [(&str, &str); 3] = [("nft", "nftables"), ("ping", "iputils-ping"), ("ip", "iproute2")];
/// What the tests need on top; tcpdump brings libpcap, which compiles filters, `mariadb_config` the library of the
/// clients that the tests make.
const TESTS: [(&str, &str); 5] = [
    ("setpriv", "util-linux"),
    ("tcpdump", "tcpdump"),
    ("cc", "gcc"),
    ("mariadb_config", "libmariadb-dev"),
    ("openssl", "openssl"),
];
/// What is unpacked and not installed: it would run as a service of the machine.
const ETCD: [(&str, &str); 2] = [("etcd", "etcd-server"), ("etcdctl", "etcd-client")];
/// How long each decoder is fed with hostile input by the tests.
const FUZZED_SECONDS: &str = "3";
/// The peer of the bench `capture`.
const PEER_OF_CAPTURE: [(&str, &str); 1] = [("tshark", "tshark")];
/// The benches that need Docker engines.
const ENGINES_BENCHES: [&str; 2] = ["paths", "flushes"];

fn demo(rest: &[&str]) -> Outcome {
    packages::install(&LAB)?;
    packages::install_compiler()?;
    run(cargo().args(["build", "--package", "byway"]))?;
    run(Command::new(target("debug/byway")).args(["lab", "demo"]).args(rest))
}

fn test(rest: &[&str]) -> Outcome {
    packages::install(&LAB)?;
    packages::install_compiler()?;
    packages::install(&TESTS)?;
    packages::unpack(&ETCD, &engines::cache()?.join("programs"))?;
    engines::set_up(true)?;
    if Command::new("cargo-nextest").arg("--version").output().is_err() {
        say("xtask: installing cargo-nextest, which runs the tests");
        run(cargo().args(["install", "--locked", "cargo-nextest"]))?;
    }
    run(cargo().args(["fmt", "--all", "--check"]))?;
    rooms::check(Path::new(root()))?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    run(cargo().args(["build", "--workspace", "--all-targets"]))?;
    run(with_privileges(&["nextest", "run", "--workspace"]).args(rest))?;
    // The same every time: what is new is looked for by `cargo xtask fuzz`. Who has asked for some tests wants no more.
    if rest.is_empty() { fuzz::all(FUZZED_SECONDS, &["-seed=1", "-verbosity=0"]) } else { Ok(()) }
}

fn bench(names: &[&str]) -> Outcome {
    packages::install(&LAB)?;
    packages::install_compiler()?;
    packages::install(&TESTS)?;
    packages::unpack(&ETCD, &engines::cache()?.join("programs"))?;
    // Who is not root gets the other benches, and from these a sentence.
    let is_wanted = |bench: &&str| names.is_empty() || names.iter().any(|name| bench.contains(name));
    if is_wanted(&"capture") {
        packages::install(&PEER_OF_CAPTURE)?;
    }
    if packages::is_root() && is_wanted(&"mysql") {
        engines::set_up(true)?;
    }
    if packages::is_root() && ENGINES_BENCHES.iter().any(is_wanted) {
        engines::set_up(false)?;
    }
    let patterns: Vec<String> = if names.is_empty() {
        vec!["*".to_owned()]
    } else {
        names.iter().map(|name| format!("*{name}*")).collect()
    };
    let mut arguments = vec!["bench", "--workspace", "--no-fail-fast"];
    for pattern in &patterns {
        arguments.extend(["--bench", pattern]);
    }
    // Built outside of the namespace, from where crates can still be fetched.
    run(cargo().args(&arguments).arg("--no-run"))?;
    run(&mut with_privileges(&arguments))
}

/// The generator is a workspace of its own: nothing of it is built with Byway.
fn etcd(rest: &[&str]) -> Outcome {
    let proto = Path::new(root()).join("proto");
    let folder = proto.join("target");
    run(cargo().args(["run", "--quiet", "--target-dir"]).arg(folder).arg("--").args(rest).current_dir(proto))
}

/// Cargo in a user namespace of its own where we are not root: the tests make networks, and there they may.
fn with_privileges(arguments: &[&str]) -> Command {
    let uid = std::fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me));
    if uid.is_ok_and(|uid| uid == 0) {
        let mut command = cargo();
        command.args(arguments);
        return command;
    }
    say("xtask: not root, so this runs in a user namespace of its own");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--net", "--mount", "--"]);
    command.arg(cargo().get_program()).args(arguments).current_dir(root());
    command
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

fn root() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..")
}

fn target(file: &str) -> std::path::PathBuf {
    let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new(root()).join("target"), Into::into);
    folder.join(file)
}

/// Runs a command in our place on the terminal; its failure is ours.
fn run(command: &mut Command) -> Outcome {
    let words: Vec<&OsStr> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let text = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure(format!("xtask: `{text}` ended with {status}"))),
        Err(error) => Err(Failure(format!("xtask: `{text}` could not be run: {error}"))),
    }
}
