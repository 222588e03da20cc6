//! Where etcd is, and as whom we come.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The most endpoints: etcd advises against more than seven members, and each costs time when none answers.
pub const ENDPOINTS_MAX: usize = 9;
/// The longest prefix, in bytes: it is part of every key.
const PREFIX_BYTES_MAX: usize = 256;
/// The longest endpoint in bytes: a DNS name has at most 253.
const ENDPOINT_BYTES_MAX: usize = 300;
/// Where etcd listens if nothing is said.
const PORT: u16 = 2379;

/// Where etcd is, and as whom we come.
#[derive(Debug, Clone)]
pub struct Options {
    /// The members, in the order in which they are tried.
    pub endpoints: Vec<Endpoint>,
    /// For the endpoints with `https`.
    pub tls: TlsFiles,
    /// For a cluster with users.
    pub login: Option<Login>,
    /// What all of our keys begin with; ends with a slash.
    pub prefix: String,
}

/// The files of TLS, in PEM. They are read whenever a connection is made.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// Who may vouch for the members; if it is not said, whom this host trusts.
    pub ca: Option<PathBuf>,
    /// Our own certificate (with what leads from it to the CA), and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that a member's certificate must have; if it is not said, the endpoint's host.
    pub server_name: Option<String>,
}

/// A user of etcd.
#[derive(Debug, Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Password,
}

/// A password, which is never shown.
#[derive(Clone)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Where a member listens for clients, such as `https://10.0.0.1:2379`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// A name or an address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no endpoint of etcd: {why} (it is written https://HOST:PORT)")]
pub struct BadEndpoint {
    /// The text.
    text: String,
    /// What is wrong.
    why: &'static str,
}

/// Options with which nobody could be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOptions {
    /// None, or too many.
    #[error("etcd needs 1 to {ENDPOINTS_MAX} endpoints, not {0}")]
    Endpoints(usize),
    /// Not below which other keys could not be ours.
    #[error("the prefix `{0}` must be 2 to {PREFIX_BYTES_MAX} bytes long and end with a slash")]
    Prefix(String),
}

impl Options {
    /// What is wrong with them, as far as it can be told without asking.
    pub(super) fn check(&self) -> Result<(), BadOptions> {
        if !(1..=ENDPOINTS_MAX).contains(&self.endpoints.len()) {
            return Err(BadOptions::Endpoints(self.endpoints.len()));
        }
        // Without the slash, `/byway/test` would hold the keys of `/byway/test2` too.
        let prefix = &self.prefix;
        if !(2..=PREFIX_BYTES_MAX).contains(&prefix.len()) || !prefix.ends_with('/') {
            return Err(BadOptions::Prefix(super::printable(prefix.as_bytes())));
        }
        Ok(())
    }
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = |why| BadEndpoint { text: super::printable(text.as_bytes()), why };
        if text.len() > ENDPOINT_BYTES_MAX {
            return Err(bad("it is too long"));
        }
        let uri: hyper::Uri = text.parse().map_err(|_| bad("it is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("it has to say http or https")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("a user is said elsewhere"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("it has a path"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let has_port = !authority.as_str().ends_with(authority.host());
        let port = if has_port { authority.port_u16().ok_or_else(|| bad("its port is none"))? } else { PORT };
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tls, host, port } = self;
        let scheme = if *tls { "https" } else { "http" };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_without_a_path() {
        for (text, said) in [
            ("https://etcd.example:2379", "https://etcd.example:2379"),
            ("http://10.0.0.1", "http://10.0.0.1:2379"),
            ("https://[fd00::1]:4001/", "https://[fd00::1]:4001"),
            ("https://[fd00::1]", "https://[fd00::1]:2379"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), said);
        }
        for text in [
            "",
            "etcd.example:2379",
            "ftp://a",
            "https://",
            "https://u:p@a",
            "https://a/b",
            "https://a:x",
            "http://a:70000",
        ] {
            text.parse::<Endpoint>().unwrap_err();
        }
    }

    #[test]
    fn a_prefix_ends_where_a_name_does() {
        let options = |prefix: &str, endpoints| Options {
            endpoints: vec!["http://a".parse().unwrap(); endpoints],
            tls: TlsFiles::default(),
            login: None,
            prefix: prefix.to_owned(),
        };
        assert_eq!(options("/byway/", 1).check(), Ok(()));
        assert_eq!(options("/byway", 1).check(), Err(BadOptions::Prefix("/byway".to_owned())));
        assert_eq!(options("/", 1).check(), Err(BadOptions::Prefix("/".to_owned())));
        assert_eq!(options("/byway/", 0).check(), Err(BadOptions::Endpoints(0)));
        assert_eq!(options("/byway/", 10).check(), Err(BadOptions::Endpoints(10)));
    }

    #[test]
    fn a_password_is_not_shown() {
        let login = Login { user: "byway".to_owned(), password: Password("secret".to_owned()) };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
