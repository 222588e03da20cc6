//! Captures the packets of one interface through a ring that is shared with the kernel (`TPACKET_V3`): no copy and
//! no system call per packet, the kernel's times, a filter in the kernel, and an honest count of what was lost.
//!
//! It decides nothing and reads nothing: frames go out as bytes. The interface is not made promiscuous, so nothing
//! about it changes. [`Rings`] listens to several at once.
//!
//! ```text
//! open ──> listening <──> down ──> gone
//!              └────────────────────┘
//! ```

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use byway_wire::LinkType;
use nix::sys::socket::{getsockopt, sockopt};

use super::netns::NamespaceError;
use super::pcap_filter::{Dlt, FilterError, Program, SNAPLEN_MAX, compile_live};
use super::watch::{WatchError, link_type, refused, socket as packet_socket};

mod frame;
mod memory;
mod precedence;
mod rings;
mod socket;

pub use frame::{BadBlock, Clock, Direction, Frame};
pub use precedence::take_precedence;
pub use rings::{Event, RINGS_MAX, RingId, Rings};

use frame::{Cursor, Header};
use memory::Memory;

/// One block: two of the largest segments that are usual inside of a host (64 KiB), and a hundred frames for each
/// wake of ours. What is longer than a block is cut, and [`Frame::is_cut`] tells. A power of two, as the kernel takes
/// whole orders of pages.
const BLOCK_BYTES: u32 = 128 << 10;
/// How many blocks a ring has: 8 MiB are 80 milliseconds of 100 MB/s, four times what tcpdump asks for. They also
/// count by time: at few packets each block holds one, so a reader may stand still for `BLOCKS` times
/// `BLOCK_WAIT_MS`, six seconds.
const BLOCKS: u32 = 64;
/// The fewest blocks: one to be filled, one to be read, and one between them.
const BLOCKS_MIN: u32 = 3;
/// The most blocks: 256 MiB of memory that cannot be swapped out.
const BLOCKS_MAX: u32 = 2048;
/// How long a frame waits in a block that is not full: a human hardly sees the delay, and an idle interface wakes
/// nobody (the kernel does not end a block without frames).
const BLOCK_WAIT_MS: u32 = 100;
/// How long [`Rings::finish`] may take: the kernel ends the last block after [`BLOCK_WAIT_MS`], more bounds a fault.
const FINISH_WAIT: Duration = Duration::from_secs(5);

/// A ring of one interface, in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Ring {
    interface: String,
    socket: OwnedFd,
    memory: Memory,
    link: LinkType,
    state: State,
    /// The block that is read or will be read next.
    block: usize,
    /// Where we are in it, if it is ours.
    cursor: Option<Cursor>,
    /// The frame that was handed out last, as long as its block is ours.
    shown: Option<Header>,
    losses: Losses,
}

/// How an interface is, as far as its ring has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its packets come.
    Listening,
    /// It was put down; its packets come again when it is up.
    Down,
    /// It is no more.
    Gone,
}

/// What to capture, and with how much memory.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to take, in tcpdump's words; everything without.
    pub filter: Option<String>,
    /// How many bytes of each frame to keep: 1 to [`SNAPLEN_MAX`], and no more than a block has.
    pub snaplen: u32,
    /// How many blocks of 128 KiB: 3 to 2048.
    pub blocks: u32,
    /// Whose time the frames get.
    pub time: Time,
}

/// Whose time the frames of a ring get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Time {
    /// The kernel's: the same clock for all interfaces of a host.
    #[default]
    Kernel,
    /// The card's, where somebody has switched its time stamps on (`hwstamp_ctl`, `ptp4l`); else the kernel's.
    /// [`Frame::clock`] tells which.
    Card,
}

impl Default for Options {
    fn default() -> Self {
        Self { filter: None, snaplen: SNAPLEN_MAX, blocks: BLOCKS, time: Time::Kernel }
    }
}

/// What a ring got and what it did not, since it was opened. `received` is `taken`, `kernel_drops`,
/// `unreadable` and what still waits in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    /// Frames that passed the filter.
    pub received: u64,
    /// Frames that were handed out.
    pub taken: u64,
    /// Frames that passed the filter when the ring was full.
    pub kernel_drops: u64,
    /// How often the ring was full.
    pub freezes: u64,
    /// Frames in blocks that could not be read.
    pub unreadable: u64,
    /// Frames among the taken ones that were longer than what was to be kept.
    pub cut_by_snaplen: u64,
}

impl Losses {
    /// How many frames wait in the ring still.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.received.saturating_sub(self.taken + self.kernel_drops + self.unreadable)
    }
}

/// Why there is no ring, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// As for a watch: no such interface, not allowed, an unknown link.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The filter.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The network namespace in which the interface is.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// There are rings enough.
    #[error("capture on {interface}: {RINGS_MAX} interfaces at once are the most")]
    TooMany {
        /// Which.
        interface: String,
    },
    /// The kernel has no ring for us: no memory, mostly.
    #[error("capture on {interface}: make a ring of {kib} KiB")]
    Make {
        /// Which.
        interface: String,
        /// How large.
        kib: u64,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// What the kernel put into the ring cannot be read; that block was given up.
    #[error("read the ring of {interface}")]
    Block {
        /// Which.
        interface: String,
        /// What is wrong.
        #[source]
        cause: BadBlock,
    },
    /// Some other call failed.
    #[error("capture on {interface}: {doing}")]
    Call {
        /// Which.
        interface: String,
        /// What was being done.
        doing: &'static str,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
}

impl Ring {
    /// Starts to capture on an interface of this thread's network namespace. Opened in [`super::netns::inside`] it
    /// stays there, and is read from here.
    ///
    /// From its return on every packet that passes the filter is kept for [`Ring::next`] or counted as lost.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn open(interface: &str, options: &Options) -> Result<Self, RingError> {
        let failed = |doing| move |cause| RingError::Call { interface: interface.to_owned(), doing, cause };
        let socket = packet_socket::open().map_err(|cause| refused(interface, cause))?;
        let index = packet_socket::index(&socket, interface)
            .map_err(|cause| WatchError::NoInterface { interface: interface.to_owned(), cause })?;
        // Until the filter is there, nothing may come: bound to no protocol, the socket knows its interface already.
        packet_socket::bind_silent(&socket, index).map_err(failed("bind a socket to it"))?;
        let kind = packet_socket::hardware(&socket).map_err(failed("ask for its kind"))?;
        let link = link_type(kind)
            .ok_or_else(|| WatchError::UnknownLink { interface: interface.to_owned(), kind })?;
        let program = program(interface, link, options)?;
        packet_socket::attach(&socket, program.instructions()).map_err(failed("attach the filter"))?;
        if options.time == Time::Card {
            socket::prefer_card_time(&socket).map_err(failed("ask for the card's time"))?;
        }
        let blocks = options.blocks.clamp(BLOCKS_MIN, BLOCKS_MAX);
        let memory = make(&socket, blocks).map_err(|cause| RingError::Make {
            interface: interface.to_owned(),
            kib: u64::from(BLOCK_BYTES >> 10) * u64::from(blocks),
            cause,
        })?;
        packet_socket::bind(&socket, index).map_err(failed("listen"))?;
        let (interface, losses) = (interface.to_owned(), Losses::default());
        Ok(Self {
            interface,
            socket,
            memory,
            link,
            state: State::Listening,
            block: 0,
            cursor: None,
            shown: None,
            losses,
        })
    }

    /// The name under which it was opened.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// How its frames start.
    #[must_use]
    pub fn link(&self) -> LinkType {
        self.link
    }

    /// How the interface is, as of the last [`Ring::listen`].
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The next frame, without waiting; `None` if none is there. The frame's place in the ring is given back to the
    /// kernel by a later call.
    ///
    /// # Errors
    /// [`RingError::Block`].
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend from itself")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, RingError> {
        let Some(cursor) = self.ready() else { return Ok(None) };
        let block = self.memory.block(self.block).unwrap_or_default();
        match cursor.read(block) {
            Ok((header, next)) => {
                self.cursor = Some(next);
                self.shown = Some(header);
                self.losses.taken += 1;
                let frame = header.frame(block);
                self.losses.cut_by_snaplen += u64::from(frame.as_ref().is_some_and(Frame::is_cut));
                Ok(frame)
            }
            Err(cause) => {
                self.cursor = Some(cursor.end());
                self.losses.unreadable += u64::from(cursor.left);
                Err(RingError::Block { interface: self.interface.clone(), cause })
            }
        }
    }

    /// The frame that [`Ring::next`] gave last, until it is called again.
    #[must_use]
    pub fn current(&self) -> Option<Frame<'_>> {
        self.shown?.frame(self.memory.block(self.block)?)
    }

    /// When the next frame passed, if one is there.
    fn head(&mut self) -> Option<u64> {
        let cursor = self.ready()?;
        Some(cursor.time_ns(self.memory.block(self.block)?).unwrap_or(0))
    }

    /// The place of the next frame, if one is there.
    fn ready(&mut self) -> Option<Cursor> {
        loop {
            match self.cursor {
                Some(cursor) if cursor.left > 0 => return Some(cursor),
                Some(_) => {
                    self.shown = None;
                    self.memory.give_back(self.block);
                    self.block = (self.block + 1) % self.memory.blocks();
                    self.cursor = None;
                }
                None => self.cursor = Some(Cursor::start(self.memory.block(self.block)?)),
            }
        }
    }

    /// Whether so many blocks wait that nobody should wait for anything else.
    fn is_pressed(&self) -> bool {
        let half = (self.block + self.memory.blocks() / 2) % self.memory.blocks();
        self.memory.block(half).is_some()
    }

    /// Hears whether the interface went down or away, or is back.
    ///
    /// # Errors
    /// [`RingError::Call`].
    pub fn listen(&mut self) -> Result<State, RingError> {
        // Asking takes the error off the socket; ENETDOWN is the only one that this kind of socket gets.
        let error = getsockopt(&self.socket, sockopt::SocketError);
        let error = error.map_err(|errno| self.call("ask for its errors", errno.into()))?;
        if error == 0 && self.state == State::Listening {
            return Ok(self.state);
        }
        if error != 0 && error != libc::ENETDOWN {
            return Err(self.call("receive packets", io::Error::from_raw_os_error(error)));
        }
        let bound = packet_socket::bound(&self.socket);
        self.state = match bound.map_err(|cause| self.call("ask whether it is there still", cause))? {
            None => State::Gone,
            Some(index) if packet_socket::is_up(&self.socket, index) => State::Listening,
            Some(_) => State::Down,
        };
        Ok(self.state)
    }

    /// What it got and what it did not.
    ///
    /// The kernel counts to 2³²: ask at least every few minutes ([`Rings`] does).
    ///
    /// # Errors
    /// [`RingError::Call`].
    pub fn losses(&mut self) -> Result<Losses, RingError> {
        let doing = "ask how many packets were lost";
        let news = socket::counts(&self.socket).map_err(|cause| RingError::Call {
            interface: self.interface.clone(),
            doing,
            cause,
        })?;
        self.losses.received += u64::from(news.received);
        self.losses.kernel_drops += u64::from(news.dropped);
        self.losses.freezes += u64::from(news.freezes);
        Ok(self.losses)
    }

    /// The same, as of the last time that it was asked.
    #[must_use]
    pub fn counted(&self) -> Losses {
        self.losses
    }

    /// Lets nothing new in.
    fn shut(&mut self) -> Result<(), RingError> {
        let nothing = Program::nothing();
        let shut = packet_socket::attach(&self.socket, nothing.instructions());
        shut.map_err(|cause| self.call("stop", cause))
    }

    /// Whether everything that passed the filter was handed out or dropped.
    fn is_dry(&mut self) -> Result<bool, RingError> {
        Ok(self.losses()?.waiting() == 0)
    }

    /// Whether everything that passed the filter was handed out, dropped, or is before us.
    fn is_shown(&mut self) -> Result<bool, RingError> {
        let waiting = self.losses()?.waiting();
        let blocks = self.memory.blocks();
        let ours = (0..blocks).map_while(|nth| self.memory.block((self.block + nth) % blocks));
        let frames = ours.enumerate().map(|(nth, block)| match self.cursor {
            Some(cursor) if nth == 0 => u64::from(cursor.left),
            _ => u64::from(Cursor::start(block).left),
        });
        Ok(frames.sum::<u64>() >= waiting)
    }

    fn call(&self, doing: &'static str, cause: io::Error) -> RingError {
        RingError::Call { interface: self.interface.clone(), doing, cause }
    }
}

impl AsFd for Ring {
    /// Readable when a block waits; in error when the interface went down.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn make(socket: &OwnedFd, blocks: u32) -> io::Result<Memory> {
    socket::make_ring(socket, BLOCK_BYTES, blocks, BLOCK_WAIT_MS)?;
    let whole = |number| usize::try_from(number).map_err(|_| io::ErrorKind::InvalidInput);
    Memory::map(socket, whole(BLOCK_BYTES)?, whole(blocks)?)
}

fn program(interface: &str, link: LinkType, options: &Options) -> Result<Program, FilterError> {
    let snaplen = options.snaplen.clamp(1, SNAPLEN_MAX);
    let dlt = if link == LinkType::RawIp { Dlt::RAW_IP } else { Dlt::ETHERNET };
    match options.filter.as_deref().map(str::trim) {
        None | Some("") => Ok(Program::everything(snaplen)),
        Some(text) => compile_live(text, interface, dlt, snaplen),
    }
}
