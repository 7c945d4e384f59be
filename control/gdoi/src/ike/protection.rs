//! How messages are encrypted once the keys are there: CBC whose IV goes on from message to message of one
//! exchange, and starts from the last block of phase 1 (RFC 2409 appendix B).

use super::keys::first_iv;
use super::{IkeError, Iv, Prf};
use crate::crypto::{AES_BLOCK_LEN, AesCbc};
use crate::wire::{CookiePair, ExchangeType, Flags, Header, PayloadType, split_datagram};
use zeroize::Zeroizing;

/// A message that was decrypted and not yet authenticated.
#[derive(Debug)]
pub struct Opened {
    /// The exchange that it is of.
    pub exchange: ExchangeType,
    /// Which of the exchanges of this kind.
    pub message_id: u32,
    /// The type of the body's first payload.
    pub first_payload: PayloadType,
    /// The payloads, with the padding behind them.
    pub body: Zeroizing<Vec<u8>>,
}

/// Encrypts and decrypts the messages of one phase 1.
#[derive(Clone, Debug)]
pub(super) struct Protection {
    pub(super) cookies: CookiePair,
    pub(super) prf: Prf,
    pub(super) cipher: AesCbc,
    /// The last block of phase 1's last message.
    pub(super) last_block: Iv,
}

impl Protection {
    /// The IV of the first message of an exchange: the hash of phase 1's last block and the message ID.
    pub(super) fn phase2_iv(&self, message_id: u32) -> Iv {
        first_iv(self.prf.algorithm(), &[&self.last_block.0, &message_id.to_be_bytes()])
    }

    pub(super) fn seal(
        &self,
        exchange: ExchangeType,
        message_id: u32,
        iv: &mut Iv,
        first_payload: PayloadType,
        body: &[u8],
    ) -> Result<Vec<u8>, IkeError> {
        let header = Header::new(self.cookies, first_payload, exchange, Flags::ENCRYPTED, message_id);
        seal(&self.cipher, header, iv, body)
    }

    pub(super) fn open(&self, datagram: &[u8], iv: &Iv) -> Result<(Opened, Iv), IkeError> {
        let (header, body) = split_datagram(datagram)?;
        if header.cookies() != self.cookies {
            return Err(IkeError::Cookies);
        }
        if header.flags != Flags::ENCRYPTED {
            return Err(IkeError::Unencrypted);
        }
        let (body, next) = decrypt(&self.cipher, iv, body)?;
        let opened = Opened {
            exchange: header.exchange,
            message_id: header.message_id,
            first_payload: header.next_payload,
            body,
        };
        Ok((opened, next))
    }
}

/// The message of `header` and `body`, padded with zeros to whole blocks and encrypted. `iv` goes on to its
/// last block.
pub(super) fn seal(cipher: &AesCbc, header: Header, iv: &mut Iv, body: &[u8]) -> Result<Vec<u8>, IkeError> {
    let padded = body.len().next_multiple_of(AES_BLOCK_LEN);
    let mut text = Zeroizing::new(Vec::with_capacity(padded));
    text.extend_from_slice(body);
    text.resize(padded, 0);
    cipher.encrypt(&iv.0, &mut text).map_err(|_| IkeError::Length(padded))?;
    let datagram = header.datagram(&text)?;
    *iv = last_block(&text)?;
    Ok(datagram)
}

/// The body in the clear, with its padding, and the IV of the next message.
pub(super) fn decrypt(cipher: &AesCbc, iv: &Iv, body: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Iv), IkeError> {
    let next = last_block(body)?;
    let mut text = Zeroizing::new(body.to_vec());
    cipher.decrypt(&iv.0, &mut text).map_err(|_| IkeError::Length(body.len()))?;
    Ok((text, next))
}

fn last_block(text: &[u8]) -> Result<Iv, IkeError> {
    text.last_chunk::<AES_BLOCK_LEN>().copied().map(Iv).ok_or(IkeError::Length(text.len()))
}
