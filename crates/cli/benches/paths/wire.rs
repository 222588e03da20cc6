//! What the wire between the two hosts is like: it hands over super-packets, or frames of the MTU, or only so many
//! in a second.

use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::ptr;

use anyhow::{Context as _, Result, ensure};
use byway_lab::{Lab, SWITCH};
use nix::errno::Errno;
use nix::libc;

use crate::ways::{FAR, NEAR, run};

/// The hosts' end of it.
const LINK: &str = "eth0";
/// The longest frame on a wire with an MTU of 1500.
const FRAME_BYTES_MAX: u64 = 1514;
/// `linux/ethtool.h`: sets whether a link takes more than a segment at once, and whether what it receives is merged.
const ETHTOOL_STSO: u32 = 0x1f;
const ETHTOOL_SGRO: u32 = 0x2c;
/// The bucket holds four milliseconds, because a real wire does not stop when this machine is busy; the queue more
/// than any receiver's window, so that nothing is dropped.
const GIGABIT: &str = "rate 1gbit burst 512kb latency 200ms";

/// From now on this wire carries frames of the MTU. What comes in is merged by the kernel, as behind every network
/// card; veth does it only if told, and if its other end does not send super-packets. Without it the ways could
/// not be compared, because VXLAN devices always merge.
pub(crate) fn segment(lab: &Lab) -> Result<()> {
    for host in [NEAR, FAR] {
        // The port's name is the host's.
        lab.inside(SWITCH, || set(host, ETHTOOL_STSO, 0)).flatten().context(SWITCH)?;
        let set = || set(LINK, ETHTOOL_STSO, 0).and_then(|()| set(LINK, ETHTOOL_SGRO, 1));
        lab.inside(host, set).flatten().with_context(|| host.to_owned())?;
    }
    Ok(())
}

/// `struct ethtool_value`.
#[repr(C)]
struct Setting {
    command: u32,
    value: u32,
}

fn set(link: &str, command: u32, value: u32) -> Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0").context("open a socket")?;
    let mut setting = Setting { command, value };
    // SAFETY: numbers and null pointers only, so zeros are a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = ptr::from_mut(&mut setting).cast();
    // SAFETY: the request and the setting that it points to outlive the call, which writes to neither's outside.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    Errno::result(done).map(drop).with_context(|| format!("tell {link} ethtool command {command:#x}"))
}

/// Bytes and packets that have left a host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    bytes: u64,
    packets: u64,
}

impl Sent {
    pub(crate) fn by(lab: &Lab) -> Result<Self> {
        let counter = |name: &str| -> Result<u64> {
            let told = run(lab, NEAR, &format!("cat /sys/class/net/{LINK}/statistics/{name}"))?;
            told.trim().parse().with_context(|| format!("{name}: {told}"))
        };
        Ok(Self { bytes: counter("tx_bytes")?, packets: counter("tx_packets")? })
    }

    /// Refuses to call it a wire of segments if it was none since then.
    pub(crate) fn ensure_segments_since(self, before: Self) -> Result<()> {
        let mean = (self.bytes - before.bytes) / (self.packets - before.packets).max(1);
        ensure!(mean <= FRAME_BYTES_MAX, "the wire should carry segments, but a frame has {mean} bytes");
        Ok(())
    }
}

/// From now on this wire carries 1 Gbit/s each way.
pub(crate) fn slow_down(lab: &Lab) -> Result<()> {
    for host in [NEAR, FAR] {
        // What the switch sends to this host.
        run(lab, SWITCH, &format!("tc qdisc add dev {host} root tbf {GIGABIT}"))?;
    }
    Ok(())
}
