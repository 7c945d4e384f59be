//! AES-CBC (RFC 3602) with an HMAC over header, IV and ciphertext (RFC 4303 section 3.3.2): what the
//! installed base uses. CBC encryption is serial within a packet, so a run of packets is encrypted
//! side by side. Runs on workers; never allocates and never sets up a key there.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::inout::InOut;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockModeDecrypt,
    BlockSizeUser, InnerIvInit, KeyInit,
};
use arrayvec::ArrayVec;

use super::hmac::{Hash, Hmac};
use super::{ESP_HEADER_LEN, SealJob};

/// Packets encrypted side by side: enough to hide the latency of the AES instructions.
pub(super) const LANES: usize = 8;

/// One AES block.
pub(super) type Block = Array<u8, U16>;

/// The keys of one SA.
pub(super) struct CbcHmac<C> {
    aes: C,
    hmac: Hmac,
}

impl<C> CbcHmac<C>
where
    C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    /// None when `key` has the wrong length or there is no `hash`.
    pub(super) fn new(key: &[u8], hash: Option<Hash>, integrity_key: &[u8]) -> Option<Self> {
        Some(Self { aes: C::new_from_slice(key).ok()?, hmac: Hmac::new(hash?, integrity_key)? })
    }

    /// Verifies first, then decrypts in place; false when the packet is not authentic.
    #[inline]
    pub(super) fn open(&self, esp: &mut [u8]) -> bool {
        let Some((covered, icv)) = self.hmac.split(esp) else {
            return false;
        };
        if !self.hmac.verify(covered, icv) {
            return false;
        }
        match blocks(covered).and_then(<[Block]>::split_first_mut) {
            Some((iv, text)) => {
                decrypt(&self.aes, iv, text);
                true
            }
            None => false,
        }
    }

    /// Encrypts in place and writes IVs and ICVs. A packet that is too short, or not a whole number
    /// of blocks, is left as it is.
    pub(super) fn seal_run(&self, run: &mut [SealJob<'_>]) {
        for group in run.chunks_mut(LANES) {
            let mut lanes = Lanes::new();
            for job in group.iter_mut() {
                let covered = self.hmac.split(job.esp).map(|(covered, _)| covered);
                job.sealed = match covered.and_then(blocks) {
                    Some(text) if !text.is_empty() => lanes.add(text, job.iv),
                    _ => false,
                };
            }
            lanes.encrypt(&self.aes);
            for job in group.iter_mut().filter(|job| job.sealed) {
                job.sealed = match self.hmac.split(job.esp) {
                    Some((covered, icv)) => self.hmac.sign(covered, icv),
                    None => false,
                };
            }
        }
    }
}

/// IV and text of a packet without its ICV; None when they are not whole blocks.
#[inline]
fn blocks(covered: &mut [u8]) -> Option<&mut [Block]> {
    let (blocks, rest) = covered.get_mut(ESP_HEADER_LEN..)?.as_chunks_mut::<16>();
    rest.is_empty().then(|| Array::cast_slice_from_core_mut(blocks))
}

/// CBC decryption in place; the library does many blocks at once.
#[inline]
pub(super) fn decrypt<C>(aes: &C, iv: &Block, text: &mut [Block])
where
    C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>,
{
    cbc::Decryptor::inner_iv_init(aes, iv).decrypt_blocks(text);
}

/// Up to [`LANES`] messages to encrypt side by side under one key.
pub(super) struct Lanes<'a> {
    lanes: ArrayVec<Lane<'a>, LANES>,
}

struct Lane<'a> {
    previous: u128,
    text: core::slice::IterMut<'a, Block>,
}

impl<'a> Lanes<'a> {
    #[inline]
    pub(super) fn new() -> Self {
        Self { lanes: ArrayVec::new() }
    }

    /// Adds a packet whose first block is the room for its IV; false when all lanes are taken.
    ///
    /// The IV is the cipher applied to a nonce (NIST SP 800-38A appendix C): unique because the
    /// nonce is, unpredictable without the key, and free of any random number generator. As CBC
    /// chains from a block of zeros, it is the nonce encrypted as one more block of the message.
    #[inline]
    fn add(&mut self, iv_and_text: &'a mut [Block], nonce: u64) -> bool {
        if let Some(iv) = iv_and_text.first_mut() {
            let mut block = [0; 16];
            block[..8].copy_from_slice(&nonce.to_be_bytes());
            *iv = block.into();
        }
        self.push(&Block::default(), iv_and_text)
    }

    /// Adds a message with a given IV; false when all lanes are taken.
    #[inline]
    pub(super) fn push(&mut self, iv: &Block, text: &'a mut [Block]) -> bool {
        self.lanes.try_push(Lane { previous: u128::from_ne_bytes(iv.0), text: text.iter_mut() }).is_ok()
    }

    /// Encrypts every message in place.
    #[inline]
    pub(super) fn encrypt<C>(self, aes: &C)
    where
        C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
    {
        aes.encrypt_with_backend(self);
    }
}

impl BlockSizeUser for Lanes<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Lanes<'_> {
    /// One block of each message, then the next of each: the blocks in flight do not depend on
    /// each other, so the processor overlaps them.
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(mut self, backend: &B) {
        loop {
            let mut busy = false;
            for lane in &mut self.lanes {
                if let Some(block) = lane.text.next() {
                    let mixed = u128::from_ne_bytes(block.0) ^ lane.previous;
                    let mixed: Block = mixed.to_ne_bytes().into();
                    backend.encrypt_block(InOut::from((&mixed, &mut *block)));
                    lane.previous = u128::from_ne_bytes(block.0);
                    busy = true;
                }
            }
            if !busy {
                return;
            }
        }
    }
}
