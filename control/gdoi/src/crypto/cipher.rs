//! AES in CBC mode, as ISAKMP messages are encrypted (RFC 2409 appendix B, RFC 3602). Whole blocks, in
//! place; padding and the chain of IVs are the caller's.

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

/// An AES key, ready to encrypt and decrypt. Wiped when dropped.
#[derive(Clone)]
pub struct AesCbc(Key);

#[derive(Clone)]
enum Key {
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
        let wrong_length = |_| CipherError::KeyLength(key.len());
        Ok(Self(match key.len() {
            16 => Key::Aes128(Aes128::new_from_slice(key).map_err(wrong_length)?),
            24 => Key::Aes192(Aes192::new_from_slice(key).map_err(wrong_length)?),
            _ => Key::Aes256(Aes256::new_from_slice(key).map_err(wrong_length)?),
        }))
    }

    /// Encrypts `text` in place. The next IV of a chain is its last block.
    ///
    /// # Errors
    /// `text` is not whole blocks; it is left as it was.
    pub fn encrypt(&self, iv: &[u8; AES_BLOCK_LEN], text: &mut [u8]) -> Result<(), CipherError> {
        let blocks = Array::cast_slice_from_core_mut(whole_blocks(text)?);
        let iv = iv.into();
        match &self.0 {
            Key::Aes128(aes) => cbc::Encryptor::inner_iv_init(aes, iv).encrypt_blocks(blocks),
            Key::Aes192(aes) => cbc::Encryptor::inner_iv_init(aes, iv).encrypt_blocks(blocks),
            Key::Aes256(aes) => cbc::Encryptor::inner_iv_init(aes, iv).encrypt_blocks(blocks),
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
        match &self.0 {
            Key::Aes128(aes) => cbc::Decryptor::inner_iv_init(aes, iv).decrypt_blocks(blocks),
            Key::Aes192(aes) => cbc::Decryptor::inner_iv_init(aes, iv).decrypt_blocks(blocks),
            Key::Aes256(aes) => cbc::Decryptor::inner_iv_init(aes, iv).decrypt_blocks(blocks),
        }
        Ok(())
    }
}

impl fmt::Debug for AesCbc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Key::Aes128(_) => "AesCbc(128 bits)",
            Key::Aes192(_) => "AesCbc(192 bits)",
            Key::Aes256(_) => "AesCbc(256 bits)",
        })
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
