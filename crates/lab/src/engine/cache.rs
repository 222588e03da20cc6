//! Where `cargo xtask engines` puts what it makes (`xtask/src/engines.rs` knows the same folders).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::topology::{Release, Topology};

/// Where a dockerd may be in a root: Debian's package, Docker's own, a static build.
const DAEMONS: [&str; 3] = ["usr/sbin/dockerd", "usr/bin/dockerd", "usr/local/bin/dockerd"];

/// The roots of engines and the images on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engines {
    folder: PathBuf,
}

impl Engines {
    /// Those of this user, below `$XDG_CACHE_HOME` or `~/.cache`.
    ///
    /// # Errors
    /// When neither is known.
    pub fn of_this_user() -> Result<Self> {
        let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        let base = base.context("neither XDG_CACHE_HOME nor HOME says where caches are")?;
        Ok(Self { folder: base.join("byway") })
    }

    /// The folder of all of it, in which others may keep what is costly to make as well.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The tar file of an image, `busybox` or `mariadb`, as `docker import` takes it.
    ///
    /// # Errors
    /// When it was not made.
    pub fn image(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join("images").join(format!("{name}.tar"));
        if path.is_file() {
            return Ok(path);
        }
        let option = if name == "busybox" { String::new() } else { format!(" --{name}") };
        bail!("there is no {} (`cargo xtask engines{option}` makes it)", path.display())
    }

    /// The root in which `MariaDB` is, server and client.
    ///
    /// # Errors
    /// When it was not made.
    pub fn mariadb(&self) -> Result<PathBuf> {
        let roots = self.folder.join("roots");
        // The stamp is written last: without it the root is half made.
        if roots.join("mariadb.stamp").is_file() {
            return Ok(roots.join("mariadb"));
        }
        bail!("there is no MariaDB in {} (`cargo xtask engines --mariadb` makes it)", roots.display())
    }

    /// Complains about the first engine of a topology that is not here.
    pub(crate) fn check(&self, topology: &Topology) -> Result<()> {
        for engine in topology.hosts.iter().filter_map(|host| host.engine.as_ref()) {
            self.root(&engine.release)?;
            self.image("busybox")?;
        }
        Ok(())
    }

    /// The root of a release.
    pub(crate) fn root(&self, release: &Release) -> Result<PathBuf> {
        if release.as_str() == Release::MACHINE {
            daemon(Path::new("/")).context(
                "this machine has no Docker engine of its own (`cargo xtask engines` makes 20.10 and 28.5)",
            )?;
            return Ok("/".into());
        }
        let roots = self.folder.join("roots");
        // The stamp is written last: without it the root is half made.
        if roots.join(format!("{release}.stamp")).is_file() {
            return Ok(roots.join(release.as_str()));
        }
        let here = self.here().join(", ");
        let here = if here.is_empty() { "there is none".into() } else { format!("there are: {here}") };
        bail!(
            "Docker {release} is not in {} (`cargo xtask engines` makes 20.10 and 28.5; {here})",
            roots.display()
        )
    }

    fn here(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.join("roots")).into_iter().flatten().filter_map(Result::ok);
        let releases = names.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".stamp")?.parse::<Release>().ok()
        });
        let mut releases: Vec<String> = releases.map(String::from).collect();
        releases.sort();
        releases
    }
}

/// The dockerd of a root.
pub(super) fn daemon(root: &Path) -> Result<PathBuf> {
    let found = DAEMONS.iter().map(|path| root.join(path)).find(|path| path.is_file());
    found.with_context(|| format!("there is no dockerd in {}", root.display()))
}
