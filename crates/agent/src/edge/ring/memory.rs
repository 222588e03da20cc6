//! The memory that a ring shares with the kernel: blocks that belong to one side at a time.
//!
//! ```text
//! status 0: the kernel fills the block         status 1 (TP_STATUS_USER): we read it
//!      └──── the kernel, when it is full or the time is over ────>┘
//!      └<──────────────── give_back() ───────────────────────────┘
//! ```
//!
//! `Documentation/networking/packet_mmap.rst`. All that is unsafe about a ring is here.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where `block_status` is in `struct tpacket_block_desc` (`linux/if_packet.h`): behind `version` and
/// `offset_to_priv`.
const STATUS_AT: usize = 8;

/// The blocks of a ring.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<u8>,
    block_bytes: usize,
    blocks: usize,
}

// SAFETY: it is the only owner of its mapping, which any thread may use.
unsafe impl Send for Memory {}

impl Memory {
    /// Maps the ring of a socket that has one, of `blocks` times `block_bytes`.
    pub(super) fn map(socket: &OwnedFd, block_bytes: usize, blocks: usize) -> io::Result<Self> {
        let too_large = || io::Error::from_raw_os_error(libc::EINVAL);
        let length = block_bytes.checked_mul(blocks).ok_or_else(too_large)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice; nothing of ours is there.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, socket.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(too_large)?;
        Ok(Self { start, block_bytes, blocks })
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.blocks
    }

    /// A block, if it is ours to read.
    pub(super) fn block(&self, nth: usize) -> Option<&[u8]> {
        // Acquire: what the kernel wrote before it set the status is seen behind it.
        let ours = self.status(nth)?.load(Ordering::Acquire) & libc::TP_STATUS_USER != 0;
        // SAFETY: the block is inside of the mapping (`status` has checked), and the kernel does not write to it
        // until it is given back, which needs `&mut self` and so ends this borrow.
        ours.then(|| unsafe {
            std::slice::from_raw_parts(self.start.as_ptr().add(nth * self.block_bytes), self.block_bytes)
        })
    }

    /// Lets the kernel fill a block anew.
    pub(super) fn give_back(&mut self, nth: usize) {
        if let Some(status) = self.status(nth) {
            // Release: all our reading is done before the kernel writes.
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
    }

    fn status(&self, nth: usize) -> Option<&AtomicU32> {
        if nth >= self.blocks {
            return None;
        }
        // SAFETY: the status is inside of the block, which is inside of the mapping and aligned to a page; the kernel
        // writes to it as to an atomic number.
        Some(unsafe {
            AtomicU32::from_ptr(self.start.as_ptr().add(nth * self.block_bytes + STATUS_AT).cast())
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.block_bytes * self.blocks) };
    }
}
