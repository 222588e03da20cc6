//! Who says what to the server, and where it is captured. A new scene is a new entry in [`SCRIPTS`].

use super::stage::{ODD_PORT, PORT, Road, SERVER_V4, SERVER_V6};

/// What happens in a scene.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Its name, and that of its files.
    pub name: &'static str,
    /// Over which road.
    pub road: Road,
    /// Who talks.
    pub cast: Cast,
    /// To which of the server's addresses.
    pub server: &'static str,
    /// To which of its ports.
    pub port: u16,
    /// Where tcpdump listens, all at the same time.
    pub watches: &'static [Watch],
    /// How a text can be found in the captures.
    pub form: Form,
}

/// Who talks to the server.
#[derive(Debug, Clone, Copy)]
pub enum Cast {
    /// A client of `clients/`, with its options.
    Client(&'static str, &'static [&'static str]),
    /// MariaDB's own terminal client with these options, and what is typed.
    Terminal(&'static [&'static str], &'static str),
}

/// One tcpdump.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// Where.
    pub node: &'static str,
    /// What it is told.
    pub options: &'static [&'static str],
}

/// What the texts are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Themselves, from one connection.
    Plain,
    /// Themselves, of several connections at once, or in parts too large to be found.
    Mixed,
    /// Compressed.
    Compressed,
    /// Encrypted, with the secrets in a file.
    Encrypted,
}

const AT_SERVER: &[Watch] = &[Watch { node: "c42", options: &["-i", "eth0"] }];
/// The four interfaces of the way: both containers' and both hosts' own.
const ALL_THE_WAY: &[Watch] = &[
    Watch { node: "c41", options: &["-i", "eth0"] },
    Watch { node: "docker41", options: &["-i", "eth0"] },
    Watch { node: "docker42", options: &["-i", "eth0"] },
    Watch { node: "c42", options: &["-i", "eth0"] },
];
/// Any interface of a host writes each packet as often as it passes one, with link type SLL2.
const ANYWHERE: &[Watch] = &[Watch { node: "docker42", options: &["-i", "any", "-y", "LINUX_SLL2"] }];
const CUT: &[Watch] = &[Watch { node: "c42", options: &["-i", "eth0", "-s", "128"] }];

/// The connections of the scene with many.
pub const CROWD: usize = 64;

const USUAL: Script = Script {
    name: "session",
    road: Road::Plain,
    cast: Cast::Client("session", &[]),
    server: SERVER_V4,
    port: PORT,
    watches: AT_SERVER,
    form: Form::Plain,
};

/// A client's usual way.
pub const fn client(
    name: &'static str,
    client: &'static str,
    options: &'static [&'static str],
    form: Form,
) -> Script {
    Script { name, cast: Cast::Client(client, options), form, ..USUAL }
}

/// All of them.
pub const SCRIPTS: &[Script] = &[
    USUAL,
    client("prepared", "prepared", &[], Form::Plain),
    client("bulk", "bulk", &[], Form::Plain),
    client("pipelined", "pipelined", &[], Form::Plain),
    client("newer", "newer", &[], Form::Plain),
    client("infile", "infile", &[], Form::Plain),
    client("charsets", "charsets", &[], Form::Plain),
    client("latin1", "session", &["charset=latin1"], Form::Plain),
    client("other-login", "session", &["user=modern"], Form::Plain),
    client("session-compressed", "session", &["compress"], Form::Compressed),
    client("prepared-compressed", "prepared", &["compress"], Form::Compressed),
    client("bulk-compressed", "bulk", &["compress"], Form::Compressed),
    client("pipelined-compressed", "pipelined", &["compress"], Form::Compressed),
    client("infile-compressed", "infile", &["compress", "count=5000"], Form::Compressed),
    client("session-tls1.3", "session", &["tls1.3"], Form::Encrypted),
    client("session-tls1.2", "session", &["tls1.2"], Form::Encrypted),
    client("prepared-tls1.3", "prepared", &["tls1.3"], Form::Encrypted),
    client("infile-tls1.2", "infile", &["tls1.2", "count=5000"], Form::Encrypted),
    client("compressed-tls1.3", "session", &["compress", "tls1.3"], Form::Encrypted),
    client("large", "large", &[], Form::Mixed),
    client("large-compressed", "large", &["compress"], Form::Compressed),
    client("large-tls1.3", "large", &["tls1.3"], Form::Encrypted),
    client("crowd", "load", &["threads=64", "count=6400"], Form::Mixed),
    client("crowd-prepared", "load", &["threads=64", "count=6400", "prepared"], Form::Mixed),
    Script { name: "ipv6", server: SERVER_V6, ..USUAL },
    Script { name: "odd-port", port: ODD_PORT, ..USUAL },
    Script { name: "sll2", watches: ANYWHERE, ..USUAL },
    Script { name: "all-the-way", watches: ALL_THE_WAY, ..USUAL },
    Script { name: "cut", watches: CUT, form: Form::Mixed, ..USUAL },
    Script { road: Road::Lossy, watches: ALL_THE_WAY, ..client("lossy", "pipelined", &[], Form::Mixed) },
    Script { name: "terminal", cast: Cast::Terminal(&["--skip-ssl"], TYPED), ..USUAL },
    Script {
        name: "terminal-compressed",
        cast: Cast::Terminal(&["--skip-ssl", "--compress"], TYPED),
        form: Form::Compressed,
        ..USUAL
    },
];

/// What somebody types who works with the shop.
const TYPED: &str = "use shop;
insert into orders (what, price, made) values ('tea', 2.50, '2024-02-29 12:00:00'), ('it''s \"quoted\"', 0.01, null);
select * from orders;
select *
  from orders -- which are expensive
  where price > 1;
select nonsense from nowhere;
show tables;
use mysql
select user, host from user;
delete from shop.orders;
quit
";
