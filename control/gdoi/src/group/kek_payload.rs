//! The Rekey SA on the wire: the SA KEK payload (RFC 6407 section 5.3).

use super::refused::{CannotSend, RefusedSpi, Unservable};
use super::tek_payload::{seconds, whole_seconds};
use super::{AckRequest, KekCipher, KekPolicy, KekSignature, KekSpi};
use crate::crypto::HashAlgorithm;
use crate::wire::{
    self, Attributes, IdType, KekAlgorithm, KekAttribute, Sak, SelectorId, SigAlgorithm, SigHash,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The port of GDOI, where a payload names none.
pub const GDOI_PORT: u16 = 848;

/// UDP, the IP protocol of PUSH messages.
const UDP: u8 = 17;

/// What a Rekey SA lives without a lifetime, which the RFC allows: as long as four octets can say.
const UNLIMITED: Duration = Duration::from_secs(u32::MAX as u64);

/// The payload of a Rekey SA. KEK_KEY_LIFETIME is a variable attribute of four octets, as in the RFC; the
/// signature hash is named for RSA only, since ECDSA's is implied (section 5.3.5).
pub(super) fn to_wire(kek: &KekPolicy) -> Result<Sak, CannotSend> {
    let bits = match kek.cipher {
        KekCipher::Aes128Cbc => 128u16,
        KekCipher::Aes192Cbc => 192,
        KekCipher::Aes256Cbc => 256,
    };
    let attributes = Attributes::new()
        .with(KekAttribute::Algorithm, KekAlgorithm::Aes)
        .with(KekAttribute::KeyLength, bits)
        .with_u32(KekAttribute::KeyLifetime, seconds(kek.lifetime, RefusedSpi::Kek(kek.spi))?);
    let attributes = match kek.signature {
        KekSignature::Rsa(hash) => {
            let hash = match hash {
                HashAlgorithm::Sha1 => SigHash::Sha1,
                HashAlgorithm::Sha256 => SigHash::Sha256,
                HashAlgorithm::Sha384 => SigHash::Sha384,
                HashAlgorithm::Sha512 => SigHash::Sha512,
            };
            attributes.with(KekAttribute::SigHash, hash).with(KekAttribute::SigAlgorithm, SigAlgorithm::Rsa)
        }
        KekSignature::EcdsaP256 => attributes.with(KekAttribute::SigAlgorithm, SigAlgorithm::Ecdsa256),
        KekSignature::EcdsaP384 => attributes.with(KekAttribute::SigAlgorithm, SigAlgorithm::Ecdsa384),
    };
    let attributes = match kek.acknowledge {
        None => attributes,
        Some(AckRequest::KekSha256) => {
            attributes.with(KekAttribute::AckRequested, wire::AckRequest::KekSha256)
        }
        Some(AckRequest::KekSha512) => {
            attributes.with(KekAttribute::AckRequested, wire::AckRequest::KekSha512)
        }
    };
    Ok(Sak {
        protocol: UDP,
        source: address_id(kek.source),
        destination: address_id(kek.destination),
        spi: kek.spi.0.into(),
        pop_algorithm: 0,
        pop_key_length: 0,
        attributes,
    })
}

/// The Rekey SA that a payload describes. KEK_MANAGEMENT_ALGORITHM is ignored, as the RFC demands of a
/// registration; keys of a logical key hierarchy are refused where they come. An acknowledgement of a type
/// that this code does not make is not made (RFC 8263 section 4).
pub(super) fn from_wire(sak: &Sak) -> Result<KekPolicy, Unservable> {
    let attributes = &sak.attributes;
    if !matches!(sak.protocol, 0 | UDP) {
        return Err(Unservable::KekProtocol(sak.protocol));
    }
    let algorithm = attributes
        .value::<KekAlgorithm>(KekAttribute::Algorithm)
        .ok_or(Unservable::Missing("KEK_ALGORITHM"))?;
    let bits = attributes.number(KekAttribute::KeyLength);
    let cipher = match (algorithm, bits) {
        (KekAlgorithm::Aes, None | Some(128)) => KekCipher::Aes128Cbc,
        (KekAlgorithm::Aes, Some(192)) => KekCipher::Aes192Cbc,
        (KekAlgorithm::Aes, Some(256)) => KekCipher::Aes256Cbc,
        _ => return Err(Unservable::KekCipher { algorithm, bits: bits.unwrap_or_default() }),
    };
    let signature = attributes
        .value::<SigAlgorithm>(KekAttribute::SigAlgorithm)
        .ok_or(Unservable::Missing("SIG_ALGORITHM"))?;
    let signature = match signature {
        SigAlgorithm::Rsa => KekSignature::Rsa(
            match attributes
                .value::<SigHash>(KekAttribute::SigHash)
                .ok_or(Unservable::Missing("SIG_HASH_ALGORITHM"))?
            {
                SigHash::Sha1 => HashAlgorithm::Sha1,
                SigHash::Sha256 => HashAlgorithm::Sha256,
                SigHash::Sha384 => HashAlgorithm::Sha384,
                SigHash::Sha512 => HashAlgorithm::Sha512,
                other => return Err(Unservable::SignatureHash(other)),
            },
        ),
        SigAlgorithm::Ecdsa256 => KekSignature::EcdsaP256,
        SigAlgorithm::Ecdsa384 => KekSignature::EcdsaP384,
        other => return Err(Unservable::Signature(other)),
    };
    let lifetime = attributes.number(KekAttribute::KeyLifetime).map_or(Ok(UNLIMITED), whole_seconds)?;
    let acknowledge = match attributes.value::<wire::AckRequest>(KekAttribute::AckRequested) {
        Some(wire::AckRequest::KekSha256) => Some(AckRequest::KekSha256),
        Some(wire::AckRequest::KekSha512) => Some(AckRequest::KekSha512),
        _ => None,
    };
    let source = address(&sak.source).ok_or(Unservable::Address("source"))?;
    let destination = address(&sak.destination).ok_or(Unservable::Address("destination"))?;
    let spi = KekSpi(sak.spi.octets());
    Ok(KekPolicy { spi, cipher, signature, lifetime, source, destination, acknowledge })
}

fn address_id(address: SocketAddr) -> SelectorId {
    let (id_type, data) = match address.ip() {
        IpAddr::V4(ip) => (IdType::Ipv4Addr, ip.octets().to_vec()),
        IpAddr::V6(ip) => (IdType::Ipv6Addr, ip.octets().to_vec()),
    };
    SelectorId { id_type, port: address.port(), data }
}

/// The address that an identity is; unspecified where it has no data, as for many sources.
fn address(id: &SelectorId) -> Option<SocketAddr> {
    let ip = match (id.id_type, id.data.as_slice()) {
        (IdType::Ipv6Addr, []) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (_, [] | [0, 0, 0]) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (IdType::Ipv4Addr, data) => IpAddr::V4(<[u8; 4]>::try_from(data).ok()?.into()),
        (IdType::Ipv6Addr, data) => IpAddr::V6(<[u8; 16]>::try_from(data).ok()?.into()),
        _ => return None,
    };
    Some(SocketAddr::new(ip, if id.port == 0 { GDOI_PORT } else { id.port }))
}
