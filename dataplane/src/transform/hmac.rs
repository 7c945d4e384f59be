//! HMAC-SHA-256-128 (RFC 4868) and HMAC-SHA-1-96 (RFC 2404): over the packet from the SPI to the
//! next header, truncated. Runs on workers; the key schedule is done beforehand.

use hmac::{KeyInit, Mac};
use sha1::Sha1;
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
}

/// An HMAC key, expanded.
pub(super) struct Hmac {
    key: Key,
    icv_len: usize,
}

enum Key {
    /// Not ring's, which does without the processor's SHA instructions and takes 3.6 times as long.
    Sha1(hmac::Hmac<Sha1>),
    Sha256(ring::hmac::Key),
}

impl Hmac {
    /// With the ICV length that ESP uses.
    pub(super) fn new(hash: Hash, key: &[u8]) -> Option<Self> {
        Self::truncated(hash, hash.icv_len(), key)
    }

    /// With any ICV length from 1 octet up to the length of the hash; None for any other.
    pub(super) fn truncated(hash: Hash, icv_len: usize, key: &[u8]) -> Option<Self> {
        if icv_len == 0 || icv_len > hash.output_len() {
            return None;
        }
        let key = match hash {
            Hash::Sha1 => Key::Sha1(hmac::Hmac::new_from_slice(key).ok()?),
            Hash::Sha256 => Key::Sha256(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key)),
        };
        Some(Self { key, icv_len })
    }

    /// Splits a packet into what the ICV covers and the ICV; None when it is shorter than an ICV.
    #[inline]
    pub(super) fn split<'a>(&self, esp: &'a mut [u8]) -> Option<(&'a mut [u8], &'a mut [u8])> {
        esp.split_at_mut_checked(esp.len().checked_sub(self.icv_len)?)
    }

    /// Verifies an ICV in constant time; one of another length is wrong.
    #[inline]
    pub(super) fn verify(&self, covered: &[u8], icv: &[u8]) -> bool {
        self.with_icv(covered, |computed| computed.ct_eq(icv).into())
    }

    /// Writes the ICV; false when `icv` is not as long as one.
    #[inline]
    pub(super) fn sign(&self, covered: &[u8], icv: &mut [u8]) -> bool {
        self.with_icv(covered, |computed| {
            let fits = computed.len() == icv.len();
            if fits {
                icv.copy_from_slice(computed);
            }
            fits
        })
    }

    #[inline(always)]
    fn with_icv(&self, covered: &[u8], done: impl FnOnce(&[u8]) -> bool) -> bool {
        match &self.key {
            Key::Sha1(key) => {
                let tag = key.clone().chain_update(covered).finalize().into_bytes();
                tag.get(..self.icv_len).is_some_and(done)
            }
            Key::Sha256(key) => {
                let tag = ring::hmac::sign(key, covered);
                tag.as_ref().get(..self.icv_len).is_some_and(done)
            }
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        match self {
            // Zeroises itself.
            Key::Sha1(_) => {}
            Key::Sha256(key) => overwrite(key, ring::hmac::Key::new(key.algorithm(), &[])),
        }
    }
}
