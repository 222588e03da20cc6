//! Where a capture listens: interfaces that somebody names, those of containers, and all that cluster traffic passes.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use byway_fabric::docker::Endpoint;

use crate::edge::cables::Plugged;
use crate::edge::look;
use crate::edge::netlink::{Netlink, NetlinkError};
use crate::edge::netns;
use crate::edge::ring::{Options, Ring, RingError};
use crate::edge::watch::WatchError;
use crate::once::OnTheWay;
use crate::trace::search::is_named;

/// How many names an error lists: a screen full.
const NAMES_TOLD_MAX: usize = 40;

/// An interface to listen to.
#[derive(Debug, Clone)]
pub struct Post {
    /// What it is called in what is shown: `eth0`, `web/eth0`.
    pub name: String,
    /// What it is, where its name does not tell.
    pub description: Option<String>,
    interface: String,
    inside: Option<Inside>,
    /// Whether somebody asked for this very interface, and not for something that it belongs to.
    is_named: bool,
}

/// The network namespace of a container, held open.
#[derive(Debug, Clone)]
struct Inside {
    inode: u64,
    namespace: Arc<OwnedFd>,
}

/// Why there is nowhere to listen.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// This host has no such container.
    #[error("there is no container {name} with a cable on this host")]
    NoContainer {
        /// Which.
        name: String,
        /// Those that there are.
        there: Vec<String>,
    },
    /// This host has no such interface.
    #[error("there is no interface {name} here")]
    NoInterface {
        /// Which.
        name: String,
        /// Those that there are.
        there: Vec<String>,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// A container's interfaces cannot be listed.
    #[error("list the interfaces of the container {name}")]
    Links {
        /// Which.
        name: String,
        /// Why.
        #[source]
        cause: NetlinkError,
    },
    /// A container cannot be looked into.
    #[error(transparent)]
    Namespace(#[from] netns::NamespaceError),
    /// The interface is there and cannot be listened to.
    #[error(transparent)]
    Ring(#[from] RingError),
}

impl PostError {
    /// What there is instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoContainer { there, .. } | Self::NoInterface { there, .. } if there.is_empty() => {
                Some("there are none at all".to_owned())
            }
            Self::NoContainer { there, .. } | Self::NoInterface { there, .. } => {
                let told =
                    there.iter().take(NAMES_TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
                let rest = there.len().saturating_sub(NAMES_TOLD_MAX);
                let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
                Some(format!("these are there: {told}{rest}"))
            }
            Self::Links { .. } | Self::Namespace(_) | Self::Ring(_) => None,
        }
    }
}

impl Post {
    /// An interface of this thread's namespace.
    #[must_use]
    pub fn here(interface: &str) -> Self {
        let name = interface.to_owned();
        Self { interface: name.clone(), name, description: None, inside: None, is_named: true }
    }

    /// Starts to listen. `None` where nobody asked for this very interface, and it is gone by now or its link is of a
    /// kind that nobody reads here; `told` hears that.
    ///
    /// # Errors
    /// See [`PostError`].
    pub fn open(&self, options: &Options, told: impl FnOnce(&str)) -> Result<Option<Ring>, PostError> {
        let open = || Ring::open(&self.interface, options);
        let ring = match &self.inside {
            None => open(),
            Some(inside) => netns::inside(inside.namespace.as_fd(), open)?,
        };
        match ring {
            Err(RingError::Watch(
                left_out @ (WatchError::NoInterface { .. } | WatchError::UnknownLink { .. }),
            )) if !self.is_named => {
                told(&format!("{} is left out: {left_out}", self.name));
                Ok(None)
            }
            Err(RingError::Watch(WatchError::NoInterface { interface, cause })) => {
                Err(PostError::NoInterface { name: interface, there: interfaces(), cause })
            }
            ring => Ok(Some(ring?)),
        }
    }

    /// Which interface it is, on this machine.
    fn identity(&self) -> (Option<u64>, &str) {
        (self.inside.as_ref().map(|inside| inside.inode), &self.interface)
    }
}

/// The interfaces of a container: its own, inside, and the host's ends of its cables.
///
/// # Errors
/// [`PostError::NoContainer`], or when it cannot be looked into.
pub fn of_container(name: &str, plugged: &[Plugged], endpoints: &[Endpoint]) -> Result<Vec<Post>, PostError> {
    let its: Vec<&Plugged> = plugged.iter().filter(|one| is_named(&one.cable, name, endpoints)).collect();
    if its.is_empty() {
        let mut there: Vec<String> = plugged.iter().map(|one| one.cable.container.clone()).collect();
        there.sort();
        there.dedup();
        return Err(PostError::NoContainer { name: name.to_owned(), there });
    }
    let mut posts = Vec::new();
    for one in its {
        posts.extend(inside(one)?);
        posts.push(host_end(one));
    }
    Ok(without_doubles(posts))
}

/// The interfaces that packets of the cluster pass on this host: uplinks, bridges, and what is plugged into these.
#[must_use]
pub fn on_the_way(way: &OnTheWay, plugged: &[Plugged]) -> Vec<Post> {
    let found = |name: &String| Post { is_named: false, ..Post::here(name) };
    let into = |one: &&Plugged| one.cable.bridge.as_ref().is_some_and(|bridge| way.bridges.contains(bridge));
    let own = way.uplinks.iter().chain(&way.bridges).map(found);
    own.chain(plugged.iter().filter(into).map(host_end)).collect()
}

/// Each interface once, where it comes first.
#[must_use]
pub fn without_doubles(posts: Vec<Post>) -> Vec<Post> {
    let mut once: Vec<Post> = Vec::new();
    for post in posts {
        if once.iter().all(|known| known.identity() != post.identity()) {
            once.push(post);
        }
    }
    once
}

/// All interfaces in a container's namespace that are up, without its loopback: macvlans and tunnels too.
fn inside(one: &Plugged) -> Result<Vec<Post>, PostError> {
    let container = &one.cable.container;
    let links = netns::inside(one.namespace.as_fd(), || look::links(&mut Netlink::open()?))?;
    let links = links.map_err(|cause| PostError::Links { name: container.clone(), cause })?;
    let namespace = one.namespace.try_clone().map_err(netns::NamespaceError::Join)?;
    let inside = Inside { inode: one.inode, namespace: Arc::new(namespace) };
    let shown = links.into_values().filter(|link| link.up && link.name != "lo");
    let post = |link: byway_fabric::observed::Link| Post {
        name: format!("{container}/{}", link.name),
        description: None,
        interface: link.name,
        inside: Some(inside.clone()),
        is_named: false,
    };
    Ok(shown.map(post).collect())
}

fn host_end(one: &Plugged) -> Post {
    let cable = &one.cable;
    let bridge = cable.bridge.as_ref().map(|bridge| format!(", in {bridge}")).unwrap_or_default();
    Post {
        description: Some(format!("the host's end of {}/{}{bridge}", cable.container, cable.interface)),
        is_named: false,
        ..Post::here(&cable.veth)
    }
}

/// The names of this namespace's interfaces; none where the kernel does not tell them.
fn interfaces() -> Vec<String> {
    let links = Netlink::open().and_then(|mut netlink| look::links(&mut netlink));
    links.map(|links| links.into_values().map(|link| link.name).collect()).unwrap_or_default()
}
