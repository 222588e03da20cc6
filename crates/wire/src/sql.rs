//! Statements of MySQL and MariaDB as text: tokens, the digest, the mask, and what a statement does to its session.
//!
//! Nothing here parses: a lexer finds where literals, names and comments begin and end, and everything else is built
//! on that. It never fails, as what was captured may be cut, damaged or not SQL at all.
//!
//! ```text
//! text ──> Tokens ──> fingerprint ──> DigestId        one line for all statements that differ in their values
//!             ├─────> mask                             the same text without its values
//!             └─────> statements, used_database, …     what it does to the session
//! ```
//!
//! A text is bytes in which every byte below 0x80 is ASCII: UTF-8 and the one-byte character sets. Decode the text of
//! a connection that speaks GBK, Shift-JIS or Big5 before ([`crate::mysql::text::Charset::decode`]), as the second
//! byte of their characters may be a backslash. Of a text with a hole only the part before the hole is fit for a
//! [`mask`]: what comes after it may begin within a literal.

mod fingerprint;
mod mask;
mod session;
mod token;
mod union;

pub use fingerprint::{DigestId, fingerprint};
pub use mask::mask;
pub use session::{Statements, client_charset, statements, used_database, verb};
pub use token::{Backslashes, Kind, Token, Tokens};
