//! AES-GMAC (RFC 4543): authenticated, not encrypted. Runs on workers; never allocates and never
//! sets up a key there.
//!
//! ring could do it as GCM of nothing with the packet as AAD, but it hashes AAD a block at a time;
//! the GHASH used here takes four at once and is over twice as fast at 1,400 octets.

use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit, consts::U16};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use subtle::ConstantTimeEq;

use super::ESP_HEADER_LEN;
use super::aead::{IV_LEN, Salt, TAG_LEN};

/// The keys of one SA, as an ESP transform: covered is everything from the SPI to the next header,
/// IV included (RFC 4543 section 3.3).
pub(super) struct Gmac<C> {
    key: GmacKey<C>,
    salt: Salt,
}

impl<C> Gmac<C>
where
    C: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    /// None when `keymat`, key and salt, has the wrong length.
    pub(super) fn new(keymat: &[u8]) -> Option<Self> {
        let (key, salt) = Salt::split(keymat)?;
        let key = GmacKey::new(key)?;
        Some(Self { key, salt })
    }

    /// False when the packet is not authentic.
    #[inline]
    pub(super) fn open(&self, esp: &mut [u8]) -> bool {
        let Some((covered, icv)) = esp.split_last_chunk_mut::<TAG_LEN>() else {
            return false;
        };
        match iv_of(covered) {
            Some(iv) => self.key.verify(self.salt.nonce(iv), covered, icv),
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
        *icv = self.key.tag(nonce, covered);
        true
    }
}

/// Where the IV is; None when the packet is too short to have one.
#[inline]
fn iv_of(covered: &mut [u8]) -> Option<&mut [u8; IV_LEN]> {
    covered.get_mut(ESP_HEADER_LEN..)?.first_chunk_mut()
}

/// GMAC as a primitive (NIST SP 800-38D): GCM of no plaintext, for any 96-bit nonce.
pub(super) struct GmacKey<C> {
    aes: C,
    ghash: GHash,
}

impl<C> GmacKey<C>
where
    C: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    /// None when `key` has the wrong length.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let aes = C::new_from_slice(key).ok()?;
        let mut hash_key = ghash::Key::default();
        aes.encrypt_block(&mut hash_key);
        let ghash = GHash::new(&hash_key);
        zeroize::Zeroize::zeroize(hash_key.as_mut_slice());
        Some(Self { aes, ghash })
    }

    /// The tag of `message` (section 6.4): its GHASH, masked with the first counter block.
    #[inline]
    pub(super) fn tag(&self, nonce: [u8; 12], message: &[u8]) -> [u8; TAG_LEN] {
        let [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11] = nonce;
        let first = [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11, 0, 0, 0, 1];
        let mut mask = ghash::Block::from(first);
        self.aes.encrypt_block(&mut mask);

        // The lengths in bits of AAD and of ciphertext, of which there is none.
        let lengths = u128::from(message.len() as u64 * 8) << 64;
        let mut ghash = self.ghash.clone();
        ghash.update_padded(message);
        ghash.update(&[lengths.to_be_bytes().into()]);
        let hash = u128::from_ne_bytes(ghash.finalize().into());
        (hash ^ u128::from_ne_bytes(mask.into())).to_ne_bytes()
    }

    /// Verifies a tag in constant time.
    #[inline]
    pub(super) fn verify(&self, nonce: [u8; 12], message: &[u8], tag: &[u8; TAG_LEN]) -> bool {
        self.tag(nonce, message).ct_eq(tag).into()
    }
}
