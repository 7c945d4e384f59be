//! A group's keys as the Key Download payload of GROUPKEY-PULL and GROUPKEY-PUSH (RFC 6407 section 5.6).

use super::refused::{CannotSend, Refused, RefusedSpi, Unservable};
use super::tek_payload::LAST_RESERVED_SPI;
use super::{
    EspSpi, EspTransform, GroupKeys, GroupPolicy, KekKeys, KekPolicy, KekSignature, KekSpi, MAX_SENDER_IDS,
    MAX_TEKS, SenderIds, TekKeys,
};
use crate::crypto::{AES_BLOCK_LEN, KeyKind, RsaMinimum, Secret, VerifyingKey};
use crate::wire::{
    AttributeValue, Attributes, Compat, KekKeyAttribute, KeyDownload, KeyPacket, Keys, SidAttribute, Spi,
    TekKeyAttribute,
};
use std::collections::{BTreeMap, BTreeSet};

/// The longest key that is read for an SA whose policy is not known, in octets.
const MAX_KEY_LEN: usize = 128;

/// Sender IDs in one key packet, which may have no more than 64 attributes.
const SENDER_IDS_PER_PACKET: usize = 32;

/// What a receiver knows already when it reads keys.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The policy that the keys are for.
    pub policy: &'a GroupPolicy,
    /// What of that policy was refused; keys for it are passed over.
    pub refused: &'a [Refused],
    /// The Rekey SA that a PUSH came under, or that a member holds already.
    pub kek: Option<(&'a KekPolicy, &'a KekKeys)>,
}

/// The Key Download payload of these keys. Those whose policy is in `policy` must have its lengths.
///
/// # Errors
/// The keys do not fit their policy, or are more than a member takes.
pub fn to_key_download(keys: &GroupKeys, policy: &GroupPolicy) -> Result<KeyDownload, CannotSend> {
    if keys.teks.len() > MAX_TEKS {
        return Err(CannotSend::TooMany { what: "SAs", limit: MAX_TEKS });
    }
    let transforms = transforms(policy);
    let mut packets = Vec::with_capacity(keys.teks.len() + 2);
    for (spi, tek) in &keys.teks {
        let of = RefusedSpi::Esp(*spi);
        if let Some(transform) = transforms.get(spi) {
            for (what, key, wanted) in lengths(tek, *transform) {
                if key != wanted {
                    return Err(CannotSend::Key { what, of, found: key, wanted });
                }
            }
        }
        let mut attributes = Attributes::new();
        for (class, key) in
            [(TekKeyAttribute::AlgorithmKey, &tek.cipher), (TekKeyAttribute::IntegrityKey, &tek.integrity)]
        {
            if !key.is_empty() {
                attributes = attributes.with_octets(class, key.as_slice());
            }
        }
        packets.push(KeyPacket::Tek(Keys { spi: Spi::from(spi.0), attributes }));
    }
    if let Some((spi, kek)) = &keys.kek {
        let iv_and_key = Secret::concat(&[&kek.iv, &kek.cipher]);
        let attributes = Attributes::new()
            .with_octets(KekKeyAttribute::AlgorithmKey, iv_and_key.as_slice())
            .with_octets(KekKeyAttribute::SigKey, kek.verifying.spki_der());
        packets.push(KeyPacket::Kek(Keys { spi: Spi::from(spi.0.as_slice()), attributes }));
    }
    if let Some(ids) = &keys.sender_ids {
        packets.extend(to_sender_ids(ids)?);
    }
    Ok(KeyDownload { packets })
}

/// The keys that a Key Download payload brings, and what of it is not used.
///
/// Keys for an SPI that neither `known.policy` nor `known.refused` names are taken as they are, so that the
/// member can compare them with its policy (rule S3). A `KEK_ALGORITHM_KEY` is the IV and then the key.
/// Without a `SIG_ALGORITHM_KEY` the key of the Rekey SA that is known already goes on holding.
///
/// With [`Compat::Reference`] keys that name the known Rekey SA are those of the new one, where the policy
/// has a new one; and RSA keys of 1024 bits are accepted.
#[must_use]
pub fn from_key_download(
    download: &KeyDownload,
    known: Known<'_>,
    compat: Compat,
) -> (GroupKeys, Vec<Refused>) {
    let mut refused = Vec::new();
    let keys = GroupKeys {
        teks: from_teks(download, known, &mut refused),
        kek: from_kek(download, known, compat, &mut refused),
        sender_ids: from_sender_ids(download, &mut refused),
    };
    for packet in &download.packets {
        match packet {
            KeyPacket::Lkh(_) => refused.push(Refused { spi: RefusedSpi::Packet, why: Unservable::Lkh }),
            KeyPacket::Unknown(..) => refused.push(not_understood(packet)),
            KeyPacket::Tek(_) | KeyPacket::Kek(_) | KeyPacket::Sid(_) => {}
        }
    }
    (keys, refused)
}

fn not_understood(packet: &KeyPacket) -> Refused {
    let why = Unservable::Packet(packet.kd_type().number(), packet.spi().octets().len());
    Refused { spi: RefusedSpi::Packet, why }
}

fn transforms(policy: &GroupPolicy) -> BTreeMap<EspSpi, EspTransform> {
    policy.teks.iter().map(|tek| (tek.spi, tek.transform)).collect()
}

/// Both keys: what they are called, the octets that they have and that they need.
fn lengths(keys: &TekKeys, transform: EspTransform) -> [(&'static str, usize, usize); 2] {
    [
        ("the cipher's key", keys.cipher.len(), transform.key_len()),
        ("the integrity key", keys.integrity.len(), transform.integrity_key_len()),
    ]
}

fn from_teks(download: &KeyDownload, known: Known<'_>, refused: &mut Vec<Refused>) -> Vec<(EspSpi, TekKeys)> {
    let transforms = transforms(known.policy);
    let refused_before: BTreeSet<EspSpi> =
        known.refused.iter().filter_map(|refused| refused.spi.data_spi()).collect();
    let mut teks: Vec<(EspSpi, TekKeys)> = Vec::new();
    // Where an SPI's keys stand in `teks`; nowhere once they are refused.
    let mut places: BTreeMap<EspSpi, Option<usize>> = BTreeMap::new();
    for packet in &download.packets {
        let KeyPacket::Tek(octets) = packet else { continue };
        let Some(spi) = octets.spi.as_u32().map(EspSpi) else {
            refused.push(not_understood(packet));
            continue;
        };
        if refused_before.contains(&spi) {
            continue;
        }
        let count = places.len();
        let read = match places.get(&spi) {
            Some(None) => continue,
            Some(&Some(place)) => {
                let keys = read_tek(octets, transforms.get(&spi).copied());
                let same = teks.get(place).is_some_and(|(_, earlier)| keys.as_ref() == Ok(earlier));
                if same { Ok(place) } else { Err(Unservable::DuplicateKeys) }
            }
            None if spi.0 <= LAST_RESERVED_SPI => Err(Unservable::ReservedSpi),
            None if count >= MAX_TEKS => Err(Unservable::TooMany { what: "SAs", limit: MAX_TEKS }),
            None => read_tek(octets, transforms.get(&spi).copied()).map(|keys| {
                teks.push((spi, keys));
                teks.len() - 1
            }),
        };
        match read {
            Ok(place) => _ = places.insert(spi, Some(place)),
            Err(why) => {
                places.insert(spi, None);
                refused.push(Refused { spi: RefusedSpi::Esp(spi), why });
            }
        }
    }
    teks.retain(|(spi, _)| places.get(spi).is_some_and(Option::is_some));
    teks
}

fn read_tek(octets: &Keys<TekKeyAttribute>, transform: Option<EspTransform>) -> Result<TekKeys, Unservable> {
    let key = |class| Secret::from(octets.attributes.octets(class).unwrap_or_default());
    let mut keys =
        TekKeys { cipher: key(TekKeyAttribute::AlgorithmKey), integrity: key(TekKeyAttribute::IntegrityKey) };
    let Some(transform) = transform else {
        for (what, key) in [("the cipher's key", &keys.cipher), ("the integrity key", &keys.integrity)] {
            if key.len() > MAX_KEY_LEN {
                return Err(Unservable::Key { what, found: key.len(), wanted: MAX_KEY_LEN });
            }
        }
        return Ok(keys);
    };
    // RFC 6407 section 5.6.1.2 counts AES-GMAC among the integrity algorithms.
    let gmac = matches!(transform, EspTransform::Aes128Gmac | EspTransform::Aes256Gmac);
    if gmac && keys.cipher.is_empty() {
        std::mem::swap(&mut keys.cipher, &mut keys.integrity);
    }
    for (what, found, wanted) in lengths(&keys, transform) {
        if found != wanted {
            return Err(Unservable::Key { what, found, wanted });
        }
    }
    Ok(keys)
}

fn from_kek(
    download: &KeyDownload,
    known: Known<'_>,
    compat: Compat,
    refused: &mut Vec<Refused>,
) -> Option<(KekSpi, KekKeys)> {
    let mut found: Option<(KekSpi, Result<KekKeys, Unservable>)> = None;
    for packet in &download.packets {
        let KeyPacket::Kek(octets) = packet else { continue };
        let Some(cookies) = octets.spi.as_cookies() else {
            refused.push(not_understood(packet));
            continue;
        };
        let named = KekSpi(cookies.octets());
        let (spi, policy) = kek_policy(named, known, compat);
        found = Some(match found {
            // RFC 6407 section 5.6.2: only one.
            Some((first, _)) => (first, Err(Unservable::DuplicateKeys)),
            None => {
                let keys = policy.ok_or(Unservable::NoPolicy);
                (spi, keys.and_then(|policy| read_kek(octets, policy, known.kek, compat)))
            }
        });
    }
    match found? {
        (spi, Ok(keys)) => Some((spi, keys)),
        (spi, Err(why)) => {
            let spi = RefusedSpi::Kek(spi);
            if !known.refused.iter().any(|earlier| earlier.spi == spi) {
                refused.push(Refused { spi, why });
            }
            None
        }
    }
}

/// Which Rekey SA keys are for, and its policy.
fn kek_policy<'a>(named: KekSpi, known: Known<'a>, compat: Compat) -> (KekSpi, Option<&'a KekPolicy>) {
    let current = known.kek.map(|(policy, _)| policy).filter(|policy| policy.spi == named);
    match &known.policy.kek {
        Some(new) if new.spi == named => (named, Some(new)),
        Some(new) if compat == Compat::Reference && current.is_some() => (new.spi, Some(new)),
        _ => (named, current),
    }
}

fn read_kek(
    octets: &Keys<KekKeyAttribute>,
    policy: &KekPolicy,
    known: Option<(&KekPolicy, &KekKeys)>,
    compat: Compat,
) -> Result<KekKeys, Unservable> {
    let key = octets
        .attributes
        .octets(KekKeyAttribute::AlgorithmKey)
        .ok_or(Unservable::Missing("KEK_ALGORITHM_KEY"))?;
    let wanted = AES_BLOCK_LEN + policy.cipher.key_len();
    let (iv, cipher) = key
        .split_first_chunk::<AES_BLOCK_LEN>()
        .filter(|_| key.len() == wanted)
        .ok_or(Unservable::Key { what: "the IV with the KEK", found: key.len(), wanted })?;
    let minimum = match compat {
        Compat::Standard => RsaMinimum::Bits2048,
        Compat::Reference => RsaMinimum::Bits1024,
    };
    let verifying = match (octets.attributes.octets(KekKeyAttribute::SigKey), known) {
        (Some(spki), _) => VerifyingKey::from_spki_der(spki, minimum)?,
        (None, Some((_, keys))) => keys.verifying.clone(),
        (None, None) => return Err(Unservable::Missing("SIG_ALGORITHM_KEY")),
    };
    let fits = matches!(
        (policy.signature, verifying.kind()),
        (KekSignature::Rsa(_), KeyKind::Rsa { .. })
            | (KekSignature::EcdsaP256, KeyKind::EcdsaP256)
            | (KekSignature::EcdsaP384, KeyKind::EcdsaP384)
    );
    if !fits {
        return Err(Unservable::SignatureKeyKind);
    }
    Ok(KekKeys { iv: *iv, cipher: Secret::from(cipher), verifying })
}

/// Whether sender IDs may have so many bits (RFC 6054 section 3).
fn is_sender_id_bits(bits: u64) -> bool {
    matches!(bits, 8 | 12 | 16)
}

fn to_sender_ids(ids: &SenderIds) -> Result<impl Iterator<Item = KeyPacket>, CannotSend> {
    let fits = |&id: &u32| u64::from(id) < 1 << ids.bits;
    let count = ids.values.len();
    if !is_sender_id_bits(ids.bits.into()) || !ids.values.iter().all(fits) || count > MAX_SENDER_IDS {
        return Err(CannotSend::SenderIds { bits: ids.bits, count });
    }
    Ok(ids.values.chunks(SENDER_IDS_PER_PACKET).map(|values| {
        let attributes = Attributes::new().with(SidAttribute::NumberOfSidBits, ids.bits);
        let with_id = |attributes: Attributes<SidAttribute, Secret>, &id: &u32| {
            attributes.with_octets(SidAttribute::SidValue, id.to_be_bytes().as_slice())
        };
        let attributes = values.iter().fold(attributes, with_id);
        KeyPacket::Sid(Keys { spi: Spi::default(), attributes })
    }))
}

fn from_sender_ids(download: &KeyDownload, refused: &mut Vec<Refused>) -> Option<SenderIds> {
    let mut ids: Option<SenderIds> = None;
    for packet in &download.packets {
        let KeyPacket::Sid(Keys { attributes, .. }) = packet else { continue };
        match read_sender_ids(attributes, ids.take()) {
            Ok(all) => ids = Some(all),
            Err(why) => {
                // None of them is used: a sender ID that is somebody else's would be worse than none.
                refused.push(Refused { spi: RefusedSpi::SenderIds, why });
                return None;
            }
        }
    }
    ids.filter(|ids| !ids.values.is_empty())
}

fn read_sender_ids(
    attributes: &Attributes<SidAttribute, Secret>,
    earlier: Option<SenderIds>,
) -> Result<SenderIds, Unservable> {
    let bits =
        attributes.number(SidAttribute::NumberOfSidBits).ok_or(Unservable::Missing("NUMBER_OF_SID_BITS"))?;
    let wrong_bits = Unservable::SenderIdBits(bits);
    let bits = u8::try_from(bits).ok().filter(|&bits| is_sender_id_bits(bits.into())).ok_or(wrong_bits)?;
    let mut ids = earlier.unwrap_or(SenderIds { bits, values: Vec::new() });
    if ids.bits != bits {
        return Err(Unservable::Conflict("number of sender ID bit"));
    }
    for value in attributes.all(SidAttribute::SidValue) {
        if ids.values.len() == MAX_SENDER_IDS {
            return Err(Unservable::TooMany { what: "sender IDs", limit: MAX_SENDER_IDS });
        }
        let empty = matches!(value, AttributeValue::Variable(octets) if octets.is_empty());
        match u32::try_from(value.number()) {
            Ok(id) if !empty && u64::from(id) < 1 << bits && !ids.values.contains(&id) => ids.values.push(id),
            _ => return Err(Unservable::SenderId),
        }
    }
    Ok(ids)
}
