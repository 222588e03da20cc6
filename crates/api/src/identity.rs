//! By what agents know each other: TLS 1.3 with raw public keys (RFC 7250), as `ssh` and `wg` do it.
//!
//! No names, no certificates, no authority, no dates: a key is the one that was expected, or it is not. What
//! stands in the place of a certificate is the `SubjectPublicKeyInfo` of an Ed25519 key (RFC 8410), which is always
//! the same twelve bytes and then the key.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use byway_fabric::cluster::{KEY_BYTES, PublicKey, key_text};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{default_provider, sign::any_eddsa_type};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    ServerConfig, SignatureScheme,
};

/// What stands before the 32 bytes of an Ed25519 key in its `SubjectPublicKeyInfo` (RFC 8410, 4).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the 32 bytes of an Ed25519 private key in PKCS#8 (RFC 8410, 7).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The key of this host, private half and all. Neither printed nor serialised by accident.
#[derive(Clone)]
pub struct Identity {
    seed: [u8; KEY_BYTES],
    public: PublicKey,
    certified: Arc<CertifiedKey>,
}

/// A key that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The kernel gave no random bytes.
    #[error("the kernel gave no random bytes")]
    NoChance,
    /// The library did not take the key.
    #[error("the key cannot be used")]
    Unusable,
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[from] Error),
}

impl Identity {
    /// A key that nobody else has.
    ///
    /// # Errors
    /// [`IdentityError::NoChance`].
    pub fn make() -> Result<Self, IdentityError> {
        let mut seed = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut seed).map_err(|_| IdentityError::NoChance)?;
        Self::from_seed(seed)
    }

    /// The key of these 32 private bytes (RFC 8032, 5.1.5).
    ///
    /// # Errors
    /// When the library does not take them.
    pub fn from_seed(seed: [u8; KEY_BYTES]) -> Result<Self, IdentityError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| IdentityError::Unusable)?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| IdentityError::Unusable)?;
        let public = PublicKey::from_bytes(bytes);
        let private = PrivatePkcs8KeyDer::from([PKCS8_HEAD.as_slice(), &seed].concat());
        let certified =
            CertifiedKey::new(vec![CertificateDer::from(spki(&public))], any_eddsa_type(&private)?);
        Ok(Self { seed, public, certified: Arc::new(certified) })
    }

    /// What the others may know.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The private half as text, for the key's own file and for nothing else.
    #[must_use]
    pub fn private_text(&self) -> String {
        key_text(&self.seed)
    }

    /// How a server that has this key speaks: with everybody who proves to have a key. Whether that key is known is
    /// for the server to look up, so that it can say so.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn serve(&self) -> Result<ServerConfig, IdentityError> {
        let provider = Arc::new(default_provider());
        let config =
            ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13])?;
        let config = config.with_client_cert_verifier(Arc::new(AnyKey(provider)));
        let mut config = config
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.certified.clone())));
        // Every conversation proves both keys anew: nothing is kept of it, in memory or in a ticket.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(config)
    }

    /// How to ask a server that must have the key `theirs`; another one that it shows is put into the second value.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn ask(&self, theirs: PublicKey) -> Result<(ClientConfig, Shown), IdentityError> {
        let provider = Arc::new(default_provider());
        let shown = Shown::default();
        let config =
            ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[&TLS13])?;
        let verifier = ThisKey { theirs, shown: shown.clone(), provider };
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = config.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
            self.certified.clone(),
        )));
        config.resumption = rustls::client::Resumption::disabled();
        config.enable_sni = false;
        Ok((config, shown))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

/// A key that was shown in the place of the one that was expected.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<Mutex<Option<PublicKey>>>);

impl Shown {
    /// The key, if there was one.
    #[must_use]
    pub fn other(&self) -> Option<PublicKey> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key that stands in the place of a certificate, if that is an Ed25519 key.
#[must_use]
pub fn key_of(certificates: Option<&[CertificateDer<'_>]>) -> Option<PublicKey> {
    let [certificate] = certificates? else { return None };
    let bytes = certificate.as_ref().strip_prefix(&SPKI_HEAD)?;
    Some(PublicKey::from_bytes(bytes.try_into().ok()?))
}

fn spki(key: &PublicKey) -> Vec<u8> {
    [SPKI_HEAD.as_slice(), key.as_bytes()].concat()
}

fn check_signature(
    provider: &CryptoProvider,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = SubjectPublicKeyInfoDer::from(certificate.as_ref());
    verify_tls13_signature_with_raw_key(message, &key, signature, &provider.signature_verification_algorithms)
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into())
}

/// Takes everybody who proves to have a key of our kind.
#[derive(Debug)]
struct AnyKey(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let is_key = key_of(Some(std::slice::from_ref(end_entity))).is_some();
        if is_key { Ok(ClientCertVerified::assertion()) } else { Err(CertificateError::BadEncoding.into()) }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.0, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Takes only whoever proves to have one certain key.
#[derive(Debug)]
struct ThisKey {
    theirs: PublicKey,
    shown: Shown,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ThisKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match key_of(Some(std::slice::from_ref(end_entity))) {
            Some(key) if key == self.theirs => Ok(ServerCertVerified::assertion()),
            Some(other) => {
                *self.shown.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(other);
                // Told to the other side as the alert `access_denied`.
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_signature(&self.provider, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1, test 1.
    const SEED: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn a_key_is_the_one_of_the_standard() {
        let seed = byway_fabric::cluster::key_bytes(SEED).unwrap();
        let identity = Identity::from_seed(seed).unwrap();
        assert_eq!((identity.public().to_string(), identity.private_text()), (PUBLIC.into(), SEED.into()));
        assert_eq!(format!("{identity:?}"), format!("Identity {{ public: PublicKey({PUBLIC}), .. }}"));
        assert_ne!(Identity::make().unwrap().public(), Identity::make().unwrap().public());
    }

    #[test]
    fn only_a_key_of_our_kind_is_a_key() {
        let key = Identity::make().unwrap().public();
        let good = CertificateDer::from(spki(&key));
        assert_eq!(key_of(Some(std::slice::from_ref(&good))), Some(key));
        assert_eq!(key_of(Some(&[good.clone(), good.clone()])), None);
        assert_eq!(key_of(None), None);
        for length in 0..44 {
            let cut = CertificateDer::from(good.as_ref()[..length].to_vec());
            assert_eq!(key_of(Some(std::slice::from_ref(&cut))), None, "{length}");
        }
        let long = CertificateDer::from([good.as_ref(), &[0]].concat());
        assert_eq!(key_of(Some(std::slice::from_ref(&long))), None);
    }
}
