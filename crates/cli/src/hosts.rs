//! `byway hosts` and `byway host add|key|remove`: the inventory, shown and edited; or the hosts in etcd.

mod rewrite;
mod shared;

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use byway_agent::keep::Settings;
use byway_agent::store::{self, Known};
use byway_fabric::cluster::{Host, HostName, PublicKey};
use byway_fabric::inventory::edit::{self, EditError, Edited, NewHost};
use byway_fabric::inventory::{self, INVENTORY_BYTES_MAX, Inventory};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::{Value, json};

use byway_fabric::config::Config;

use crate::complaint::Advised;
use crate::{settings, show};
use rewrite::Locked;

/// `byway host …`
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Add a host to the inventory or to etcd; nothing is written if it would contradict another
    Add(AddArgs),
    /// Give a host its public key, or another one
    Key(KeyArgs),
    /// Take a host out of the inventory, or out of etcd when it is gone
    #[command(alias = "rm")]
    Remove(RemoveArgs),
}

/// `byway host add`
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Its name, as `hostname` prints it there
    #[arg(value_parser = host_name)]
    name: HostName,
    /// Its own address, to which the other hosts send; one IPv4, one IPv6, or both. In etcd, without it, the subnet is
    /// only kept for the host until it comes
    #[arg(long = "address", value_name = "ADDRESS", value_delimiter = ',')]
    addresses: Vec<IpAddr>,
    /// The subnet of its containers, as 172.41.0.0/16; without it, the first free one of the prefixes
    #[arg(long = "subnet", value_name = "SUBNET", value_delimiter = ',')]
    subnets: Vec<IpNet>,
    /// Its public key, as `byway key` prints it there; it can be given later
    #[arg(long, value_name = "KEY")]
    key: Option<PublicKey>,
    /// Print the new text and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// `byway host key`
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Its name
    name: String,
    /// Its public key, as `byway key` prints it there
    key: PublicKey,
    /// Print the new text and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// `byway host remove`
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// Its name
    name: String,
    /// Print the new text and write nothing
    #[arg(long)]
    dry_run: bool,
}

fn host_name(text: &str) -> Result<HostName, byway_fabric::cluster::BadHostName> {
    HostName::try_from(text.to_owned())
}

/// Reads the inventory at `path`.
pub(crate) fn read(path: &Path) -> anyhow::Result<Inventory> {
    let name = path.display().to_string();
    let bytes = match bounded(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            let hint = "`byway host add` writes the first host; --inventory names another file".into();
            return Err(Advised { what: format!("there is no inventory {name}"), hint, cause: None }.into());
        }
        bytes => bytes.with_context(|| format!("read {name}"))?,
    };
    Ok(inventory::read_bytes(&name, &bytes)?)
}

/// The bytes of a file, one more than allowed at most: whoever reads them says that it is too long.
fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(INVENTORY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The cluster as this host knows it: the inventory as it is, or what its agent last heard from etcd.
pub(crate) fn known(settings: &Settings) -> anyhow::Result<Arc<Known>> {
    if settings.shared.is_some() {
        return Ok(Arc::clone(store::last_known(settings, Timestamp::now())?.known()));
    }
    let inventory = read(&settings.inventory)?;
    let me = inventory.host(settings.host.as_str())?.clone();
    Ok(Arc::new(Known { me, cluster: inventory.into_cluster() }))
}

/// `byway hosts`: lists the hosts of the inventory, or those in etcd.
pub(crate) fn list(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    if let Some(shared) = settings::shared(config)? {
        return shared::list(&shared, json);
    }
    let inventory = read(&config.inventory.value)?;
    if json {
        show::print_json(&list_json(&inventory))?;
    } else {
        show::print(&list_text(&inventory));
    }
    Ok(ExitCode::SUCCESS)
}

fn list_text(inventory: &Inventory) -> String {
    let row = |host: &Host| {
        let mark = if inventory.is_by_position(&host.name) { "by position" } else { "" };
        [host.name.to_string(), joined(&host.addresses), joined(&host.subnets), mark.to_owned()]
    };
    show::table(["HOST", "ADDRESSES", "SUBNETS", ""], inventory.cluster().hosts.iter().map(row))
}

fn list_json(inventory: &Inventory) -> Value {
    let host = |host: &Host| {
        json!({
            "name": host.name,
            "addresses": host.addresses,
            "subnets": host.subnets,
            "key": host.key,
            "by_position": inventory.is_by_position(&host.name),
        })
    };
    let hosts: Vec<Value> = inventory.cluster().hosts.iter().map(host).collect();
    json!({ "prefixes": inventory.cluster().prefixes, "hosts": hosts })
}

/// `byway host add|key|remove`: edits the inventory, as a whole and alone, or what etcd has.
pub(crate) fn edit(command: HostCommand, config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    if let Some(shared) = settings::shared(config)? {
        return shared::edit(command, &shared, json);
    }
    let path = &config.inventory.value;
    let done = match command {
        HostCommand::Add(args) => {
            if args.addresses.is_empty() {
                let what = format!("host {} needs an address, to which the others send", args.name);
                return Err(Advised { what, hint: "say --address".to_owned(), cause: None }.into());
            }
            let subnets = (!args.subnets.is_empty()).then_some(args.subnets);
            let new = NewHost { name: args.name, addresses: args.addresses, subnets, key: args.key };
            rewritten(path, args.dry_run, "added", |file, text| edit::add(file, text, new))?
        }
        HostCommand::Key(args) => {
            let set = |file: &str, text: &str| edit::set_key(file, text, &args.name, args.key);
            rewritten(path, args.dry_run, "changed", set)?
        }
        HostCommand::Remove(args) => {
            rewritten(path, args.dry_run, "removed", |file, text| edit::remove(file, text, &args.name))?
        }
    };
    if json {
        show::print_json(&done.json())?;
    } else {
        show::print(&done.text());
    }
    Ok(ExitCode::SUCCESS)
}

/// An edit that was done, or would be.
struct Done {
    verb: &'static str,
    file: String,
    edited: Edited,
    dry_run: bool,
}

fn rewritten(
    path: &Path,
    dry_run: bool,
    verb: &'static str,
    change: impl FnOnce(&str, &str) -> Result<Edited, EditError>,
) -> anyhow::Result<Done> {
    let file = path.display().to_string();
    let locked = Locked::open(path)?;
    let bytes = locked.read()?;
    let edited = change(&file, inventory::decode(&file, &bytes)?)?;
    if !dry_run {
        locked.replace(&edited.text)?;
    }
    Ok(Done { verb, file, edited, dry_run })
}

impl Done {
    fn text(&self) -> String {
        if self.dry_run { self.edited.text.clone() } else { self.sentences() }
    }

    fn sentences(&self) -> String {
        let host = &self.edited.host;
        let (addresses, subnets) = (joined(&host.addresses), joined(&host.subnets));
        let (verb, file, name) = (self.verb, &self.file, &host.name);
        let mut lines = vec![match (verb, &host.key) {
            ("changed", Some(key)) => format!("host {name} has key {key} in {file}"),
            ("added", _) => format!("added host {name} at {addresses} with {subnets} to {file}"),
            _ => format!("{verb} host {name} at {addresses} with {subnets} from {file}"),
        }];
        let written_back = self.edited.written_back.iter();
        lines.extend(written_back.map(|host| {
            format!("wrote out {} of host {}, until now by position", joined(&host.subnets), host.name)
        }));
        lines.push("copy the file to the other hosts: it is the same on all of them".into());
        lines.join("\n") + "\n"
    }

    fn json(&self) -> Value {
        let mut value = json!({
            "inventory": self.file,
            (self.verb): self.edited.host,
            "written_back": self.edited.written_back,
            "written": !self.dry_run,
        });
        if self.dry_run {
            value["text"] = self.edited.text.clone().into();
        }
        value
    }
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_POSITION: &str = "\
[cluster]
prefixes = [\"172.32.0.0/16\"]
[[host]]
name = \"a\"
addresses = [\"10.0.0.1\"]
";

    #[test]
    fn an_edit_says_what_it_did() {
        let (_folder, path) = inventory(BY_POSITION);
        let file = path.display();
        let done = add_b(&path, false);
        let expected = format!(
            "added host b at 10.0.0.2 with 172.32.1.0/24 to {file}\n\
             wrote out 172.32.0.0/24 of host a, until now by position\n\
             copy the file to the other hosts: it is the same on all of them\n"
        );
        assert_eq!(done.text(), expected);
        let expected = "\
HOST  ADDRESSES  SUBNETS
a     10.0.0.1   172.32.0.0/24
b     10.0.0.2   172.32.1.0/24
";
        assert_eq!(list_text(&read(&path).unwrap()), expected);
    }

    #[test]
    fn a_dry_run_shows_the_text_and_writes_nothing() {
        let (_folder, path) = inventory(BY_POSITION);
        let done = add_b(&path, true);
        assert!(done.text().ends_with("subnets = [\"172.32.1.0/24\"]\n"));
        assert_eq!(done.json()["written"], false);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), BY_POSITION);
        assert!(list_text(&read(&path).unwrap()).ends_with("172.32.0.0/24  by position\n"));
    }

    #[test]
    fn without_an_inventory_there_is_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.toml");
        let error = read(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("there is no inventory {}", path.display()));
    }

    fn add_b(path: &Path, dry_run: bool) -> Done {
        let name = host_name("b").unwrap();
        let new = NewHost { name, addresses: vec!["10.0.0.2".parse().unwrap()], subnets: None, key: None };
        rewritten(path, dry_run, "added", |file, text| edit::add(file, text, new)).unwrap()
    }

    fn inventory(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }
}
