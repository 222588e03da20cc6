//! Gives our route protocol its name, so that `ip route` says `proto byway` instead of a number.

use std::io;
use std::path::{Path, PathBuf};

use byway_fabric::observed::PROTOCOL;

/// Where iproute2 looks for names (`rt_protos.d/README`).
const FOLDER: &str = "/etc/iproute2/rt_protos.d";
const FILE: &str = "byway.conf";

/// Writes the name down; returns what did not exist before, outermost first, for [`remove`].
///
/// # Errors
/// When it cannot be written; routes work all the same.
pub fn install() -> io::Result<Vec<PathBuf>> {
    let folder = Path::new(FOLDER);
    let file = folder.join(FILE);
    let text = format!("# put by byway, removed by `byway down`\n{PROTOCOL}\tbyway\n");
    if std::fs::read_to_string(&file).is_ok_and(|present| present == text) {
        return Ok(Vec::new());
    }
    let mut made: Vec<PathBuf> =
        folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    made.reverse();
    std::fs::create_dir_all(folder)?;
    std::fs::write(&file, text)?;
    made.push(file);
    Ok(made)
}

/// Removes what [`install`] made; a folder only if nothing else is in it by now.
pub fn remove(made: &[PathBuf]) {
    for path in made.iter().rev() {
        // What has gone already or is in use by others is as it should be.
        let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
    }
}
