//! `byway capture`: packets as lines, as tshark's fields, as JSON, or into a pcapng file.
//!
//! ```text
//! Source (files or interfaces, merged by time) ──> Filter ──> Tally ──> Sink (text | fields | json | pcapng)
//! ```
//!
//! Whatever happened, the last thing that is said is how many packets were shown, and what is missing.

mod fields;
pub(crate) mod filter;
pub(crate) mod form;
mod json;
pub(crate) mod live;
pub(crate) mod names;
mod pcapng;
pub(crate) mod posts;
mod rotation;
pub(crate) mod sink;
pub(crate) mod source;
mod tally;
mod text;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use byway_agent::edge::ring::{Options, Time};
use byway_wire::field::FIELDS;
use clap::Args;

use crate::complaint::{self, Advised, is_broken_pipe};
use crate::settings::Common;
use crate::show;

use fields::Columns;
pub(crate) use fields::Format;
use filter::Filter;
use form::{Form, ShowAs};
use live::Live;
use posts::Here;
use rotation::{FILES_MAX, Rule};
use sink::{Out, Seen, Sink};
use source::{Files, Source, Step};
use tally::Tally;

/// The longest `--duration`: a year.
const DURATION_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// The largest `--ring-size`: a terabyte, in bytes.
const SIZE_MAX: u64 = 1_000_000_000_000;

/// `byway capture`
#[derive(Debug, Args)]
pub(crate) struct CaptureArgs {
    #[command(flatten)]
    places: Places,
    /// Take only what this filter takes, in the words of tcpdump (pcap-filter(7))
    #[arg(short = 'f', long, value_name = "FILTER")]
    filter: Option<String>,
    #[command(flatten)]
    form: Form,
    /// Write the packets into this file, as pcapng, instead of showing them; `-` is standard output
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    write: Option<PathBuf>,
    /// Of files with -w, keep the newest so many: ``NAME_00001_20261122031500.pcapng``
    #[arg(long, value_name = "NUMBER", requires = "write", value_parser = clap::value_parser!(u32).range(1..=i64::from(FILES_MAX)))]
    ring_files: Option<u32>,
    /// With -w, begin another file before one is larger: 500kB, 10MB, 1GB
    #[arg(long, value_name = "SIZE", requires = "write", value_parser = size)]
    ring_size: Option<u64>,
    /// With -w, begin another file when the first packet of one is so old: 60s, 1h
    #[arg(long, value_name = "TIME", requires = "write", value_parser = duration)]
    ring_time: Option<Duration>,
    /// Stop after so many packets
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Keep only so many bytes of each packet
    #[arg(short = 's', long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    snaplen: Option<u32>,
    /// Of interfaces, give packets the time of the network card, where its time stamps are switched on, instead of the kernel's
    #[arg(long, conflicts_with = "files")]
    card_time: bool,
}

/// Where packets are taken from: files, or interfaces of this host.
#[derive(Debug, Args)]
pub(crate) struct Places {
    /// Read this capture, pcap or pcapng; `-` is standard input; several are merged by time
    #[arg(short = 'r', long = "read", value_name = "FILE", required_unless_present_any = ["list_fields", "interfaces", "containers", "all"])]
    pub(crate) files: Vec<PathBuf>,
    /// Capture on this interface, both directions; several are merged by time
    #[arg(short = 'i', long = "interface", value_name = "NAME", conflicts_with = "files")]
    pub(crate) interfaces: Vec<String>,
    /// Capture on the interfaces of this container: its own, and the host's ends of its cables
    #[arg(short = 'c', long = "container", value_name = "NAME", conflicts_with = "files")]
    pub(crate) containers: Vec<String>,
    /// Capture on all interfaces that packets of the cluster pass on this host
    #[arg(long, conflicts_with = "files")]
    pub(crate) all: bool,
    /// Capture for so long: 10s, 5m
    #[arg(long, value_name = "TIME", conflicts_with = "files", value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Show addresses only, no names of hosts and containers
    #[arg(short = 'n', long)]
    pub(crate) no_names: bool,
}

pub(crate) fn run(args: &CaptureArgs, common: &Common) -> anyhow::Result<ExitCode> {
    if args.form.list_fields {
        show::print(&list());
        return Ok(ExitCode::SUCCESS);
    }
    let kind = args.form.kind(common);
    let columns = Columns::of(&args.form.fields)?;
    let here = Here::look(&args.places, common)?;
    let mut source = source_for(args, common, &here)?;
    let mut sink = sink_for(args, kind, columns, common, &here)?;
    let mut tally = Tally::new(sink.reads());
    let outcomes = all_of_it(args, source.as_mut(), sink.as_mut(), &mut tally);
    tally.counted(source.interfaces(), source.left(), sink.unwritten());
    // Nobody listens any more: `byway capture … | head`. That is no trouble; what was lost of an interface is still told.
    let (unheard, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(is_broken_pipe);
    if !unheard.is_empty() && failed.is_empty() && !args.places.files.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let troubles: Vec<_> = source.troubles().into_iter().chain(failed).collect();
    let for_programs = kind == ShowAs::Json && args.write.is_none();
    let is_aside = kind != ShowAs::Text || args.write.is_some() || !unheard.is_empty();
    if for_programs && unheard.is_empty() {
        let troubles: Vec<_> = troubles.iter().map(complaint::for_programs).collect();
        json::print_summary(&tally, &troubles)?;
    } else {
        for trouble in &troubles {
            complaint::print(trouble, false);
        }
        // Where the output is for programs it stays clean.
        let say = if is_aside { show::print_aside } else { show::print };
        say(&format!("{tally}\n"));
    }
    Ok(if troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes all packets from the source to the sink and ends both, whatever fails on the way; what failed.
fn all_of_it(
    args: &CaptureArgs,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    tally: &mut Tally,
) -> Vec<anyhow::Error> {
    let mut last_ns = None;
    let passed = pass(args, source, sink, tally, &mut last_ns);
    let ended = source.end();
    let closed = sink.end(source.interfaces(), last_ns).map_err(Into::into);
    [passed, ended, closed].into_iter().filter_map(Result::err).collect()
}

/// From the source to the sink, packet by packet.
fn pass(
    args: &CaptureArgs,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    tally: &mut Tally,
    previous_ns: &mut Option<u64>,
) -> anyhow::Result<()> {
    let mut first_ns = None;
    let mut learnt = 0;
    // Of an interface, the kernel filters.
    let mut filter = args.filter.as_deref().filter(|_| !args.places.files.is_empty()).map(Filter::new);
    while args.count.is_none_or(|most| tally.shown < most) {
        match source.advance()? {
            Step::Packet => {}
            Step::Quiet => {
                sink.pause(source.interfaces())?;
                continue;
            }
            Step::End => break,
        }
        if !args.places.no_names && learnt < source.names().len() {
            sink.learn(&source.names()[learnt..]);
            learnt = source.names().len();
        }
        let Some(mut record) = source.record() else { continue };
        if let Some(filter) = &mut filter
            && !filter.takes(&record, source.interfaces())?
        {
            tally.filtered += 1;
            continue;
        }
        if let Some(most) = args.snaplen {
            record.bytes = &record.bytes[..record.bytes.len().min(most as usize)];
        }
        first_ns = first_ns.or(record.time_ns);
        let interfaces = source.interfaces();
        let Some(interface) = interfaces.get(record.interface) else { continue };
        let (number, previous, read) = (tally.shown + 1, *previous_ns, OnceCell::new());
        let seen = Seen { record, interface, interfaces, number, first_ns, previous_ns: previous, read };
        *previous_ns = record.time_ns.or(*previous_ns);
        tally.note(&seen);
        sink.packet(&seen)?;
    }
    Ok(())
}

fn source_for(args: &CaptureArgs, common: &Common, here: &Here) -> anyhow::Result<Box<dyn Source>> {
    if !args.places.files.is_empty() {
        return Ok(Box::new(Files::open(&args.places.files)?));
    }
    let plain = Options::default();
    let options = Options {
        filter: args.filter.clone(),
        snaplen: args.snaplen.unwrap_or(plain.snaplen),
        time: if args.card_time { Time::Card } else { Time::Kernel },
        ..plain
    };
    Ok(Box::new(Live::open(&here.posts(&args.places, common)?, &options, args.places.duration)?))
}

/// `10s`, `5m`, `1h`, `250ms`; at most a year.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|at: char| at.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("say it as 250ms, 10s, 5m or 1h".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "say it as 250ms, 10s, 5m or 1h".to_owned())?;
    let ms = number.checked_mul(unit_ms).filter(|ms| *ms <= DURATION_MS_MAX);
    ms.map(Duration::from_millis).ok_or_else(|| "a year is the most".to_owned())
}

/// `500kB`, `10MB`, `1GB`, and with an i in powers of two; at most what a file system holds.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|at: char| at.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("say it as 500kB, 10MB, 1GB or 10MiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "say it as 500kB, 10MB, 1GB or 10MiB".to_owned())?;
    let bytes = number.checked_mul(unit_bytes).filter(|bytes| (1000..=SIZE_MAX).contains(bytes));
    bytes.ok_or_else(|| "1kB is the least, 1000GB the most".to_owned())
}

fn sink_for(
    args: &CaptureArgs,
    kind: ShowAs,
    columns: Columns,
    common: &Common,
    here: &Here,
) -> anyhow::Result<Box<dyn Sink>> {
    if kind != ShowAs::Fields && !args.form.format.is_empty() {
        return Err(refused("-E says how fields are printed, and none are", "add -T fields and -e"));
    }
    if let Some(path) = &args.write {
        if args.form.kind.is_some() || !columns.is_empty() {
            return Err(refused(
                "-w writes packets instead of showing them, so -T and -e say nothing",
                "leave -T and -e away; `byway capture -r OUT.pcapng -T …` shows what was written",
            ));
        }
        // A file brings its own names along; what is known here and now may be wrong for it.
        let is_live = args.places.files.is_empty() && !args.places.no_names;
        let names = if is_live { names::known(common, here) } else { BTreeMap::new() };
        let rule = ring(args, path)?;
        return Ok(Box::new(pcapng::Writer::create(path, &args.places.files, args.snaplen, rule, names)?));
    }
    let names = if args.places.no_names { BTreeMap::new() } else { names::known(common, here) };
    Ok(match kind {
        ShowAs::Text if !columns.is_empty() => {
            return Err(refused(
                "-e says which fields are shown, and a line of text has none",
                "add -T fields or -T json",
            ));
        }
        ShowAs::Fields if columns.is_empty() => {
            return Err(refused(
                "-T fields without a field",
                "say which with -e; `byway capture --list-fields` lists them",
            ));
        }
        ShowAs::Text => Box::new(text::Lines::new(Out::stdout(), names)),
        ShowAs::Fields => {
            Box::new(fields::Table::new(Out::stdout(), columns, Format::of(&args.form.format)?))
        }
        ShowAs::Json => Box::new(json::Objects::new(Out::stdout(), columns, names)),
    })
}

/// The rule of a ring of files.
fn ring(args: &CaptureArgs, path: &Path) -> anyhow::Result<Rule> {
    let rule = Rule { bytes: args.ring_size, time: args.ring_time, files: args.ring_files };
    if rule.is_some() && path == Path::new("-") {
        return Err(refused(
            "standard output is one file",
            "give -w the name of a file, or leave --ring-… away",
        ));
    }
    if rule.files.is_some() && rule.bytes.is_none() && rule.time.is_none() {
        return Err(refused(
            "--ring-files says how many files are kept, and nothing says when one is done",
            "add --ring-size 10MB or --ring-time 60s",
        ));
    }
    Ok(rule)
}

fn refused(what: &str, hint: &str) -> anyhow::Error {
    Advised { what: what.to_owned(), hint: hint.to_owned(), cause: None }.into()
}

fn list() -> String {
    let width = FIELDS.iter().map(|field| field.name.len()).max().unwrap_or(0);
    let lines = FIELDS.iter().map(|field| format!("{:width$}  {}\n", field.name, field.about));
    lines.collect::<Vec<_>>().concat()
}
