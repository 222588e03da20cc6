//! Watches the packets of one interface: both directions, the kernel's times, a filter in the kernel, and an
//! honest count of what was lost.
//!
//! It decides nothing and reads nothing: frames go out as bytes, `byway_wire` reads them. The interface is not
//! made promiscuous, so nothing about it changes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use byway_wire::LinkType;
use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;

mod assemble;
pub(super) mod filter;
pub(super) mod socket;

pub use filter::{Instruction, flow, icmp};
pub(super) use socket::set as set_option;

/// The longest frame that is kept: an IP packet of 64 KiB with its Ethernet header and tags. What is longer (large
/// segments inside of a host can be) is cut, and [`Captured::original_len`] tells.
pub const FRAME_BYTES_MAX: usize = (64 << 10) + 64;

/// A watch point: one interface, in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Watch {
    interface: String,
    socket: OwnedFd,
    link: LinkType,
    buffer: Box<[u8]>,
    lost: u64,
}

/// A frame that passed the interface and the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// When it passed, by the kernel's clock, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Whether it went out of this namespace there (or else came in).
    pub outgoing: bool,
    /// The outermost VLAN tag, which the kernel takes out of the frame.
    pub vlan: Option<Vlan>,
    /// Its first bytes: as many as the filter said.
    pub frame: Vec<u8>,
    /// How many bytes it had on the link.
    pub original_len: usize,
}

/// A VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// The `EtherType` of the tag: 0x8100 or 0x88a8.
    pub ethertype: u16,
    /// Priority (3 bits), drop mark (1) and VLAN (12).
    pub tag: u16,
}

/// Why an interface cannot be watched, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// There is no interface of that name in this namespace.
    #[error("watch {interface}: no such interface in this network namespace")]
    NoInterface {
        /// Which.
        interface: String,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// Watching is not allowed.
    #[error(
        "watch {interface}: this needs the capability CAP_NET_RAW, to see the packets of this network namespace \
         (run it as root, with sudo, or give it AmbientCapabilities=CAP_NET_RAW)"
    )]
    NotAllowed {
        /// Which.
        interface: String,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// The kernel refused the filter: empty jumps, unknown instructions, more than 4096 of them.
    #[error("watch {interface}: attach a filter of {instructions} instructions")]
    Filter {
        /// Which.
        interface: String,
        /// How long the filter is.
        instructions: usize,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// The frames of this kind of link cannot be read.
    #[error("watch {interface}: its link is of a kind that is not known here (ARPHRD {kind})")]
    UnknownLink {
        /// Which.
        interface: String,
        /// The kernel's number for it (`linux/if_arp.h`).
        kind: u16,
    },
    /// The kernel refused something else while the watch was opened.
    #[error("watch {interface}: {doing}")]
    Open {
        /// Which.
        interface: String,
        /// What was being done.
        doing: &'static str,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// No more packets: the interface went down or away (`ENETDOWN`), or the kernel has another reason.
    #[error("receive packets from {interface}")]
    Receive {
        /// Which.
        interface: String,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// What was lost is not known.
    #[error("ask how many packets of {interface} were lost")]
    Lost {
        /// Which.
        interface: String,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
}

impl Watch {
    /// Starts to watch an interface of this thread's network namespace. An empty filter takes everything, whole.
    ///
    /// From its return on every packet that passes the filter is kept for [`Watch::next`] or counted as lost.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn open(interface: &str, filter: &[Instruction]) -> Result<Self, WatchError> {
        let socket = socket::open().map_err(|cause| refused(interface, cause))?;
        Self::on(socket, interface, filter)
    }

    /// Starts to watch an interface with a packet socket of somebody else's making (protocol 0, not blocking),
    /// in the network namespace of that socket.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn on(socket: OwnedFd, interface: &str, filter: &[Instruction]) -> Result<Self, WatchError> {
        let failed = |doing| move |cause| WatchError::Open { interface: interface.to_owned(), doing, cause };
        let index = socket::index(&socket, interface)
            .map_err(|cause| WatchError::NoInterface { interface: interface.to_owned(), cause })?;
        socket::prepare(&socket).map_err(failed("set the socket up"))?;
        if !filter.is_empty() {
            socket::attach(&socket, filter).map_err(|cause| WatchError::Filter {
                interface: interface.to_owned(),
                instructions: filter.len(),
                cause,
            })?;
        }
        socket::bind(&socket, index).map_err(failed("bind the socket to it"))?;
        let kind = socket::hardware(&socket).map_err(failed("ask for its kind"))?;
        let link = link_type(kind)
            .ok_or_else(|| WatchError::UnknownLink { interface: interface.to_owned(), kind })?;
        let buffer = vec![0; FRAME_BYTES_MAX].into_boxed_slice();
        Ok(Self { interface: interface.to_owned(), socket, link, buffer, lost: 0 })
    }

    /// How the frames of an interface of this thread's network namespace start.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn link_of(interface: &str) -> Result<LinkType, WatchError> {
        // A filter that takes nothing.
        Self::open(interface, &[filter::nothing()]).map(|watch| watch.link)
    }

    /// The name under which it was opened.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// How its frames start.
    #[must_use]
    pub fn link(&self) -> LinkType {
        self.link
    }

    /// The next frame, waiting for it until the deadline; `None` if there was none by then.
    ///
    /// A deadline in the past takes what is there without waiting.
    ///
    /// # Errors
    /// [`WatchError::Receive`].
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Captured>, WatchError> {
        loop {
            if let Some(captured) = self.take()? {
                return Ok(Some(captured));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.wait(left)?;
        }
    }

    /// How many frames passed the filter and were dropped since the watch was opened, because nobody took the
    /// earlier ones fast enough.
    ///
    /// # Errors
    /// [`WatchError::Lost`].
    pub fn lost(&mut self) -> Result<u64, WatchError> {
        // The kernel starts anew at 0 whenever it is asked.
        let news = socket::drops(&self.socket)
            .map_err(|cause| WatchError::Lost { interface: self.interface.clone(), cause })?;
        self.lost += u64::from(news);
        Ok(self.lost)
    }

    fn take(&mut self) -> Result<Option<Captured>, WatchError> {
        match socket::receive(&self.socket, &mut self.buffer) {
            Ok(captured) => Ok(Some(captured)),
            Err(cause) => match cause.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(WatchError::Receive { interface: self.interface.clone(), cause }),
            },
        }
    }

    fn wait(&self, left: Duration) -> Result<(), WatchError> {
        let mut descriptors = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match nix::poll::ppoll(&mut descriptors, Some(TimeSpec::from_duration(left)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(WatchError::Receive { interface: self.interface.clone(), cause: errno.into() }),
        }
    }
}

impl AsFd for Watch {
    /// Readable when a frame waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

pub(super) fn refused(interface: &str, cause: io::Error) -> WatchError {
    let interface = interface.to_owned();
    match cause.kind() {
        io::ErrorKind::PermissionDenied => WatchError::NotAllowed { interface, cause },
        _ => WatchError::Open { interface, doing: "open a packet socket", cause },
    }
}

/// Links of mobile modems, without a name in `libc`.
const ARPHRD_RAWIP: u16 = 519;

/// The numbers are those of `linux/if_arp.h`.
pub(super) fn link_type(kind: u16) -> Option<LinkType> {
    match kind {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::Ethernet),
        libc::ARPHRD_NONE | ARPHRD_RAWIP | libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT => {
            Some(LinkType::RawIp)
        }
        _ => None,
    }
}
