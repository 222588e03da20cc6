//! The keys of one direction, and records opened with them.

use std::ops::Range;

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use ring::hmac;

use super::key_log::{RANDOM_BYTES, Secret};
use super::record::{HEADER_BYTES, content};
use super::suite::{Cipher, Hash, Protection};

/// The longest key of the ciphers here.
const KEY_BYTES_MAX: usize = 32;
/// The part of a nonce that TLS 1.2 sends with each GCM record (RFC 5288, 3).
const EXPLICIT_BYTES: usize = 8;
/// Of GCM and of Poly1305.
const TAG_BYTES: usize = 16;
/// What both ends' keys and nonces of TLS 1.2 need at most.
const KEY_BLOCK_BYTES_MAX: usize = 2 * (KEY_BYTES_MAX + NONCE_LEN);

/// Opens the records of one direction.
pub(super) struct Opener {
    key: LessSafeKey,
    base: [u8; NONCE_LEN],
    protection: Protection,
    rules: Rules,
}

/// How a version protects a record.
enum Rules {
    /// RFC 5246, 6.2.3.3, with RFC 5288 or RFC 7905.
    Tls12,
    /// RFC 8446, 5.2; with the secret from which the next one is made.
    Tls13 { secret: Secret },
}

/// A record that was opened.
pub(super) struct Opened {
    /// What it carries.
    pub(super) kind: u8,
    /// Where that is in the record.
    pub(super) range: Range<usize>,
}

/// The openers of a connection's two ends.
pub(super) struct Pair {
    pub(super) client: Opener,
    pub(super) server: Opener,
}

impl Pair {
    /// Of TLS 1.2, from its master secret (RFC 5246, 6.3); `None` if the secret does not fit.
    pub(super) fn tls12(
        protection: Protection,
        master: &Secret,
        client_random: &[u8; RANDOM_BYTES],
        server_random: &[u8; RANDOM_BYTES],
    ) -> Option<Self> {
        let key_bytes = protection.cipher.key_bytes();
        let base_bytes = match protection.cipher {
            Cipher::Aes128Gcm | Cipher::Aes256Gcm => NONCE_LEN - EXPLICIT_BYTES,
            Cipher::ChaCha20Poly1305 => NONCE_LEN,
        };
        let mut block = [0; KEY_BLOCK_BYTES_MAX];
        let seed = [&b"key expansion"[..], server_random, client_random];
        expand_tls12(protection.hash, master.bytes(), &seed, &mut block);
        let (client_key, rest) = block.split_at(key_bytes);
        let (server_key, rest) = rest.split_at(key_bytes);
        let (client_base, rest) = rest.split_at(base_bytes);
        let server_base = rest.get(..base_bytes)?;
        let opener = |key, base: &[u8]| {
            let mut whole = [0; NONCE_LEN];
            whole[..base.len()].copy_from_slice(base);
            Some(Opener { key: bind(protection.cipher, key)?, base: whole, protection, rules: Rules::Tls12 })
        };
        Some(Self { client: opener(client_key, client_base)?, server: opener(server_key, server_base)? })
    }

    /// Of TLS 1.3, from the traffic secrets of both ends; `None` if they do not fit.
    pub(super) fn tls13(protection: Protection, client: &Secret, server: &Secret) -> Option<Self> {
        let fits = |secret: &Secret| secret.bytes().len() == protection.hash.bytes();
        let opener = |secret: &Secret| fits(secret).then(|| Opener::tls13(protection, secret.clone()))?;
        Some(Self { client: opener(client)?, server: opener(server)? })
    }
}

impl Opener {
    /// RFC 8446, 7.3
    fn tls13(protection: Protection, secret: Secret) -> Option<Self> {
        let mut key = [0; KEY_BYTES_MAX];
        let key = &mut key[..protection.cipher.key_bytes()];
        let mut base = [0; NONCE_LEN];
        expand_label(protection.hash, secret.bytes(), b"key", key);
        expand_label(protection.hash, secret.bytes(), b"iv", &mut base);
        Some(Self { key: bind(protection.cipher, key)?, base, protection, rules: Rules::Tls13 { secret } })
    }

    /// The one after a key update (RFC 8446, 7.2); TLS 1.2 has none.
    pub(super) fn next(&self) -> Option<Self> {
        let Rules::Tls13 { secret } = &self.rules else { return None };
        let mut next = [0; 48];
        let next = &mut next[..secret.bytes().len()];
        expand_label(self.protection.hash, secret.bytes(), b"traffic upd", next);
        Self::tls13(self.protection, Secret::new(next)?)
    }

    pub(super) fn is_tls13(&self) -> bool {
        matches!(self.rules, Rules::Tls13 { .. })
    }

    /// How many bytes of the application a record with so much content carries: exact in TLS 1.2, and in TLS 1.3 as long
    /// as nobody pads.
    pub(super) fn plain_length(&self, content: u64) -> u64 {
        let kind = u64::from(self.is_tls13());
        content.saturating_sub((self.explicit_bytes() + TAG_BYTES) as u64 + kind)
    }

    /// How far behind the header the ciphertext starts.
    pub(super) fn explicit_bytes(&self) -> usize {
        match (&self.rules, self.protection.cipher) {
            (Rules::Tls12, Cipher::Aes128Gcm | Cipher::Aes256Gcm) => EXPLICIT_BYTES,
            (Rules::Tls12, Cipher::ChaCha20Poly1305) | (Rules::Tls13 { .. }, _) => 0,
        }
    }

    /// Opens a record with its header in place; `None` if it is not the one with this number, or was changed. Then its
    /// content is worthless.
    pub(super) fn open(&self, sequence: u64, record: &mut [u8]) -> Option<Opened> {
        let (header, content) = record.split_first_chunk_mut::<HEADER_BYTES>()?;
        let (explicit, sealed) = content.split_at_mut_checked(self.explicit_bytes())?;
        let nonce = Nonce::assume_unique_for_key(self.nonce(sequence, explicit));
        let length = sealed.len().checked_sub(TAG_BYTES)?;
        let start = HEADER_BYTES + explicit.len();
        match self.rules {
            Rules::Tls12 => {
                let aad = aad_tls12(sequence, *header, length);
                self.key.open_in_place(nonce, Aad::from(aad), sealed).ok()?;
                Some(Opened { kind: header[0], range: start..start + length })
            }
            Rules::Tls13 { .. } => {
                let plain = self.key.open_in_place(nonce, Aad::from(*header), sealed).ok()?;
                // Behind the content its type, and then zeros as padding.
                let kind_at = plain.iter().rposition(|byte| *byte != 0)?;
                Some(Opened { kind: plain[kind_at], range: start..start + kind_at })
            }
        }
    }

    fn nonce(&self, sequence: u64, explicit: &[u8]) -> [u8; NONCE_LEN] {
        let mut nonce = self.base;
        let last = &mut nonce[NONCE_LEN - EXPLICIT_BYTES..];
        if explicit.is_empty() {
            last.iter_mut().zip(sequence.to_be_bytes()).for_each(|(byte, of_sequence)| *byte ^= of_sequence);
        } else {
            last.iter_mut().zip(explicit).for_each(|(byte, of_record)| *byte = *of_record);
        }
        nonce
    }
}

/// What is authenticated with a record of TLS 1.2: its number, type, version and the length of its content.
fn aad_tls12(sequence: u64, header: [u8; HEADER_BYTES], length: usize) -> [u8; 13] {
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&sequence.to_be_bytes());
    aad[8..11].copy_from_slice(&header[..3]);
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    aad[11..].copy_from_slice(&length.to_be_bytes());
    aad
}

/// Whether content of this type is the application's.
pub(super) fn is_application(kind: u8) -> bool {
    kind == content::APPLICATION_DATA
}

fn bind(cipher: Cipher, key: &[u8]) -> Option<LessSafeKey> {
    let algorithm = match cipher {
        Cipher::Aes128Gcm => &AES_128_GCM,
        Cipher::Aes256Gcm => &AES_256_GCM,
        Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
    };
    UnboundKey::new(algorithm, key).ok().map(LessSafeKey::new)
}

fn hmac_key(hash: Hash, secret: &[u8]) -> hmac::Key {
    let algorithm = match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha384 => hmac::HMAC_SHA384,
    };
    hmac::Key::new(algorithm, secret)
}

fn sign(key: &hmac::Key, parts: &[&[u8]]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// HKDF-Expand-Label without a context (RFC 8446, 7.1), for no more bytes than the hash has: one round of RFC 5869, 2.3.
fn expand_label(hash: Hash, secret: &[u8], label: &[u8], out: &mut [u8]) {
    let [_, length] = u16::try_from(out.len()).unwrap_or_default().to_be_bytes();
    let [_, label_length] = u16::try_from(b"tls13 ".len() + label.len()).unwrap_or_default().to_be_bytes();
    let parts = [&[0, length, label_length][..], b"tls13 ", label, &[0], &[1]];
    let block = sign(&hmac_key(hash, secret), &parts);
    out.iter_mut().zip(block.as_ref()).for_each(|(byte, made)| *byte = *made);
}

/// The pseudorandom function of TLS 1.2 (RFC 5246, 5).
fn expand_tls12(hash: Hash, secret: &[u8], seed: &[&[u8]; 3], out: &mut [u8]) {
    let key = hmac_key(hash, secret);
    let mut chain = sign(&key, seed);
    for block in out.chunks_mut(hash.bytes()) {
        let made = sign(&key, &[chain.as_ref(), seed[0], seed[1], seed[2]]);
        block.iter_mut().zip(made.as_ref()).for_each(|(byte, made)| *byte = *made);
        chain = sign(&key, &[chain.as_ref()]);
    }
}
