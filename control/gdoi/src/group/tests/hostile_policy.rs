use crate::group::testing::{kek, tek};
use crate::group::*;
use crate::wire::{
    self, Attribute, AttributeValue, Attributes, Compat, Gap, GapAttribute, GdoiProtocol, GdoiSa, IdType,
    IpsecAttribute, KekAlgorithm, KekAttribute, SaAttribute, Sat, SelectorId, SigAlgorithm, SigHash, Tek,
};

type Sa = Tek<wire::EspTransform>;

/// The SAT of an SA, changed.
fn sat(spi: u32, transform: EspTransform, change: impl FnOnce(&mut Sa)) -> SaAttribute {
    let mut sats = tek_payload::to_wire(&tek(spi, transform), Compat::Standard).unwrap();
    let Sat::Esp(mut sa) = sats.remove(0) else { panic!() };
    change(&mut sa);
    SaAttribute::Sat(Sat::Esp(sa))
}

fn set(sa: &mut Sa, class: IpsecAttribute, value: u16) {
    remove(sa, class);
    sa.attributes.0.push(Attribute { class, value: AttributeValue::Basic(value) });
}

fn remove(sa: &mut Sa, class: IpsecAttribute) {
    sa.attributes.0.retain(|attribute| attribute.class != class);
}

fn judge(attributes: Vec<SaAttribute>) -> (GroupPolicy, Vec<Refused>) {
    from_sa_payload(&GdoiSa { situation: 0, attributes })
}

/// What becomes of the second of three SAs when it is changed; the others are served in any case.
fn second(transform: EspTransform, change: impl FnOnce(&mut Sa)) -> Result<TekPolicy, Unservable> {
    let (mut policy, mut refused) = judge(vec![
        sat(256, EspTransform::Aes128Gcm, |_| {}),
        sat(257, transform, change),
        sat(258, EspTransform::NullHmacSha1, |_| {}),
    ]);
    assert_eq!(policy.teks.remove(0), tek(256, EspTransform::Aes128Gcm));
    assert_eq!(policy.teks.pop(), Some(tek(258, EspTransform::NullHmacSha1)));
    match (policy.teks.pop(), refused.pop()) {
        (Some(tek), None) => Ok(tek),
        (None, Some(refused)) => Err(refused.why),
        other => panic!("{other:?}"),
    }
}

const GCM: EspTransform = EspTransform::Aes128Gcm;
const CBC: EspTransform = EspTransform::Aes128CbcHmacSha256;

#[test]
fn reserved_spis_are_refused() {
    for spi in [0, 1, 255] {
        assert_eq!(second(GCM, |sa| sa.spi = spi), Err(Unservable::ReservedSpi));
    }
}

#[test]
fn lifetimes_are_seconds_of_two_or_four_octets_and_not_zero() {
    use IpsecAttribute::{LifeDuration, LifeType};
    let lifetime = |change: &dyn Fn(&mut Sa)| second(GCM, |sa| change(sa)).map(|tek| tek.lifetime.as_secs());
    let octets = |sa: &mut Sa, octets: &[u8]| {
        remove(sa, LifeDuration);
        sa.attributes = std::mem::take(&mut sa.attributes).with_octets(LifeDuration, octets.to_vec());
    };
    assert_eq!(lifetime(&|sa| set(sa, LifeDuration, 60)), Ok(60));
    assert_eq!(lifetime(&|sa| octets(sa, &[0, 60])), Ok(60));
    assert_eq!(lifetime(&|sa| octets(sa, &[0xff; 4])), Ok(u32::MAX.into()));
    assert_eq!(lifetime(&|sa| octets(sa, &[0; 4])), Err(Unservable::NoLifetime));
    assert_eq!(lifetime(&|sa| octets(sa, &[])), Err(Unservable::NoLifetime));
    assert_eq!(lifetime(&|sa| octets(sa, &[1, 0, 0, 0, 0])), Err(Unservable::LongLifetime));
    assert_eq!(lifetime(&|sa| octets(sa, &[0xff; 40])), Err(Unservable::LongLifetime));
    // Kilobytes; a duration before its type; two durations.
    let kilobytes = Attribute { class: LifeType, value: AttributeValue::Basic(2) };
    assert_eq!(lifetime(&|sa| sa.attributes.0[0] = kilobytes.clone()), Err(Unservable::LifeType));
    assert_eq!(lifetime(&|sa| sa.attributes.0.swap(0, 1)), Err(Unservable::LifeType));
    assert_eq!(lifetime(&|sa| remove(sa, LifeType)), Err(Unservable::LifeType));
    assert_eq!(lifetime(&|sa| sa.attributes.0.push(sa.attributes.0[1].clone())), Err(Unservable::LifeType));
    // RFC 2407 section 4.5: eight hours where nothing is said.
    assert_eq!(lifetime(&|sa| drop(sa.attributes.0.drain(..2))), Ok(28_800));
}

#[test]
fn key_lengths_are_checked_against_the_transform() {
    let bits = |transform, bits| second(transform, |sa| set(sa, IpsecAttribute::KeyLength, bits));
    let read = |transform, length| bits(transform, length).map(|tek| tek.transform);
    assert_eq!(read(GCM, 256), Ok(EspTransform::Aes256Gcm));
    // With the salt counted, as the reference implementation does.
    assert_eq!(read(GCM, 160), Ok(GCM));
    assert_eq!(read(GCM, 288), Ok(EspTransform::Aes256Gcm));
    assert_eq!(read(EspTransform::Aes256Gmac, 160), Ok(EspTransform::Aes128Gmac));
    assert_eq!(read(EspTransform::ChaCha20Poly1305, 256), Ok(EspTransform::ChaCha20Poly1305));
    for (transform, length) in [
        (GCM, 192),
        (GCM, 64),
        (CBC, 160),
        (CBC, 192),
        (EspTransform::ChaCha20Poly1305, 128),
        (EspTransform::NullHmacSha256, 128),
    ] {
        let refused = bits(transform, length);
        assert!(matches!(refused, Err(Unservable::KeyLength { .. })), "{refused:?}");
    }
    // The reference implementation's AES, which has no key.
    assert_eq!(bits(CBC, 0), Err(Unservable::NoKeyLength));
    let absent = second(CBC, |sa| remove(sa, IpsecAttribute::KeyLength));
    assert_eq!(absent.map(|tek| tek.transform), Ok(CBC));
}

#[test]
fn transforms_and_algorithms_that_are_not_served_are_named() {
    use wire::{AuthAlgorithm as Auth, EspTransform as Id};
    for id in [Id::TripleDes, Id::AesCtr, Id::AesGcm8, Id::Unknown(200)] {
        assert_eq!(second(CBC, |sa| sa.transform = id), Err(Unservable::Transform(id)));
    }
    let auth = |transform, value| second(transform, |sa| set(sa, IpsecAttribute::AuthAlgorithm, value));
    for (transform, id, algorithm) in [
        (CBC, Id::AesCbc, Auth::HmacMd5),
        (CBC, Id::AesCbc, Auth::HmacSha512),
        (GCM, Id::AesGcm16, Auth::HmacSha1),
    ] {
        let why = Unservable::Authentication { transform: id, algorithm };
        assert_eq!(auth(transform, algorithm.number()), Err(why));
    }
    let none = |transform| second(transform, |sa| remove(sa, IpsecAttribute::AuthAlgorithm));
    assert_eq!(none(CBC), Err(Unservable::Unauthenticated(Id::AesCbc)));
    assert_eq!(none(EspTransform::NullHmacSha1), Err(Unservable::Unauthenticated(Id::Null)));
    assert_eq!(auth(GCM, 0).map(|tek| tek.transform), Ok(GCM));
}

#[test]
fn mode_direction_and_address_preservation_are_served_or_named() {
    use IpsecAttribute::{AddressPreservation, EncapsulationMode, SaDirection};
    let with = |class, value| second(GCM, |sa| set(sa, class, value));
    // 0 is what the reference implementation sends for what is not set.
    for class in [AddressPreservation, SaDirection] {
        assert_eq!(with(class, 0), Ok(tek(257, GCM)));
        assert_eq!(second(GCM, |sa| remove(sa, class)), Ok(tek(257, GCM)));
    }
    for value in 1..=3 {
        let why = Unservable::AddressPreservation(value.into());
        assert_eq!(with(AddressPreservation, value), Err(why));
    }
    assert_eq!(with(SaDirection, 2).map(|tek| tek.direction), Ok(Direction::ReceiverOnly));
    assert_eq!(with(SaDirection, 4), Err(Unservable::Direction(4.into())));
    assert_eq!(with(EncapsulationMode, 3), Err(Unservable::Mode(wire::EncapsulationMode::UdpTunnel)));
    assert_eq!(with(EncapsulationMode, 2).map(|tek| tek.mode), Ok(Mode::Transport));
    assert_eq!(with(IpsecAttribute::GroupDescription, 14), Ok(tek(257, GCM)));
    for class in [IpsecAttribute::ExtendedSequenceNumber, IpsecAttribute::KeyRounds, 99.into()] {
        assert_eq!(with(class, 1), Err(Unservable::Attribute { attribute: class, value: 1 }));
        assert_eq!(with(class, 0), Ok(tek(257, GCM)));
    }
}

#[test]
fn payloads_of_one_spi_are_one_sa_unless_they_differ() {
    let other = SelectorId { id_type: IdType::Ipv4Addr, port: 0, data: vec![10, 0, 0, 1] };
    let merged = judge(vec![
        sat(257, GCM, |_| {}),
        sat(257, GCM, |sa| sa.source = other.clone()),
        sat(257, GCM, |_| {}),
    ]);
    assert_eq!((merged.0.teks.len(), merged.0.teks[0].selectors.len(), merged.1.len()), (1, 2, 0));

    type Change = dyn Fn(&mut Sa);
    let conflicts: [(&str, &Change); 4] = [
        ("transform", &|sa| set(sa, IpsecAttribute::KeyLength, 256)),
        ("mode", &|sa| set(sa, IpsecAttribute::EncapsulationMode, 2)),
        ("direction", &|sa| set(sa, IpsecAttribute::SaDirection, 1)),
        ("lifetime", &|sa| set(sa, IpsecAttribute::LifeDuration, 60)),
    ];
    for (what, change) in conflicts {
        // A third payload does not bring it back.
        let (policy, refused) = judge(vec![
            sat(257, GCM, |_| {}),
            sat(258, GCM, |_| {}),
            sat(257, GCM, |sa| change(sa)),
            sat(257, GCM, |_| {}),
        ]);
        assert_eq!(policy.teks, [tek(258, GCM)]);
        let spi = RefusedSpi::Esp(EspSpi(257));
        assert_eq!(refused, [Refused { spi, why: Unservable::Conflict(what) }]);
    }
}

/// Half of an SA's selectors would protect half of what the key server meant.
#[test]
fn an_sa_with_one_selector_that_cannot_be_served_is_refused_as_a_whole() {
    let fqdn = SelectorId { id_type: IdType::Fqdn, port: 0, data: b"example.net".to_vec() };
    let payloads = [sat(257, GCM, |_| {}), sat(257, GCM, |sa| sa.source = fqdn.clone())];
    for order in [[0, 1], [1, 0]] {
        let (policy, refused) = judge(order.map(|at: usize| payloads[at].clone()).to_vec());
        assert_eq!((policy.teks.len(), refused.len()), (0, 1));
        assert!(refused[0].to_string().starts_with("SA 0x00000101: its selectors: "), "{}", refused[0]);
    }
}

#[test]
fn numbers_are_bounded() {
    let spi = |at: usize| u32::try_from(at).unwrap() + 1000;
    let many = (0..MAX_TEKS + 2).map(|at| sat(spi(at), GCM, |_| {})).collect();
    let (policy, refused) = judge(many);
    assert_eq!((policy.teks.len(), refused.len()), (MAX_TEKS, 2));
    assert_eq!(refused[1].why, Unservable::TooMany { what: "SAs", limit: MAX_TEKS });

    let host =
        |at: usize| SelectorId { id_type: IdType::Ipv4Addr, port: 0, data: spi(at).to_be_bytes().to_vec() };
    let many = (0..=MAX_SELECTORS).map(|at| sat(257, GCM, |sa| sa.source = host(at))).collect();
    let (policy, refused) = judge(many);
    assert!(policy.teks.is_empty());
    assert_eq!(refused[0].why, Unservable::TooMany { what: "selectors", limit: MAX_SELECTORS });

    let range =
        SelectorId { id_type: IdType::Ipv4AddrRange, port: 0, data: vec![0, 0, 0, 1, 255, 255, 255, 254] };
    let many = (0..40).map(|at| sat(spi(at), GCM, |sa| sa.source = range.clone())).collect();
    let (policy, refused) = judge(many);
    assert_eq!((policy.teks.len(), refused.len()), (MAX_TOTAL_SELECTORS / 62, 40 - MAX_TOTAL_SELECTORS / 62));
}

#[test]
fn protocols_other_than_esp_are_refused_by_name_with_their_spi() {
    let SaAttribute::Sat(Sat::Esp(esp)) = sat(300, GCM, |_| {}) else { panic!() };
    let ah = Tek {
        protocol: esp.protocol,
        source: esp.source,
        destination: esp.destination,
        transform: wire::AhTransform::Sha256,
        spi: 300,
        attributes: esp.attributes,
    };
    let iec = [&[2, 0x2b, 1, 0, 0][..], &301u32.to_be_bytes(), &[0; 8]].concat();
    let (policy, refused) = judge(vec![
        SaAttribute::Sat(Sat::Ah(ah)),
        SaAttribute::Sat(Sat::Unknown(GdoiProtocol::Iec61850, iec)),
        SaAttribute::Sat(Sat::Unknown(GdoiProtocol::Iec61850, vec![9])),
        SaAttribute::Sat(Sat::Unknown(77.into(), vec![])),
        sat(257, GCM, |_| {}),
    ]);
    assert_eq!(policy.teks, [tek(257, GCM)]);
    let spis: Vec<_> = refused.iter().map(|refused| refused.spi.data_spi()).collect();
    assert_eq!(spis, [Some(EspSpi(300)), Some(EspSpi(301)), None, None]);
    assert_eq!(
        refused[1].to_string(),
        "SA 0x0000012d of GDOI_PROTO_IEC_61850 (3): its protocol is GDOI_PROTO_IEC_61850 (3), and only ESP is served"
    );
}

/// What becomes of a Rekey SA when its attributes are changed; the SA beside it is served in any case.
fn rekey(change: impl FnOnce(&mut wire::Sak)) -> Result<KekPolicy, Unservable> {
    let (kek, _) = kek(KekSignature::Rsa(HashAlgorithm::Sha256));
    let mut sak = kek_payload::to_wire(&kek).unwrap();
    change(&mut sak);
    let (policy, mut refused) = judge(vec![SaAttribute::Sak(sak), sat(257, GCM, |_| {})]);
    assert_eq!(policy.teks, [tek(257, GCM)]);
    match (policy.kek, refused.pop()) {
        (Some(kek), None) => Ok(kek),
        (None, Some(Refused { spi: RefusedSpi::Kek(_), why })) => Err(why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rekey_sa_is_served_or_its_reason_is_named() {
    use KekAttribute::{
        AckRequested, Algorithm, KeyLength, KeyLifetime, ManagementAlgorithm, SigHash as Hash,
    };
    let set = |class, value: u16| {
        rekey(|sak| {
            sak.attributes.0.retain(|attribute| attribute.class != class);
            sak.attributes = std::mem::take(&mut sak.attributes).with(class, value);
        })
    };
    let without = |class| rekey(|sak| sak.attributes.0.retain(|attribute| attribute.class != class));
    // Two octets of lifetime, as the reference implementation has it.
    assert_eq!(set(KeyLifetime, 45).map(|kek| kek.lifetime.as_secs()), Ok(45));
    assert_eq!(set(KeyLifetime, 0), Err(Unservable::NoLifetime));
    assert_eq!(without(KeyLifetime).map(|kek| kek.lifetime.as_secs()), Ok(u32::MAX.into()));
    let cipher = |algorithm, bits| Err(Unservable::KekCipher { algorithm, bits });
    assert_eq!(set(Algorithm, 2), cipher(KekAlgorithm::TripleDes, 128));
    assert_eq!(set(KeyLength, 64), cipher(KekAlgorithm::Aes, 64));
    assert_eq!(set(KeyLength, 192).map(|kek| kek.cipher), Ok(KekCipher::Aes192Cbc));
    assert_eq!(without(KeyLength).map(|kek| kek.cipher), Ok(KekCipher::Aes128Cbc));
    assert_eq!(without(Algorithm), Err(Unservable::Missing("KEK_ALGORITHM")));
    assert_eq!(set(KekAttribute::SigAlgorithm, 2), Err(Unservable::Signature(SigAlgorithm::Dss)));
    assert_eq!(without(KekAttribute::SigAlgorithm), Err(Unservable::Missing("SIG_ALGORITHM")));
    assert_eq!(set(Hash, 1), Err(Unservable::SignatureHash(SigHash::Md5)));
    assert_eq!(without(Hash), Err(Unservable::Missing("SIG_HASH_ALGORITHM")));
    // A management algorithm is ignored, and an acknowledgement of another kind is not made.
    assert!(set(ManagementAlgorithm, 1).is_ok());
    assert_eq!(set(AckRequested, 2).map(|kek| kek.acknowledge), Ok(None));

    assert_eq!(rekey(|sak| sak.protocol = 6), Err(Unservable::KekProtocol(6)));
    assert_eq!(rekey(|sak| sak.source.id_type = IdType::Fqdn), Err(Unservable::Address("source")));
    assert_eq!(rekey(|sak| sak.destination.data.push(0)), Err(Unservable::Address("destination")));
    let unnamed = rekey(|sak| (sak.protocol, sak.source.port, sak.source.data) = (0, 0, vec![]));
    assert_eq!(unnamed.map(|kek| kek.source), Ok("0.0.0.0:848".parse().unwrap()));
}

#[test]
fn a_policy_without_a_rekey_sa_and_one_without_anything_are_policies() {
    let (policy, refused) = judge(vec![sat(257, GCM, |_| {})]);
    assert_eq!((policy.kek, policy.teks.len(), refused.len()), (None, 1, 0));
    assert_eq!(judge(vec![]), (GroupPolicy::default(), vec![]));
}

#[test]
fn unknown_attributes_of_the_group_are_named_and_the_rest_holds() {
    let attributes =
        Attributes::new().with(GapAttribute::ActivationTimeDelay, 9u16).with(GapAttribute::from(77), 1u16);
    let (policy, refused) = judge(vec![SaAttribute::Gap(Gap { attributes }), sat(257, GCM, |_| {})]);
    assert_eq!((policy.gap.activation_delay.as_secs(), policy.teks.len()), (9, 1));
    assert_eq!(refused, [Refused { spi: RefusedSpi::Group, why: Unservable::Gap(77.into()) }]);
}
