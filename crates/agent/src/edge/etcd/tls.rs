//! TLS with a member: whom we trust and who we are, from files that are read anew for each connection.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::Miss;
use super::options::{Endpoint, TlsFiles};

/// The largest file that is read, in bytes: the bundle of all public authorities has a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How long a member may take for the handshake: two round trips, and a signature.
const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
/// How long we wait for a member's first word behind the handshake. Etcd says something at once, and only there a member
/// that does not like our certificate says so; who says nothing is asked all the same.
const FIRST_WORD_TIME: Duration = Duration::from_millis(500);
/// Where distributions keep whom they trust: Debian, Fedora, SUSE.
const SYSTEM_TRUST: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, too large, or may not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// It holds something else.
    #[error("{} holds no {what} in PEM", path.display())]
    Nothing {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The certificate and the key do not belong together, or are of no known kind.
    #[error("use {} with its key", path.display())]
    Identity {
        /// The file of the certificate.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: rustls::Error,
    },
    /// The name is none.
    #[error("`{0}` is no name that a certificate could have")]
    Name(String),
    /// Neither a CA was said, nor does this host trust any.
    #[error("this host has no list of authorities that it trusts")]
    NoTrust,
}

impl FileError {
    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Read { path, .. } => format!("the agent must be able to read {}", path.display()),
            Self::Nothing { what, .. } => format!("a file in PEM with a {what} is needed"),
            Self::Identity { .. } => "the certificate and the key must belong together".to_owned(),
            Self::Name(_) => "write the name that is in the members' certificates".to_owned(),
            Self::NoTrust => "say the CA of etcd's certificates (`etcd-ca`)".to_owned(),
        }
    }
}

/// Agrees on TLS with a member that proves the name we expect.
pub(super) async fn agree(
    stream: TcpStream,
    endpoint: &Endpoint,
    files: &TlsFiles,
) -> Result<TlsStream<TcpStream>, Miss> {
    let config = config(files).await.map_err(Miss::Files)?;
    let name = files.server_name.as_ref().unwrap_or(&endpoint.host);
    let name = ServerName::try_from(name.clone()).map_err(|_| Miss::Files(FileError::Name(name.clone())))?;
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let late = Miss::Late { what: "TLS", after: HANDSHAKE_TIME };
    let mut stream = timeout(HANDSHAKE_TIME, connecting).await.map_err(|_| late)?.map_err(Miss::Tls)?;
    hear_first_word(&mut stream).await.map_err(Miss::Tls)?;
    Ok(stream)
}

/// Hears whether our certificate is refused: in TLS 1.3 the handshake is over for us before the member has seen it, and
/// HTTP/2 would only say that the connection broke.
async fn hear_first_word(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    struct Now<'a>(&'a TcpStream);
    impl Read for Now<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.try_read(buffer)
        }
    }
    let (socket, tls) = stream.get_mut();
    if timeout(FIRST_WORD_TIME, socket.readable()).await.is_err() {
        return Ok(());
    }
    match tls.read_tls(&mut Now(socket)) {
        Ok(_) => tls.process_new_packets().map(drop).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

async fn config(files: &TlsFiles) -> Result<ClientConfig, FileError> {
    let mut roots = RootCertStore::empty();
    let path = trust(files).ok_or(FileError::NoTrust)?;
    let authorities = certificates(&path).await?;
    // A distribution's list may hold some that cannot be used.
    if roots.add_parsable_certificates(authorities).0 == 0 {
        return Err(FileError::Nothing { path, what: "certificate of an authority" });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let Ok(builder) = builder else { unreachable!("ring has the suites of TLS 1.3") };
    let builder = builder.with_root_certificates(roots);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate).await?;
            let identity = |cause| FileError::Identity { path: certificate.clone(), cause };
            builder.with_client_auth_cert(chain, private_key(key).await?).map_err(identity)?
        }
    };
    // Etcd speaks HTTP/2 only to who asks for it.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn trust(files: &TlsFiles) -> Option<PathBuf> {
    let of_system = || SYSTEM_TRUST.iter().map(PathBuf::from).find(|path| path.exists());
    files.ca.clone().or_else(of_system)
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(path).await?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
    let nothing = FileError::Nothing { path: path.to_owned(), what: "certificate" };
    if certificates.is_empty() { Err(nothing) } else { Ok(certificates) }
}

async fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let key = PrivateKeyDer::from_pem_slice(&read(path).await?);
    key.map_err(|_| FileError::Nothing { path: path.to_owned(), what: "private key" })
}

async fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = |cause| FileError::Read { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(read)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await.map_err(read)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(read(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes"))));
    }
    Ok(bytes)
}

/// What to do about TLS that did not come about.
pub(super) fn hint(cause: &io::Error) -> &'static str {
    let error = cause.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the CA file (`etcd-ca`) is not of the authority that made the members' certificates"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the member's certificate is for other names: write one of these in `etcd`"
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "the member's certificate is not valid now: see its dates, and this host's clock"
            }
            _ => "the member's certificate is not accepted",
        },
        Some(rustls::Error::AlertReceived(AlertDescription::ProtocolVersion)) => {
            "the member does not speak TLS 1.3; is it held back by --cipher-suites or --tls-max-version?"
        }
        Some(rustls::Error::AlertReceived(_)) => {
            "etcd does not accept our client certificate: it must be made by the CA in etcd's --trusted-ca-file"
        }
        Some(rustls::Error::InvalidMessage(_)) => "this is no TLS: does the member listen with http?",
        _ => "does the member listen with https?",
    }
}
