//! What both sides of a connection have agreed to speak; everything later hangs on it.

/// The flags of the greeting and of the login, with MariaDB's own in the upper half.
///
/// Source: <https://mariadb.com/kb/en/connection/#capabilities> and MySQL's "Capabilities Flags".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Set by MySQL and old clients; unset by a MariaDB server or client, which then has flags of its own.
    pub const MYSQL: Self = Self(1);
    /// The login names a database.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// Compressed with zlib after the login.
    pub const COMPRESS: Self = Self(1 << 5);
    /// The protocol since 4.1.
    pub const PROTOCOL_41: Self = Self(1 << 9);
    /// TLS.
    pub const SSL: Self = Self(1 << 11);
    /// The answer to the password has its length in front.
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    /// The names of authentication plugins are told.
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    /// The login carries attributes of the client.
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// The length of the answer to the password is a length-encoded number.
    pub const PLUGIN_AUTH_LENENC: Self = Self(1 << 21);
    /// OK tells what changed in the session.
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// No EOF after column definitions, and OK in place of the EOF after rows.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// Column definitions can be left out.
    pub const OPTIONAL_RESULTSET_METADATA: Self = Self(1 << 25);
    /// Compressed with Zstandard after the login.
    pub const ZSTD_COMPRESSION: Self = Self(1 << 26);
    /// Statements can carry attributes.
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);
    /// MariaDB: reports of progress come before an answer.
    pub const MARIADB_PROGRESS: Self = Self(1 << 32);
    /// MariaDB: one EXECUTE for many rows of parameters.
    pub const MARIADB_BULK: Self = Self(1 << 34);
    /// MariaDB: more about each column.
    pub const MARIADB_EXTENDED_METADATA: Self = Self(1 << 35);
    /// MariaDB: column definitions of a prepared statement are sent once.
    pub const MARIADB_CACHE_METADATA: Self = Self(1 << 36);

    /// Whether all of `flags` are set.
    #[must_use]
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// What both have.
    #[must_use]
    pub fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The same with `flags` set or not.
    #[must_use]
    pub fn with(self, flags: Self, set: bool) -> Self {
        Self(if set { self.0 | flags.0 } else { self.0 & !flags.0 })
    }
}
