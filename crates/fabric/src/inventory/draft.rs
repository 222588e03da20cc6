//! The shape of an inventory: tables, keys and types, each value with the place where it stands.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::{self, Family, Refusal};
use super::{HOSTS_MAX, INVENTORY_BYTES_MAX, Inventory, PREFIXES_MAX, SUBNETS_PER_HOST_MAX, clash, position};
use crate::cluster::{BadHostName, BadPublicKey, Cluster, Host, HostName, PublicKey};
use crate::mistake::Mistakes;
use crate::toml_text::{Reading, quoted, single};

/// Lengths of the subnets that are cut from the prefixes, where the inventory does not say: what Docker users expect.
const LENGTHS_DEFAULT: [(Family, u8); 2] = [(Family::V4, 24), (Family::V6, 64)];

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// An inventory whose hosts may still be incomplete.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) prefixes: Vec<Placed<IpNet>>,
    /// Where a length is written, its place.
    pub(super) lengths: BTreeMap<Family, (u8, Option<Range<usize>>)>,
    pub(super) hosts: Vec<DraftHost>,
    /// The brackets around the hosts where they are written `host = [ … ]`, not as `[[host]]`.
    pub(super) inline: Option<Range<usize>>,
}

/// A host as far as it could be read.
#[derive(Debug)]
pub(super) struct DraftHost {
    /// Its number in the file, from 1.
    pub(super) number: usize,
    /// Its `[[host]]`, or its `{ … }`.
    pub(super) span: Range<usize>,
    /// Where its last value ends.
    pub(super) end: usize,
    /// Where its last value ends, even if that is inside of its `{ … }`.
    pub(super) values_end: usize,
    pub(super) name: Option<Placed<HostName>>,
    pub(super) addresses: Vec<Placed<IpAddr>>,
    /// The list of the addresses, brackets included.
    pub(super) addresses_span: Range<usize>,
    pub(super) subnets: Vec<Placed<IpNet>>,
    pub(super) key: Option<Placed<PublicKey>>,
    /// Whether `subnets` were left out, so that they are cut from the prefixes.
    pub(super) by_position: bool,
}

/// Whether an inventory may be without hosts, as it is before the first is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHosts {
    IsAMistake,
    IsFine,
}

impl Draft {
    /// Reads and checks the whole text.
    pub(super) fn read(file: &str, text: &str, no_hosts: NoHosts) -> Result<Self, Mistakes> {
        if no_hosts == NoHosts::IsAMistake && text.trim_start_matches('\u{feff}').trim().is_empty() {
            let hint = Some("`byway host add` writes the first host".to_owned());
            return Err(single(file, text, 0..0, "the file is empty: half written?", hint));
        }
        let (mut reading, table) = Reading::open(file, text, INVENTORY_BYTES_MAX)?;
        let mut draft = Self::shape(&mut reading, &table);
        if draft.hosts.is_empty() && no_hosts == NoHosts::IsAMistake && reading.is_clean() {
            let hint = "each host is a [[host]] with a name and addresses".to_owned();
            reading.mistake(0..0, "the file lists no hosts", Some(hint));
        }
        position::cut(&mut draft, &mut reading);
        clash::find(&draft, &mut reading);
        reading.close()?;
        Ok(draft)
    }

    fn shape(reading: &mut Reading<'_>, table: &DeTable<'_>) -> Self {
        reading.unknown_keys(table, "at the top", &["cluster", "host"]);
        let mut draft =
            Self { prefixes: Vec::new(), lengths: lengths_default(), hosts: Vec::new(), inline: None };
        if let Some(cluster) = table.get("cluster").and_then(|value| reading.table("cluster", value)) {
            draft.cluster(reading, cluster);
        }
        if let Some((key, value)) = table.get_key_value("host") {
            draft.inline = (key.span().end <= value.span().start).then(|| value.span());
            draft.hosts(reading, value);
        }
        draft
    }

    fn cluster(&mut self, reading: &mut Reading<'_>, table: &DeTable<'_>) {
        reading.unknown_keys(table, "in [cluster]", &["prefixes", "subnet-lengths"]);
        if let Some(value) = table.get("prefixes") {
            let list = at_most(reading, "prefixes", value, PREFIXES_MAX);
            self.prefixes = list
                .iter()
                .filter_map(|item| placed(reading, "each of `prefixes`", item, address::network))
                .collect();
        }
        if let Some(lengths) = table.get("subnet-lengths").and_then(|v| reading.table("subnet-lengths", v)) {
            self.lengths(reading, lengths);
        }
    }

    fn lengths(&mut self, reading: &mut Reading<'_>, table: &DeTable<'_>) {
        reading.unknown_keys(table, "in subnet-lengths", &["ipv4", "ipv6"]);
        for family in Family::BOTH {
            let Some(value) = table.get(family.key()) else { continue };
            let number = reading.number(family.key(), value, 1..=u64::from(family.length_max()));
            if let Some(length) = number.and_then(|number| u8::try_from(number).ok()) {
                self.lengths.insert(family, (length, Some(value.span())));
            }
        }
    }

    fn hosts(&mut self, reading: &mut Reading<'_>, value: &Spanned<DeValue<'_>>) {
        if value.get_ref().is_table() {
            let hint = "write [[host]], in two brackets: there can be many".to_owned();
            return reading.mistake(value.span(), "`host` must be a list of tables", Some(hint));
        }
        for item in at_most(reading, "host", value, HOSTS_MAX) {
            if let Some(table) = reading.table("host", item) {
                let host = DraftHost::shape(reading, self.hosts.len() + 1, table, item.span());
                self.hosts.push(host);
            }
        }
    }

    /// The inventory, after all checks have passed.
    pub(super) fn finish(self, file: &str) -> Inventory {
        let prefixes = self.prefixes.iter().map(|prefix| prefix.value).collect();
        let by_position =
            self.hosts.iter().filter(|host| host.by_position).filter_map(DraftHost::name).collect();
        let hosts = self.hosts.iter().filter_map(DraftHost::finish).collect();
        Inventory { file: file.to_owned(), cluster: Cluster { prefixes, hosts }, by_position }
    }
}

impl DraftHost {
    fn shape(reading: &mut Reading<'_>, number: usize, table: &DeTable<'_>, span: Range<usize>) -> Self {
        reading.unknown_keys(table, "in [[host]]", &["name", "addresses", "subnets", "key"]);
        let values_end = table.values().map(|value| value.span().end).max().unwrap_or(span.end);
        let end = values_end.max(span.end);
        let mut host = Self {
            number,
            end,
            values_end,
            name: None,
            addresses: Vec::new(),
            addresses_span: span.clone(),
            subnets: Vec::new(),
            key: None,
            by_position: !table.contains_key("subnets"),
            span,
        };
        if let Some(value) = require(reading, table, "name", &host) {
            host.name = placed(reading, "`name`", value, host_name);
        }
        if let Some(value) = require(reading, table, "addresses", &host) {
            host.addresses(reading, value);
        }
        if let Some(value) = table.get("subnets") {
            host.subnets(reading, value);
        }
        if let Some(value) = table.get("key") {
            host.key = placed(reading, "`key`", value, public_key);
        }
        host
    }

    fn addresses(&mut self, reading: &mut Reading<'_>, value: &Spanned<DeValue<'_>>) {
        self.addresses_span = value.span();
        let list = reading.list("addresses", value);
        self.addresses = list
            .iter()
            .filter_map(|item| placed(reading, "each of `addresses`", item, address::address))
            .collect();
        if list.is_empty() && value.get_ref().is_array() {
            reading.mistake(value.span(), format!("{} has no address", self.label()), None);
        }
        for family in Family::BOTH {
            let mut of_family = self.addresses.iter().filter(|address| Family::of(address.value) == family);
            if let (Some(first), Some(second)) = (of_family.next(), of_family.next()) {
                let what = format!(
                    "{} has two {family} addresses, {} and {}",
                    self.label(),
                    first.value,
                    second.value
                );
                let hint = "write the one that the other hosts send to".to_owned();
                reading.mistake(second.span.clone(), what, Some(hint));
            }
        }
    }

    fn subnets(&mut self, reading: &mut Reading<'_>, value: &Spanned<DeValue<'_>>) {
        let list = at_most(reading, "subnets", value, SUBNETS_PER_HOST_MAX);
        self.subnets = list
            .iter()
            .filter_map(|item| placed(reading, "each of `subnets`", item, address::subnet))
            .collect();
        if list.is_empty() && value.get_ref().as_array().is_some_and(|array| array.is_empty()) {
            let hint =
                "write at least one, or leave `subnets` out to have them cut from the prefixes".to_owned();
            reading.mistake(
                value.span(),
                format!("{} has an empty list of subnets", self.label()),
                Some(hint),
            );
        }
    }

    /// The host in words.
    pub(super) fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("host {}", name.value),
            None => format!("host number {}", self.number),
        }
    }

    /// Its best place to point at.
    pub(super) fn name_span(&self) -> Range<usize> {
        self.name.as_ref().map_or_else(|| self.span.clone(), |name| name.span.clone())
    }

    pub(super) fn name(&self) -> Option<HostName> {
        self.name.as_ref().map(|name| name.value.clone())
    }

    pub(super) fn finish(&self) -> Option<Host> {
        let mut subnets: Vec<IpNet> = self.subnets.iter().map(|subnet| subnet.value).collect();
        subnets.sort_unstable();
        let addresses = self.addresses.iter().map(|address| address.value).collect();
        let key = self.key.as_ref().map(|key| key.value);
        Some(Host { name: self.name()?, addresses, subnets, key })
    }
}

fn lengths_default() -> BTreeMap<Family, (u8, Option<Range<usize>>)> {
    LENGTHS_DEFAULT.into_iter().map(|(family, length)| (family, (length, None))).collect()
}

/// The value of a key that every host must have.
fn require<'t, 'i>(
    reading: &mut Reading<'_>,
    table: &'t DeTable<'i>,
    key: &str,
    host: &DraftHost,
) -> Option<&'t Spanned<DeValue<'i>>> {
    let value = table.get(key);
    if value.is_none() && !reading.is_broken() {
        reading.mistake(host.span.clone(), format!("{} has no `{key}`", host.label()), None);
    }
    value
}

/// The items of a list that must not be endless.
fn at_most<'v, 'i>(
    reading: &mut Reading<'_>,
    key: &str,
    value: &'v Spanned<DeValue<'i>>,
    most: usize,
) -> &'v [Spanned<DeValue<'i>>] {
    let list = reading.list(key, value);
    if let Some(first_too_many) = list.get(most) {
        let what = format!("`{key}` has {} entries, more than {most}", list.len());
        reading.mistake(first_too_many.span(), what, None);
    }
    &list[..list.len().min(most)]
}

/// Reads one text with `parse`.
fn placed<T>(
    reading: &mut Reading<'_>,
    what: &str,
    item: &Spanned<DeValue<'_>>,
    parse: impl Fn(&str) -> Result<T, Refusal>,
) -> Option<Placed<T>> {
    match parse(reading.string(what, item)?) {
        Ok(value) => Some(Placed { value, span: item.span() }),
        Err(refusal) => {
            reading.mistake(item.span(), refusal.what, refusal.hint);
            None
        }
    }
}

fn host_name(text: &str) -> Result<HostName, Refusal> {
    HostName::try_from(text.to_owned()).map_err(|BadHostName| Refusal {
        what: format!("{} cannot be the name of a host", quoted(text)),
        hint: Some(BadHostName.to_string()),
    })
}

fn public_key(text: &str) -> Result<PublicKey, Refusal> {
    text.parse().map_err(|BadPublicKey| Refusal {
        what: format!("{} cannot be the key of a host", quoted(text)),
        hint: Some(BadPublicKey.to_string()),
    })
}
