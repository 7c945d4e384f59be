//! What proves who we are in phase 1, and what the proofs of others are checked against.

use crate::crypto::x509::TrustStore;
use crate::crypto::{Secret, SigningKey};
use std::fmt;
use std::sync::Arc;

/// What one side authenticates itself with and checks the other side by: both sides use the same method
/// (RFC 2409 section 5).
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A pre-shared key (RFC 2409 section 5.4).
    Psk(Secret),
    /// Signatures with certificates: RSA (RFC 2409 section 5.1) or ECDSA (RFC 4754), as the key is.
    Certificate(Arc<CertificateCredentials>),
}

/// A private key with its certificate, and whom we trust to certify the peer's.
pub struct CertificateCredentials {
    /// Our certificate, then those that lead to what the peer trusts; DER each.
    pub chain: Vec<Vec<u8>>,
    /// The private key of the first of them.
    pub key: SigningKey,
    /// The peer's certificate must lead to one of these.
    pub trust: Arc<TrustStore>,
}

impl fmt::Debug for CertificateCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateCredentials").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}
