//! How a connection speaks: what was agreed on, or what was inferred where the agreement was not seen.

use super::capabilities::Capabilities;

/// What both sides can, and what hangs on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speech {
    /// What both have; only part of it, or nothing, where the login was not seen.
    pub(super) capabilities: Capabilities,
    /// Whether rows end with OK, and nothing ends column definitions. `None` until that is known.
    pub(super) deprecate_eof: Option<bool>,
    /// Whether the text of a query has attributes in front. `None` if that is to be seen each time.
    pub(super) query_attributes: Option<bool>,
}

impl Speech {
    /// As agreed on.
    pub(super) fn agreed(capabilities: Capabilities) -> Self {
        Self {
            capabilities,
            deprecate_eof: Some(capabilities.has(Capabilities::DEPRECATE_EOF)),
            query_attributes: Some(capabilities.has(Capabilities::QUERY_ATTRIBUTES)),
        }
    }

    /// Nobody told. The defaults are those that hardly anyone switches off.
    pub(super) fn unknown() -> Self {
        let capabilities = Capabilities::PROTOCOL_41.0 | Capabilities::SECURE_CONNECTION.0;
        Self { capabilities: Capabilities(capabilities), deprecate_eof: None, query_attributes: None }
    }

    /// Whether this query, without its first byte, has attributes in front of its text.
    pub(super) fn has_attributes(self, body: &[u8]) -> bool {
        // The number of attributes, and the number of sets, which is always 1: no SQL begins like that.
        self.query_attributes.unwrap_or(matches!(body, [..=8, 1, ..]))
    }
}
