//! How a connection begins: the server's greeting and the client's login.
//!
//! Sources: <https://mariadb.com/kb/en/connection/>, MySQL's "Connection Phase". What authenticates is stepped over
//! and never kept.

use super::bytes::Bytes;
use super::capabilities::Capabilities;

/// Attributes of a client that are read; clients send about ten.
const ATTRIBUTES_MAX: usize = 256;

/// What the server says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting<'a> {
    /// Such as `8.4.0` or `5.5.5-10.11.6-MariaDB` (MariaDB before 11 puts `5.5.5-` in front).
    pub version: &'a [u8],
    /// The server's number of the connection, as in `SHOW PROCESSLIST`.
    pub connection_id: u32,
    /// What the server can.
    pub capabilities: Capabilities,
    /// The server's collation.
    pub collation: u8,
    /// The authentication plugin that it begins with; empty if it does not say.
    pub plugin: &'a [u8],
}

impl<'a> Greeting<'a> {
    /// Reads the payload of the first packet.
    #[must_use]
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(payload);
        if bytes.u8()? != 10 {
            return None;
        }
        let version = bytes.until_nul()?;
        let connection_id = bytes.u32()?;
        bytes.take(8 + 1)?;
        let lower = u64::from(bytes.u16()?);
        let mut greeting =
            Self { version, connection_id, capabilities: Capabilities(lower), collation: 0, plugin: &[] };
        greeting.read_more(&mut bytes);
        Some(greeting)
    }

    /// What servers before 4.1 did not say.
    fn read_more(&mut self, bytes: &mut Bytes<'a>) -> Option<()> {
        self.collation = bytes.u8()?;
        bytes.u16()?;
        self.capabilities.0 |= u64::from(bytes.u16()?) << 16;
        let scramble = usize::from(bytes.u8()?);
        bytes.take(6)?;
        let extended = u64::from(bytes.u32()?);
        if !self.capabilities.has(Capabilities::MYSQL) {
            self.capabilities.0 |= extended << 32;
        }
        bytes.take(scramble.saturating_sub(8).max(13))?;
        self.plugin = bytes.until_nul().unwrap_or_else(|| bytes.rest());
        Some(())
    }
}

/// What the client answers to the greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'a> {
    /// What the client wants to speak.
    pub capabilities: Capabilities,
    /// The longest packet that it takes, in bytes.
    pub packet_max: u32,
    /// The collation of its statements, of which the lower byte is told.
    pub collation: u8,
    /// Who logs in.
    pub user: &'a [u8],
    /// The database that it begins in; empty if it names none.
    pub database: &'a [u8],
    /// The authentication plugin that it begins with; empty if it does not say.
    pub plugin: &'a [u8],
    /// What it tells of itself.
    pub attributes: Attributes<'a>,
}

/// Names and values that a client tells of itself, such as `program_name` and `mysql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Each name and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut bytes = Bytes(self.0);
        std::iter::from_fn(move || Some((bytes.lenenc_bytes()?, bytes.lenenc_bytes()?))).take(ATTRIBUTES_MAX)
    }
}

/// What the client's first message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FirstWords<'a> {
    Login(Login<'a>),
    /// From the next byte on there is TLS.
    TlsPlease(Capabilities),
}

/// The fixed part of a login, and the whole of a request for TLS.
const FIXED: usize = 32;

impl<'a> FirstWords<'a> {
    /// Reads the payload of the client's first packet, and of the next one after TLS has begun.
    pub(super) fn read(payload: &'a [u8]) -> Option<Self> {
        let mut bytes = Bytes(payload);
        let lower = u64::from(bytes.u32()?);
        if !Capabilities(lower).has(Capabilities::PROTOCOL_41) {
            return None;
        }
        let packet_max = bytes.u32()?;
        let collation = bytes.u8()?;
        bytes.take(19)?;
        let extended = u64::from(bytes.u32()?);
        let is_mysql = Capabilities(lower).has(Capabilities::MYSQL);
        let capabilities = Capabilities(if is_mysql { lower } else { lower | extended << 32 });
        if payload.len() == FIXED && capabilities.has(Capabilities::SSL) {
            return Some(Self::TlsPlease(capabilities));
        }
        let none = Attributes::default();
        let mut login = Login {
            capabilities,
            packet_max,
            collation,
            user: &[],
            database: &[],
            plugin: &[],
            attributes: none,
        };
        login.user = bytes.until_nul()?;
        login.read_more(&mut bytes);
        Some(Self::Login(login))
    }
}

impl<'a> Login<'a> {
    fn read_more(&mut self, bytes: &mut Bytes<'a>) -> Option<()> {
        let has = |flags| self.capabilities.has(flags);
        if has(Capabilities::PLUGIN_AUTH_LENENC) {
            bytes.lenenc_bytes()?;
        } else if has(Capabilities::SECURE_CONNECTION) {
            let length = usize::from(bytes.u8()?);
            bytes.take(length)?;
        } else {
            bytes.until_nul()?;
        }
        if has(Capabilities::CONNECT_WITH_DB) {
            self.database = bytes.until_nul()?;
        }
        if has(Capabilities::PLUGIN_AUTH) {
            self.plugin = bytes.until_nul()?;
        }
        if has(Capabilities::CONNECT_ATTRS) {
            self.attributes = Attributes(bytes.lenenc_bytes()?);
        }
        Some(())
    }
}

/// What `COM_CHANGE_USER` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChangeUser<'a> {
    pub(super) user: &'a [u8],
    pub(super) database: &'a [u8],
    pub(super) collation: Option<u16>,
}

impl<'a> ChangeUser<'a> {
    /// Reads the message without its first byte.
    pub(super) fn read(payload: &'a [u8], capabilities: Capabilities) -> Option<Self> {
        let mut bytes = Bytes(payload);
        let user = bytes.until_nul()?;
        if capabilities.has(Capabilities::SECURE_CONNECTION) {
            let length = usize::from(bytes.u8()?);
            bytes.take(length)?;
        } else {
            bytes.until_nul()?;
        }
        let database = bytes.until_nul()?;
        Some(Self { user, database, collation: bytes.u16() })
    }
}
