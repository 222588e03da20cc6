//! Hears what is broken and what is whole again: the near host's notices, while the deed is being done by another
//! process.

#![allow(dead_code, reason = "each bench uses its part")]

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use byway_fabric::observed::PROTOCOL;
use byway_lab::Lab;
use nix::libc;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::verdict::{Samples, wall};

/// How often each thing is broken, if nothing else is said.
const DEEDS: usize = 20;
/// No repair takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Between two deeds, so that each finds the agent at rest.
pub(crate) const REST: Duration = Duration::from_millis(100);
/// Where everything is broken.
pub(crate) const NEAR: &str = "docker41";

pub(crate) fn run(lab: &Lab, script: &str) -> Result<()> {
    start(lab, script)?.end()
}

/// A deed under way: what comes of it is heard while it is done. It is waited for.
pub(crate) struct Deed(Child);

pub(crate) fn start(lab: &Lab, script: &str) -> Result<Deed> {
    let child = lab.command(NEAR, "sh").args(["-ec", script]).spawn();
    child.map(Deed).with_context(|| script.to_owned())
}

impl Deed {
    pub(crate) fn end(mut self) -> Result<()> {
        let status = self.0.wait()?;
        ensure!(status.success(), "a deed ended with {status}");
        Ok(())
    }
}

impl Drop for Deed {
    fn drop(&mut self) {
        drop(self.0.wait());
    }
}

/// Puts this thread before all others, but not what it starts: a notice has no time of its own, so it is told
/// when it is read.
#[expect(clippy::print_stderr, reason = "the reader of the numbers must know")]
pub(crate) fn hear_at_once() {
    let first = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameter lives until the call returns, and only this thread's scheduling changes.
    let refused = unsafe { libc::sched_setscheduler(0, policy, &raw const first) };
    if let Err(error) = nix::errno::Errno::result(refused) {
        eprintln!("repair: this bench may not run before others ({error}), so notices may be heard late");
    }
}

/// `linux/rtnetlink.h`, `linux/netconf.h`, `linux/netfilter/nfnetlink.h`.
pub(crate) const RTNLGRP_LINK: u32 = 1;
pub(crate) const RTNLGRP_IPV4_ROUTE: u32 = 7;
pub(crate) const RTNLGRP_IPV6_ROUTE: u32 = 11;
pub(crate) const RTNLGRP_IPV4_NETCONF: u32 = 24;
pub(crate) const NFNLGRP_NFTABLES: u32 = 7;
pub(crate) const RTM_NEWNETCONF: u16 = 80;
/// Subsystem 10, message 15: the end of a transaction.
pub(crate) const NFT_NEWGEN: u16 = 0x0a0f;

/// Hears one kind of the near host's notices.
pub(crate) struct Ear(OwnedFd);

/// One notice: its kind and its body.
pub(crate) struct Notice<'a> {
    pub(crate) kind: u16,
    pub(crate) body: &'a [u8],
}

impl Notice<'_> {
    /// `struct ifinfomsg`: the flags are at 8. That there is somebody at the other end is told later, often when
    /// the routes are back already.
    pub(crate) fn link_is_up(&self) -> bool {
        let flags =
            self.body.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
        flags & libc::IFF_UP.cast_unsigned() != 0
    }

    /// `struct rtmsg`: the protocol is at 5.
    pub(crate) fn is_our_route(&self) -> bool {
        self.body.get(5) == Some(&PROTOCOL)
    }
}

impl Ear {
    pub(crate) fn open(lab: &Lab, protocol: i32, groups: &[u32]) -> Result<Self> {
        let socket = lab.socket(NEAR, libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol)?;
        // Thousands of routes are told faster than we read.
        if setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20)).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &(16 << 20))?;
        }
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE.as_secs().cast_signed()))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups.iter().map(|group| 1 << (group - 1)).sum()))?;
        Ok(Self(socket))
    }

    pub(crate) fn deeds(&self, mut deed: impl FnMut() -> Result<f64>) -> Result<Samples> {
        let mut samples = Samples::default();
        for _ in 0..DEEDS {
            sleep(REST);
            self.forget();
            samples.add(deed()?);
        }
        Ok(samples)
    }

    /// Drops what was told until now.
    pub(crate) fn forget(&self) {
        let mut buffer = vec![0; 64 << 10];
        while recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
    }

    /// Waits for so many notices of that sort; returns when the last one was heard.
    pub(crate) fn until(&self, count: usize, mut wanted: impl FnMut(&Notice<'_>) -> bool) -> Result<f64> {
        let (mut seen, mut buffer) = (0, vec![0; 64 << 10]);
        while seen < count {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .with_context(|| format!("heard {seen} of {count} notices"))?;
            let mut rest = &buffer[..length];
            while let [l0, l1, l2, l3, k0, k1, ..] = *rest {
                let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3]))?;
                ensure!((16..=rest.len()).contains(&length), "a notice of {length} bytes");
                let notice = Notice { kind: u16::from_ne_bytes([k0, k1]), body: &rest[16..length] };
                seen += usize::from(wanted(&notice));
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
        Ok(wall())
    }
}
