//! TCP sockets as the agents need them among each other.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that the kernel has set up and nobody has taken yet.
const BACKLOG: u32 = 64;
/// Seconds without a word after which the kernel asks whether the far end is still there.
const QUIET_SECONDS: u32 = 10;
/// Seconds between two such questions.
const ASK_EVERY_SECONDS: u32 = 5;
/// Questions without an answer after which the connection is over.
const ASKS_MAX: u32 = 3;
/// Milliseconds that what we sent may stay unacknowledged: as long as the questions take in all.
const UNHEARD_MS: u32 = 25_000;

/// Listens on an address that this host may get only later, or lose and get again: an IPv6 address is checked for
/// duplicates for some time before it can be bound to.
///
/// # Errors
/// When the port is taken, or the kernel refuses.
pub fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // For both families: `ipv6_setsockopt` hands options of IPv4 on, and `__inet6_bind` looks at the same bit.
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Listens on an address that this host has now.
///
/// # Errors
/// When the port is taken, the host does not have the address, or the kernel refuses.
pub fn listen_here(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Lets the kernel end a connection whose far end has vanished without a word.
///
/// # Errors
/// When the kernel refuses.
pub fn keep_asking(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &QUIET_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &ASK_EVERY_SECONDS)?;
    setsockopt(stream, sockopt::TcpKeepCount, &ASKS_MAX)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &UNHEARD_MS)?;
    Ok(())
}
