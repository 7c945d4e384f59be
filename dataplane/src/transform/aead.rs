//! The combined modes of ring: AES-GCM (RFC 4106) and ChaCha20-Poly1305 (RFC 7634), which differ in
//! the algorithm only. Runs on workers; never allocates and never sets up a key there.

use ring::aead::{Aad, Algorithm, LessSafeKey, Nonce, Tag, UnboundKey};
use zeroize::Zeroize;

use super::{ESP_HEADER_LEN, overwrite};

/// Octets of the salt at the end of the key material.
const SALT_LEN: usize = 4;
/// Octets of the IV in the packet.
pub(super) const IV_LEN: usize = 8;
/// Octets of the ICV.
pub(super) const TAG_LEN: usize = 16;

/// An ESP combined mode: AAD is SPI and sequence number (RFC 4106 section 5, RFC 7634 section 2.1).
pub(super) struct Aead {
    key: AeadKey,
    salt: Salt,
}

impl Aead {
    /// None when `keymat`, key and salt, has the wrong length.
    pub(super) fn new(algorithm: &'static Algorithm, keymat: &[u8]) -> Option<Self> {
        let (key, salt) = Salt::split(keymat)?;
        let key = AeadKey::new(algorithm, key)?;
        Some(Self { key, salt })
    }

    /// Decrypts in place; false when the packet is not authentic.
    #[inline]
    pub(super) fn open(&self, esp: &mut [u8]) -> bool {
        let Some((header, iv, text, icv)) = split(esp) else {
            return false;
        };
        self.key.open(self.salt.nonce(iv), header, text, *icv)
    }

    /// Encrypts in place; false, and nothing written, when the packet is too short.
    #[inline]
    pub(super) fn seal(&self, esp: &mut [u8], iv: u64) -> bool {
        let Some((header, room, text, icv)) = split(esp) else {
            return false;
        };
        *room = iv.to_be_bytes();
        self.key.seal(self.salt.nonce(room), header, text, icv)
    }
}

/// The parts of an ESP packet: header, IV, text, ICV.
type Parts<'a> = (&'a mut [u8; ESP_HEADER_LEN], &'a mut [u8; IV_LEN], &'a mut [u8], &'a mut [u8; TAG_LEN]);

/// None when the packet is too short to have them all.
#[inline]
fn split(esp: &mut [u8]) -> Option<Parts<'_>> {
    let (header, rest) = esp.split_first_chunk_mut()?;
    let (iv, rest) = rest.split_first_chunk_mut()?;
    let (text, icv) = rest.split_last_chunk_mut()?;
    Some((header, iv, text, icv))
}

/// A key of ring's, as a primitive: any nonce, any AAD.
pub(super) struct AeadKey {
    key: LessSafeKey,
}

impl AeadKey {
    /// None when `key` has the wrong length.
    pub(super) fn new(algorithm: &'static Algorithm, key: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Self { key: LessSafeKey::new(key) })
    }

    /// Verifies `tag` in constant time and decrypts `text` in place.
    #[inline]
    pub(super) fn open(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8], tag: [u8; TAG_LEN]) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.open_in_place_separate_tag(nonce, Aad::from(aad), Tag::from(tag), text, 0..).is_ok()
    }

    /// Encrypts `text` in place and writes its tag; false when `text` is longer than the algorithm
    /// allows.
    #[inline]
    pub(super) fn seal(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8], tag: &mut [u8; TAG_LEN]) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        match sealed.as_ref().map(|sealed| sealed.as_ref().first_chunk()) {
            Ok(Some(computed)) => {
                *tag = *computed;
                true
            }
            _ => false,
        }
    }
}

impl Drop for AeadKey {
    fn drop(&mut self) {
        let algorithm = self.key.algorithm();
        let zeros = [0; 32];
        let blank = zeros.get(..algorithm.key_len()).and_then(|zeros| UnboundKey::new(algorithm, zeros).ok());
        if let Some(blank) = blank {
            overwrite(&mut self.key, LessSafeKey::new(blank));
        }
    }
}

/// The part of the nonce that is not sent.
pub(super) struct Salt([u8; SALT_LEN]);

impl Salt {
    /// Splits key material into key and salt; None when it is too short to have a salt.
    pub(super) fn split(keymat: &[u8]) -> Option<(&[u8], Self)> {
        let (key, salt) = keymat.split_last_chunk()?;
        Some((key, Self(*salt)))
    }

    /// Salt then IV (RFC 4106 section 4, RFC 4543 section 3.2, RFC 7634 section 2).
    #[inline]
    pub(super) fn nonce(&self, iv: &[u8; IV_LEN]) -> [u8; SALT_LEN + IV_LEN] {
        let [s0, s1, s2, s3] = self.0;
        let [i0, i1, i2, i3, i4, i5, i6, i7] = *iv;
        [s0, s1, s2, s3, i0, i1, i2, i3, i4, i5, i6, i7]
    }
}

impl Drop for Salt {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
