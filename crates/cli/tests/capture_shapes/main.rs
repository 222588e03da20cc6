//! `byway capture -r` on capture files of every shape that is allowed, and of some that are not.
//!
//! What tshark printed of the same bytes is in `captures/shapes.txt`; `BYWAY_BLESS=1` asks the tshark that is installed
//! here again. Where we print something else on purpose, it stands beside the shape.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod blocks;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use blocks::{Blocks, COMMENT, DESCRIPTION, NAME, PING, SECOND};

const FIELDS: &str = "frame.time_epoch,frame.len,frame.cap_len,frame.interface_name,ip.src,frame.comment";

fn byway(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_byway"));
    command.arg("capture").args(arguments).stdin(Stdio::null()).env("TZ", "UTC");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file in a folder that goes when the test ends.
fn file(bytes: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shape");
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// A file, and the lines that we print otherwise than tshark: which, and what; nothing where we print none.
struct Shape {
    about: &'static str,
    bytes: Vec<u8>,
    otherwise: &'static [(usize, &'static str)],
}

impl Shape {
    fn but(self, otherwise: &'static [(usize, &'static str)]) -> Self {
        Self { otherwise, ..self }
    }
}

fn shape(about: &'static str, made: impl FnOnce(&mut Blocks) -> &mut Blocks) -> Shape {
    let mut blocks = Blocks::default();
    made(&mut blocks);
    Shape { about, bytes: blocks.bytes, otherwise: &[] }
}

/// In microseconds: what an interface without `if_tsresol` counts.
const TIME: u64 = SECOND * 1_000_000 + 5;

fn shapes() -> Vec<Shape> {
    vec![
        shape("big-endian", |new| new.big_endian().interface(0, &[(NAME, b"eth0")]).enhanced(0, TIME, &[])),
        shape("two sections, of both byte orders", |new| {
            new.big_endian().interface(0, &[(NAME, b"big")]).enhanced(0, TIME, &[(COMMENT, b"first")]);
            new.little_endian().interface(0, &[(NAME, b"no")]).interface(0, &[(NAME, b"little")]);
            new.enhanced(1, TIME, &[]).enhanced(0, TIME, &[])
        })
        // tshark counts the interfaces of all sections here.
        .but(&[
            (1, "1700000000.000005000|42|42|little|172.41.0.2|"),
            (2, "1700000000.000005000|42|42|no|172.41.0.2|"),
        ]),
        shape("milliseconds", |new| new.little_endian().clock(3, 0).enhanced(0, SECOND * 1_000 + 5, &[])),
        shape("nanoseconds", |new| new.big_endian().clock(9, 0).enhanced(0, SECOND * 1_000_000_000 + 5, &[])),
        shape("1024ths of a second", |new| {
            new.little_endian().clock(0x8a, 0).enhanced(0, SECOND * 1024 + 5, &[])
        }),
        shape("an hour is added", |new| new.big_endian().clock(6, 3_600).enhanced(0, TIME, &[])),
        shape("an hour is taken off", |new| new.little_endian().clock(6, -3_600).enhanced(0, TIME, &[])),
        shape("two interfaces with clocks of their own", |new| {
            new.little_endian().clock(3, 0).clock(0x80, 7);
            new.enhanced(1, SECOND, &[]).enhanced(0, TIME / 1_000, &[])
        }),
        shape("names, descriptions and comments", |new| {
            let about = [(COMMENT, &b"a box"[..]), (DESCRIPTION, b"the uplink"), (NAME, b"eth1")];
            let inbound = (2, &[0, 0, 0, 1][..]);
            new.big_endian().interface(0, &about);
            new.enhanced(0, TIME, &[(COMMENT, b"one"), inbound, (COMMENT, b"two")])
        }),
        Shape { about: "a big-endian pcap that counts nanoseconds", bytes: pcap(3), otherwise: &[] },
        shape("packets of the first drafts", |new| {
            new.big_endian().interface(0, &[(NAME, b"a")]).interface(0, &[(NAME, b"b")]);
            new.legacy(1, 2, TIME, &[(COMMENT, b"old")]).legacy(0, 0xffff, TIME, &[])
        }),
        shape("simple packets, one cut by the snap length", |new| {
            let cut = &PING[..40];
            new.big_endian().interface(40, &[(NAME, b"eth0")]).simple(42, cut).simple(40, cut)
        }),
        shape("counters and unknown blocks", |new| {
            new.big_endian().interface(0, &[]).enhanced(0, TIME, &[]).statistics(0, 7, 3);
            new.block(0xbad, b"anything").block(0x8000_0001, &[])
        })
        // The first is a Custom Block, of which tshark makes a packet.
        .but(&[(1, "")]),
        shape("no end of the options", |new| {
            new.little_endian().interface(0, &[]);
            new.enhanced_with(0, TIME, &[1, 0, 2, 0, b'h', b'i', 0, 0])
        }),
        shape("an option longer than its block", |new| {
            let options = [1, 0, 2, 0, b'h', b'i', 0, 0, 1, 0, 99, 0, b'n', b'o', 0, 0];
            new.little_endian().interface(0, &[]).enhanced_with(0, TIME, &options).enhanced(0, TIME, &[])
        })
        // tshark shows nothing; the packet's bytes are good.
        .but(&[
            (0, "1700000000.000005000|42|42|unknown|172.41.0.2|hi"),
            (1, "1700000000.000005000|42|42|unknown|172.41.0.2|"),
        ]),
    ]
}

/// Where it is kept what others have printed.
fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

fn arguments(path: &str) -> Vec<&str> {
    let fields = FIELDS.split(',').flat_map(|field| ["-e", field]);
    ["-n", "-r", path, "-T", "fields", "-E", "separator=|"].into_iter().chain(fields).collect()
}

/// What tshark prints, with a heading for each shape, and what it complains of.
fn ask_tshark() -> String {
    let tshark = |arguments: &[&str]| Command::new("tshark").args(arguments).output().unwrap();
    let mut out = format!("# {}\n", text(&tshark(&["--version"]).stdout).lines().next().unwrap());
    for Shape { about, bytes, .. } in shapes() {
        let (_folder, path) = file(&bytes);
        let said = tshark(&arguments(&path));
        write!(out, "== {about}\n{}", text(&said.stdout)).unwrap();
        let complaints = text(&said.stderr);
        let complaints = complaints.lines().filter(|line| line.starts_with("tshark:"));
        complaints.for_each(|line| writeln!(out, "# {}", line.replace(&path, "FILE")).unwrap());
    }
    out
}

#[test]
fn files_of_every_shape_are_printed_as_tshark_prints_them() {
    let recorded = captures().join("shapes.txt");
    if std::env::var_os("BYWAY_BLESS").is_some() {
        std::fs::write(&recorded, ask_tshark()).unwrap();
    }
    let recorded = std::fs::read_to_string(recorded).unwrap();
    let told: Vec<&str> = recorded.split("\n== ").skip(1).collect();
    let shapes = shapes();
    assert_eq!(told.len(), shapes.len());
    for (Shape { about, bytes, otherwise }, told) in shapes.iter().zip(told) {
        let mut theirs = told.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(theirs.next(), Some(*about));
        let mut expected: Vec<&str> = theirs.collect();
        for (nth, line) in *otherwise {
            expected.resize(expected.len().max(nth + 1), "");
            assert_ne!(expected[*nth], *line, "{about}: tshark prints it too");
            expected[*nth] = line;
        }
        expected.retain(|line| !line.is_empty());
        let (_folder, path) = file(bytes);
        let out = byway(&arguments(&path));
        assert_eq!(text(&out.stdout).lines().collect::<Vec<_>>(), expected, "{about}");
        assert_eq!(out.status.code(), Some(0), "{about}: {}", text(&out.stderr));
    }
}

#[test]
fn a_file_that_ends_anywhere_in_its_last_packet_gives_all_before_and_says_where() {
    let (mut big, mut little) = (Blocks::default(), Blocks::default());
    big.big_endian().interface(0, &[]).enhanced(0, TIME, &[]);
    little.little_endian().interface(0, &[]).enhanced(0, TIME, &[(COMMENT, b"kept")]);
    let pcap = pcap(1);
    for (first, whole, head) in [
        (big.bytes.clone(), big.enhanced(0, TIME, &[(COMMENT, b"lost")]).bytes.clone(), 12),
        (little.bytes.clone(), little.simple(42, &PING).bytes.clone(), 12),
        (pcap.clone(), [&pcap, &pcap[24..]].concat(), 16),
    ] {
        let (start, length) = (first.len(), whole.len() - first.len());
        let (_folder, path) = file(&first);
        let told = byway(&["-n", "-r", &path]);
        assert_eq!((told.status.code(), text(&told.stdout).lines().count()), (Some(0), 2));
        for had in 1..length {
            // How long a block is stands in its second word, and a record of pcap in its third.
            let needed = if had < head - 4 { head } else { length };
            let (_folder, path) = file(&whole[..start + had]);
            let out = byway(&["-n", "-r", &path]);
            assert_eq!(out.status.code(), Some(1));
            assert_eq!(text(&out.stdout), text(&told.stdout));
            let expected = format!("because: cut short at byte {start}: {had} of {needed} bytes are there\n");
            assert!(text(&out.stderr).contains(&expected), "{expected}{}", text(&out.stderr));
        }
    }
}

/// A big-endian pcap that counts nanoseconds, with so many packets.
fn pcap(packets: u32) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let mut out = words(&[0xa1b2_3c4d, 0x0002_0004, 0, 0, 65_535, 1]);
    for nth in 0..packets {
        out.extend(words(&[1_700_000_000, 999_999_990 + nth, 42, 42]));
        out.extend(PING);
    }
    out
}

#[test]
fn what_cannot_be_is_told_with_its_place_and_what_came_before_is_shown() {
    let good = || {
        let mut blocks = Blocks::default();
        blocks.big_endian().interface(0, &[]).enhanced(0, TIME, &[]);
        blocks
    };
    let start = good().bytes.len();
    let of = |damage: &dyn Fn(&mut Blocks)| {
        let mut blocks = good();
        damage(&mut blocks);
        blocks.bytes
    };
    let differing = of(&|blocks| {
        blocks.simple(42, &PING);
        *blocks.bytes.last_mut().unwrap() += 4;
    });
    for (bytes, why) in [
        (of(&|blocks| _ = blocks.enhanced(1, TIME, &[])), "a block of an interface that was not told (1)"),
        (of(&|blocks| _ = blocks.statistics(7, 0, 0)), "a block of an interface that was not told (7)"),
        (
            of(&|blocks| _ = blocks.little_endian().simple(42, &PING)),
            "a block of an interface that was not told (0)",
        ),
        (of(&|blocks| _ = blocks.clock(20, 0)), "a clock finer than 64 bits can tell (20)"),
        (of(&|blocks| _ = blocks.clock(0xc0, 0)), "a clock finer than 64 bits can tell (192)"),
        (of(&|blocks| _ = blocks.block(6, &[0; 12])), "a packet block that is too short (12)"),
        (of(&|blocks| _ = blocks.block(1, &[0; 4])), "an interface block that is too short (4)"),
        (
            of(&|blocks| _ = blocks.block(0x0a0d_0d0a, &[0x1a, 0x2b, 0x3c, 0x4d])),
            "a section block that is too short (4)",
        ),
        (of(&|blocks| _ = blocks.block(0x0a0d_0d0a, &[0; 16])), "a section without a byte order (0)"),
        (
            of(&|blocks| blocks.bytes.extend([0, 0, 0, 6, 0, 0, 0, 13])),
            "a block whose length is no multiple of 4 (13)",
        ),
        (
            of(&|blocks| blocks.bytes.extend([0, 0, 0, 6, 0x7f, 0, 0, 0])),
            "a block longer than 16 MiB (2130706432)",
        ),
        (differing, "a block's two lengths differ (64)"),
    ] {
        let (_folder, path) = file(&bytes);
        let out = byway(&["-n", "-r", &path]);
        let told = text(&out.stderr);
        assert_eq!((out.status.code(), text(&out.stdout).lines().count()), (Some(1), 2), "{why}: {told}");
        // A section of its own comes before the packet that has no interface.
        let places = [start, start + 28].map(|at| format!("because: damaged at byte {at}: {why}\n"));
        assert!(places.iter().any(|place| told.contains(place)), "{why}: {told}");
    }
}

#[test]
fn what_is_written_was_read_by_capinfos_and_tshark_without_complaint() {
    let files: Vec<_> = shapes().iter().map(|shape| file(&shape.bytes)).collect();
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("written.pcapng");
    let mut arguments: Vec<&str> = files.iter().flat_map(|(_, path)| ["-r", path]).collect();
    arguments.extend(["-w", written.to_str().unwrap()]);
    assert!(byway(&arguments).status.success());
    let written = std::fs::read(&written).unwrap();
    let (kept, read) = (captures().join("written.pcapng"), captures().join("written.txt"));
    if std::env::var_os("BYWAY_BLESS").is_some() {
        std::fs::write(&kept, &written).unwrap();
        std::fs::write(&read, read_by_others(&kept)).unwrap();
    }
    // The section names our version; what stands behind it is what the others have read.
    let behind_section = |file: &[u8]| {
        let length = u32::from_le_bytes(*file[4..].first_chunk().unwrap());
        file[length as usize..].to_vec()
    };
    assert!(behind_section(&written) == behind_section(&std::fs::read(kept).unwrap()), "as it was recorded");
    let read = std::fs::read_to_string(read).unwrap();
    let packets = shapes().iter().map(|shape| packets(&shape.bytes)).sum::<usize>();
    assert!(read.contains(&format!("\nNumber of packets:   {packets}\n")), "{read}");
    assert!(read.ends_with(&format!("\ntshark: {packets} packets, no complaints\n")), "{read}");
}

/// How many packets we find in it.
fn packets(bytes: &[u8]) -> usize {
    let (_folder, path) = file(bytes);
    text(&byway(&arguments(&path)).stdout).lines().count()
}

/// What capinfos says of a file, and how many packets tshark reads in it; neither may complain.
fn read_by_others(path: &Path) -> String {
    let path = path.to_str().unwrap();
    let ask = |program: &str, arguments: &[&str]| {
        let out = Command::new(program).args(arguments).output().unwrap();
        let complaints = text(&out.stderr);
        // Said to root whatever the file.
        let complaints = complaints.lines().filter(|line| !line.starts_with("Running as user"));
        assert_eq!(complaints.collect::<Vec<_>>(), [""; 0], "{program}");
        assert!(out.status.success(), "{program}");
        text(&out.stdout)
    };
    let version = ask("capinfos", &["--version"]);
    let said = ask("capinfos", &["-M", "-t", "-E", "-c", "-u", "-a", "-e", "-S", "-o", "-F", "-I", path]);
    let of_all = |line: &&str| !line.starts_with("File name:") && !line.starts_with("Interface #");
    let said = said.lines().filter(of_all).filter(|line| !line.starts_with(' '));
    let packets = ask("tshark", &arguments(path)).lines().count();
    let said = said.collect::<Vec<_>>().join("\n");
    format!("# {}\n{said}\ntshark: {packets} packets, no complaints\n", version.lines().next().unwrap())
}
