//! The compressed protocol: frames of 7 bytes header, which packets cross as they like.
//!
//! ```text
//! length of what follows (3) · sequence (1) · length when opened (3), 0 if it is not compressed
//! ```
//!
//! Source: <https://mariadb.com/kb/en/0-packet/#compressed-packet> and MySQL's "Compressed Packet".

use flate2::{Decompress, FlushDecompress, Status};

use super::place::{Feed, Mark, Place};

/// What a compressed frame begins with.
pub(super) const HEADER: usize = 7;
/// What a Zstandard frame begins with (RFC 8878, 3.1.1).
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The widest window of a Zstandard frame that is opened: what every decoder must be able to (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_MAX: u64 = 8 << 20;
/// Room that is kept for the next frame. Servers and clients cut at 16 KiB mostly, and a frame holds 16 MiB at most.
const ROOM_KEPT: usize = 64 << 10;

/// How a connection is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zlib, RFC 1950.
    Zlib,
    /// Zstandard, RFC 8878.
    Zstd,
}

/// The state of one compressed direction.
#[derive(Debug)]
pub(super) struct Compressed {
    compression: Compression,
    zlib: Option<Box<Decompress>>,
    header: [u8; HEADER],
    header_filled: usize,
    left: usize,
    first: Mark,
    held: Vec<u8>,
    plain: Vec<u8>,
    is_holed: bool,
}

/// What came out of one frame.
#[derive(Debug)]
pub(super) enum Opened<'a> {
    /// Its bytes.
    Plain(Feed<'a>),
    /// It could not be opened: that many bytes are missing.
    Missing(u64, Mark),
}

/// The header of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// What follows it.
    pub(super) length: usize,
    /// What that is when opened; 0 if it is not compressed.
    pub(super) original: usize,
}

impl Header {
    pub(super) fn of(bytes: [u8; HEADER]) -> Self {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], 0]) as usize;
        Self { length: number(0), original: number(4) }
    }

    /// The header that these bytes start with.
    pub(super) fn starts(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self::of)
    }

    fn plain_length(self) -> u64 {
        if self.original == 0 { self.length as u64 } else { self.original as u64 }
    }
}

impl Compressed {
    pub(super) fn new(compression: Compression) -> Self {
        Self {
            compression,
            zlib: None,
            header: [0; HEADER],
            header_filled: 0,
            left: 0,
            first: Mark::default(),
            held: Vec::new(),
            plain: Vec::new(),
            is_holed: false,
        }
    }

    /// Bytes of memory beside the struct itself.
    pub(super) fn memory(&self) -> usize {
        /// A window of 32 KiB and the tables of Huffman codes.
        const ZLIB: usize = 44 << 10;
        self.held.capacity() + self.plain.capacity() + self.zlib.as_ref().map_or(0, |_| ZLIB)
    }

    /// Forgets the frame that has begun.
    pub(super) fn reset(&mut self) {
        self.header_filled = 0;
    }

    /// The next frame, if it is there whole; takes its bytes from `feed`, and all of them if it is not.
    pub(super) fn take<'s, 'a: 's>(&'s mut self, feed: &mut Feed<'a>) -> Option<Opened<'s>> {
        if self.header_filled < HEADER {
            if feed.bytes.is_empty() {
                return None;
            }
            self.begin(feed);
            if self.header_filled < HEADER {
                return None;
            }
        }
        let bytes = feed.split(self.left);
        self.left -= bytes.len();
        let is_borrowed = self.held.is_empty() && self.left == 0 && !self.is_holed;
        if !is_borrowed {
            self.held.extend_from_slice(bytes);
        }
        if self.left > 0 {
            return None;
        }
        self.header_filled = 0;
        Some(self.open(is_borrowed.then_some(bytes), feed.last()))
    }

    fn begin(&mut self, feed: &mut Feed<'_>) {
        if self.header_filled == 0 {
            self.first = feed.first();
        }
        let bytes = feed.split(HEADER - self.header_filled);
        self.header[self.header_filled..][..bytes.len()].copy_from_slice(bytes);
        self.header_filled += bytes.len();
        if self.header_filled == HEADER {
            self.left = Header::of(self.header).length;
            self.is_holed = false;
            for buffer in [&mut self.held, &mut self.plain] {
                buffer.clear();
                buffer.shrink_to(ROOM_KEPT);
            }
        }
    }

    fn open<'a>(&'a mut self, borrowed: Option<&'a [u8]>, last: Mark) -> Opened<'a> {
        let header = Header::of(self.header);
        let missing = Opened::Missing(header.plain_length(), last);
        if self.is_holed {
            return missing;
        }
        let place = Place::Within(self.first.offset, last.offset);
        let sealed = borrowed.unwrap_or(&self.held);
        if header.original == 0 {
            return Opened::Plain(Feed { bytes: sealed, place, time_ns: last.time_ns });
        }
        let is_open = match self.compression {
            Compression::Zlib => {
                let zlib = self.zlib.get_or_insert_with(|| Box::new(Decompress::new(true)));
                unzip(zlib, sealed, header.original, &mut self.plain)
            }
            Compression::Zstd => unzstd(sealed, header.original, &mut self.plain),
        };
        match is_open {
            Some(()) => Opened::Plain(Feed { bytes: &self.plain, place, time_ns: last.time_ns }),
            None => missing,
        }
    }

    /// Tries to step over missing bytes: what became of the frame, or `Err` if the next one's beginning is not known.
    pub(super) fn gap(&mut self, missing: u64, at: Mark) -> Result<Option<(u64, Mark)>, ()> {
        let missing = usize::try_from(missing).map_err(|_| ())?;
        if self.header_filled < HEADER || missing > self.left {
            self.header_filled = 0;
            return Err(());
        }
        self.left -= missing;
        self.is_holed = true;
        if self.left > 0 {
            return Ok(None);
        }
        self.header_filled = 0;
        Ok(Some((Header::of(self.header).plain_length(), at)))
    }
}

fn unzip(zlib: &mut Decompress, sealed: &[u8], original: usize, plain: &mut Vec<u8>) -> Option<()> {
    if original > room(sealed.len()) {
        return None;
    }
    zlib.reset(true);
    plain.reserve_exact(original);
    let status = zlib.decompress_vec(sealed, plain, FlushDecompress::Finish).ok()?;
    (status == Status::StreamEnd && plain.len() == original).then_some(())
}

fn unzstd(sealed: &[u8], original: usize, plain: &mut Vec<u8>) -> Option<()> {
    if zstd_window(sealed)? > ZSTD_WINDOW_MAX.max(original as u64) {
        return None;
    }
    plain.reserve_exact(original);
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    decoder.decode_all_to_vec(sealed, plain).ok()?;
    (plain.len() == original).then_some(())
}

/// How wide a Zstandard frame says that its window is (RFC 8878, 3.1.1.1).
fn zstd_window(frame: &[u8]) -> Option<u64> {
    let rest = frame.strip_prefix(&ZSTD_MAGIC)?;
    let (descriptor, rest) = rest.split_first()?;
    if descriptor & 0x20 == 0 {
        let window = *rest.first()?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let number = rest.get(dictionary..dictionary + size)?;
    let value = number.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    // Two bytes count from 256 on.
    Some(if size == 2 { value + 256 } else { value })
}

/// How much can come out of that many bytes of deflate: 1032 for one (zlib's technical details), and some.
fn room(sealed: usize) -> usize {
    sealed.saturating_mul(1032).saturating_add(64)
}
