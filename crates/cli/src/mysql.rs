//! `byway mysql`: the statements that pass, read off the wire, with their answers.
//!
//! ```text
//! Source (files or interfaces) ──> Listener (TCP, TLS, MySQL) ──> Ear (timing, --slow, --mask) ──> Show (text | fields | json | top)
//! ```
//!
//! Whatever happened, the last thing that is said is how many statements there were, and what could not be seen.

mod counted;
mod ear;
mod fields;
mod json;
mod missed;
mod note;
pub(crate) mod text;
mod top;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use byway_agent::edge::ring::Options as RingOptions;
use byway_wire::mysql::{Limits, Listener, Options};
use byway_wire::{Frame, LinkType};
use clap::Args;
use jiff::Timestamp;

use crate::capture::filter::Filter;
use crate::capture::form::{Form, ShowAs};
use crate::capture::live::Live;
use crate::capture::posts::Here;
use crate::capture::sink::Out;
use crate::capture::source::{Files, Source, Step};
use crate::capture::{Format, Places, duration, names};
use crate::complaint::{self, Advised, is_broken_pipe};
use crate::settings::Common;
use crate::show;

use counted::{Counted, TopArgs};
use ear::{Ear, Which};
use missed::Missed;

/// `byway mysql`
#[derive(Debug, Args)]
pub(crate) struct MysqlArgs {
    #[command(flatten)]
    places: Places,
    /// A server's port; may be told more than once [default: 3306, and whatever speaks MySQL on another]
    #[arg(short = 'p', long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Look only at what this filter takes, in the words of tcpdump (pcap-filter(7))
    #[arg(short = 'f', long, value_name = "FILTER")]
    filter: Option<String>,
    /// Read encrypted connections with the keys in this file (SSLKEYLOGFILE), which may still grow
    #[arg(long, value_name = "FILE")]
    keylog: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
    /// Show statements whose answer took so long, and with --errors those with an error: 100ms, 2s
    #[arg(long, value_name = "TIME", value_parser = duration)]
    slow: Option<Duration>,
    /// Show statements that the server refused, and with --slow those that took long
    #[arg(long)]
    errors: bool,
    /// Show `?` in the place of every literal
    #[arg(long)]
    mask: bool,
    #[command(flatten)]
    top: TopArgs,
    /// Stop after so many statements
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Keep so many bytes of a statement, at most 1GB; what is beyond is counted
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().request_bytes_max, value_parser = bytes)]
    longest: usize,
}

pub(crate) fn run(args: &MysqlArgs, common: &Common) -> anyhow::Result<ExitCode> {
    if args.form.list_fields {
        show::print(&fields::list());
        return Ok(ExitCode::SUCCESS);
    }
    let kind = args.form.kind(common);
    let here = Here::look(&args.places, common)?;
    let names = if args.places.no_names { BTreeMap::new() } else { names::known(common, &here) };
    let mut shown = show_as(args, kind, names)?;
    let mut source = source_for(args, common, &here)?;
    let mut missed = Missed::default();
    let outcomes = listen(args, source.as_mut(), shown.as_mut(), &mut missed);
    let (unheard, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(is_broken_pipe);
    if !unheard.is_empty() && failed.is_empty() && !args.places.files.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    missed.interfaces(source.interfaces(), source.left());
    let troubles: Vec<_> = source.troubles().into_iter().chain(failed).collect();
    if kind == ShowAs::Json && unheard.is_empty() {
        let troubles: Vec<_> = troubles.iter().map(complaint::for_programs).collect();
        json::print_summary(&missed, &troubles)?;
    } else {
        for trouble in &troubles {
            complaint::print(trouble, false);
        }
        let say = if kind == ShowAs::Text && unheard.is_empty() { show::print } else { show::print_aside };
        say(&missed.to_string());
    }
    Ok(if troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes everything from the source to where it is shown, whatever fails on the way; what failed.
fn listen(
    args: &MysqlArgs,
    source: &mut dyn Source,
    shown: &mut dyn ear::Show,
    missed: &mut Missed,
) -> Vec<anyhow::Error> {
    let options = Options {
        ports: args.ports.clone(),
        limits: Limits { request_bytes_max: args.longest, ..Limits::default() },
        keys_may_come: args.places.files.is_empty() && args.keylog.is_some(),
    };
    let which = Which { slow: args.slow, errors: args.errors, mask: args.mask, count: args.count };
    let mut listener = Listener::new(options, seed());
    let mut ear = Ear::new(shown, which, missed);
    let passed = pass(args, source, &mut listener, &mut ear);
    let ended = source.end();
    listener.finish(&mut ear);
    let shown = ear.end().map_err(Into::into);
    missed.listened(&mut listener);
    [passed, ended, shown].into_iter().filter_map(Result::err).collect()
}

fn pass(
    args: &MysqlArgs,
    source: &mut dyn Source,
    listener: &mut Listener,
    ear: &mut Ear<'_>,
) -> anyhow::Result<()> {
    let mut keys = args.keylog.as_deref().map(Keys::open).transpose()?;
    let mut filter = args.filter.as_deref().filter(|_| !args.places.files.is_empty()).map(Filter::new);
    let (mut learnt, mut last_ns) = (0, 0);
    if let Some(keys) = &mut keys {
        keys.read(listener)?;
        if !args.places.files.is_empty() {
            listener.keys().finish();
        }
    }
    while !ear.is_done() {
        match source.advance()? {
            Step::Packet => {}
            Step::Quiet => {
                if let Some(keys) = &mut keys {
                    keys.read(listener)?;
                }
                listener.settle(now_ns(), ear);
                ear.pause()?;
                continue;
            }
            Step::End => break,
        }
        if !args.places.no_names && learnt < source.names().len() {
            ear.learn(&source.names()[learnt..]);
            learnt = source.names().len();
        }
        let Some(record) = source.record() else { continue };
        if let Some(filter) = &mut filter
            && !filter.takes(&record, source.interfaces())?
        {
            continue;
        }
        // A packet without a time is as old as the one before it.
        last_ns = record.time_ns.unwrap_or(last_ns);
        let link = source.interfaces().get(record.interface).and_then(|one| LinkType::from_number(one.link));
        let frame = link.map(|link| Frame::decode(link, record.bytes));
        match frame.as_ref().and_then(Frame::packet) {
            Some(packet) => listener.packet(record.interface, last_ns, packet, ear),
            None => ear.missed.unreadable(frame.as_ref()),
        }
        ear.missed.packets += 1;
    }
    Ok(())
}

/// A key log that may still grow.
struct Keys {
    file: std::fs::File,
    path: PathBuf,
}

impl Keys {
    fn open(path: &std::path::Path) -> Result<Self, Advised> {
        let file = std::fs::File::open(path).map_err(|cause| Advised {
            what: format!("read the keys in {}", path.display()),
            hint: "it is what a client or server writes with SSLKEYLOGFILE=FILE; start that first".to_owned(),
            cause: Some(cause),
        })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Takes what was written since, a piece at a time.
    fn read(&mut self, listener: &mut Listener) -> Result<(), Advised> {
        use io::Read as _;
        let mut piece = vec![0; 64 << 10];
        loop {
            let length = self.file.read(&mut piece).map_err(|cause| Advised {
                what: format!("read the keys in {}", self.path.display()),
                hint: "is it a file?".to_owned(),
                cause: Some(cause),
            })?;
            if length == 0 {
                return Ok(());
            }
            listener.keys().take(&piece[..length]);
        }
    }
}

fn source_for(args: &MysqlArgs, common: &Common, here: &Here) -> anyhow::Result<Box<dyn Source>> {
    if !args.places.files.is_empty() {
        return Ok(Box::new(Files::open(&args.places.files)?));
    }
    let filter = Some(kernel_filter(&args.ports, args.filter.as_deref()));
    let options = RingOptions { filter, ..RingOptions::default() };
    Ok(Box::new(Live::open(&here.posts(&args.places, common)?, &options, args.places.duration)?))
}

/// What the kernel is to let through: TCP of these ports, and the later fragments of TCP, which have no ports.
fn kernel_filter(ports: &[u16], wanted: Option<&str>) -> String {
    let ports: Vec<String> = ports.iter().map(|port| format!("tcp port {port}")).collect();
    let ours = if ports.is_empty() {
        "tcp or ip6 proto 44".to_owned()
    } else {
        format!("{} or (ip proto 6 and ip[6:2] & 0x1fff != 0) or ip6 proto 44", ports.join(" or "))
    };
    match wanted {
        Some(wanted) => format!("({wanted}) and ({ours})"),
        None => ours,
    }
}

fn show_as(
    args: &MysqlArgs,
    kind: ShowAs,
    names: BTreeMap<std::net::IpAddr, String>,
) -> anyhow::Result<Box<dyn ear::Show>> {
    let refused =
        |what: &str, hint: &str| Advised { what: what.to_owned(), hint: hint.to_owned(), cause: None };
    if kind != ShowAs::Fields && !(args.form.format.is_empty() && args.form.fields.is_empty()) {
        return Err(
            refused("-e and -E say which fields are shown and how, and none are", "add -T fields").into()
        );
    }
    if args.top.top.is_some() {
        let (json, is_live) = (kind == ShowAs::Json, args.places.files.is_empty());
        return Ok(Box::new(Counted::new(&args.top, names, args.mask, json, is_live, seed())));
    }
    Ok(match kind {
        ShowAs::Fields if args.form.fields.is_empty() => {
            let hint = "say which with -e, such as -e mysql.query; `byway mysql --list-fields` lists them";
            return Err(refused("-T fields without a field", hint).into());
        }
        ShowAs::Fields => {
            let format = Format::of(&args.form.format)?;
            Box::new(fields::Table::new(Out::stdout(), &args.form.fields, format, names)?)
        }
        ShowAs::Text => Box::new(text::Lines::new(Out::stdout(), names)),
        ShowAs::Json => Box::new(json::Objects::new(Out::stdout(), names)),
    })
}

/// By chance: it keeps those who are listened to from choosing where their connections are kept.
fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

fn now_ns() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default()
}

fn bytes(text: &str) -> Result<usize, String> {
    const MOST: usize = 1 << 30;
    let number = text.parse().map_err(|_| "say how many bytes".to_owned())?;
    if number <= MOST { Ok(number) } else { Err(format!("{MOST} is the most")) }
}
