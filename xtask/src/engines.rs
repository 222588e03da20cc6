//! Real Docker engines for the lab: each a Debian root of its own below the cache, and images without a registry.
//!
//! ```text
//! ~/.cache/byway/roots/20.10    Debian 12 with its docker.io      roots/20.10.stamp   the recipe it was made by
//!                roots/28.5     Debian forky with its docker.io   roots/NAME.part     one that is being made
//!                images/busybox.tar                               lock                held while anything is made
//! ```
//!
//! Nothing is installed on the machine but debootstrap. What is there with the right stamp is left alone; what
//! was broken off is made anew. The lab knows the folder as well (`crates/lab/src/engine/cache.rs`).

mod images;
mod mirror;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::{Failure, Outcome, packages, say};

/// What makes roots, and the keys that its downloads are checked with.
const PROGRAMS: [(&str, &str); 4] = [
    ("debootstrap", "debootstrap"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    (KEYRING, "debian-archive-keyring"),
];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The script by which every Debian suite of these years is made; an older debootstrap has no link for forky.
const SCRIPT: &str = "/usr/share/debootstrap/scripts/sid";
/// What debootstrap says when it has no key for a suite.
const KEY_MISSING: &str = "unknown key";
/// What nobody reads in a root, a third of it.
const SUPERFLUOUS: [&str; 5] =
    ["var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"];

/// A Debian root: what it is called, where it comes from, what is in it.
struct Recipe {
    name: &'static str,
    suite: &'static str,
    packages: &'static str,
    /// A program of it, and how its `--version` begins.
    says: (&'static str, &'static str),
}

const ENGINES: [Recipe; 2] = [
    Recipe {
        name: "20.10",
        suite: "bookworm",
        packages: "docker.io,iptables,nftables,conntrack,iproute2,busybox-static,firewalld,dbus,libpam-systemd",
        says: ("dockerd", "Docker version 20.10."),
    },
    Recipe {
        name: "28.5",
        suite: "forky",
        packages: "docker.io,docker-cli,docker-compose,iptables,nftables,conntrack,iproute2,firewalld,dbus,libpam-systemd",
        says: ("dockerd", "Docker version 28.5."),
    },
];

const MARIADB: Recipe = Recipe {
    name: "mariadb",
    suite: "bookworm",
    packages: "mariadb-server,mariadb-client,iproute2,iputils-ping",
    says: ("mariadbd", "mariadbd  Ver 10.11."),
};

/// Makes what is not there yet.
pub(crate) fn set_up(wants_mariadb: bool) -> Outcome {
    let begun = Instant::now();
    let cache = cache()?;
    let recipes: Vec<&Recipe> = ENGINES.iter().chain(wants_mariadb.then_some(&MARIADB)).collect();
    let is_complete =
        || recipes.iter().all(|one| is_made(&cache, one)) && images::are_made(&cache, wants_mariadb);
    if is_complete() {
        say(&format!("xtask: Docker engines 20.10 and 28.5 are in {}", cache.display()));
        return Ok(());
    }
    if !packages::is_root() {
        let folder = cache.display();
        return Err(Failure(format!(
            "xtask: making Docker engines needs root: `sudo --preserve-env=HOME,XDG_CACHE_HOME,PATH cargo xtask \
             engines` makes them in {folder}"
        )));
    }
    packages::install(&PROGRAMS)?;
    let lock = lock(&cache)?;
    // Somebody else may have made it all while we waited.
    let missing: Vec<&Recipe> = recipes.into_iter().filter(|one| !is_made(&cache, one)).collect();
    make_all(&cache, &missing, &lock)?;
    images::make(&cache, wants_mariadb)?;
    say(&format!("xtask: Docker engines are ready after {} s", begun.elapsed().as_secs()));
    Ok(())
}

/// Where the lab looks for it too.
/// The folder of all that is costly to make.
pub(crate) fn cache() -> Result<PathBuf, Failure> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
    let base =
        base.ok_or_else(|| Failure("xtask: neither XDG_CACHE_HOME nor HOME says where caches are".into()))?;
    Ok(base.join("byway"))
}

/// One at a time: whoever comes second waits, and then finds it made.
fn lock(cache: &Path) -> Result<File, Failure> {
    for folder in ["roots", "images"] {
        doing("make", cache, fs::create_dir_all(cache.join(folder)))?;
    }
    let path = cache.join("lock");
    let file = doing(
        "open",
        &path,
        File::options().create(true).truncate(false).read(true).write(true).open(&path),
    )?;
    if file.try_lock().is_err() {
        say("xtask: somebody else is making Docker engines; waiting for that");
        doing("lock", &path, file.lock())?;
    }
    Ok(file)
}

/// All at the same time: most of it is waiting for the mirror.
fn make_all(cache: &Path, recipes: &[&Recipe], lock: &File) -> Outcome {
    thread::scope(|scope| {
        let make = |recipe| scope.spawn(move || make(cache, recipe, lock));
        let threads: Vec<_> = recipes.iter().copied().map(make).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure("xtask: a thread panicked".into())))
        })
    })
}

fn make(cache: &Path, recipe: &Recipe, lock: &File) -> Outcome {
    let begun = Instant::now();
    let root = cache.join("roots").join(recipe.name);
    let part = cache.join("roots").join(format!("{}.part", recipe.name));
    let Recipe { name, suite, packages, .. } = recipe;
    say(&format!("xtask: {name}: Debian {suite} with {packages} (150 MB to download)"));
    for old in [&root, &part] {
        remove(old)?;
    }
    debootstrap(recipe, &part, lock)?;
    for folder in SUPERFLUOUS {
        remove(&part.join(folder))?;
    }
    check_version(recipe, &part)?;
    doing("rename", &part, fs::rename(&part, &root))?;
    let stamp = stamp_of(cache, recipe);
    doing("write", &stamp, fs::write(&stamp, stamp_text(recipe)))?;
    say(&format!("xtask: {name}: made in {} s", begun.elapsed().as_secs()));
    Ok(())
}

fn debootstrap(recipe: &Recipe, root: &Path, lock: &File) -> Outcome {
    let keyring = format!("--keyring={KEYRING}");
    let Err(said) = debootstrap_with(recipe, root, lock, &keyring)? else { return Ok(()) };
    if !said.contains(KEY_MISSING) {
        return Err(Failure(format!("xtask: debootstrap of {} failed:\n{said}", recipe.suite)));
    }
    say(&format!("xtask: {KEYRING} has no key for Debian {}, so its packages are NOT CHECKED", recipe.suite));
    remove(root)?;
    debootstrap_with(recipe, root, lock, "--no-check-gpg")?
        .map_err(|said| Failure(format!("xtask: debootstrap of {} failed:\n{said}", recipe.suite)))
}

/// Runs it; if it fails, what it said last.
fn debootstrap_with(
    recipe: &Recipe,
    root: &Path,
    lock: &File,
    keys: &str,
) -> Result<Result<(), String>, Failure> {
    let log = root.with_extension("log");
    let file = doing("write", &log, File::create(&log))?;
    let mut command = Command::new("setpriv");
    // It ends with us, and its mounts below the root with it, so that the root can be removed.
    command.args(["--pdeathsig", "KILL", "unshare"]);
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--",
        "debootstrap",
        "--variant=minbase",
        keys,
    ]);
    command.arg(format!("--include={}", recipe.packages)).arg(recipe.suite).arg(root);
    command.args([&mirror::debian(), SCRIPT]);
    // While it runs it holds the lock too, should we be killed.
    command.stdin(doing("share", &log, lock.try_clone())?).stderr(doing("share", &log, file.try_clone())?);
    command.stdout(Stdio::from(file)).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    let status = command.status().map_err(|error| Failure(format!("xtask: start debootstrap: {error}")))?;
    let said = fs::read_to_string(&log).unwrap_or_default();
    if status.success() {
        remove(&log)?;
        return Ok(Ok(()));
    }
    let lines: Vec<&str> = said.lines().collect();
    Ok(Err(lines[lines.len().saturating_sub(20)..].join("\n")))
}

fn check_version(recipe: &Recipe, root: &Path) -> Outcome {
    let (program, expected) = recipe.says;
    let out = Command::new("chroot").arg(root).args([program, "--version"]).output();
    let out = out.map_err(|error| Failure(format!("xtask: start chroot: {error}")))?;
    let said = String::from_utf8_lossy(&out.stdout);
    if said.starts_with(expected) {
        return Ok(());
    }
    Err(Failure(format!(
        "xtask: {program} of Debian {} says {:?}, not {expected:?}: the suite has moved on; a mirror of its \
         earlier state (snapshot.debian.org) as `deb` line in /etc/apt/sources.list.d brings it back",
        recipe.suite,
        said.trim()
    )))
}

fn is_made(cache: &Path, recipe: &Recipe) -> bool {
    fs::read_to_string(stamp_of(cache, recipe)).is_ok_and(|text| text == stamp_text(recipe))
}

fn stamp_of(cache: &Path, recipe: &Recipe) -> PathBuf {
    cache.join("roots").join(format!("{}.stamp", recipe.name))
}

fn stamp_text(recipe: &Recipe) -> String {
    format!("{} {}\n", recipe.suite, recipe.packages)
}

fn remove(path: &Path) -> Outcome {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => doing("remove", path, Err(error)),
        _ => Ok(()),
    }
}

fn doing<T>(what: &str, path: &Path, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure(format!("xtask: {what} {}: {error}", path.display())))
}
