//! Follows the packets of one flow through the nftables rules of a network namespace: iptables-nft, firewalld, Docker,
//! everybody.
//!
//! The kernel tells it by itself for packets that carry a mark (`meta nftrace set 1`). We set it with rules in tables
//! of our own, which are bound to our socket: the kernel takes them away when we end, however we end. They see, and
//! change nothing.
//!
//! What is not seen: rules of iptables-legacy (see [`super::counters`]), packets that a bridge passes on without asking the
//! rules of IP, and what ends before the first hook (the kernel's reason tells: `super::drops`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use byway_fabric::evidence::{Flow, Grouping, TracedPacket, trace_bytes};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::netlink::{Netlink, NetlinkError, Refusal};
use super::program::ProgramError;

mod rules;
mod texts;

pub use rules::Tie;

/// `NFNLGRP_NFTRACE` of `linux/netfilter/nfnetlink.h`.
const GROUP: u32 = 9;
/// Room for messages that nobody has taken yet, each under 1 KiB in the kernel's accounting: some hundred packets'
/// whole way.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
/// One datagram holds one message.
const READ_BYTES: usize = 8 << 10;
/// Traces at the same time in one namespace: each has tables of its own.
const TRACES_MAX: usize = 8;

/// A trace under way.
#[derive(Debug)]
pub struct RuleTrace {
    /// Holds the tables.
    owner: Netlink,
    ear: Socket,
    flow: Flow,
    table: String,
    tie: Tie,
    grouping: Grouping,
    lost: Lost,
}

/// What a trace has not heard or not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// How often the kernel had more to tell than we had taken (`ENOBUFS`): steps are missing then, how many is not
    /// known.
    pub overruns: u64,
    /// Messages that could not be read.
    pub malformed: u64,
    /// Packets beyond `PACKETS_MAX`.
    pub packets: u64,
}

/// Why rules cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum RuleTraceError {
    /// Not allowed.
    #[error(
        "trace rules: this needs the capability CAP_NET_ADMIN in this network namespace (run it as root, with sudo)"
    )]
    NotAllowed(#[source] io::Error),
    /// The kernel has no nftables.
    #[error("trace rules: this kernel has no nftables (CONFIG_NF_TABLES)")]
    NoNftables(#[source] io::Error),
    /// The kernel refused our tables.
    #[error("trace rules: the kernel refused the table {table}")]
    Refused {
        /// The table's name.
        table: String,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// Enough of them.
    #[error("trace rules: {TRACES_MAX} traces are under way in this network namespace already")]
    TooMany,
    /// The conversation with the kernel.
    #[error("trace rules")]
    Netlink(#[from] NetlinkError),
    /// The socket that hears the kernel.
    #[error("hear what the kernel tells of rules")]
    Hear(#[source] io::Error),
    /// The texts of rules.
    #[error("look up the rules that packets met")]
    Texts(#[from] ProgramError),
}

impl RuleTrace {
    /// Starts to trace a flow in the network namespace of this thread. From its return on every packet of the flow is
    /// heard.
    ///
    /// # Errors
    /// See [`RuleTraceError`].
    pub fn open(flow: &Flow) -> Result<Self, RuleTraceError> {
        let ear = listen().map_err(RuleTraceError::Hear)?;
        let mut owner = Netlink::netfilter()?;
        let (table, tie) = make_tables(&mut owner, flow)?;
        let grouping = Grouping::new(&table);
        Ok(Self { owner, ear, flow: flow.clone(), table, tie, grouping, lost: Lost::default() })
    }

    /// Whether the kernel takes the tables away if this process is killed.
    #[must_use]
    pub fn tie(&self) -> Tie {
        self.tie
    }

    /// The name of our tables, in the families of the flow (`ip`, `ip6`).
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Takes in what the kernel has told, without waiting; returns how many messages there were.
    ///
    /// # Errors
    /// When the socket broke.
    pub fn take(&mut self) -> Result<usize, RuleTraceError> {
        let mut buffer = Vec::with_capacity(READ_BYTES);
        let mut count = 0;
        loop {
            buffer.clear();
            match self.ear.recv(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {
                    count += 1;
                    self.read(&buffer);
                }
                Err(cause) if cause.raw_os_error() == Some(libc::ENOBUFS) => self.lost.overruns += 1,
                Err(cause) => match cause.kind() {
                    io::ErrorKind::WouldBlock => return Ok(count),
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(RuleTraceError::Hear(cause)),
                },
            }
        }
    }

    fn read(&mut self, datagram: &[u8]) {
        // `struct nlmsghdr`: length, kind, flags, sequence, port.
        let kind = datagram.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
        match (kind, datagram.get(16..)) {
            (Some(trace_bytes::TRACE), Some(body)) => match trace_bytes::read(body) {
                Ok(message) => self.grouping.take(message),
                Err(_) => self.lost.malformed += 1,
            },
            (Some(_), _) => {}
            (None, _) => self.lost.malformed += 1,
        }
    }

    /// Ends the trace and tells the packets with the rules that they met, in the order in which they came. The texts are
    /// those of now: a rule that has gone meanwhile has none. In the network namespace in which the trace was opened.
    ///
    /// # Errors
    /// When the kernel's last words cannot be heard, or `nft` cannot be run.
    pub fn finish(mut self) -> Result<(Vec<TracedPacket>, Lost), RuleTraceError> {
        self.take()?;
        let own = std::mem::replace(&mut self.grouping, Grouping::new(""));
        let (trails, packets) = own.finish();
        let lost = Lost { packets, ..self.lost };
        let mut texts = texts::Texts::default();
        texts.look_up(&trails)?;
        let name = |index| nix::net::if_::if_indextoname(index).ok()?.into_string().ok();
        Ok((trails.into_iter().map(|trail| texts.tell(trail, name)).collect(), lost))
    }
}

impl Drop for RuleTrace {
    fn drop(&mut self) {
        // With the socket the tables go too, but only once the kernel gets to it.
        let table = self.table.as_str();
        let gone = rules::farewell(&self.flow);
        let refused =
            self.owner.transaction(rules::SUBSYSTEM, &gone, |change, body| change.write(table, body));
        if let Err(error) = refused {
            tracing::warn!(%error, table, "the tables of a trace were not removed");
        }
    }
}

impl AsFd for RuleTrace {
    /// Readable when the kernel has told something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }
}

fn listen() -> io::Result<Socket> {
    use nix::sys::socket::{setsockopt, sockopt};
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    // Above net.core.rmem_max only with CAP_NET_ADMIN of the first user namespace; a rootless lab has less.
    let forced = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES);
    forced.or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES))?;
    socket.add_membership(GROUP)?;
    Ok(socket)
}

/// Makes the tables under the first name that is free, tied to us if the kernel can.
fn make_tables(owner: &mut Netlink, flow: &Flow) -> Result<(String, Tie), RuleTraceError> {
    let mut tie = Tie::Owned;
    let mut nth = 1;
    while nth <= TRACES_MAX {
        let table = if nth == 1 { "byway".to_owned() } else { format!("byway-{nth}") };
        let changes = rules::changes(flow, tie);
        let refused =
            owner.transaction(rules::SUBSYSTEM, &changes, |change, body| change.write(&table, body))?;
        let Some(Refusal { nth: place, cause }) = refused else { return Ok((table, tie)) };
        match cause.raw_os_error() {
            // The transaction itself.
            Some(libc::EPERM) if place == 0 => return Err(RuleTraceError::NotAllowed(cause)),
            Some(libc::EOPNOTSUPP | libc::EPROTONOSUPPORT) if place == 0 => {
                return Err(RuleTraceError::NoNftables(cause));
            }
            // Another trace's.
            Some(libc::EEXIST | libc::EPERM | libc::EBUSY) => nth += 1,
            // Before 5.12 no table had an owner.
            Some(libc::EOPNOTSUPP | libc::EINVAL) if tie == Tie::Owned => tie = Tie::Plain,
            _ => return Err(RuleTraceError::Refused { table, cause }),
        }
    }
    Err(RuleTraceError::TooMany)
}
