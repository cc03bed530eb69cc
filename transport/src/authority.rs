//! A private authority and the certificates that it signs.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use aws_lc_rs::pbkdf2;
use pulse_core::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::role::Role;

/// The same for every authority: its key tells them apart, and the certificate is found again from key and name alone.
const NAME: &str = "pulse cluster authority";
/// Clocks of machines differ.
const BEFORE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What stands before the 32 bytes of a private key of Ed25519 (RFC 8410).
const ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const SEED_BYTES: usize = 32;
/// A key that is made from a token here is no key for anything else.
const PURPOSE: &[u8] = b"pulse: authority of the holders of a token";
/// The public key is shown to every caller, so guesses at a token can be tried against it: each costs as much as this.
const ROUNDS: NonZeroU32 = NonZeroU32::new(200_000).unwrap();

/// Signs certificates of one cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its private key, both PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// With a key of its own.
    ///
    /// # Errors
    /// When the machine has no random numbers.
    pub fn new(days: u32) -> Result<Self> {
        let key = KeyPair::generate().map_err(failed)?;
        let params = params(days);
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The one that was written as `certificate` and `key`.
    ///
    /// # Errors
    /// `Invalid` when the key is none.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self> {
        let key = KeyPair::from_pem(key).map_err(failed)?;
        Ok(Self { issuer: Issuer::new(params(0), key), certificate: certificate.to_owned() })
    }

    /// The same for all who know `token`, and for nobody else.
    ///
    /// # Errors
    /// When no key can be made.
    pub(crate) fn of_token(token: &str, days: u32) -> Result<Self> {
        let mut seed = [0; SEED_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, PURPOSE, token.as_bytes(), &mut seed);
        let key = [ED25519.as_slice(), &seed].concat();
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(key)).map_err(failed)?;
        let params = params(days);
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// # Errors
    /// When the machine has no random numbers.
    pub fn issue(&self, role: Role, days: u32) -> Result<Issued> {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(vec![role.host().to_owned()]).map_err(failed)?;
        params.distinguished_name = named(role.host());
        (params.not_before, params.not_after) = valid(days);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // A scheduler and an executor each answer and call.
        params.extended_key_usages = match role {
            Role::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Role::Scheduler | Role::Executor => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
        };
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?.pem();
        Ok(Issued { certificate, key: key.serialize_pem() })
    }
}

fn params(days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = valid(days);
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn valid<T: From<SystemTime>>(days: u32) -> (T, T) {
    let now = SystemTime::now();
    ((now - BEFORE).into(), (now + DAY * days).into())
}

fn failed(error: rcgen::Error) -> Error {
    Error::invalid(format!("a certificate cannot be made: {error}"))
}
