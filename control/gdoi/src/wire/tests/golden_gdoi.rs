//! The payloads of GDOI against octets. Those marked "captured" were sent by an implementation that is
//! not ours; the others follow the pictures of RFC 6407.

use super::*;

const PULL: ExchangeType = ExchangeType::GroupkeyPull;

fn kek_spi() -> CookiePair {
    <[u8; 16]>::try_from(hex("114982b54a1a3172eb874c1d979812a4")).unwrap().into()
}

fn selector(port: u16, data: [u8; 4]) -> SelectorId {
    SelectorId { id_type: IdType::Ipv4Addr, port, data: data.to_vec() }
}

fn sak() -> Sak {
    Sak {
        protocol: 17,
        source: selector(848, [10, 9, 0, 1]),
        destination: selector(848, [239, 10, 1, 1]),
        spi: kek_spi(),
        pop_algorithm: 0,
        pop_key_length: 0,
        attributes: Attributes::new()
            .with(KekAttribute::Algorithm, KekAlgorithm::Aes)
            .with(KekAttribute::KeyLength, 128u16)
            .with(KekAttribute::KeyLifetime, 45u16)
            .with(KekAttribute::SigHash, SigHash::Sha1)
            .with(KekAttribute::SigAlgorithm, SigAlgorithm::Rsa)
            .with(KekAttribute::SigKeyLength, 1024u16),
    }
}

fn cbc_tek() -> Tek<EspTransform> {
    Tek {
        protocol: 0,
        source: selector(0, [10, 9, 0, 2]),
        destination: selector(0, [239, 1, 1, 1]),
        transform: EspTransform::AesCbc,
        spi: 0x50be_54ca,
        attributes: Attributes::new()
            .with(IpsecAttribute::EncapsulationMode, EncapsulationMode::Tunnel)
            .with(IpsecAttribute::AuthAlgorithm, AuthAlgorithm::HmacSha1)
            .with(IpsecAttribute::LifeType, LifeType::Seconds)
            .with(IpsecAttribute::LifeDuration, 3600u16)
            .with(IpsecAttribute::KeyLength, 0u16)
            .with(IpsecAttribute::AddressPreservation, 0u16)
            .with(IpsecAttribute::SaDirection, 0u16),
    }
}

fn triple_des_tek() -> Tek<EspTransform> {
    Tek {
        source: selector(0, [10, 9, 0, 3]),
        destination: selector(0, [239, 1, 1, 2]),
        transform: EspTransform::TripleDes,
        spi: 0x17a0_eba8,
        attributes: Attributes::new()
            .with(IpsecAttribute::EncapsulationMode, EncapsulationMode::Tunnel)
            .with(IpsecAttribute::AuthAlgorithm, AuthAlgorithm::HmacSha1)
            .with(IpsecAttribute::LifeType, LifeType::Seconds)
            .with(IpsecAttribute::LifeDuration, 3600u16)
            .with(IpsecAttribute::AddressPreservation, 0u16)
            .with(IpsecAttribute::SaDirection, 0u16),
        ..cbc_tek()
    }
}

/// Captured: message 2 of a PULL of the C reference implementation.
#[test]
fn sa_of_the_reference_implementation_as_captured() {
    let sa = GdoiSa {
        situation: 0,
        attributes: vec![
            SaAttribute::Sak(sak()),
            SaAttribute::Sat(Sat::Esp(cbc_tek())),
            SaAttribute::Sat(Sat::Esp(triple_des_tek())),
        ],
    };
    assert_eq!((sa.sak(), sa.gap(), sa.sats().count()), (Some(&sak()), None, 2));
    check(
        PULL,
        Compat::Reference,
        "00000002 00000000 000f 0000
         10000043 11 01 0350 04 0a090001 01 0350 04 ef0a0101 114982b54a1a3172eb874c1d979812a4 000000000000
         80020003 80030080 8004002d 80050002 80060001 80070400
         10000037 01 00 01 0000 04 0200090a 01 0000 04 010101ef 0c 50be54ca
         80040001 80050002 80010001 80020e10 80060000 800e0000 800f0000
         00000033 01 00 01 0000 04 0300090a 01 0000 04 020101ef 03 17a0eba8
         80040001 80050002 80010001 80020e10 800e0000 800f0000",
        &Payload::GdoiSa(sa),
    );
}

#[test]
fn sak_has_four_octets_before_its_attributes_unless_the_reference_layout_is_asked_for() {
    let sa = GdoiSa { situation: 0, attributes: vec![SaAttribute::Sak(sak())] };
    let standard = "00000002 00000000 000f 0000
         00000041 11 01 0350 04 0a090001 01 0350 04 ef0a0101 114982b54a1a3172eb874c1d979812a4 00000000
         80020003 80030080 8004002d 80050002 80060001 80070400";
    check(PULL, Compat::Standard, standard, &Payload::GdoiSa(sa));
    let read = Payload::decode(PayloadType::Sa, PULL, &hex(standard), Compat::Reference);
    assert!(read.is_err(), "{read:?}");
}

#[test]
fn kek_attributes_of_each_class() {
    let attributes = Attributes::new()
        .with(KekAttribute::ManagementAlgorithm, KekManagement::Lkh)
        .with(KekAttribute::Algorithm, KekAlgorithm::Aes)
        .with(KekAttribute::KeyLength, 256u16)
        .with_u32(KekAttribute::KeyLifetime, 86_400)
        .with(KekAttribute::SigHash, SigHash::Sha256)
        .with(KekAttribute::SigAlgorithm, SigAlgorithm::Ecdsa256)
        .with(KekAttribute::SigKeyLength, 256u16)
        .with(KekAttribute::KeOakleyGroup, IkeGroup::Ecp256)
        .with(KekAttribute::AckRequested, AckRequest::KekSha256)
        .with(KekAttribute::Unknown(128), 7u16);
    assert_eq!(attributes.number(KekAttribute::KeyLifetime), Some(86_400));
    assert_eq!(attributes.value(KekAttribute::AckRequested), Some(AckRequest::KekSha256));
    let sak = Sak { pop_algorithm: 1, pop_key_length: 1024, attributes, ..sak() };
    let sa = GdoiSa { situation: 0, attributes: vec![SaAttribute::Sak(sak)] };
    check(
        PULL,
        Compat::Standard,
        "00000002 00000000 000f 0000
         00000055 11 01 0350 04 0a090001 01 0350 04 ef0a0101 114982b54a1a3172eb874c1d979812a4 0001 0400
         80010001 80020003 80030100 00040004 00015180 80050003 80060004 80070100 80080013 80090001 80800007",
        &Payload::GdoiSa(sa),
    );
}

#[test]
fn gap_in_an_sa_and_by_itself() {
    let delays = Gap {
        attributes: Attributes::new()
            .with(GapAttribute::ActivationTimeDelay, 15u16)
            .with(GapAttribute::DeactivationTimeDelay, 30u16),
    };
    let sa = GdoiSa { situation: 0, attributes: vec![SaAttribute::Gap(delays.clone())] };
    assert_eq!(sa.gap(), Some(&delays));
    check(
        ExchangeType::GroupkeyPush,
        Compat::Standard,
        "00000002 00000000 0016 0000 0000000c 8001000f 8002001e",
        &Payload::GdoiSa(sa),
    );
    let request = Gap { attributes: Attributes::new().with(GapAttribute::SenderIdRequest, 4u16) };
    check(PULL, Compat::Standard, "80030004", &Payload::Gap(request));
}

#[test]
fn sat_of_ah_with_subnets_and_rfc_5374_attributes() {
    let subnet =
        |data: [u8; 8]| SelectorId { id_type: IdType::Ipv4AddrSubnet, port: 443, data: data.to_vec() };
    let tek = Tek {
        protocol: 6,
        source: subnet([10, 0, 0, 0, 255, 0, 0, 0]),
        destination: subnet([10, 1, 0, 0, 255, 255, 0, 0]),
        transform: AhTransform::Sha256,
        spi: 0x0001_0002,
        attributes: Attributes::new()
            .with_u32(IpsecAttribute::LifeDuration, 3600)
            .with(IpsecAttribute::AddressPreservation, AddressPreservation::SourceAndDestination)
            .with(IpsecAttribute::SaDirection, SaDirection::Symmetric),
    };
    let sa = GdoiSa { situation: 0, attributes: vec![SaAttribute::Sat(Sat::Ah(tek))] };
    let head = "00000002 00000000 0010 0000 00000033 02 06";
    let tail = "05 00010002 00020004 00000e10 800e0004 800f0003";
    check(
        PULL,
        Compat::Standard,
        &format!("{head} 04 01bb 08 0a000000 ff000000 04 01bb 08 0a010000 ffff0000 {tail}"),
        &Payload::GdoiSa(sa.clone()),
    );
    // The reference layout turns each address round, and the mask with it.
    check(
        PULL,
        Compat::Reference,
        &format!("{head} 04 01bb 08 0000000a 000000ff 04 01bb 08 0000010a 0000ffff {tail}"),
        &Payload::GdoiSa(sa),
    );
}

/// Captured: message 2 of a PULL of the Go implementation.
#[test]
fn sat_of_iec_61850_is_kept_as_captured() {
    let tek = |octets| SaAttribute::Sat(Sat::Unknown(GdoiProtocol::Iec61850, hex(octets)));
    let first = "0b 06092a8648ce5683e31a01 0000 e0f80d13 0001 0004 00000e0f";
    let second = "0b 06092a8648ce5683e31a01 0000 18a124a7 0001 0004 00000e0f 0001 0004 0000001d 8002005a";
    let sa = GdoiSa { situation: 0, attributes: vec![tek(first), tek(second)] };
    check(
        PULL,
        Compat::Standard,
        &format!("00000002 00000000 0010 0000 1000001f 03 {first} 0000002b 03 {second}"),
        &Payload::GdoiSa(sa),
    );
}

#[test]
fn sa_attribute_payload_of_unknown_type_is_kept() {
    let unknown = SaAttribute::Unknown(PayloadType::Unknown(130), vec![1, 2, 3]);
    let sa = GdoiSa { situation: 0, attributes: vec![unknown] };
    check(PULL, Compat::Standard, "00000002 00000000 0082 0000 00000007 010203", &Payload::GdoiSa(sa));
    check(PULL, Compat::Standard, "00000002 00000000 0000 0000", &Payload::GdoiSa(GdoiSa::default()));
}

fn keys<C: Copy + PartialEq + From<u16> + Into<u16>>(spi: Spi, attributes: &[(C, &str)]) -> Keys<C> {
    let attributes = attributes
        .iter()
        .fold(Attributes::new(), |list, (class, octets)| list.with_octets(*class, hex(octets).as_slice()));
    Keys { spi, attributes }
}

/// Captured: message 4 of a PULL of the C reference implementation, whose AES TEK has no key.
#[test]
fn kd_of_the_reference_implementation_as_captured() {
    let kek = "cf94b5f21101a05c999af35a774f54bd 30d7318d9ac0bf3e536d7153546745d1";
    let public = "30819f300d06092a864886f70d010101050003818d0030818902818100d600ca613ad261f7fffb074967a8006c
        9afe27f882555a4ca2b023e8216903b1e5e36e44b566f82dd713b917d644b24764301a401ea4d3aee51d277729170e822e54
        b345f479ab203c2a9c833705175667252e698d80bfc43eb67e03ed6175590d506b1131cd5a9701b4d45607dc7e510da384f3
        58e4d8854b43092938dbc3a30203010001";
    let first = "ea334f20a2b1b4e60927e370aca94a5cfd37195f";
    let cipher = "c7eb6220a4c7a1f4df36c56b2eb84f4b3d11c7f534770fa6";
    let second = "b42d7a9591fc0005d4cf24ed86b8f113a239ab38";
    let kd = KeyDownload {
        packets: vec![
            KeyPacket::Kek(keys(
                kek_spi().into(),
                &[(KekKeyAttribute::AlgorithmKey, kek), (KekKeyAttribute::SigKey, public)],
            )),
            KeyPacket::Tek(keys(0x50be_54ca_u32.into(), &[(TekKeyAttribute::IntegrityKey, first)])),
            KeyPacket::Tek(keys(
                0x17a0_eba8_u32.into(),
                &[(TekKeyAttribute::AlgorithmKey, cipher), (TekKeyAttribute::IntegrityKey, second)],
            )),
        ],
    };
    check(
        PULL,
        Compat::Standard,
        &format!(
            "0003 0000
             02 00 00df 10 114982b54a1a3172eb874c1d979812a4 0001 0020 {kek} 0002 00a2 {public}
             01 00 0021 04 50be54ca 0002 0014 {first}
             01 00 003d 04 17a0eba8 0001 0018 {cipher} 0002 0014 {second}"
        ),
        &Payload::KeyDownload(kd),
    );
}

#[test]
fn kd_of_each_type() {
    let tek = KeyPacket::Tek(keys(1.into(), &[(TekKeyAttribute::AlgorithmKey, "")]));
    let lkh = KeyPacket::Lkh(keys(kek_spi().into(), &[(LkhKeyAttribute::DownloadArray, "01000100")]));
    let sid = Attributes::new()
        .with(SidAttribute::NumberOfSidBits, 16u16)
        .with_octets(SidAttribute::SidValue, [0u8, 1, 2].as_slice());
    let sid = KeyPacket::Sid(Keys { spi: Spi::default(), attributes: sid });
    let unknown = KeyPacket::Unknown(KdType::Unknown(200), keys(2.into(), &[(9, "ff")]));
    let kd = |packets: &[KeyPacket]| Payload::KeyDownload(KeyDownload { packets: packets.to_vec() });
    let first = "01 00 000d 04 00000001 0001 0000
         03 00 001d 10 114982b54a1a3172eb874c1d979812a4 0001 0004 01000100";
    let last = "c8 00 000e 04 00000002 0009 0001 ff";
    let all = kd(&[tek, lkh, sid, unknown]);
    let content = format!("0004 0000 {first} 04 00 0010 00 80010010 0002 0003 000102 {last}");
    check(PULL, Compat::Standard, &content, &all);
    // The reference layout turns SID values round, and nothing else.
    let content = format!("0004 0000 {first} 04 00 0010 00 80010010 0002 0003 020100 {last}");
    check(PULL, Compat::Reference, &content, &all);
}

#[test]
fn seq_as_captured() {
    check(ExchangeType::GroupkeyPush, Compat::Standard, "00000008", &Payload::Sequence(8));
}

#[test]
fn debug_of_a_kd_shows_no_key() {
    let key = "5d820b080f7afb868dd031356949df7b";
    let packet = KeyPacket::Kek(keys(kek_spi().into(), &[(KekKeyAttribute::AlgorithmKey, key)]));
    let kd = Payload::KeyDownload(KeyDownload { packets: vec![packet] });
    let chain = encode_chain(std::slice::from_ref(&kd), PayloadType::None, Compat::Standard).unwrap();
    let body = Body::decode(chain.first, PULL, &chain.octets, Compat::Standard).unwrap();
    assert!(format!("{kd:?}").contains("Secret(16 octets)"), "{kd:?}");
    let mut writer = Writer::new();
    writer.put(&chain.octets);
    let reader = Reader::new(&chain.octets, "test");
    for shown in [format!("{kd:?}"), format!("{chain:?} {body:?} {writer:?} {reader:?}")] {
        for way in ["93, 130", "5d, 82", "5d82", "5D82", "0x5d"] {
            assert!(!shown.contains(way), "{shown}");
        }
    }
}
