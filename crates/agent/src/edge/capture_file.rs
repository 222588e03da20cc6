//! Capture files, read with one buffer of bounded size, however long they are; standard input too.
//!
//! What the bytes mean is `byway_wire::capture`'s; this hand fetches them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use byway_wire::capture::{Flaw, Interface, Item, PacketAt, Reader, Record};

/// What is asked of the system at once: large enough that asking costs nothing beside reading.
const BUFFER_BYTES: usize = 256 << 10;

/// A capture file, and the packet in it that comes next.
pub struct CaptureFile {
    path: PathBuf,
    source: Box<dyn Read>,
    reader: Reader,
    /// Grows to the longest block that is met; [`byway_wire::capture::BLOCK_BYTES_MAX`] is the bound.
    buffer: Vec<u8>,
    /// What of the buffer is filled and not taken.
    start: usize,
    end: usize,
    /// The packet that was found last, in the bytes from `shown`.
    packet: Option<PacketAt>,
    shown: usize,
}

/// Why a capture file cannot be read, or no further.
#[derive(Debug, thiserror::Error)]
pub enum CaptureFileError {
    /// It cannot be opened.
    #[error("open the capture {}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// The system does not give its bytes.
    #[error("read the capture {} from byte {offset}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// From where on.
        offset: u64,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// It is none, or damaged.
    #[error("read the capture {}", path.display())]
    Flaw {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: Flaw,
    },
}

impl CaptureFileError {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Flaw { cause, .. } => cause.hint().map(str::to_owned),
            Self::Open { .. } | Self::Read { .. } => None,
        }
    }
}

impl CaptureFile {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// [`CaptureFileError::Open`].
    pub fn open(path: &Path) -> Result<Self, CaptureFileError> {
        let source: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let opened = File::open(path).and_then(|file| match file.metadata()?.is_dir() {
                true => Err(io::ErrorKind::IsADirectory.into()),
                false => Ok(file),
            });
            Box::new(opened.map_err(|cause| CaptureFileError::Open { path: path.to_owned(), cause })?)
        };
        Ok(Self {
            path: path.to_owned(),
            source,
            reader: Reader::new(),
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            packet: None,
            shown: 0,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was learned so far beside packets: interfaces with their counters, and names.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The interfaces that were met so far.
    #[must_use]
    pub fn interfaces(&self) -> &[Interface] {
        self.reader.interfaces()
    }

    /// Goes to the next packet; false at the end of the file.
    ///
    /// # Errors
    /// Where the file cannot be read further. What came before was good.
    pub fn advance(&mut self) -> Result<bool, CaptureFileError> {
        self.packet = None;
        loop {
            let there = &self.buffer[self.start..self.end];
            let needed = self.reader.needs(there).map_err(|cause| self.flaw(cause))?;
            if there.len() < needed {
                if self.fetch(needed)? {
                    continue;
                }
                let rest = &self.buffer[self.start..self.end];
                if rest.is_empty() && self.reader.offset() > 0 {
                    return Ok(false);
                }
                return Err(self.flaw(self.reader.cut_short(rest)));
            }
            // Only now is it certain that what was needed of the start is all of it.
            let item = self.reader.take(there).map_err(|cause| self.flaw(cause))?;
            self.shown = self.start;
            self.start += needed;
            if let Item::Packet(packet) = item {
                self.packet = Some(packet);
                return Ok(true);
            }
        }
    }

    /// The packet that [`CaptureFile::advance`] went to.
    #[must_use]
    pub fn packet(&self) -> Option<Record<'_>> {
        self.packet.as_ref().map(|packet| packet.of(&self.buffer[self.shown..self.end]))
    }

    /// Its time alone.
    #[must_use]
    pub fn time_ns(&self) -> Option<u64> {
        self.packet.as_ref().and_then(|packet| packet.time_ns)
    }

    /// Makes room for `needed` bytes and fetches some; false at the end of the file.
    fn fetch(&mut self, needed: usize) -> Result<bool, CaptureFileError> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.buffer.len() < needed {
            self.buffer.resize(needed.next_multiple_of(BUFFER_BYTES), 0);
        }
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => {
                    let offset = self.reader.offset() + self.end as u64;
                    return Err(CaptureFileError::Read { path: self.path.clone(), offset, cause });
                }
            }
        }
    }

    fn flaw(&self, cause: Flaw) -> CaptureFileError {
        CaptureFileError::Flaw { path: self.path.clone(), cause }
    }
}

impl std::fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureFile")
            .field("path", &self.path)
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}
