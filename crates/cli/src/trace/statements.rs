//! The statements of `MySQL` that hosts told, each under the place where it was seen.
//!
//! Hosts decode them and tell what they say, masked unless somebody asks for more; packets do not leave them for it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_fabric::cluster::HostName;
use byway_fabric::journey::{Hop, Journey};
use byway_fabric::mysql::said::{Answered, Said, Unsaid};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::TraceArgs;
use crate::mysql::text::{came_of, named, time, took};
use crate::show::{FAINT, print_aside, styled};

/// Statements that are kept, of all hosts together: 40 MiB of the longest ones. What comes then is counted.
const HEARD_MAX: usize = 10_000;

/// A statement, and where it was seen.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Heard {
    pub(super) host: HostName,
    /// The interface, in a container `CONTAINER/INTERFACE`.
    pub(super) interface: String,
    #[serde(flatten)]
    said: Said,
}

/// The statements of all hosts.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Statements {
    heard: Vec<Heard>,
    #[serde(skip)]
    beyond: u64,
    /// What could not be read, and why.
    #[serde(skip)]
    pub(super) gaps: Vec<String>,
}

impl Statements {
    pub(super) fn take(&mut self, host: &HostName, interface: &str, said: Said) {
        if self.heard.len() == HEARD_MAX {
            self.beyond += 1;
            return;
        }
        self.heard.push(Heard { host: host.clone(), interface: interface.to_owned(), said });
    }

    /// What a host says at its beginning: whether it tells statements.
    pub(super) fn ready(&mut self, host: &HostName, tells: bool) {
        if !tells {
            self.gaps.push(format!("{host} tells no statements: its agent is older than that; update it"));
        }
    }

    /// What a host says at its end.
    pub(super) fn ended(&mut self, host: &HostName, unsaid: Unsaid) {
        let Unsaid { left_out, encrypted } = unsaid;
        if left_out > 0 {
            self.gaps.push(format!("{left_out} statements on {host} are not told: they came too fast"));
        }
        if encrypted > 0 {
            let what =
                if encrypted == 1 { "a connection".to_owned() } else { format!("{encrypted} connections") };
            self.gaps.push(format!("on {host} {what} became encrypted, whose statements are not read"));
        }
    }

    /// Everything was heard: by time at each place.
    pub(super) fn finish(&mut self) {
        self.heard.sort_by_key(|heard| heard.said.time_ns);
        if self.beyond > 0 {
            self.gaps.push(format!("{} statements more came than are kept", self.beyond));
        }
    }

    /// Keeps those that pass the way of a packet with its addresses, as these were at each point.
    pub(super) fn keep(&mut self, way: &Journey) {
        let ends = |hop: &Hop| hop.seen.as_ref().map(|seen| (seen.first.source, seen.first.destination));
        let Some(first) = way.hops.iter().find_map(ends) else { return };
        self.heard.retain(|heard| {
            let hop = way.hops.iter().find(|hop| is_at(hop, heard));
            hop.is_some_and(|hop| {
                let (from, to) = ends(hop).unwrap_or(first);
                (heard.said.client.ip(), heard.said.server.ip()) == (from.address, to.address)
            })
        });
    }

    /// The lines of those at one place of a way.
    pub(super) fn under(&self, hop: &Hop, names: &BTreeMap<IpAddr, String>, list: usize) -> Vec<String> {
        self.lines(|heard| is_at(hop, heard), names, list)
    }

    /// All of them under their places, which are named in this order.
    pub(super) fn text<'a>(
        &self,
        places: impl Iterator<Item = (&'a str, &'a str)>,
        names: &BTreeMap<IpAddr, String>,
        list: usize,
    ) -> String {
        let mut text = "\nstatements\n".to_owned();
        for (host, interface) in places {
            let is_here = |heard: &Heard| heard.host.as_str() == host && heard.interface == interface;
            let lines = self.lines(is_here, names, list);
            if !lines.is_empty() {
                text += &format!("  {host}  {interface}\n");
                text += &indented(4, &lines);
            }
        }
        text + &self.note()
    }

    /// What is to be known about all of them.
    pub(super) fn note(&self) -> String {
        if self.heard.is_empty() {
            return "no statement was seen\n".to_owned();
        }
        if self.heard.iter().any(|heard| heard.said.masked) {
            return styled(FAINT, "literals are shown as ?; --unmasked asks the hosts for them\n");
        }
        String::new()
    }

    fn lines(
        &self,
        is_wanted: impl Fn(&Heard) -> bool,
        names: &BTreeMap<IpAddr, String>,
        list: usize,
    ) -> Vec<String> {
        let zone = TimeZone::system();
        let all: Vec<&Heard> = self.heard.iter().filter(|heard| is_wanted(heard)).collect();
        let mut lines: Vec<String> =
            all.iter().take(list).map(|heard| line(&heard.said, names, &zone)).collect();
        if all.len() > list {
            lines.push(format!("and {} more", all.len() - list));
        }
        lines
    }
}

/// Whether a statement was seen at the interface of a hop, in whichever direction that passes it.
fn is_at(hop: &Hop, heard: &Heard) -> bool {
    hop.at.host == heard.host && place(hop.at.container.as_deref(), &hop.at.interface) == heard.interface
}

/// What an interface is called: in a container `CONTAINER/INTERFACE`.
pub(super) fn place(container: Option<&str>, interface: &str) -> String {
    container.map_or_else(|| interface.to_owned(), |container| format!("{container}/{interface}"))
}

/// Lines, each so many spaces to the right.
pub(super) fn indented(spaces: usize, lines: &[String]) -> String {
    lines.iter().map(|line| format!("{:spaces$}{line}\n", "")).collect::<Vec<_>>().concat()
}

/// As a line of `byway mysql`. It was said by another host, so nothing in it may be a command for a terminal.
fn line(said: &Said, names: &BTreeMap<IpAddr, String>, zone: &TimeZone) -> String {
    let who = match (said.user.as_deref().unwrap_or("?"), said.database.as_deref().unwrap_or("?")) {
        (user, "") => user.to_owned(),
        (user, database) => format!("{user}@{database}"),
    };
    let command = match (said.is_query(), said.statement.is_empty()) {
        (true, _) => String::new(),
        (false, true) => said.command.clone(),
        (false, false) => format!("{}: ", said.command),
    };
    let beyond = if said.beyond > 0 { format!("[… {} bytes more]", said.beyond) } else { String::new() };
    let message = match &said.answer {
        Answered::Error { message, .. } => format!("  # {message}"),
        _ => String::new(),
    };
    let doubts = said.doubts.join("; ");
    let doubts = if doubts.is_empty() { doubts } else { format!("  # not certain: {doubts}") };
    let line = format!(
        "{} {} → {} {who}  {}  {}  {command}{}{beyond}{message}{doubts}",
        time(said.time_ns, zone),
        named(said.client, names),
        named(said.server, names),
        took(&said.timing()),
        came_of(&said.answer.reply()),
        said.statement,
    );
    line.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Says that all who can listen do: what is said from now on is heard.
pub(super) fn announce(args: &TraceArgs) {
    print_aside(&format!("listening to statements for {} s; Ctrl-C ends it\n", args.duration));
}
