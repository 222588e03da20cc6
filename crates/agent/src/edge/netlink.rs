//! Asks and tells the kernel over one blocking netlink socket: whole dumps, and batches.
//!
//! A batch is many requests in one datagram, with an acknowledgement asked for on the last only: the kernel
//! works through them in order and still answers every one that it refuses. (One acknowledgement each for a
//! thousand requests overflows the receive buffer, and the lost ones are then waited for for ever.)
//!
//! A dump is whole or it is an error: it never ends because the socket happened to be empty.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd as _, IntoRawFd as _, OwnedFd};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};

mod ask;

/// Requests in one datagram: large enough that the price of a system call vanishes, small enough that even
/// if all are refused, the answers (under 1 KiB each in the kernel's accounting) fit the receive buffer.
const BATCH_REQUESTS_MAX: usize = 500;
/// The receive buffer, for `BATCH_REQUESTS_MAX` refusals and for bursts of dump parts.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// How often a dump is asked for again because the kernel says that its table changed under the reader.
const DUMP_TRIES_MAX: usize = 16;
/// How long the kernel may take for one answer. It answers in microseconds; this bounds a fault.
const ANSWER_SECONDS_MAX: i64 = 10;
/// One read: the kernel fills dump datagrams to 32 KiB for readers that offer it.
const READ_BYTES: usize = 64 << 10;

/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Kinds below are about the conversation itself (`NLMSG_MIN_TYPE`).
const ENTRY_KIND_MIN: u16 = 16;

/// A blocking netlink socket. It stays in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One thing to ask of the kernel: a message and its flags (`NLM_F_CREATE`, `NLM_F_REPLACE`, …; the rest is
/// set by [`Netlink::batch`]).
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub message: RouteNetlinkMessage,
    /// How: the modifier flags only.
    pub flags: u16,
}

/// A request that the kernel refused.
#[derive(Debug)]
pub struct Refusal {
    /// Its place in the batch, from 0.
    pub nth: usize,
    /// The kernel's reason.
    pub cause: io::Error,
}

/// What can go wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket, or an option of it was refused.
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    /// A datagram was not taken.
    #[error("send {bytes} bytes to the kernel")]
    Send {
        /// Its size.
        bytes: usize,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// The kernel says no.
    #[error("the kernel refuses")]
    Refused(#[source] io::Error),
    /// No answer came, or answers were lost (`ENOBUFS`).
    #[error("read the kernel's answer")]
    Receive(#[source] io::Error),
    /// An answer that cannot be read.
    #[error("understand the kernel's answer: {0}")]
    Decode(String),
    /// A dump broke off, so what came before it is not the whole.
    #[error("the dump stopped after {seen} entries")]
    PartialDump {
        /// Entries before the break.
        seen: usize,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// The table changed during every one of our dumps.
    #[error("the table changed under {DUMP_TRIES_MAX} dumps in a row")]
    Restless,
}

impl Netlink {
    /// Opens a socket in the network namespace of this thread.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn open() -> Result<Self, NetlinkError> {
        Socket::new(NETLINK_ROUTE).and_then(Self::prepare).map_err(NetlinkError::Open)
    }

    /// Opens a `NETLINK_NETFILTER` socket in the network namespace of this thread.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn netfilter() -> Result<Self, NetlinkError> {
        Socket::new(NETLINK_NETFILTER).and_then(Self::prepare).map_err(NetlinkError::Open)
    }

    /// Takes a `NETLINK_ROUTE` socket of somebody else's making; it speaks of the namespace it was made in.
    ///
    /// # Errors
    /// [`NetlinkError::Open`].
    pub fn on(socket: OwnedFd) -> Result<Self, NetlinkError> {
        // SAFETY: the descriptor is ours alone, and the socket closes it.
        let socket = unsafe { Socket::from_raw_fd(socket.into_raw_fd()) };
        Self::prepare(socket).map_err(NetlinkError::Open)
    }

    fn prepare(mut socket: Socket) -> io::Result<Self> {
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_netlink_get_strict_chk(true)?;
        // Readable reasons, and refusals without a copy of the request: see NETLINK_EXT_ACK, NETLINK_CAP_ACK.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        grow_receive_buffer(&socket)?;
        limit_wait(&socket)?;
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(READ_BYTES) })
    }

    /// The port of this socket, by which notices tell who changed something.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Sends all requests in order and returns those that the kernel refused.
    ///
    /// # Errors
    /// When the conversation itself fails; some requests may have been done then, so look again.
    pub fn batch(&mut self, requests: &[Request]) -> Result<Vec<Refusal>, NetlinkError> {
        self.batch_written(requests, |request, body| (write_message(&request.message, body), request.flags))
    }

    /// As [`Netlink::batch`], for those who have so many requests that they write each one straight into the
    /// datagram: `write` appends the message without its header and says its kind and its modifier flags.
    ///
    /// # Errors
    /// As [`Netlink::batch`].
    pub fn batch_written<T>(
        &mut self,
        requests: &[T],
        write: impl Fn(&T, &mut Vec<u8>) -> (u16, u16),
    ) -> Result<Vec<Refusal>, NetlinkError> {
        let mut refusals = Vec::new();
        let mut datagram = Vec::new();
        for (nth, chunk) in requests.chunks(BATCH_REQUESTS_MAX).enumerate() {
            let first_sequence = self.sequence.wrapping_add(1);
            datagram.clear();
            for (nth, request) in chunk.iter().enumerate() {
                self.sequence = self.sequence.wrapping_add(1);
                let ack = if nth + 1 == chunk.len() { NLM_F_ACK } else { 0 };
                append(&mut datagram, NLM_F_REQUEST | ack, self.sequence, |body| write(request, body));
            }
            self.send(&datagram)?;
            self.await_chunk(first_sequence, chunk.len(), nth * BATCH_REQUESTS_MAX, &mut refusals)?;
        }
        Ok(refusals)
    }

    /// Sends one request and waits for the kernel's yes.
    ///
    /// # Errors
    /// The kernel's refusal as [`NetlinkError::Receive`], or a broken conversation.
    pub fn one(&mut self, request: Request) -> Result<(), NetlinkError> {
        match self.batch(&[request])?.pop() {
            None => Ok(()),
            Some(refusal) => Err(NetlinkError::Receive(refusal.cause)),
        }
    }

    fn await_chunk(
        &mut self,
        first_sequence: u32,
        count: usize,
        offset: usize,
        refusals: &mut Vec<Refusal>,
    ) -> Result<(), NetlinkError> {
        loop {
            self.receive()?;
            for message in Messages::<RouteNetlinkMessage>::new(&self.buffer) {
                let message = message?;
                let nth = message.header.sequence_number.wrapping_sub(first_sequence) as usize;
                // An answer to something older (a dump that was given up) is not ours to judge.
                let (true, NetlinkPayload::Error(answer)) = (nth < count, message.payload) else { continue };
                if answer.code.is_some() {
                    refusals.push(Refusal { nth: offset + nth, cause: answer.to_io() });
                }
                if nth + 1 == count {
                    return Ok(());
                }
            }
        }
    }

    /// Everything that the kernel lists for `request`, or an error.
    ///
    /// The socket checks strictly, so fields that are set in the request are filters where the kernel knows
    /// them (`rtnetlink(7)`, `NETLINK_GET_STRICT_CHK`).
    ///
    /// # Errors
    /// When the list did not arrive whole.
    pub fn dump(&mut self, request: &RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.dump_read(request, |kind, body| {
            let mut header = NetlinkHeader::default();
            header.message_type = kind;
            let entry = RouteNetlinkMessage::deserialize(&header, body);
            entry.map(Some).map_err(|error| NetlinkError::Decode(error.to_string()))
        })
    }

    /// As [`Netlink::dump`], for lists so long that they are read straight from the datagrams: `read` gets the
    /// kind and the body of each message, and keeps what it wants.
    ///
    /// # Errors
    /// As [`Netlink::dump`], and the first of `read`.
    pub fn dump_read<T>(
        &mut self,
        request: &RouteNetlinkMessage,
        read: impl Fn(u16, &[u8]) -> Result<Option<T>, NetlinkError>,
    ) -> Result<Vec<T>, NetlinkError> {
        self.dump_written(|body| write_message(request, body), read)
    }

    /// As [`Netlink::dump_read`], for requests of any protocol: `write` appends the request without its header and
    /// says its kind.
    ///
    /// # Errors
    /// As [`Netlink::dump_read`].
    pub fn dump_written<T>(
        &mut self,
        write: impl Fn(&mut Vec<u8>) -> u16,
        read: impl Fn(u16, &[u8]) -> Result<Option<T>, NetlinkError>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..DUMP_TRIES_MAX {
            self.sequence = self.sequence.wrapping_add(1);
            let mut datagram = Vec::new();
            append(&mut datagram, NLM_F_REQUEST | NLM_F_DUMP, self.sequence, |body| (write(body), 0));
            self.send(&datagram)?;
            let mut dump = Dump::new(self.sequence);
            while !dump.done {
                self.receive()?;
                dump.read(&self.buffer, &read)?;
            }
            if !dump.interrupted {
                return Ok(dump.entries);
            }
        }
        Err(NetlinkError::Restless)
    }

    fn send(&self, datagram: &[u8]) -> Result<(), NetlinkError> {
        let sent = self.socket.send(datagram, 0);
        sent.map(drop).map_err(|cause| NetlinkError::Send { bytes: datagram.len(), cause })
    }

    fn receive(&mut self) -> Result<(), NetlinkError> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(NetlinkError::Receive(cause)),
            }
        }
    }
}

fn grow_receive_buffer(socket: &Socket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt};
    // Above net.core.rmem_max only with CAP_NET_ADMIN of the first user namespace; a rootless lab has less.
    match setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES) {
        Ok(()) => Ok(()),
        Err(_) => setsockopt(socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES).map_err(io::Error::from),
    }
}

fn limit_wait(socket: &Socket) -> io::Result<()> {
    use nix::sys::{
        socket::{setsockopt, sockopt},
        time::{TimeVal, TimeValLike},
    };
    setsockopt(socket, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_SECONDS_MAX))
        .map_err(io::Error::from)
}

/// Appends a message without its header and says its kind.
fn write_message(message: &RouteNetlinkMessage, body: &mut Vec<u8>) -> u16 {
    let start = body.len();
    body.resize(start + NetlinkSerializable::buffer_len(message), 0);
    message.serialize(&mut body[start..]);
    message.message_type()
}

/// Appends one message: the header, and what `write` appends and says of its kind and flags.
fn append(datagram: &mut Vec<u8>, flags: u16, sequence: u32, write: impl FnOnce(&mut Vec<u8>) -> (u16, u16)) {
    let start = datagram.len();
    datagram.resize(start + HEADER_BYTES, 0);
    let (kind, more_flags) = write(datagram);
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(datagram.len() - start).unwrap_or(u32::MAX);
    header.message_type = kind;
    header.flags = flags | more_flags;
    header.sequence_number = sequence;
    header.emit(&mut datagram[start..]);
    datagram.resize(datagram.len().next_multiple_of(4), 0);
}

/// What has come of one dump.
#[derive(Debug)]
struct Dump<T> {
    sequence: u32,
    entries: Vec<T>,
    interrupted: bool,
    done: bool,
}

impl<T> Dump<T> {
    fn new(sequence: u32) -> Self {
        Self { sequence, entries: Vec::new(), interrupted: false, done: false }
    }

    /// Takes one datagram in.
    fn read(
        &mut self,
        datagram: &[u8],
        read: impl Fn(u16, &[u8]) -> Result<Option<T>, NetlinkError>,
    ) -> Result<(), NetlinkError> {
        for message in (Slices { rest: datagram }) {
            let message = message?;
            if message.sequence_number() != self.sequence {
                continue;
            }
            self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
            if message.message_type() >= ENTRY_KIND_MIN {
                self.entries.extend(read(message.message_type(), message.payload())?);
            } else {
                self.control(message.into_inner())?;
            }
        }
        Ok(())
    }

    /// Takes in what is not an entry.
    fn control(&mut self, message: &[u8]) -> Result<(), NetlinkError> {
        match decode::<RouteNetlinkMessage>(message)?.payload {
            NetlinkPayload::Done(done) if done.code < 0 => return Err(self.broken_off(-done.code)),
            NetlinkPayload::Done(_) => self.done = true,
            NetlinkPayload::Error(error) => return Err(self.broken_off(-error.raw_code())),
            NetlinkPayload::Overrun(_) => return Err(self.broken_off(libc::ENOBUFS)),
            _ => {}
        }
        Ok(())
    }

    fn broken_off(&self, errno: i32) -> NetlinkError {
        NetlinkError::PartialDump { seen: self.entries.len(), cause: io::Error::from_raw_os_error(errno) }
    }
}

/// The messages of one datagram, as they came.
struct Slices<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Slices<'a> {
    type Item = Result<NetlinkBuffer<&'a [u8]>, NetlinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let length = match NetlinkBuffer::new_checked(rest) {
            Ok(buffer) => buffer.length() as usize,
            Err(error) => return Some(Err(NetlinkError::Decode(error.to_string()))),
        };
        self.rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        Some(Ok(NetlinkBuffer::new(&rest[..length])))
    }
}

/// The messages of one datagram.
pub(crate) struct Messages<'a, I> {
    slices: Slices<'a>,
    kind: std::marker::PhantomData<I>,
}

impl<'a, I> Messages<'a, I> {
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { slices: Slices { rest: datagram }, kind: std::marker::PhantomData }
    }
}

impl<I: NetlinkDeserializable> Iterator for Messages<'_, I> {
    type Item = Result<NetlinkMessage<I>, NetlinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.slices.next()?.and_then(|message| decode(message.into_inner())))
    }
}

fn decode<I: NetlinkDeserializable>(message: &[u8]) -> Result<NetlinkMessage<I>, NetlinkError> {
    NetlinkMessage::deserialize(message).map_err(|error| NetlinkError::Decode(error.to_string()))
}

impl std::os::fd::AsFd for Netlink {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
