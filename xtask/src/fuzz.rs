//! Feeds decoders with hostile input: one, or all of them. Coverage-guided on the stable toolchain: the instrumentation
//! is LLVM's own pass.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Failure, Outcome, cargo, root, run, say};

const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// One target for so many seconds.
pub(crate) fn one(target: &str, seconds: &str) -> Outcome {
    let names = names()?;
    if !names.iter().any(|name| name == target) {
        return Err(Failure(format!("xtask: there is no target {target}; these are: {}", names.join(", "))));
    }
    let programs = build(&["--bin", target])?;
    feed(&programs, target, seconds, &[])
}

/// All of them, each for so many seconds.
pub(crate) fn all(seconds: &str, options: &[&str]) -> Outcome {
    let programs = build(&["--bins"])?;
    for target in names()? {
        say(&format!("xtask: {seconds} s of hostile input for {target}"));
        feed(&programs, &target, seconds, options)?;
    }
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(root()).join("fuzz")
}

fn names() -> Result<Vec<String>, Failure> {
    let targets = folder().join("targets");
    let files = fs::read_dir(&targets).map_err(|error| cannot("list", &targets, &error))?;
    let stems = files.flatten().filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<String> = stems.collect();
    names.sort();
    Ok(names)
}

/// Builds them; where the programs are.
fn build(which: &[&str]) -> Result<PathBuf, Failure> {
    // With `--target`, so that build scripts are not instrumented; in a folder of its own, wherever the other one is.
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let target = folder().join("target");
    let mut build = cargo();
    build.args(["build", "--release", "--target", &triple]).args(which);
    run(build.arg("--target-dir").arg(&target).env("RUSTFLAGS", FLAGS).current_dir(folder()))?;
    Ok(target.join(triple).join("release"))
}

/// What it finds is kept in `fuzz/artifacts`, and what it learns in `fuzz/corpus`.
fn feed(programs: &Path, target: &str, seconds: &str, options: &[&str]) -> Outcome {
    let (corpus, artifacts) = (folder().join("corpus").join(target), folder().join("artifacts"));
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).map_err(|error| cannot("make", folder, &error))?;
    }
    let seeds = folder().join("seeds").join(target);
    run(Command::new(programs.join(target))
        .args([corpus.as_os_str(), seeds.as_os_str()])
        .args(["-use_value_profile=1".to_owned(), format!("-max_total_time={seconds}")])
        .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
        .args(options)
        .current_dir(folder()))
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("xtask: {what} {}: {error}", path.display()))
}
