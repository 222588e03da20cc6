//! Makes `words.rs` of the etcd client from `etcd.proto`: in one go, or with `--check` only says whether it is what
//! would be made.

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

const PROTO: &str = "etcd.proto";
const MADE: &str = "../crates/agent/src/edge/etcd/words.rs";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = make(here)?;
    let target = here.join(MADE);
    if env::args().any(|argument| argument == "--check") {
        let same = fs::read_to_string(&target)? == text;
        println!(
            "{} {}",
            target.display(),
            if same { "is up to date" } else { "is not what proto/etcd.proto makes" }
        );
        return Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    fs::write(&target, text)?;
    println!("wrote {}", target.display());
    Ok(ExitCode::SUCCESS)
}

/// The text of the module, formatted as the rest of the house.
fn make(here: &Path) -> Result<String, Box<dyn Error>> {
    let folder = env::temp_dir().join(format!("byway-proto-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = make_in(here, &folder);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn make_in(here: &Path, folder: &Path) -> Result<String, Box<dyn Error>> {
    let words = protox::compile([here.join(PROTO)], [here])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .skip_debug(["etcdserverpb.AuthenticateRequest", "etcdserverpb.AuthenticateResponse"])
        .out_dir(folder)
        .compile_fds(words)?;
    let made = folder.join("etcdserverpb.rs");
    let sum = checksum(&fs::read(here.join(PROTO))?);
    let head = format!("// Made from proto/etcd.proto ({sum:016x}) by `cargo xtask etcd`: change it there.");
    fs::write(&made, format!("{head}\n\n{}", fs::read_to_string(&made)?))?;
    let settings = here.join("../rustfmt.toml");
    let status = Command::new("rustfmt")
        .arg("--edition=2024")
        .arg("--config-path")
        .arg(settings)
        .arg(&made)
        .status()?;
    if !status.success() {
        return Err("rustfmt failed".into());
    }
    Ok(fs::read_to_string(made)?)
}

/// FNV-1a: tells an edited file from the one that was read. A test of the agent compares it.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
