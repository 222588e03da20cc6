//! `-w`: everything that was seen, of all hosts, as one pcapng, with what was found out as comments.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use byway_fabric::journey::{Direction, Journey, WatchPoint};
use byway_fabric::trace::report::Told;
use byway_fabric::trace::watch::Frame;
use byway_wire::capture::{self, Comments, Interface, Record};

/// A watch point without its direction: a pcapng interface.
type Place<'a> = (&'a str, Option<&'a str>, &'a str);

/// A frame's place in the file: the probe, there or back, the hop; what belongs to none comes last.
type Rank = (usize, u8, usize);

/// Writes the file. Packets stand in the order of their way: the hosts' own times, which are kept, do not give one.
pub(super) fn write(
    path: &Path,
    probes: &[Told],
    frames: &[(WatchPoint, Frame)],
    names: &BTreeMap<IpAddr, String>,
) -> anyhow::Result<()> {
    let found = findings(probes);
    let mut ordered: Vec<(&WatchPoint, &Frame, Rank, Vec<&str>)> = frames
        .iter()
        .map(|(at, frame)| {
            let about = found.get(&(at, frame.time_ns));
            let rank = about.and_then(|about| about.first()).map_or((usize::MAX, 0, 0), |(rank, _)| *rank);
            (at, frame, rank, about.into_iter().flatten().map(|(_, text)| text.as_str()).collect())
        })
        .collect();
    ordered.sort_by_key(|(_, frame, rank, _)| (*rank, frame.time_ns));
    let mut out = Vec::new();
    capture::section(&mut out, concat!("byway ", env!("CARGO_PKG_VERSION")));
    capture::names(&mut out, names.iter().map(|(address, name)| (*address, name.as_str())));
    let mut numbers: BTreeMap<Place<'_>, u32> = BTreeMap::new();
    for (at, frame, ..) in &ordered {
        let next = u32::try_from(numbers.len())?;
        numbers.entry(place(at)).or_insert_with(|| {
            capture::interface(&mut out, &interface(at, frame));
            next
        });
    }
    for (at, frame, _, texts) in ordered {
        let options = capture::comments(texts);
        let bytes = tagged(frame);
        let record = Record {
            time_ns: Some(frame.time_ns),
            interface: 0,
            direction: Some(match at.direction {
                Direction::In => byway_wire::Direction::In,
                Direction::Out => byway_wire::Direction::Out,
            }),
            bytes: &bytes,
            original_len: u32::try_from(frame.original_len + bytes.len() - frame.bytes.len())
                .unwrap_or(u32::MAX),
            comments: Comments::among(&options, false),
        };
        capture::packet(&mut out, numbers[&place(at)], &record);
    }
    put(path, &out).with_context(|| format!("write the capture {}", path.display()))
}

/// The frame as it was on the wire, with the VLAN tag that the kernel had taken out.
fn tagged(frame: &Frame) -> std::borrow::Cow<'_, [u8]> {
    match (frame.vlan, frame.bytes.split_at_checked(12)) {
        (Some((ethertype, tag)), Some((stations, rest))) if frame.ethernet => {
            [stations, &ethertype.to_be_bytes(), &tag.to_be_bytes(), rest].concat().into()
        }
        _ => frame.bytes.as_slice().into(),
    }
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    if path == Path::new("-") { io::stdout().lock().write_all(bytes) } else { std::fs::write(path, bytes) }
}

fn place(at: &WatchPoint) -> Place<'_> {
    (at.host.as_str(), at.container.as_deref(), &at.interface)
}

fn interface(at: &WatchPoint, frame: &Frame) -> Interface {
    let name = match &at.container {
        Some(container) => format!("{}/{container}/{}", at.host, at.interface),
        None => format!("{}/{}", at.host, at.interface),
    };
    let whose = at.container.as_ref().map_or_else(String::new, |container| format!(" in {container}"));
    Interface {
        name: Some(name),
        description: Some(format!("{}{whose} on {}", at.interface, at.host)),
        link: frame.link().number().into(),
        snaplen: byway_wire::KEY_SNAPLEN,
        is_told: true,
        counts: capture::Counts::default(),
    }
}

/// What is known of each frame, by where and when it was seen.
fn findings(probes: &[Told]) -> BTreeMap<(&WatchPoint, u64), Vec<(Rank, String)>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (nth, told) in probes.iter().enumerate() {
        let ways = [Some(&told.there), told.back.as_ref()].into_iter().chain(told.errors.iter().map(Some));
        let mut last = None;
        for (leg, journey) in (0..).zip(ways) {
            let Some(journey) = journey else { continue };
            for (key, hop, text) in hops(journey) {
                let way = ["there", "back"].get(usize::from(leg)).unwrap_or(&"an error about it");
                let rank = (nth, leg, hop);
                found.entry(key).or_default().push((rank, format!("probe {}, {way}: {text}", nth + 1)));
                last = Some((key, rank));
            }
        }
        if let Some((key, rank)) = last {
            found.entry(key).or_default().push((rank, told.verdict.sentence.clone()));
        }
    }
    found
}

fn hops(journey: &Journey) -> impl Iterator<Item = ((&WatchPoint, u64), usize, String)> {
    let all = journey.hops.iter().chain(&journey.elsewhere).enumerate();
    all.filter_map(|(nth, hop)| Some(((&hop.at, hop.seen.as_ref()?.first.time_ns), nth, hop.to_string())))
}
