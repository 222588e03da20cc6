//! What one run of a program takes.

use std::io;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The CPU time and the memory of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// User and system, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The most that it had at once, in MiB.
    pub(crate) memory_mebibytes: f64,
}

/// Runs it to its end; it must succeed.
#[expect(
    clippy::zombie_processes,
    reason = "it is waited for, by another call, which also tells what it took"
)]
pub(crate) fn cost(command: &mut Command) -> Cost {
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    ended(child.id())
}

/// Waits for the end of a child, which must succeed.
pub(crate) fn ended(child: u32) -> Cost {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to values of ours that live longer than the call.
    let waited = unsafe { libc::wait4(child.cast_signed(), &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(waited, child.cast_signed(), "{}", io::Error::last_os_error());
    assert_eq!(status, 0, "it succeeds");
    // SAFETY: all its fields are numbers, for which zero bytes are values; the call has written it.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| {
        let (seconds, micros) = (time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs());
        (Duration::from_secs(seconds) + Duration::from_micros(micros)).as_secs_f64()
    };
    let kibibytes = u32::try_from(usage.ru_maxrss).unwrap();
    Cost {
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        memory_mebibytes: f64::from(kibibytes) / 1024.0,
    }
}
