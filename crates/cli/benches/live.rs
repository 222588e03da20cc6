//! Capturing at the highest rate that this machine can make: `byway capture -i X -w` beside `tcpdump -i X -w` in the
//! same run, in turns, each with the same packets: CPU time per packet that is in the file, and packets that are not.
//!
//! Packets are sent into one end of a cable past all queues (`PACKET_QDISC_BYPASS`) and captured at the other end.
//! What passed there is what was sent without what the cable dropped itself: so losses are told to the packet.

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use byway_lab::{Lab, Options, Topology};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike as _;
use nix::unistd::Pid;
use verdict::{Samples, Sheet, Unit};

/// Packets of a round: half a second to a second at the rate that one core sends at.
const PACKETS: u32 = 600_000;
/// How many packets one system call sends.
const BATCH: u32 = 64;
/// Packets of both kinds: short ones, where the work for each counts, and full ones, where copying does.
const LENGTHS: [(usize, &str); 2] = [(128, "packets of 128 bytes"), (1514, "packets of 1,514 bytes")];
/// Rounds of both, in turns. The first of each is thrown away.
const ROUNDS: usize = 7;
/// What must not be more than tcpdump's, per packet; measured in the same round.
const LIMIT: f64 = 1.0;
/// Until whoever captures has taken what waits for it, and lies still: both get the same.
const SETTLE: Duration = Duration::from_millis(700);
/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nobody's protocol (IEEE 802 local experimental), so that no stack answers.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const NODE: &str = "docker41";

/// What one run of a program has done.
struct Run {
    /// CPU time, user and system, in seconds.
    cpu: f64,
    passed: u64,
    written: u64,
}

impl Run {
    fn per_packet(&self) -> f64 {
        self.cpu / precise(self.written.max(1))
    }

    fn lost_percent(&self) -> f64 {
        100.0 * precise(self.passed.saturating_sub(self.written)) / precise(self.passed.max(1))
    }
}

fn main() -> Result<ExitCode> {
    let byway = env!("CARGO_BIN_EXE_byway");
    let lab = Lab::up(&Topology::two_hosts(), &Options::private(byway.as_ref()).without_agents(), |_| {})?;
    let cable = "sysctl -qw net.ipv6.conf.default.disable_ipv6=1 && ip link add bwa type veth peer name bwb \
        && ip link set bwa up && ip link set bwb up";
    ensure!(lab.command(NODE, "sh").args(["-ec", cable]).status()?.success(), "make a cable");
    let sender = sender(&lab)?;
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let mut sheet =
        Sheet::new("Capturing at the highest rate: 600,000 packets through a cable, written to memory");
    for (length, name) in LENGTHS {
        sheet.part(name);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut rates = Samples::default();
        for round in 0..ROUNDS {
            let one = capture(&lab, &sender, length, byway, &folder.path().join("ours.pcapng"))?;
            let other = capture(&lab, &sender, length, "tcpdump", &folder.path().join("theirs.pcap"))?;
            if round > 0 {
                rates.add(one.1);
                rates.add(other.1);
                ours.push(one.0);
                theirs.push(other.0);
            }
        }
        let all = |runs: &[Run], of: fn(&Run) -> f64| runs.iter().map(of).collect::<Samples>();
        sheet.said(&format!("{:.0} packets a second were sent", rates.median()));
        let (cost, peer) = (all(&ours, Run::per_packet), all(&theirs, Run::per_packet));
        sheet.unit(Unit::Seconds);
        sheet.at_most("CPU per packet written", &cost, LIMIT, ("tcpdump -w", &peer));
        sheet.unit(Unit::Percent);
        let (lost, peer) = (all(&ours, Run::lost_percent), all(&theirs, Run::lost_percent));
        sheet.at_most("lost", &lost, LIMIT, ("tcpdump -w", &peer));
    }
    lab.down()?;
    Ok(sheet.finish())
}

/// One program captures while all packets are sent; what it did, and the packets sent in a second.
fn capture(lab: &Lab, sender: &OwnedFd, length: usize, program: &str, file: &Path) -> Result<(Run, f64)> {
    let before = children_cpu()?;
    let is_ours = program != "tcpdump";
    let mut command = lab.command(NODE, program);
    command.args(if is_ours {
        &["capture", "-i", "bwb", "-w"][..]
    } else {
        &["-p", "-n", "-i", "bwb", "-w"]
    });
    let notes = tempfile::tempfile()?;
    let mut child =
        command.arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(notes.try_clone()?).spawn()?;
    let listening = || -> Result<bool> {
        if is_ours { Ok(file.exists()) } else { Ok(said(&notes)?.contains("listening on")) }
    };
    let begun = Instant::now();
    while !listening()? {
        ensure!(begun.elapsed() < PATIENCE && child.try_wait()?.is_none(), "{program}: {}", said(&notes)?);
        sleep(Duration::from_millis(5));
    }
    let dropped = dropped_by_cable(lab)?;
    // Running `ip` in the lab costs CPU time that is nobody's here.
    let aside = children_cpu()? - before;
    let begun = Instant::now();
    let sent = send(sender, length)?;
    let rate = precise(sent) / begun.elapsed().as_secs_f64();
    sleep(SETTLE);
    end(&mut child).with_context(|| said(&notes).unwrap_or_default())?;
    let cpu = children_cpu()? - before - aside;
    let passed = sent - (dropped_by_cable(lab)? - dropped);
    let said = said(&notes)?;
    let written = written(&said, is_ours).with_context(|| said.clone())?;
    if is_ours {
        let told = number_before(&said, " lost in the capture").with_context(|| said.clone())?;
        ensure!(written + told == passed, "every packet is told: {passed} passed, {said}");
    }
    std::fs::remove_file(file)?;
    Ok((Run { cpu, passed, written }, rate))
}

fn end(child: &mut Child) -> Result<()> {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}

/// What a program said on standard error.
fn said(notes: &File) -> Result<String> {
    let mut text = vec![0; 64 << 10];
    let length = std::os::unix::fs::FileExt::read_at(notes, &mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..length]).into_owned())
}

fn written(said: &str, is_ours: bool) -> Option<u64> {
    number_before(said, if is_ours { " packets, " } else { " packets captured" })
}

fn number_before(said: &str, words: &str) -> Option<u64> {
    said[..said.find(words)?].rsplit(|at: char| !at.is_ascii_digit()).next()?.parse().ok()
}

/// What the cable itself has dropped, as its receiving end could not keep up.
fn dropped_by_cable(lab: &Lab) -> Result<u64> {
    let out = lab.command(NODE, "ip").args(["-s", "-j", "link", "show", "dev", "bwa"]).output()?;
    let links: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    links[0]["stats64"]["tx"]["dropped"].as_u64().context("the counters of bwa")
}

fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()).as_secs_f64())
}

/// A socket on one end of the cable that passes over the queues.
fn sender(lab: &Lab) -> Result<OwnedFd> {
    let socket = lab.socket(NODE, libc::AF_PACKET, libc::SOCK_RAW, 0)?;
    let bypass: libc::c_int = 1;
    // SAFETY: the pointer and the length are those of `bypass`.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const bypass).cast(),
            4,
        )
    };
    ensure!(done == 0, "pass over the queues: {}", io::Error::last_os_error());
    let index = lab.inside(NODE, || nix::net::if_::if_nametoindex("bwa"))??;
    // SAFETY: all its fields are numbers, for which zero bytes are values.
    let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_ifindex = i32::try_from(index)?;
    let length = u32::try_from(size_of_val(&address))?;
    // SAFETY: the pointer and the length are those of `address`.
    let done = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    ensure!(done == 0, "bind the sender: {}", io::Error::last_os_error());
    Ok(socket)
}

/// Sends all packets, many to a system call; how many the kernel took.
fn send(socket: &OwnedFd, length: usize) -> Result<u64> {
    let mut frame = vec![0x2a_u8; length];
    frame[..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&ETHERTYPE);
    let mut part = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
    // SAFETY: all its fields are numbers and pointers, for which zero bytes are values.
    let mut message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_hdr.msg_iov = &raw mut part;
    message.msg_hdr.msg_iovlen = 1;
    let mut batch = vec![message; BATCH as usize];
    let mut sent = 0;
    while sent < u64::from(PACKETS) {
        // SAFETY: every message points to `part`, which points to `frame`; all outlive the call, and there are BATCH.
        let done = unsafe { libc::sendmmsg(socket.as_raw_fd(), batch.as_mut_ptr(), BATCH, 0) };
        match u64::try_from(done) {
            Ok(done) => sent += done,
            Err(_) => match io::Error::last_os_error() {
                // The cable's queue is full: what was refused did not pass, and is sent again.
                error if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                error => return Err(error).context("send"),
            },
        }
    }
    Ok(sent)
}

fn precise(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
