//! The single fields of a frame, by the names that Wireshark gave them, printed as `tshark -T fields` prints them.
//!
//! A field can occur more than once in a frame: an ICMP error quotes the packet that it is about, so there are two
//! `ip.src`. The frame is cut into [`Layers`] once; each field then reads at its place in each layer of its kind.
//!
//! ```text
//! bytes ──> Layers ──(Flows: what only earlier packets tell)──> Subject ──> Field::write ──> Cell
//! ```
//!
//! Nothing is put together again: a fragment or a segment is shown as it passed. That is what tshark prints with
//! `-o ip.defragment:FALSE -o ipv6.defragment:FALSE -o tcp.desegment_tcp_streams:FALSE -o tcp.no_subdissector_on_error:FALSE`.

mod cell;
mod flows;
mod layers;
mod number;
mod special;
mod table;

pub use cell::{Cell, Occurrence};
pub use flows::{FLOWS_MAX, Flows};
pub use layers::{Kind, LAYERS_MAX, LayerAt, Layers, Quoted};
pub use table::{FIELDS, Field, find};

use crate::capture::Comments;

/// A packet, ready to be asked for its fields.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its bytes, as far as they were kept.
    pub bytes: &'a [u8],
    /// How long it was on the link.
    pub original_len: u32,
    /// Which packet it is, from 1.
    pub number: u64,
    /// When it was seen, in nanoseconds since 1970.
    pub time_ns: Option<u64>,
    /// When the first packet was seen.
    pub first_ns: Option<u64>,
    /// When the packet before it was seen.
    pub previous_ns: Option<u64>,
    /// Which interface, from 0; a pcap does not say.
    pub interface: Option<usize>,
    /// The interface's name; `unknown` is printed where there is an interface without one.
    pub interface_name: Option<&'a str>,
    /// What was written about it.
    pub comments: Comments<'a>,
    /// Its layers.
    pub layers: &'a Layers,
}
