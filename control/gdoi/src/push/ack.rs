//! The acknowledgement of a PUSH (RFC 8263), for members and key servers: HDR, HASH, SEQ, ID in the clear.
//!
//! ```text
//! HASH    = prf(ack_key, SEQ | ID)
//! ack_key = prf(base_key, "GROUPKEY-PUSH ACK" | SPI | L)
//! ```
//!
//! The label ends with a zero octet; base_key is the KEK without its IV. The RFC says of L that it is the
//! number of bits of the ack_key, which has the length of the prf's output (256 for PRF-HMAC-SHA-256), and
//! also that it "MUST match the length of the base_key (i.e., 512 bits for PRF-HMAC-SHA-256)". Both hold
//! once each key is filled up with zeros to the prf's block size, as the RFC demands of both: so L is 512
//! for SHA-256 and 1024 for SHA-512. That is what is sent. (HMAC itself fills keys up, so the zeros change
//! nothing else.) A key server accepts an L of the prf's output length as well.

use crate::crypto::HashAlgorithm;
use crate::group::{AckRequest, KekKeys, KekSpi};
use crate::wire::{
    Body, Compat, CookiePair, ExchangeType, Flags, Header, IdType, Identification, Payload, PayloadType,
    WireError, encode_chain, split_datagram,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// The label of the key derivation, with the zero that ends it.
const LABEL: &[u8] = b"GROUPKEY-PUSH ACK\0";

/// That a member has received a PUSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The Rekey SA that the PUSH came under.
    pub kek: KekSpi,
    /// The number of the PUSH.
    pub sequence: u32,
    /// The member: the address that it registered from.
    pub member: IpAddr,
}

/// An acknowledgement as it came. What it says is a hint until it verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedAck {
    ack: Ack,
    hash: Vec<u8>,
    /// SEQ and ID with their generic headers.
    hashed: Vec<u8>,
}

/// Why an acknowledgement is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AckError {
    /// The octets are no payloads.
    #[error("malformed acknowledgement: {0}")]
    Malformed(#[from] WireError),
    /// The header is not an acknowledgement's: exchange 35, no flags, message ID 0.
    #[error("the header is not an acknowledgement's")]
    Header,
    /// Not HASH, SEQ and ID, in this order and nothing else.
    #[error("an acknowledgement is HASH, SEQ and ID")]
    Form,
    /// The ID is not an IP address without protocol and port.
    #[error("the identity in the acknowledgement is not an address")]
    Identity,
    /// It is of another Rekey SA.
    #[error("the acknowledgement is of Rekey SA {0}")]
    OtherKek(KekSpi),
    /// The HASH is wrong.
    #[error("the HASH of the acknowledgement is wrong")]
    Hash,
}

impl Ack {
    /// The datagram, under the keys and the prf of the Rekey SA that the PUSH came under.
    ///
    /// # Errors
    /// None that is known: an acknowledgement always fits.
    pub fn build(&self, keys: &KekKeys, request: AckRequest) -> Result<Vec<u8>, AckError> {
        let id = match self.member {
            IpAddr::V4(ip) => Identification::new(IdType::Ipv4Addr, ip.octets()),
            IpAddr::V6(ip) => Identification::new(IdType::Ipv6Addr, ip.octets()),
        };
        let payloads = [Payload::Sequence(self.sequence), Payload::Identification(id)];
        let rest = encode_chain(&payloads, PayloadType::None, Compat::Standard)?;
        let hash = hash(self.kek, keys, request, block_bits(request), &rest.octets);
        let hash = encode_chain(&[Payload::Hash(hash)], rest.first, Compat::Standard)?;
        let cookies = CookiePair::from(self.kek.0);
        let header = Header::new(cookies, hash.first, ExchangeType::GroupkeyPushAck, Flags::NONE, 0);
        Ok(header.datagram(&[hash.octets.as_slice(), &rest.octets].concat())?)
    }

    /// Reads a datagram; it says who claims to acknowledge what, and is to be verified.
    ///
    /// # Errors
    /// It is not an acknowledgement.
    pub fn parse(datagram: &[u8]) -> Result<UnverifiedAck, AckError> {
        let (header, octets) = split_datagram(datagram)?;
        if header.exchange != ExchangeType::GroupkeyPushAck
            || header.flags != Flags::NONE
            || header.message_id != 0
        {
            return Err(AckError::Header);
        }
        let body = Body::decode(header.next_payload, header.exchange, octets, Compat::Standard)?;
        let [hash, sequence, id] = body.payloads() else { return Err(AckError::Form) };
        let (Payload::Hash(received), Payload::Sequence(sequence), Payload::Identification(id)) =
            (&hash.payload, &sequence.payload, &id.payload)
        else {
            return Err(AckError::Form);
        };
        if !body.padding().is_empty() {
            return Err(AckError::Form);
        }
        let member = address(id).ok_or(AckError::Identity)?;
        let kek = KekSpi(header.cookies().octets());
        Ok(UnverifiedAck {
            ack: Ack { kek, sequence: *sequence, member },
            hash: received.clone(),
            hashed: body.after(hash).to_vec(),
        })
    }
}

impl UnverifiedAck {
    /// The Rekey SA whose keys must verify it.
    #[must_use]
    pub fn kek(&self) -> KekSpi {
        self.ack.kek
    }

    /// Who claims to have received which PUSH.
    #[must_use]
    pub fn claim(&self) -> Ack {
        self.ack
    }

    /// What it says, if its HASH is right. Every member of the group holds the key: it proves that a
    /// member says so, not which one (RFC 8263 section 7.1).
    ///
    /// # Errors
    /// It is not under this Rekey SA.
    pub fn verify(&self, kek: KekSpi, keys: &KekKeys, request: AckRequest) -> Result<Ack, AckError> {
        if self.ack.kek != kek {
            return Err(AckError::OtherKek(self.ack.kek));
        }
        let received = self.hash.as_slice();
        let right = [block_bits(request), output_bits(request)].into_iter().any(|bits| {
            crate::crypto::Secret::new(hash(kek, keys, request, bits, &self.hashed)) == *received
        });
        if right { Ok(self.ack) } else { Err(AckError::Hash) }
    }
}

fn hash(kek: KekSpi, keys: &KekKeys, request: AckRequest, key_bits: u16, hashed: &[u8]) -> Vec<u8> {
    let prf = prf(request);
    let ack_key = prf.prf(&keys.cipher, &[LABEL, &kek.0, &key_bits.to_be_bytes()]);
    prf.prf(&ack_key, &[hashed]).to_vec()
}

fn prf(request: AckRequest) -> HashAlgorithm {
    match request {
        AckRequest::KekSha256 => HashAlgorithm::Sha256,
        AckRequest::KekSha512 => HashAlgorithm::Sha512,
    }
}

/// Bits of the prf's block.
fn block_bits(request: AckRequest) -> u16 {
    match request {
        AckRequest::KekSha256 => 512,
        AckRequest::KekSha512 => 1024,
    }
}

/// Bits of the prf's output.
fn output_bits(request: AckRequest) -> u16 {
    match request {
        AckRequest::KekSha256 => 256,
        AckRequest::KekSha512 => 512,
    }
}

fn address(id: &Identification) -> Option<IpAddr> {
    if id.protocol != 0 || id.port != 0 {
        return None;
    }
    match id.id_type {
        IdType::Ipv4Addr => <[u8; 4]>::try_from(id.data.as_slice()).ok().map(|ip| Ipv4Addr::from(ip).into()),
        IdType::Ipv6Addr => <[u8; 16]>::try_from(id.data.as_slice()).ok().map(|ip| Ipv6Addr::from(ip).into()),
        _ => None,
    }
}
