//! What the values of the settings may be. Every refusal is a clause that follows "`key` is …: ".

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::{Origin, PORT_RANGE};
use crate::toml_text::{nearest, quoted};

/// The longest interface name, in bytes: the kernel's IFNAMSIZ less the closing zero.
pub const INTERFACE_NAME_BYTES_MAX: usize = 15;

/// The longest folder for the socket, in bytes: a socket's path has 107 (`sockaddr_un`), less `/byway.sock`.
pub(super) const RUN_DIR_BYTES_MAX: usize = 96;

/// The longest path, in bytes: the kernel's `PATH_MAX` less the closing zero.
const PATH_BYTES_MAX: usize = 4095;

/// Longer names of networks are a mistake.
const NETWORK_NAME_BYTES_MAX: usize = 255;

/// The longest log filter, in bytes: a screen full of targets.
const LOG_BYTES_MAX: usize = 1024;

/// The longest endpoint of etcd, in bytes: a DNS name has at most 253.
const ENDPOINT_BYTES_MAX: usize = 300;

/// The longest prefix in etcd, in bytes: it is part of every key.
const ETCD_PREFIX_BYTES_MAX: usize = 256;

/// The longest user of etcd, in bytes; etcd knows no limit.
const ETCD_USER_BYTES_MAX: usize = 256;

/// The levels of the log, the fewest words first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A text that cannot be the name of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an interface name has 1 to 15 bytes, no blanks, no `/` and no `:`, and is not `.` or `..`")]
pub struct BadInterfaceName;

/// Whether the kernel would take `name` for an interface (`dev_valid_name` in net/core/dev.c).
///
/// # Errors
/// When it would not.
pub fn check_interface_name(name: &str) -> Result<(), BadInterfaceName> {
    let is_short = (1..=INTERFACE_NAME_BYTES_MAX).contains(&name.len());
    let is_plain = !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if is_short && is_plain && name != "." && name != ".." { Ok(()) } else { Err(BadInterfaceName) }
}

/// Whether `filter` says what to log: a level (`info`), or levels per target (`warn,byway_agent=debug`).
///
/// # Errors
/// What is wrong with the part that is wrong, with a suggestion where there is one.
pub fn check_log(filter: &str) -> Result<(), String> {
    if filter.len() > LOG_BYTES_MAX {
        return Err(format!("it is longer than {LOG_BYTES_MAX} bytes"));
    }
    filter.split(',').try_for_each(check_log_part)
}

fn check_log_part(part: &str) -> Result<(), String> {
    let (target, level) = part.split_once('=').map_or((None, part), |(target, level)| (Some(target), level));
    if let Some(target) = target
        && !is_target(target)
    {
        return Err(format!("{} is not the name of a target", quoted(target)));
    }
    if LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let meant = nearest(level, LEVELS).map(|near| format!(": did you mean `{near}`?"));
    let meant = meant.unwrap_or_else(|| format!(", which is one of {}", LEVELS.join(", ")));
    Err(format!("{} is not a level{meant}", quoted(level)))
}

fn is_target(target: &str) -> bool {
    !target.is_empty() && target.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':'))
}

pub(super) fn log(text: &str) -> Result<String, String> {
    check_log(text).map(|()| text.to_owned())
}

pub(super) fn interface(text: &str) -> Result<String, String> {
    check_interface_name(text).map(|()| text.to_owned()).map_err(|bad| bad.to_string())
}

/// A path; from a flag it may depend on where one stands, from anywhere else it may not.
pub(super) fn path(text: &str, origin: &Origin) -> Result<PathBuf, String> {
    let may_be_relative = matches!(origin, Origin::Flag(_));
    match text {
        "" => Err("it is empty".into()),
        text if text.contains('\0') => Err("it has a NUL byte".into()),
        text if text.len() > PATH_BYTES_MAX => Err(format!("it is longer than {PATH_BYTES_MAX} bytes")),
        text if !text.starts_with('/') && !may_be_relative => {
            Err("it must start with `/`, or it would depend on where the agent is started".into())
        }
        text => Ok(text.into()),
    }
}

pub(super) fn run_dir(text: &str, origin: &Origin) -> Result<PathBuf, String> {
    if text.len() > RUN_DIR_BYTES_MAX {
        return Err(format!("it is longer than {RUN_DIR_BYTES_MAX} bytes, too long for a socket in it"));
    }
    path(text, origin)
}

pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it can be {} to {}", range.start(), range.end()))
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    number(text, PORT_RANGE).and_then(|port| u16::try_from(port).map_err(|error| error.to_string()))
}

/// Where a member of etcd is; what exactly is wrong with it is told when it is asked.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_one = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace));
    if is_one && text.len() <= ENDPOINT_BYTES_MAX {
        Ok(text.to_owned())
    } else {
        Err("it is written as https://10.0.0.1:2379".to_owned())
    }
}

/// With the slash, so that the keys of one cluster never begin as those of another.
pub(super) fn etcd_prefix(text: &str) -> Result<String, String> {
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if (2..=ETCD_PREFIX_BYTES_MAX).contains(&text.len()) && text.ends_with('/') && is_plain {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "it has up to {ETCD_PREFIX_BYTES_MAX} bytes, no blanks, and ends with a slash, as /byway/"
        ))
    }
}

pub(super) fn etcd_user(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && !text.contains(char::is_control);
    if is_plain && text.len() <= ETCD_USER_BYTES_MAX {
        Ok(text.to_owned())
    } else {
        Err(format!("a user has 1 to {ETCD_USER_BYTES_MAX} bytes"))
    }
}

/// An address that other hosts can send to.
pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    let address: Option<IpAddr> = text.parse().ok();
    let is_one = |address: &IpAddr| !(address.is_unspecified() || address.is_multicast());
    address.filter(is_one).ok_or_else(|| "it is written as 192.168.199.41 or fd00::41".to_owned())
}

/// An address and a port; no host name, as whoever can be asked by strangers should know by what address.
pub(super) fn metrics(text: &str) -> Result<SocketAddr, String> {
    let at: Option<SocketAddr> = text.parse().ok().filter(|at: &SocketAddr| at.port() != 0);
    at.ok_or_else(|| "it must be an address and a port, as in 127.0.0.1:9172 or [::1]:9172".to_owned())
}

/// Docker's own rule for names of networks (moby `daemon/names`).
pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it can be `on` or `off`".to_owned()),
    }
}

pub(super) fn network(text: &str) -> Result<String, String> {
    let first_is_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let rest_is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if first_is_plain && rest_is_plain && text.len() <= NETWORK_NAME_BYTES_MAX {
        Ok(text.to_owned())
    } else {
        Err("Docker's names have letters, digits and _ . - and start with a letter or a digit".to_owned())
    }
}

/// Whether there are too many names, or one stands there twice.
pub(super) fn check_names<T: PartialEq + Display>(names: &[T], most: usize) -> Result<(), String> {
    if names.len() > most {
        return Err(format!("it has {} entries, more than {most}", names.len()));
    }
    let twice = names.iter().enumerate().find(|(nth, name)| names[..*nth].contains(name));
    twice.map_or(Ok(()), |(_, name)| Err(format!("it lists {} twice", quoted(&name.to_string()))))
}
