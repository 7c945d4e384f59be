//! Who is at the other end of a phase 1, and how that was proven.

use super::Identity;
use crate::crypto::{HashAlgorithm, KeyKind, SignatureScheme};
use crate::wire::AuthMethod;
use std::fmt;
use std::net::SocketAddr;

/// How both sides authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// A pre-shared key (RFC 2409 section 5.4).
    PreSharedKey,
    /// RSA signatures over the bare HASH (RFC 2409 section 5.1).
    Rsa,
    /// ECDSA-256 (RFC 4754).
    EcdsaP256,
    /// ECDSA-384 (RFC 4754).
    EcdsaP384,
}

impl Method {
    /// The method that a key of this kind signs for.
    #[must_use]
    pub const fn of_key(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Rsa { .. } => Self::Rsa,
            KeyKind::EcdsaP256 => Self::EcdsaP256,
            KeyKind::EcdsaP384 => Self::EcdsaP384,
        }
    }

    /// The value of the Authentication Method attribute.
    #[must_use]
    pub const fn on_wire(self) -> AuthMethod {
        match self {
            Self::PreSharedKey => AuthMethod::PreSharedKey,
            Self::Rsa => AuthMethod::RsaSignature,
            Self::EcdsaP256 => AuthMethod::Ecdsa256,
            Self::EcdsaP384 => AuthMethod::Ecdsa384,
        }
    }

    /// The hash whose HMAC makes the HASH that is signed, where the method is tied to one; elsewhere it is
    /// the negotiated one (RFC 2409 section 5.1, RFC 4754 section 4).
    #[must_use]
    pub const fn tied_hash(self) -> Option<HashAlgorithm> {
        match self {
            Self::PreSharedKey | Self::Rsa => None,
            Self::EcdsaP256 => Some(HashAlgorithm::Sha256),
            Self::EcdsaP384 => Some(HashAlgorithm::Sha384),
        }
    }

    /// How the HASH is signed; `None` with a pre-shared key.
    #[must_use]
    pub const fn scheme(self) -> Option<SignatureScheme> {
        match self {
            Self::PreSharedKey => None,
            Self::Rsa => Some(SignatureScheme::RsaPkcs1Raw),
            Self::EcdsaP256 => Some(SignatureScheme::EcdsaP256Digest),
            Self::EcdsaP384 => Some(SignatureScheme::EcdsaP384Digest),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreSharedKey => "pre-shared key",
            Self::Rsa => "RSA signatures",
            Self::EcdsaP256 => "ECDSA-256",
            Self::EcdsaP384 => "ECDSA-384",
        })
    }
}

/// What a responder's owner calls a peer that it admits, such as the number of its entry in the
/// configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerTag(pub u64);

/// An authenticated peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Where its messages come from.
    pub address: SocketAddr,
    /// Who it says it is; proven by its certificate, or by its holding the pre-shared key.
    pub identity: Identity,
    /// How.
    pub method: Method,
    /// Its certificate's subject as RFC 4514 writes names; `None` with a pre-shared key.
    pub subject: Option<String>,
    /// What [`Peers::admit`](super::Peers::admit) said to it; `None` for a responder.
    pub tag: Option<PeerTag>,
    /// Whether it announced itself as one of this project's.
    pub is_getvpn: bool,
    /// Whether it answers DPD (RFC 3706).
    pub supports_dpd: bool,
}
