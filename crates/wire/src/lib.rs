//! Bytes to packets, and what identifies a packet wherever it is seen.
//!
//! This room reads what others sent: it borrows from the bytes, allocates nothing but for what has to wait, has a
//! bound for every loop and never panics, whatever the bytes are. It knows nothing of sockets, files, clocks or hosts.
//!
//! ```text
//! bytes ──> Frame ──> Packet ──> Transport (Icmp | Tcp | Udp | …)
//!             │          └──> PacketKey: the same at every point of the packet's way
//!             └──> Arp
//! ```
//!
//! Doors beside it: [`capture`] reads and writes the files in which others keep packets, [`field`] reads the
//! single fields of a frame by the names that Wireshark gave them. [`stream`] puts the bytes of TCP connections together,
//! [`tls`] opens those that a key log has the keys of, [`mysql`] reads what MySQL's clients and servers say in them, and
//! [`sql`] knows where the literals of a statement are.
//!
//! Decoding is lax: a frame that was cut short gives everything up to the cut, and a [`Stop`] that says in
//! which layer it ended, how many bytes were needed and how many there were.

#![forbid(unsafe_code)]

pub mod capture;
mod cooked;
pub mod field;
mod frame;
mod icmp;
mod key;
pub mod mysql;
mod packet;
pub mod sql;
mod stop;
pub mod stream;
mod text;
pub mod tls;
mod transport;

pub use cooked::{Cooked, Direction};
pub use frame::{Arp, Body, Ethernet, Frame, LinkType, VLAN_TAGS_MAX, VlanTags};
pub use icmp::{Echo, Icmp, IcmpError, IcmpMessage, IcmpVersion};
pub use key::{BadPacketKey, KEY_PAYLOAD_BYTES, KEY_SNAPLEN, PacketKey};
pub use packet::{Fragment, IPV6_EXTENSIONS_MAX, Packet, protocol};
pub use stop::{Layer, Stop};
pub use text::Named;
pub use transport::{Tcp, TcpFlags, TcpStart, Transport, Udp};
