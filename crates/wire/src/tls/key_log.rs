//! The secrets of TLS connections, as programs write them to the file that `SSLKEYLOGFILE` names.
//!
//! One line is a label, the client's random and a secret, all but the label hexadecimal (RFC 9850). Only what opens
//! application data is kept. No secret is ever printed, and each is wiped when it goes.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use zeroize::Zeroize as _;

/// Connections whose secrets are kept, some 200 bytes each; beyond them the oldest go.
pub const KEYS_MAX: usize = 64 << 10;
/// The longest line that is read: label, random and secret have some 200 bytes.
pub const LINE_BYTES_MAX: usize = 1 << 10;
/// Bad lines that are told one by one; more are only counted. Somebody who gave the wrong file has seen enough.
pub const BAD_LINES_MAX: usize = 16;
/// A master secret of TLS 1.2 (RFC 5246, 8.1), and the longest hash of TLS 1.3 (SHA-384).
const SECRET_BYTES_MAX: usize = 48;
/// The shortest hash of TLS 1.3 (SHA-256).
const SECRET_BYTES_MIN: usize = 32;
/// The client's random in its hello, by which its secrets are found.
pub const RANDOM_BYTES: usize = 32;

/// A key log, read as it grows.
#[derive(Default)]
pub struct KeyLog {
    secrets: BTreeMap<[u8; RANDOM_BYTES], Secrets>,
    oldest_first: VecDeque<[u8; RANDOM_BYTES]>,
    /// The line that has not ended yet.
    half: Vec<u8>,
    line: u64,
    taken: u64,
    forgotten: u64,
    bad: Vec<BadLine>,
    bad_more: u64,
}

/// A line that is no line of a key log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadLine {
    /// Which, counted from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: LineFlaw,
}

/// What is wrong with a line of a key log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFlaw {
    /// More than [`LINE_BYTES_MAX`].
    TooLong,
    /// Not three words.
    Words,
    /// The second word is not the 32 bytes of a random in hexadecimal digits.
    Random,
    /// The third word is not hexadecimal digits, or has not as many as the label's secret has.
    Secret,
}

/// What the log has of one connection.
pub(super) enum Secrets {
    /// TLS up to 1.2: the master secret.
    Master(Secret),
    /// TLS 1.3: the first traffic secrets of application data; each has a line of its own.
    Traffic { client: Option<Secret>, server: Option<Secret> },
}

/// One secret; wiped when it goes.
#[derive(Clone)]
pub(super) struct Secret {
    bytes: [u8; SECRET_BYTES_MAX],
    length: usize,
}

/// The labels that are of use here.
enum Label {
    Master,
    ClientTraffic,
    ServerTraffic,
}

impl KeyLog {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what was written since the last time. A line may come in parts: it counts when its end has come.
    pub fn take(&mut self, text: &[u8]) {
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.half.len());
            self.half.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.line_ends();
            }
        }
    }

    /// No more will come: a last line without an end counts as well.
    pub fn finish(&mut self) {
        if !self.half.is_empty() {
            self.line_ends();
        }
    }

    /// How many connections it has secrets of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// How many secrets were ever taken: while it stays the same, there is nothing new to look for.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How many connections' secrets had to go for want of room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The first [`BAD_LINES_MAX`] lines that could not be read.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad
    }

    /// How many bad lines there were besides.
    #[must_use]
    pub fn bad_lines_more(&self) -> u64 {
        self.bad_more
    }

    pub(super) fn secrets(&self, random: &[u8; RANDOM_BYTES]) -> Option<&Secrets> {
        self.secrets.get(random)
    }

    fn line_ends(&mut self) {
        self.line += 1;
        let mut half = std::mem::take(&mut self.half);
        match read(&half) {
            Ok(Some((label, random, secret))) => self.put(&label, random, secret),
            Ok(None) => {}
            Err(why) if self.bad.len() < BAD_LINES_MAX => self.bad.push(BadLine { line: self.line, why }),
            Err(_) => self.bad_more += 1,
        }
        half.zeroize();
        self.half = half;
    }

    fn put(&mut self, label: &Label, random: [u8; RANDOM_BYTES], secret: Secret) {
        self.taken += 1;
        let secrets = self.secrets.entry(random).or_insert_with(|| {
            self.oldest_first.push_back(random);
            Secrets::Traffic { client: None, server: None }
        });
        match (label, &mut *secrets) {
            (Label::Master, _) => *secrets = Secrets::Master(secret),
            (Label::ClientTraffic, Secrets::Traffic { client, .. }) => *client = Some(secret),
            (Label::ServerTraffic, Secrets::Traffic { server, .. }) => *server = Some(secret),
            (Label::ClientTraffic, _) => *secrets = Secrets::Traffic { client: Some(secret), server: None },
            (Label::ServerTraffic, _) => *secrets = Secrets::Traffic { client: None, server: Some(secret) },
        }
        if self.secrets.len() > KEYS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.secrets.remove(&oldest);
            self.forgotten += 1;
        }
    }
}

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let mut secret = Self { bytes: [0; SECRET_BYTES_MAX], length: bytes.len() };
        secret.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(secret)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for KeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLog").field("connections", &self.len()).finish_non_exhaustive()
    }
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            LineFlaw::TooLong => "it is too long",
            LineFlaw::Words => "it is not a label, a client random and a secret",
            LineFlaw::Random => "its client random is not 64 hexadecimal digits",
            LineFlaw::Secret => "its secret has not the hexadecimal digits that its label calls for",
        };
        write!(f, "line {}: {why}", self.line)
    }
}

/// Reads a line; `None` if it has nothing of use.
fn read(line: &[u8]) -> Result<Option<(Label, [u8; RANDOM_BYTES], Secret)>, LineFlaw> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineFlaw::TooLong);
    }
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (Some(label), Some(random), Some(secret), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(LineFlaw::Words);
    };
    let label = match label {
        b"CLIENT_RANDOM" => Label::Master,
        b"CLIENT_TRAFFIC_SECRET_0" => Label::ClientTraffic,
        b"SERVER_TRAFFIC_SECRET_0" => Label::ServerTraffic,
        // Of the handshake, of exporters, of ECH and what else may come: none of it opens application data.
        _ => return Ok(None),
    };
    let mut client_random = [0; RANDOM_BYTES];
    (unhex(random, &mut client_random) == Some(RANDOM_BYTES)).then_some(()).ok_or(LineFlaw::Random)?;
    let mut bytes = [0; SECRET_BYTES_MAX];
    let length = unhex(secret, &mut bytes).ok_or(LineFlaw::Secret)?;
    let fits = length == SECRET_BYTES_MAX || (length == SECRET_BYTES_MIN && !matches!(label, Label::Master));
    let secret = Secret { bytes, length };
    if fits { Ok(Some((label, client_random, secret))) } else { Err(LineFlaw::Secret) }
}

/// Puts the bytes of hexadecimal digits at the start of `bytes` and says how many; `None` if they are no such digits or
/// too many.
fn unhex(digits: &[u8], bytes: &mut [u8]) -> Option<usize> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    for (pair, byte) in pairs.iter().zip(bytes.get_mut(..pairs.len())?) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(pairs.len())
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}
