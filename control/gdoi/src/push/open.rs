//! The group member reads a PUSH: decrypts it, looks at its form and its number, and only then does the
//! costly work of verifying its signature (RFC 6407 section 7.3.5). Nothing of it is used before that.

use super::PushError;
use super::build::MAX_DELETIONS;
use super::seal::signed;
use crate::crypto::{AES_BLOCK_LEN, AesCbc, CipherError};
use crate::group::{
    Deletion, EspSpi, GroupKeys, GroupPolicy, KekKeys, KekPolicy, KekSpi, Known, Refused, RefusedSpi, Rekey,
    Unservable, from_key_download, from_sa_payload,
};
use crate::wire::{
    Body, Compat, Delete, Doi, ExchangeType, Flags, GdoiProtocol, HEADER_LEN, Header, Located, Payload,
    PayloadType, split_datagram,
};
use zeroize::Zeroizing;

/// What a PUSH says, once it has verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// What it says, as far as it can be served.
    pub rekey: Rekey,
    /// What of it cannot be, and why.
    pub refused: Vec<Refused>,
}

/// The Rekey SA that a datagram belongs to, if it looks like a PUSH. Nothing of it has been verified.
#[must_use]
pub fn peek(datagram: &[u8]) -> Option<KekSpi> {
    let (header, _) = split_datagram(datagram).ok()?;
    is_push(&header).then(|| KekSpi(header.cookies().octets()))
}

/// Reads a PUSH under a Rekey SA. `last` is the greatest number so far, by a registration or a PUSH.
///
/// A PUSH that brings a new Rekey SA brings its policy and its keys, or one of both is refused and neither
/// is there; one that repeats the old one may leave the keys out.
///
/// # Errors
/// It is not a PUSH of this Rekey SA, is malformed, comes late or again, or its signature does not verify.
pub fn open(
    kek: &KekPolicy,
    keys: &KekKeys,
    last: u32,
    datagram: &[u8],
    compat: Compat,
) -> Result<Opened, PushError> {
    let (header, body) = split_datagram(datagram)?;
    if !is_push(&header) {
        return Err(PushError::Header);
    }
    let spi = KekSpi(header.cookies().octets());
    if spi != kek.spi {
        return Err(PushError::OtherKek(spi));
    }
    if body.is_empty() {
        return Err(CipherError::NotWholeBlocks(0).into());
    }
    let mut text = Zeroizing::new(body.to_vec());
    AesCbc::new(&keys.cipher)?.decrypt(&keys.iv, &mut text)?;
    let body = Body::decode(header.next_payload, ExchangeType::GroupkeyPush, &text, compat)?;
    let form = Form::of(&body)?;
    if form.sequence <= last {
        return Err(PushError::Replay { received: form.sequence, last });
    }
    // As the signer had it: before padding.
    let signed_header = header.with_body_len(body.octets().len())?;
    let (scheme, message) = signed(kek, signed_header, form.before_signature, compat);
    keys.verifying.verify(scheme, &message, form.signature)?;
    Ok(interpret(kek, keys, &form, compat))
}

fn is_push(header: &Header) -> bool {
    let body_len = usize::try_from(header.length).unwrap_or_default().saturating_sub(HEADER_LEN);
    header.exchange == ExchangeType::GroupkeyPush
        && header.flags == Flags::ENCRYPTED
        && header.message_id == 0
        && body_len.is_multiple_of(AES_BLOCK_LEN)
}

/// The payloads of a PUSH: one SEQ, any number of deletions, an SA and a KD or not, and SIG at the end.
struct Form<'a> {
    sequence: u32,
    deletions: Vec<Deletion>,
    sa: Option<&'a crate::wire::GdoiSa>,
    download: Option<&'a crate::wire::KeyDownload>,
    signature: &'a [u8],
    before_signature: &'a [u8],
    refused: Vec<Refused>,
}

impl<'a> Form<'a> {
    fn of(body: &'a Body<'a>) -> Result<Self, PushError> {
        let Some((last, covered)) = body.payloads().split_last() else {
            return Err(PushError::Missing(PayloadType::Signature));
        };
        let Located { payload: Payload::Signature(signature), .. } = last else {
            return Err(match body.find(PayloadType::Signature) {
                Some(_) => PushError::Unsigned,
                None => PushError::Missing(PayloadType::Signature),
            });
        };
        let mut sequence = None;
        let mut sa = None;
        let mut download = None;
        let mut deletions = Vec::new();
        let mut refused = Vec::new();
        for Located { payload, .. } in covered {
            let repeated = match payload {
                Payload::Sequence(number) => sequence.replace(*number).is_some(),
                Payload::GdoiSa(payload) => sa.replace(payload).is_some(),
                Payload::KeyDownload(payload) => download.replace(payload).is_some(),
                Payload::Delete(delete) => {
                    read_delete(delete, &mut deletions, &mut refused)?;
                    false
                }
                // What says something else than a PUSH does, but is signed, does no harm.
                Payload::VendorId(_) | Payload::Notify(_) | Payload::Unknown(..) => false,
                other => return Err(PushError::Payload(other.payload_type())),
            };
            if repeated {
                return Err(PushError::Repeated(payload.payload_type()));
            }
        }
        let sequence = sequence.ok_or(PushError::Missing(PayloadType::Sequence))?;
        let before_signature = body.before(last);
        Ok(Self { sequence, deletions, sa, download, signature, before_signature, refused })
    }
}

/// Deletions of ESP SAs and of the Rekey SA. Those of other protocols are no business of this member.
fn read_delete(
    delete: &Delete,
    deletions: &mut Vec<Deletion>,
    refused: &mut Vec<Refused>,
) -> Result<(), PushError> {
    if deletions.len() + delete.spis.len() > MAX_DELETIONS {
        return Err(PushError::TooManyDeletions(MAX_DELETIONS));
    }
    let protocol = GdoiProtocol::from(delete.protocol);
    if delete.doi != Doi::Gdoi || !matches!(protocol, GdoiProtocol::Esp | GdoiProtocol::Kek) {
        let spi = RefusedSpi::Other(protocol, None);
        refused.push(Refused { spi, why: Unservable::Protocol(protocol) });
        return Ok(());
    }
    for spi in &delete.spis {
        match (protocol, spi.as_u32()) {
            // Whichever Rekey SA is named, or none: members have only this one.
            (GdoiProtocol::Kek, _) => deletions.push(Deletion::Kek),
            (_, Some(0)) => deletions.push(Deletion::AllTeks),
            (_, Some(spi)) => deletions.push(Deletion::Tek(EspSpi(spi))),
            (_, None) => refused.push(Refused {
                spi: RefusedSpi::Other(protocol, None),
                why: Unservable::Packet(delete.protocol, spi.octets().len()),
            }),
        }
    }
    Ok(())
}

fn interpret(kek: &KekPolicy, keys: &KekKeys, form: &Form<'_>, compat: Compat) -> Opened {
    let mut refused = form.refused.clone();
    let (mut policy, why) = form.sa.map(from_sa_payload).unwrap_or_default();
    refused.extend(why);
    let mut group_keys = GroupKeys::default();
    if let Some(download) = form.download {
        let known = Known { policy: &policy, refused: &refused, kek: Some((kek, keys)) };
        let (found, why) = from_key_download(download, known, compat);
        group_keys = found;
        refused.extend(why);
    }
    if group_keys.sender_ids.take().is_some() {
        refused.push(Refused { spi: RefusedSpi::SenderIds, why: Unservable::SharedSenderIds });
    }
    complete_kek(kek.spi, &mut policy, &mut group_keys, &mut refused);
    Opened {
        rekey: Rekey {
            kek: kek.spi,
            sequence: form.sequence,
            deletions: form.deletions.clone(),
            policy,
            keys: group_keys,
        },
        refused,
    }
}

/// A new Rekey SA is of no use without its keys, and keys are of none without their policy.
fn complete_kek(current: KekSpi, policy: &mut GroupPolicy, keys: &mut GroupKeys, refused: &mut Vec<Refused>) {
    let keyed = keys.kek.as_ref().map(|(spi, _)| *spi);
    match &policy.kek {
        Some(new) if new.spi != current && keyed != Some(new.spi) => {
            let spi = RefusedSpi::Kek(new.spi);
            policy.kek = None;
            if !refused.iter().any(|earlier| earlier.spi == spi) {
                refused.push(Refused { spi, why: Unservable::Missing("keys") });
            }
        }
        _ => {}
    }
}
