//! The public key of a host, as people write it: the 44 characters that users of `wg` know.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The length of a key in bytes (Ed25519, RFC 8032, 5.1.5).
pub const KEY_BYTES: usize = 32;

/// The length of a key as text: base64 with its padding (RFC 4648, 4).
pub const KEY_CHARACTERS: usize = 44;

/// By what a host proves that it is the one that the inventory lists: an Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    /// The key of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// A text that cannot be a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has 44 characters, as `byway key` prints it on its host")]
pub struct BadPublicKey;

/// The 32 bytes of a key, public or private, from its text.
///
/// # Errors
/// When it is not base64 with padding, of exactly 32 bytes, in the one way in which they can be written.
pub fn key_bytes(text: &str) -> Result<[u8; KEY_BYTES], BadPublicKey> {
    if text.len() != KEY_CHARACTERS {
        return Err(BadPublicKey);
    }
    let bytes = STANDARD.decode(text).map_err(|_| BadPublicKey)?;
    bytes.try_into().map_err(|_| BadPublicKey)
}

/// The text of the 32 bytes of a key.
#[must_use]
pub fn key_text(bytes: &[u8; KEY_BYTES]) -> String {
    STANDARD.encode(bytes)
}

impl FromStr for PublicKey {
    type Err = BadPublicKey;

    fn from_str(text: &str) -> Result<Self, BadPublicKey> {
        key_bytes(text).map(Self)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = BadPublicKey;

    fn try_from(text: String) -> Result<Self, BadPublicKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&key_text(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_is_written() {
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(*key.as_bytes(), std::array::from_fn(|at| u8::try_from(at).unwrap()));
        assert_eq!(key.to_string(), text);
        assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<PublicKey>(&format!("\"{text}\"")).unwrap(), key);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let wrong = [
            "",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", // two texts for the same bytes are one too many
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= ",
            " AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh-=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
            "üüüüüüüüüüüüüüüüüüüüüü",
        ];
        for text in wrong {
            assert_eq!(text.parse::<PublicKey>(), Err(BadPublicKey), "{text}");
        }
    }
}
