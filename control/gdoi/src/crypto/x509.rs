//! X.509 certificates (RFC 5280, used as RFC 4945 profiles them for IKE): reading them, finding the path to
//! a trust anchor, and whether a certificate has the identity that a configuration names.

mod certificate;
mod identity;
mod store;
mod usage;

pub use certificate::{Certificate, MAX_CERTIFICATE_LEN, parse_chain};
pub use identity::{Identity, IdentityError, SubjectPattern};
pub use store::{MAX_CHAIN_LEN, PeerCertificate, TrustStore};

use super::KeyError;
use thiserror::Error;

/// Why a certificate, a chain, a trust anchor or a CRL is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Neither PEM nor DER.
    #[error("no certificate found: PEM blocks CERTIFICATE, or one certificate in DER, are needed")]
    NoCertificate,
    /// Neither PEM nor DER.
    #[error("no CRL found: PEM blocks X509 CRL, or one CRL in DER, are needed")]
    NoCrl,
    /// The DER is broken.
    #[error("the {0} cannot be decoded: it must be DER that is complete and consistent")]
    Malformed(&'static str),
    /// More certificates than any path needs.
    #[error("{0} certificates are too many: a path has at most {MAX_CHAIN_LEN}")]
    TooMany(usize),
    /// Longer than any certificate of use.
    #[error("a certificate of {0} octets is too long: {MAX_CERTIFICATE_LEN} are accepted")]
    TooLong(usize),
    /// No trust anchor leads to it.
    #[error(
        "no path leads from {subject} to a trust anchor: its issuer {issuer} must be one, or must be sent along"
    )]
    UnknownIssuer {
        /// The certificate's subject.
        subject: String,
        /// Its issuer.
        issuer: String,
    },
    /// A signature on the path is not its issuer's.
    #[error("a certificate on the path, or a CRL, is not signed by the key of its issuer")]
    BadSignature,
    /// SHA-1, RSA-PSS, Ed25519 or others that are not served here.
    #[error(
        "a certificate or CRL is signed by an algorithm that is not accepted: RSA (PKCS#1 v1.5) or ECDSA P-256 or P-384, with SHA2-256, -384 or -512, are"
    )]
    SignatureAlgorithm,
    /// It was valid once.
    #[error("a certificate on the path expired at {not_after} (seconds since 1970); it is {now} now")]
    Expired {
        /// The end of its validity, in seconds since 1970.
        not_after: u64,
        /// The time of the check, in seconds since 1970.
        now: u64,
    },
    /// It will be valid.
    #[error("a certificate on the path is valid from {not_before} (seconds since 1970); it is {now} now")]
    NotYetValid {
        /// The start of its validity, in seconds since 1970.
        not_before: u64,
        /// The time of the check, in seconds since 1970.
        now: u64,
    },
    /// An issuer on the path may not issue.
    #[error("an issuer on the path is no CA: basicConstraints with CA:TRUE is needed")]
    NotCa,
    /// The peer's own certificate is an issuer's.
    #[error("the peer's own certificate is a CA's: basicConstraints with CA:FALSE, or none, is needed")]
    CaAsPeer,
    /// An issuer on the path has more CAs below it than it may.
    #[error("the path is longer than an issuer's pathLenConstraint allows")]
    PathLength,
    /// A keyUsage extension that forbids what the certificate is used for.
    #[error("the keyUsage of {subject} lacks {needed}")]
    KeyUsage {
        /// The certificate's subject.
        subject: String,
        /// The bit that is needed.
        needed: &'static str,
    },
    /// An extKeyUsage extension without any purpose that covers IKE.
    #[error(
        "the extended key usage of a certificate on the path covers none of IKE, IPsec, TLS client and server"
    )]
    ExtendedKeyUsage,
    /// RFC 5280 section 4.2: a certificate with such an extension must be refused.
    #[error("a certificate on the path has a critical extension that is not known here")]
    CriticalExtension,
    /// A name that an issuer on the path may not give.
    #[error("an issuer's name constraints forbid a name on the path")]
    NameConstraints,
    /// Its issuer has taken it back.
    #[error("a certificate on the path is revoked by its issuer's CRL")]
    Revoked,
    /// The CRL is too old to tell.
    #[error(
        "the CRL of an issuer on the path should have been replaced at {next_update} (seconds since 1970); it is {now} now"
    )]
    CrlExpired {
        /// When the next CRL was due, in seconds since 1970.
        next_update: u64,
        /// The time of the check, in seconds since 1970.
        now: u64,
    },
    /// A CRL of a kind that is not served: indirect, delta, or split by reasons.
    #[error(
        "the CRL of {0} is not accepted: a complete CRL, signed by the issuer of the certificates, is needed"
    )]
    CrlKind(String),
    /// The key in a certificate is not accepted.
    #[error("the public key of {subject} is not accepted: {error}")]
    Key {
        /// The certificate's subject.
        subject: String,
        /// What is wrong with the key.
        error: KeyError,
    },
    /// Anything else that path validation found.
    #[error("path validation failed: {0}")]
    Path(String),
}

#[cfg(test)]
mod tests;
