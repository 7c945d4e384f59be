//! The keys of phase 1: SKEYID and what grows out of it (RFC 2409 sections 5 and appendix B), HASH_I and
//! HASH_R. Pure functions of what the messages said.

use super::{Method, Prf, Suite};
use crate::crypto::{AES_BLOCK_LEN, AesCbc, CipherError, HashAlgorithm, Secret};
use crate::wire::CookiePair;

/// What a CBC chain goes on from: the IV of the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iv(pub(super) [u8; AES_BLOCK_LEN]);

/// What both sides said and share before the fifth message.
pub(super) struct Exchanged {
    pub(super) cookies: CookiePair,
    pub(super) initiator_public: Vec<u8>,
    pub(super) responder_public: Vec<u8>,
    pub(super) initiator_nonce: Vec<u8>,
    pub(super) responder_nonce: Vec<u8>,
    /// The body of the initiator's SA payload, as it was sent.
    pub(super) offer: Vec<u8>,
}

/// What they make of it.
pub(super) struct Keys {
    /// Of HASH_I and HASH_R.
    proof_hash: HashAlgorithm,
    skeyid: Secret,
    pub(super) prf: Prf,
    pub(super) cipher: AesCbc,
    /// Of the fifth message.
    pub(super) iv: Iv,
}

impl Keys {
    /// `psk` is the pre-shared key, or `None` where signatures authenticate.
    pub(super) fn derive(
        suite: Suite,
        method: Method,
        exchanged: &Exchanged,
        shared: &Secret,
        psk: Option<&Secret>,
    ) -> Result<Self, CipherError> {
        let hash = suite.hash;
        let nonces = Secret::concat(&[&exchanged.initiator_nonce, &exchanged.responder_nonce]);
        let skeyid = match psk {
            Some(psk) => hash.prf(psk, &[&nonces]),
            None => hash.prf(&nonces, &[shared]),
        };
        let CookiePair { initiator, responder } = exchanged.cookies;
        let (initiator, responder) = (initiator.0, responder.0);
        let skeyid_d = hash.prf(&skeyid, &[shared, &initiator, &responder, &[0]]);
        let skeyid_a = hash.prf(&skeyid, &[&skeyid_d, shared, &initiator, &responder, &[1]]);
        let skeyid_e = hash.prf(&skeyid, &[&skeyid_a, shared, &initiator, &responder, &[2]]);
        let key = encryption_key(hash, &skeyid_e, suite.cipher.key_len());
        Ok(Self {
            proof_hash: method.tied_hash().unwrap_or(hash),
            skeyid,
            prf: Prf::new(hash, skeyid_a),
            cipher: AesCbc::new(&key)?,
            iv: first_iv(hash, &[&exchanged.initiator_public, &exchanged.responder_public]),
        })
    }

    /// HASH_I: what the initiator authenticates, with `identity` the body of its ID payload.
    pub(super) fn hash_i(&self, exchanged: &Exchanged, identity: &[u8]) -> Secret {
        hash_i(self.proof_hash, &self.skeyid, exchanged, identity)
    }

    /// HASH_R: what the responder authenticates, with `identity` the body of its ID payload.
    pub(super) fn hash_r(&self, exchanged: &Exchanged, identity: &[u8]) -> Secret {
        hash_r(self.proof_hash, &self.skeyid, exchanged, identity)
    }
}

pub(super) fn hash_i(hash: HashAlgorithm, skeyid: &[u8], exchanged: &Exchanged, identity: &[u8]) -> Secret {
    let CookiePair { initiator, responder } = exchanged.cookies;
    let (own, peer) = (&exchanged.initiator_public, &exchanged.responder_public);
    hash.prf(skeyid, &[own, peer, &initiator.0, &responder.0, &exchanged.offer, identity])
}

pub(super) fn hash_r(hash: HashAlgorithm, skeyid: &[u8], exchanged: &Exchanged, identity: &[u8]) -> Secret {
    let CookiePair { initiator, responder } = exchanged.cookies;
    let (own, peer) = (&exchanged.responder_public, &exchanged.initiator_public);
    hash.prf(skeyid, &[own, peer, &responder.0, &initiator.0, &exchanged.offer, identity])
}

/// The cipher's key: SKEYID_e, or where that is too short Ka = K1 | K2 | ... with K1 = prf(SKEYID_e, 0) and
/// each next one the prf of the one before (RFC 2409 appendix B).
pub(super) fn encryption_key(hash: HashAlgorithm, skeyid_e: &Secret, len: usize) -> Secret {
    if let Some(key) = skeyid_e.first(len) {
        return key;
    }
    let mut block = hash.prf(skeyid_e, &[&[0]]);
    let mut key = block.clone();
    loop {
        if let Some(key) = key.first(len) {
            return key;
        }
        block = hash.prf(skeyid_e, &[&block]);
        key = Secret::concat(&[&key, &block]);
    }
}

/// The start of the hash of the parts: of g^xi | g^xr for phase 1, of the last block of phase 1 | M-ID for a
/// later exchange.
pub(super) fn first_iv(hash: HashAlgorithm, parts: &[&[u8]]) -> Iv {
    let digest = hash.digest(parts);
    let mut iv = [0; AES_BLOCK_LEN];
    // Every hash is longer than a block.
    iv.copy_from_slice(&digest[..AES_BLOCK_LEN]);
    Iv(iv)
}
