use crate::group::testing::{kek, kek_keys, keys_for, signing_key, tek};
use crate::group::*;
use crate::wire::{
    Attributes, Compat, KdType, KekKeyAttribute, KeyDownload, KeyPacket, Keys, SidAttribute, Spi,
    TekKeyAttribute,
};

const GCM: EspTransform = EspTransform::Aes128Gcm;

fn policy() -> GroupPolicy {
    let (kek, _) = kek(KekSignature::EcdsaP256);
    GroupPolicy { kek: Some(kek), teks: vec![tek(256, GCM), tek(257, GCM)], ..Default::default() }
}

fn packets() -> Vec<KeyPacket> {
    to_key_download(&keys_for(&policy(), 5), &policy()).unwrap().packets
}

fn read(packets: Vec<KeyPacket>) -> (GroupKeys, Vec<Refused>) {
    let policy = policy();
    let known = Known { policy: &policy, refused: &[], kek: None };
    from_key_download(&KeyDownload { packets }, known, Compat::Standard)
}

fn tek_packet(spi: u32, cipher: usize, integrity: usize) -> KeyPacket {
    let attributes = Attributes::new()
        .with_octets(TekKeyAttribute::AlgorithmKey, vec![1; cipher].as_slice())
        .with_octets(TekKeyAttribute::IntegrityKey, vec![1; integrity].as_slice());
    KeyPacket::Tek(Keys { spi: spi.into(), attributes })
}

#[test]
fn keys_of_the_wrong_length_are_refused_and_the_others_used() {
    for (cipher, integrity, what, found) in [
        (16, 0, "the cipher's key", 16),
        (0, 0, "the cipher's key", 0),
        (36, 0, "the cipher's key", 36),
        (20, 32, "the integrity key", 32),
    ] {
        let mut packets = packets();
        packets[0] = tek_packet(256, cipher, integrity);
        let (keys, refused) = read(packets);
        assert_eq!(keys.teks.len(), 1);
        let wanted = if found == 32 { 0 } else { 20 };
        let why = Unservable::Key { what, found, wanted };
        assert_eq!(refused, [Refused { spi: RefusedSpi::Esp(EspSpi(256)), why }]);
    }
}

#[test]
fn two_packets_of_one_spi_are_refused_if_they_differ() {
    let same = packets()[0].clone();
    let (keys, refused) = read([packets(), vec![same]].concat());
    assert_eq!((keys, refused), (keys_for(&policy(), 5), vec![]));

    // Three, so that the third does not bring it back.
    let other = tek_packet(256, 20, 0);
    let (keys, refused) = read([packets(), vec![other.clone(), other]].concat());
    assert_eq!(keys.teks.iter().map(|(spi, _)| spi.0).collect::<Vec<_>>(), [257]);
    assert_eq!(refused, [Refused { spi: RefusedSpi::Esp(EspSpi(256)), why: Unservable::DuplicateKeys }]);
}

/// Rule S3 compares them with the policy.
#[test]
fn keys_for_an_spi_that_is_not_in_the_policy_are_kept() {
    let (keys, refused) = read([packets(), vec![tek_packet(999, 20, 32)]].concat());
    assert_eq!((keys.teks[2].0, refused.len()), (EspSpi(999), 0));
    let (keys, refused) = read(vec![tek_packet(999, 129, 0), tek_packet(200, 20, 0)]);
    assert!(keys.teks.is_empty());
    assert_eq!(refused[0].why, Unservable::Key { what: "the cipher's key", found: 129, wanted: 128 });
    assert_eq!(refused[1].why, Unservable::ReservedSpi);
}

/// They would make the member ask the key server for them otherwise.
#[test]
fn keys_of_what_was_refused_before_are_passed_over() {
    let policy = policy();
    let before = [
        Refused { spi: RefusedSpi::Esp(EspSpi(999)), why: Unservable::ReservedSpi },
        Refused {
            spi: RefusedSpi::Other(crate::wire::GdoiProtocol::Ah, Some(EspSpi(998))),
            why: Unservable::Protocol(crate::wire::GdoiProtocol::Ah),
        },
    ];
    let download = KeyDownload { packets: vec![tek_packet(999, 20, 0), tek_packet(998, 0, 32)] };
    let known = Known { policy: &policy, refused: &before, kek: None };
    let (keys, refused) = from_key_download(&download, known, Compat::Standard);
    assert_eq!((keys.teks.len(), refused.len()), (0, 0));
}

#[test]
fn more_keys_than_a_member_takes_are_refused() {
    let spi = |at: usize| u32::try_from(at).unwrap() + 1000;
    let (keys, refused) = read((0..MAX_TEKS + 1).map(|at| tek_packet(spi(at), 20, 0)).collect());
    assert_eq!((keys.teks.len(), refused.len()), (MAX_TEKS, 1));
    assert_eq!(refused[0].why, Unservable::TooMany { what: "SAs", limit: MAX_TEKS });
}

#[test]
fn a_gmac_key_may_be_called_an_integrity_key() {
    let policy = GroupPolicy { teks: vec![tek(256, EspTransform::Aes256Gmac)], ..Default::default() };
    let known = Known { policy: &policy, refused: &[], kek: None };
    let download = KeyDownload { packets: vec![tek_packet(256, 0, 36)] };
    let (keys, refused) = from_key_download(&download, known, Compat::Standard);
    assert_eq!((keys.teks[0].1.cipher.len(), keys.teks[0].1.integrity.len(), refused.len()), (36, 0, 0));
}

fn kek_packet(spi: KekSpi, key: &[u8], public: Option<&[u8]>) -> KeyPacket {
    let attributes = Attributes::new().with_octets(KekKeyAttribute::AlgorithmKey, key);
    let attributes = match public {
        Some(public) => attributes.with_octets(KekKeyAttribute::SigKey, public),
        None => attributes,
    };
    KeyPacket::Kek(Keys { spi: Spi::from(spi.0.as_slice()), attributes })
}

#[test]
fn keys_of_a_rekey_sa_are_used_or_their_reason_is_named() {
    let (kek, keys) = kek(KekSignature::EcdsaP256);
    let (spi, public) = (kek.spi, keys.verifying.spki_der());
    let why = |packets: Vec<KeyPacket>| {
        let (keys, mut refused) = read(packets);
        assert_eq!((keys.kek, refused.len()), (None, 1));
        refused.remove(0).why
    };
    let length = |found| Unservable::Key { what: "the IV with the KEK", found, wanted: 32 };
    // Without the IV, and with the key of AES-256.
    assert_eq!(why(vec![kek_packet(spi, &[1; 16], Some(public))]), length(16));
    assert_eq!(why(vec![kek_packet(spi, &[1; 48], Some(public))]), length(48));
    assert_eq!(why(vec![kek_packet(spi, &[], Some(public))]), length(0));
    assert_eq!(why(vec![kek_packet(spi, &[1; 32], None)]), Unservable::Missing("SIG_ALGORITHM_KEY"));
    assert!(matches!(why(vec![kek_packet(spi, &[1; 32], Some(&[0x30]))]), Unservable::SignatureKey(_)));
    let rsa = signing_key(KekSignature::Rsa(HashAlgorithm::Sha256)).verifying_key().spki_der();
    assert_eq!(why(vec![kek_packet(spi, &[1; 32], Some(rsa))]), Unservable::SignatureKeyKind);
    assert_eq!(why(vec![kek_packet(KekSpi([9; 16]), &[1; 32], Some(public))]), Unservable::NoPolicy);
    let twice = kek_packet(spi, &[1; 32], Some(public));
    assert_eq!(why(vec![twice.clone(), twice.clone()]), Unservable::DuplicateKeys);
    let KeyPacket::Kek(mut short) = twice else { panic!() };
    short.spi = Spi::from(7);
    assert_eq!(why(vec![KeyPacket::Kek(short)]), Unservable::Packet(2, 4));
}

#[test]
fn a_new_rekey_sa_keeps_the_old_one_s_public_key_unless_it_has_its_own() {
    let (old, old_keys) = kek(KekSignature::EcdsaP256);
    let new = KekPolicy { spi: KekSpi([7; 16]), ..old.clone() };
    let policy = GroupPolicy { kek: Some(new.clone()), ..Default::default() };
    let known = Known { policy: &policy, refused: &[], kek: Some((&old, &old_keys)) };
    let read = |named: KekSpi, compat| {
        let packets = vec![kek_packet(named, &[1; 32], None)];
        from_key_download(&KeyDownload { packets }, known, compat)
    };
    let (keys, _) = read(new.spi, Compat::Standard);
    let expected =
        KekKeys { iv: [1; 16], cipher: Secret::new(vec![1; 16]), verifying: old_keys.verifying.clone() };
    assert_eq!(keys.kek, Some((new.spi, expected.clone())));
    // A key packet with the old SPI: keys of the old Rekey SA, but the reference implementation's new one.
    assert_eq!(read(old.spi, Compat::Standard).0.kek, Some((old.spi, expected.clone())));
    assert_eq!(read(old.spi, Compat::Reference).0.kek, Some((new.spi, expected)));
}

#[test]
fn rsa_keys_of_1024_bits_are_read_only_from_the_reference_implementation() {
    let spki = include_bytes!("../../crypto/testdata/keys/rsa-1024.spki");
    let (kek, _) = kek(KekSignature::Rsa(HashAlgorithm::Sha1));
    let policy = GroupPolicy { kek: Some(kek.clone()), ..Default::default() };
    let known = Known { policy: &policy, refused: &[], kek: None };
    let download = KeyDownload { packets: vec![kek_packet(kek.spi, &[1; 32], Some(spki))] };
    let refused = from_key_download(&download, known, Compat::Standard).1;
    assert!(matches!(refused[0].why, Unservable::SignatureKey(_)));
    assert!(from_key_download(&download, known, Compat::Reference).0.kek.is_some());
}

#[test]
fn hierarchies_and_unknown_packets_are_named() {
    let unknown = KeyPacket::Unknown(KdType::from(9), Keys { spi: 5.into(), attributes: Attributes::new() });
    let lkh = KeyPacket::Lkh(Keys { spi: 5.into(), attributes: Attributes::new() });
    let KeyPacket::Tek(mut long) = tek_packet(256, 20, 0) else { panic!() };
    long.spi = Spi::from([1; 8].as_slice());
    let (keys, refused) = read([packets(), vec![unknown, lkh, KeyPacket::Tek(long)]].concat());
    assert_eq!(keys, keys_for(&policy(), 5));
    let whys: Vec<_> = refused.into_iter().map(|refused| refused.why).collect();
    assert_eq!(whys, [Unservable::Packet(1, 8), Unservable::Packet(9, 4), Unservable::Lkh]);
}

fn sid_packet(bits: u16, values: &[&[u8]]) -> KeyPacket {
    let attributes = Attributes::new().with(SidAttribute::NumberOfSidBits, bits);
    let attributes = values
        .iter()
        .fold(attributes, |attributes, value| attributes.with_octets(SidAttribute::SidValue, *value));
    KeyPacket::Sid(Keys { spi: Spi::default(), attributes })
}

#[test]
fn sender_ids_are_used_all_or_none() {
    let ids = |packets| {
        let (keys, mut refused) = read(packets);
        match (keys.sender_ids, refused.pop()) {
            (ids, None) => Ok(ids.map(|ids| ids.values)),
            (None, Some(Refused { spi: RefusedSpi::SenderIds, why })) => Err(why),
            other => panic!("{other:?}"),
        }
    };
    // Any number of octets, and several packets.
    assert_eq!(
        ids(vec![sid_packet(8, &[&[1], &[0, 2], &[0; 4]]), sid_packet(8, &[&[3]])]),
        Ok(Some(vec![1, 2, 0, 3]))
    );
    assert_eq!(ids(vec![]), Ok(None));
    assert_eq!(ids(vec![sid_packet(8, &[])]), Ok(None));
    assert_eq!(ids(vec![sid_packet(8, &[&[1]]), sid_packet(8, &[&[1]])]), Err(Unservable::SenderId));
    assert_eq!(ids(vec![sid_packet(8, &[&[1, 0]])]), Err(Unservable::SenderId));
    assert_eq!(ids(vec![sid_packet(8, &[&[]])]), Err(Unservable::SenderId));
    assert_eq!(ids(vec![sid_packet(8, &[&[0xff; 40]])]), Err(Unservable::SenderId));
    assert_eq!(ids(vec![sid_packet(10, &[&[1]])]), Err(Unservable::SenderIdBits(10)));
    assert!(matches!(
        ids(vec![sid_packet(8, &[&[1]]), sid_packet(12, &[&[2]])]),
        Err(Unservable::Conflict(_))
    ));
    let many: Vec<[u8; 2]> = (0..=u16::try_from(MAX_SENDER_IDS).unwrap()).map(u16::to_be_bytes).collect();
    let many: Vec<&[u8]> = many.iter().map(<[u8; 2]>::as_slice).collect();
    assert_eq!(
        ids(vec![sid_packet(16, &many)]),
        Err(Unservable::TooMany { what: "sender IDs", limit: MAX_SENDER_IDS })
    );
    let attributes = Attributes::new().with_octets(SidAttribute::SidValue, [1].as_slice());
    let unsized_packet = KeyPacket::Sid(Keys { spi: Spi::default(), attributes });
    assert_eq!(ids(vec![unsized_packet]), Err(Unservable::Missing("NUMBER_OF_SID_BITS")));
}

#[test]
fn keys_are_not_printed() {
    let text = format!("{:?}", kek_keys(&kek(KekSignature::EcdsaP256).0, 3));
    assert!(text.contains("Secret(16 octets)"), "{text}");
}
