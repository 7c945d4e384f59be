//! Signatures of IKEv1's phase 1 and of GROUPKEY-PUSH: RSA by PKCS#1 v1.5, and ECDSA over P-256 and P-384.
//! What a hostile key can cost is bounded: a modulus of at most 4096 bits, an exponent of at most 32.

mod private;
mod public;

pub use private::SigningKey;
pub use public::{RsaMinimum, VerifyingKey};

use super::HashAlgorithm;
use std::fmt;
use thiserror::Error;

/// The longest RSA modulus, in bits.
const RSA_MAX_BITS: u16 = 4096;
/// The shortest RSA modulus that nobody has to ask for, in bits.
const RSA_MIN_BITS: u16 = 2048;

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 over a DigestInfo (RFC 8017 section 8.2). The message is hashed here.
    RsaPkcs1(HashAlgorithm),
    /// PKCS#1 v1.5 block type 1 over the message's own octets, without a DigestInfo: how IKEv1 signs its HASH
    /// payloads (RFC 2409 section 5.1). The caller has hashed already; the message is at most as long as the
    /// modulus less 11 octets.
    RsaPkcs1Raw,
    /// ECDSA over P-256 with SHA2-256, as r and s of 32 octets each (RFC 4754). The message is hashed here.
    EcdsaP256Sha256,
    /// ECDSA over P-384 with SHA2-384, as r and s of 48 octets each (RFC 4754). The message is hashed here.
    EcdsaP384Sha384,
    /// ECDSA over P-256 of a digest of 32 octets: how IKEv1 signs its HASH payloads, which are digests already
    /// (RFC 2409 section 5.1, RFC 4754).
    EcdsaP256Digest,
    /// ECDSA over P-384 of a digest of 48 octets, likewise.
    EcdsaP384Digest,
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA.
    Rsa {
        /// The length of the modulus.
        bits: u16,
    },
    /// ECDSA over P-256.
    EcdsaP256,
    /// ECDSA over P-384.
    EcdsaP384,
}

/// Why a key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// A file holds no private key.
    #[error("no private key found: a PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY is needed")]
    NotFound,
    /// A private key's file wants a passphrase.
    #[error("the private key is encrypted with a passphrase: a key without one is needed")]
    Encrypted,
    /// Not DER, or not of the structure that it claims.
    #[error("the {0} cannot be decoded: it must be DER that is complete and consistent")]
    Malformed(&'static str),
    /// Another algorithm or curve.
    #[error("the key is neither RSA nor ECDSA over P-256 or P-384")]
    Algorithm,
    /// Too short to be safe, or too long to be cheap.
    #[error("the RSA key has {bits} bits: {min} to 4096 are accepted")]
    RsaSize {
        /// The length of the key's modulus.
        bits: usize,
        /// The least that is accepted here.
        min: u16,
    },
    /// Not what any key of use has.
    #[error("the RSA key's public exponent is not an odd number from 3 to 2^32 - 1")]
    RsaExponent,
    /// The public point is on no curve.
    #[error("the ECDSA key is not a point on its curve")]
    NotOnCurve,
}

/// Why a message could not be signed, or a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The scheme asks for another kind of key.
    #[error("a key of {key} makes no signature of {scheme}")]
    WrongKey {
        /// The scheme asked for.
        scheme: SignatureScheme,
        /// The key at hand.
        key: KeyKind,
    },
    /// The signature is not this key's over this message.
    #[error("the signature does not verify")]
    Invalid,
    /// Only for [`SignatureScheme::RsaPkcs1Raw`].
    #[error("{len} octets are too many to be signed as they are: the RSA key has room for {room}")]
    TooLong {
        /// The message's length in octets.
        len: usize,
        /// The most that the key can sign.
        room: usize,
    },
    /// Only for the schemes that sign digests.
    #[error("a digest of {needed} octets is signed, and this one has {len}")]
    DigestLength {
        /// The length of what was to be signed.
        len: usize,
        /// The length that the scheme needs.
        needed: usize,
    },
    /// The computation went wrong, which it does only if the key or the machine is broken.
    #[error("the signature could not be computed: the private key is not consistent")]
    Failed,
}

impl KeyKind {
    /// The length of a signature by such a key, in octets.
    #[must_use]
    pub fn signature_len(self) -> usize {
        match self {
            Self::Rsa { bits } => usize::from(bits).div_ceil(8),
            Self::EcdsaP256 => 64,
            Self::EcdsaP384 => 96,
        }
    }

    /// Whether such a key makes signatures of this scheme.
    #[must_use]
    pub fn suits(self, scheme: SignatureScheme) -> bool {
        matches!(
            (self, scheme),
            (Self::Rsa { .. }, SignatureScheme::RsaPkcs1(_) | SignatureScheme::RsaPkcs1Raw)
                | (Self::EcdsaP256, SignatureScheme::EcdsaP256Sha256 | SignatureScheme::EcdsaP256Digest)
                | (Self::EcdsaP384, SignatureScheme::EcdsaP384Sha384 | SignatureScheme::EcdsaP384Digest)
        )
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaPkcs1(hash) => write!(f, "RSA (PKCS#1 v1.5) with {hash}"),
            Self::RsaPkcs1Raw => f.write_str("RSA (PKCS#1 v1.5) without DigestInfo"),
            Self::EcdsaP256Sha256 => f.write_str("ECDSA P-256 with SHA2-256"),
            Self::EcdsaP384Sha384 => f.write_str("ECDSA P-384 with SHA2-384"),
            Self::EcdsaP256Digest => f.write_str("ECDSA P-256 of a digest"),
            Self::EcdsaP384Digest => f.write_str("ECDSA P-384 of a digest"),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA with {bits} bits"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
        }
    }
}

/// A digest has the length that its scheme needs.
fn check_digest(digest: &[u8], needed: usize) -> Result<(), SignatureError> {
    if digest.len() == needed {
        Ok(())
    } else {
        Err(SignatureError::DigestLength { len: digest.len(), needed })
    }
}

/// A raw message's room in a key of this kind: PKCS#1 v1.5 wants 11 octets of its own.
fn raw_room(key: KeyKind) -> usize {
    key.signature_len().saturating_sub(11)
}

#[cfg(test)]
mod tests;
