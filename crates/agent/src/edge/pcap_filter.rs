//! Filters in the words of tcpdump (`pcap-filter(7)`), compiled by libpcap itself: what tcpdump takes, this takes.
//!
//! libpcap is loaded when the first filter is compiled, so a machine that has none lacks filters and nothing else.
//!
//! For an interface libpcap has to know that it is one: Linux takes the VLAN tag out of a frame before it shows it,
//! and only with a live handle does libpcap ask the kernel for the tag instead of looking for it in the bytes. So
//! [`compile_live`] lets libpcap open the interface for a moment (without promiscuous mode), or `lo` where the
//! interface is not up.

use std::ops::Range;

mod libpcap;
mod place;
mod program;

use libpcap::Compiler;
pub use program::{BadProgram, INSTRUCTIONS_MAX, Program};

/// The longest filter: room for some hundred addresses. libpcap's optimizer needs the third power of the length: half
/// a second for 1 KiB, half a minute for this.
pub const FILTER_BYTES_MAX: usize = 4 << 10;
/// The most bytes of a packet that are kept, as with tcpdump (`MAXIMUM_SNAPLEN` of libpcap).
pub const SNAPLEN_MAX: u32 = 262_144;

/// How the packets of a file or an interface start, in libpcap's numbers (`DLT_…` of `pcap/dlt.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dlt(pub u16);

impl Dlt {
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// IPv4 or IPv6 without anything before it. The number is that of most systems, Linux among them.
    pub const RAW_IP: Self = Self(12);

    /// The number for a link type as files have it (`LINKTYPE_…`): they differ for raw IP only, of what Byway reads.
    #[must_use]
    pub fn of_file(link_type: u16) -> Self {
        match link_type {
            101 => Self::RAW_IP,
            other => Self(other),
        }
    }
}

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// libpcap is not installed.
    #[error(
        "filters need libpcap, which is not here: {why}\n  \
         Debian, Ubuntu: apt install libpcap0.8 (0.8t64 since 24.04); Fedora: dnf install libpcap"
    )]
    NoLibpcap {
        /// What the loader said.
        why: String,
    },
    /// The filter has too many bytes.
    #[error("the filter has {0} bytes, {FILTER_BYTES_MAX} is the most")]
    TooLong(usize),
    /// The filter has a byte that no filter has.
    #[error("the filter has a zero byte at {0}")]
    ZeroByte(usize),
    /// libpcap does not understand it.
    #[error("{}", place::told(text, message, place.as_ref()))]
    Refused {
        /// The filter.
        text: String,
        /// libpcap's words.
        message: String,
        /// What of the filter they are about (bytes), where the words tell.
        place: Option<Range<usize>>,
    },
    /// libpcap could not open the interface, nor `lo`.
    #[error("compile a filter for {interface}: {message}")]
    Open {
        /// Which.
        interface: String,
        /// libpcap's words.
        message: String,
    },
    /// What libpcap made of it cannot be run.
    #[error("the filter {text:?} cannot be run")]
    Program {
        /// The filter.
        text: String,
        /// Why.
        #[source]
        cause: BadProgram,
    },
}

/// Compiles a filter for the packets of a file: matches return `snaplen` (1 to [`SNAPLEN_MAX`]; more is cut).
///
/// Names of hosts in a filter are looked up, as with tcpdump.
///
/// # Errors
/// See [`FilterError`].
pub fn compile(text: &str, link: Dlt, snaplen: u32) -> Result<Program, FilterError> {
    let checked = check(text)?;
    let compiler = Compiler::dead(libpcap::library()?, i32::from(link.0), bounded(snaplen));
    let compiler =
        compiler.map_err(|message| FilterError::Open { interface: "a file".to_owned(), message })?;
    finish(text, &compiler, &checked)
}

/// Compiles a filter for an interface of this thread's network namespace, to be given to the kernel.
///
/// `link` is that of the interface, as the ring or the watch will show its frames.
///
/// # Errors
/// See [`FilterError`]; [`FilterError::Open`] without `CAP_NET_RAW`, and if neither the interface nor `lo` is up
/// while the filter speaks of VLANs.
pub fn compile_live(text: &str, interface: &str, link: Dlt, snaplen: u32) -> Result<Program, FilterError> {
    let program = compile_there(text, interface, link, snaplen)?;
    program.for_kernel().map_err(|cause| FilterError::Program { text: text.to_owned(), cause })
}

fn compile_there(text: &str, interface: &str, link: Dlt, snaplen: u32) -> Result<Program, FilterError> {
    if link != Dlt::ETHERNET {
        // Without an Ethernet header there is no tag to speak of: libpcap makes the same program, or says no.
        return compile(text, link, snaplen);
    }
    let checked = check(text)?;
    let library = libpcap::library()?;
    let open = |name: &str| match libpcap::c_text(name) {
        Some(name) => Compiler::live(library, &name, bounded(snaplen)),
        None => Err("its name has a zero byte".to_owned()),
    };
    match open(interface).or_else(|first| open("lo").map_err(|_| first)) {
        Ok(compiler) => finish(text, &compiler, &checked),
        // Only what is said of VLANs differs between a file and an interface.
        Err(_) if !place::speaks_of(text, "vlan") => compile(text, link, snaplen),
        Err(message) => Err(FilterError::Open { interface: interface.to_owned(), message }),
    }
}

fn check(text: &str) -> Result<std::ffi::CString, FilterError> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(FilterError::TooLong(text.len()));
    }
    let zero = || FilterError::ZeroByte(text.bytes().position(|byte| byte == 0).unwrap_or(0));
    libpcap::c_text(text).ok_or_else(zero)
}

fn bounded(snaplen: u32) -> i32 {
    i32::try_from(snaplen.clamp(1, SNAPLEN_MAX)).unwrap_or(i32::MAX)
}

fn finish(text: &str, compiler: &Compiler<'_>, checked: &std::ffi::CStr) -> Result<Program, FilterError> {
    let refused = |message: String| {
        let place = place::find(text, &message);
        FilterError::Refused { text: text.to_owned(), message, place }
    };
    let instructions = compiler.compile(checked).map_err(refused)?;
    Program::new(instructions).map_err(|cause| FilterError::Program { text: text.to_owned(), cause })
}

#[cfg(test)]
mod tests;
