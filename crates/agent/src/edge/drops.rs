//! Hears from the kernel itself which packets of a flow it lets go, why, and where: on this host, in all the network
//! namespaces that are asked about, its containers' too.
//!
//! A small eBPF program at the tracepoint `skb:kfree_skb` picks them out (`drops/drops.bpf.c`). It is there while a trace
//! runs and goes with it, however it ends. It needs Linux 5.17, for the reason, with type information (BTF), and the
//! capabilities `CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`, of the machine itself: a user namespace's are not
//! enough.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use aya::maps::{Array, HashMap, MapData, MapError, RingBuf};
use aya::programs::{BtfTracePoint, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader};
use byway_fabric::evidence::{ENDS_MAX, Flow, HEAD_BYTES_MAX, KernelDrop, PacketSummary, reasons};
use nix::time::{ClockId, clock_gettime};

mod symbols;

/// The program, compiled by `build.rs`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/drops.bpf.o"));
/// The kernel's types.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";
/// Namespaces that one trace looks at: a host's own and as many containers. The program has room for as many.
pub const NAMESPACES_MAX: usize = 4096;
/// Drops that are kept of one trace. It follows a few probes; a flow that loses more than this has told enough.
pub const DROPS_MAX: usize = 4096;
/// `struct drop` of the program.
const RECORD_BYTES: usize = 48 + HEAD_BYTES_MAX;
/// The reason that means none yet, and that of packets which arrived, by their names.
const NOT_DROPPED: &str = "SKB_NOT_DROPPED_YET";
const CONSUMED: &str = "SKB_CONSUMED";

/// A watch on the packets that the kernel lets go.
pub struct Drops {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    names: Names,
    /// What to add to the kernel's clock since its start for the time of day.
    since_1970_ns: u64,
    found: Vec<Record>,
    beyond: u64,
}

/// Why drops cannot be heard.
#[derive(Debug, thiserror::Error)]
pub enum DropsError {
    /// The kernel does not describe its types.
    #[error(
        "hear of dropped packets: this kernel does not describe its types in {KERNEL_TYPES} (CONFIG_DEBUG_INFO_BTF), \
         so reasons are not known here"
    )]
    NoTypes(#[source] io::Error),
    /// The kernel has no reasons.
    #[error("hear of dropped packets: this kernel knows no reasons for drops; Linux 5.17 and later do")]
    TooOld,
    /// Not allowed.
    #[error(
        "hear of dropped packets: this needs the capabilities CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, of the machine \
         itself (run it as root, outside of user namespaces and with bpf allowed)"
    )]
    NotAllowed(#[source] io::Error),
    /// The kernel does not take the program.
    #[error("hear of dropped packets: {doing}")]
    Refused {
        /// What we were doing.
        doing: &'static str,
        /// The reason.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Too many namespaces.
    #[error("hear of dropped packets: {0} network namespaces are more than {NAMESPACES_MAX}")]
    TooManyNamespaces(usize),
}

/// One record, as the program writes it.
#[derive(Debug)]
struct Record {
    time: u64,
    location: u64,
    reason: u32,
    namespace: u32,
    interface: Option<String>,
    head: Vec<u8>,
}

/// The names of reasons, by their numbers: of the core, and of the subsystems (upper half of the number).
#[derive(Debug)]
struct Names {
    core: BTreeMap<u32, String>,
    subsystems: BTreeMap<u32, String>,
}

impl Drops {
    /// Starts to hear of drops of a flow in these network namespaces, by the inodes of their `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// See [`DropsError`].
    pub fn open(flow: &Flow, namespaces: &[u32]) -> Result<Self, DropsError> {
        if namespaces.len() > NAMESPACES_MAX {
            return Err(DropsError::TooManyNamespaces(namespaces.len()));
        }
        let opened = Self::start(flow, namespaces);
        // The kernel's types are some ten megabytes, and more while they are read.
        give_back();
        opened
    }

    fn start(flow: &Flow, namespaces: &[u32]) -> Result<Self, DropsError> {
        let types = std::fs::read(KERNEL_TYPES).map_err(DropsError::NoTypes)?;
        let names = Names::read(&types).ok_or(DropsError::TooOld)?;
        drop(types);
        let number = |name| names.number(name).unwrap_or(u32::MAX);
        let (not_dropped, consumed, protocol) =
            (number(NOT_DROPPED), number(CONSUMED), u32::from(flow.protocol));
        let mut loader = EbpfLoader::new();
        loader.override_global("PROTOCOL", &protocol, true);
        loader
            .override_global("NOT_DROPPED", &not_dropped, true)
            .override_global("CONSUMED", &consumed, true);
        let mut ebpf = loader.load(OBJECT).map_err(|error| refused("load the program", error))?;
        drop(loader);
        fill(&mut ebpf, flow, namespaces).map_err(|error| refused("tell it what to look at", error))?;
        attach(&mut ebpf)?;
        let ring = ebpf.take_map("RING").ok_or_else(|| missing("RING"))?;
        let ring = RingBuf::try_from(ring).map_err(|error| refused("open the ring", error))?;
        let since_1970_ns = now_ns(ClockId::CLOCK_REALTIME).saturating_sub(now_ns(ClockId::CLOCK_MONOTONIC));
        Ok(Self { ebpf, ring, names, since_1970_ns, found: Vec::new(), beyond: 0 })
    }

    /// Takes in what the kernel has told, without waiting; returns how many drops there were.
    pub fn take(&mut self) -> usize {
        let mut count = 0;
        while let Some(bytes) = self.ring.next() {
            count += 1;
            match Record::read(&bytes) {
                Some(record) if self.found.len() < DROPS_MAX => self.found.push(record),
                _ => self.beyond += 1,
            }
        }
        count
    }

    /// Ends the watch: the drops in the order in which they happened, and how many were lost because nobody took them in
    /// time or there were more than [`DROPS_MAX`].
    ///
    /// # Errors
    /// When the count of what was lost cannot be read.
    pub fn finish(mut self) -> Result<(Vec<KernelDrop>, u64), DropsError> {
        // First no more drops, then the last of them.
        if let Some(program) = self.ebpf.program_mut(PROGRAM) {
            let program: &mut BtfTracePoint =
                program.try_into().map_err(|error: ProgramError| refused("end the program", error))?;
            program.unload().map_err(|error| refused("end the program", error))?;
        }
        self.take();
        let lost = self.ebpf.map("LOST").ok_or_else(|| missing("LOST"))?;
        let lost = Array::<_, u64>::try_from(lost).and_then(|lost| lost.get(&0, 0));
        let lost = lost.map_err(|error| refused("read what was lost", error))?;
        self.found.sort_by_key(|record| record.time);
        let places = symbols::names(self.found.iter().map(|record| record.location));
        let (names, offset) = (&self.names, self.since_1970_ns);
        let told = self.found.into_iter().map(|record| record.tell(names, &places, offset));
        Ok((told.collect(), lost + self.beyond))
    }
}

impl std::fmt::Debug for Drops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drops").field("found", &self.found.len()).finish_non_exhaustive()
    }
}

impl AsFd for Drops {
    /// Readable when a drop waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns its descriptor, which stays open as long as it is borrowed here.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

/// The name of the program, and of the tracepoint.
const PROGRAM: &str = "dropped";
const TRACEPOINT: &str = "kfree_skb";

fn attach(ebpf: &mut Ebpf) -> Result<(), DropsError> {
    let types = Btf::from_sys_fs().map_err(|error| refused("read the kernel's types", error))?;
    let program = ebpf.program_mut(PROGRAM).ok_or_else(|| missing(PROGRAM))?;
    let program: &mut BtfTracePoint =
        program.try_into().map_err(|error: ProgramError| refused("find the program", error))?;
    program.load(TRACEPOINT, &types).map_err(|error| refused("load the program", error))?;
    program.attach().map_err(|error| refused("attach the program", error))?;
    Ok(())
}

/// Tells the program the ends and the namespaces.
fn fill(ebpf: &mut Ebpf, flow: &Flow, namespaces: &[u32]) -> Result<(), MapError> {
    let map = |name: &str| MapError::InvalidName { name: name.to_owned() };
    let ends = ebpf.map_mut("ENDS").ok_or_else(|| map("ENDS"))?;
    let mut ends = HashMap::<_, [u8; 20], u8>::try_from(ends)?;
    for end in flow.bounded_ends().take(ENDS_MAX) {
        let mut address = [0; 16];
        match end.address {
            std::net::IpAddr::V4(v4) => address[..4].copy_from_slice(&v4.octets()),
            std::net::IpAddr::V6(v6) => address = v6.octets(),
        }
        // A later fragment has no ports.
        for (port, of_fragment) in [(end.port.unwrap_or(0), 0_u16), (0, 1)] {
            let mut key = [0; 20];
            key[..16].copy_from_slice(&address);
            key[16..18].copy_from_slice(&port.to_be_bytes());
            key[18..].copy_from_slice(&of_fragment.to_ne_bytes());
            ends.insert(key, 1, 0)?;
        }
    }
    let map = ebpf.map_mut("NAMESPACES").ok_or_else(|| map("NAMESPACES"))?;
    let mut inodes = HashMap::<_, u32, u8>::try_from(map)?;
    namespaces.iter().try_for_each(|inode| inodes.insert(inode, 1, 0))
}

impl Names {
    /// The names in the kernel's types; none if it has no reasons.
    fn read(types: &[u8]) -> Option<Self> {
        let core = reasons::enum_names(types, "skb_drop_reason")?;
        let subsystems = reasons::enum_names(types, "skb_drop_reason_subsys").unwrap_or_default();
        Some(Self { core, subsystems })
    }

    fn number(&self, wanted: &str) -> Option<u32> {
        self.core.iter().find(|(_, name)| *name == wanted).map(|(number, _)| *number)
    }

    fn name(&self, reason: u32) -> String {
        let bare = |name: &String, prefix| name.strip_prefix(prefix).unwrap_or(name).to_owned();
        if let Some(name) = self.core.get(&reason) {
            return bare(name, "SKB_DROP_REASON_");
        }
        match self.subsystems.get(&(reason >> 16)) {
            Some(of) if reason >> 16 > 0 => {
                format!("{} {}", bare(of, "SKB_DROP_REASON_SUBSYS_"), reason & 0xffff)
            }
            _ => reason.to_string(),
        }
    }
}

impl Record {
    /// Reads `struct drop`: time, location, reason, namespace, interface's index, length, interface's name, first bytes.
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.get(..RECORD_BYTES)?.try_into().ok()?;
        let long = |at| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let word = |at| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let name = &bytes[32..48];
        let name = &name[..name.iter().position(|byte| *byte == 0).unwrap_or(name.len())];
        let length = (word(28)? as usize).min(HEAD_BYTES_MAX);
        Some(Self {
            time: long(0)?,
            location: long(8)?,
            reason: word(16)?,
            namespace: word(20)?,
            interface: (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned()),
            head: bytes[48..48 + length].to_vec(),
        })
    }

    fn tell(self, names: &Names, places: &BTreeMap<u64, String>, since_1970_ns: u64) -> KernelDrop {
        KernelDrop {
            reason: names.name(self.reason),
            location: places.get(&self.location).cloned(),
            namespace: self.namespace,
            interface: self.interface,
            time_ns: self.time.saturating_add(since_1970_ns),
            packet: PacketSummary::read(&self.head),
            head: self.head,
        }
    }
}

fn now_ns(clock: ClockId) -> u64 {
    let Ok(now) = clock_gettime(clock) else { return 0 };
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    part(now.tv_sec()) * 1_000_000_000 + part(now.tv_nsec())
}

fn missing(what: &'static str) -> DropsError {
    refused("find the parts of the program", MapError::InvalidName { name: what.to_owned() })
}

/// What the kernel's no means: most often that we may not.
fn refused(doing: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> DropsError {
    let mut link: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = link {
        if let Some(error) = cause.downcast_ref::<io::Error>()
            // EACCES is what the verifier says to a program that it does not like.
            && error.raw_os_error() == Some(libc::EPERM)
        {
            return DropsError::NotAllowed(io::Error::from_raw_os_error(libc::EPERM));
        }
        link = cause.source();
    }
    DropsError::Refused { doing, cause: Box::new(error) }
}

/// Gives freed memory back to the machine at once: the agent stays for months, traces for seconds.
fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only looks for free pages of the heap.
    unsafe {
        libc::malloc_trim(0);
    }
}
