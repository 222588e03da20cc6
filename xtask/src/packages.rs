//! System packages: says what is missing, installs it with apt, and fails with the command to run where it
//! cannot.

use std::path::Path;
use std::process::Command;

use crate::{Failure, Outcome, run, say};

/// Installs the packages of those programs that are not there.
pub(crate) fn install(wanted: &[(&str, &str)]) -> Outcome {
    let missing: Vec<&str> =
        wanted.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    say(&format!("xtask: missing here: {list}; installing"));
    if !is_there("apt-get") {
        return Err(Failure(format!("xtask: this is no Debian or Ubuntu; please install: {list}")));
    }
    run(&mut apt("update"))?;
    run(apt("install").args(["--yes", "--no-install-recommends"]).args(&missing))
}

/// Unpacks the packages of those programs that are not there into `folder`, as a root of their own: nothing of them is
/// installed, and nobody starts what is in them.
pub(crate) fn unpack(wanted: &[(&str, &str)], folder: &Path) -> Outcome {
    let is_unpacked = |program: &str| folder.join("usr/bin").join(program).is_file();
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| !is_there(program) && !is_unpacked(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    say(&format!("xtask: missing here: {}; unpacking into {}", missing.join(" "), folder.display()));
    run(&mut apt("update"))?;
    for package in missing {
        let part = folder.join("part").join(package);
        let made =
            std::fs::remove_dir_all(&part).or_else(absent).and_then(|()| std::fs::create_dir_all(&part));
        made.map_err(|error| Failure(format!("xtask: make {}: {error}", part.display())))?;
        run(Command::new("apt-get").args(["download", package]).current_dir(&part))?;
        let files = std::fs::read_dir(&part).into_iter().flatten().filter_map(Result::ok);
        for file in files.map(|entry| entry.path()) {
            run(Command::new("dpkg-deb").arg("--extract").args([&file, folder]))?;
        }
    }
    Ok(())
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Installs clang, which compiles the eBPF program, unless there is one of any version.
pub(crate) fn install_compiler() -> Outcome {
    let versions = (11..=22).map(|version| format!("clang-{version}"));
    let is_one_there = std::env::var_os("CLANG").is_some()
        || versions.chain(["clang".to_owned()]).any(|name| is_there(&name));
    if is_one_there { Ok(()) } else { install(&[("clang", "clang")]) }
}

/// Whether we are the machine's root, or a user namespace's.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

fn apt(verb: &str) -> Command {
    let mut command = if is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg("apt-get");
        sudo
    };
    command.arg(verb).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Whether a program is in the path, or where a user's path often does not lead.
fn is_there(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|folder| Path::new(folder).join(program).is_file())
}
