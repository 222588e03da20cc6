//! The kinds of traffic: what the asking end does, what the serving end does, and what both have spent.
//!
//! Each end looks at its own clocks after its own warm-up and again after the last operation, so both count the
//! same operations. A stream's ends look when so many bytes are behind them; what the sockets hold at that moment
//! is the same at both looks.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

use crate::processor::Core;
use crate::verdict::{Samples, thread_cpu, wall};

/// What a stream's ends hand over at once.
const CHUNK_BYTES: usize = 128 << 10;
/// How long a knock waits for the door to open.
const KNOCK_WAIT: Duration = Duration::from_secs(1);
/// Every kernel has it, and it does not pace: a machine may have been told to use BBR, whose timers cost too.
const CONGESTION_CONTROL: &str = "reno";

/// One kind of traffic.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) title: &'static str,
    /// What the costs are divided by.
    pub(crate) per: Per,
    counts: Counts,
    serve: fn(&Door, Counts) -> Result<Served>,
    ask: fn(&Addresses, Counts, &Core) -> Result<Asked>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Per {
    /// Each is waited for, so it has a latency.
    Operation,
    /// One way, as fast as it goes.
    Byte,
}

/// How many operations, or bytes, are not measured at first, and how many then are.
#[derive(Debug, Clone, Copy)]
struct Counts {
    warm: usize,
    measured: usize,
}

/// Where the serving end is asked.
#[derive(Debug)]
pub(crate) struct Door {
    tcp: TcpListener,
    udp: UdpSocket,
}

/// What is behind a door's name plate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    tcp: SocketAddr,
    udp: SocketAddr,
}

/// What the serving end has spent.
#[derive(Debug)]
pub(crate) struct Served {
    cpu: f64,
    wall: f64,
}

/// What the asking end has spent, `ksoftirqd` included, and how long each operation took.
#[derive(Debug)]
pub(crate) struct Asked {
    cpu: f64,
    took: Vec<f64>,
}

/// What one measurement has come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// CPU seconds of both ends, for an operation or a byte.
    pub(crate) cpu: f64,
    /// Seconds that the middle operation took.
    pub(crate) p50: f64,
    /// Seconds that 99 of 100 operations did not exceed.
    pub(crate) p99: f64,
    /// Operations or bytes in a second, at the serving end.
    pub(crate) rate: f64,
}

/// One byte each way on a connection that stays.
pub(crate) static EXCHANGE: Kind = Kind {
    title: "TCP request and response",
    per: Per::Operation,
    counts: Counts { warm: 300, measured: 2000 },
    serve: serve_exchange,
    ask: ask_exchange,
};
/// One byte each way as datagrams.
pub(crate) static DATAGRAM: Kind = Kind {
    title: "UDP request and response",
    per: Per::Operation,
    counts: Counts { warm: 300, measured: 3000 },
    serve: serve_datagram,
    ask: ask_datagram,
};
/// A connection for each request.
pub(crate) static CONNECTION: Kind = Kind {
    title: "TCP connect, request, close",
    per: Per::Operation,
    counts: Counts { warm: 50, measured: 400 },
    serve: serve_connection,
    ask: ask_connection,
};
/// Bytes one way.
pub(crate) static MERGED: Kind = Kind {
    title: "TCP stream, merged wire",
    per: Per::Byte,
    counts: Counts { warm: 48 << 20, measured: 192 << 20 },
    serve: serve_stream,
    ask: ask_stream,
};
/// Bytes one way, on a wire that carries frames of the MTU.
pub(crate) static SEGMENTS: Kind = Kind {
    title: "TCP stream, segments",
    per: Per::Byte,
    counts: Counts { warm: 16 << 20, measured: 64 << 20 },
    serve: serve_stream,
    ask: ask_stream,
};
/// Bytes one way on a wire of 1 Gbit/s, for half a second.
pub(crate) static GIGABIT: Kind = Kind {
    title: "TCP stream, 1 Gbit/s",
    per: Per::Byte,
    counts: Counts { warm: 16 << 20, measured: 64 << 20 },
    serve: serve_stream,
    ask: ask_stream,
};

impl Kind {
    pub(crate) fn serve(&self, door: &Door) -> Result<Served> {
        (self.serve)(door, self.counts).context(self.title)
    }

    pub(crate) fn ask(&self, addresses: &Addresses, core: &Core) -> Result<Asked> {
        (self.ask)(addresses, self.counts, core).context(self.title)
    }

    pub(crate) fn cost(&self, served: &Served, asked: Asked) -> Result<Cost> {
        let count = f64::from(u32::try_from(self.counts.measured)?);
        let took = Samples::from_iter(asked.took);
        let (p50, p99) = (took.median(), took.at_percent(99));
        Ok(Cost { cpu: (served.cpu + asked.cpu) / count, p50, p99, rate: count / served.wall })
    }
}

impl Addresses {
    /// A connection, to see whether the way is open.
    pub(crate) fn knock(&self) -> Result<TcpStream> {
        TcpStream::connect_timeout(&self.tcp, KNOCK_WAIT).with_context(|| format!("connect to {}", self.tcp))
    }
}

impl Door {
    pub(crate) fn open(at: Ipv4Addr) -> Result<Self> {
        let tcp = TcpListener::bind((at, 0)).with_context(|| format!("listen on {at}"))?;
        // What is accepted inherits it.
        use_congestion_control(&tcp)?;
        Ok(Self { tcp, udp: UdpSocket::bind((at, 0)).context("open a socket")? })
    }

    pub(crate) fn addresses(&self) -> Result<Addresses> {
        Ok(Addresses { tcp: self.tcp.local_addr()?, udp: self.udp.local_addr()? })
    }

    pub(crate) fn accept(&self) -> Result<(TcpStream, SocketAddr)> {
        let (stream, from) = self.tcp.accept().context("accept")?;
        stream.set_nodelay(true)?;
        Ok((stream, from))
    }
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(to).with_context(|| format!("connect to {to}"))?;
    use_congestion_control(&stream)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn use_congestion_control(socket: &impl std::os::fd::AsFd) -> Result<()> {
    let name = CONGESTION_CONTROL.into();
    setsockopt(socket, sockopt::TcpCongestion, &name).with_context(|| format!("use {CONGESTION_CONTROL}"))
}

/// The serving end of everything that goes operation by operation.
fn serve_each(counts: Counts, mut operation: impl FnMut() -> Result<()>) -> Result<Served> {
    (0..counts.warm).try_for_each(|_| operation())?;
    let (cpu, begun) = (thread_cpu(), wall());
    (0..counts.measured).try_for_each(|_| operation())?;
    Ok(Served { cpu: thread_cpu() - cpu, wall: wall() - begun })
}

/// The asking end of the same.
fn ask_each(counts: Counts, core: &Core, mut operation: impl FnMut() -> Result<()>) -> Result<Asked> {
    let mut took = Vec::with_capacity(counts.measured);
    (0..counts.warm).try_for_each(|_| operation())?;
    let cpu = core.spent()?;
    let mut last = wall();
    for _ in 0..counts.measured {
        operation()?;
        let now = wall();
        took.push(now - last);
        last = now;
    }
    Ok(Asked { cpu: core.spent()? - cpu, took })
}

fn serve_exchange(door: &Door, counts: Counts) -> Result<Served> {
    let (mut stream, _) = door.accept()?;
    serve_each(counts, || answer(&mut stream))
}

fn ask_exchange(to: &Addresses, counts: Counts, core: &Core) -> Result<Asked> {
    let mut stream = connect(to.tcp)?;
    ask_each(counts, core, || request(&mut stream))
}

fn serve_datagram(door: &Door, counts: Counts) -> Result<Served> {
    let mut byte = [0];
    serve_each(counts, || {
        let (_, from) = door.udp.recv_from(&mut byte)?;
        door.udp.send_to(&byte, from)?;
        Ok(())
    })
}

fn ask_datagram(to: &Addresses, counts: Counts, core: &Core) -> Result<Asked> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("open a socket")?;
    socket.connect(to.udp)?;
    let mut byte = [0];
    ask_each(counts, core, || {
        socket.send(&[1])?;
        socket.recv(&mut byte)?;
        Ok(())
    })
}

fn serve_connection(door: &Door, counts: Counts) -> Result<Served> {
    serve_each(counts, || answer(&mut door.tcp.accept()?.0))
}

fn ask_connection(to: &Addresses, counts: Counts, core: &Core) -> Result<Asked> {
    ask_each(counts, core, || {
        let mut stream = TcpStream::connect(to.tcp).with_context(|| format!("connect to {}", to.tcp))?;
        request(&mut stream)?;
        // The serving end closes first, so that the asking end does not run out of ports.
        ensure!(stream.read(&mut [0])? == 0, "the answer has a second byte");
        Ok(())
    })
}

fn answer(stream: &mut TcpStream) -> Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(stream.write_all(&byte)?)
}

fn request(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&[1])?;
    Ok(stream.read_exact(&mut [0])?)
}

fn serve_stream(door: &Door, counts: Counts) -> Result<Served> {
    let (mut stream, _) = door.accept()?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut take = |count: usize| -> Result<()> {
        let mut left = count;
        while left > 0 {
            let most = left.min(CHUNK_BYTES);
            let taken = stream.read(&mut buffer[..most])?;
            ensure!(taken > 0, "the stream ended {left} bytes too early");
            left -= taken;
        }
        Ok(())
    };
    take(counts.warm)?;
    let (cpu, begun) = (thread_cpu(), wall());
    take(counts.measured)?;
    Ok(Served { cpu: thread_cpu() - cpu, wall: wall() - begun })
}

fn ask_stream(to: &Addresses, counts: Counts, core: &Core) -> Result<Asked> {
    let mut stream = connect(to.tcp)?;
    let chunk = vec![1; CHUNK_BYTES];
    let mut give = |count: usize| (0..count / CHUNK_BYTES).try_for_each(|_| stream.write_all(&chunk));
    give(counts.warm)?;
    let cpu = core.spent()?;
    give(counts.measured)?;
    let cpu = core.spent()? - cpu;
    // Until all of it was taken: a stream that is let go with bytes on the way goes on in the kernel.
    stream.shutdown(std::net::Shutdown::Write)?;
    ensure!(stream.read(&mut [0])? == 0, "a stream is not answered");
    Ok(Asked { cpu, took: Vec::new() })
}
