//! One source of settings: the flags, the environment, the file, or the machine's name.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::{
    ADDRESSES_MAX, BRIDGES_MAX, CONFIG_BYTES_MAX, ETCD_ENDPOINTS_MAX, Key, LEASE_SECONDS_RANGE,
    LOOK_EVERY_SECONDS_RANGE, NETWORKS_MAX, Origin, PORT_RANGE, Setting, value,
};
use crate::cluster::{BadHostName, HostName};
use crate::mistake::Mistakes;
use crate::path::Tunnels;
use crate::toml_text::{self, Reading, nearest, quoted};

/// What one source says; it may say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// See [`Key::Host`].
    pub host: Option<Setting<HostName>>,
    /// See [`Key::Inventory`].
    pub inventory: Option<Setting<PathBuf>>,
    /// See [`Key::Etcd`].
    pub etcd: Option<Setting<Vec<String>>>,
    /// See [`Key::EtcdPrefix`].
    pub etcd_prefix: Option<Setting<String>>,
    /// See [`Key::EtcdCa`].
    pub etcd_ca: Option<Setting<PathBuf>>,
    /// See [`Key::EtcdCert`].
    pub etcd_cert: Option<Setting<PathBuf>>,
    /// See [`Key::EtcdKey`].
    pub etcd_key: Option<Setting<PathBuf>>,
    /// See [`Key::EtcdUser`].
    pub etcd_user: Option<Setting<String>>,
    /// See [`Key::EtcdPasswordFile`].
    pub etcd_password_file: Option<Setting<PathBuf>>,
    /// See [`Key::LeaseSeconds`].
    pub lease_seconds: Option<Setting<u64>>,
    /// See [`Key::Addresses`].
    pub addresses: Option<Setting<Vec<IpAddr>>>,
    /// See [`Key::Uplink`].
    pub uplink: Option<Setting<String>>,
    /// See [`Key::Bridges`].
    pub bridges: Option<Setting<Vec<String>>>,
    /// See [`Key::Tunnel`].
    pub tunnel: Option<Setting<Tunnels>>,
    /// See [`Key::Networks`].
    pub networks: Option<Setting<Vec<String>>>,
    /// See [`Key::DockerSocket`].
    pub docker_socket: Option<Setting<PathBuf>>,
    /// See [`Key::RunDir`].
    pub run_dir: Option<Setting<PathBuf>>,
    /// See [`Key::StateDir`].
    pub state_dir: Option<Setting<PathBuf>>,
    /// See [`Key::Port`].
    pub port: Option<Setting<u16>>,
    /// See [`Key::Metrics`].
    pub metrics: Option<Setting<SocketAddr>>,
    /// See [`Key::Health`].
    pub health: Option<Setting<bool>>,
    /// See [`Key::LookEverySeconds`].
    pub look_every_seconds: Option<Setting<u64>>,
    /// See [`Key::Log`].
    pub log: Option<Setting<String>>,
}

impl Layer {
    /// What is set by flags: pairs of a key and the text behind its flag. Lists have commas between.
    ///
    /// # Errors
    /// One sentence for each value that cannot be.
    pub fn from_flags(flags: impl IntoIterator<Item = (Key, String)>) -> Result<Self, Vec<String>> {
        let mut layer = Self::default();
        let complain = |(key, text): (Key, String)| {
            let refused = layer.set(key, &text, Origin::Flag(key));
            refused.map_err(|why| format!("--{} is {}: {why}", key.name(), quoted(&text))).err()
        };
        let complaints: Vec<String> = flags.into_iter().filter_map(complain).collect();
        if complaints.is_empty() { Ok(layer) } else { Err(complaints) }
    }

    /// What is set by `BYWAY_…` variables; others are not looked at. An empty value is as if not set.
    ///
    /// # Errors
    /// One sentence for each variable that is unknown or has a value that cannot be.
    pub fn from_env(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, Vec<String>> {
        let mut layer = Self::default();
        let mut complaints = Vec::new();
        for (name, text) in pairs.into_iter().filter(|(name, _)| name.starts_with("BYWAY_")) {
            match Key::ALL.into_iter().find(|key| key.variable() == name) {
                None => complaints.push(unknown_variable(&name)),
                Some(_) if text.is_empty() => {}
                Some(key) => {
                    let refused = layer.set(key, &text, Origin::Environment(key));
                    complaints
                        .extend(refused.map_err(|why| format!("{name} is {}: {why}", quoted(&text))).err());
                }
            }
        }
        complaints.sort();
        if complaints.is_empty() { Ok(layer) } else { Err(complaints) }
    }

    /// What is set by a configuration file. `file` is its name as the user knows it.
    ///
    /// # Errors
    /// All mistakes in the text, each with its place.
    pub fn from_toml(file: &str, text: &str) -> Result<Self, Mistakes> {
        let (mut reading, table) = Reading::open(file, text, CONFIG_BYTES_MAX)?;
        reading.unknown_keys(&table, "in the configuration", &Key::ALL.map(Key::name));
        let mut layer = Self::default();
        for key in Key::ALL {
            if let Some((name, value)) = table.get_key_value(key.name()) {
                let origin = Origin::File { file: file.to_owned(), line: reading.line(name.span().start) };
                layer.set_from(&mut reading, key, value, origin);
            }
        }
        reading.close()?;
        Ok(layer)
    }

    /// As [`Layer::from_toml`], from the bytes of a file.
    ///
    /// # Errors
    /// As [`Layer::from_toml`], and when the bytes are not UTF-8.
    pub fn from_toml_bytes(file: &str, bytes: &[u8]) -> Result<Self, Mistakes> {
        Self::from_toml(file, toml_text::decode(file, bytes, CONFIG_BYTES_MAX)?)
    }

    /// What the machine says: its host name is the name of the host.
    ///
    /// # Errors
    /// When a host of a cluster cannot have that name.
    pub fn from_machine(host_name: &str) -> Result<Self, BadHostName> {
        let value = HostName::try_from(host_name.to_owned())?;
        Ok(Self { host: Some(Setting { value, origin: Origin::Machine }), ..Self::default() })
    }

    /// This layer over a weaker one.
    pub(super) fn or(self, weaker: Self) -> Self {
        Self {
            host: self.host.or(weaker.host),
            inventory: self.inventory.or(weaker.inventory),
            etcd: self.etcd.or(weaker.etcd),
            etcd_prefix: self.etcd_prefix.or(weaker.etcd_prefix),
            etcd_ca: self.etcd_ca.or(weaker.etcd_ca),
            etcd_cert: self.etcd_cert.or(weaker.etcd_cert),
            etcd_key: self.etcd_key.or(weaker.etcd_key),
            etcd_user: self.etcd_user.or(weaker.etcd_user),
            etcd_password_file: self.etcd_password_file.or(weaker.etcd_password_file),
            lease_seconds: self.lease_seconds.or(weaker.lease_seconds),
            addresses: self.addresses.or(weaker.addresses),
            uplink: self.uplink.or(weaker.uplink),
            bridges: self.bridges.or(weaker.bridges),
            tunnel: self.tunnel.or(weaker.tunnel),
            networks: self.networks.or(weaker.networks),
            docker_socket: self.docker_socket.or(weaker.docker_socket),
            run_dir: self.run_dir.or(weaker.run_dir),
            state_dir: self.state_dir.or(weaker.state_dir),
            port: self.port.or(weaker.port),
            metrics: self.metrics.or(weaker.metrics),
            health: self.health.or(weaker.health),
            look_every_seconds: self.look_every_seconds.or(weaker.look_every_seconds),
            log: self.log.or(weaker.log),
        }
    }

    /// Sets one value from text, or says why it cannot be that.
    fn set(&mut self, key: Key, text: &str, origin: Origin) -> Result<(), String> {
        match key {
            Key::Host => self.host = Some(setting(host(text)?, origin)),
            Key::Inventory => self.inventory = Some(setting(value::path(text, &origin)?, origin)),
            Key::Etcd => self.etcd = Some(setting(words(text, &ETCD)?, origin)),
            Key::EtcdPrefix => self.etcd_prefix = Some(setting(value::etcd_prefix(text)?, origin)),
            Key::EtcdCa => self.etcd_ca = Some(setting(value::path(text, &origin)?, origin)),
            Key::EtcdCert => self.etcd_cert = Some(setting(value::path(text, &origin)?, origin)),
            Key::EtcdKey => self.etcd_key = Some(setting(value::path(text, &origin)?, origin)),
            Key::EtcdUser => self.etcd_user = Some(setting(value::etcd_user(text)?, origin)),
            Key::EtcdPasswordFile => {
                self.etcd_password_file = Some(setting(value::path(text, &origin)?, origin));
            }
            Key::LeaseSeconds => {
                self.lease_seconds = Some(setting(value::number(text, LEASE_SECONDS_RANGE)?, origin));
            }
            Key::Addresses => self.addresses = Some(setting(words(text, &ADDRESSES)?, origin)),
            Key::Uplink => self.uplink = Some(setting(value::interface(text)?, origin)),
            Key::Bridges => self.bridges = Some(setting(words(text, &BRIDGES)?, origin)),
            Key::Tunnel => self.tunnel = Some(setting(text.parse()?, origin)),
            Key::Networks => self.networks = Some(setting(words(text, &NETWORKS)?, origin)),
            Key::DockerSocket => self.docker_socket = Some(setting(value::path(text, &origin)?, origin)),
            Key::RunDir => self.run_dir = Some(setting(value::run_dir(text, &origin)?, origin)),
            Key::StateDir => self.state_dir = Some(setting(value::path(text, &origin)?, origin)),
            Key::Port => self.port = Some(setting(value::port(text)?, origin)),
            Key::Metrics => self.metrics = Some(setting(value::metrics(text)?, origin)),
            Key::Health => self.health = Some(setting(value::on_or_off(text)?, origin)),
            Key::LookEverySeconds => {
                self.look_every_seconds =
                    Some(setting(value::number(text, LOOK_EVERY_SECONDS_RANGE)?, origin));
            }
            Key::Log => self.log = Some(setting(value::log(text)?, origin)),
        }
        Ok(())
    }

    fn set_from(
        &mut self,
        reading: &mut Reading<'_>,
        key: Key,
        value: &Spanned<DeValue<'_>>,
        origin: Origin,
    ) {
        match key {
            Key::Etcd => self.etcd = Some(setting(list(reading, &ETCD, value), origin)),
            Key::Addresses => self.addresses = Some(setting(list(reading, &ADDRESSES, value), origin)),
            Key::LeaseSeconds => {
                let number = reading.number(key.name(), value, LEASE_SECONDS_RANGE);
                self.lease_seconds = number.map(|number| setting(number, origin));
            }
            Key::Bridges => self.bridges = Some(setting(list(reading, &BRIDGES, value), origin)),
            Key::Networks => self.networks = Some(setting(list(reading, &NETWORKS, value), origin)),
            Key::Port => {
                let number = reading.number(key.name(), value, PORT_RANGE);
                let port = number.and_then(|number| u16::try_from(number).ok());
                self.port = port.map(|port| setting(port, origin));
            }
            Key::LookEverySeconds => {
                let number = reading.number(key.name(), value, LOOK_EVERY_SECONDS_RANGE);
                self.look_every_seconds = number.map(|number| setting(number, origin));
            }
            _ => {
                let Some(text) = reading.string(&format!("`{}`", key.name()), value) else { return };
                if let Err(why) = self.set(key, text, origin) {
                    reading.mistake(
                        value.span(),
                        format!("`{}` is {}: {why}", key.name(), quoted(text)),
                        None,
                    );
                }
            }
        }
    }
}

/// A list of names or the like.
struct List<T> {
    key: Key,
    /// What each of it is.
    what: &'static str,
    most: usize,
    read: fn(&str) -> Result<T, String>,
}

const ETCD: List<String> =
    List { key: Key::Etcd, what: "a member of etcd", most: ETCD_ENDPOINTS_MAX, read: value::endpoint };
const ADDRESSES: List<IpAddr> =
    List { key: Key::Addresses, what: "an address of this host", most: ADDRESSES_MAX, read: value::address };
const BRIDGES: List<String> =
    List { key: Key::Bridges, what: "a bridge", most: BRIDGES_MAX, read: value::interface };
const NETWORKS: List<String> =
    List { key: Key::Networks, what: "a network", most: NETWORKS_MAX, read: value::network };

/// A list of the file.
fn list<T: PartialEq + Display>(
    reading: &mut Reading<'_>,
    list: &List<T>,
    value: &Spanned<DeValue<'_>>,
) -> Vec<T> {
    let key = list.key.name();
    let mut names = Vec::new();
    for item in reading.list(key, value) {
        let Some(text) = reading.string(&format!("each of `{key}`"), item) else { continue };
        match (list.read)(text) {
            Ok(name) => names.push(name),
            Err(why) => {
                let what = format!("{} cannot be {}: {why}", quoted(text), list.what);
                reading.mistake(item.span(), what, None);
            }
        }
    }
    if let Err(why) = value::check_names(&names, list.most) {
        reading.mistake(value.span(), format!("`{key}` is wrong: {why}"), None);
    }
    names
}

fn setting<T>(value: T, origin: Origin) -> Setting<T> {
    Setting { value, origin }
}

fn host(text: &str) -> Result<HostName, String> {
    HostName::try_from(text.to_owned()).map_err(|bad| bad.to_string())
}

/// A list with commas between.
fn words<T: PartialEq + Display>(text: &str, list: &List<T>) -> Result<Vec<T>, String> {
    let names = text.split(',').map(|name| (list.read)(name.trim())).collect::<Result<Vec<T>, _>>()?;
    value::check_names(&names, list.most).map(|()| names)
}

fn unknown_variable(name: &str) -> String {
    match nearest(name, Key::ALL.map(Key::variable)) {
        Some(near) => format!("{} is not a setting: did you mean {near}?", quoted(name)),
        None => format!("{} is not a setting: {}", quoted(name), Key::ALL.map(Key::variable).join(", ")),
    }
}
