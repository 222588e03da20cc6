//! The agent's settings: what can be set, to what, and who has set it.
//!
//! Flags are stronger than the environment, the environment than the file, the file than the defaults. Each
//! source becomes one [`Layer`]; [`merge`] lays them over each other and remembers for every value where it
//! comes from, because the first question about a setting that surprises is: who says so?

mod layer;
mod value;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::cluster::HostName;
use crate::path::Tunnels;
pub use layer::Layer;
pub use value::{BadInterfaceName, INTERFACE_NAME_BYTES_MAX, check_interface_name, check_log};

/// Where the agent's settings are, unless told otherwise.
pub const CONFIG_PATH: &str = "/etc/byway/byway.toml";

/// Where the inventory is, unless told otherwise.
pub const INVENTORY_PATH: &str = "/etc/byway/inventory.toml";

/// Where the agent's socket and lock are, unless told otherwise: gone after a reboot.
pub const RUN_DIR: &str = "/run/byway";

/// Where the agent remembers what it found, unless told otherwise: still there after a reboot.
pub const STATE_DIR: &str = "/var/lib/byway";

/// How often the agent looks without being woken, in seconds, unless told otherwise.
pub const LOOK_EVERY_SECONDS: u64 = 60;

/// How often the agent may look, in seconds: more often costs without use, less often is no safety net.
pub const LOOK_EVERY_SECONDS_RANGE: RangeInclusive<u64> = 5..=3600;

/// What is logged, unless told otherwise.
pub const LOG: &str = "info";

/// On which TCP port the agents ask each other, unless told otherwise; nobody has it at IANA.
pub const PORT: u16 = 7172;

/// The ports that can be told.
pub const PORT_RANGE: RangeInclusive<u64> = 1..=65535;

/// The longest configuration file, in bytes: all keys with a page of comments each.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// What all keys of a cluster in etcd begin with, unless told otherwise.
pub const ETCD_PREFIX: &str = "/byway/";

/// The most members of etcd that can be told: etcd itself advises against more than seven.
pub const ETCD_ENDPOINTS_MAX: usize = 9;

/// How long a host that is not heard of keeps its place in etcd, in seconds, unless told otherwise: longer than an agent's
/// restart or a reboot takes, as the others' routes go with it.
pub const LEASE_SECONDS: u64 = 300;

/// How long that can be, in seconds: shorter than an election of etcd's is no lease, and longer than a week no help.
pub const LEASE_SECONDS_RANGE: RangeInclusive<u64> = 5..=604_800;

/// The most addresses on the underlay: one of each family.
pub const ADDRESSES_MAX: usize = 2;

/// The most bridges: a Docker host has one per network, and a list this long is a mistake.
pub const BRIDGES_MAX: usize = 64;

/// The networks of Docker that take part by their names, unless told otherwise: `docker0`'s, and the one that
/// `byway docker network` makes.
pub const NETWORKS: [&str; 2] = ["bridge", "byway"];

/// The most names of networks: more than a host has bridges is a mistake.
pub const NETWORKS_MAX: usize = 1024;

/// Where Docker's socket is, unless told otherwise.
pub const DOCKER_SOCKET: &str = "/run/docker.sock";

/// One thing that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The name of this host in the inventory.
    Host,
    /// The path of the inventory.
    Inventory,
    /// The members of etcd, where the hosts are in etcd and not in an inventory.
    Etcd,
    /// What all keys in etcd begin with.
    EtcdPrefix,
    /// Who may vouch for the members of etcd.
    EtcdCa,
    /// Our certificate for etcd.
    EtcdCert,
    /// The key of that certificate.
    EtcdKey,
    /// Our name in etcd.
    EtcdUser,
    /// The file with the password for that name.
    EtcdPasswordFile,
    /// How long a host that is not heard of keeps its place in etcd.
    LeaseSeconds,
    /// The addresses of this host on the underlay, for a store in etcd.
    Addresses,
    /// The interface through which the other hosts are reached.
    Uplink,
    /// The bridges that containers are attached to.
    Bridges,
    /// Whether tunnels may be made to peers behind routers.
    Tunnel,
    /// The networks of Docker that take part by their names.
    Networks,
    /// Docker's socket.
    DockerSocket,
    /// The folder of the socket and the lock.
    RunDir,
    /// The folder of what is remembered.
    StateDir,
    /// The TCP port on which the agents ask each other.
    Port,
    /// The TCP address at which the metrics can be read.
    Metrics,
    /// Whether peers are tried, and those that are gone refused.
    Health,
    /// Seconds between two looks without being woken.
    LookEverySeconds,
    /// What is logged.
    Log,
}

impl Key {
    /// All keys, in the order in which they are documented.
    pub const ALL: [Self; 23] = [
        Self::Host,
        Self::Inventory,
        Self::Etcd,
        Self::EtcdPrefix,
        Self::EtcdCa,
        Self::EtcdCert,
        Self::EtcdKey,
        Self::EtcdUser,
        Self::EtcdPasswordFile,
        Self::LeaseSeconds,
        Self::Addresses,
        Self::Uplink,
        Self::Bridges,
        Self::Tunnel,
        Self::Networks,
        Self::DockerSocket,
        Self::RunDir,
        Self::StateDir,
        Self::Port,
        Self::Metrics,
        Self::Health,
        Self::LookEverySeconds,
        Self::Log,
    ];

    /// Its name in the file; with two dashes before it, its flag, if it has one.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.names().0
    }

    /// Its name in the environment.
    #[must_use]
    pub fn variable(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Host => ("host", "BYWAY_HOST"),
            Self::Inventory => ("inventory", "BYWAY_INVENTORY"),
            Self::Etcd => ("etcd", "BYWAY_ETCD"),
            Self::EtcdPrefix => ("etcd-prefix", "BYWAY_ETCD_PREFIX"),
            Self::EtcdCa => ("etcd-ca", "BYWAY_ETCD_CA"),
            Self::EtcdCert => ("etcd-cert", "BYWAY_ETCD_CERT"),
            Self::EtcdKey => ("etcd-key", "BYWAY_ETCD_KEY"),
            Self::EtcdUser => ("etcd-user", "BYWAY_ETCD_USER"),
            Self::EtcdPasswordFile => ("etcd-password-file", "BYWAY_ETCD_PASSWORD_FILE"),
            Self::LeaseSeconds => ("lease-seconds", "BYWAY_LEASE_SECONDS"),
            Self::Addresses => ("addresses", "BYWAY_ADDRESSES"),
            Self::Uplink => ("uplink", "BYWAY_UPLINK"),
            Self::Bridges => ("bridges", "BYWAY_BRIDGES"),
            Self::Tunnel => ("tunnel", "BYWAY_TUNNEL"),
            Self::Networks => ("networks", "BYWAY_NETWORKS"),
            Self::DockerSocket => ("docker-socket", "BYWAY_DOCKER_SOCKET"),
            Self::RunDir => ("run-dir", "BYWAY_RUN_DIR"),
            Self::StateDir => ("state-dir", "BYWAY_STATE_DIR"),
            Self::Port => ("port", "BYWAY_PORT"),
            Self::Metrics => ("metrics", "BYWAY_METRICS"),
            Self::Health => ("health", "BYWAY_HEALTH"),
            Self::LookEverySeconds => ("look-every-seconds", "BYWAY_LOOK_EVERY_SECONDS"),
            Self::Log => ("log", "BYWAY_LOG"),
        }
    }
}

/// Who has set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command.
    Flag(Key),
    /// A variable of the environment.
    Environment(Key),
    /// A line of a file, from 1.
    File {
        /// The file.
        file: String,
        /// The line.
        line: usize,
    },
    /// The machine: its host name.
    Machine,
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "from --{}", key.name()),
            Self::Environment(key) => write!(f, "from {}", key.variable()),
            Self::File { file, line } => write!(f, "from {file}:{line}"),
            Self::Machine => f.write_str("the machine's host name"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and who has set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Who has set it.
    pub origin: Origin,
}

/// What the agent goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name of this host in the inventory; none if the machine has no name that could be one.
    pub host: Option<Setting<HostName>>,
    /// The path of the inventory.
    pub inventory: Setting<PathBuf>,
    /// The members of etcd, as `https://10.0.0.1:2379`; none means that the hosts are in the inventory.
    pub etcd: Option<Setting<Vec<String>>>,
    /// What all keys in etcd begin with; ends with a slash.
    pub etcd_prefix: Setting<String>,
    /// Who may vouch for the members of etcd; none means whom this machine trusts.
    pub etcd_ca: Option<Setting<PathBuf>>,
    /// Our certificate for etcd.
    pub etcd_cert: Option<Setting<PathBuf>>,
    /// The key of that certificate.
    pub etcd_key: Option<Setting<PathBuf>>,
    /// Our name in etcd; none where etcd has no users.
    pub etcd_user: Option<Setting<String>>,
    /// The file with the password for that name.
    pub etcd_password_file: Option<Setting<PathBuf>>,
    /// How long a host that is not heard of keeps its place in etcd, in [`LEASE_SECONDS_RANGE`].
    pub lease_seconds: Setting<u64>,
    /// The addresses of this host on the underlay; none means those by which it reaches etcd.
    pub addresses: Option<Setting<Vec<IpAddr>>>,
    /// The interface through which the other hosts are reached; none means that the routes say.
    pub uplink: Option<Setting<String>>,
    /// The bridges that containers are attached to; none means those that hold an address of the host's subnets.
    pub bridges: Option<Setting<Vec<String>>>,
    /// Whether tunnels may be made to peers behind routers.
    pub tunnel: Setting<Tunnels>,
    /// The networks of Docker that take part by their names; others do by the label `byway`.
    pub networks: Setting<Vec<String>>,
    /// Docker's socket.
    pub docker_socket: Setting<PathBuf>,
    /// The folder of the socket and the lock.
    pub run_dir: Setting<PathBuf>,
    /// The folder of what is remembered.
    pub state_dir: Setting<PathBuf>,
    /// The TCP port on which the agents ask each other, the same on all hosts.
    pub port: Setting<u16>,
    /// The TCP address at which the metrics can be read; none means only on the local socket.
    pub metrics: Option<Setting<SocketAddr>>,
    /// Whether peers are tried, and the routes of those that are gone refuse packets.
    pub health: Setting<bool>,
    /// Seconds between two looks without being woken, in [`LOOK_EVERY_SECONDS_RANGE`].
    pub look_every_seconds: Setting<u64>,
    /// What is logged: a level, or levels per target.
    pub log: Setting<String>,
}

/// Lays the layers over each other, the strongest first: flags, environment, file, machine.
#[must_use]
pub fn merge(layers: impl IntoIterator<Item = Layer>) -> Config {
    let all = layers.into_iter().fold(Layer::default(), Layer::or);
    Config {
        host: all.host,
        inventory: all.inventory.unwrap_or_else(|| default(INVENTORY_PATH.into())),
        etcd: all.etcd,
        etcd_prefix: all.etcd_prefix.unwrap_or_else(|| default(ETCD_PREFIX.into())),
        etcd_ca: all.etcd_ca,
        etcd_cert: all.etcd_cert,
        etcd_key: all.etcd_key,
        etcd_user: all.etcd_user,
        etcd_password_file: all.etcd_password_file,
        lease_seconds: all.lease_seconds.unwrap_or_else(|| default(LEASE_SECONDS)),
        addresses: all.addresses,
        uplink: all.uplink,
        bridges: all.bridges,
        tunnel: all.tunnel.unwrap_or_else(|| default(Tunnels::Auto)),
        networks: all.networks.unwrap_or_else(|| default(NETWORKS.map(str::to_owned).to_vec())),
        docker_socket: all.docker_socket.unwrap_or_else(|| default(DOCKER_SOCKET.into())),
        run_dir: all.run_dir.unwrap_or_else(|| default(RUN_DIR.into())),
        state_dir: all.state_dir.unwrap_or_else(|| default(STATE_DIR.into())),
        port: all.port.unwrap_or_else(|| default(PORT)),
        metrics: all.metrics,
        health: all.health.unwrap_or_else(|| default(true)),
        look_every_seconds: all.look_every_seconds.unwrap_or_else(|| default(LOOK_EVERY_SECONDS)),
        log: all.log.unwrap_or_else(|| default(LOG.into())),
    }
}

fn path(setting: &Setting<PathBuf>) -> (String, &Origin) {
    (setting.value.display().to_string(), &setting.origin)
}

fn default<T>(value: T) -> Setting<T> {
    Setting { value, origin: Origin::Default }
}

impl Config {
    /// The value of a key as text and who has set it; none where nothing is set and the agent finds out itself.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<(String, &Origin)> {
        match key {
            Key::Host => self.host.as_ref().map(|host| (host.value.to_string(), &host.origin)),
            Key::Inventory => Some(path(&self.inventory)),
            Key::Etcd => self.etcd.as_ref().map(|etcd| (etcd.value.join(","), &etcd.origin)),
            Key::EtcdPrefix => Some((self.etcd_prefix.value.clone(), &self.etcd_prefix.origin)),
            Key::EtcdCa => self.etcd_ca.as_ref().map(path),
            Key::EtcdCert => self.etcd_cert.as_ref().map(path),
            Key::EtcdKey => self.etcd_key.as_ref().map(path),
            Key::EtcdUser => self.etcd_user.as_ref().map(|user| (user.value.clone(), &user.origin)),
            Key::EtcdPasswordFile => self.etcd_password_file.as_ref().map(path),
            Key::LeaseSeconds => Some((self.lease_seconds.value.to_string(), &self.lease_seconds.origin)),
            Key::Addresses => self.addresses.as_ref().map(|addresses| {
                let texts: Vec<String> = addresses.value.iter().map(ToString::to_string).collect();
                (texts.join(","), &addresses.origin)
            }),
            Key::Uplink => self.uplink.as_ref().map(|uplink| (uplink.value.clone(), &uplink.origin)),
            Key::Bridges => self.bridges.as_ref().map(|bridges| (bridges.value.join(","), &bridges.origin)),
            Key::Tunnel => Some((self.tunnel.value.word().to_owned(), &self.tunnel.origin)),
            Key::Networks => Some((self.networks.value.join(","), &self.networks.origin)),
            Key::DockerSocket => Some(path(&self.docker_socket)),
            Key::RunDir => Some(path(&self.run_dir)),
            Key::StateDir => Some(path(&self.state_dir)),
            Key::Port => Some((self.port.value.to_string(), &self.port.origin)),
            Key::Metrics => self.metrics.as_ref().map(|at| (at.value.to_string(), &at.origin)),
            Key::Health => {
                Some((if self.health.value { "on" } else { "off" }.to_owned(), &self.health.origin))
            }
            Key::LookEverySeconds => {
                Some((self.look_every_seconds.value.to_string(), &self.look_every_seconds.origin))
            }
            Key::Log => Some((self.log.value.clone(), &self.log.origin)),
        }
    }

    /// A key in a sentence: `host = docker41 (from BYWAY_HOST)`.
    #[must_use]
    pub fn sentence(&self, key: Key) -> String {
        match self.get(key) {
            Some((value, origin)) => format!("{} = {value} ({origin})", key.name()),
            None => format!("{} is not set", key.name()),
        }
    }
}
