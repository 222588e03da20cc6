//! Reads a topology from TOML and tells all mistakes in it at once, each with its place.
//!
//! ```toml
//! [[segment]]                       # default: lan, 192.168.199.0/24 and fd00:199::/64
//! name = "lan"
//! prefixes = ["192.168.199.0/24", "fd00:199::/64"]
//!
//! [[host]]
//! name = "docker41"
//! segment = "lan"                   # default: the first
//! addresses = ["192.168.199.41", "fd00:199::41"]
//! subnets = ["172.41.0.0/16", "fd00:172:41::/64"]
//! bridge = "docker0"                # default
//! engine = "28.5"                   # default: none; a real Docker engine, `docker` for this machine's own
//! iptables = "legacy"               # default: nft; what the engine makes its rules with
//! [[host.container]]
//! name = "c41"
//! addresses = ["172.41.0.2"]        # default: the next free one from 2 up, of each family
//!
//! [[router]]
//! name = "router"
//! addresses = ["192.168.199.1", "192.168.198.1"]
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use byway_fabric::mistake::{Mistake, Mistakes};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{BRIDGE, Container, Engine, Flaw, Host, Iptables, Release, Router, Segment, Spread, Topology};

/// The longest file that is read: a lab of the largest size takes a quarter of it.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;

impl Topology {
    /// Reads a topology; `file` is the name that mistakes are told with.
    ///
    /// # Errors
    /// All mistakes in the text, in the order of their places.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistakes> {
        let mut reader = Reader::default();
        let topology = reader.read(text);
        if reader.mistakes.is_empty() {
            reader.mistakes = topology.flaws().into_iter().map(|flaw| reader.locate(flaw)).collect();
        }
        if reader.mistakes.is_empty() {
            return Ok(topology);
        }
        reader.mistakes.sort_by_key(|mistake| mistake.span.start);
        Err(Mistakes { file: file.into(), text: text.into(), list: reader.mistakes })
    }
}

#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
    /// Where in the text a place of the topology is written.
    spans: BTreeMap<String, Range<usize>>,
}

type Value<'a, 'i> = &'a Spanned<DeValue<'i>>;

impl Reader {
    fn read(&mut self, text: &str) -> Topology {
        if text.len() > TEXT_BYTES_MAX {
            self.mistake(0..1, format!("the file has more than {TEXT_BYTES_MAX} bytes"), None);
            return Topology::default();
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            self.mistake(error.span().unwrap_or(0..0), error.message().to_owned(), None);
        }
        if !self.mistakes.is_empty() {
            return Topology::default();
        }
        let root = Fields { place: String::new(), span: 0..1, table: root.get_ref() };
        self.known(&root, &["segment", "host", "router"]);
        let segments = self.tables(&root, "segment", Self::segment);
        let segments = if segments.is_empty() { Spread::default().topology().segments } else { segments };
        let first = segments.first().map_or("", |segment| segment.name.as_str()).to_owned();
        let hosts = self.tables(&root, "host", |reader, fields| reader.host(fields, &first));
        let routers = self.tables(&root, "router", Self::router);
        Topology { segments, hosts, routers }
    }

    fn segment(&mut self, fields: &Fields<'_, '_>) -> Segment {
        self.known(fields, &["name", "prefixes"]);
        Segment {
            name: self.name(fields),
            prefixes: self.list(fields, "prefixes", "a prefix like 10.0.0.0/24"),
        }
    }

    fn router(&mut self, fields: &Fields<'_, '_>) -> Router {
        self.known(fields, &["name", "addresses"]);
        Router { name: self.name(fields), addresses: self.list(fields, "addresses", "an IP address") }
    }

    fn host(&mut self, fields: &Fields<'_, '_>, first_segment: &str) -> Host {
        self.known(
            fields,
            &["name", "segment", "addresses", "subnets", "bridge", "engine", "iptables", "container"],
        );
        let mut host = Host {
            name: self.name(fields),
            segment: self.text(fields, "segment").unwrap_or_else(|| first_segment.into()),
            addresses: self.list(fields, "addresses", "an IP address"),
            subnets: self.list(fields, "subnets", "a prefix like 10.0.0.0/24"),
            bridge: self.text(fields, "bridge").unwrap_or_else(|| BRIDGE.into()),
            engine: self.engine(fields),
            containers: Vec::new(),
        };
        host.containers = self.tables(fields, "container", Self::container);
        if host.engine.is_some() {
            return host;
        }
        for nth in 0..host.containers.len() {
            if host.containers[nth].addresses.is_empty() {
                host.containers[nth].addresses = host.container_addresses(nth);
            }
        }
        host
    }

    fn engine(&mut self, fields: &Fields<'_, '_>) -> Option<Engine> {
        let release: Option<Release> = self.word(fields, "engine", str::parse);
        let iptables = self.word(fields, "iptables", |text| match text {
            "nft" => Ok(Iptables::Nft),
            "legacy" => Ok(Iptables::Legacy),
            other => Err(format!("{other:?} is no iptables: nft or legacy")),
        });
        if let (None, Some(value)) = (fields.get("engine"), fields.get("iptables")) {
            self.mistake(value.span(), "iptables is for a host with an engine".into(), None);
        }
        Some(Engine { iptables: iptables.unwrap_or_default(), ..release?.into() })
    }

    /// A text that must be read as something, if it is there.
    fn word<T, E: ToString>(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(fields, key)?;
        let span = fields.get(key)?.span();
        read(&text).map_err(|error| self.mistake(span, error.to_string(), None)).ok()
    }

    fn container(&mut self, fields: &Fields<'_, '_>) -> Container {
        self.known(fields, &["name", "addresses"]);
        let addresses = if fields.get("addresses").is_some() {
            self.list(fields, "addresses", "an IP address")
        } else {
            Vec::new()
        };
        Container { name: self.name(fields), addresses }
    }

    fn known(&mut self, fields: &Fields<'_, '_>, keys: &[&str]) {
        for (key, _) in fields.table {
            let name = key.get_ref().as_ref();
            if !keys.contains(&name) {
                let hint = crate::names::suggest(name, keys.iter().copied());
                self.mistake(key.span(), format!("unknown key {name}"), Some(hint));
            }
        }
    }

    fn tables<T>(
        &mut self,
        fields: &Fields<'_, '_>,
        key: &str,
        mut read: impl FnMut(&mut Self, &Fields<'_, '_>) -> T,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for (nth, value) in self.array(fields, key).into_iter().enumerate() {
            let place = format!("{}[{nth}]", fields.place_of(key));
            self.spans.insert(place.clone(), value.span());
            match value.get_ref().as_table() {
                Some(table) => all.push(read(self, &Fields { place, span: value.span(), table })),
                None => self.mistake(value.span(), format!("{key} is a table: write [[{key}]]"), None),
            }
        }
        all
    }

    fn array<'a, 'i>(&mut self, fields: &Fields<'a, 'i>, key: &str) -> Vec<Value<'a, 'i>> {
        let Some(value) = fields.get(key) else { return Vec::new() };
        self.spans.insert(fields.place_of(key), value.span());
        let Some(array) = value.get_ref().as_array() else {
            self.mistake(value.span(), format!("{key} is a list, this is a {}", kind(value)), None);
            return Vec::new();
        };
        array.iter().collect()
    }

    /// A list of texts that each must be read as something. It must be there, and not be empty.
    fn list<T: FromStr>(&mut self, fields: &Fields<'_, '_>, key: &str, what: &str) -> Vec<T> {
        if fields.get(key).is_none() {
            self.mistake(fields.span.clone(), format!("{key} is missing"), None);
        }
        let mut all = Vec::new();
        for (nth, value) in self.array(fields, key).into_iter().enumerate() {
            self.spans.insert(format!("{}[{nth}]", fields.place_of(key)), value.span());
            match value.get_ref().as_str().map(str::parse) {
                Some(Ok(item)) => all.push(item),
                Some(Err(_)) => {
                    let text = value.get_ref().as_str().unwrap_or_default();
                    self.mistake(value.span(), format!("{text:?} is not {what}"), None);
                }
                None => self.mistake(value.span(), format!("this is a {}, not {what}", kind(value)), None),
            }
        }
        all
    }

    fn name(&mut self, fields: &Fields<'_, '_>) -> String {
        if fields.get("name").is_none() {
            self.mistake(fields.span.clone(), "name is missing".into(), None);
        }
        self.text(fields, "name").unwrap_or_default()
    }

    fn text(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<String> {
        let value = fields.get(key)?;
        self.spans.insert(fields.place_of(key), value.span());
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.mistake(value.span(), format!("{key} is a text, this is a {}", kind(value)), None);
        }
        text
    }

    fn mistake(&mut self, span: Range<usize>, what: String, hint: Option<String>) {
        self.mistakes.push(Mistake { span, what, hint });
    }

    /// A flaw at its place in the text, or at the nearest place around it that is written there.
    fn locate(&self, flaw: Flaw) -> Mistake {
        let mut place = flaw.place.as_str();
        let span = loop {
            if let Some(span) = self.spans.get(place) {
                break span.clone();
            }
            match place.rfind(['.', '[']) {
                Some(at) => place = &place[..at],
                None => break 0..1,
            }
        };
        Mistake { span, what: flaw.what, hint: flaw.hint }
    }
}

/// One table of the text, and where it is.
struct Fields<'a, 'i> {
    place: String,
    span: Range<usize>,
    table: &'a DeTable<'i>,
}

impl<'a, 'i> Fields<'a, 'i> {
    fn get(&self, key: &str) -> Option<Value<'a, 'i>> {
        self.table.get(key)
    }

    fn place_of(&self, key: &str) -> String {
        if self.place.is_empty() { key.into() } else { format!("{}.{key}", self.place) }
    }
}

fn kind(value: Value<'_, '_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "yes or no",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "list",
        DeValue::Table(_) => "table",
    }
}
