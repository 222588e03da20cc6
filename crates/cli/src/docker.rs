//! `byway docker bip`: gives docker0 this host's subnet, as the seeds did by hand, in Docker's own `daemon.json`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use byway_agent::edge::docker::{Running, running};
use byway_fabric::cluster::Host;
use byway_fabric::docker::daemon_json::{Change, set};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::complaint::Advised;
use crate::show::{FAINT, GOOD, HEAD, LOOK, print, print_json, styled};
use crate::{hosts, settings};

/// The largest `daemon.json` that is read.
const BYTES_MAX: usize = 1 << 20;

/// `byway docker …`
#[derive(Debug, Subcommand)]
pub(crate) enum DockerCommand {
    /// Show what docker0 needs in daemon.json to hold this host's subnet; changes nothing without --write
    Bip(BipArgs),
}

/// `byway docker bip`
#[derive(Debug, Args)]
pub(crate) struct BipArgs {
    /// Make the change, with a backup beside the file
    #[arg(long)]
    write: bool,
    /// Docker's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/docker/daemon.json")]
    file: PathBuf,
}

pub(crate) fn run(
    command: &DockerCommand,
    inventory: &Path,
    host: &str,
    socket: &Path,
    json: bool,
) -> Result<ExitCode> {
    let DockerCommand::Bip(args) = command;
    let inventory = hosts::read(inventory)?;
    let host = inventory.host(host)?;
    let before = read(&args.file)?;
    let (after, changes) =
        set(&before, &wanted(host)?).with_context(|| format!("read {}", args.file.display()))?;
    let running = settings::runtime()?.block_on(running(socket));
    let backup =
        (args.write && !changes.is_empty()).then(|| write(&args.file, &before, &after)).transpose()?;
    if json {
        print_json(&as_json(&changes, running.as_ref(), backup.as_deref()))?;
    } else {
        print(&text(args, &changes, running.as_ref(), backup.as_deref()));
    }
    Ok(ExitCode::SUCCESS)
}

/// The keys by which docker0 holds the first subnet of each family; its address is the subnet's first.
fn wanted(host: &Host) -> Result<Vec<(&'static str, Value)>> {
    let subnet = |ipv6: bool| host.subnets.iter().find(|net| net.addr().is_ipv6() == ipv6);
    let mut wanted = Vec::new();
    if let Some(IpNet::V4(v4)) = subnet(false) {
        let gateway = v4.hosts().next().context("a subnet without an address")?;
        wanted.push(("bip", json!(format!("{gateway}/{}", v4.prefix_len()))));
    }
    if let Some(v6) = subnet(true) {
        wanted.extend([("ipv6", json!(true)), ("fixed-cidr-v6", json!(v6.to_string()))]);
    }
    Ok(wanted)
}

/// The file as it is; one that is not there is empty.
fn read(file: &Path) -> Result<String> {
    let reading = || format!("read {}", file.display());
    match byway_agent::edge::inventory_file::read(file, BYTES_MAX) {
        Ok(bytes) => {
            ensure!(bytes.len() <= BYTES_MAX, "{}: it has more than {BYTES_MAX} bytes", reading());
            String::from_utf8(bytes).with_context(reading)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(reading),
    }
}

/// Puts the new text in the place of the old, once dockerd finds it good; returns where the old one is kept.
fn write(file: &Path, before: &str, after: &str) -> Result<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writing = || format!("write {}", file.display());
    std::fs::create_dir_all(folder).with_context(writing)?;
    let mut fresh = tempfile::NamedTempFile::new_in(folder).with_context(writing)?;
    fresh.write_all(after.as_bytes()).and_then(|()| fresh.as_file().sync_all()).with_context(writing)?;
    validate(fresh.path())?;
    let backup = file.with_extension("json.before-byway");
    if file.exists() {
        let mode = std::fs::metadata(file).with_context(writing)?.permissions();
        std::fs::set_permissions(fresh.path(), mode).with_context(writing)?;
        std::fs::write(&backup, before).with_context(|| format!("write {}", backup.display()))?;
    } else {
        std::fs::set_permissions(fresh.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .with_context(writing)?;
    }
    fresh.persist(file).with_context(writing)?;
    Ok(backup)
}

/// Asks dockerd, where there is one that can be asked (23.0 and later). What it also says of an empty file is about
/// the machine, not about ours: Debian's 28.5 does not find its own docker-proxy when it only validates.
fn validate(file: &Path) -> Result<()> {
    let Some(said) = complaint_about(file) else { return Ok(()) };
    let empty = tempfile::NamedTempFile::new().context("make a temporary file")?;
    std::fs::write(empty.path(), "{}").context("write a temporary file")?;
    let without_name = |said: &str, file: &Path| said.replace(&file.display().to_string(), "FILE");
    if complaint_about(empty.path()).map(|of_empty| without_name(&of_empty, empty.path()))
        == Some(without_name(&said, file))
    {
        return Ok(());
    }
    Err(Advised {
        what: format!("dockerd would not start with it: {}", said.trim()),
        hint: "nothing was written".to_owned(),
        cause: None,
    }
    .into())
}

/// What dockerd has against a configuration; nothing if it is good, or there is no dockerd that can tell.
fn complaint_about(file: &Path) -> Option<String> {
    let output = Command::new("dockerd").args(["--validate", "--config-file"]).arg(file).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success() && !said.contains("unknown flag: --validate")).then_some(said)
}

fn text(args: &BipArgs, changes: &[Change], running: Option<&Running>, backup: Option<&Path>) -> String {
    let file = args.file.display();
    if changes.is_empty() {
        return format!("{}\n", styled(GOOD, format!("{file} gives docker0 this host's subnet already")));
    }
    let verb = if backup.is_some() { "changed" } else { "would change" };
    let mut text = format!("{}\n", styled(HEAD, format!("{file} {verb}")));
    for Change { key, from, to } in changes {
        let was = from.as_ref().map_or_else(|| "not there".to_owned(), ToString::to_string);
        text += &format!("  {key} = {to}  {}\n", styled(FAINT, format!("was {was}")));
    }
    match backup {
        Some(backup) if backup.exists() => text += &format!("the file from before is {}\n", backup.display()),
        Some(_) => {}
        None => text += "nothing was written; --write does it\n",
    }
    text + &restart(running)
}

/// What must happen so that docker0 has it. dockerd gives docker0 another address only when it starts with no
/// container running; with live-restore and running containers it keeps the old one (tried on 28.5.2).
fn restart(running: Option<&Running>) -> String {
    let Some(running) = running else {
        return "Docker does not run here (or may not be asked): docker0 gets it when Docker starts\n"
            .to_owned();
    };
    let containers = &running.containers;
    if containers.is_empty() {
        return "docker0 gets it after `systemctl restart docker`; no container runs\n".to_owned();
    }
    let list = containers.join(", ");
    let how = if running.live_restore {
        "docker0 gets it only when Docker starts with no container running, and live-restore keeps them: stop them \
         first, then `systemctl restart docker`"
    } else {
        "docker0 gets it after `systemctl restart docker`, which stops them"
    };
    format!("{} {list}\n{how}\n", styled(LOOK, format!("{} containers run:", containers.len())))
}

fn as_json(changes: &[Change], running: Option<&Running>, backup: Option<&Path>) -> Value {
    let changes: Vec<Value> = changes
        .iter()
        .map(|change| json!({ "key": change.key, "from": change.from, "to": change.to }))
        .collect();
    json!({
        "changes": changes,
        "written": backup.is_some(),
        "backup": backup.filter(|backup| backup.exists()),
        "running": running.map(|running| &running.containers),
        "live_restore": running.map(|running| running.live_restore),
    })
}
