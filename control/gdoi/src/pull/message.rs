//! What all four messages of GROUPKEY-PULL have in common: the HASH before everything else.

use super::PullError;
use crate::ike::Prf;
use crate::wire::{
    Body, Compat, EncodedChain, ExchangeType, Located, Payload, PayloadType, WireError, encode_chain,
};
use zeroize::Zeroizing;

/// What every HASH of one exchange is made of.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) prf: Prf,
    pub(super) message_id: u32,
}

impl Exchange {
    /// A message: the HASH over M-ID, the nonces that went before and `payloads`, then these.
    pub(super) fn write(
        &self,
        nonces: &[&[u8]],
        payloads: &[Payload],
        compat: Compat,
    ) -> Result<EncodedChain, WireError> {
        let rest = encode_chain(payloads, PayloadType::None, compat)?;
        let hash = self.prf.hash(self.message_id, &[nonces, &[&rest.octets]].concat());
        let hash = encode_chain(&[Payload::Hash(hash.to_vec())], rest.first, compat)?;
        let octets = Zeroizing::new([hash.octets.as_slice(), &rest.octets].concat());
        Ok(EncodedChain { first: hash.first, octets })
    }

    /// A message whose HASH verifies.
    pub(super) fn read<'a>(
        &self,
        number: u8,
        nonces: &[&[u8]],
        first: PayloadType,
        octets: &'a [u8],
        compat: Compat,
    ) -> Result<Verified<'a>, PullError> {
        let body = Body::decode(first, ExchangeType::GroupkeyPull, octets, compat)?;
        let Some(hash @ Located { payload: Payload::Hash(received), .. }) = body.payloads().first() else {
            return Err(PullError::NoHash(number));
        };
        let computed = self.prf.hash(self.message_id, &[nonces, &[body.after(hash)]].concat());
        if computed != received.as_slice() {
            return Err(PullError::Hash(number));
        }
        Ok(Verified { number, body })
    }
}

/// A message whose HASH has verified.
pub(super) struct Verified<'a> {
    number: u8,
    body: Body<'a>,
}

impl Verified<'_> {
    /// The one payload of this type.
    pub(super) fn one(&self, payload_type: PayloadType) -> Result<&Payload, PullError> {
        self.at_most_one(payload_type)?.ok_or(PullError::Missing(self.number, payload_type))
    }

    /// The one payload of this type, if it is there.
    pub(super) fn at_most_one(&self, payload_type: PayloadType) -> Result<Option<&Payload>, PullError> {
        let mut found = self.body.payloads().iter().map(|located| &located.payload);
        let mut found = found.by_ref().filter(|payload| payload.payload_type() == payload_type);
        match (found.next(), found.next()) {
            (first, None) => Ok(first),
            _ => Err(PullError::Repeated(self.number, payload_type)),
        }
    }

    /// That a payload of this type is missing, though one of that number may be there.
    pub(super) fn missing(&self, payload_type: PayloadType) -> PullError {
        PullError::Missing(self.number, payload_type)
    }
}
