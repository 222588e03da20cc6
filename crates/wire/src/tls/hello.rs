//! The two messages that are read of a handshake: the hellos (RFC 8446, 4.1.2 and 4.1.3; RFC 5246, 7.4.1).

use super::key_log::RANDOM_BYTES;
use super::suite::{CipherSuite, Version};

/// The longest server name (RFC 6066, 3: a host name as DNS has it).
const SERVER_NAME_BYTES_MAX: usize = 255;

/// TLS 1.3 has three suites that can be opened; a hello may repeat them.
const SUITES_MAX: usize = 8;

/// Extensions (<https://www.iana.org/assignments/tls-extensiontype-values>).
mod extension {
    pub(super) const SERVER_NAME: u16 = 0;
    pub(super) const EARLY_DATA: u16 = 42;
    pub(super) const SUPPORTED_VERSIONS: u16 = 43;
}

/// What makes a server hello the request for another client hello: SHA-256 of "`HelloRetryRequest`" (RFC 8446, 4.1.3).
const RETRY: [u8; RANDOM_BYTES] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a client said first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientHello {
    pub(super) random: [u8; RANDOM_BYTES],
    pub(super) server_name: Option<String>,
    pub(super) offers_early_data: bool,
    /// The suites of TLS 1.3 among those it offers that can be opened.
    offered: Vec<CipherSuite>,
}

/// What a server chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub(super) random: [u8; RANDOM_BYTES],
    pub(super) version: Version,
    pub(super) suite: CipherSuite,
    pub(super) is_compressed: bool,
    /// Whether it chose nothing yet and asks for another client hello.
    pub(super) is_retry: bool,
}

impl ClientHello {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut body = Rest(body);
        body.number()?;
        let random = body.array()?;
        body.short()?;
        let (suites, _) = body.long()?.as_chunks();
        body.short()?;
        let suites = suites.iter().map(|suite| CipherSuite(u16::from_be_bytes(*suite)));
        let offered =
            suites.filter(|suite| suite.protection(Version::TLS13).is_some()).take(SUITES_MAX).collect();
        let mut hello = Self { random, server_name: None, offers_early_data: false, offered };
        // Up to TLS 1.2 there may be no extensions at all.
        for (kind, value) in body.long().into_iter().flat_map(Extensions) {
            match kind {
                extension::SERVER_NAME => hello.server_name = server_name(value),
                extension::EARLY_DATA => hello.offers_early_data = true,
                _ => {}
            }
        }
        Some(hello)
    }

    /// The suite of TLS 1.3 that the server must have chosen, as its secrets have so many bytes; `None` if there are two.
    pub(super) fn suite_by_secret(&self, length: usize) -> Option<CipherSuite> {
        let fits = |suite: &CipherSuite| {
            suite.protection(Version::TLS13).is_some_and(|protection| protection.hash.bytes() == length)
        };
        let mut fitting = self.offered.iter().copied().filter(fits);
        let suite = fitting.next()?;
        fitting.all(|other| other == suite).then_some(suite)
    }
}

impl ServerHello {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut body = Rest(body);
        let version = Version(body.number()?);
        let random = body.array()?;
        body.short()?;
        let suite = CipherSuite(body.number()?);
        let is_compressed = body.array::<1>()? != [0];
        let mut hello = Self { random, version, suite, is_compressed, is_retry: random == RETRY };
        for (kind, value) in body.long().into_iter().flat_map(Extensions) {
            if kind == extension::SUPPORTED_VERSIONS {
                hello.version = Version(Rest(value).number()?);
            }
        }
        Some(hello)
    }
}

/// The host name of the extension; names of other kinds were never made.
fn server_name(extension: &[u8]) -> Option<String> {
    let mut list = Rest(Rest(extension).long()?);
    let [0] = list.array::<1>()? else { return None };
    let name = list.long()?;
    let is_name = name.len() <= SERVER_NAME_BYTES_MAX && name.iter().all(u8::is_ascii_graphic);
    is_name.then(|| String::from_utf8_lossy(name).into_owned())
}

/// What is left of a message.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// A vector with one byte for its length.
    fn short(&mut self) -> Option<&'a [u8]> {
        let [length] = self.array()?;
        self.bytes(length.into())
    }

    /// A vector with two bytes for its length.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.bytes(length.into())
    }
}

/// Goes through extensions; ends where they make no sense.
struct Extensions<'a>(&'a [u8]);

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = Rest(self.0);
        let extension = (rest.number()?, rest.long()?);
        self.0 = rest.0;
        Some(extension)
    }
}
