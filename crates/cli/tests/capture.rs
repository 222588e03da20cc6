//! `byway capture -r`: every field as tshark prints it, and what is said where a file is cut, damaged or foreign.
//!
//! The frames are in `captures/frames.txt`, one a line: link type, bytes, what it is. `captures/frames.pcapng` holds
//! each of them, and those with a star also cut after every byte; `captures/tshark.txt` is what tshark printed. With
//! `BYWAY_BLESS=1` both are made anew, with the tshark that is installed here.

#![allow(clippy::unwrap_used, reason = "for tests only")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use byway_wire::capture::{self, Comments, Counts, Interface, Record};
use byway_wire::field::FIELDS;

const BYWAY: &str = env!("CARGO_BIN_EXE_byway");
/// What nobody puts together again here; see `byway_wire::field`.
const AS_IT_PASSED: [&str; 8] = [
    "-o",
    "ip.defragment:FALSE",
    "-o",
    "ipv6.defragment:FALSE",
    "-o",
    "tcp.desegment_tcp_streams:FALSE",
    "-o",
    "tcp.no_subdissector_on_error:FALSE",
];
/// The first nanosecond of the frames, and how far apart they are.
const BEGUN_NS: u64 = 1_700_000_000_123_456_789;
const APART_NS: u64 = 1_000_003;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

fn byway(arguments: &[&str]) -> Output {
    let mut command = Command::new(BYWAY);
    command.arg("capture").args(arguments).stdin(Stdio::null()).env("TZ", "UTC");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A file in a folder that goes when the test ends.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// Link type, bytes, what it is; with a star if it is also to be cut.
fn frames() -> Vec<(u32, Vec<u8>, String)> {
    let lines = std::fs::read_to_string(folder().join("frames.txt")).unwrap();
    let frame = |line: &str| {
        let (frame, about) = line.split_once(" # ").unwrap();
        let (link, hex) = frame.split_once(' ').unwrap();
        let bytes = hex.as_bytes().chunks(2);
        let bytes = bytes.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
        (link.parse().unwrap(), bytes.collect(), about.to_owned())
    };
    lines.lines().map(frame).collect()
}

/// The frames, whole and cut, as our own writer writes them.
fn corpus() -> Vec<u8> {
    let frames = frames();
    let mut links: Vec<u32> = frames.iter().map(|(link, ..)| *link).collect();
    links.sort_unstable();
    links.dedup();
    let mut out = Vec::new();
    capture::section(&mut out, "byway's stories");
    for link in &links {
        let name = Some(format!("host/link{link}"));
        capture::interface(
            &mut out,
            &Interface { name, link: *link, snaplen: 65_535, ..Interface::default() },
        );
    }
    let whole = frames.iter().map(|(link, bytes, about)| (link, &bytes[..], bytes.len(), about.clone()));
    let starred = frames.iter().filter(|(.., about)| about.ends_with('*'));
    let cut = starred.flat_map(|(link, bytes, about)| {
        (0..bytes.len()).map(move |at| (link, &bytes[..at], bytes.len(), format!("{about}, cut at {at}")))
    });
    for ((link, bytes, length, about), nth) in whole.chain(cut).zip(0..) {
        let mut comment = vec![1, 0];
        comment.extend(u16::try_from(about.len()).unwrap().to_le_bytes());
        comment.extend(about.as_bytes());
        comment.resize(comment.len().next_multiple_of(4), 0);
        let interface = links.binary_search(link).unwrap();
        let record = Record {
            time_ns: Some(BEGUN_NS + nth * APART_NS),
            interface,
            direction: None,
            bytes,
            original_len: u32::try_from(length).unwrap(),
            comments: Comments::among(&comment, false),
        };
        capture::packet(&mut out, u32::try_from(interface).unwrap(), &record);
    }
    let counts = Counts { received: Some(5_000), dropped: Some(7) };
    capture::statistics(&mut out, 0, BEGUN_NS, counts);
    out
}

fn fields_arguments() -> Vec<&'static str> {
    let fields = FIELDS.iter().flat_map(|field| ["-e", field.name]);
    ["-T", "fields", "-E", "header=y", "-E", "separator=|"].into_iter().chain(fields).collect()
}

/// What tshark prints of a file, with a first line that says which tshark, and how it was asked.
fn ask_tshark(path: &Path) -> String {
    let tshark = |arguments: &[&str]| {
        let out = Command::new("tshark").args(arguments).output().unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
        out.stdout
    };
    let version = text(&tshark(&["--version"])).lines().next().unwrap().to_owned();
    let mut arguments = vec!["-n", "-r", path.to_str().unwrap()];
    arguments.extend(AS_IT_PASSED);
    arguments.extend(fields_arguments());
    let said = text(&tshark(&arguments));
    format!(
        "# {version}: tshark -n -r frames.pcapng {} {}\n{said}",
        AS_IT_PASSED.join(" "),
        fields_arguments().join(" ")
    )
}

/// Wireshark guesses by ports and by contents what TCP and UDP carry; a piece of five bytes looks like many things.
/// Compared is whether it took the bytes for something, and if for data, for how much.
fn is_guess(ours: &str, theirs: &str, name: &str) -> bool {
    match name {
        "frame.protocols" => ours.strip_suffix(":data").is_some_and(|ours| {
            theirs.strip_prefix(ours).is_some_and(|guess| !guess.is_empty() && !guess[1..].contains(':'))
        }),
        // Of queries they show only whole ones.
        "data.len" | "data.data" | "mysql.query" => theirs.is_empty(),
        _ => false,
    }
}

#[test]
fn every_field_of_every_frame_however_cut_is_printed_as_tshark_prints_it() {
    let (captured, told) = (folder().join("frames.pcapng"), folder().join("tshark.txt"));
    if std::env::var_os("BYWAY_BLESS").is_some() {
        std::fs::write(&captured, corpus()).unwrap();
        std::fs::write(&told, ask_tshark(&captured)).unwrap();
    }
    assert!(std::fs::read(&captured).unwrap() == corpus(), "frames.pcapng is what frames.txt says");
    let mut arguments = vec!["-r", captured.to_str().unwrap()];
    arguments.extend(fields_arguments());
    let out = byway(&arguments);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let (ours, theirs) = (text(&out.stdout), std::fs::read_to_string(&told).unwrap());
    let theirs: Vec<&str> = theirs.lines().skip(1).collect();
    assert_eq!(ours.lines().count(), theirs.len());
    let names: Vec<&str> = ours.lines().next().unwrap().split('|').collect();
    let comment = names.iter().position(|name| *name == "frame.comment").unwrap();
    for (ours, theirs) in ours.lines().zip(theirs) {
        let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.split('|').collect(), theirs.split('|').collect());
        assert_eq!(ours.len(), theirs.len());
        let about = ours[comment];
        for ((ours, theirs), name) in ours.iter().zip(&theirs).zip(&names) {
            let same = ours == theirs || is_guess(ours, theirs, name);
            assert!(same, "{name} of {about}: ours {ours:?}, theirs {theirs:?}");
        }
    }
}

/// A pcap with one ping for each time, in seconds and fractions.
fn pcap(magic: u32, times: &[(u32, u32)], big_endian: bool) -> Vec<u8> {
    let word = |value: u32| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let half = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let (_, ping, _) = frames().remove(0);
    let length = u32::try_from(ping.len()).unwrap();
    let mut out = word(magic).to_vec();
    out.extend([half(2), half(4)].concat());
    out.extend([0, 0, 65_535, 1].map(word).concat());
    for (seconds, fraction) in times {
        out.extend([*seconds, *fraction, length, length].map(word).concat());
        out.extend(&ping);
    }
    out
}

const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;

#[test]
fn a_pcap_of_either_order_and_either_unit_is_read() {
    for (magic, big_endian, time) in [
        (MICRO, false, "1700000000.000005000"),
        (MICRO, true, "1700000000.000005000"),
        (NANO, false, "1700000000.000000005"),
        (NANO, true, "1700000000.000000005"),
    ] {
        let (_folder, path) = file("ping.pcap", &pcap(magic, &[(1_700_000_000, 5)], big_endian));
        let out = byway(&["-r", &path, "-T", "fields", "-e", "frame.time_epoch,ip.src,frame.interface_id"]);
        assert_eq!(text(&out.stdout), format!("{time}\t172.41.0.2\t\n"));
        let last = "1 packet, 0 filtered out, 0 cut by the snap length, losses not told by the capture, 0 unreadable\n";
        assert_eq!(text(&out.stderr), last);
    }
}

#[test]
fn a_line_says_when_where_and_what_and_the_last_line_what_is_missing() {
    let path = folder().join("frames.pcapng");
    let out = byway(&["-n", "-r", path.to_str().unwrap(), "-s", "40"]);
    let said = text(&out.stdout);
    let first = "2023-11-14 22:13:20.123456789 host/link1 - 172.41.0.2 > 172.42.0.2 ICMP echo request ttl 64 \
                 (ICMP message cut short: 6 of 8 bytes) # ping *";
    assert_eq!(said.lines().next(), Some(first));
    assert!(said.contains(" host/link113 out 172.41.0.2 > 172.42.0.2 ICMP echo request"), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.contains(" 7 lost in the capture, "), "{last}");
    assert!(!last.contains(" 0 cut by the snap length"), "{last}");
    assert_eq!(text(&out.stderr), "");
}

#[test]
fn several_files_are_merged_by_time() {
    let (_one, early) = file("early.pcap", &pcap(MICRO, &[(10, 0), (30, 0), (30, 1)], false));
    let (_two, late) = file("late.pcap", &pcap(NANO, &[(20, 7), (30, 500)], true));
    let out = byway(&["-r", &late, "-r", &early, "-T", "fields", "-e", "frame.number,frame.time_epoch"]);
    let expected = "1\t10.000000000\n2\t20.000000007\n3\t30.000000000\n4\t30.000000500\n5\t30.000001000\n";
    assert_eq!(text(&out.stdout), expected);
}

#[test]
fn what_was_readable_of_a_cut_file_is_shown_then_where_it_ends() {
    let whole = pcap(MICRO, &[(10, 0), (20, 0)], false);
    let (_folder, path) = file("cut.pcap", &whole[..whole.len() - 5]);
    let out = byway(&["-n", "-r", &path]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(text(&out.stdout).lines().count(), 2, "a packet and the counts");
    let told = text(&out.stderr);
    assert!(told.contains("because: cut short at byte 90: 61 of 66 bytes are there"), "{told}");
    let out = byway(&["-n", "-r", &path, "--json"]);
    let last: serde_json::Value = serde_json::from_str(text(&out.stdout).lines().last().unwrap()).unwrap();
    assert_eq!((out.status.code(), &last["summary"]["shown"]), (Some(1), &1.into()));
    assert!(last["summary"]["errors"][0]["error"][1].as_str().unwrap().starts_with("cut short at byte 90"));
}

#[test]
fn what_is_no_capture_is_refused_with_what_to_do() {
    for (bytes, why, hint) in [
        (&b""[..], "the file is empty", "ended before"),
        (b"hello, world: no capture", "it starts with 68 65 6c 6c", "pcap and pcapng are read"),
        (b"\x1f\x8b\x08\0", "the file is compressed", "zcat"),
        (b"\xa1\xb2\xcd\x34\0\x02\0\x04", "a \"modified\" pcap", "editcap"),
    ] {
        let (_folder, path) = file("odd", bytes);
        let out = byway(&["-r", &path]);
        let told = text(&out.stderr);
        assert_eq!(out.status.code(), Some(1));
        assert!(told.contains(why) && told.contains(hint), "{told}");
    }
}

#[test]
fn standard_input_is_read_and_standard_output_written() {
    let whole = std::fs::read(folder().join("frames.pcapng")).unwrap();
    let mut child = Command::new(BYWAY)
        .args(["capture", "-r", "-", "-w", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = whole.clone();
    let feeding = std::thread::spawn(move || stdin.write_all(&feed).unwrap());
    let out = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    let (_folder, path) = file("again.pcapng", &out.stdout);
    let fields = |path: &str| {
        let mut arguments = vec!["-r", path];
        arguments.extend(fields_arguments());
        text(&byway(&arguments).stdout)
    };
    assert_eq!(fields(&path), fields(folder().join("frames.pcapng").to_str().unwrap()));
}

#[test]
fn a_pipe_that_nobody_reads_ends_it_quietly() {
    let path = folder().join("frames.pcapng");
    let mut child = Command::new(BYWAY)
        .args(["capture", "-r", path.to_str().unwrap(), "-T", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
}

#[test]
fn an_unknown_field_and_a_file_that_is_read_and_written_are_refused() {
    let (_folder, path) = file("ping.pcap", &pcap(MICRO, &[(10, 0)], false));
    let out = byway(&["-r", &path, "-T", "fields", "-e", "tcp.srcprt"]);
    assert!(text(&out.stderr).contains("did you mean tcp.srcport"), "{}", text(&out.stderr));
    let out = byway(&["-r", &path, "-w", &path]);
    assert!(text(&out.stderr).contains("is being read, so it cannot be written"), "{}", text(&out.stderr));
    assert_eq!(std::fs::read(&path).unwrap(), pcap(MICRO, &[(10, 0)], false));
}

#[test]
fn fields_are_separated_quoted_and_chosen_as_with_tshark() {
    let path = folder().join("frames.pcapng");
    let path = path.to_str().unwrap();
    let said = |format: &[&str]| {
        let mut arguments = vec!["-r", path, "--count", "1", "-T", "fields", "-e", "ip.addr,tcp.port,ip.ttl"];
        arguments.extend(format.iter().flat_map(|one| ["-E", one]));
        text(&byway(&arguments).stdout)
    };
    assert_eq!(said(&[]), "172.41.0.2,172.42.0.2\t\t64\n");
    let all = ["header=y", "separator=,", "quote=d", "aggregator=/s"];
    assert_eq!(said(&all), "ip.addr,tcp.port,ip.ttl\n\"172.41.0.2 172.42.0.2\",,\"64\"\n");
    assert_eq!(said(&["occurrence=f", "quote=s"]), "'172.41.0.2'\t\t'64'\n");
    assert_eq!(said(&["occurrence=l", "separator=/s"]), "172.42.0.2  64\n");
}
