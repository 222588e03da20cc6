//! What one run of a program takes.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The first argument of a process of this bench that only runs another program and tells what that took. The kernel
/// counts among a program's memory that of the process which started it, so that one must be small.
const ERRAND: &str = "--what-it-takes";

/// The CPU time and the memory of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// User and system, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The most that it had at once, in MiB.
    pub(crate) memory_mebibytes: f64,
}

/// Runs it to its end, its output thrown away; it must succeed.
pub(crate) fn cost(program: impl AsRef<OsStr>, arguments: &[&OsStr]) -> Cost {
    let mut errand = Command::new(std::env::current_exe().unwrap());
    let out = errand.arg(ERRAND).arg(program).args(arguments).stdout(Stdio::piped()).output().unwrap();
    let told = String::from_utf8(out.stdout).unwrap();
    let mut told = told.split_whitespace().map(|number| number.parse().unwrap());
    let mut next = || told.next().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&out.stderr)));
    Cost { cpu_seconds: next(), memory_mebibytes: next() }
}

/// Whether this process is only there to run another, which it has done then.
pub(crate) fn was_errand() -> bool {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != ERRAND) {
        return false;
    }
    let mut command = Command::new(arguments.next().unwrap());
    let Cost { cpu_seconds, memory_mebibytes } = run(command.args(arguments));
    io::stdout().write_all(format!("{cpu_seconds} {memory_mebibytes}").as_bytes()).unwrap();
    true
}

#[expect(
    clippy::zombie_processes,
    reason = "it is waited for, by another call, which also tells what it took"
)]
fn run(command: &mut Command) -> Cost {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let child = child.id().cast_signed();
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to values of ours that live longer than the call.
    let waited = unsafe { libc::wait4(child, &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(waited, child, "{}", io::Error::last_os_error());
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
