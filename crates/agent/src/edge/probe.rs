//! Sends probes from the network namespace of this thread, and tells what the sender itself learnt of them.
//!
//! A probe is an ordinary packet of an ordinary socket: the namespace's own routes, rules and neighbours decide about
//! it as they do about any program's.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use byway_fabric::trace::sort::{echo_id, marker};
use byway_fabric::trace::watch::{ProbeKind, ProbeOrder, ProbeReport, Sent};
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::watch::set_option;

/// Room for one answer; its first bytes tell whose it is.
const ANSWER_BYTES: usize = 2048;
/// What is before the data of an echo.
const ICMP_HEADER_BYTES: usize = 8;

/// Sends all probes of an order, which must be [bounded](ProbeOrder::bounded), and awaits their answers.
#[must_use]
pub fn send(order: &ProbeOrder) -> ProbeReport {
    let count = order.count;
    let every = Duration::from_millis(order.every_millis);
    let wait = Duration::from_millis(order.wait_millis);
    let start = Instant::now();
    let mut under_way = Vec::with_capacity(count.into());
    for nth in 0..count {
        under_way.push(Probe::send(order, nth));
        let last = nth + 1 == count;
        let until = start + if last { every * u32::from(nth) + wait } else { every * u32::from(nth + 1) };
        listen(&mut under_way, until, last);
    }
    ProbeReport { sent: under_way.into_iter().map(|probe| probe.sent).collect() }
}

/// One probe under way.
struct Probe {
    /// While an answer may come.
    socket: Option<Socket>,
    kind: ProbeKind,
    marker: [u8; 10],
    sent: Sent,
}

impl Probe {
    fn send(order: &ProbeOrder, nth: u16) -> Self {
        let marker = marker(order.nonce, nth);
        let mut sent = Sent { port: 0, error: None, errno: None, answered: false };
        let socket = match begin(order, &marker, nth) {
            Ok(socket) => {
                sent.port = port_of(order, &socket);
                Some(socket)
            }
            Err((error, port)) => {
                sent.port = port;
                sent.fail(&error);
                None
            }
        };
        Self { socket, kind: order.kind, marker, sent }
    }

    /// Something is to be read: an answer, or an error.
    fn hear(&mut self) {
        let Some(socket) = &self.socket else { return };
        let heard = match self.kind {
            ProbeKind::Tcp => connected(socket),
            ProbeKind::Udp => socket.recv(&mut [MaybeUninit::uninit(); ANSWER_BYTES]).map(|_| true),
            ProbeKind::Icmp => echoed(socket, &self.marker),
        };
        match heard {
            Ok(true) => self.sent.answered = true,
            Ok(false) => return,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(error) => self.sent.fail(&error),
        }
        self.socket = None;
    }
}

trait Fails {
    fn fail(&mut self, error: &io::Error);
}

impl Fails for Sent {
    fn fail(&mut self, error: &io::Error) {
        self.error = Some(error.to_string());
        self.errno = error.raw_os_error();
    }
}

/// Opens a socket and sends through it; the error comes with the socket's port, if it had one by then.
fn begin(order: &ProbeOrder, marker: &[u8; 10], nth: u16) -> Result<Socket, (io::Error, u16)> {
    let socket = open(order).map_err(|error| (error, 0))?;
    let to =
        SockAddr::from(SocketAddr::new(order.to, if order.kind == ProbeKind::Icmp { 0 } else { order.port }));
    let sent = match order.kind {
        ProbeKind::Tcp => match socket.connect(&to) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
            other => other,
        },
        ProbeKind::Udp => socket.connect(&to).and_then(|()| socket.send(&data(order, marker)).map(drop)),
        ProbeKind::Icmp => socket.send_to(&echo(order, marker, nth), &to).map(drop),
    };
    match sent {
        Ok(()) => Ok(socket),
        Err(error) => Err((error, port_of(order, &socket))),
    }
}

/// The sender's own port; a raw socket has a protocol there.
fn port_of(order: &ProbeOrder, socket: &Socket) -> u16 {
    let local = socket.local_addr().ok().and_then(|address| address.as_socket());
    local.filter(|_| order.kind != ProbeKind::Icmp).map_or(0, |local| local.port())
}

fn open(order: &ProbeOrder) -> io::Result<Socket> {
    let v4 = order.to.is_ipv4();
    let domain = if v4 { Domain::IPV4 } else { Domain::IPV6 };
    let (kind, protocol) = match order.kind {
        ProbeKind::Tcp => (Type::STREAM, Protocol::TCP),
        ProbeKind::Udp => (Type::DGRAM, Protocol::UDP),
        ProbeKind::Icmp if v4 => (Type::RAW, Protocol::ICMPV4),
        ProbeKind::Icmp => (Type::RAW, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, kind.nonblocking().cloexec(), Some(protocol))?;
    if let Some(ttl) = order.ttl {
        if v4 { socket.set_ttl_v4(ttl.into())? } else { socket.set_unicast_hops_v6(ttl.into())? }
    }
    // "Probe" forbids fragments and does not believe what was learnt of the way before.
    let discover = if order.dont_fragment { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DONT };
    match order.kind {
        // TCP cuts its own segments; forbidding fragments is its default.
        ProbeKind::Tcp => {}
        _ if v4 => set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, &discover)?,
        _ => set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, &discover)?,
    }
    if order.kind == ProbeKind::Icmp {
        // Errors about raw packets are told to those who ask for them only.
        if v4 {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
    }
    let anywhere: IpAddr = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    if order.from.is_some() || order.kind == ProbeKind::Udp {
        socket.bind(&SocketAddr::new(order.from.unwrap_or(anywhere), 0).into())?;
    }
    Ok(socket)
}

/// The data of a datagram: at least the marker.
fn data(order: &ProbeOrder, marker: &[u8; 10]) -> Vec<u8> {
    let mut data = marker.to_vec();
    // A pattern, so that a cut or a fault shows.
    data.extend((marker.len()..usize::from(order.size)).map(|at| at.to_le_bytes()[0]));
    data
}

/// An echo request (RFC 792, RFC 4443). The kernel makes the checksum of `ICMPv6` only.
fn echo(order: &ProbeOrder, marker: &[u8; 10], nth: u16) -> Vec<u8> {
    let kind = if order.to.is_ipv4() { 8 } else { 128 };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(echo_id(order.nonce).to_be_bytes());
    message.extend(nth.wrapping_add(1).to_be_bytes());
    message.extend(data(order, marker));
    if order.to.is_ipv4() {
        let checksum = checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    message
}

/// The Internet checksum (RFC 1071).
pub(super) fn checksum(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    let mut sum = last + words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum::<u32>();
    // Ends: each round leaves less than half of what was above 16 bits.
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Hears all probes until the deadline, or until there is nothing more to hear.
fn listen(probes: &mut [Probe], until: Instant, last: bool) {
    loop {
        let waiting: Vec<usize> = (0..probes.len()).filter(|nth| probes[*nth].socket.is_some()).collect();
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || (waiting.is_empty() && last) {
            return;
        }
        let ready: Vec<usize> = {
            let events = |nth: &usize| {
                if probes[*nth].kind == ProbeKind::Tcp { PollFlags::POLLOUT } else { PollFlags::POLLIN }
            };
            let sockets = waiting.iter().filter_map(|nth| Some((nth, probes[*nth].socket.as_ref()?)));
            let mut polled: Vec<PollFd<'_>> =
                sockets.map(|(nth, socket)| PollFd::new(socket.as_fd(), events(nth))).collect();
            if nix::poll::ppoll(&mut polled, Some(TimeSpec::from_duration(left)), None).is_err() {
                continue;
            }
            let spoke = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
            waiting.iter().zip(&polled).filter(|(_, fd)| spoke(fd)).map(|(nth, _)| *nth).collect()
        };
        for nth in ready {
            probes[nth].hear();
        }
    }
}

/// Whether a connection stands; an error if it was refused.
fn connected(socket: &Socket) -> io::Result<bool> {
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(socket.peer_addr().is_ok()),
    }
}

/// Whether what waits is the answer to this probe. A raw socket hears every ICMP message of its namespace.
fn echoed(socket: &Socket, marker: &[u8; 10]) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    let mut room = [MaybeUninit::uninit(); ANSWER_BYTES];
    let (length, from) = socket.recv_from(&mut room)?;
    // SAFETY: the kernel has written the first `length` bytes.
    let bytes = room[..length].iter().map(|byte| unsafe { byte.assume_init() }).collect::<Vec<u8>>();
    let header = match (from.is_ipv4(), bytes.first()) {
        (true, Some(first)) => usize::from(first & 15) * 4,
        _ => 0,
    };
    let is_reply = bytes.get(header).is_some_and(|kind| matches!(kind, 0 | 129));
    Ok(is_reply && bytes.get(header + ICMP_HEADER_BYTES..).is_some_and(|data| data.starts_with(marker)))
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn the_checksum_of_rfc_1071_is_right() {
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0xff]), !0xff00);
    }
}
