//! The packet socket itself (`packet(7)`): the few system calls that have no safe form elsewhere.

use std::io;
use std::mem::{MaybeUninit, size_of, size_of_val};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, sockopt};

use super::filter::Instruction;
use super::{Captured, Vlan};

/// Room for frames that nobody has taken yet: 4 MiB hold some thousand small ones, the bursts of a ping flood.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Room for a time stamp (32 bytes with its header) and `tpacket_auxdata` (40), in words of 8 bytes, twice.
const CONTROL_WORDS: usize = 18;

/// Opens a packet socket that hears nothing until it is bound: its protocol is 0.
pub(in crate::edge) fn open() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(nix::sys::socket::socket(AddressFamily::Packet, SockType::Raw, flags, None)?)
}

/// The index of an interface of the socket's own network namespace (`netdevice(7)`).
pub(in crate::edge) fn index(socket: &OwnedFd, interface: &str) -> io::Result<u32> {
    // SAFETY: all its fields are numbers and arrays of numbers, for which zero bytes are values.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    let room = request.ifr_name.len() - 1;
    if interface.is_empty() || interface.len() > room {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the kernel reads and writes an `ifreq` here, which `request` is, and it outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request) };
    check(done)?;
    // SAFETY: this ioctl fills in the index, a number of which every value is one.
    let index = unsafe { request.ifr_ifru.ifru_ifindex };
    u32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))
}

/// Asks for times, lengths and VLAN tags beside the frames, and for room.
pub(super) fn prepare(socket: &OwnedFd) -> io::Result<()> {
    setsockopt(socket, sockopt::ReceiveTimestampns, &true)?;
    set(socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)?;
    // Above net.core.rmem_max only with CAP_NET_ADMIN of the first user namespace; a rootless lab has less.
    let forced = setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES);
    forced.or_else(|_| setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES))?;
    Ok(())
}

/// Lets the kernel drop what the filter does not take.
pub(in crate::edge) fn attach(socket: &OwnedFd, filter: &[Instruction]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // The kernel only reads through the pointer.
    let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Starts to hear everything that passes the interface.
///
/// The protocol must be `ETH_P_ALL`: the kernel shows outgoing packets to no other (`ptype_all`).
pub(in crate::edge) fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    bind_to(socket, index, 0x0003)
}

/// Says to which interface the socket belongs, without hearing anything of it yet.
pub(in crate::edge) fn bind_silent(socket: &OwnedFd, index: u32) -> io::Result<()> {
    bind_to(socket, index, 0)
}

fn bind_to(socket: &OwnedFd, index: u32, protocol: u16) -> io::Result<()> {
    let mut address = nobody();
    address.sll_family = family();
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: the pointer and the length are those of `address`, which outlives the call.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length_of(&address)) };
    check(done)
}

/// The kind of link to which it is bound (`linux/if_arp.h`).
pub(in crate::edge) fn hardware(socket: &OwnedFd) -> io::Result<u16> {
    address(socket).map(|address| address.sll_hatype)
}

/// The index of the interface to which it is bound; `None` once that is no more.
pub(in crate::edge) fn bound(socket: &OwnedFd) -> io::Result<Option<u32>> {
    let index = address(socket)?.sll_ifindex;
    Ok(u32::try_from(index).ok().filter(|index| *index > 0))
}

fn address(socket: &OwnedFd) -> io::Result<libc::sockaddr_ll> {
    let mut address = nobody();
    let mut length = length_of(&address);
    // SAFETY: the kernel writes at most `length` bytes to `address`, which has that many and outlives the call.
    let done = unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    check(done).map(|()| address)
}

/// Whether an interface of the socket's own network namespace is up (`netdevice(7)`).
pub(in crate::edge) fn is_up(socket: &OwnedFd, index: u32) -> bool {
    // SAFETY: all its fields are numbers and arrays of numbers, for which zero bytes are values.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_ifru.ifru_ifindex = index.cast_signed();
    // The name first: it may have been renamed since.
    let asked = [libc::SIOCGIFNAME, libc::SIOCGIFFLAGS].into_iter().all(|question| {
        // SAFETY: the kernel reads and writes an `ifreq` here, which `request` is, and it outlives the call.
        unsafe { libc::ioctl(socket.as_raw_fd(), question, &raw mut request) == 0 }
    });
    // SAFETY: the second ioctl fills in the flags, a number of which every value is one.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    asked && flags & libc::IFF_UP != 0
}

/// Frames that were dropped since this was last asked.
pub(super) fn drops(socket: &OwnedFd) -> io::Result<u32> {
    let mut told = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = length_of(&told);
    let (level, name) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
    // SAFETY: the kernel writes at most `length` bytes to `told`, which has that many and outlives the call.
    let done =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut told).cast(), &raw mut length) };
    check(done).map(|()| told.tp_drops)
}

/// Takes one frame, without waiting.
pub(super) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<Captured> {
    let mut from = nobody();
    let mut control = [0_u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all its fields are numbers and pointers, for which zero bytes are values.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = length_of(&from);
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer in `message` is to one of the values above, with its own size, and all outlive the call.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let beside = Beside::read(&message);
    let no_time = || io::Error::new(io::ErrorKind::InvalidData, "the kernel gave no time with a packet");
    Ok(Captured {
        time_ns: beside.time_ns.ok_or_else(no_time)?,
        outgoing: from.sll_pkttype == libc::PACKET_OUTGOING,
        vlan: beside.vlan,
        frame: buffer[..got.min(buffer.len())].to_vec(),
        original_len: beside.original_len.unwrap_or(got),
    })
}

/// What the kernel tells beside a frame.
#[derive(Debug, Default)]
struct Beside {
    time_ns: Option<u64>,
    original_len: Option<usize>,
    vlan: Option<Vlan>,
}

impl Beside {
    fn read(message: &libc::msghdr) -> Self {
        let mut beside = Self::default();
        // SAFETY: the kernel has just filled `message`, whose control buffer is still borrowed by it.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
        // SAFETY: a header that is not null is inside the control buffer, says the macro.
        while let Some(header) = unsafe { next.as_ref() } {
            beside.take(header);
            // SAFETY: as for the first.
            next = unsafe { libc::CMSG_NXTHDR(message, header) };
        }
        beside
    }

    fn take(&mut self, header: &libc::cmsghdr) {
        match (header.cmsg_level, header.cmsg_type) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                // SAFETY: the kernel sends a `timespec` under this type.
                self.time_ns =
                    unsafe { content::<libc::timespec>(header) }.and_then(|time| nanoseconds(&time));
            }
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => {
                // SAFETY: the kernel sends a `tpacket_auxdata` under this type.
                if let Some(aux) = unsafe { content::<libc::tpacket_auxdata>(header) } {
                    self.original_len = usize::try_from(aux.tp_len).ok();
                    self.vlan = vlan(&aux);
                }
            }
            _ => {}
        }
    }
}

/// The content of a control message, if it is large enough.
///
/// # Safety
/// The bytes after `header`, for as many as it says, must be readable, and be a `T` if there are enough.
unsafe fn content<T: Copy>(header: &libc::cmsghdr) -> Option<T> {
    let needed = u32::try_from(size_of::<T>()).ok()?;
    // SAFETY: this only computes a length.
    let length = unsafe { libc::CMSG_LEN(needed) };
    #[allow(clippy::unnecessary_cast, reason = "its type differs between C libraries")]
    let enough = header.cmsg_len as usize >= length as usize;
    // SAFETY: the caller promises a `T` there; it need not be aligned.
    enough.then(|| unsafe { libc::CMSG_DATA(header).cast::<T>().read_unaligned() })
}

fn nanoseconds(time: &libc::timespec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec).ok()?)
}

fn vlan(aux: &libc::tpacket_auxdata) -> Option<Vlan> {
    let has = |flag| aux.tp_status & flag != 0;
    // Before Linux 3.14 there was only one kind of tag, and it was not told.
    let ethertype = if has(libc::TP_STATUS_VLAN_TPID_VALID) { aux.tp_vlan_tpid } else { 0x8100 };
    has(libc::TP_STATUS_VLAN_VALID).then_some(Vlan { ethertype, tag: aux.tp_vlan_tci })
}

/// Sets an option of a socket to a value in the kernel's own form.
pub(in crate::edge) fn set<T>(socket: &impl AsRawFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let pointer = std::ptr::from_ref(value).cast();
    // SAFETY: the pointer and the length are those of `value`, which outlives the call.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, length_of(value)) })
}

fn nobody() -> libc::sockaddr_ll {
    libc::sockaddr_ll {
        sll_family: 0,
        sll_protocol: 0,
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}

fn family() -> u16 {
    // AF_PACKET is 17.
    u16::try_from(libc::AF_PACKET).unwrap_or(0)
}

/// The size of a value as the kernel wants it; all that are used here have less than 200 bytes.
fn length_of<T>(value: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(value)).unwrap_or(0)
}

fn check(done: i32) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
