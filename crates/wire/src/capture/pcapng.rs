//! The blocks of pcapng that are read: sections, interfaces, packets of three kinds, counters, names
//! (<https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-05.html>). All others are stepped over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::flaw::Flaw;
use super::read::{Item, Reader, SECTION, u16_in, u32_in};
use super::{
    BLOCK_BYTES_MAX, Counts, INTERFACES_MAX, Interface, NAME_BYTES_MAX, NAMES_MAX, PacketAt, SNAPLEN_MAX,
};
use crate::Direction;

const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const NAME_RESOLUTION: u32 = 4;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

/// Type and length before a block's body, and the length once more behind it.
const FRAME_BYTES: usize = 12;

/// The section that is being read. Interfaces are numbered from 0 in each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Section {
    pub(super) big_endian: bool,
    /// Where its interfaces start in [`Reader::interfaces`].
    first: usize,
}

/// How the time stamps of an interface are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// Units in a second.
    per_second: u64,
    /// Seconds that are added.
    offset: i64,
}

/// How long the block is that starts here.
pub(super) fn length(bytes: &[u8], big_endian: bool, offset: u64) -> Result<usize, Flaw> {
    // A section tells its byte order behind its length.
    let big_endian = if bytes.starts_with(&SECTION) {
        match bytes.get(8..12) {
            None => return Ok(FRAME_BYTES),
            Some([0x1a, 0x2b, 0x3c, 0x4d]) => true,
            Some([0x4d, 0x3c, 0x2b, 0x1a]) => false,
            Some(other) => {
                let value = u32_in(other, 0, true).unwrap_or_default().into();
                return Err(Flaw::Malformed { offset, what: "a section without a byte order", value });
            }
        }
    } else {
        big_endian
    };
    let Some(length) = u32_in(bytes, 4, big_endian) else { return Ok(FRAME_BYTES) };
    let wrong = |what| Err(Flaw::Malformed { offset, what, value: length.into() });
    match length as usize {
        length if length < FRAME_BYTES => wrong("a block shorter than its own frame"),
        length if length > BLOCK_BYTES_MAX => wrong("a block longer than 16 MiB"),
        length if !length.is_multiple_of(4) => wrong("a block whose length is no multiple of 4"),
        length => Ok(length),
    }
}

/// The option at the start of `options`: its code, its value, and what follows; `None` at their end.
pub(super) fn option(options: &[u8], big_endian: bool) -> Option<(u16, &[u8], &[u8])> {
    let code = u16_in(options, 0, big_endian)?;
    let length = usize::from(u16_in(options, 2, big_endian)?);
    if code == 0 {
        return None;
    }
    let value = options.get(4..4 + length)?;
    let rest = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
    Some((code, value, rest))
}

/// All options of a block.
fn options(mut rest: &[u8], big_endian: bool) -> impl Iterator<Item = (u16, &[u8])> {
    // Ends: every step takes at least 4 bytes.
    std::iter::from_fn(move || {
        let (code, value, after) = option(rest, big_endian)?;
        rest = after;
        Some((code, value))
    })
}

impl Reader {
    /// Reads a whole block.
    pub(super) fn block(&mut self, bytes: &[u8], section: &mut Section) -> Result<Item, Flaw> {
        let is_section = bytes.starts_with(&SECTION);
        let big_endian = if is_section { bytes.get(8) == Some(&0x1a) } else { section.big_endian };
        let end = bytes.len() - 4;
        let (first, last) = (u32_in(bytes, 4, big_endian), u32_in(bytes, end, big_endian));
        if first != last {
            let value = last.unwrap_or_default().into();
            return Err(self.malformed("a block's two lengths differ", value));
        }
        let body = &bytes[8..end];
        if is_section {
            return self.section(body, big_endian, section);
        }
        match u32_in(bytes, 0, big_endian).unwrap_or_default() {
            ENHANCED_PACKET => return self.enhanced(body, section).map(Item::Packet),
            SIMPLE_PACKET => return self.simple(body, section).map(Item::Packet),
            PACKET => return self.legacy(body, section).map(Item::Packet),
            INTERFACE => self.interface(body, section)?,
            STATISTICS => self.statistics(body, section)?,
            NAME_RESOLUTION => self.name_records(body, big_endian),
            _ => {}
        }
        Ok(Item::Other)
    }

    fn malformed(&self, what: &'static str, value: u64) -> Flaw {
        Flaw::Malformed { offset: self.offset, what, value }
    }

    fn section(&mut self, body: &[u8], big_endian: bool, section: &mut Section) -> Result<Item, Flaw> {
        match u16_in(body, 4, big_endian) {
            Some(1) => {}
            Some(version) => {
                return Err(self.malformed("a section of a version that is not 1", version.into()));
            }
            None => return Err(self.malformed("a section block that is too short", body.len() as u64)),
        }
        *section = Section { big_endian, first: self.interfaces.len() };
        Ok(Item::Other)
    }

    fn interface(&mut self, body: &[u8], section: &Section) -> Result<(), Flaw> {
        let big_endian = section.big_endian;
        let (Some(link), Some(snaplen)) = (u16_in(body, 0, big_endian), u32_in(body, 4, big_endian)) else {
            return Err(self.malformed("an interface block that is too short", body.len() as u64));
        };
        if self.interfaces.len() >= INTERFACES_MAX {
            return Err(self.malformed("more than 65536 interfaces", self.interfaces.len() as u64));
        }
        let mut interface = Interface { link: link.into(), snaplen, is_told: true, ..Interface::default() };
        let (mut per_second, mut offset) = (1_000_000, 0);
        for (code, value) in options(&body[8..], big_endian) {
            match code {
                2 => interface.name = Some(words(value)),
                3 => interface.description = Some(words(value)),
                9 => per_second = self.resolution(value)?,
                14 => offset = u64_of(value, big_endian).unwrap_or_default().cast_signed(),
                _ => {}
            }
        }
        self.clocks.push(Clock { per_second, offset });
        self.interfaces.push(interface);
        Ok(())
    }

    /// `if_tsresol`: a power of 10, or with the highest bit of 2.
    fn resolution(&self, value: &[u8]) -> Result<u64, Flaw> {
        let Some(byte) = value.first() else { return Ok(1_000_000) };
        let power = u32::from(byte & 0x7f);
        let per_second = if byte & 0x80 == 0 { 10_u64.checked_pow(power) } else { 2_u64.checked_pow(power) };
        per_second.ok_or_else(|| self.malformed("a clock finer than 64 bits can tell", u64::from(*byte)))
    }

    fn statistics(&mut self, body: &[u8], section: &Section) -> Result<(), Flaw> {
        let big_endian = section.big_endian;
        let index = self.index(u32_in(body, 0, big_endian), section)?;
        let mut counts = Counts::default();
        let mut system_drops = None;
        for (code, value) in options(body.get(12..).unwrap_or_default(), big_endian) {
            match code {
                4 => counts.received = u64_of(value, big_endian),
                5 => counts.dropped = u64_of(value, big_endian),
                7 => system_drops = u64_of(value, big_endian),
                _ => {}
            }
        }
        counts.dropped = match (counts.dropped, system_drops) {
            (Some(here), Some(below)) => Some(here.saturating_add(below)),
            (here, below) => here.or(below),
        };
        self.interfaces[index].counts = counts;
        Ok(())
    }

    /// The place of a section's interface among all.
    fn index(&self, id: Option<u32>, section: &Section) -> Result<usize, Flaw> {
        let Some(id) = id else { return Err(self.malformed("a block that is too short", 0)) };
        let index = section.first.saturating_add(id as usize);
        if index < self.interfaces.len() {
            Ok(index)
        } else {
            Err(self.malformed("a block of an interface that was not told", id.into()))
        }
    }

    fn enhanced(&self, body: &[u8], section: &Section) -> Result<PacketAt, Flaw> {
        let big_endian = section.big_endian;
        let word = |at| u32_in(body, at, big_endian);
        let index = self.index(word(0), section)?;
        self.packet(body, index, section, [word(4), word(8), word(12), word(16)])
    }

    /// The Packet Block of the first drafts; its interface has 16 bits.
    fn legacy(&self, body: &[u8], section: &Section) -> Result<PacketAt, Flaw> {
        let big_endian = section.big_endian;
        let word = |at| u32_in(body, at, big_endian);
        let index = self.index(u16_in(body, 0, big_endian).map(u32::from), section)?;
        self.packet(body, index, section, [word(4), word(8), word(12), word(16)])
    }

    fn packet(
        &self,
        body: &[u8],
        index: usize,
        section: &Section,
        words: [Option<u32>; 4],
    ) -> Result<PacketAt, Flaw> {
        let [Some(high), Some(low), Some(captured), Some(original_len)] = words else {
            return Err(self.malformed("a packet block that is too short", body.len() as u64));
        };
        let data = self.data(body, 20, captured as usize)?;
        let options_start = (data.end.next_multiple_of(4)).min(body.len() + 8);
        let options_at = options_start..body.len() + 8;
        let direction = flags(&body[options_start - 8..], section.big_endian);
        Ok(PacketAt {
            time_ns: Some(self.clocks[index].nanoseconds(u64::from(high) << 32 | u64::from(low))),
            interface: index,
            data,
            original_len,
            direction,
            options: options_at,
            big_endian: section.big_endian,
        })
    }

    /// A packet without a time, of the section's first interface, as long as the block and the snap length say.
    fn simple(&self, body: &[u8], section: &Section) -> Result<PacketAt, Flaw> {
        let big_endian = section.big_endian;
        let index = self.index(Some(0), section)?;
        let Some(original_len) = u32_in(body, 0, big_endian) else {
            return Err(self.malformed("a packet block that is too short", body.len() as u64));
        };
        let snaplen = match self.interfaces[index].snaplen {
            0 => usize::MAX,
            snaplen => snaplen as usize,
        };
        let captured = (original_len as usize).min(snaplen).min(body.len() - 4);
        let data = self.data(body, 4, captured)?;
        let end = body.len() + 8;
        Ok(PacketAt {
            time_ns: None,
            interface: index,
            data,
            original_len,
            direction: None,
            options: end..end,
            big_endian,
        })
    }

    /// Where a packet's bytes are in its block.
    fn data(&self, body: &[u8], start: usize, captured: usize) -> Result<std::ops::Range<usize>, Flaw> {
        if captured > SNAPLEN_MAX {
            return Err(self.malformed("a packet longer than 256 KiB", captured as u64));
        }
        if start + captured > body.len() {
            return Err(self.malformed("a packet longer than its block", captured as u64));
        }
        Ok(start + 8..start + 8 + captured)
    }

    /// The names of addresses, the first of each; what is no plain word is left out.
    fn name_records(&mut self, body: &[u8], big_endian: bool) {
        for (kind, value) in options(body, big_endian) {
            let (address, name): (IpAddr, _) = match kind {
                1 if value.len() > 4 => {
                    (Ipv4Addr::from(*value.first_chunk().unwrap_or(&[0; 4])).into(), &value[4..])
                }
                2 if value.len() > 16 => {
                    (Ipv6Addr::from(*value.first_chunk().unwrap_or(&[0; 16])).into(), &value[16..])
                }
                _ => continue,
            };
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let plain = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
            let has_room = name.len() <= NAME_BYTES_MAX && self.names.len() < NAMES_MAX;
            if plain && has_room && self.named.insert(address) {
                self.names.push((address, String::from_utf8_lossy(name).into_owned()));
            }
        }
    }
}

impl Clock {
    /// Nanoseconds since 1970, of as many units. What lies before 1970 or after 2554 is told as the nearest that can be.
    fn nanoseconds(self, units: u64) -> u64 {
        if self.offset == 0 && self.per_second == 1_000_000_000 {
            return units;
        }
        let nanoseconds = u128::from(units) * 1_000_000_000 / u128::from(self.per_second);
        let nanoseconds = i128::try_from(nanoseconds).unwrap_or(i128::MAX);
        let moved = nanoseconds.saturating_add(i128::from(self.offset) * 1_000_000_000);
        u64::try_from(moved.max(0)).unwrap_or(u64::MAX)
    }
}

/// `epb_flags`: the two lowest bits are the direction.
fn flags(options_bytes: &[u8], big_endian: bool) -> Option<Direction> {
    if options_bytes.is_empty() {
        return None;
    }
    let (_, value) = options(options_bytes, big_endian).find(|(code, _)| *code == 2)?;
    match u32_in(value, 0, big_endian)? & 3 {
        1 => Some(Direction::In),
        2 => Some(Direction::Out),
        _ => None,
    }
}

fn u64_of(value: &[u8], big_endian: bool) -> Option<u64> {
    let eight = *value.first_chunk::<8>()?;
    Some(if big_endian { u64::from_be_bytes(eight) } else { u64::from_le_bytes(eight) })
}

/// The start of a text of a file, without what a terminal would obey.
fn words(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(NAME_BYTES_MAX)]);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
