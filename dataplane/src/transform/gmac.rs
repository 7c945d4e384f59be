//! AES-GMAC (RFC 4543): authenticated, not encrypted. The AAD is everything from the SPI to the next
//! header, IV included (section 3.3). Runs on workers; never allocates and never sets up a key there.

use ring::aead::Algorithm;

use super::ESP_HEADER_LEN;
use super::aead::{AeadKey, IV_LEN, Salt, TAG_LEN, split_keymat};

/// The keys of one SA.
pub(super) struct Gmac {
    key: AeadKey,
    salt: Salt,
}

impl Gmac {
    /// None when `keymat`, key and salt, has the wrong length.
    pub(super) fn new(algorithm: &'static Algorithm, keymat: &[u8]) -> Option<Self> {
        let (key, salt) = split_keymat(algorithm, keymat)?;
        Some(Self { key, salt })
    }

    /// False when the packet is not authentic.
    #[inline]
    pub(super) fn open(&self, esp: &mut [u8]) -> bool {
        let Some((covered, icv)) = esp.split_last_chunk_mut::<TAG_LEN>() else {
            return false;
        };
        match iv_of(covered) {
            Some(iv) => verify(&self.key, self.salt.nonce(iv), covered, *icv),
            None => false,
        }
    }

    /// Writes IV and ICV; false, and nothing written, when the packet is too short.
    #[inline]
    pub(super) fn seal(&self, esp: &mut [u8], iv: u64) -> bool {
        let Some((covered, icv)) = esp.split_last_chunk_mut::<TAG_LEN>() else {
            return false;
        };
        let Some(room) = iv_of(covered) else {
            return false;
        };
        *room = iv.to_be_bytes();
        let nonce = self.salt.nonce(room);
        sign(&self.key, nonce, covered, icv)
    }
}

/// Where the IV is; None when the packet is too short to have one.
#[inline]
fn iv_of(covered: &mut [u8]) -> Option<&mut [u8; IV_LEN]> {
    covered.get_mut(ESP_HEADER_LEN..)?.first_chunk_mut()
}

/// GMAC (NIST SP 800-38D section 3): GCM of nothing, with the message as AAD.
#[inline]
pub(super) fn sign(key: &AeadKey, nonce: [u8; 12], message: &[u8], tag: &mut [u8; TAG_LEN]) -> bool {
    key.seal(nonce, message, &mut [], tag)
}

/// Verifies a GMAC in constant time.
#[inline]
pub(super) fn verify(key: &AeadKey, nonce: [u8; 12], message: &[u8], tag: [u8; TAG_LEN]) -> bool {
    key.open(nonce, message, &mut [], tag)
}
