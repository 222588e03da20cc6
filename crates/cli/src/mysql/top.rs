//! `byway mysql --top`: what the servers are busy with, as a table for people, once or again and again, or as JSON.

mod details;
mod json;
pub(crate) mod screen;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_fabric::mysql::digest::{By, Digests, Order, Shown, Whose};
use byway_wire::mysql::text::{self, Charset};
use clap::ValueEnum;
use jiff::tz::TimeZone;

use crate::show::{BAD, HEAD, LOOK, duration, styled};
pub(crate) use json::json;
use table::{Line, rate, table};

/// What statements are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Sort {
    /// Response time, all together
    #[default]
    Time,
    /// How many there are
    Count,
    /// How many failed
    Errors,
    /// Rows that were sent
    Rows,
    /// Rows that were changed
    Affected,
    /// Bytes of the rows that were sent
    Bytes,
    /// The longest response time
    Max,
    /// The mean response time
    Average,
}

impl From<Sort> for Order {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Time => Self::Time,
            Sort::Count => Self::Count,
            Sort::Errors => Self::Errors,
            Sort::Rows => Self::Rows,
            Sort::Affected => Self::Affected,
            Sort::Bytes => Self::Bytes,
            Sort::Max => Self::Max,
            Sort::Average => Self::Average,
        }
    }
}

/// What parts statements that differ in their values only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The database
    Database,
    /// The user
    User,
    /// The client: a container, host or address
    Client,
    /// The server and its port
    Server,
}

impl From<Part> for By {
    fn from(part: Part) -> Self {
        match part {
            Part::Database => Self::Database,
            Part::User => Self::User,
            Part::Client => Self::Client,
            Part::Server => Self::Server,
        }
    }
}

/// How it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Options<'o> {
    /// Names of containers and hosts.
    pub(crate) names: &'o BTreeMap<IpAddr, String>,
    /// So many groups.
    pub(crate) most: usize,
    /// So many columns.
    pub(crate) width: usize,
    /// What else is told of each.
    pub(crate) detail: Detail,
    /// How statements are shown that are not fingerprints.
    pub(crate) literals: Literals,
    /// Where the reader is.
    pub(crate) zone: TimeZone,
}

/// What is told of each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// A line of the table.
    Line,
    /// Below the table all that is known, and the slowest statement.
    All,
}

/// What becomes of the values in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Literals {
    /// They are shown.
    Shown,
    /// They become `?`.
    Masked,
}

/// For people.
pub(crate) fn text(digests: &Digests, options: &Options<'_>) -> String {
    let ranking = digests.ranked(options.most);
    let mut text = summary(digests);
    if ranking.rows.is_empty() && ranking.others.is_none() {
        return text;
    }
    let mut lines: Vec<Line> = ranking.rows.iter().map(|row| Line::of(row, digests, options)).collect();
    lines.extend(ranking.others.iter().map(|others| Line::of_others(others, digests)));
    text += "\n";
    text += &table(digests.settings().by, &lines, options.width);
    if options.detail == Detail::All {
        text.extend(ranking.rows.iter().map(|row| details::text(row, digests, options)));
    }
    text
}

/// All statements in a line, and in a second one what went wrong.
fn summary(digests: &Digests) -> String {
    let all = digests.all();
    let noun = if all.count == 1 { "statement" } else { "statements" };
    let least = if digests.given_up() > 0 { "at least " } else { "" };
    let by = match digests.settings().by {
        By::Nothing => "",
        By::Database => " by database",
        By::User => " by user",
        By::Client => " by client",
        By::Server => " by server",
    };
    let mut text = format!("{} {noun}, {least}{} different{by}", all.count, digests.groups());
    if let Some(span_ns) = all.span_ns() {
        text += &format!(", in {}", duration(span_ns));
    }
    if let Some(per_second) = digests.per_second(all) {
        text += &format!(", {} per second", rate(per_second));
    }
    text += &format!(", response time {} in all\n", duration(all.times.sum_ns()));
    text = styled(HEAD, text.trim_end()) + "\n";
    let wrong = [
        (all.errors, "failed", BAD),
        (all.unanswered, "without an answer", LOOK),
        (all.doubtful, "in doubt", LOOK),
    ];
    let wrong = wrong.into_iter().filter(|(count, _, _)| *count > 0);
    let wrong: Vec<_> = wrong.map(|(count, what, style)| styled(style, format!("{count} {what}"))).collect();
    if !wrong.is_empty() {
        text += &format!("{}\n", wrong.join(", "));
    }
    text
}

/// Whose statements a group has, in a word or two.
fn whose(whose: Whose<&[u8]>, names: &BTreeMap<IpAddr, String>) -> String {
    let name = |name: Option<&[u8]>| match name {
        None => "not known".to_owned(),
        Some(b"") => "-".to_owned(),
        Some(name) => printed(name, Charset::Utf8),
    };
    match whose {
        Whose::Anybody => String::new(),
        Whose::Database(database) => name(database),
        Whose::User(user) => name(user),
        Whose::Client(address) => end(address, names),
        Whose::Server(server) => server_name(server, names),
    }
}

fn server_name(server: std::net::SocketAddr, names: &BTreeMap<IpAddr, String>) -> String {
    match names.get(&server.ip()) {
        Some(name) => format!("{}:{}", printed(name.as_bytes(), Charset::Utf8), server.port()),
        None => server.to_string(),
    }
}

/// A name, which may come from a stranger's file, or the address.
fn end(address: IpAddr, names: &BTreeMap<IpAddr, String>) -> String {
    names.get(&address).map_or_else(|| address.to_string(), |name| printed(name.as_bytes(), Charset::Utf8))
}

fn shown(shown: &Shown) -> String {
    let more = if shown.is_cut() { "…" } else { "" };
    printed(&shown.bytes, shown.charset) + more
}

/// In one line, without anything that acts on a terminal.
fn printed(bytes: &[u8], charset: Charset) -> String {
    let mut out = Vec::new();
    text::print(bytes, charset, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
