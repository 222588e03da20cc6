//! Real Docker engines: one dockerd in each host, in a root file system of its own.
//!
//! ```text
//! host:    /run             tmpfs, shared with the engine's room: /run/docker.sock, /run/docker/netns …
//!          /run/engine      tmpfs: data (the data root), upper-28.5 (what is written to the root), bin, dockerd.log
//!          /etc/docker      the host's own, the engine sees it
//! room:    /                overlay of the cached root and /run/engine/upper-28.5: a mount namespace below the host's
//!          /var/lib/docker  /run/engine/data
//!          /proc /sys /dev  the host's
//! ```
//!
//! A data root in memory ends with the namespaces, so nothing of an engine is ever on a disk. Only control groups
//! have names on the machine (`byway-lab-NAME`): a keeper removes them when the holder has ended.

pub(crate) mod api;
mod cache;
pub(crate) mod cgroups;
pub(crate) mod ready;
pub(crate) mod room;
mod tools;

pub use cache::Engines;
pub(crate) use tools::TOOLS;
