//! Gives our route protocol its name, so that `ip route` says `proto byway` instead of a number.

use std::io;
use std::path::{Path, PathBuf};

use byway_fabric::observed::PROTOCOL;

/// Where iproute2 looks for names (`rt_protos.d/README`).
const FOLDER: &str = "/etc/iproute2/rt_protos.d";
const FILE: &str = "byway.conf";

/// What [`install`] is going to make, outermost first, for [`remove`]. It is remembered first: an agent that is
/// killed in between must not leave what nobody knows to be ours.
#[must_use]
pub fn missing() -> Vec<PathBuf> {
    let (folder, file) = (Path::new(FOLDER), Path::new(FOLDER).join(FILE));
    if std::fs::read_to_string(&file).is_ok_and(|present| present == text()) {
        return Vec::new();
    }
    let mut missing: Vec<PathBuf> =
        folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing.push(file);
    missing
}

/// Writes the name down.
///
/// # Errors
/// When it cannot be written; routes work all the same.
pub fn install() -> io::Result<()> {
    std::fs::create_dir_all(FOLDER)?;
    std::fs::write(Path::new(FOLDER).join(FILE), text())
}

fn text() -> String {
    format!("# put by byway, removed by `byway down`\n{PROTOCOL}\tbyway\n")
}

/// Removes what [`install`] made; a folder only if nothing else is in it by now.
pub fn remove(made: &[PathBuf]) {
    for path in made.iter().rev() {
        // What has gone already or is in use by others is as it should be.
        let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
    }
}
