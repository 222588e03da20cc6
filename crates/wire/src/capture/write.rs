//! Writes pcapng, little-endian, into a `Vec`: a section, names, its interfaces, packets, and counters at the end.
//!
//! Whoever has the file writes the `Vec` out and empties it, so nothing is made anew for each packet.

use std::net::IpAddr;

use super::{Counts, Interface, NAME_BYTES_MAX, Record};
use crate::Direction;

/// An option of a block: its code and its value.
type Coded<'a> = (u16, &'a [u8]);

/// The longest value of an option, whose length has 16 bits; longer texts are cut.
const VALUE_BYTES_MAX: usize = 0xfffc;
/// What our time stamps count: nanoseconds (`if_tsresol`).
const NANOSECONDS: [u8; 1] = [9];

/// How many names one block tells: some hundred kilobytes, where readers take megabytes.
const NAMES_PER_BLOCK: usize = 1000;

const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_DESCRIPTION: u16 = 3;
const IF_TSRESOL: u16 = 9;
const OPT_COMMENT: u16 = 1;
const EPB_FLAGS: u16 = 2;
const NRB_RECORD_IPV4: u16 = 1;
const NRB_RECORD_IPV6: u16 = 2;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// Starts a section, written by `application`.
pub fn section(out: &mut Vec<u8>, application: &str) {
    block(out, 0x0a0d_0d0a, |out| {
        out.extend(0x1a2b_3c4d_u32.to_le_bytes());
        out.extend(1_u16.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        // The length of the section: not known beforehand.
        out.extend(u64::MAX.to_le_bytes());
        options(out, &[(SHB_USERAPPL, application.as_bytes())]);
    });
}

/// Tells an interface; the first of a section is number 0.
pub fn interface(out: &mut Vec<u8>, interface: &Interface) {
    block(out, 1, |out| {
        // What does not fit is no link type that anybody has given out.
        out.extend(u16::try_from(interface.link).unwrap_or(u16::MAX).to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        out.extend(interface.snaplen.to_le_bytes());
        let mut list: Vec<Coded<'_>> = Vec::new();
        list.extend(interface.name.as_ref().map(|name| (IF_NAME, name.as_bytes())));
        list.extend(interface.description.as_ref().map(|text| (IF_DESCRIPTION, text.as_bytes())));
        list.push((IF_TSRESOL, &NANOSECONDS));
        options(out, &list);
    });
}

/// Tells the names of addresses; one that is longer than [`NAME_BYTES_MAX`] is left out.
pub fn names<'a>(out: &mut Vec<u8>, names: impl IntoIterator<Item = (IpAddr, &'a str)>) {
    let mut names = names.into_iter().filter(|(_, name)| name.len() <= NAME_BYTES_MAX).peekable();
    while names.peek().is_some() {
        block(out, 4, |out| {
            for (address, name) in names.by_ref().take(NAMES_PER_BLOCK) {
                let (kind, mut record) = match address {
                    IpAddr::V4(address) => (NRB_RECORD_IPV4, address.octets().to_vec()),
                    IpAddr::V6(address) => (NRB_RECORD_IPV6, address.octets().to_vec()),
                };
                record.extend_from_slice(name.as_bytes());
                record.push(0);
                option(out, kind, &record);
            }
            // The end of the records; there are no options.
            out.extend([0; 4]);
        });
    }
}

/// Comments in the form in which a [`Record`] has them (options of pcapng, little-endian).
#[must_use]
pub fn comments<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut options = Vec::new();
    texts.into_iter().for_each(|text| option(&mut options, OPT_COMMENT, text.as_bytes()));
    options
}

/// Writes a packet of the section's interface `id`. One without a time gets the time 0.
pub fn packet(out: &mut Vec<u8>, id: u32, record: &Record<'_>) {
    let start = out.len();
    let time = record.time_ns.unwrap_or_default();
    // Bounded by SNAPLEN_MAX where it was read.
    let captured = u32::try_from(record.bytes.len()).unwrap_or(u32::MAX);
    // The length of the block comes when it is known.
    words(out, [6, 0, id, half(time >> 32), half(time), captured, record.original_len]);
    out.extend_from_slice(record.bytes);
    pad(out, record.bytes.len());
    for comment in record.comments {
        option(out, OPT_COMMENT, comment);
    }
    if let Some(direction) = record.direction {
        let flags = if direction == Direction::In { 1 } else { 2 };
        words(out, [u32::from(EPB_FLAGS) | 4 << 16, flags]);
    }
    // The end of the options is that of the block: a mark for it would be 4 bytes of each packet.
    finish(out, start);
}

/// Tells what the section's interface `id` counted by `time_ns`.
pub fn statistics(out: &mut Vec<u8>, id: u32, time_ns: u64, counts: Counts) {
    block(out, 5, |out| {
        out.extend(id.to_le_bytes());
        out.extend(half(time_ns >> 32).to_le_bytes());
        out.extend(half(time_ns).to_le_bytes());
        let told = [(ISB_IFRECV, counts.received), (ISB_IFDROP, counts.dropped)];
        for (code, count) in told {
            if let Some(count) = count {
                option(out, code, &count.to_le_bytes());
            }
        }
        out.extend([0; 4]);
    });
}

/// Type, length, the body, and the length again.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    finish(out, start);
}

/// The length of a block, before its body and behind it.
fn finish(out: &mut Vec<u8>, start: usize) {
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out.extend_from_slice(&length);
}

/// All at once: a packet's block is mostly words, and there may be a million of them in a second.
fn words<const N: usize>(out: &mut Vec<u8>, words: [u32; N]) {
    out.extend_from_slice(words.map(u32::to_le_bytes).as_flattened());
}

fn options(out: &mut Vec<u8>, list: &[Coded<'_>]) {
    for (code, value) in list {
        option(out, *code, value);
    }
    out.extend([0; 4]);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(VALUE_BYTES_MAX)];
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(value.len()).unwrap_or_default().to_le_bytes());
    out.extend(value);
    pad(out, value.len());
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&[0; 3][..length.next_multiple_of(4) - length]);
}

/// The lower 32 bits.
fn half(time: u64) -> u32 {
    u32::try_from(time & 0xffff_ffff).unwrap_or_default()
}
