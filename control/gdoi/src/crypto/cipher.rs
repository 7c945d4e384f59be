//! AES in CBC mode, as ISAKMP messages are encrypted (RFC 2409 appendix B, RFC 3602). Whole blocks, in
//! place; padding and the chain of IVs are the caller's.

use super::Secret;
use aes::cipher::array::Array;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use std::fmt;
use thiserror::Error;

/// The length of a block and of an IV, in octets.
pub const AES_BLOCK_LEN: usize = 16;

/// Why something could not be encrypted or decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CipherError {
    /// Not a key of AES.
    #[error("an AES key has 16, 24 or 32 octets, not {0}")]
    KeyLength(usize),
    /// CBC works on whole blocks.
    #[error("AES-CBC works on whole blocks of 16 octets, and {0} octets are none")]
    NotWholeBlocks(usize),
}

/// An AES key. Wiped when dropped. Only the key is kept, since its round keys take thirty times as much
/// memory, and a key server has thousands of phase 1s that are seldom used: they are made for each message,
/// which takes a fraction of a microsecond.
#[derive(Clone)]
pub struct AesCbc(Secret);

/// A key with its round keys.
enum Schedule {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl AesCbc {
    /// The key of 16, 24 or 32 octets.
    ///
    /// # Errors
    /// Any other length.
    pub fn new(key: &[u8]) -> Result<Self, CipherError> {
        match key.len() {
            16 | 24 | 32 => Ok(Self(Secret::from(key))),
            other => Err(CipherError::KeyLength(other)),
        }
    }

    /// Encrypts `text` in place. The next IV of a chain is its last block.
    ///
    /// # Errors
    /// `text` is not whole blocks; it is left as it was.
    pub fn encrypt(&self, iv: &[u8; AES_BLOCK_LEN], text: &mut [u8]) -> Result<(), CipherError> {
        let blocks = Array::cast_slice_from_core_mut(whole_blocks(text)?);
        let iv = iv.into();
        match self.schedule()? {
            Schedule::Aes128(aes) => cbc::Encryptor::inner_iv_init(&aes, iv).encrypt_blocks(blocks),
            Schedule::Aes192(aes) => cbc::Encryptor::inner_iv_init(&aes, iv).encrypt_blocks(blocks),
            Schedule::Aes256(aes) => cbc::Encryptor::inner_iv_init(&aes, iv).encrypt_blocks(blocks),
        }
        Ok(())
    }

    /// Decrypts `text` in place. The next IV of a chain is what its last block was before.
    ///
    /// # Errors
    /// `text` is not whole blocks; it is left as it was.
    pub fn decrypt(&self, iv: &[u8; AES_BLOCK_LEN], text: &mut [u8]) -> Result<(), CipherError> {
        let blocks = Array::cast_slice_from_core_mut(whole_blocks(text)?);
        let iv = iv.into();
        match self.schedule()? {
            Schedule::Aes128(aes) => cbc::Decryptor::inner_iv_init(&aes, iv).decrypt_blocks(blocks),
            Schedule::Aes192(aes) => cbc::Decryptor::inner_iv_init(&aes, iv).decrypt_blocks(blocks),
            Schedule::Aes256(aes) => cbc::Decryptor::inner_iv_init(&aes, iv).decrypt_blocks(blocks),
        }
        Ok(())
    }

    fn schedule(&self) -> Result<Schedule, CipherError> {
        let key = self.0.as_slice();
        let wrong_length = |_| CipherError::KeyLength(key.len());
        Ok(match key.len() {
            16 => Schedule::Aes128(Aes128::new_from_slice(key).map_err(wrong_length)?),
            24 => Schedule::Aes192(Aes192::new_from_slice(key).map_err(wrong_length)?),
            _ => Schedule::Aes256(Aes256::new_from_slice(key).map_err(wrong_length)?),
        })
    }
}

impl fmt::Debug for AesCbc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AesCbc({} bits)", self.0.len() * 8)
    }
}

fn whole_blocks(text: &mut [u8]) -> Result<&mut [[u8; AES_BLOCK_LEN]], CipherError> {
    let len = text.len();
    match text.as_chunks_mut() {
        (blocks, []) => Ok(blocks),
        _ => Err(CipherError::NotWholeBlocks(len)),
    }
}

#[cfg(test)]
mod tests;
