//! The system calls of a ring's socket (`packet(7)`, `Documentation/networking/packet_mmap.rst`) that
//! `watch/socket.rs` does not have.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::edge::watch::socket::set;

/// The counts of a ring since they were last asked for (`struct tpacket_stats_v3`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    /// What passed the filter, what was dropped among it.
    pub(super) received: u32,
    pub(super) dropped: u32,
    pub(super) freezes: u32,
}

/// Lets the kernel make the ring: from now on frames go there instead of into a queue.
pub(super) fn make_ring(socket: &OwnedFd, block_bytes: u32, blocks: u32, timeout_ms: u32) -> io::Result<()> {
    let version = libc::tpacket_versions::TPACKET_V3 as i32;
    set(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
    let request = libc::tpacket_req3 {
        tp_block_size: block_bytes,
        tp_block_nr: blocks,
        // With version 3 frames are as long as they are; the kernel only wants these two to fit.
        tp_frame_size: block_bytes,
        tp_frame_nr: blocks,
        tp_retire_blk_tov: timeout_ms,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)
}

/// Asks for the card's time where the card gives it; elsewhere the kernel's is given still.
pub(super) fn prefer_card_time(socket: &OwnedFd) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_TIMESTAMP, &libc::SOF_TIMESTAMPING_RAW_HARDWARE)
}

/// What was counted since this was last asked; the kernel starts anew at 0.
pub(super) fn counts(socket: &OwnedFd) -> io::Result<Counts> {
    let mut told = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&told)).unwrap_or(0);
    let (level, name) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
    // SAFETY: the kernel writes at most `length` bytes to `told`, which has that many and outlives the call.
    let done =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut told).cast(), &raw mut length) };
    match done {
        0 => Ok(Counts { received: told.tp_packets, dropped: told.tp_drops, freezes: told.tp_freeze_q_cnt }),
        _ => Err(io::Error::last_os_error()),
    }
}
