//! `byway trace`: follows a packet over all hosts of its way, there and back, and says where it ended and why.

mod ends;
mod file;
mod files;
mod follow;
mod listening;
mod names;
mod plan;
mod probing;
mod show;
mod statements;
mod station;

use std::path::PathBuf;
use std::process::ExitCode;

use byway_fabric::config::Config;
use byway_fabric::trace::watch::{ProbeKind, Statements};
use clap::{ArgGroup, Args, ValueEnum};

use crate::settings::{self, runtime};
use crate::show::{print, print_json};

/// What `byway trace` is asked for.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("lasting").args(["follow", "mysql"]).multiple(true))]
pub(crate) struct TraceArgs {
    /// Who sends: a container, HOST/CONTAINER, a host, or an address of one
    #[arg(required_unless_present_any = ["files", "follow"])]
    source: Option<String>,
    /// Who is to receive: the same, with :PORT for TCP and UDP
    #[arg(required_unless_present_any = ["files", "follow"])]
    destination: Option<String>,
    /// Send nothing: follow the packets of this capture, pcap or pcapng, of one machine; once for each file
    #[arg(short = 'r', long = "read", value_name = "FILE", conflicts_with_all = ["source", "destination", "proto", "count", "interval", "size", "df", "ttl", "wait", "ipv4", "ipv6"])]
    files: Vec<PathBuf>,
    /// Send nothing: follow what passes on all hosts and matches this filter, in tcpdump's words
    #[arg(long, value_name = "FILTER", conflicts_with_all = ["source", "destination", "files", "proto", "interval", "size", "df", "ttl", "wait", "write", "ipv4", "ipv6"])]
    follow: Option<String>,
    #[command(flatten)]
    statements: StatementArgs,
    /// With --follow or --mysql, how long, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS", requires = "lasting", value_parser = clap::value_parser!(u64).range(1..=3600))]
    duration: u64,
    /// With -r and --follow, how many conversations and how many lost packets are shown; with --mysql, how many statements at each place
    #[arg(long, default_value_t = 10, value_name = "N")]
    list: usize,
    /// How the probe goes [default: tcp where a port is named, icmp else]
    #[arg(long, value_name = "PROTOCOL")]
    proto: Option<Protocol>,
    /// How many probes [default: 1]; with --follow, how many packets, seen at all points together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: Option<u64>,
    /// Milliseconds from one probe to the next
    #[arg(long, default_value_t = 200, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    interval: u64,
    /// Bytes of data in each probe
    #[arg(long, default_value_t = 56, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(0..=65_000))]
    size: u16,
    /// Forbid routers to cut the probe into fragments
    #[arg(long)]
    df: bool,
    /// How many routers the probe may pass [default: what the sender's kernel takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    /// Milliseconds to wait for an answer
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    wait: u64,
    /// Write what was seen on all hosts into a pcapng file, with what was found out as comments
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Use IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6')]
    ipv6: bool,
}

/// Whether statements are shown, and how.
#[derive(Debug, Args)]
struct StatementArgs {
    /// Show the statements of MySQL under each place where they pass: those that --follow sees, or what the source says to the destination for a while after the probe. Literals are `?`
    #[arg(long, conflicts_with = "files")]
    mysql: bool,
    /// With --mysql, show literals as they are; hosts send them over the network then, encrypted
    #[arg(long, requires = "mysql")]
    unmasked: bool,
}

/// A protocol of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// An echo request
    Icmp,
    /// The start of a connection
    Tcp,
    /// A datagram
    Udp,
}

impl From<Protocol> for ProbeKind {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Icmp => Self::Icmp,
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
        }
    }
}

impl TraceArgs {
    /// Who sends. Without files it is given: clap sees to it.
    fn source(&self) -> &str {
        self.source.as_deref().unwrap_or_default()
    }

    /// Which statements hosts are to tell, of servers at this port, or at any.
    fn wanted_statements(&self, port: Option<u16>) -> Option<Statements> {
        let StatementArgs { mysql, unmasked } = self.statements;
        mysql.then(|| Statements { ports: port.into_iter().collect(), unmasked })
    }

    /// Who is to receive; the same.
    fn destination(&self) -> &str {
        self.destination.as_deref().unwrap_or_default()
    }
}

pub(crate) fn run(args: &TraceArgs, config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    if !args.files.is_empty() {
        return files::run(args, json);
    }
    let settings = settings::settings(config)?;
    if let Some(filter) = &args.follow {
        return follow::run(args, filter, &settings, json);
    }
    let traced = runtime()?.block_on(probing::trace(args, &settings))?;
    if json {
        print_json(&traced)?;
    } else {
        print(&show::text(&traced, args.list));
    }
    let arrived = traced.probes.iter().all(|told| told.verdict.cause.arrived());
    Ok(if arrived { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
