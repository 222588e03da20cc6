//! Hears the routes of all hosts of a lab, each with the time when it came.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use byway_agent::edge::etcd::{Options, TlsFiles};
use byway_agent::store::Shared;
use byway_fabric::observed::PROTOCOL;
use byway_lab::Lab;
use ipnet::IpNet;
use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, setsockopt, sockopt};

/// `RTNLGRP_IPV4_ROUTE` of `linux/rtnetlink.h`.
const IPV4_ROUTE: u32 = 7;
/// For thousands of notices that come at once.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// How often it is looked whether time is up.
const PACE: u16 = 100;

/// What one host's kernel has said.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Byway's IPv4 routes that came and have not gone, and when.
    pub(crate) routes: BTreeMap<IpNet, Instant>,
    /// When the last one came.
    pub(crate) last: Option<Instant>,
}

/// A socket in each host, and what it told.
pub(crate) struct Ears {
    all: Vec<(OwnedFd, Heard)>,
}

impl Ears {
    /// Hears everything that comes from now on.
    pub(crate) fn open(lab: &Lab, hosts: &[String]) -> Result<Self> {
        let ear = |host: &String| {
            let socket = lab.socket(host, libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
            setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1 << (IPV4_ROUTE - 1)))?;
            Ok((socket, Heard::default()))
        };
        Ok(Self { all: hosts.iter().map(ear).collect::<Result<_>>()? })
    }

    /// Waits until all are `content`.
    pub(crate) fn until(
        &mut self,
        patience: Duration,
        content: impl Fn(&Heard) -> bool,
    ) -> Result<Vec<&Heard>> {
        let deadline = Instant::now() + patience;
        let mut buffer = vec![0; 64 << 10];
        while !self.all.iter().all(|(_, heard)| content(heard)) {
            if Instant::now() > deadline {
                let missing = self.all.iter().filter(|(_, heard)| !content(heard)).count();
                bail!("{missing} of {} hosts have not what they should have", self.all.len());
            }
            let mut polled: Vec<PollFd<'_>> =
                self.all.iter().map(|(socket, _)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
            poll(&mut polled, PollTimeout::from(PACE))?;
            let ready: Vec<bool> = polled.iter().map(|one| one.any() == Some(true)).collect();
            for ((socket, heard), _) in self.all.iter_mut().zip(ready).filter(|(_, is_ready)| *is_ready) {
                heard.take(socket, &mut buffer)?;
            }
        }
        Ok(self.all.iter().map(|(_, heard)| heard).collect())
    }
}

impl Heard {
    fn take(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> Result<()> {
        loop {
            let length = match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error).context("hear the kernel"),
            };
            let now = Instant::now();
            let mut rest = &buffer[..length];
            while let Some((message, tail)) = message(rest) {
                self.note(message, now);
                rest = tail;
            }
        }
    }

    fn note(&mut self, (kind, body): Message<'_>, now: Instant) {
        // `struct rtmsg`: family, lengths of both prefixes, TOS, table, protocol (linux/rtnetlink.h).
        let Some(&[_, length, _, _, _, PROTOCOL, ..]) = body.get(..12) else { return };
        let Some(to) = destination(&body[12..], length) else { return };
        match kind {
            libc::RTM_NEWROUTE => {
                self.routes.entry(to).or_insert(now);
                self.last = Some(now);
            }
            libc::RTM_DELROUTE => drop(self.routes.remove(&to)),
            _ => {}
        }
    }
}

/// The type of a message, and what follows its header.
type Message<'a> = (u16, &'a [u8]);

/// The first message of a datagram, and what is behind it.
fn message(bytes: &[u8]) -> Option<(Message<'_>, &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..length)?;
    Some(((kind, body), bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn destination(mut attributes: &[u8], prefix: u8) -> Option<IpNet> {
    const RTA_DST: u16 = 1;
    loop {
        let length = u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let value = attributes.get(4..length)?;
        if kind == RTA_DST {
            let octets: [u8; 4] = value.try_into().ok()?;
            return IpNet::new(IpAddr::V4(Ipv4Addr::from(octets)), prefix).ok();
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// Has a host's agent try nobody.
pub(crate) fn without_health(lab: &Lab, host: &str) -> Result<()> {
    let script = "mkdir -p /etc/byway; echo 'health = \"off\"' > /etc/byway/byway.toml";
    let done = lab.command(host, "sh").args(["-ec", script]).status().context("write the settings")?;
    ensure!(done.success(), "the settings of {host} were not written");
    Ok(())
}

/// How the bench itself reaches etcd.
pub(crate) fn shared(endpoint: &str) -> Result<Shared> {
    let options = Options {
        endpoints: vec![endpoint.parse()?],
        tls: TlsFiles::default(),
        login: None,
        prefix: "/byway/".to_owned(),
    };
    Ok(Shared { options, lease: Duration::from_mins(5), addresses: Vec::new() })
}

/// Runs a conversation on this thread, in its network.
pub(crate) fn within<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(work)
}
