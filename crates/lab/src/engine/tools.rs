//! The engine's own programs for its host: `docker`, `iptables`, `nft` and their kin.
//!
//! A host's tools fit its engine as they would on a real machine: rules that one nft has made are read by the
//! same nft. The programs are in another root, with other libraries, so each is a line of shell that starts it
//! with the root's own loader; files and folders stay the host's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::room::STAGE;
use crate::topology::Iptables;

/// Where they are in a host: first in the path of everything that runs there.
pub(crate) const TOOLS: &str = "/run/engine/bin";
/// What Docker's client is told by: where its plugins are.
const CLIENT: &str = "/run/engine/client";
/// Programs, and where they are in a root.
const PROGRAMS: [(&str, &str); 4] = [
    ("docker", "usr/bin/docker"),
    ("dockerd", "usr/sbin/dockerd"),
    ("nft", "usr/sbin/nft"),
    ("conntrack", "usr/sbin/conntrack"),
];
/// Where a root may have compose.
const PLUGINS: [&str; 2] = ["usr/libexec/docker/cli-plugins", "usr/lib/docker/cli-plugins"];
/// Where the loader is, on one processor or the other.
const LOADERS: [&str; 2] = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"];

/// Puts the tools of a root into the host of this thread, instead of those that were there.
pub(super) fn put(root: &Path, iptables: Iptables) -> Result<()> {
    for folder in [TOOLS, CLIENT] {
        drop(fs::remove_dir_all(folder));
        fs::create_dir_all(folder).with_context(|| format!("make {folder}"))?;
    }
    let Some(loader) = LOADERS.iter().map(|path| root.join(path)).find(|path| path.is_file()) else {
        return Ok(()); // a root without a C library: all its programs are static
    };
    if root == Path::new("/") {
        return Ok(()); // they are in the path already
    }
    let tools = Tools { root, loader: &loader };
    for (name, path) in PROGRAMS.iter().filter(|(_, path)| root.join(path).is_file()) {
        tools.write(&format!("{TOOLS}/{name}"), path, "")?;
    }
    for (name, program) in xtables(iptables) {
        tools.write(&format!("{TOOLS}/{name}"), &format!("usr/sbin/{program}"), &name)?;
    }
    put_compose(root)
}

/// Compose is a client like any other: where a root has none, that of another root serves its engine as well.
fn put_compose(root: &Path) -> Result<()> {
    let others = root.parent().map(fs::read_dir).into_iter().flatten().flatten().filter_map(Result::ok);
    for root in [root.to_owned()].into_iter().chain(others.map(|entry| entry.path())) {
        let plugin = PLUGINS.iter().map(|plugins| format!("{plugins}/docker-compose"));
        let plugin = plugin.into_iter().find(|plugin| root.join(plugin).is_file());
        let loader = LOADERS.iter().map(|path| root.join(path)).find(|path| path.is_file());
        if let (Some(plugin), Some(loader)) = (plugin, loader) {
            let tools = Tools { root: &root, loader: &loader };
            return tools.write(&format!("{CLIENT}/cli-plugins/docker-compose"), &plugin, "");
        }
    }
    Ok(())
}

/// `iptables` is one of two programs; both also go by their full names.
fn xtables(iptables: Iptables) -> Vec<(String, &'static str)> {
    let default = if iptables == Iptables::Nft { "xtables-nft-multi" } else { "xtables-legacy-multi" };
    let mut all = Vec::new();
    for family in ["iptables", "ip6tables"] {
        for verb in ["", "-save", "-restore"] {
            all.push((format!("{family}{verb}"), default));
            all.push((format!("{family}-nft{verb}"), "xtables-nft-multi"));
            all.push((format!("{family}-legacy{verb}"), "xtables-legacy-multi"));
        }
    }
    all
}

struct Tools<'a> {
    root: &'a Path,
    loader: &'a Path,
}

impl Tools<'_> {
    fn write(&self, name: &str, program: &str, first: &str) -> Result<()> {
        let libraries = self.root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        let (root, loader, libraries) = (self.root.display(), self.loader.display(), libraries.display());
        let script = format!(
            "#!/bin/sh\nexport XTABLES_LIBDIR='{libraries}/xtables' DOCKER_CONFIG=\"${{DOCKER_CONFIG:-{CLIENT}}}\"\n\
             exec '{loader}' --library-path '{libraries}' '{root}/{program}' {first} \"$@\"\n"
        );
        if let Some(folder) = Path::new(name).parent() {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        fs::write(name, script).with_context(|| format!("write {name} below {STAGE}"))?;
        fs::set_permissions(name, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("make {name} a program"))
    }
}
