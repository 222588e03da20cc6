//! Adds a host to an inventory, takes one out, or gives one its key, and leaves every other line as it was.
//!
//! Works on the text, at the places that the reader remembers: a printer would lose line endings and habits.
//! Hosts that had their subnets by position get them written out first, so that they never shift. What comes
//! out is read again: a text that would be wrong, or say something else than intended, is never returned.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::address::Family;
use super::draft::{Draft, DraftHost, NoHosts};
use super::{UnknownHost, position, read};
use crate::cluster::{Host, HostName, PublicKey};
use crate::mistake::Mistakes;

/// The first lines of an inventory that did not exist before.
const HEADER: &str = "\
# The hosts whose containers reach each other. This file is the same on every host.
#
# [cluster]
# prefixes = [\"172.32.0.0/11\", \"fd00:172::/32\"]   # what all subnets lie in; new hosts get theirs from here
";

/// A host to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHost {
    /// Its name.
    pub name: HostName,
    /// Its underlay addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// Its subnets; without them, the first free one of each family that has a prefix.
    pub subnets: Option<Vec<IpNet>>,
    /// Its public key, if it has one already.
    pub key: Option<PublicKey>,
}

/// An inventory after an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole new text.
    pub text: String,
    /// The host that was added, removed or given a key.
    pub host: Host,
    /// Hosts whose subnets were by position and are now written out.
    pub written_back: Vec<Host>,
}

/// Why an inventory was not edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text has mistakes already.
    #[error("{file} must be put right before it can be edited")]
    Broken {
        /// The inventory.
        file: String,
        /// What is wrong with it.
        #[source]
        mistakes: Mistakes,
    },
    /// The text would have mistakes afterwards.
    #[error("host {name} does not fit into {file}")]
    Refused {
        /// The inventory.
        file: String,
        /// The host to be added.
        name: HostName,
        /// What would be wrong with the text as it would be.
        #[source]
        mistakes: Mistakes,
    },
    /// There is nothing to cut the subnets of the new host from.
    #[error("host {name} needs subnets, and {file} has no prefixes to cut them from")]
    NoPrefixes {
        /// The inventory.
        file: String,
        /// The host to be added.
        name: HostName,
    },
    /// The prefixes of a family are used up.
    #[error("no free subnet of length {length} is left in {prefixes}")]
    NoFreeSubnet {
        /// The length of the subnets.
        length: u8,
        /// The prefixes of the family.
        prefixes: String,
    },
    /// The host to be removed is not there.
    #[error(transparent)]
    UnknownHost(#[from] UnknownHost),
    /// Without this host the inventory would be empty.
    #[error("host {name} is the only one in {file}, and an inventory lists at least one host")]
    LastHost {
        /// The inventory.
        file: String,
        /// The host to be removed.
        name: HostName,
    },
    /// The text is written in a way that this edit would spoil.
    #[error("{file} is written in a way that cannot be edited safely")]
    Unfamiliar {
        /// The inventory.
        file: String,
    },
}

impl EditError {
    /// What to do about it, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Broken { .. } | Self::Refused { .. } => None,
            Self::NoPrefixes { .. } => Some("give --subnet, or write prefixes = […] under [cluster]".into()),
            Self::NoFreeSubnet { .. } => {
                Some("give --subnet, or write a larger prefix or longer subnet-lengths".into())
            }
            Self::UnknownHost(unknown) => Some(unknown.hint()),
            Self::LastHost { .. } => {
                Some("`byway down` on the host ends its part; then delete the file".into())
            }
            Self::Unfamiliar { .. } => Some("edit it by hand".into()),
        }
    }
}

/// Adds a host at the end. An empty text becomes an inventory with a comment at its top.
///
/// # Errors
/// When the text has mistakes, would have some with the new host, or no subnet is free.
pub fn add(file: &str, text: &str, new: NewHost) -> Result<Edited, EditError> {
    let text = if text.trim().is_empty() { HEADER } else { text };
    let draft = open(file, text)?;
    let host = with_subnets(file, &draft, new)?;
    let mut changes = write_back(text, &draft, None);
    changes.push(insertion(text, &draft, &host));
    let mut hosts = finished(&draft);
    hosts.push(host.clone());
    let text = apply(text, changes);
    let refused = |mistakes| EditError::Refused { file: file.into(), name: host.name.clone(), mistakes };
    let after = read(file, &text).map_err(refused)?;
    if after.cluster().hosts != hosts {
        return Err(EditError::Unfamiliar { file: file.into() });
    }
    Ok(Edited { text, host, written_back: written_back(&draft, None) })
}

/// Takes a host out, with the comment lines that stand directly above it.
///
/// # Errors
/// When the text has mistakes, does not list the host, or lists no other.
pub fn remove(file: &str, text: &str, name: &str) -> Result<Edited, EditError> {
    let draft = open(file, text)?;
    let listed = draft.hosts.iter().filter_map(DraftHost::name).collect();
    let unknown = || UnknownHost { file: file.into(), name: name.into(), listed };
    let found = finished(&draft).into_iter().enumerate().find(|(_, host)| host.name.as_str() == name);
    let (at, host) = found.ok_or_else(unknown)?;
    if draft.hosts.len() == 1 {
        return Err(EditError::LastHost { file: file.into(), name: host.name });
    }
    let mut hosts = finished(&draft);
    hosts.remove(at);
    let cut = if draft.inline.is_some() { inline_cut(&draft, at) } else { block_cut(text, &draft.hosts[at]) };
    let mut changes = write_back(text, &draft, Some(&host.name));
    changes.push(Change { at: cut, new: String::new() });
    let text = apply(text, changes);
    match read(file, &text) {
        Ok(after) if after.cluster().hosts == hosts => {
            Ok(Edited { text, written_back: written_back(&draft, Some(&host.name)), host })
        }
        _ => Err(EditError::Unfamiliar { file: file.into() }),
    }
}

/// Gives a host its key, or another one; hosts that have their subnets by position keep them so.
///
/// # Errors
/// When the text has mistakes, does not list the host, or another host has that key.
pub fn set_key(file: &str, text: &str, name: &str, key: PublicKey) -> Result<Edited, EditError> {
    let draft = open(file, text)?;
    let listed = draft.hosts.iter().filter_map(DraftHost::name).collect();
    let unknown = || UnknownHost { file: file.into(), name: name.into(), listed };
    let mut hosts = finished(&draft);
    let at = hosts.iter().position(|host| host.name.as_str() == name).ok_or_else(unknown)?;
    hosts[at].key = Some(key);
    let text = apply(text, vec![key_change(text, &draft, &draft.hosts[at], &key)]);
    let host = hosts[at].clone();
    let refused = |mistakes| EditError::Refused { file: file.into(), name: host.name.clone(), mistakes };
    if read(file, &text).map_err(refused)?.cluster().hosts != hosts {
        return Err(EditError::Unfamiliar { file: file.into() });
    }
    Ok(Edited { text, host, written_back: Vec::new() })
}

/// The new key in the place of the old one, or behind the host's last value.
fn key_change(text: &str, draft: &Draft, host: &DraftHost, key: &PublicKey) -> Change {
    if let Some(before) = &host.key {
        return Change { at: before.span.clone(), new: format!("\"{key}\"") };
    }
    let after = host.values_end;
    if draft.inline.is_some() {
        return Change { at: after..after, new: format!(", {}", key_entry(key)) };
    }
    line_after(text, after, &format!("{}{}", indent(text, host.addresses_span.start), key_entry(key)))
}

fn open(file: &str, text: &str) -> Result<Draft, EditError> {
    Draft::read(file, text, NoHosts::IsFine)
        .map_err(|mistakes| EditError::Broken { file: file.into(), mistakes })
}

fn finished(draft: &Draft) -> Vec<Host> {
    draft.hosts.iter().filter_map(DraftHost::finish).collect()
}

fn written_back(draft: &Draft, except: Option<&HostName>) -> Vec<Host> {
    let by_position = draft.hosts.iter().filter(|host| host.by_position).filter_map(DraftHost::finish);
    by_position.filter(|host| Some(&host.name) != except).collect()
}

/// The new host, with the subnets it asks for or the first free ones.
fn with_subnets(file: &str, draft: &Draft, new: NewHost) -> Result<Host, EditError> {
    let mut subnets = match new.subnets {
        Some(subnets) => subnets,
        None if draft.prefixes.is_empty() => {
            return Err(EditError::NoPrefixes { file: file.into(), name: new.name });
        }
        None => free_subnets(draft, &new.addresses)?,
    };
    subnets.sort_unstable();
    Ok(Host { name: new.name, addresses: new.addresses, subnets, key: new.key })
}

fn free_subnets(draft: &Draft, own: &[IpAddr]) -> Result<Vec<IpNet>, EditError> {
    let subnets = draft.hosts.iter().flat_map(|host| host.subnets.iter().map(|subnet| subnet.value));
    let addresses = draft.hosts.iter().flat_map(|host| host.addresses.iter().map(|address| address.value));
    let taken: Vec<IpNet> = subnets.chain(addresses.chain(own.iter().copied()).map(IpNet::from)).collect();
    let mut free = Vec::new();
    for (family, (length, _)) in &draft.lengths {
        let of_family = draft.prefixes.iter().map(|prefix| prefix.value);
        let of_family: Vec<IpNet> = of_family.filter(|prefix| Family::of(prefix.addr()) == *family).collect();
        if of_family.is_empty() {
            continue;
        }
        let Some(subnet) = position::first_free(&of_family, *family, *length, &taken) else {
            return Err(EditError::NoFreeSubnet { length: *length, prefixes: comma_list(&of_family, "") });
        };
        free.push(subnet);
    }
    Ok(free)
}

/// A piece of the text and what to put there.
struct Change {
    at: Range<usize>,
    new: String,
}

fn apply(text: &str, mut changes: Vec<Change>) -> String {
    // Of two at one place, what is only put in comes before what is cut there.
    changes.sort_by_key(|change| (change.at.start, change.at.end));
    let mut edited =
        String::with_capacity(text.len() + changes.iter().map(|change| change.new.len()).sum::<usize>());
    let mut copied = 0;
    for change in changes {
        edited += &text[copied..change.at.start];
        edited += &change.new;
        copied = change.at.end;
    }
    edited + &text[copied..]
}

/// Writes the subnets of hosts that had them by position behind their addresses.
fn write_back(text: &str, draft: &Draft, except: Option<&HostName>) -> Vec<Change> {
    let by_position = draft.hosts.iter().filter(|host| host.by_position && host.name().as_ref() != except);
    by_position.map(|host| subnets_line(text, host, draft.inline.is_some())).collect()
}

fn key_entry(key: &PublicKey) -> String {
    format!("key = \"{key}\"")
}

fn subnets_line(text: &str, host: &DraftHost, is_inline: bool) -> Change {
    let subnets: Vec<IpNet> = host.subnets.iter().map(|subnet| subnet.value).collect();
    let entry = format!("subnets = [{}]", comma_list(&subnets, "\""));
    let end = host.addresses_span.end;
    if is_inline {
        return Change { at: end..end, new: format!(", {entry}") };
    }
    line_after(text, end, &format!("{}{entry}", indent(text, host.addresses_span.start)))
}

/// `line` on a line of its own below the one in which `at` is.
fn line_after(text: &str, at: usize, line: &str) -> Change {
    let newline = newline(text);
    match text[at..].find('\n') {
        Some(rest) => Change { at: at + rest + 1..at + rest + 1, new: format!("{line}{newline}") },
        None => Change { at: text.len()..text.len(), new: format!("{newline}{line}{newline}") },
    }
}

fn insertion(text: &str, draft: &Draft, host: &Host) -> Change {
    let addresses = comma_list(&host.addresses, "\"");
    let subnets = comma_list(&host.subnets, "\"");
    let mut lines = vec![
        format!("name = \"{}\"", host.name),
        format!("addresses = [{addresses}]"),
        format!("subnets = [{subnets}]"),
    ];
    lines.extend(host.key.as_ref().map(key_entry));
    match &draft.inline {
        Some(list) => inline_insertion(text, draft, list, &format!("{{ {} }}", lines.join(", "))),
        None => block_insertion(text, &lines),
    }
}

fn block_insertion(text: &str, lines: &[String]) -> Change {
    let newline = newline(text);
    let gap = match text {
        text if text.ends_with("\n\n") || text.ends_with("\n\r\n") => String::new(),
        text if text.ends_with('\n') => newline.to_owned(),
        _ => newline.repeat(2),
    };
    let block = format!("{gap}[[host]]{newline}{}{newline}", lines.join(newline));
    Change { at: text.len()..text.len(), new: block }
}

fn inline_insertion(text: &str, draft: &Draft, list: &Range<usize>, item: &str) -> Change {
    let Some(before) = draft.hosts.last() else {
        return Change { at: list.end - 1..list.end - 1, new: item.to_owned() };
    };
    let is_on_its_own_line = text[line_start(text, before.span.start)..before.span.start].trim().is_empty();
    let gap = if is_on_its_own_line {
        format!("{}{}", newline(text), indent(text, before.span.start))
    } else {
        " ".to_owned()
    };
    Change { at: before.span.end..before.span.end, new: format!(",{gap}{item}") }
}

/// The lines of a `[[host]]`, and of the comment directly above it unless that is the head of the file.
fn block_cut(text: &str, host: &DraftHost) -> Range<usize> {
    let header = line_start(text, host.span.start);
    let mut start = header;
    while start > 0 && text[line_start(text, start - 1)..start].trim_start().starts_with('#') {
        start = line_start(text, start - 1);
    }
    if start == 0 {
        start = header;
    }
    let mut end = line_end(text, host.end);
    let is_after_blank = text[..start].lines().last().is_none_or(|line| line.trim().is_empty());
    if is_after_blank && text[end..line_end(text, end)].trim().is_empty() {
        // One blank line is enough between what is left.
        end = line_end(text, end);
    }
    start..end
}

/// One `{ … }` of a list, with the comma behind it, or the one before it if it is the last.
fn inline_cut(draft: &Draft, at: usize) -> Range<usize> {
    let item = &draft.hosts[at].span;
    match (draft.hosts.get(at + 1), at.checked_sub(1)) {
        (Some(next), _) => item.start..next.span.start,
        (None, Some(before)) => draft.hosts[before].span.end..item.end,
        (None, None) => item.clone(),
    }
}

/// How lines end, as the first one does.
fn newline(text: &str) -> &'static str {
    let first = &text[..text.find('\n').unwrap_or(0)];
    if first.ends_with('\r') { "\r\n" } else { "\n" }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the next line starts.
fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// The blanks at the start of the line in which `at` is.
fn indent(text: &str, at: usize) -> &str {
    let line = &text[line_start(text, at)..at];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

fn comma_list<T: std::fmt::Display>(items: &[T], quote: &str) -> String {
    items.iter().map(|item| format!("{quote}{item}{quote}")).collect::<Vec<_>>().join(", ")
}
