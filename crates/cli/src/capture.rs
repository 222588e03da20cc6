//! `byway capture`: packets as lines, as tshark's fields, as JSON, or into a pcapng file.
//!
//! ```text
//! Source (files or interfaces, merged by time) ──> Filter ──> Tally ──> Sink (text | fields | json | pcapng)
//! ```
//!
//! Whatever happened, the last thing that is said is how many packets were shown, and what is missing.

mod fields;
mod filter;
mod json;
mod live;
mod names;
mod pcapng;
mod sink;
mod source;
mod tally;
mod text;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use byway_agent::edge::ring::{Options, Place};
use byway_wire::field::FIELDS;
use clap::{Args, ValueEnum};

use crate::complaint::{self, Advised};
use crate::settings::Common;
use crate::show;

use fields::{Columns, Format};
use filter::Filter;
use live::{Live, Post};
use sink::{Out, Seen, Sink};
use source::{Files, Source, Step};
use tally::Tally;

/// The longest `--duration`: a year.
const DURATION_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// `byway capture`
#[derive(Debug, Args)]
pub(crate) struct CaptureArgs {
    /// Read this capture, pcap or pcapng; `-` is standard input; several are merged by time
    #[arg(short = 'r', long = "read", value_name = "FILE", required_unless_present_any = ["list_fields", "interfaces"])]
    files: Vec<PathBuf>,
    /// Capture on this interface, both directions; several are merged by time
    #[arg(short = 'i', long = "interface", value_name = "NAME", conflicts_with = "files")]
    interfaces: Vec<String>,
    /// Take only what this filter takes, in the words of tcpdump (pcap-filter(7))
    #[arg(short = 'f', long, value_name = "FILTER")]
    filter: Option<String>,
    /// Capture for so long: 10s, 5m
    #[arg(long, value_name = "TIME", requires = "interfaces", value_parser = duration)]
    duration: Option<Duration>,
    /// How packets are shown [default: text]
    #[arg(short = 'T', long = "type", value_name = "TYPE")]
    kind: Option<ShowAs>,
    /// Show this field, by tshark's name; more than one is told by `-e` once more, or with commas
    #[arg(short = 'e', long = "field", value_name = "FIELD", value_delimiter = ',')]
    fields: Vec<String>,
    /// How fields are printed, as with tshark: header=y, separator=,, occurrence=f|l|a, aggregator=;, quote=d|s|n
    #[arg(short = 'E', long = "format", value_name = "KEY=VALUE")]
    format: Vec<String>,
    /// List all fields that are known
    #[arg(long)]
    list_fields: bool,
    /// Write the packets into this file, as pcapng, instead of showing them; `-` is standard output
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    write: Option<PathBuf>,
    /// Stop after so many packets
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Keep only so many bytes of each packet
    #[arg(short = 's', long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..))]
    snaplen: Option<u32>,
    /// Show addresses only, no names of hosts and containers
    #[arg(short = 'n', long)]
    no_names: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShowAs {
    /// A line for people
    Text,
    /// The fields of `-e`, as tshark prints them
    Fields,
    /// A line of JSON
    Json,
}

pub(crate) fn run(args: &CaptureArgs, common: &Common) -> anyhow::Result<ExitCode> {
    if args.list_fields {
        show::print(&list());
        return Ok(ExitCode::SUCCESS);
    }
    let kind = args.kind.unwrap_or(if common.json { ShowAs::Json } else { ShowAs::Text });
    let columns = Columns::of(&args.fields)?;
    let mut source = source_for(args)?;
    let mut sink = sink_for(args, kind, columns, common)?;
    let mut tally = Tally::default();
    match pass(args, source.as_mut(), sink.as_mut(), &mut tally) {
        Ok(()) => {}
        // Nobody listens any more: `byway capture … | head`.
        Err(error) if is_broken_pipe(&error) => return Ok(ExitCode::SUCCESS),
        Err(error) => return Err(error),
    }
    tally.counted(source.interfaces());
    let troubles = source.troubles();
    let status = if troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if kind == ShowAs::Json && args.write.is_none() {
        let troubles: Vec<_> = troubles.iter().map(complaint::for_programs).collect();
        json::print_summary(&tally, &troubles)?;
        return Ok(status);
    }
    for trouble in &troubles {
        complaint::print(trouble, false);
    }
    // Where the output is for programs it stays clean.
    if kind == ShowAs::Text && args.write.is_none() {
        show::print(&format!("{tally}\n"));
    } else {
        show::print_aside(&format!("{tally}\n"));
    }
    Ok(status)
}

/// From the source to the sink, packet by packet.
fn pass(
    args: &CaptureArgs,
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let (mut first_ns, mut previous_ns) = (None, None);
    // Of an interface, the kernel filters.
    let mut filter = args.filter.as_deref().filter(|_| !args.files.is_empty()).map(Filter::new);
    while args.count.is_none_or(|most| tally.shown < most) {
        match source.advance()? {
            Step::Packet => {}
            Step::Quiet => {
                sink.pause()?;
                continue;
            }
            Step::End => break,
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
        let seen = Seen::new(record, source.interfaces(), tally.shown + 1, first_ns, previous_ns);
        let Some(seen) = seen else { continue };
        previous_ns = record.time_ns.or(previous_ns);
        tally.note(&seen);
        sink.packet(&seen)?;
    }
    source.end()?;
    Ok(sink.end(source.interfaces(), previous_ns)?)
}

fn source_for(args: &CaptureArgs) -> anyhow::Result<Box<dyn Source>> {
    if args.interfaces.is_empty() {
        return Ok(Box::new(Files::open(&args.files)?));
    }
    let here = |name: &String| Post { name: name.clone(), place: Place::Here, interface: name.clone() };
    let posts: Vec<Post> = args.interfaces.iter().map(here).collect();
    let plain = Options::default();
    let options =
        Options { filter: args.filter.clone(), snaplen: args.snaplen.unwrap_or(plain.snaplen), ..plain };
    Ok(Box::new(Live::open(&posts, &options, args.duration)?))
}

/// `10s`, `5m`, `1h`, `250ms`; at most a year.
fn duration(text: &str) -> Result<Duration, String> {
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

fn sink_for(
    args: &CaptureArgs,
    kind: ShowAs,
    columns: Columns,
    common: &Common,
) -> anyhow::Result<Box<dyn Sink>> {
    if kind != ShowAs::Fields && !args.format.is_empty() {
        return Err(refused("-E says how fields are printed, and none are", "add -T fields and -e"));
    }
    if let Some(path) = &args.write {
        if args.kind.is_some() || !columns.is_empty() {
            return Err(refused(
                "-w writes packets instead of showing them, so -T and -e say nothing",
                "leave -T and -e away; `byway capture -r OUT.pcapng -T …` shows what was written",
            ));
        }
        return Ok(Box::new(pcapng::Writer::create(path, &args.files, args.snaplen)?));
    }
    let names = if args.no_names { names::none() } else { names::known(common) };
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
        ShowAs::Fields => Box::new(fields::Table::new(Out::stdout(), columns, Format::of(&args.format)?)),
        ShowAs::Json => Box::new(json::Objects::new(Out::stdout(), columns, names)),
    })
}

fn refused(what: &str, hint: &str) -> anyhow::Error {
    Advised { what: what.to_owned(), hint: hint.to_owned(), cause: None }.into()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}

fn list() -> String {
    let width = FIELDS.iter().map(|field| field.name.len()).max().unwrap_or(0);
    let lines = FIELDS.iter().map(|field| format!("{:width$}  {}\n", field.name, field.about));
    lines.collect::<Vec<_>>().concat()
}
