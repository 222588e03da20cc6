//! Images for engines that see no registry: folders of Debian programs as tar files, to be imported.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::{doing, remove};
use crate::{Failure, Outcome, run, say};

/// What a container needs beside its programs.
const FOLDERS: [&str; 6] = ["bin", "etc", "root", "tmp", "var/www", "proc"];

pub(super) fn are_made(cache: &Path, wants_mariadb: bool) -> bool {
    let is_there = |name: &str| cache.join("images").join(name).is_file();
    is_there("busybox.tar") && (!wants_mariadb || is_there("mariadb.tar"))
}

/// Makes those that are not there. Busybox comes with the older engine's root.
pub(super) fn make(cache: &Path, wants_mariadb: bool) -> Outcome {
    let images = cache.join("images");
    if !images.join("busybox.tar").is_file() {
        let folder = images.join("busybox.part");
        remove(&folder)?;
        let made = fill_busybox(&cache.join("roots/20.10/bin/busybox"), &folder);
        made.and_then(|()| pack(&folder, &images, "busybox"))?;
        remove(&folder)?;
    }
    if wants_mariadb && !images.join("mariadb.tar").is_file() {
        pack(&cache.join("roots/mariadb"), &images, "mariadb")?;
    }
    Ok(())
}

fn fill_busybox(program: &Path, folder: &Path) -> Outcome {
    for name in FOLDERS {
        doing("make", folder, fs::create_dir_all(folder.join(name)))?;
    }
    let bin = folder.join("bin");
    doing("copy", program, fs::copy(program, bin.join("busybox")))?;
    let listed = doing("run", program, Command::new(program).arg("--list").output())?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|applet| *applet != "busybox") {
        doing("link", &bin, symlink("busybox", bin.join(applet)))?;
    }
    let files = [("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"), ("etc/group", "root:x:0:\n")];
    files.iter().try_for_each(|(name, text)| doing("write", folder, fs::write(folder.join(name), text)))
}

/// Packed beside its place and then renamed: what is there is whole.
fn pack(folder: &Path, images: &Path, name: &str) -> Outcome {
    let (part, whole) = (images.join(format!("{name}.tar.part")), images.join(format!("{name}.tar")));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--numeric-owner", "--file"])
        .arg(&part)
        .arg("--directory")
        .arg(folder);
    run(tar.arg("."))?;
    doing("rename", &part, fs::rename(&part, &whole))?;
    let bytes =
        fs::metadata(&whole).map_err(|error| Failure(format!("xtask: see {name}.tar: {error}")))?.len();
    say(&format!("xtask: image {name}: {} MB", bytes >> 20));
    Ok(())
}
