//! Packets followed through captures that others made: no path is predicted here, it is found.
//!
//! ```text
//! frames ──> glimpses ──> packets ──> their order ──> what went on, what did not ──> Stitched
//!            (glimpse)    (group)     (order, lanes)  (loss, alike)                  (report)
//!                            └──> how far the files' clocks are apart (clocks)
//! ```
//!
//! What makes two glimpses one packet is what stays the same (its key, see `byway_wire::PacketKey`), and its addresses
//! and ports where no NAT is. Within one file, which is one machine's, time tells repetitions apart. Between files it
//! tells nothing: setting the clock of a file changes the offset that is told, and nothing else.
//!
//! Neither does it matter in which order files are given: they are put in order by their names before anything else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_wire::{Body, Direction, Frame};

mod alike;
mod clocks;
mod glimpse;
mod group;
mod lanes;
mod loss;
mod order;
mod report;
mod sheet;
#[cfg(test)]
mod tests;

use glimpse::Glimpse;
pub use glimpse::Passage;
pub use report::{
    Becomes, Clock, ClockBetween, Conversation, Hop, Loss, Place, Point, Stitched, Took, Totals, Way,
};

/// Packets that are looked at, of all files together: 48 bytes each, so some 400 MiB, and half of that again while they
/// are put in order. What comes after them is counted.
pub const PASSAGES_MAX: usize = 8 << 20;
/// Files: one for each host and side of a large cluster.
pub const FILES_MAX: usize = 256;
/// Files and interfaces: some dozens of containers on each of some hundred hosts.
pub const POINTS_MAX: usize = 8192;
/// Different addresses; a scanner that makes up its own cannot fill the memory. What comes after them is counted.
pub const ADDRESSES_MAX: usize = 1 << 20;
/// ICMP errors that are kept, to be told with the packets that they are about.
pub const ERRORS_MAX: usize = 64 << 10;
/// Journeys that are told at most, lost ones and others each.
pub const LIST_MAX: usize = 10_000;

/// Captures, packet by packet, until they are stitched.
#[derive(Debug, Default)]
pub struct Captures {
    files: Vec<String>,
    points: Vec<Spot>,
    addresses: Addresses,
    glimpses: Vec<Glimpse>,
    errors: Vec<Heard>,
    read: Vec<u32>,
    totals: Totals,
}

/// A file of [`Captures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(u16);

/// A file and an interface of [`Captures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PointId(u16);

/// Where packets were captured.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spot {
    file: u16,
    interface: Option<String>,
    /// Several interfaces without their names or numbers (SLL): a packet passes it more than once.
    mixed: bool,
}

/// An ICMP error, and the packet that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Heard {
    about: Passage,
    text: String,
}

/// The numbers of addresses, so that a glimpse is small. They say whether two are the same, and never which is first.
#[derive(Debug, Default)]
struct Addresses {
    numbers: BTreeMap<IpAddr, u32>,
    list: Vec<IpAddr>,
}

impl Captures {
    /// Nothing was read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A capture file, by a name that no other has; `None` if there are [`FILES_MAX`].
    pub fn file(&mut self, name: &str) -> Option<FileId> {
        let id = u16::try_from(self.files.len()).ok().filter(|id| usize::from(*id) < FILES_MAX)?;
        self.files.push(name.to_owned());
        self.read.push(0);
        Some(FileId(id))
    }

    /// An interface of a file. `mixed`: several whose names the file does not tell. `None` if there are [`POINTS_MAX`].
    pub fn point(&mut self, file: FileId, interface: Option<&str>, mixed: bool) -> Option<PointId> {
        let same = |spot: &Spot| {
            spot.file == file.0 && spot.interface.as_deref() == interface && spot.mixed == mixed
        };
        if let Some(at) = self.points.iter().position(same) {
            return u16::try_from(at).ok().map(PointId);
        }
        let id = u16::try_from(self.points.len()).ok().filter(|id| usize::from(*id) < POINTS_MAX)?;
        self.points.push(Spot { file: file.0, interface: interface.map(str::to_owned), mixed });
        Some(PointId(id))
    }

    /// A packet that could not be read at all, or of a link that is not read here.
    pub fn unreadable(&mut self, file: FileId) {
        self.number(file);
        self.totals.unreadable += 1;
    }

    /// A frame that passed a point. `time_ns`: since 1970 by the file's clock.
    pub fn frame(&mut self, at: PointId, time_ns: u64, direction: Option<Direction>, frame: &Frame<'_>) {
        let Some(spot) = self.points.get(usize::from(at.0)) else { return };
        let file = FileId(spot.file);
        let packet = match &frame.body {
            Body::Unread(_) => return self.unreadable(file),
            Body::Packet(packet) => packet,
            Body::Arp(_) | Body::Other { .. } => {
                self.number(file);
                self.totals.other += 1;
                return;
            }
        };
        let direction = direction.or_else(|| Some(frame.cooked?.direction()));
        let Some(passage) = Passage::of(time_ns, direction, packet) else {
            self.number(file);
            self.totals.too_short += 1;
            return;
        };
        if self.errors.len() < ERRORS_MAX
            && let Some((about, text)) = glimpse::error(packet)
        {
            self.errors.push(Heard { about, text });
        }
        self.pass(at, &passage);
    }

    /// A packet that passed a point, as far as it is told from others.
    pub fn pass(&mut self, at: PointId, passage: &Passage) {
        let Some(spot) = self.points.get(usize::from(at.0)) else { return };
        let number = self.number(FileId(spot.file));
        let ends = (
            self.addresses.number(passage.source.address),
            self.addresses.number(passage.destination.address),
        );
        match ends {
            (Some(source), Some(destination)) if self.glimpses.len() < PASSAGES_MAX => {
                self.glimpses.push(Glimpse::new(at.0, number, (source, destination), passage));
            }
            _ => self.totals.beyond += 1,
        }
    }

    /// Follows every packet through all files. `list`: how many journeys are told, of those lost and of the others each,
    /// at most [`LIST_MAX`].
    #[must_use]
    pub fn stitch(mut self, list: usize) -> Stitched {
        self.put_in_order();
        let files: Vec<u16> = self.points.iter().map(|spot| spot.file).collect();
        let mixed: Vec<bool> = self.points.iter().map(|spot| spot.mixed).collect();
        self.glimpses.sort_unstable_by_key(|glimpse| {
            (glimpse.key, files[usize::from(glimpse.point)], glimpse.time_ns, glimpse.number)
        });
        let places = group::Places { files: &files, mixed: &mixed };
        let mut packets = group::packets(&self.glimpses, &places);
        order::arrange(&mut packets, &self.glimpses, &files);
        let clocks = clocks::Clocks::of(&packets, &self.glimpses, &files);
        let losses = loss::judge(&packets, &self.glimpses, &files);
        sheet::Sheet { captures: &self, packets: &packets, clocks: &clocks, losses: &losses, files: &files }
            .stitched(list.min(LIST_MAX))
    }

    fn number(&mut self, file: FileId) -> u32 {
        self.totals.read += 1;
        let Some(count) = self.read.get_mut(usize::from(file.0)) else { return 0 };
        *count = count.saturating_add(1);
        *count
    }

    /// Files by their names, points by their files and interfaces: whatever the order in which they came.
    fn put_in_order(&mut self) {
        let mut files: Vec<u16> = (0..).take(self.files.len()).collect();
        files.sort_by_key(|file| &self.files[usize::from(*file)]);
        let file_ranks = ranks(&files);
        for spot in &mut self.points {
            spot.file = file_ranks[usize::from(spot.file)];
        }
        self.files.sort();
        let mut points: Vec<u16> = (0..).take(self.points.len()).collect();
        points.sort_by_key(|point| {
            let spot = &self.points[usize::from(*point)];
            (spot.file, &spot.interface, spot.mixed)
        });
        let point_ranks = ranks(&points);
        for glimpse in &mut self.glimpses {
            glimpse.point = point_ranks[usize::from(glimpse.point)];
        }
        self.points.sort_by(|a, b| (a.file, &a.interface, a.mixed).cmp(&(b.file, &b.interface, b.mixed)));
    }
}

/// Where each of 0..n stands in a list of all of them.
fn ranks(sorted: &[u16]) -> Vec<u16> {
    let mut ranks = vec![0; sorted.len()];
    for (rank, at) in (0..).zip(sorted) {
        ranks[usize::from(*at)] = rank;
    }
    ranks
}

impl Addresses {
    fn number(&mut self, address: IpAddr) -> Option<u32> {
        if let Some(number) = self.numbers.get(&address) {
            return Some(*number);
        }
        let number = u32::try_from(self.list.len()).ok().filter(|_| self.list.len() < ADDRESSES_MAX)?;
        self.numbers.insert(address, number);
        self.list.push(address);
        Some(number)
    }

    fn address(&self, number: u32) -> IpAddr {
        self.list[number as usize]
    }
}
