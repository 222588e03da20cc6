//! `byway capture`: packets as lines, as tshark's fields, as JSON, or into a pcapng file.
//!
//! ```text
//! Source (files, merged by time) ──> Tally ──> Sink (text | fields | json | pcapng)
//! ```
//!
//! Whatever happened, the last thing that is said is how many packets were shown, and what is missing.

mod fields;
mod json;
mod names;
mod pcapng;
mod sink;
mod source;
mod tally;
mod text;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use byway_wire::field::FIELDS;
use clap::{Args, ValueEnum};

use crate::complaint::{self, Advised};
use crate::settings::Common;
use crate::show;

use fields::{Columns, Format};
use sink::{Out, Seen, Sink};
use source::{Files, Source};
use tally::Tally;

/// `byway capture`
#[derive(Debug, Args)]
pub(crate) struct CaptureArgs {
    /// Read this capture, pcap or pcapng; `-` is standard input; several are merged by time
    #[arg(short = 'r', long = "read", value_name = "FILE", required_unless_present = "list_fields")]
    files: Vec<PathBuf>,
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
    let mut source = Files::open(&args.files)?;
    let mut sink = sink_for(args, kind, columns, &source, common)?;
    let mut tally = Tally::default();
    match pass(args, &mut source, sink.as_mut(), &mut tally) {
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
    let mut learnt = 0;
    while args.count.is_none_or(|most| tally.shown < most) && source.advance()? {
        if !args.no_names && learnt < source.names().len() {
            sink.learn(&source.names()[learnt..]);
            learnt = source.names().len();
        }
        let Some(mut record) = source.record() else { continue };
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
    Ok(sink.end(source.interfaces(), previous_ns)?)
}

fn sink_for(
    args: &CaptureArgs,
    kind: ShowAs,
    columns: Columns,
    source: &Files,
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
        return Ok(Box::new(pcapng::Writer::create(path, source, args.snaplen)?));
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
