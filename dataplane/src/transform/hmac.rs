//! HMAC-SHA-256-128 (RFC 4868) and HMAC-SHA-1-96 (RFC 2404): over the packet from the SPI to the
//! next header, truncated. Runs on workers; the key schedule is done beforehand.

use ring::hmac::{self, Key};
use subtle::ConstantTimeEq;

use super::overwrite;

/// The hash under the HMAC.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    /// Octets that the hash gives, and of the key.
    pub(super) const fn output_len(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
        }
    }

    /// Octets of the ICV that are sent.
    pub(super) const fn icv_len(self) -> usize {
        match self {
            Hash::Sha1 => 12,
            Hash::Sha256 => 16,
        }
    }

    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
        }
    }
}

/// An HMAC key, expanded.
pub(super) struct Hmac {
    key: Key,
    icv_len: usize,
}

impl Hmac {
    /// With the ICV length that ESP uses.
    pub(super) fn new(hash: Hash, key: &[u8]) -> Self {
        Self::truncated(hash, hash.icv_len(), key)
    }

    /// With any ICV length from 1 octet up to the length of the hash.
    pub(super) fn truncated(hash: Hash, icv_len: usize, key: &[u8]) -> Self {
        Self { key: Key::new(hash.algorithm(), key), icv_len: icv_len.clamp(1, hash.output_len()) }
    }

    /// Splits a packet into what the ICV covers and the ICV; None when it is shorter than an ICV.
    #[inline]
    pub(super) fn split<'a>(&self, esp: &'a mut [u8]) -> Option<(&'a mut [u8], &'a mut [u8])> {
        esp.split_at_mut_checked(esp.len().checked_sub(self.icv_len)?)
    }

    /// Verifies an ICV in constant time; one of another length is wrong.
    #[inline]
    pub(super) fn verify(&self, covered: &[u8], icv: &[u8]) -> bool {
        let tag = hmac::sign(&self.key, covered);
        tag.as_ref().get(..self.icv_len).is_some_and(|computed| computed.ct_eq(icv).into())
    }

    /// Writes the ICV; false when `icv` is not as long as one.
    #[inline]
    pub(super) fn sign(&self, covered: &[u8], icv: &mut [u8]) -> bool {
        let tag = hmac::sign(&self.key, covered);
        match tag.as_ref().get(..self.icv_len) {
            Some(computed) if computed.len() == icv.len() => {
                icv.copy_from_slice(computed);
                true
            }
            _ => false,
        }
    }
}

impl Drop for Hmac {
    fn drop(&mut self) {
        let blank = Key::new(self.key.algorithm(), &[]);
        overwrite(&mut self.key, blank);
    }
}
