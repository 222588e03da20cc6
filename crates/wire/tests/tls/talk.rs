//! Two real ends of TLS that talk in memory, and whoever reads along.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};

use byway_wire::stream::{Gap, Missing, Piece, Side};
use byway_wire::tls::{Event, KeyLog, Tls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    ClientConfig, ClientConnection, Connection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureAlgorithm, SignatureScheme, SupportedCipherSuite,
};

pub(crate) const CLIENT: Side = Side::First;
pub(crate) const SERVER: Side = Side::Second;

/// A client and a server, and the keys that the client wrote down.
pub(crate) struct Talk {
    ends: [Connection; 2],
    keys: Arc<Lines>,
}

/// What both ends need to know before they talk; a second talk with it resumes the first.
#[derive(Clone)]
pub(crate) struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    keys: Arc<Lines>,
}

impl Ends {
    pub(crate) fn with(suite: SupportedCipherSuite) -> Self {
        let provider =
            Arc::new(rustls::crypto::CryptoProvider { cipher_suites: vec![suite], ..default_provider() });
        let version = suite.version();
        let keys = Arc::new(Lines::default());
        let certificate =
            Arc::new(CertifiedKey::new(vec![CertificateDer::from(vec![7; 3000])], Arc::new(NoKey(suite))));
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(OneCertificate(certificate)));
        server.max_early_data_size = 1 << 10;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trust))
            .with_no_client_auth();
        client.key_log = keys.clone();
        client.enable_early_data = true;
        Self { client: Arc::new(client), server: Arc::new(server), keys }
    }

    pub(crate) fn meet(&self) -> Talk {
        let name = ServerName::try_from("db.example").unwrap();
        let mut client = ClientConnection::new(self.client.clone(), name).unwrap();
        let mut server = ServerConnection::new(self.server.clone()).unwrap();
        client.set_buffer_limit(None);
        server.set_buffer_limit(None);
        Talk { ends: [client.into(), server.into()], keys: self.keys.clone() }
    }
}

impl Talk {
    /// The handshake: what each side sent, in order.
    pub(crate) fn shake(&mut self) -> Vec<(Side, Vec<u8>)> {
        let mut wire = Vec::new();
        while self.ends.iter().any(|end| end.is_handshaking() || end.wants_write()) {
            for side in [CLIENT, SERVER] {
                let bytes = self.flush(side);
                if !bytes.is_empty() {
                    wire.push((side, bytes));
                }
            }
        }
        wire
    }

    /// The client says something before the server has answered its hello; only after a resumption.
    pub(crate) fn say_early(&mut self, text: &[u8]) {
        let Connection::Client(client) = &mut self.ends[0] else { unreachable!("the first is the client") };
        client.early_data().unwrap().write_all(text).unwrap();
    }

    /// One side says something: its bytes on the wire.
    pub(crate) fn say(&mut self, side: Side, text: &[u8]) -> Vec<u8> {
        self.ends[at(side)].writer().write_all(text).unwrap();
        self.flush(side)
    }

    /// One side takes new keys.
    pub(crate) fn rekey(&mut self, side: Side) -> Vec<u8> {
        self.ends[at(side)].refresh_traffic_keys().unwrap();
        self.flush(side)
    }

    /// One side says good-bye.
    pub(crate) fn close(&mut self, side: Side) -> Vec<u8> {
        self.ends[at(side)].send_close_notify();
        self.flush(side)
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.ends[0].handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The key log as it is now.
    pub(crate) fn keys(&self) -> String {
        self.keys.0.lock().unwrap().clone()
    }

    fn flush(&mut self, side: Side) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.ends[at(side)].wants_write() {
            self.ends[at(side)].write_tls(&mut bytes).unwrap();
        }
        let other = &mut self.ends[at(side.other())];
        let mut unread = &bytes[..];
        let mut heard = Vec::new();
        while !unread.is_empty() {
            other.read_tls(&mut unread).unwrap();
            let waits = other.process_new_packets().unwrap().plaintext_bytes_to_read();
            heard.resize(waits, 0);
            other.reader().read_exact(&mut heard).unwrap();
        }
        bytes
    }
}

/// Reads along, and writes down what it is told.
pub(crate) struct Watch {
    pub(crate) tls: Tls,
    pub(crate) keys: KeyLog,
    pub(crate) notes: Notes,
    sent: [u64; 2],
    now_ns: u64,
}

/// What was told.
#[derive(Default)]
pub(crate) struct Notes {
    /// The bytes of both sides.
    pub(crate) plain: [Vec<u8>; 2],
    /// The server's bytes with their places in its stream.
    pub(crate) places: Vec<(usize, Vec<u8>)>,
    /// What was lost of the server's: place and length, if that was told.
    pub(crate) holes: Vec<(usize, usize)>,
    /// All of it in words, in its order.
    pub(crate) text: String,
}

impl Watch {
    pub(crate) fn new(keys: &str, held_max: usize) -> Self {
        let mut log = KeyLog::new();
        log.take(keys.as_bytes());
        let tls = Tls::new(CLIENT, held_max);
        Self { tls, keys: log, notes: Notes::default(), sent: [0; 2], now_ns: 0 }
    }

    pub(crate) fn see(&mut self, side: Side, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let offset = self.pass(side, bytes.len());
        let piece = Piece { bytes, offset, time_ns: self.now_ns, starts_segment: true };
        let notes = &mut self.notes;
        self.tls.piece(side, &piece, &self.keys, &mut |event| notes.take(&event));
    }

    pub(crate) fn miss(&mut self, side: Side, missing: usize) {
        let offset = self.pass(side, missing);
        let gap = Gap { missing: missing as u64, offset, time_ns: self.now_ns, why: Missing::Lost };
        let notes = &mut self.notes;
        self.tls.gap(side, &gap, &self.keys, &mut |event| notes.take(&event));
    }

    pub(crate) fn learn(&mut self, lines: &str) {
        self.keys.take(lines.as_bytes());
        let notes = &mut self.notes;
        self.tls.keys_came(&self.keys, &mut |event| notes.take(&event));
    }

    pub(crate) fn end(&mut self) {
        let notes = &mut self.notes;
        self.tls.end(&mut |event| notes.take(&event));
    }

    fn pass(&mut self, side: Side, length: usize) -> u64 {
        self.now_ns += 1;
        let offset = self.sent[at(side)];
        self.sent[at(side)] += length as u64;
        offset
    }
}

impl Notes {
    fn take(&mut self, event: &Event<'_>) {
        let name = |side| if side == CLIENT { "client" } else { "server" };
        match event {
            Event::Agreed(agreed) => writeln!(self.text, "{agreed}").unwrap(),
            Event::Plain(side, piece) => {
                assert!(!piece.bytes.is_empty());
                self.plain[at(*side)].extend_from_slice(piece.bytes);
                if *side == SERVER {
                    self.places.push((piece.offset.try_into().unwrap(), piece.bytes.to_vec()));
                }
                let text = String::from_utf8_lossy(&piece.bytes[..piece.bytes.len().min(40)]).into_owned();
                writeln!(self.text, "{}: {}", name(*side), text.trim_end()).unwrap();
            }
            Event::Lost(side, loss) => {
                if let Some(missing) = loss.missing.filter(|_| *side == SERVER) {
                    self.holes.push((loss.offset.try_into().unwrap(), missing.try_into().unwrap()));
                }
                let missing = loss.missing.map_or("some".to_owned(), |missing| missing.to_string());
                writeln!(self.text, "{} lost {missing} bytes", name(*side)).unwrap();
            }
            Event::Sealed(side, why) => writeln!(self.text, "{} sealed: {why}", name(*side)).unwrap(),
        }
    }
}

fn at(side: Side) -> usize {
    usize::from(side == SERVER)
}

/// The lines of a key log.
#[derive(Debug, Default)]
struct Lines(Mutex<String>);

impl rustls::KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut lines = self.0.lock().unwrap();
        write!(lines, "{label}").unwrap();
        for bytes in [client_random, secret] {
            lines.push(' ');
            for byte in bytes {
                write!(lines, "{byte:02x}").unwrap();
            }
        }
        lines.push('\n');
    }
}

/// Believes everything: who the server is does not matter here.
#[derive(Debug)]
struct Trust;

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256]
    }
}

/// Signs with nothing at all, of the kind that the suite calls for.
#[derive(Debug)]
struct NoKey(SupportedCipherSuite);

impl NoKey {
    fn is_rsa(&self) -> bool {
        format!("{:?}", self.0.suite()).contains("_RSA_")
    }
}

impl SigningKey for NoKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self(self.0)))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        if self.is_rsa() { SignatureAlgorithm::RSA } else { SignatureAlgorithm::ECDSA }
    }
}

impl Signer for NoKey {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![7; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        if self.is_rsa() { SignatureScheme::RSA_PSS_SHA256 } else { SignatureScheme::ECDSA_NISTP256_SHA256 }
    }
}

#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
