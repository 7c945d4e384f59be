//! Diffie-Hellman as IKEv1 uses it: MODP groups (RFC 2409, RFC 3526) and elliptic curves over prime fields
//! (RFC 5903). A private value serves one exchange; computing takes constant time.

mod ecp;
mod modp;
mod primes;

use super::{Random, Secret};
use std::fmt;
use thiserror::Error;

/// A Diffie-Hellman group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DhGroup {
    /// Group 2 (RFC 2409 section 6.2). Weak: only for old peers, where a configuration names it.
    Modp1024,
    /// Group 5 (RFC 3526 section 2). Weak: only for old peers, where a configuration names it.
    Modp1536,
    /// Group 14 (RFC 3526 section 3).
    Modp2048,
    /// Group 15 (RFC 3526 section 4).
    Modp3072,
    /// Group 16 (RFC 3526 section 5).
    Modp4096,
    /// Group 19, P-256 (RFC 5903 section 3.1).
    Ecp256,
    /// Group 20, P-384 (RFC 5903 section 3.2).
    Ecp384,
}

/// What is wrong with a peer's public value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DhError {
    /// Public values are padded to the group's length (RFC 2409 section 5).
    #[error("a public value of {group} has {} octets, not {len}", .group.public_len())]
    Length {
        /// The group.
        group: DhGroup,
        /// The number of octets that came.
        len: usize,
    },
    /// 0, 1, p - 1, or not below p: the shared secret would be known to everyone.
    #[error("the public value is not between 2 and p - 2 of {0}")]
    OutOfRange(DhGroup),
    /// The coordinates are those of no point of the curve.
    #[error("the public value is not a point on the curve of {0}")]
    NotOnCurve(DhGroup),
}

/// One side's private value with its public one. Wiped when dropped, not shown by `Debug`.
pub struct DhPrivate {
    group: DhGroup,
    key: PrivateKey,
    public: Vec<u8>,
}

enum PrivateKey {
    Modp(modp::Exponent),
    Ecp256(p256::SecretKey),
    Ecp384(p384::SecretKey),
}

impl DhGroup {
    /// All groups, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Modp1024,
        Self::Modp1536,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Ecp256,
        Self::Ecp384,
    ];

    /// The group's number in IKE.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Modp1024 => 2,
            Self::Modp1536 => 5,
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
        }
    }

    /// The group of this number, if it is one of these.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.number() == number)
    }

    /// Whether the group is too weak to be used unless a configuration names it.
    #[must_use]
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Modp1024 | Self::Modp1536)
    }

    /// The length of a public value, in octets: the modulus's, or x and y.
    #[must_use]
    pub const fn public_len(self) -> usize {
        match self {
            Self::Ecp256 | Self::Ecp384 => 2 * self.secret_len(),
            _ => self.secret_len(),
        }
    }

    /// The length of a shared secret, in octets: the modulus's, or x alone.
    #[must_use]
    pub const fn secret_len(self) -> usize {
        match self {
            Self::Modp1024 => 128,
            Self::Modp1536 => 192,
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Ecp256 => 32,
            Self::Ecp384 => 48,
        }
    }

    /// A fresh private value and its public one.
    #[must_use]
    pub fn generate(self, random: &mut dyn Random) -> DhPrivate {
        let (key, public) = match self {
            Self::Ecp256 => {
                let key = ecp::generate::<p256::NistP256>(random);
                let public = ecp::public_octets(&key);
                (PrivateKey::Ecp256(key), public)
            }
            Self::Ecp384 => {
                let key = ecp::generate::<p384::NistP384>(random);
                let public = ecp::public_octets(&key);
                (PrivateKey::Ecp384(key), public)
            }
            _ => {
                let exponent = modp::Exponent::generate(self, random);
                let public = modp::public(self, &exponent);
                (PrivateKey::Modp(exponent), public)
            }
        };
        DhPrivate { group: self, key, public }
    }
}

impl DhPrivate {
    /// The group.
    #[must_use]
    pub fn group(&self) -> DhGroup {
        self.group
    }

    /// The public value: what a KE payload holds, [`DhGroup::public_len`] octets.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The secret shared with whoever made `peer_public`: g^xy, or its x coordinate (RFC 5903 section 9).
    /// It has [`DhGroup::secret_len`] octets, zeros in front included.
    ///
    /// # Errors
    /// `peer_public` has the wrong length, is out of range or is not on the curve.
    pub fn agree(&self, peer_public: &[u8]) -> Result<Secret, DhError> {
        if peer_public.len() != self.group.public_len() {
            return Err(DhError::Length { group: self.group, len: peer_public.len() });
        }
        match &self.key {
            PrivateKey::Modp(exponent) => {
                modp::agree(self.group, exponent, peer_public).ok_or(DhError::OutOfRange(self.group))
            }
            PrivateKey::Ecp256(key) => ecp::agree(key, peer_public).ok_or(DhError::NotOnCurve(self.group)),
            PrivateKey::Ecp384(key) => ecp::agree(key, peer_public).ok_or(DhError::NotOnCurve(self.group)),
        }
    }
}

impl fmt::Display for DhGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Modp1024 => "modp1024",
            Self::Modp1536 => "modp1536",
            Self::Modp2048 => "modp2048",
            Self::Modp3072 => "modp3072",
            Self::Modp4096 => "modp4096",
            Self::Ecp256 => "ecp256",
            Self::Ecp384 => "ecp384",
        };
        write!(f, "group {} ({name})", self.number())
    }
}

impl fmt::Debug for DhPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DhPrivate({})", self.group)
    }
}

#[cfg(test)]
mod tests;
