//! Compiles the eBPF program that hears of dropped packets (`src/edge/drops/drops.bpf.c`) with clang.
//!
//! The object is part of the binary. It needs no headers of the system, and fits every kernel with type information of
//! its own.

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/edge/drops/drops.bpf.c";
/// Names of the compiler, the newest that is known last; `CLANG` in the environment comes before all.
const COMPILERS: [&str; 13] = [
    "clang", "clang-11", "clang-12", "clang-13", "clang-14", "clang-15", "clang-16", "clang-17", "clang-18",
    "clang-19", "clang-20", "clang-21", "clang-22",
];

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CLANG");
    if let Err(why) = compile() {
        println!("cargo::error={why}");
    }
}

fn compile() -> Result<(), String> {
    let out = std::env::var_os("OUT_DIR").ok_or("no OUT_DIR: this is run by cargo")?;
    let object = Path::new(&out).join("drops.bpf.o");
    let clang = compiler()?;
    // Debug information is where the kernel's structures are described (BTF); version 3 of the instructions is Linux 5.1's.
    let flags =
        ["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3", "-c", SOURCE, "-o"];
    let output = Command::new(&clang).args(flags).arg(&object).output();
    let output = output.map_err(|error| format!("run {clang}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).replace('\n', " | ");
    Err(format!("{clang} refused {SOURCE}: {said}"))
}

fn compiler() -> Result<String, String> {
    let wanted = std::env::var("CLANG").into_iter();
    let mut names = wanted.chain(COMPILERS.map(str::to_owned));
    let runs =
        |name: &String| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success());
    names.find(runs).ok_or_else(|| {
        "byway-agent needs clang, which compiles its eBPF program: `apt install clang` (or name yours: CLANG=/path/to/clang)"
            .to_owned()
    })
}
