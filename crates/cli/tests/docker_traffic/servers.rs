//! Servers in containers that tell everybody as whom they see them, and those who ask.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use byway_lab::Lab;
use nix::sys::socket::{Shutdown, shutdown};

/// Listens on one port of a node, for both families, until it goes out of scope.
pub(crate) struct Server {
    listener: Arc<TcpListener>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(lab: &Lab, node: &str, port: u16) -> Self {
        let bound = lab.inside(node, || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))).unwrap();
        let listener = Arc::new(bound.unwrap_or_else(|error| panic!("{node}: port {port}: {error}")));
        let accepting = Arc::clone(&listener);
        let thread = thread::spawn(move || {
            while let Ok((stream, source)) = accepting.accept() {
                // Who does not wait for the answer has asked in vain, and says so itself.
                drop(tell(stream, source.ip().to_canonical()));
            }
        });
        Self { listener, thread: Some(thread) }
    }
}

fn tell(mut stream: TcpStream, source: IpAddr) -> io::Result<()> {
    stream.write_all(source.to_string().as_bytes())
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the wait in accept.
        shutdown(self.listener.as_raw_fd(), Shutdown::Both).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Asks a server from a node: as whom it sees us; none if it does not answer in time, or not at all.
pub(crate) fn ask(lab: &Lab, from: &str, to: SocketAddr, wait: Duration) -> Option<IpAddr> {
    let connect = || TcpStream::connect_timeout(&to, wait);
    let mut stream = lab.inside(from, connect).unwrap().ok()?;
    stream.set_read_timeout(Some(wait)).unwrap();
    let mut said = String::new();
    // A proxy lets everybody in, and hangs up when nobody answers behind it.
    stream.read_to_string(&mut said).ok()?;
    said.parse().ok()
}
