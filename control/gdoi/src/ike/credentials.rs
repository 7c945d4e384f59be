//! What proves who we are in phase 1, and what the proofs of others are checked against.

use super::Method;
use crate::crypto::x509::{Certificate, CertificateError, TrustStore};
use crate::crypto::{Secret, SigningKey};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// What one side authenticates itself with and checks the other side by: both sides use the same method
/// (RFC 2409 section 5).
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A pre-shared key (RFC 2409 section 5.4).
    Psk(Secret),
    /// Signatures with certificates: RSA (RFC 2409 section 5.1) or ECDSA (RFC 4754), as the key is.
    Certificate(Arc<CertificateCredentials>),
}

impl Credentials {
    /// The method that they are for.
    #[must_use]
    pub fn method(&self) -> Method {
        match self {
            Self::Psk(_) => Method::PreSharedKey,
            Self::Certificate(credentials) => credentials.method(),
        }
    }
}

/// A private key with its certificate, and whom we trust to certify the peer's.
pub struct CertificateCredentials {
    chain: Vec<Vec<u8>>,
    /// When the first of them ends, in seconds since 1970.
    expires: u64,
    key: SigningKey,
    trust: Arc<TrustStore>,
}

/// Why a key and a certificate are no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// The certificate is missing or cannot be read.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// They do not belong together.
    #[error("the private key is not the one of the certificate (of {0})")]
    OtherKey(String),
}

impl CertificateCredentials {
    /// `chain` is our certificate, then those that lead to what the peer trusts, DER each; `key` belongs to
    /// the first; the peer's certificate must lead to one of `trust`.
    ///
    /// # Errors
    /// There is no certificate, it cannot be read, or it is of another key.
    pub fn new(
        chain: Vec<Vec<u8>>,
        key: SigningKey,
        trust: Arc<TrustStore>,
    ) -> Result<Self, CredentialsError> {
        let own = chain.first().ok_or(CertificateError::NoCertificate)?;
        let own = Certificate::from_der(own)?;
        if own.public_key() != key.verifying_key() {
            return Err(CredentialsError::OtherKey(own.subject()));
        }
        let others = chain.iter().skip(1).filter_map(|der| Certificate::from_der(der).ok());
        let expires = others.fold(own.not_after(), |end, other| end.min(other.not_after()));
        Ok(Self { chain, expires, key, trust })
    }

    /// The method that the key signs for.
    #[must_use]
    pub fn method(&self) -> Method {
        Method::of_key(self.key.kind())
    }

    /// Our certificate first, DER each.
    #[must_use]
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The last second, since 1970, in which our certificate and those it is sent with are all valid.
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// Our private key.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Whom we trust.
    #[must_use]
    pub fn trust(&self) -> &TrustStore {
        &self.trust
    }
}

impl fmt::Debug for CertificateCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateCredentials")
            .field("chain", &self.chain.len())
            .field("key", &self.key)
            .field("trust", &self.trust)
            .finish()
    }
}
