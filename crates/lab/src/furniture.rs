//! What a node finds in its file system: `/etc`, `/run`, `/var/lib`, `/sys`, its name.
//!
//! Nothing of it is on the machine's disks. The holder's mount namespace has a tmpfs on `/run`; each host's
//! changes to `/etc` and `/var/lib` go to folders in it, through an overlay, and a fresh `/run` hides it:
//!
//! ```text
//! holder:  /run           tmpfs     NAME/etc NAME/lib (and the overlays' work folders)
//! host:    /etc           overlay   of the machine's and /run/NAME/etc
//!          /var/lib       overlay   of the machine's and /run/NAME/lib
//!          /sys           sysfs     of the host's network namespace, the machine's cgroups in it
//!          /run           tmpfs     for the host alone
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Context, Result, bail};
use byway_agent::key;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::unistd::sethostname;

use crate::engine::room;
use crate::topology::{Host, SWITCH, Topology};

/// Where the holder keeps what hosts write, and then each node its own.
const RUN: &str = "/run";
/// All that hosts may write to `/etc` and `/var/lib` together: an agent writes some KiB.
const STAGE_OPTIONS: &str = "mode=755,size=1g";
/// What one node may write to `/run`: bounds an agent's log too.
const RUN_OPTIONS: &str = "mode=755,size=64m";
/// Where an agent says that it is ready.
pub(crate) const NOTIFY_SOCKET: &str = "/run/lab-notify";
/// Where an agent's output goes.
pub(crate) const AGENT_LOG: &str = "/run/byway/agent.log";

/// Whether the mounts are made with or without the machine's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// The machine's root: no user namespace.
    Root,
    /// Anyone, as root of a user namespace.
    User,
}

/// Prepares the holder's mount namespace: after this nothing that is mounted is seen by the machine.
pub(crate) fn furnish_holder() -> Result<()> {
    // Slave, not private: a disk that the machine unmounts must not be kept busy by the lab.
    remount("/", MsFlags::MS_REC | MsFlags::MS_SLAVE)?;
    let sealed = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    put("proc", "/proc", sealed, None).context("a fresh /proc: in a container without root it is refused")?;
    put("tmpfs", RUN, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(STAGE_OPTIONS))?;
    sethostname(SWITCH).context("set the host name")?;
    put_sys(&format!("{RUN}/{SWITCH}/sys"))
}

/// Writes the hosts file that containers and routers share.
pub(crate) fn write_shared(topology: &Topology) -> Result<()> {
    write(&format!("{RUN}/hosts"), &hosts_file(topology))
}

/// Makes a key for each host, where its agent will find it, and returns the inventory that lists them.
pub(crate) fn make_keys(topology: &Topology) -> Result<String> {
    let mut keys = BTreeMap::new();
    for host in &topology.hosts {
        let state = format!("{RUN}/{}/lib/byway", host.name);
        let (identity, _) = key::load_or_make(Path::new(&state)).with_context(|| host.name.clone())?;
        keys.insert(host.name.as_str(), identity.public());
    }
    Ok(topology.inventory_with(|name| keys.get(name).copied())?)
}

/// All agents of this lab try each other, and each that is tried takes a place in the kernel's table of neighbours, which
/// all namespaces of a machine share: 1,024 of each family, of which those above 512 are soon thrown out (`arp(7)`).
const HOSTS_THAT_TRY_EACH_OTHER_MAX: usize = 22;

/// The agent's settings.
fn settings(host: &Host, topology: &Topology) -> String {
    let name = format!("host = \"{}\"\n", host.name);
    if topology.hosts.len() > HOSTS_THAT_TRY_EACH_OTHER_MAX { name + "health = \"off\"\n" } else { name }
}

/// Furnishes the host's namespaces, from inside them. The socket is where its agent says that it is ready.
pub(crate) fn furnish_host(
    host: &Host,
    topology: &Topology,
    inventory: &str,
    privilege: Privilege,
) -> Result<UnixDatagram> {
    sethostname(&host.name).context("set the host name")?;
    let stage = format!("{RUN}/{}", host.name);
    write(&format!("{stage}/etc/byway/byway.toml"), &settings(host, topology))?;
    write(&format!("{stage}/etc/byway/inventory.toml"), inventory)?;
    write(&format!("{stage}/etc/hosts"), &hosts_file(topology))?;
    write(&format!("{stage}/etc/hostname"), &format!("{}\n", host.name))?;
    // Without root, what only the machine's /etc has cannot be written to: its owner is nobody here.
    make_folder(&format!("{stage}/etc/iproute2/rt_protos.d"))?;
    overlay("/etc", &format!("{stage}/etc"), privilege)?;
    overlay("/var/lib", &format!("{stage}/lib"), privilege)?;
    put_sys(&format!("{stage}/sys"))?;
    put_run()?;
    make_folder("/run/byway")?;
    if host.engine.is_some() {
        room::furnish(host).context("prepare it for a Docker engine")?;
    }
    UnixDatagram::bind(NOTIFY_SOCKET).with_context(|| format!("bind {NOTIFY_SOCKET}"))
}

/// Furnishes a container's or a router's namespaces, from inside them.
pub(crate) fn furnish_other(name: &str) -> Result<()> {
    sethostname(name).context("set the host name")?;
    if Path::new("/etc/hosts").exists() {
        let hosts = format!("{RUN}/hosts");
        mount(Some(hosts.as_str()), "/etc/hosts", NOTHING, MsFlags::MS_BIND, NOTHING)
            .context("mount /etc/hosts")?;
    }
    put("sysfs", "/sys", MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, None)?;
    put_run()
}

/// Sets what must be set before a namespace has its first wire.
///
/// A new namespace has the machine's IPv4 forwarding, not a fresh host's. And a link-local address that is
/// still being checked for duplicates cannot ask for neighbours: a router would drop the packets of its first
/// two seconds, so nothing is checked.
pub(crate) fn set_kernel(forwarding: Forwarding) -> Result<()> {
    let forwarding = if forwarding == Forwarding::On { "1" } else { "0" };
    let settings = [
        ("/proc/sys/net/ipv4/ip_forward", forwarding),
        ("/proc/sys/net/ipv6/conf/all/forwarding", forwarding),
        ("/proc/sys/net/ipv6/conf/default/accept_dad", "0"),
    ];
    for (path, wanted) in settings {
        let is = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue, // a kernel without IPv6
            Err(error) => return Err(error).with_context(|| format!("read {path}")),
        };
        if is.trim() != wanted {
            fs::write(path, wanted).with_context(|| format!("write {path}"))?;
        }
    }
    Ok(())
}

/// Whether packets for others are passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forwarding {
    /// As a router does.
    On,
    /// As a fresh host does: its agent turns it on.
    Off,
}

const NOTHING: Option<&str> = None;

fn hosts_file(topology: &Topology) -> String {
    let mut lines =
        vec!["127.0.0.1 localhost".to_owned(), "::1 localhost ip6-localhost ip6-loopback".to_owned()];
    let routers = topology.routers.iter().map(|router| (&router.name, &router.addresses));
    let hosts = topology.hosts.iter().map(|host| (&host.name, &host.addresses));
    let containers = topology.hosts.iter().flat_map(|host| &host.containers);
    for (name, addresses) in routers.chain(hosts).chain(containers.map(|c| (&c.name, &c.addresses))) {
        lines.extend(addresses.iter().map(|address| format!("{address} {name}")));
    }
    lines.join("\n") + "\n"
}

fn overlay(over: &str, upper: &str, privilege: Privilege) -> Result<()> {
    let work = format!("{upper}.work");
    make_folder(upper)?;
    make_folder(&work)?;
    // Only the machine's root may use the attributes in which overlayfs keeps its notes by default.
    let user = if privilege == Privilege::User { ",userxattr" } else { "" };
    put(
        "overlay",
        over,
        MsFlags::empty(),
        Some(&format!("lowerdir={over},upperdir={upper},workdir={work}{user}")),
    )
}

/// A sysfs shows the network namespace in which it is mounted; the machine's cgroups are hung into it.
fn put_sys(stage: &str) -> Result<()> {
    make_folder(stage)?;
    put("sysfs", stage, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC, None)?;
    let cgroup = format!("{stage}/fs/cgroup");
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("/sys/fs/cgroup"), cgroup.as_str(), NOTHING, bind, NOTHING)
        .with_context(|| format!("mount {cgroup}"))?;
    mount(Some(stage), "/sys", NOTHING, MsFlags::MS_MOVE, NOTHING).context("move the sysfs to /sys")
}

/// Gives a container's network namespace a name on its host, where `ip netns` looks for it.
pub(crate) fn name_container(name: &str, net: BorrowedFd<'_>) -> Result<()> {
    let folder = format!("{RUN}/netns");
    make_folder(&folder)?;
    let (file, from) = (format!("{folder}/{name}"), format!("/proc/self/fd/{}", net.as_raw_fd()));
    fs::write(&file, "").with_context(|| format!("write {file}"))?;
    mount(Some(from.as_str()), file.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("mount {file}"))
}

fn put_run() -> Result<()> {
    put("tmpfs", RUN, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(RUN_OPTIONS))
}

pub(crate) fn put(kind: &str, target: &str, flags: MsFlags, options: Option<&str>) -> Result<()> {
    match mount(Some(kind), target, Some(kind), flags, options) {
        Ok(()) => Ok(()),
        Err(Errno::ENODEV) => bail!("mount {kind} on {target}: this kernel has no {kind}"),
        Err(error) => Err(error).with_context(|| format!("mount {kind} on {target}")),
    }
}

fn remount(target: &str, flags: MsFlags) -> Result<()> {
    mount(NOTHING, target, NOTHING, flags, NOTHING)
        .with_context(|| format!("make the mounts under {target} our own"))
}

fn make_folder(path: &str) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("make the folder {path}"))
}

fn write(path: &str, text: &str) -> Result<()> {
    if let Some(folder) = Path::new(path).parent().and_then(Path::to_str) {
        make_folder(folder)?;
    }
    fs::write(path, text).with_context(|| format!("write {path}"))
}
