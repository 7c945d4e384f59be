//! The hash functions of IKEv1 and GDOI, and the keyed one (prf) made of each by HMAC. Knows no IKE
//! attribute numbers.

use super::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use sha2::{Sha256, Sha384, Sha512};
use std::fmt;

/// The longest digest: SHA-512's.
pub const MAX_DIGEST_LEN: usize = 64;

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-1 (FIPS 180-4). As HMAC it still holds; signatures over it do not.
    Sha1,
    /// SHA2-256 (FIPS 180-4).
    Sha256,
    /// SHA2-384 (FIPS 180-4).
    Sha384,
    /// SHA2-512 (FIPS 180-4).
    Sha512,
}

impl HashAlgorithm {
    /// All of them, the shortest output first.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The length of a digest and of a prf's output, in octets.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of the parts, as if they stood one behind the other.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha1 => digest::<Sha1>(parts),
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
        }
    }

    /// prf(key, parts), which is HMAC where nothing else was negotiated (RFC 2409 section 4, RFC 2104).
    /// Any length of key will do. Compare with a received HASH by `==`, which takes constant time.
    #[must_use]
    pub fn prf(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        match self {
            Self::Sha1 => prf::<Hmac<Sha1>>(key, parts),
            Self::Sha256 => prf::<Hmac<Sha256>>(key, parts),
            Self::Sha384 => prf::<Hmac<Sha384>>(key, parts),
            Self::Sha512 => prf::<Hmac<Sha512>>(key, parts),
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA2-256",
            Self::Sha384 => "SHA2-384",
            Self::Sha512 => "SHA2-512",
        })
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut state = D::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().to_vec()
}

fn prf<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Secret {
    let mut state = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        state.update(part);
    }
    Secret::new(state.finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests;
