//! TLS that is read along with the keys that one of its ends wrote down (`SSLKEYLOGFILE`).
//!
//! ```text
//! bytes of both sides ──> records ──> hellos: version, suite, client random ──> key log: keys
//!    (from the client hello on)  └──> opened ──> the application's bytes, each at its own place in the stream
//! ```
//!
//! TLS 1.2 and 1.3 with AES-GCM and ChaCha20-Poly1305 are opened; whatever else is met is told by its name. The handshake
//! is not checked in any way, as nothing depends on it here: a record that opens is what the ends meant.
//!
//! A gap costs the records that it hurts, and no more: those behind it are found and opened again.

mod held;
mod hello;
mod key_log;
mod keyed;
mod messages;
mod opener;
mod record;
mod suite;
mod told;

use std::fmt;

use held::{Fed, Held};
use hello::{ClientHello, ServerHello};
use key_log::Secrets;
use keyed::Keyed;
use messages::{Messages, kind};
use opener::Pair;
use record::{Records, content};

use crate::stream::{Gap, Piece, Side};

pub use key_log::{BAD_LINES_MAX, BadLine, KEYS_MAX, KeyLog, LINE_BYTES_MAX, LineFlaw, RANDOM_BYTES};
pub use keyed::{EFFORT_MAX, HANDSHAKE_RECORDS_MAX, RECORD_EFFORT_MAX};
pub use suite::{CipherSuite, Version};
pub use told::{Agreed, Counts, Event, Loss, Sealed, State};

/// What a live capture may hold of one connection until its keys come: a login with its certificates and some
/// statements. Programs write the keys down before they send the first of them, so it is a matter of milliseconds.
pub const HELD_BYTES: usize = 256 << 10;

/// One connection, from the first byte of its client hello on.
pub struct Tls {
    client: Side,
    held_max: usize,
    stage: Stage,
    /// By [`index`].
    ways: [Way; 2],
    agreed: Option<Agreed>,
}

/// One direction.
struct Way {
    records: Records,
    access: Access,
    counts: Counts,
}

/// What can be done with a direction's records.
enum Access {
    /// Hellos are looked for.
    Hello(Messages),
    Keyed(Box<Keyed>),
    Sealed(Sealed),
}

enum Stage {
    /// The hellos are not both there.
    Hellos { client: Option<ClientHello> },
    /// The keys are not there. `asked` is what [`KeyLog::taken`] said the last time.
    Waiting { server_random: [u8; RANDOM_BYTES], held: Held, asked: u64 },
    /// Everything that can be known is.
    Settled,
}

impl Tls {
    /// A connection of which nothing was seen. `client` is who sends the client hello; up to `held_max` bytes are held
    /// while keys are missing: [`HELD_BYTES`], or 0 if the key log will not grow.
    #[must_use]
    pub fn new(client: Side, held_max: usize) -> Self {
        let way = || Way {
            records: Records::new(),
            access: Access::Hello(Messages::default()),
            counts: Counts::default(),
        };
        let stage = Stage::Hellos { client: None };
        Self { client, held_max, stage, ways: [way(), way()], agreed: None }
    }

    /// Takes the next bytes of one side. The bytes of both must come in the order of cause and effect, as those of
    /// [`crate::stream`] do.
    pub fn piece(&mut self, side: Side, piece: &Piece<'_>, keys: &KeyLog, emit: &mut dyn FnMut(Event<'_>)) {
        self.keys_came(keys, emit);
        self.ways[index(side)].counts.wire_bytes += piece.bytes.len() as u64;
        self.feed(side, Fed::Piece(*piece), keys, emit);
    }

    /// Takes note of bytes that will not come.
    pub fn gap(&mut self, side: Side, gap: &Gap, keys: &KeyLog, emit: &mut dyn FnMut(Event<'_>)) {
        self.keys_came(keys, emit);
        let counts = &mut self.ways[index(side)].counts;
        counts.missing_bytes = counts.missing_bytes.saturating_add(gap.missing);
        self.feed(side, Fed::Gap(*gap), keys, emit);
    }

    /// The key log has grown: a connection that waits may be opened. Bytes that come see to it by themselves; this is for
    /// a connection that rests.
    pub fn keys_came(&mut self, keys: &KeyLog, emit: &mut dyn FnMut(Event<'_>)) {
        let Stage::Waiting { server_random, asked, .. } = &mut self.stage else { return };
        if *asked == keys.taken() {
            return;
        }
        *asked = keys.taken();
        let server_random = *server_random;
        if self.unlock(&server_random, keys, emit)
            && let Stage::Waiting { held, .. } = std::mem::replace(&mut self.stage, Stage::Settled)
        {
            held.each(|side, fed| self.feed(side, fed, keys, emit));
        }
    }

    /// The connection has ended. What still waits for keys will not be opened.
    pub fn end(&mut self, emit: &mut dyn FnMut(Event<'_>)) {
        if matches!(self.stage, Stage::Waiting { .. }) {
            self.seal_both(Sealed::NoKeys, emit);
        }
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> State {
        match (&self.stage, self.sealed(Side::First), self.sealed(Side::Second)) {
            (_, Some(why), Some(_)) => State::Sealed(why),
            (Stage::Hellos { .. }, ..) => State::Handshake,
            (Stage::Waiting { .. }, ..) => State::Waiting,
            (Stage::Settled, ..) => State::Open,
        }
    }

    /// Why nothing more of this side will be opened, if so.
    #[must_use]
    pub fn sealed(&self, side: Side) -> Option<Sealed> {
        match self.ways[index(side)].access {
            Access::Sealed(why) => Some(why),
            Access::Hello(_) | Access::Keyed(_) => None,
        }
    }

    /// What the hellos agreed on, once it is known.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// What was counted of this side.
    #[must_use]
    pub fn counts(&self, side: Side) -> Counts {
        self.ways[index(side)].counts
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        let held = match &self.stage {
            Stage::Waiting { held, .. } => held.memory(),
            Stage::Hellos { .. } | Stage::Settled => 0,
        };
        size_of::<Self>() + held + self.ways.iter().map(Way::memory).sum::<usize>()
    }

    fn feed(&mut self, side: Side, fed: Fed<'_>, keys: &KeyLog, emit: &mut dyn FnMut(Event<'_>)) {
        let fed = match (&self.stage, fed) {
            (Stage::Hellos { .. }, Fed::Piece(piece)) => {
                Fed::Piece(self.read_hellos(side, piece, keys, emit))
            }
            (Stage::Hellos { .. }, Fed::Gap(gap)) => {
                self.gap_in_hellos(side, keys, emit);
                Fed::Gap(gap)
            }
            (_, fed) => fed,
        };
        match &mut self.stage {
            Stage::Hellos { .. } => {}
            Stage::Waiting { held, .. } => {
                if !held.keep(side, &fed, self.held_max) {
                    self.seal_both(Sealed::NoKeys, emit);
                }
            }
            Stage::Settled => self.ways[index(side)].feed(side, fed, emit),
        }
    }

    /// Reads records until the hellos are there, and gives back what is left of the piece.
    fn read_hellos<'a>(
        &mut self,
        side: Side,
        mut piece: Piece<'a>,
        keys: &KeyLog,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Piece<'a> {
        while matches!(self.stage, Stage::Hellos { .. }) {
            let records = &mut self.ways[index(side)].records;
            let is_whole = records.fill(&mut piece);
            if records.searching_since().is_some() {
                self.seal_both(Sealed::NotTls, emit);
            } else if is_whole {
                let record = records.record().to_vec();
                records.next();
                self.hello_record(side, record[0], &record[record::HEADER_BYTES..], keys, emit);
            } else {
                break;
            }
        }
        piece
    }

    /// Bytes are missing before both hellos were there. The server's may be in front of them.
    fn gap_in_hellos(&mut self, side: Side, keys: &KeyLog, emit: &mut dyn FnMut(Event<'_>)) {
        if let Some((kind, content)) = self.ways[index(side)].records.partial() {
            let content = content.to_vec();
            self.hello_record(side, kind, &content, keys, emit);
        }
        if let Stage::Hellos { client } = &mut self.stage {
            match client.take().filter(|_| side != self.client) {
                Some(client) => self.agree_unheard(client, keys, emit),
                None => self.seal_both(Sealed::HelloLost, emit),
            }
        }
    }

    /// The server's hello was not seen, but TLS 1.3 needs nothing of it that the key log does not tell.
    fn agree_unheard(&mut self, client: ClientHello, keys: &KeyLog, emit: &mut dyn FnMut(Event<'_>)) {
        let suite = match keys.secrets(&client.random) {
            Some(Secrets::Traffic { server: Some(secret), .. }) => {
                client.suite_by_secret(secret.bytes().len())
            }
            _ => None,
        };
        let Some(suite) = suite else { return self.seal_both(Sealed::HelloLost, emit) };
        let (random, version) = ([0; RANDOM_BYTES], Version::TLS13);
        let server = ServerHello { random, version, suite, is_compressed: false, is_retry: false };
        self.agree(client, &server, keys, emit);
    }

    fn hello_record(
        &mut self,
        side: Side,
        kind: u8,
        content: &[u8],
        keys: &KeyLog,
        emit: &mut dyn FnMut(Event<'_>),
    ) {
        let Stage::Hellos { client } = &mut self.stage else { return };
        let Access::Hello(messages) = &mut self.ways[index(side)].access else { return };
        if kind == content::APPLICATION_DATA && client.is_none() {
            return self.seal_both(Sealed::Midstream, emit);
        }
        // Changes of cipher and data that a client sends ahead are of no use.
        if kind != content::HANDSHAKE {
            return;
        }
        let mut server = None;
        messages.take(content, |kind, body| match kind {
            kind::CLIENT_HELLO if side == self.client => *client = ClientHello::read(body),
            kind::SERVER_HELLO if side != self.client => server = ServerHello::read(body),
            _ => {}
        });
        if let Some(server) = server.filter(|server| !server.is_retry) {
            match client.take() {
                Some(client) => self.agree(client, &server, keys, emit),
                None => self.seal_both(Sealed::Midstream, emit),
            }
        }
    }

    fn agree(
        &mut self,
        client: ClientHello,
        server: &ServerHello,
        keys: &KeyLog,
        emit: &mut dyn FnMut(Event<'_>),
    ) {
        let agreed = Agreed {
            version: server.version,
            suite: server.suite,
            server_name: client.server_name,
            client_random: client.random,
            offers_early_data: client.offers_early_data,
        };
        emit(Event::Agreed(&agreed));
        let is_known = server.suite.protection(server.version).is_some();
        self.agreed = Some(agreed);
        if !matches!(server.version, Version::TLS12 | Version::TLS13) {
            self.seal_both(Sealed::Version(server.version), emit);
        } else if server.is_compressed {
            self.seal_both(Sealed::Compressed, emit);
        } else if !is_known {
            self.seal_both(Sealed::Suite(server.suite), emit);
        } else if self.unlock(&server.random, keys, emit) {
            self.stage = Stage::Settled;
        } else {
            let held = Held::default();
            self.stage = Stage::Waiting { server_random: server.random, held, asked: keys.taken() };
        }
    }

    /// Takes the keys from the log; `false` if it does not have them (yet).
    fn unlock(
        &mut self,
        server_random: &[u8; RANDOM_BYTES],
        keys: &KeyLog,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> bool {
        let Some(agreed) = &self.agreed else { return false };
        let Some(protection) = agreed.suite.protection(agreed.version) else { return false };
        let random = &agreed.client_random;
        let pair = match (agreed.version, keys.secrets(random)) {
            (Version::TLS13, Some(Secrets::Traffic { client: Some(client), server: Some(server) })) => {
                Pair::tls13(protection, client, server)
            }
            (Version::TLS12, Some(Secrets::Master(master))) => {
                Pair::tls12(protection, master, random, server_random)
            }
            _ => return false,
        };
        match pair {
            Some(Pair { client, server }) => {
                let sides = [(self.client, client), (self.client.other(), server)];
                for (side, opener) in sides {
                    self.ways[index(side)].access = Access::Keyed(Box::new(Keyed::new(side, opener)));
                }
            }
            None => self.seal_both(Sealed::KeysDoNotFit, emit),
        }
        true
    }

    fn seal_both(&mut self, why: Sealed, emit: &mut dyn FnMut(Event<'_>)) {
        self.stage = Stage::Settled;
        for side in [Side::First, Side::Second] {
            self.ways[index(side)].seal(side, why, emit);
        }
    }
}

impl Way {
    fn feed(&mut self, side: Side, fed: Fed<'_>, emit: &mut dyn FnMut(Event<'_>)) {
        let Access::Keyed(keyed) = &mut self.access else { return };
        let fed = match fed {
            Fed::Piece(piece) => keyed.piece(&mut self.records, piece, &mut self.counts, emit),
            Fed::Gap(gap) => {
                keyed.gap(&mut self.records, &gap, emit);
                Ok(())
            }
        };
        if let Err(why) = fed {
            self.seal(side, why, emit);
        }
    }

    /// Nothing more of it will be opened: nothing is kept of it.
    fn seal(&mut self, side: Side, why: Sealed, emit: &mut dyn FnMut(Event<'_>)) {
        self.access = Access::Sealed(why);
        self.records = Records::new();
        emit(Event::Sealed(side, why));
    }

    fn memory(&self) -> usize {
        let access = match &self.access {
            Access::Hello(messages) => messages.memory(),
            Access::Keyed(keyed) => keyed.memory(),
            Access::Sealed(_) => 0,
        };
        access + self.records.memory()
    }
}

/// Neither keys nor bytes: only how far it is.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Where a side's direction is.
fn index(side: Side) -> usize {
    match side {
        Side::First => 0,
        Side::Second => 1,
    }
}
