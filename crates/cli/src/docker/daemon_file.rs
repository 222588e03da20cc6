//! Docker's own `daemon.json`: shown as it would be changed and, asked to, changed, with a backup beside it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use byway_agent::edge::docker::{Running, running};
use byway_agent::keep::Settings;
use byway_fabric::docker::daemon_json::{Change, set};
use clap::Args;
use serde_json::{Value, json};

use crate::complaint::Advised;
use crate::settings;
use crate::show::{FAINT, GOOD, HEAD, LOOK, print, print_json, styled};

/// The largest `daemon.json` that is read.
const BYTES_MAX: usize = 1 << 20;

/// Flags of commands that change the file.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Make the change, with a backup beside the file
    #[arg(long)]
    write: bool,
    /// Docker's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/docker/daemon.json")]
    file: PathBuf,
}

/// What is wanted of the file.
pub(super) struct Wanted {
    /// Keys and their values.
    pub(super) keys: Vec<(&'static str, Value)>,
    /// What is to be said where the file has them already, after its name.
    pub(super) already: &'static str,
    /// What is to be said of the restart that it needs, given what runs.
    pub(super) restart: fn(Option<&Running>) -> String,
    /// Keys whose value is somebody's choice: another one is not replaced.
    pub(super) not_replaced: &'static [&'static str],
}

/// Shows the change, or makes it.
pub(super) fn run(args: &FileArgs, wanted: &Wanted, settings: &Settings, json: bool) -> Result<ExitCode> {
    let before = read(&args.file)?;
    let (after, changes) =
        set(&before, &wanted.keys).with_context(|| format!("read {}", args.file.display()))?;
    refuse_to_replace(&changes, wanted, &args.file)?;
    let running = settings::runtime()?.block_on(running(&settings.docker.socket));
    let backup =
        (args.write && !changes.is_empty()).then(|| write(&args.file, &before, &after)).transpose()?;
    if json {
        print_json(&as_json(&changes, running.as_ref(), backup.as_deref()))?;
    } else {
        print(&text(args, wanted, &changes, running.as_ref(), backup.as_deref()));
    }
    Ok(ExitCode::SUCCESS)
}

fn refuse_to_replace(changes: &[Change], wanted: &Wanted, file: &Path) -> Result<()> {
    let chosen =
        |change: &&Change| change.from.is_some() && wanted.not_replaced.contains(&change.key.as_str());
    let Some(Change { key, from: Some(from), to }) = changes.iter().find(chosen) else { return Ok(()) };
    Err(Advised {
        what: format!("{} has {key} = {from}, and Byway needs {to}", file.display()),
        hint: "Docker takes one value only: whoever set it must change it; nothing was written".to_owned(),
        cause: None,
    }
    .into())
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

fn text(
    args: &FileArgs,
    wanted: &Wanted,
    changes: &[Change],
    running: Option<&Running>,
    backup: Option<&Path>,
) -> String {
    let file = args.file.display();
    if changes.is_empty() {
        return format!("{}\n", styled(GOOD, format!("{file} {}", wanted.already)));
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
    text + &containers(running) + &(wanted.restart)(running)
}

/// What runs now, if anything does.
fn containers(running: Option<&Running>) -> String {
    let containers = running.map(|running| running.containers.as_slice()).unwrap_or_default();
    if containers.is_empty() {
        return String::new();
    }
    let count = if containers.len() == 1 {
        "1 container runs:".to_owned()
    } else {
        format!("{} containers run:", containers.len())
    };
    format!("{} {}\n", styled(LOOK, count), containers.join(", "))
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
