//! Records out of a stream of bytes (RFC 8446, 5.1 and 5.2; RFC 5246, 6.2), also where bytes are missing.
//!
//! ```text
//!   ┌ 5 bytes: type, version, length ┐┌ length bytes ...
//!   Framed ── lost inside of one record ──> Passing: its end is known
//!     └────── lost beyond its end, or no header ──> Searching: what looks like a header is tried
//! ```

use std::ops::Range;

use crate::stream::{Gap, Piece};

/// Type, version and length.
pub(super) const HEADER_BYTES: usize = 5;
/// The longest protected content: 2^14 and 256 in TLS 1.3, 2048 in TLS 1.2; none of the ciphers here adds more than 24,
/// but compression might.
const CONTENT_BYTES_MAX: usize = (1 << 14) + 2048;
/// The shortest record with application data that is searched for: a header and a tag.
pub(super) const PROTECTED_BYTES_MIN: usize = HEADER_BYTES + 16;
/// What the buffer of a connection at rest may keep: most requests fit, and ten thousand connections are 40 MB at worst.
const KEPT_BYTES_MAX: usize = 2 << 10;
/// How much is looked through at once for a header.
const SEARCH_STEP_BYTES: usize = 4 << 10;
/// Times that are kept of one record, for it comes in some twelve segments; bytes of later ones count as seen with the
/// last of them.
const MARKS_MAX: usize = 32;

/// Types of records (<https://www.iana.org/assignments/tls-parameters>, `ContentType`).
pub(super) mod content {
    pub(in super::super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(in super::super) const HANDSHAKE: u8 = 22;
    pub(in super::super) const APPLICATION_DATA: u8 = 23;
    pub(in super::super) const HEARTBEAT: u8 = 24;
}

/// The records of one side.
#[derive(Debug)]
pub(super) struct Records {
    buffer: Vec<u8>,
    /// Where the buffer's first byte lies in the stream.
    offset: u64,
    marks: Vec<Mark>,
    place: Place,
}

/// From this byte of the stream on they were seen at this time.
#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: u64,
    time_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The buffer starts with a header.
    Framed,
    /// So many bytes still belong to a record that was hurt.
    Passing(u64),
    /// Where the next record starts is not known; the last start that was known is this.
    Searching { since: u64 },
}

/// What a gap did to the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hurt {
    /// It lies in one record that was hurt before.
    NoMore,
    /// One record, whose content is these bytes of the stream; the next one's start is known.
    One(Range<u64>),
    /// Some, from this byte of the stream on; how many is not known.
    Many(u64),
}

impl Records {
    pub(super) fn new() -> Self {
        Self { buffer: Vec::new(), offset: 0, marks: Vec::new(), place: Place::Framed }
    }

    /// Takes bytes from the front of the piece until there is a whole record; `false` if the piece ends before.
    pub(super) fn fill(&mut self, piece: &mut Piece<'_>) -> bool {
        // Ends: every round takes bytes from the piece, or leaves, or goes from one place to another that does.
        loop {
            match self.place {
                Place::Passing(0) => self.place = Place::Framed,
                Place::Passing(_) if piece.bytes.is_empty() => return false,
                Place::Passing(left) => {
                    let passed = usize::try_from(left).unwrap_or(usize::MAX).min(piece.bytes.len());
                    shorten(piece, passed);
                    self.place = Place::Passing(left - passed as u64);
                }
                Place::Framed => match self.length() {
                    Some(Ok(length)) if self.buffer.len() >= length => return true,
                    Some(Err(NoRecord)) => self.place = Place::Searching { since: self.offset },
                    _ if piece.bytes.is_empty() => return false,
                    Some(Ok(length)) => self.take(piece, length),
                    None => self.take(piece, HEADER_BYTES),
                },
                Place::Searching { .. } => {
                    self.drop_front(candidate(&self.buffer));
                    let length = match self.length() {
                        Some(Ok(length)) if self.buffer.len() >= length => return true,
                        Some(Ok(length)) => length,
                        _ => SEARCH_STEP_BYTES,
                    };
                    if piece.bytes.is_empty() {
                        return false;
                    }
                    self.take(piece, length);
                }
            }
        }
    }

    /// The record that [`Self::fill`] found, with its header.
    pub(super) fn record(&mut self) -> &mut [u8] {
        let length = self.record_length();
        &mut self.buffer[..length]
    }

    /// The content of the record that is not whole.
    pub(super) fn partial(&self) -> Option<(u8, &[u8])> {
        let (header, content) = self.buffer.split_at_checked(HEADER_BYTES)?;
        (self.place == Place::Framed).then_some((header[0], content))
    }

    /// Where the record lies in the stream.
    pub(super) fn start(&self) -> u64 {
        self.offset
    }

    /// When its last bytes were seen.
    pub(super) fn time_ns(&self) -> u64 {
        self.marks.last().map_or(0, |mark| mark.time_ns)
    }

    /// Where the last start of a record lies that was known; `None` if the start of this one is.
    pub(super) fn searching_since(&self) -> Option<u64> {
        match self.place {
            Place::Searching { since } => Some(since),
            Place::Framed | Place::Passing(_) => None,
        }
    }

    /// The record is done; another starts where it ends.
    pub(super) fn next(&mut self) {
        self.drop_front(self.record_length());
        self.place = Place::Framed;
    }

    /// What looked like a record was none: goes on searching behind its first byte.
    pub(super) fn not_here(&mut self) {
        self.drop_front(1);
    }

    /// The record could not be opened though it should have been: what follows may or may not be a record.
    pub(super) fn distrust(&mut self) {
        let since = self.offset;
        self.drop_front(self.record_length());
        self.place = Place::Searching { since };
    }

    /// Bytes will not come.
    pub(super) fn gap(&mut self, gap: &Gap) -> Hurt {
        let end = gap.offset.saturating_add(gap.missing);
        let start = self.offset;
        let had = self.buffer.len() as u64;
        let hurt = match (self.place, self.length()) {
            (Place::Passing(left), _) if gap.missing <= left => {
                self.place = Place::Passing(left - gap.missing);
                Hurt::NoMore
            }
            (Place::Framed, Some(Ok(length))) if had.saturating_add(gap.missing) <= length as u64 => {
                self.place = Place::Passing(length as u64 - had - gap.missing);
                let content = start.saturating_add(HEADER_BYTES as u64);
                Hurt::One(content..start.saturating_add(length as u64))
            }
            // Told again: the other side may have spoken since.
            (Place::Searching { .. }, _) if self.buffer.is_empty() => Hurt::Many(gap.offset),
            (Place::Searching { .. }, _) => Hurt::Many(start),
            (Place::Passing(left), _) => self.lose(gap.offset.saturating_add(left)),
            (Place::Framed, _) if self.buffer.is_empty() => self.lose(gap.offset),
            (Place::Framed, _) => self.lose(start),
        };
        self.buffer.clear();
        self.marks.clear();
        self.offset = end;
        hurt
    }

    /// Shows the bytes of `range` of the record, a piece for each time at which some of them were seen.
    pub(super) fn pieces(&self, range: Range<usize>, mut each: impl FnMut(Piece<'_>)) {
        let from = self.offset.saturating_add(range.start as u64);
        let mut rest = self.buffer.get(range).unwrap_or_default();
        let (mut offset, mut starts_segment) = (from, true);
        for (nth, mark) in self.marks.iter().enumerate() {
            let until = self.marks.get(nth + 1).map_or(u64::MAX, |next| next.offset);
            let length = usize::try_from(until.saturating_sub(offset)).unwrap_or(usize::MAX).min(rest.len());
            let (bytes, later) = rest.split_at(length);
            rest = later;
            if !bytes.is_empty() {
                each(Piece { bytes, offset, time_ns: mark.time_ns, starts_segment });
                starts_segment = false;
                offset = offset.saturating_add(length as u64);
            }
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    fn lose(&mut self, since: u64) -> Hurt {
        self.place = Place::Searching { since };
        Hurt::Many(since)
    }

    /// How long the record at the buffer's start is by its header, once that is there.
    fn length(&self) -> Option<Result<usize, NoRecord>> {
        let [kind, major, _, high, low] = *self.buffer.first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let is_record = (content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT).contains(&kind)
            && major == 3
            && length <= CONTENT_BYTES_MAX;
        Some(if is_record { Ok(HEADER_BYTES + length) } else { Err(NoRecord) })
    }

    fn record_length(&self) -> usize {
        let length = self.length().and_then(Result::ok).unwrap_or_default();
        length.min(self.buffer.len())
    }

    /// Takes bytes until the buffer has `length`.
    fn take(&mut self, piece: &mut Piece<'_>, length: usize) {
        if self.buffer.is_empty() {
            self.offset = piece.offset;
            self.marks.clear();
        }
        if self.marks.len() < MARKS_MAX && self.marks.last().is_none_or(|mark| mark.time_ns != piece.time_ns)
        {
            self.marks.push(Mark { offset: piece.offset, time_ns: piece.time_ns });
        }
        let missing = length.saturating_sub(self.buffer.len());
        self.buffer.reserve_exact(missing);
        let taken = missing.min(piece.bytes.len());
        self.buffer.extend_from_slice(&piece.bytes[..taken]);
        shorten(piece, taken);
    }

    fn drop_front(&mut self, length: usize) {
        self.offset = self.offset.saturating_add(length as u64);
        self.buffer.drain(..length.min(self.buffer.len()));
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        while self.marks.get(1).is_some_and(|second| second.offset <= self.offset) {
            self.marks.remove(0);
        }
    }
}

/// What is no header of a record.
struct NoRecord;

/// Takes bytes off the front.
fn shorten(piece: &mut Piece<'_>, length: usize) {
    piece.bytes = &piece.bytes[length..];
    piece.offset = piece.offset.saturating_add(length as u64);
    piece.starts_segment = piece.starts_segment && length == 0;
}

/// The first place where a record with application data may start, perhaps with the rest of its header still to come;
/// the length of the bytes if there is none.
fn candidate(bytes: &[u8]) -> usize {
    let may_start = |at: &usize| {
        let header = &bytes[*at..bytes.len().min(*at + HEADER_BYTES)];
        let known = [content::APPLICATION_DATA, 3, 3];
        let is_known = header.iter().zip(known).all(|(byte, expected)| *byte == expected);
        let length = header.last_chunk::<2>().filter(|_| header.len() == HEADER_BYTES);
        let length = length.map(|length| usize::from(u16::from_be_bytes(*length)));
        let fits = |length| (PROTECTED_BYTES_MIN - HEADER_BYTES..=CONTENT_BYTES_MAX).contains(&length);
        is_known && length.is_none_or(fits)
    };
    (0..bytes.len()).find(may_start).unwrap_or(bytes.len())
}
