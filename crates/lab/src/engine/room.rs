//! The room that an engine lives in: a mount namespace below its host's, whose root is the engine's own.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, chdir, fchdir, pivot_root};

use super::{cache, tools};
use crate::furniture::put;
use crate::namespaces;
use crate::topology::{Engine, Host, Iptables, Release};

/// What a host keeps of its engine: data, what was written to its root, its log.
pub(super) const STAGE: &str = "/run/engine";
/// What an engine may hold in memory: two databases' images and their data fit.
const STAGE_OPTIONS: &str = "mode=711,size=4g";
/// Where an engine's output goes.
const LOG: &str = "/run/engine/dockerd.log";
/// How much of the log is told when an engine does not come up.
const LOG_TAIL_BYTES: u64 = 2048;
/// Where the root is put together: any folder that every machine has, and that no mount below it is shared from.
const WORKSHOP: &str = "/tmp";
/// What dockerd finds its helpers by.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NOTHING: Option<&str> = None;

/// Prepares a host for an engine; runs in the host's namespaces.
pub(crate) fn furnish(host: &Host) -> Result<()> {
    // So that what the engine mounts below /run (its containers' network namespaces) is there for the agent too.
    mount(NOTHING, "/run", NOTHING, MsFlags::MS_SHARED, NOTHING).context("share /run")?;
    make_folder(STAGE)?;
    put("tmpfs", STAGE, MsFlags::empty(), Some(STAGE_OPTIONS))?;
    make_folder(&format!("{STAGE}/data"))?;
    make_folder("/etc/docker")?;
    fs::write("/etc/docker/daemon.json", host.daemon_json()).context("write /etc/docker/daemon.json")
}

/// Starts dockerd, in the mounts that it had before, or in new ones, which are returned beside its process. Runs
/// in the host's namespaces, on a thread that ends afterwards.
pub(crate) fn start(
    engine: &Engine,
    root: &Path,
    mounts: Option<&OwnedFd>,
    cgroup: &str,
) -> Result<(Pid, Option<OwnedFd>)> {
    tools::put(root, engine.iptables)?;
    let log = File::options().create(true).append(true).open(LOG).with_context(|| format!("open {LOG}"))?;
    let made = match mounts {
        Some(mounts) => {
            setns(mounts, CloneFlags::CLONE_NEWNS).context("join the engine's mounts")?;
            None
        }
        None => Some(
            make(&engine.release, root)
                .with_context(|| format!("put the root of {} together", engine.release))?,
        ),
    };
    choose_iptables(engine).context("choose the engine's iptables")?;
    let mut command = Command::new(cache::daemon(Path::new("/"))?);
    command.args(["--cgroup-parent", cgroup]).args(&engine.arguments);
    command.env_clear().env("PATH", PATH).env("HOME", "/root").current_dir("/");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: runs between fork and exec and makes one system call only.
    unsafe { command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?)) };
    let child = command.spawn().context("start dockerd")?;
    Ok((Pid::from_raw(i32::try_from(child.id())?), made))
}

/// The end of the log; runs in the host's namespaces.
pub(crate) fn last_words() -> String {
    let read = || -> io::Result<String> {
        let log = File::open(LOG)?;
        let length = log.metadata()?.len();
        let start = length.saturating_sub(LOG_TAIL_BYTES);
        let mut tail = vec![0; usize::try_from(length - start).unwrap_or(0)];
        log.read_exact_at(&mut tail, start)?;
        Ok(String::from_utf8_lossy(&tail).trim_end().to_owned())
    };
    match read() {
        Ok(words) if words.is_empty() => "it said nothing".into(),
        Ok(words) => format!("its last words:\n{words}"),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}

/// Goes into a new mount namespace with the engine's root.
fn make(release: &Release, root: &Path) -> Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let (upper, work) = (format!("{STAGE}/upper-{release}"), format!("{STAGE}/work-{release}"));
    make_folder(&upper)?;
    make_folder(&work)?;
    let options = format!("lowerdir={},upperdir={upper},workdir={work}", root.display());
    put("overlay", WORKSHOP, MsFlags::empty(), Some(&options))?;
    for path in ["/proc", "/sys", "/dev", "/run", "/etc/docker"] {
        bind(path, &format!("{WORKSHOP}{path}"))?;
    }
    bind(&format!("{STAGE}/data"), &format!("{WORKSHOP}/var/lib/docker"))?;
    for path in ["/etc/hosts", "/etc/hostname"] {
        let text = fs::read(path).with_context(|| format!("read {path}"))?;
        fs::write(format!("{WORKSHOP}{path}"), text)
            .with_context(|| format!("write {path} of the engine"))?;
    }
    let old = File::open("/").context("open the host's root")?;
    chdir(WORKSHOP).context("go to the root")?;
    pivot_root(".", ".").context("change the root")?;
    fchdir(&old).context("go back to the host's root")?;
    // Otherwise what is unmounted here is unmounted in the host as well, as far as it is below /run.
    mount(NOTHING, ".", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .context("part from the host's root")?;
    umount2(".", MntFlags::MNT_DETACH).context("let go of the host's root")?;
    chdir("/").context("go to the new root")?;
    namespaces::open("mnt")
}

fn bind(path: &str, target: &str) -> Result<()> {
    make_folder(target)?;
    mount(Some(path), target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
        .with_context(|| format!("mount {path} on {target}"))
}

/// As `update-alternatives` does it. This machine's own engine keeps what the machine has chosen, if not told.
fn choose_iptables(engine: &Engine) -> Result<()> {
    let word = match engine.iptables {
        Iptables::Nft if engine.release.as_str() == Release::MACHINE => return Ok(()),
        Iptables::Nft => "nft",
        Iptables::Legacy => "legacy",
    };
    for name in ["iptables", "ip6tables"] {
        for verb in ["", "-save", "-restore"] {
            let (link, to) =
                (format!("/etc/alternatives/{name}{verb}"), format!("/usr/sbin/{name}-{word}{verb}"));
            match fs::remove_file(&link) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => symlink(to, &link).with_context(|| format!("link {link}"))?,
            }
        }
    }
    Ok(())
}

fn make_folder(path: &str) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("make the folder {path}"))
}
