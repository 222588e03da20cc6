//! Hears what changes: the kernel's notices of links, addresses, routes, forwarding and nftables.
//!
//! A notice only says "look again" and who did it; what is true is always read whole afterwards. Lost notices
//! (`ENOBUFS`) are a reason to look again at everything.

mod nftables;
mod rtnetlink;

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The receive buffer of a listener: a burst of 10,000 route notices takes about 8 MiB in the kernel's
/// accounting; more than this is lost and leads to one whole look.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// One read; a notice is far smaller.
const READ_BYTES: usize = 64 << 10;

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Links, addresses, routes or forwarding changed.
    Kernel,
    /// Somebody's ruleset changed, but not our table.
    Ruleset,
    /// One of our routes was changed.
    OurRoute(Touch),
    /// Our table was changed.
    OurTable(Touch),
    /// Notices were lost.
    Lost,
}

/// A change of something that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// What was done.
    pub what: String,
    /// Who it was, in words.
    pub who: String,
    /// The netlink port from which it was done, 0 for the kernel.
    pub port: u32,
}

/// Understands the datagrams of one family of notices; a notice may need several of them.
trait Reader: std::fmt::Debug {
    fn read(&mut self, datagram: &[u8]) -> Vec<Notice>;
}

/// A listener that the agent waits on.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<Socket>,
    reader: Box<dyn Reader>,
}

impl Listener {
    /// Hears rtnetlink: links, addresses, routes, forwarding.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn rtnetlink() -> io::Result<Self> {
        Self::open(netlink_sys::protocols::NETLINK_ROUTE, &rtnetlink::GROUPS, Box::new(rtnetlink::Routes))
    }

    /// Hears nftables.
    ///
    /// # Errors
    /// When the socket cannot be opened.
    pub fn nftables() -> io::Result<Self> {
        let reader = Box::new(nftables::Transactions::default());
        Self::open(netlink_sys::protocols::NETLINK_NETFILTER, &nftables::GROUPS, reader)
    }

    fn open(protocol: isize, groups: &[u32], reader: Box<dyn Reader>) -> io::Result<Self> {
        use nix::sys::socket::{setsockopt, sockopt};
        let mut socket = Socket::new(protocol)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        }
        for group in groups {
            socket.add_membership(*group)?;
        }
        // SAFETY: the socket owns its descriptor, which stays open and the same until the `AsyncFd` drops it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE)? };
        Ok(Self { socket, reader })
    }

    /// Waits for the next notices.
    ///
    /// # Errors
    /// When the socket broke.
    pub async fn next(&mut self) -> io::Result<Vec<Notice>> {
        loop {
            let mut ready = self.socket.readable().await?;
            let mut buffer = Vec::with_capacity(READ_BYTES);
            match ready.try_io(|socket| socket.get_ref().recv(&mut buffer, 0)) {
                Ok(Ok(_)) => {
                    let notices = self.reader.read(&buffer);
                    if !notices.is_empty() {
                        return Ok(notices);
                    }
                }
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(vec![Notice::Lost]);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}
