//! The keyed hash of an established phase 1: what authenticates everything that runs over it.

use crate::crypto::{HashAlgorithm, Secret};

/// prf(SKEYID_a, ...): makes the HASH payloads of phase 2 and of Informational exchanges (RFC 2409
/// sections 5.5 and 5.7, RFC 6407 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prf {
    hash: HashAlgorithm,
    skeyid_a: Secret,
}

impl Prf {
    /// HMAC of `hash` under `skeyid_a`.
    #[must_use]
    pub fn new(hash: HashAlgorithm, skeyid_a: Secret) -> Self {
        Self { hash, skeyid_a }
    }

    /// The negotiated hash.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.hash
    }

    /// Octets of a HASH.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.hash.output_len()
    }

    /// prf(SKEYID_a, M-ID | parts). Compare it with a received HASH by `==`, which takes constant time.
    #[must_use]
    pub fn hash(&self, message_id: u32, parts: &[&[u8]]) -> Secret {
        let message_id = message_id.to_be_bytes();
        let mut all = Vec::with_capacity(parts.len() + 1);
        all.push(message_id.as_slice());
        all.extend_from_slice(parts);
        self.hash.prf(&self.skeyid_a, &all)
    }
}
