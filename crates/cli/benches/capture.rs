//! A capture of a million packets to six fields each: `byway capture -r` beside `tshark`, with the same fields in the
//! same run; the output must be the same. And the memory it takes, which must not grow with the file.

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use verdict::{Samples, Sheet, Unit};

/// Packets of the capture, and of the small one that the memory is compared with.
const PACKETS: u32 = 1_000_000;
const PACKETS_FEW: u32 = 100_000;
/// How many times the CPU time tshark must take.
const FASTER_LIMIT: f64 = 20.0;
/// The memory for the large capture, beside that for the small one.
const MEMORY_LIMIT: f64 = 1.1;
/// How often ours is measured for each time of tshark, which takes half a minute.
const OURS: usize = 5;
const ROUNDS: usize = 2;
const FIELDS: [&str; 6] = ["frame.time_epoch", "ip.src", "ip.dst", "ip.ttl", "tcp.srcport", "tcp.dstport"];

fn main() -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let (large, small) = (folder.path().join("large.pcap"), folder.path().join("small.pcap"));
    write(&large, PACKETS)?;
    write(&small, PACKETS_FEW)?;
    let (ours_out, theirs_out) = (folder.path().join("ours"), folder.path().join("theirs"));
    let ours = || command(env!("CARGO_BIN_EXE_byway"), &["capture", "-n", "-r"]);
    let mut sheet = Sheet::new("A capture of 1,000,000 packets, six fields of each");
    // The kernel tells the most that any child so far has had, so ours come first and the small one before the large.
    run(ours(), &small, &ours_out)?;
    let memory_small = children_memory()?;
    run(ours(), &large, &ours_out)?;
    let memory_large = children_memory()?;
    let (mut cost, mut peer) = (Samples::default(), Samples::default());
    for _ in 0..ROUNDS {
        for _ in 0..OURS {
            cost.add(run(ours(), &large, &ours_out)?);
        }
        peer.add(run(command("tshark", &["-n", "-r"]), &large, &theirs_out)?);
        ensure!(same(&ours_out, &theirs_out)?, "both print the same");
    }
    sheet.faster("byway capture -r, CPU", &cost, FASTER_LIMIT, ("tshark", &peer));
    sheet.unit(Unit::Mebibytes);
    let few = Samples::from_iter([memory_small]);
    let peer = ("100,000 packets", &few);
    sheet.at_most("most memory, 1,000,000 packets", &Samples::from_iter([memory_large]), MEMORY_LIMIT, peer);
    Ok(sheet.finish())
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs it on the capture; the CPU time that it took, in seconds, the kernel's work for it too.
fn run(mut command: Command, capture: &Path, out: &Path) -> Result<f64> {
    command.arg(capture).args(["-T", "fields"]);
    command.args(FIELDS.iter().flat_map(|field| ["-e", field]));
    command.stdout(File::create(out)?).stderr(Stdio::null()).stdin(Stdio::null());
    let before = children_cpu()?;
    let status = command.status().with_context(|| format!("run {}", command.get_program().display()))?;
    ensure!(status.success(), "{} ended with {status}", command.get_program().display());
    Ok(children_cpu()? - before)
}

fn children_cpu() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(std::time::Duration::from_micros(micros.unsigned_abs()).as_secs_f64())
}

fn children_memory() -> Result<f64> {
    let kibibytes = u32::try_from(getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss())?;
    Ok(f64::from(kibibytes) / 1024.0)
}

/// Segments with 10 to 1,400 bytes, of some thousand connections.
fn write(path: &Path, packets: u32) -> Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        out.write_all(&word.to_le_bytes())?;
    }
    for nth in 0..packets {
        let mix = nth.wrapping_mul(2_654_435_761);
        let data = 10 + (mix >> 12) % 1_390;
        let length = 54 + data;
        for word in [1_700_000_000 + nth / 10_000, nth % 10_000 * 100, length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        let [a, b, c, d] = mix.to_be_bytes();
        let [high, low] = u16::try_from(length - 14)?.to_be_bytes();
        out.write_all(&[2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10, 8, 0])?;
        out.write_all(&[0x45, 0, high, low, c, d, 0x40, 0, 62 + (a & 3), 6, 0, 0])?;
        out.write_all(&[172, 41, a & 15, b, 172, 42, 0, c])?;
        out.write_all(&[0x9c, d, 0x9c, 0xa4])?;
        out.write_all(&nth.to_be_bytes())?;
        out.write_all(&[0, 0, 0, 1, 0x50, 0x10, 0xfa, 0xf0, 0, 0, 0, 0])?;
        out.write_all(&vec![b; data as usize])?;
    }
    Ok(out.flush()?)
}

fn same(one: &Path, other: &Path) -> Result<bool> {
    let read = |path: &Path| -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    Ok(read(one)? == read(other)?)
}
