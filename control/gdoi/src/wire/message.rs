//! The body of a message: a chain of payloads, each with the place of its octets, since hashes and
//! signatures cover octets and not values.

use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use super::Compat;
use super::codec::{GENERIC_HEADER_LEN, Reader, Reason, WireError, Writer};
use super::number::{ExchangeType, PayloadType};
use super::payload::{Payload, what};

/// The most payloads read in one message.
const MAX_PAYLOADS: usize = 64;

/// A message's body, read. Debug shows the payloads and not the octets, since some of those are keys.
#[derive(Clone)]
pub struct Body<'a> {
    octets: &'a [u8],
    payloads: Vec<Located>,
    end: usize,
}

/// A payload and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The payload.
    pub payload: Payload,
    /// Its octets in the body, from its generic header to its end.
    pub range: Range<usize>,
}

impl<'a> Body<'a> {
    /// Reads a body in the clear: `first` is the header's Next Payload. What follows the last payload is
    /// padding and may be anything; an unencrypted message should have none ([`Body::padding`]).
    ///
    /// # Errors
    /// A payload is not what its type says, or there are more than 64.
    pub fn decode(
        first: PayloadType,
        exchange: ExchangeType,
        octets: &'a [u8],
        compat: Compat,
    ) -> Result<Self, WireError> {
        let mut reader = Reader::new(octets, "message");
        let mut payloads = Vec::new();
        let mut next = first;
        while next != PayloadType::None {
            if payloads.len() == MAX_PAYLOADS {
                return Err(reader.error(Reason::TooMany(MAX_PAYLOADS)));
            }
            let start = reader.offset();
            let (following, mut content) = reader.payload(what(next))?;
            let payload = Payload::read(next, exchange, &mut content, compat)?;
            payloads.push(Located { payload, range: start..reader.offset() });
            next = following;
        }
        Ok(Self { octets, payloads, end: reader.offset() })
    }

    /// The payloads in order.
    #[must_use]
    pub fn payloads(&self) -> &[Located] {
        &self.payloads
    }

    /// The first payload of a type.
    #[must_use]
    pub fn find(&self, payload_type: PayloadType) -> Option<&Located> {
        self.payloads.iter().find(|located| located.payload.payload_type() == payload_type)
    }

    /// The chain's octets, without padding.
    #[must_use]
    pub fn octets(&self) -> &'a [u8] {
        self.octets.get(..self.end).unwrap_or_default()
    }

    /// What follows the chain.
    #[must_use]
    pub fn padding(&self) -> &'a [u8] {
        self.octets.get(self.end..).unwrap_or_default()
    }

    /// A payload's octets with its generic header, as GROUPKEY-PULL's hashes cover them.
    #[must_use]
    pub fn raw(&self, located: &Located) -> &'a [u8] {
        self.octets.get(located.range.clone()).unwrap_or_default()
    }

    /// A payload's octets without its generic header, as phase 1's hashes cover them (`SAi_b`, `IDii_b`).
    #[must_use]
    pub fn content(&self, located: &Located) -> &'a [u8] {
        self.raw(located).get(GENERIC_HEADER_LEN..).unwrap_or_default()
    }

    /// The chain's octets before a payload, as a GROUPKEY-PUSH's SIG covers them.
    #[must_use]
    pub fn before(&self, located: &Located) -> &'a [u8] {
        self.octets.get(..located.range.start).unwrap_or_default()
    }

    /// The chain's octets after a payload, as a HASH covers them.
    #[must_use]
    pub fn after(&self, located: &Located) -> &'a [u8] {
        self.octets.get(located.range.end..self.end).unwrap_or_default()
    }
}

/// A chain of payloads, written. Zeroised when dropped, and not shown by Debug, since some of it is keys.
#[derive(Clone)]
pub struct EncodedChain {
    /// The type of the first payload, for the header or for the payload that goes before.
    pub first: PayloadType,
    /// The octets.
    pub octets: Zeroizing<Vec<u8>>,
}

/// Writes a chain of payloads whose last one names `next` as its next payload.
///
/// A HASH covers what comes after it, and a SIG what comes before it, so such a message is written in two
/// parts: for a HASH first the rest with [`PayloadType::None`], then the HASH with the rest's `first`;
/// for a SIG first the rest with [`PayloadType::Signature`], then the SIG.
///
/// # Errors
/// Something does not fit its length field, or is not a well-formed payload.
pub fn encode_chain(
    payloads: &[Payload],
    next: PayloadType,
    compat: Compat,
) -> Result<EncodedChain, WireError> {
    let mut writer = Writer::new();
    let mut rest = payloads.iter().peekable();
    while let Some(payload) = rest.next() {
        let following = rest.peek().map_or(next, |payload| payload.payload_type());
        writer.payload(following, what(payload.payload_type()), |writer| payload.write(writer, compat));
    }
    let first = payloads.first().map_or(next, Payload::payload_type);
    Ok(EncodedChain { first, octets: writer.finish()? })
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("payloads", &self.payloads)
            .field("padding", &self.padding().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EncodedChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncodedChain({}, {} octets)", self.first, self.octets.len())
    }
}
