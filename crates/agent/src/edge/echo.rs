//! Echoes along the data path: ICMP requests with a source address of ours in the containers' subnets, which the
//! peer's kernel answers, whether its agent runs or not.
//!
//! One raw socket for each family. The kernel keeps back what is not for us: a filter asks for our identifier. What it
//! lets through must carry the secret of the one who was asked, and come from there; all else costs nothing more.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use super::chance;
use super::probe::checksum;
use super::watch::{Instruction, set_option};

/// What only the one who was asked, and those on the way, have seen.
pub type Secret = [u8; 16];

/// An echo: its 8 bytes of header, the secret, and when it was sent.
const ECHO_BYTES: usize = 8 + size_of::<Secret>() + 8;
/// Room for an answer with the longest IPv4 header; whatever is longer is none.
const ANSWER_BYTES: usize = 60 + ECHO_BYTES;
/// Room for answers that came since the last look: some thousand, as the kernel counts them.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// An answer that was under way for longer is none.
const TRIP_NANOS_MAX: u64 = 2_000_000_000;

/// The sockets.
#[derive(Debug)]
pub struct Echoes {
    v4: io::Result<OwnedFd>,
    v6: io::Result<OwnedFd>,
    identifier: [u8; 2],
}

/// An echo that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// From where.
    pub from: IpAddr,
    /// The secret that it carries.
    pub secret: Secret,
    /// How long it was under way, in microseconds.
    pub trip_micros: u32,
}

impl Echoes {
    /// Opens the sockets; a family that this kernel does not have is told by [`Echoes::send`].
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn open() -> io::Result<Self> {
        let identifier = chance::bytes()?;
        Ok(Self { v4: open_v4(identifier), v6: open_v6(identifier), identifier })
    }

    /// Sends an echo, from one of this host's own addresses or from whichever the kernel takes.
    ///
    /// # Errors
    /// When this host cannot send it: there is no route, no such address, no such family.
    pub fn send(&self, from: Option<IpAddr>, to: IpAddr, secret: &Secret) -> io::Result<()> {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        let socket = socket.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
        let echo = request(to.is_ipv4(), self.identifier, secret, now_nanos()?);
        let to = SockaddrStorage::from(SocketAddr::new(to, 0));
        let (parts, flags) = ([IoSlice::new(&echo)], MsgFlags::MSG_DONTWAIT);
        let fd = socket.as_raw_fd();
        match from {
            None => sendmsg(fd, &parts, &[], flags, Some(&to))?,
            Some(IpAddr::V4(from)) => {
                let ipi_spec_dst = libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
                let nowhere = libc::in_addr { s_addr: 0 };
                let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst, ipi_addr: nowhere };
                sendmsg(fd, &parts, &[ControlMessage::Ipv4PacketInfo(&info)], flags, Some(&to))?
            }
            Some(IpAddr::V6(from)) => {
                let ipi6_addr = libc::in6_addr { s6_addr: from.octets() };
                let info = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: 0 };
                sendmsg(fd, &parts, &[ControlMessage::Ipv6PacketInfo(&info)], flags, Some(&to))?
            }
        };
        Ok(())
    }

    /// Takes what came since the last time, at most so many.
    #[must_use]
    pub fn answers(&self, most: usize) -> Vec<Answer> {
        let sockets = [&self.v4, &self.v6].into_iter().filter_map(|socket| socket.as_ref().ok());
        let each = |socket| std::iter::from_fn(move || receive(socket, self.identifier));
        sockets.flat_map(|socket| each(socket).take(most)).flatten().collect()
    }
}

fn open_v4(identifier: [u8; 2]) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV4))?;
    // `linux/icmp.h`: a set bit keeps a type back; all but the answer to an echo (0).
    let icmp_filter = 1;
    set_option(&socket, libc::SOL_RAW, icmp_filter, &!1_u32)?;
    prepare(&socket, &ours_behind_ipv4(identifier))?;
    Ok(socket.into())
}

fn open_v6(identifier: [u8; 2]) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking().cloexec(), Some(Protocol::ICMPV6))?;
    // RFC 3542, 3.2: the same for 256 types; all but 129.
    let mut kept_back = [u32::MAX; 8];
    kept_back[129 / 32] &= !(1 << (129 % 32));
    let icmp6_filter = 1;
    set_option(&socket, libc::IPPROTO_ICMPV6, icmp6_filter, &kept_back)?;
    prepare(&socket, &ours(identifier))?;
    Ok(socket.into())
}

fn prepare(socket: &Socket, filter: &[Instruction]) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // The kernel only reads through the pointer.
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

fn step(code: u32, k: u32, jt: u8, jf: u8) -> Instruction {
    // All codes are below 256.
    Instruction { code: u16::try_from(code).unwrap_or(0), jt, jf, k }
}

/// Takes what has the identifier behind an IPv4 header.
fn ours_behind_ipv4(identifier: [u8; 2]) -> Vec<Instruction> {
    vec![
        step(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 4, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, u16::from_be_bytes(identifier).into(), 0, 1),
        step(libc::BPF_RET | libc::BPF_K, u32::MAX, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

/// The same where a raw socket shows no IP header.
fn ours(identifier: [u8; 2]) -> Vec<Instruction> {
    let mut filter = ours_behind_ipv4(identifier).split_off(1);
    filter[0] = step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 4, 0, 0);
    filter
}

/// An echo request (RFC 792, RFC 4443). The kernel makes the checksum of `ICMPv6` only.
fn request(v4: bool, identifier: [u8; 2], secret: &Secret, sent_nanos: u64) -> Vec<u8> {
    let mut message = vec![if v4 { 8 } else { 128 }, 0, 0, 0];
    message.extend(identifier);
    message.extend([0, 1]);
    message.extend(secret);
    message.extend(sent_nanos.to_be_bytes());
    if v4 {
        let checksum = checksum(&message);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    message
}

/// One datagram, if there is one more; nothing is in it when it was no answer to us.
#[expect(clippy::option_option, reason = "there is one, and it is ours")]
fn receive(socket: &OwnedFd, identifier: [u8; 2]) -> Option<Option<Answer>> {
    let mut room = [0; ANSWER_BYTES];
    let mut parts = [IoSliceMut::new(&mut room)];
    let mut beside = nix::cmsg_space!(TimeSpec);
    let got =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut beside), MsgFlags::MSG_DONTWAIT);
    let got = match got {
        Ok(got) => got,
        Err(nix::errno::Errno::EINTR) => return Some(None),
        Err(_) => return None,
    };
    let from = got.address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| v6.ip().into()))
    });
    let at_nanos = got.cmsgs().ok().and_then(|mut all| {
        all.find_map(|one| match one {
            ControlMessageOwned::ScmTimestampns(at) => nanos(at),
            _ => None,
        })
    });
    let bytes = got.bytes;
    let (Some(from), Some(at_nanos)) = (from, at_nanos) else { return Some(None) };
    Some(room.get(..bytes).and_then(|bytes| read(from, bytes, identifier, at_nanos)))
}

/// What an answer says, if it is one to us. Every byte of it may be forged.
fn read(from: IpAddr, bytes: &[u8], identifier: [u8; 2], at_nanos: u64) -> Option<Answer> {
    let (header, kind) = match from {
        IpAddr::V4(_) => (usize::from(bytes.first()? & 15) * 4, 0),
        IpAddr::V6(_) => (0, 129),
    };
    let message: &[u8; ECHO_BYTES] = bytes.get(header..)?.try_into().ok()?;
    let (head, rest) = message.split_first_chunk::<8>()?;
    let (secret, sent) = rest.split_first_chunk::<16>()?;
    let sent_nanos = u64::from_be_bytes(sent.try_into().ok()?);
    // A clock that was set back meanwhile is no reason to believe nothing.
    let trip = at_nanos.saturating_sub(sent_nanos);
    let is_ours = head[0] == kind && head[4..6] == identifier && trip <= TRIP_NANOS_MAX;
    is_ours.then_some(Answer {
        from,
        secret: *secret,
        trip_micros: u32::try_from(trip / 1_000).unwrap_or(u32::MAX),
    })
}

fn now_nanos() -> io::Result<u64> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME)?;
    nanos(now).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the clock is before 1970"))
}

fn nanos(time: TimeSpec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec()).ok()?)
}

/// Whether an interface has nobody at its other end, as the kernel tells below `/sys`; not where it does not tell.
#[must_use]
pub fn has_no_carrier(link: &str) -> bool {
    // An interface that is down cannot be asked; what it means to send by it is told by sending.
    std::fs::read_to_string(format!("/sys/class/net/{link}/carrier")).is_ok_and(|text| text.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 2] = [0xbe, 0xef];
    const SENT: u64 = 1_700_000_000_000_000_000;

    fn answer(v4: bool, header: usize) -> Vec<u8> {
        let mut bytes = vec![0; header];
        if let Some(first) = bytes.first_mut() {
            *first = 0x40 | u8::try_from(header / 4).unwrap();
        }
        let mut echo = request(v4, ID, &[7; 16], SENT);
        echo[0] = if v4 { 0 } else { 129 };
        bytes.extend(echo);
        bytes
    }

    fn from(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_answer_tells_whose_it_is_and_how_long_it_took() {
        for (whence, bytes) in [
            ("172.42.0.1", answer(true, 20)),
            ("172.42.0.1", answer(true, 60)),
            ("fd00:172:42::1", answer(false, 0)),
        ] {
            let expected = Answer { from: from(whence), secret: [7; 16], trip_micros: 250 };
            assert_eq!(read(from(whence), &bytes, ID, SENT + 250_999), Some(expected));
        }
    }

    #[test]
    fn what_is_no_answer_to_us_is_none() {
        let good = answer(true, 20);
        let v4 = from("172.42.0.1");
        let without = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            read(v4, &bytes, ID, SENT + 1)
        };
        assert_eq!(without(&|bytes| bytes[20] = 8), None, "a request");
        assert_eq!(without(&|bytes| bytes[24] = 0), None, "somebody else's identifier");
        assert_eq!(without(&|bytes| bytes.truncate(51)), None, "too short");
        assert_eq!(without(&|bytes| bytes.push(0)), None, "too long");
        assert_eq!(without(&|bytes| bytes[0] = 0x4f), None, "a header that it does not have");
        assert_eq!(without(&|bytes| bytes.clear()), None, "nothing");
        assert_eq!(read(v4, &good, ID, SENT + TRIP_NANOS_MAX + 1), None, "an old one, played again");
        assert_eq!(read(from("::1"), &good, ID, SENT + 1), None, "of the other family");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut state = 1_u32;
        for length in 0..200 {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_ne_bytes()[3]
            })
            .take(length)
            .collect();
            let _ = read(from("10.0.0.1"), &bytes, ID, SENT);
            let _ = read(from("::1"), &bytes, ID, SENT);
        }
    }
}
