//! One message of main mode: its shape checked, its payloads found, in the clear or decrypted.

use crate::ike::keys::Keys;
use crate::ike::protection::{decrypt, seal};
use crate::ike::{IkeError, Iv, Method};
use crate::wire::{
    Body, Compat, CookiePair, ExchangeType, Flags, Header, Located, Payload, PayloadType, encode_chain,
};
use zeroize::Zeroizing;

/// A message that is there to be read.
pub(super) struct Message<'a> {
    number: u8,
    pub(super) body: Body<'a>,
}

impl<'a> Message<'a> {
    /// The message with this number, of the four that are not encrypted.
    pub(super) fn clear(number: u8, header: &Header, body: &'a [u8]) -> Result<Self, IkeError> {
        if header.flags != Flags::NONE {
            return Err(IkeError::Unexpected(number, "it has flags, and no encryption is agreed yet"));
        }
        check_phase1(number, header)?;
        let body = Body::decode(header.next_payload, header.exchange, body, Compat::Standard)?;
        Ok(Self { number, body })
    }

    /// The fifth or sixth message, from what [`decrypt_message`] made of it.
    pub(super) fn decrypted(
        number: u8,
        header: &Header,
        text: &'a [u8],
        method: Method,
    ) -> Result<Self, IkeError> {
        // With wrong keys anything comes out; hardly ever a chain of payloads.
        let body = Body::decode(header.next_payload, header.exchange, text, Compat::Standard)
            .map_err(|_| undecryptable(number, method))?;
        Ok(Self { number, body })
    }

    /// The one payload of this type.
    pub(super) fn payload(&self, payload: PayloadType) -> Result<&Located, IkeError> {
        let mut found =
            self.body.payloads().iter().filter(|located| located.payload.payload_type() == payload);
        match (found.next(), found.next()) {
            (Some(located), None) => Ok(located),
            (None, _) => Err(IkeError::Missing { message: self.number, payload }),
            (Some(_), Some(_)) => Err(IkeError::Repeated { message: self.number, payload }),
        }
    }

    /// The public value and the nonce of the third or fourth message.
    pub(super) fn key_exchange(&self) -> Result<(Vec<u8>, Vec<u8>), IkeError> {
        let public = self.payload(PayloadType::KeyExchange)?;
        let nonce = self.payload(PayloadType::Nonce)?;
        Ok((self.body.content(public).to_vec(), self.body.content(nonce).to_vec()))
    }
}

/// The text of an encrypted message and the IV of the one after it.
pub(super) fn decrypt_message(
    number: u8,
    header: &Header,
    body: &[u8],
    keys: &Keys,
    iv: &Iv,
) -> Result<(Zeroizing<Vec<u8>>, Iv), IkeError> {
    if header.flags != Flags::ENCRYPTED {
        return Err(IkeError::Unexpected(number, "it is not encrypted, or has other flags than that"));
    }
    check_phase1(number, header)?;
    decrypt(&keys.cipher, iv, body)
}

/// One of the four messages that are not encrypted.
pub(super) fn clear(cookies: CookiePair, payloads: &[Payload]) -> Result<Vec<u8>, IkeError> {
    let chain = encode_chain(payloads, PayloadType::None, Compat::Standard)?;
    let header = Header::new(cookies, chain.first, ExchangeType::IdentityProtection, Flags::NONE, 0);
    Ok(header.datagram(&chain.octets)?)
}

/// The fifth or sixth message; `iv` goes on to the message after it.
pub(super) fn encrypted(
    cookies: CookiePair,
    payloads: &[Payload],
    keys: &Keys,
    iv: &mut Iv,
) -> Result<Vec<u8>, IkeError> {
    let chain = encode_chain(payloads, PayloadType::None, Compat::Standard)?;
    let header = Header::new(cookies, chain.first, ExchangeType::IdentityProtection, Flags::ENCRYPTED, 0);
    seal(&keys.cipher, header, iv, &chain.octets)
}

/// What a message that does not decrypt means.
pub(super) fn undecryptable(number: u8, method: Method) -> IkeError {
    match method {
        Method::PreSharedKey => IkeError::PreSharedKey(number),
        _ => IkeError::Undecryptable(number),
    }
}

fn check_phase1(number: u8, header: &Header) -> Result<(), IkeError> {
    if header.message_id == 0 {
        Ok(())
    } else {
        Err(IkeError::Unexpected(number, "its message ID is not zero"))
    }
}
