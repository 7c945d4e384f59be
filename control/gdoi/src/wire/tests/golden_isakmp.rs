//! The payloads of ISAKMP and IKEv1 against octets. Those marked "captured" were sent by an
//! implementation that is not ours; the others follow the pictures of the RFCs.

use super::*;

const PHASE1: ExchangeType = ExchangeType::IdentityProtection;

fn cookies() -> CookiePair {
    CookiePair {
        initiator: Cookie([0xe9, 0x37, 0x7a, 0xd7, 0x7e, 0x19, 0xa9, 0xd4]),
        responder: Cookie([0xa1, 0xa7, 0x14, 0x3d, 0x08, 0xda, 0xa2, 0xaf]),
    }
}

#[test]
fn header_as_captured() {
    let octets = hex("e9377ad77e19a9d4 a1a7143d08daa2af 08 10 20 01 51aab400 0000005c");
    let header = Header {
        length: 0x5c,
        ..Header::new(cookies(), PayloadType::Hash, ExchangeType::GroupkeyPull, Flags::ENCRYPTED, 0x51aa_b400)
    };
    assert_eq!(Header::decode(&octets), Ok(header));
    assert_eq!(header.encode()[..], octets);
    assert_eq!(header.cookies().to_string(), "e9377ad77e19a9d4:a1a7143d08daa2af");
}

#[test]
fn header_keeps_each_flag_and_a_newer_minor_version() {
    let cases = [
        (1, Flags::ENCRYPTED),
        (2, Flags { commit: true, ..Flags::NONE }),
        (4, Flags { auth_only: true, ..Flags::NONE }),
    ];
    for (octet, flags) in cases {
        let mut octets = hex("e9377ad77e19a9d4 0000000000000000 01 1f 02 00 00000000 0000001c");
        octets[19] = octet;
        let header = Header::decode(&octets).unwrap();
        assert_eq!((header.flags, header.version), (flags, 0x1f));
        assert_eq!(header.encode()[..], octets);
    }
}

#[test]
fn header_that_is_hashed_may_count_less_than_the_one_that_is_sent() {
    let header =
        Header::new(cookies(), PayloadType::Sequence, ExchangeType::GroupkeyPush, Flags::ENCRYPTED, 0);
    let hashed = header.with_body_len(41).unwrap().encode();
    let sent = header.datagram(&[0; 48]).unwrap();
    assert_eq!(hashed[..24], sent[..24]);
    assert_eq!(hashed[24..], [0, 0, 0, 69]);
    assert_eq!(sent[24..28], [0, 0, 0, 76]);
}

#[test]
fn sa_of_phase_1_as_captured() {
    let attributes = Attributes::new()
        .with(IkeAttribute::Encryption, IkeCipher::AesCbc)
        .with(IkeAttribute::Hash, IkeHash::Sha1)
        .with(IkeAttribute::AuthMethod, AuthMethod::PreSharedKey)
        .with(IkeAttribute::Group, IkeGroup::Modp1024)
        .with(IkeAttribute::LifeType, LifeType::Seconds)
        .with(IkeAttribute::LifeDuration, 3600u16)
        .with(IkeAttribute::KeyLength, 128u16);
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::Isakmp,
        spi: Spi::default(),
        transforms: vec![Transform { number: 0, id: Transform::KEY_IKE, attributes }],
    };
    let sa = Sa { doi: Doi::Gdoi, situation: 0, proposals: vec![proposal] };
    check(
        PHASE1,
        Compat::Standard,
        "00000002 00000000 0000002c 01010001 00000024 00010000 80010007 80020002 80030001 80040002 800b0001
         800c0e10 800e0080",
        &Payload::Sa(sa),
    );
}

#[test]
fn sa_of_phase_1_with_two_proposals_and_two_transforms() {
    let transform = |number, cipher| Transform {
        number,
        id: Transform::KEY_IKE,
        attributes: Attributes::new()
            .with(IkeAttribute::Encryption, cipher)
            .with_u32(IkeAttribute::LifeDuration, 86_400),
    };
    let proposal = |number, spi: &[u8], transforms| Proposal {
        number,
        protocol: ProtocolId::Isakmp,
        spi: spi.into(),
        transforms,
    };
    let sa = Sa {
        doi: Doi::Ipsec,
        situation: 1,
        proposals: vec![
            proposal(1, &[], vec![transform(1, IkeCipher::AesCbc), transform(2, IkeCipher::TripleDesCbc)]),
            proposal(2, &[1, 2, 3, 4], vec![transform(1, IkeCipher::Unknown(65_001))]),
        ],
    };
    check(
        PHASE1,
        Compat::Standard,
        "00000001 00000001
         02000030 01010002 03000014 01010000 80010007 000c0004 00015180
                           00000014 02010000 80010005 000c0004 00015180
         00000020 02010401 01020304 00000014 01010000 8001fde9 000c0004 00015180",
        &Payload::Sa(sa),
    );
}

#[test]
fn attributes_are_numbers_in_either_form() {
    let attributes: Attributes<IkeAttribute> = Attributes::new()
        .with(IkeAttribute::LifeDuration, 3600u16)
        .with_octets(IkeAttribute::KeyLength, vec![0, 0, 0, 0, 0, 0, 0, 1, 0])
        .with_octets(IkeAttribute::Group, vec![1, 0, 0])
        .with_octets(IkeAttribute::FieldSize, vec![1, 0, 0, 0, 0, 0, 0, 0, 0])
        .with_octets(IkeAttribute::Prf, vec![]);
    assert_eq!(attributes.number(IkeAttribute::LifeDuration), Some(3600));
    assert_eq!(attributes.number(IkeAttribute::KeyLength), Some(256));
    assert_eq!(attributes.number(IkeAttribute::FieldSize), Some(u64::MAX));
    assert_eq!(attributes.number(IkeAttribute::Prf), Some(0));
    assert_eq!(attributes.number(IkeAttribute::Hash), None);
    assert_eq!(attributes.value(IkeAttribute::KeyLength), Some(IkeGroup::Unknown(256)));
    assert_eq!(attributes.value(IkeAttribute::Group), Some(IkeGroup::Unknown(65_535)));
    assert_eq!(attributes.octets(IkeAttribute::Group), Some(&[1, 0, 0][..]));
    assert_eq!(attributes.octets(IkeAttribute::LifeDuration), None);
}

#[test]
fn identification_as_captured() {
    let group = Identification::new(IdType::KeyId, [0xd2, 4, 0, 0]);
    check(PHASE1, Compat::Standard, "0b000000 d2040000", &Payload::Identification(group));
    let host = Identification::new(IdType::Ipv4Addr, [10, 9, 0, 1]);
    check(PHASE1, Compat::Standard, "01000000 0a090001", &Payload::Identification(host));
    let name = Identification { protocol: 17, port: 848, ..Identification::new(IdType::Fqdn, *b"ks1") };
    check(PHASE1, Compat::Standard, "02 11 0350 6b7331", &Payload::Identification(name));
}

#[test]
fn certificate_and_request() {
    let certificate = Certificate { encoding: CertEncoding::X509Signature, data: vec![0x30, 0] };
    check(PHASE1, Compat::Standard, "04 3000", &Payload::Certificate(certificate));
    let request = CertificateRequest { encoding: CertEncoding::X509Signature, authority: vec![] };
    check(PHASE1, Compat::Standard, "04", &Payload::CertificateRequest(request));
}

#[test]
fn payloads_that_are_nothing_but_octets() {
    let nonce = "870526e71c44f29b24df42a659e1f17f";
    check(PHASE1, Compat::Standard, nonce, &Payload::Nonce(hex(nonce)));
    let hash = "36e7886a04afabb4050ed739c66ad2b3106f87f4";
    check(PHASE1, Compat::Standard, hash, &Payload::Hash(hex(hash)));
    check(PHASE1, Compat::Standard, hash, &Payload::Signature(hex(hash)));
    check(PHASE1, Compat::Standard, hash, &Payload::KeyExchange(hex(hash)));
    let dpd = "afcad71368a1f1c96b8696fc77570100";
    check(PHASE1, Compat::Standard, dpd, &Payload::VendorId(hex(dpd)));
    check(PHASE1, Compat::Standard, "0102", &Payload::Unknown(PayloadType::NatD, vec![1, 2]));
    check(PHASE1, Compat::Standard, "", &Payload::Unknown(PayloadType::Unknown(200), vec![]));
}

#[test]
fn notification_as_captured_and_invalid_spi() {
    let initial_contact = Notify {
        doi: Doi::Ipsec,
        protocol: ProtocolId::Isakmp.number(),
        notify_type: NotifyType::InitialContact,
        spi: cookies().into(),
        data: vec![],
    };
    check(
        PHASE1,
        Compat::Standard,
        "00000001 01106002 e9377ad77e19a9d4a1a7143d08daa2af",
        &Payload::Notify(initial_contact),
    );
    let invalid_spi = Notify {
        doi: Doi::Gdoi,
        protocol: ProtocolId::Esp.number(),
        notify_type: NotifyType::InvalidSpi,
        spi: 0x0001_0001.into(),
        data: vec![],
    };
    check(
        ExchangeType::Informational,
        Compat::Standard,
        "00000002 03 04 000b 00010001",
        &Payload::Notify(invalid_spi),
    );
    let dpd = Notify {
        doi: Doi::Ipsec,
        protocol: 1,
        notify_type: NotifyType::RUThere,
        spi: cookies().into(),
        data: vec![0, 0, 0, 7],
    };
    check(
        ExchangeType::Informational,
        Compat::Standard,
        "00000001 01 10 8d28 e9377ad77e19a9d4a1a7143d08daa2af 00000007",
        &Payload::Notify(dpd),
    );
}

#[test]
fn delete_as_captured() {
    let spis = [
        0x50be_54ca_u32,
        0x17a0_eba8,
        0x88da_a87b,
        0x72cd_6874,
        0xc904_44bf,
        0xf5d0_a746,
        0x6488_b2f4,
        0x6ae5_6a98,
        0x1a50_9fd1,
        0x2c60_e044,
        0xa729_6803,
        0x1bdc_73ca,
        0x2454_e683,
        0x169f_7338,
        0xd73a_b3b9,
        0xaf19_9ab2,
    ];
    let delete = Delete {
        doi: Doi::Gdoi,
        protocol: GdoiProtocol::Esp.number(),
        spis: spis.into_iter().map(Spi::from).collect(),
    };
    assert_eq!(delete.spis[0].as_u32(), Some(0x50be_54ca));
    check(
        ExchangeType::GroupkeyPush,
        Compat::Standard,
        "00000002 01 04 0010 50be54ca17a0eba888daa87b72cd6874c90444bff5d0a7466488b2f46ae56a981a509fd12c60e044
         a72968031bdc73ca2454e683169f7338d73ab3b9af199ab2",
        &Payload::Delete(delete),
    );
    let kek = Delete { doi: Doi::Gdoi, protocol: GdoiProtocol::Kek.number(), spis: vec![cookies().into()] };
    check(
        ExchangeType::GroupkeyPush,
        Compat::Standard,
        "00000002 00 10 0001 e9377ad77e19a9d4a1a7143d08daa2af",
        &Payload::Delete(kek),
    );
}

#[test]
fn numbers_survive_and_are_named() {
    for number in 0..=u16::MAX {
        assert_eq!(NotifyType::from(number).number(), number);
        assert_eq!(IkeAttribute::from(number).number(), number);
    }
    for number in 0..=u8::MAX {
        assert_eq!(PayloadType::from(number).number(), number);
        assert_eq!(ExchangeType::from(number).number(), number);
    }
    assert_eq!(NotifyType::InvalidSpi.to_string(), "INVALID-SPI (11)");
    assert_eq!(NotifyType::from(8192).to_string(), "number 8192");
    assert_eq!(NotifyType::Unknown(11), NotifyType::InvalidSpi);
}
