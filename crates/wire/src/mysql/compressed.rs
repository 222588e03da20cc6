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
/// The most plain bytes that a frame is opened to in one piece, and checked before any of them are read. Servers and
/// clients cut at 16 KiB mostly; but a frame may hold 16 MiB, and those are opened piece by piece, of this size.
const PIECE: usize = 64 << 10;

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
    /// How many bytes of the frame are to come.
    left: usize,
    /// How many plain bytes of it have not been handed out.
    owed: usize,
    first: Mark,
    held: Vec<u8>,
    plain: Vec<u8>,
    /// Nothing more can be read of this frame.
    is_holed: bool,
}

/// What came out of a frame.
#[derive(Debug)]
pub(super) enum Opened<'a> {
    /// Its bytes, all or the next ones; and whether they begin it.
    Plain(Feed<'a>, bool),
    /// The rest of it could not be opened: that many bytes are missing.
    Missing(u64, Mark),
}

/// What the next bytes are good for.
enum Step<'a> {
    /// More must come.
    Wait,
    /// The frame ends without more plain bytes.
    Ended,
    /// These are plain as they are.
    Stored(&'a [u8]),
    /// There is something in `plain`.
    Plain,
    /// The frame ends, and that many plain bytes are missing.
    Missing(u64),
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

    fn plain_length(self) -> usize {
        if self.original == 0 { self.length } else { self.original }
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
            owed: 0,
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

    /// The next plain bytes, if there are any; takes the bytes of `feed` that they came from, and all of them if there
    /// are none.
    pub(super) fn take<'s, 'a: 's>(&'s mut self, feed: &mut Feed<'a>) -> Option<Opened<'s>> {
        // Ends: every round takes bytes or ends a frame, and a frame begins with bytes.
        let (step, begins) = loop {
            if self.header_filled < HEADER && !self.begin(feed) {
                return None;
            }
            let begins = self.owed == Header::of(self.header).plain_length();
            match self.step(feed) {
                Step::Ended => self.header_filled = 0,
                step => break (step, begins),
            }
        };
        let last = feed.last();
        let bytes = match step {
            Step::Wait | Step::Ended => return None,
            Step::Missing(bytes) => return Some(Opened::Missing(bytes, last)),
            Step::Stored(bytes) => bytes,
            Step::Plain => &self.plain,
        };
        let place = Place::Within(self.first.offset, last.offset);
        Some(Opened::Plain(Feed { bytes, place, time_ns: last.time_ns }, begins))
    }

    /// Takes a header; whether it is there whole.
    fn begin(&mut self, feed: &mut Feed<'_>) -> bool {
        if feed.bytes.is_empty() {
            return false;
        }
        if self.header_filled == 0 {
            self.first = feed.first();
        }
        let bytes = feed.split(HEADER - self.header_filled);
        self.header[self.header_filled..][..bytes.len()].copy_from_slice(bytes);
        self.header_filled += bytes.len();
        if self.header_filled < HEADER {
            return false;
        }
        let header = Header::of(self.header);
        (self.left, self.owed) = (header.length, header.plain_length());
        self.is_holed = header.original > room(header.length);
        for buffer in [&mut self.held, &mut self.plain] {
            buffer.clear();
            buffer.shrink_to(PIECE);
        }
        if let Some(zlib) = self.zlib.as_mut().filter(|_| header.original > 0) {
            zlib.reset(true);
        }
        true
    }

    fn step<'a>(&mut self, feed: &mut Feed<'a>) -> Step<'a> {
        let header = Header::of(self.header);
        if self.is_holed {
            self.left -= feed.split(self.left).len();
            return self.ended();
        }
        if header.original == 0 {
            let stored = feed.split(self.left);
            self.left -= stored.len();
            self.owed -= stored.len();
            return if stored.is_empty() { self.ended() } else { Step::Stored(stored) };
        }
        let is_opened = match self.compression {
            Compression::Zlib if header.original > PIECE => self.open_piece(feed),
            _ => self.open_whole(feed),
        };
        match is_opened {
            Some(true) => Step::Plain,
            Some(false) => self.ended(),
            None => {
                self.is_holed = true;
                self.step(feed)
            }
        }
    }

    /// What it means that there are no more plain bytes for now.
    fn ended(&mut self) -> Step<'static> {
        if self.left > 0 {
            return Step::Wait;
        }
        self.header_filled = 0;
        match self.owed {
            0 => Step::Ended,
            missing => Step::Missing(missing as u64),
        }
    }

    /// Opens a frame when it is there whole: whether it is; `None` if it cannot be opened.
    fn open_whole(&mut self, feed: &mut Feed<'_>) -> Option<bool> {
        let bytes = feed.split(self.left);
        self.left -= bytes.len();
        let is_borrowed = self.held.is_empty() && self.left == 0;
        if !is_borrowed {
            self.held.extend_from_slice(bytes);
        }
        if self.left > 0 || self.owed == 0 {
            return Some(false);
        }
        let sealed = if is_borrowed { bytes } else { &self.held };
        match self.compression {
            Compression::Zlib => {
                let zlib = self.zlib.get_or_insert_with(|| Box::new(Decompress::new(true)));
                unzip(zlib, sealed, self.owed, &mut self.plain)?;
            }
            Compression::Zstd => unzstd(sealed, self.owed, &mut self.plain)?,
        }
        self.owed = 0;
        Some(true)
    }

    /// Opens as much as there is and as fits into a piece: whether that is anything; `None` if it cannot be opened.
    fn open_piece(&mut self, feed: &mut Feed<'_>) -> Option<bool> {
        let zlib = self.zlib.get_or_insert_with(|| Box::new(Decompress::new(true)));
        let sealed = &feed.bytes[..self.left.min(feed.bytes.len())];
        self.plain.clear();
        self.plain.reserve_exact(PIECE);
        let before = zlib.total_in();
        zlib.decompress_vec(sealed, &mut self.plain, FlushDecompress::None).ok()?;
        let taken = usize::try_from(zlib.total_in() - before).ok()?;
        feed.split(taken);
        self.left -= taken;
        self.owed = self.owed.checked_sub(self.plain.len())?;
        let is_stuck = taken == 0 && self.plain.is_empty() && (self.left == 0 || !feed.bytes.is_empty());
        (!is_stuck).then_some(!self.plain.is_empty())
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
        match self.ended() {
            Step::Missing(bytes) => Ok(Some((bytes, at))),
            _ => Ok(None),
        }
    }
}

fn unzip(zlib: &mut Decompress, sealed: &[u8], original: usize, plain: &mut Vec<u8>) -> Option<()> {
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
