//! Sends echoes by a router and no other way, and hears what comes of them.
//!
//! An echo leaves as a whole packet on the router's link, addressed to the router's own hardware address: no route of this
//! host is asked, and none has to be there. What comes in is heard by raw sockets, which get what the kernel takes for
//! this host, after its filters, and tell by which link it came.

use std::io::{self, IoSliceMut};
use std::mem::size_of;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use byway_fabric::reach::echo::{self, Nonce};
use byway_fabric::reach::proof::{Heard, Target};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::chance;
use super::netlink::{Netlink, NetlinkError, Request};
use super::watch::set_option;

/// Room for one message; what is larger is none of ours, and is cut.
const MESSAGE_BYTES: usize = 256;

/// The sockets.
#[derive(Debug)]
pub struct Echoes {
    /// For IPv4 and IPv6; a kernel without IPv6 has one.
    ears: Vec<AsyncFd<Socket>>,
    out: OwnedFd,
    netlink: Netlink,
    nonce: Nonce,
}

impl Echoes {
    /// Opens what is needed, with a number of chance that is in every echo, and in every answer that counts.
    ///
    /// # Errors
    /// When a socket cannot be opened.
    pub fn open() -> io::Result<Self> {
        let nonce = chance::bytes()?;
        let mut ears = vec![ear(false)?];
        ears.extend(ear(true).ok());
        // Its protocol is 0: it hears nothing.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let family = nix::sys::socket::AddressFamily::Packet;
        let out = nix::sys::socket::socket(family, SockType::Datagram, flags, None)?;
        let netlink = Netlink::open().map_err(io::Error::other)?;
        Ok(Self { ears, out, netlink, nonce })
    }

    /// Sends an echo. Where the router's hardware address is not known yet, the kernel is asked to find it out, and
    /// nothing is sent: the next one will be.
    ///
    /// # Errors
    /// When the kernel does not take it.
    pub fn send(&mut self, target: &Target, number: u16) -> io::Result<()> {
        let Some(packet) = echo::echo(target.from, target.to, self.nonce, number) else { return Ok(()) };
        match self.router(target).map_err(io::Error::other)? {
            Some(mac) => send_on(&self.out, target, mac, &packet),
            None => self.find_router(target).map_err(io::Error::other),
        }
    }

    /// The hardware address of a router, if the kernel knows it.
    fn router(&mut self, target: &Target) -> Result<Option<[u8; 6]>, NetlinkError> {
        let question = RouteNetlinkMessage::GetNeighbour(router(target));
        let answer = match self.netlink.ask_route(&question) {
            Ok(answer) => answer,
            // The kernel knows nothing of it, or is too old to be asked for one (before 5.0).
            Err(NetlinkError::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let RouteNetlinkMessage::NewNeighbour(known) = answer else { return Ok(None) };
        let is_bad = matches!(known.header.state, NeighbourState::Incomplete | NeighbourState::Failed);
        let mac = known.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(&bytes[..]).ok(),
            _ => None,
        });
        Ok(mac.filter(|_| !is_bad))
    }

    fn find_router(&mut self, target: &Target) -> Result<(), NetlinkError> {
        let mut message = router(target);
        message.header.flags = NeighbourFlags::Use;
        let message = RouteNetlinkMessage::NewNeighbour(message);
        self.netlink.batch(&[Request { message, flags: NLM_F_CREATE | NLM_F_REPLACE }]).map(drop)
    }

    /// Waits for the next message that is about a way.
    ///
    /// # Errors
    /// When a socket broke.
    pub async fn next(&self) -> io::Result<Heard> {
        let [v4, v6] = [self.ears.first(), self.ears.get(1)].map(|ear| listen(ear, self.nonce));
        tokio::select! {
            heard = v4 => heard,
            heard = v6 => heard,
        }
    }
}

/// The question for a router, and what is said of it.
fn router(target: &Target) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let is_v4 = target.gateway.is_ipv4();
    message.header.family = if is_v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = target.dev;
    message.attributes.push(NeighbourAttribute::Destination(target.gateway.into()));
    message
}

/// A raw socket that hears echoes and their answers, and by which link they came.
fn ear(ipv6: bool) -> io::Result<AsyncFd<Socket>> {
    let (domain, protocol) =
        if ipv6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    if ipv6 {
        // `struct icmp6_filter`: a bit for each kind that is not wanted.
        let mut unwanted = [u32::MAX; 8];
        unwanted[4] &= !0b11;
        set_option(&socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &unwanted)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    } else {
        let unwanted: u32 = !(1 | 1 << 8);
        set_option(&socket, libc::SOL_RAW, ICMP_FILTER, &unwanted)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    }
    // SAFETY: the socket owns its descriptor, which stays open and the same until the `AsyncFd` drops it.
    unsafe { Ok(AsyncFd::register_with_interest(socket, Interest::READABLE)?) }
}

/// `linux/icmp.h` and `linux/icmpv6.h`; not in `libc`.
const ICMP_FILTER: i32 = 1;
const ICMP6_FILTER: i32 = 1;

async fn listen(ear: Option<&AsyncFd<Socket>>, nonce: Nonce) -> io::Result<Heard> {
    let Some(ear) = ear else { return std::future::pending().await };
    loop {
        let mut ready = ear.readable().await?;
        match ready.try_io(|ear| receive(ear.get_ref(), nonce)) {
            Ok(Ok(Some(heard))) => return Ok(heard),
            Ok(Err(error)) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

fn receive(socket: &Socket, nonce: Nonce) -> io::Result<Option<Heard>> {
    let mut room = [0_u8; MESSAGE_BYTES];
    let mut control = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(&mut room)];
    let received =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::empty())?;
    let from = received.address.and_then(|from| {
        let v4 = from.as_sockaddr_in().map(|from| IpAddr::from(from.ip()));
        v4.or_else(|| from.as_sockaddr_in6().map(|from| IpAddr::from(from.ip())))
    });
    let came = received.cmsgs()?.find_map(|control| came_in(&control));
    let length = received.bytes;
    let bytes = room.get(..length).unwrap_or_default();
    let (Some(from), Some((to, dev))) = (from, came) else { return Ok(None) };
    // IPv4 sockets get the IP header too; its length is in words of four bytes.
    let header =
        if from.is_ipv4() { bytes.first().map_or(0, |first| usize::from(first & 15) * 4) } else { 0 };
    let answers = bytes.get(header..).and_then(|message| echo::read(message, from.is_ipv6(), nonce));
    Ok(answers.map(|answers| Heard { from, to, dev, answers }))
}

/// To which address something came, and by which link.
fn came_in(control: &ControlMessageOwned) -> Option<(IpAddr, u32)> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let to = std::net::Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
            Some((to.into(), u32::try_from(info.ipi_ifindex).ok()?))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some((std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), info.ipi6_ifindex))
        }
        _ => None,
    }
}

/// Sends a packet on the target's link to a hardware address; the kernel puts the link's own header before it.
fn send_on(out: &OwnedFd, target: &Target, mac: [u8; 6], packet: &[u8]) -> io::Result<()> {
    let protocol = if target.to.is_ipv4() { libc::ETH_P_IP } else { libc::ETH_P_IPV6 };
    let mut address = [0; 8];
    address[..6].copy_from_slice(&mac);
    let to = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or(u16::MAX),
        sll_protocol: u16::try_from(protocol).unwrap_or_default().to_be(),
        sll_ifindex: i32::try_from(target.dev).unwrap_or_default(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: address,
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: both pointers and lengths are those of values that outlive the call, and the kernel only reads.
    let sent = unsafe {
        libc::sendto(out.as_raw_fd(), packet.as_ptr().cast(), packet.len(), 0, (&raw const to).cast(), length)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
