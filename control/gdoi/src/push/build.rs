//! The key server makes a PUSH.

use super::PushError;
use super::seal::signed;
use crate::crypto::{AES_BLOCK_LEN, AesCbc, Random, SigningKey};
use crate::group::{
    CannotSend, Deletion, GroupKeys, GroupPolicy, KekKeys, KekPolicy, Rekey, to_key_download, to_sa_payload,
};
use crate::wire::{
    Compat, CookiePair, Delete, Doi, ExchangeType, Flags, GdoiProtocol, Header, KeyPacket, Payload,
    PayloadType, Spi, encode_chain,
};
use zeroize::Zeroizing;

/// The most deletions in one PUSH.
pub(super) const MAX_DELETIONS: usize = 2048;

/// The Rekey SA that a PUSH goes out under, as the key server has it.
#[derive(Clone, Copy, Debug)]
pub struct KekSigner<'a> {
    /// Its policy.
    pub policy: &'a KekPolicy,
    /// Its keys, as members have them.
    pub keys: &'a KekKeys,
    /// The private key to `keys.verifying`.
    pub signing: &'a SigningKey,
}

/// The datagram of a PUSH: SEQ, deletions, SA, KD and SIG, encrypted. Without policy and keys it has no SA
/// and KD (RFC 6407 section 5.9).
///
/// The same arguments make the same datagram: `random` only blinds the signature's computation.
///
/// # Errors
/// The policy or the keys cannot be sent, or the signing key is not of the policy's kind.
pub fn build(
    signer: KekSigner<'_>,
    rekey: &Rekey,
    compat: Compat,
    random: &mut dyn Random,
) -> Result<Vec<u8>, PushError> {
    let KekSigner { policy, keys, signing } = signer;
    if rekey.kek != policy.spi {
        return Err(PushError::OtherKek(rekey.kek));
    }
    let unsigned = encode_chain(&payloads(rekey, compat)?, PayloadType::Signature, compat)?;
    // The header says how long the message is, so the signature's length must be known before it is made.
    let signature_len = signing.kind().signature_len();
    let header = Header::new(
        CookiePair::from(rekey.kek.0),
        unsigned.first,
        ExchangeType::GroupkeyPush,
        Flags::ENCRYPTED,
        0,
    );
    let signed_header = header.with_body_len(unsigned.octets.len() + GENERIC_HEADER_LEN + signature_len)?;
    let (scheme, message) = signed(policy, signed_header, &unsigned.octets, compat);
    let signature = signing.sign(scheme, &message, random)?;
    let signature = encode_chain(&[Payload::Signature(signature)], PayloadType::None, compat)?;
    let body = Zeroizing::new([unsigned.octets.as_slice(), &signature.octets].concat());
    Ok(header.datagram(&encrypt(keys, &body)?)?)
}

/// Octets of a payload's header.
const GENERIC_HEADER_LEN: usize = 4;

fn encrypt(keys: &KekKeys, body: &[u8]) -> Result<Vec<u8>, PushError> {
    let mut text = Vec::with_capacity(body.len().next_multiple_of(AES_BLOCK_LEN));
    text.extend_from_slice(body);
    text.resize(body.len().next_multiple_of(AES_BLOCK_LEN), 0);
    AesCbc::new(&keys.cipher)?.encrypt(&keys.iv, &mut text)?;
    Ok(text)
}

fn payloads(rekey: &Rekey, compat: Compat) -> Result<Vec<Payload>, PushError> {
    let mut payloads = vec![Payload::Sequence(rekey.sequence)];
    if rekey.deletions.len() > MAX_DELETIONS {
        return Err(CannotSend::TooMany { what: "deletions", limit: MAX_DELETIONS }.into());
    }
    payloads.extend(deletes(&rekey.deletions).into_iter().map(Payload::Delete));
    if rekey.keys.sender_ids.is_some() {
        return Err(PushError::SenderIds);
    }
    let policy = &rekey.policy;
    if *policy == GroupPolicy::default() && rekey.keys == GroupKeys::default() {
        return Ok(payloads);
    }
    payloads.push(Payload::GdoiSa(to_sa_payload(policy, compat)?));
    let mut download = to_key_download(&rekey.keys, policy)?;
    if compat == Compat::Reference {
        // Its key packet names the Rekey SA that the PUSH goes out under, whichever the keys are for.
        for packet in &mut download.packets {
            if let KeyPacket::Kek(keys) = packet {
                keys.spi = Spi::from(rekey.kek.0.as_slice());
            }
        }
    }
    payloads.push(Payload::KeyDownload(download));
    Ok(payloads)
}

/// Delete payloads in the order of the deletions; SAs of one kind that follow one another share one.
fn deletes(deletions: &[Deletion]) -> Vec<Delete> {
    let kind = |deletion: &Deletion| matches!(deletion, Deletion::Kek);
    let same_payload = |a: &Deletion, b: &Deletion| kind(a) == kind(b);
    deletions
        .chunk_by(same_payload)
        .map(|chunk| {
            let spi = |deletion: &Deletion| match deletion {
                Deletion::Tek(spi) => Spi::from(spi.0),
                Deletion::AllTeks => Spi::from(0),
                // An SPI of zero, of the size that this protocol's have (RFC 6407 section 5.9).
                Deletion::Kek => Spi::from([0; 16].as_slice()),
            };
            let protocol = match chunk.first() {
                Some(Deletion::Kek) => GdoiProtocol::Kek,
                _ => GdoiProtocol::Esp,
            };
            Delete { doi: Doi::Gdoi, protocol: protocol.number(), spis: chunk.iter().map(spi).collect() }
        })
        .collect()
}
