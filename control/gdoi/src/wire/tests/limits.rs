//! Each rule that refuses a message, and each bound, at the bound and one past it.

use super::*;

const PULL: ExchangeType = ExchangeType::GroupkeyPull;
const PHASE1: ExchangeType = ExchangeType::IdentityProtection;

#[track_caller]
fn reason(payload_type: PayloadType, exchange: ExchangeType, content: &str) -> Reason {
    Payload::decode(payload_type, exchange, &hex(content), Compat::Standard).unwrap_err().reason
}

#[track_caller]
fn body_reason(first: PayloadType, octets: &[u8]) -> Reason {
    Body::decode(first, PULL, octets, Compat::Standard).unwrap_err().reason
}

#[test]
fn header_is_refused_for_version_flags_and_length() {
    let refused = |at: usize, octet| {
        let mut octets = hex("e9377ad77e19a9d4 0000000000000000 01 10 02 00 00000000 0000001c");
        octets[at] = octet;
        let error = split_datagram(&octets).unwrap_err();
        (error.reason, error.notify())
    };
    assert_eq!(refused(17, 0x20), (Reason::Version(0x20), NotifyType::InvalidMajorVersion));
    assert_eq!(refused(17, 0x00), (Reason::Version(0), NotifyType::InvalidMajorVersion));
    assert_eq!(refused(19, 0x08), (Reason::Flags(8), NotifyType::InvalidFlags));
    assert_eq!(refused(27, 0x1b), (Reason::Length(27), NotifyType::UnequalPayloadLengths));
    assert_eq!(refused(27, 0x1d), (Reason::Length(29), NotifyType::UnequalPayloadLengths));
    assert_eq!(refused(24, 0x01), (Reason::Length(0x0100_001c), NotifyType::UnequalPayloadLengths));
    assert!(matches!(split_datagram(&[0xff]).unwrap_err().reason, Reason::Truncated { .. }));
}

#[test]
fn longest_datagram_is_written_and_a_longer_one_is_not() {
    let header = Header::new(CookiePair::default(), PayloadType::None, PULL, Flags::NONE, 0);
    let longest = header.datagram(&vec![0; MAX_DATAGRAM - HEADER_LEN]).unwrap();
    assert!(split_datagram(&longest).is_ok());
    assert!(header.datagram(&vec![0; MAX_DATAGRAM - HEADER_LEN + 1]).is_err());
    assert!(header.with_body_len(usize::MAX).is_err());
}

#[test]
fn generic_header_is_refused_for_reserved_and_length() {
    assert_eq!(body_reason(PayloadType::Hash, &[0, 1, 0, 4]), Reason::Reserved(1));
    assert_eq!(body_reason(PayloadType::Hash, &[0, 0, 0, 3]), Reason::Length(3));
    let truncated = Reason::Truncated { needed: 1, left: 0 };
    assert_eq!(body_reason(PayloadType::Hash, &[0, 0, 0, 5]), truncated);
    assert_eq!(body_reason(PayloadType::Hash, &[8, 0, 0, 4]), truncated);
}

#[test]
fn no_more_than_64_payloads() {
    let chain = |count: usize| {
        let payloads = vec![Payload::Unknown(PayloadType::VendorId, vec![]); count];
        encode_chain(&payloads, PayloadType::None, Compat::Standard).unwrap().octets
    };
    let body = |octets: &[u8]| {
        Body::decode(PayloadType::VendorId, PULL, octets, Compat::Standard).map(|body| body.payloads().len())
    };
    assert_eq!(body(&chain(64)), Ok(64));
    assert_eq!(body(&chain(65)).unwrap_err().reason, Reason::TooMany(64));
}

#[test]
fn no_more_than_64_attributes() {
    let content = |count: usize| "80010001".repeat(count);
    let decode =
        |content: &str| Payload::decode(PayloadType::Gap, PULL, &hex(content), Compat::Standard).map(|_| ());
    assert_eq!(decode(&content(64)), Ok(()));
    assert_eq!(reason(PayloadType::Gap, PULL, &content(65)), Reason::TooMany(64));
}

#[test]
fn no_more_than_32_proposals_and_as_many_transforms_as_announced() {
    let sa = |proposals: usize| {
        let proposal = |next: u8| format!("{next:02x}000010 01010001 00000008 01010000");
        let chain: String = (1..proposals).map(|_| proposal(2)).chain([proposal(0)]).collect();
        format!("00000001 00000001 {chain}")
    };
    let decode = |content: &str| Payload::decode(PayloadType::Sa, PHASE1, &hex(content), Compat::Standard);
    assert!(decode(&sa(32)).is_ok());
    assert_eq!(reason(PayloadType::Sa, PHASE1, &sa(33)), Reason::TooMany(32));

    let counted = "00000001 00000001 00000010 01010002 00000008 01010000";
    assert_eq!(reason(PayloadType::Sa, PHASE1, counted), Reason::Count { counted: 2, found: 1 });
    let uncounted = "00000001 00000001 00000018 01010001 03000008 01010000 00000008 02010000";
    assert_eq!(reason(PayloadType::Sa, PHASE1, uncounted), Reason::TooMany(1));
    let none = "00000001 00000001 00000008 01010000";
    assert!(matches!(reason(PayloadType::Sa, PHASE1, none), Reason::Truncated { .. }));
}

#[test]
fn sa_of_phase_1_is_refused_for_labels_and_strange_payloads() {
    let proposal = "00000010 01010001 00000008 01010000";
    for situation in [2, 3, 4, 6] {
        let content = format!("00000001 0000000{situation} {proposal}");
        assert_eq!(reason(PayloadType::Sa, PHASE1, &content), Reason::Situation(situation));
    }
    let next = "00000001 00000001 0d000010 01010001 00000008 01010000";
    let strange = Reason::PayloadType(PayloadType::VendorId);
    assert_eq!(reason(PayloadType::Sa, PHASE1, next), strange);
    let next = "00000001 00000001 00000010 01010001 0d000008 01010000";
    assert_eq!(reason(PayloadType::Sa, PHASE1, next), strange);
    let trailing = format!("00000001 00000001 {proposal} 00");
    assert_eq!(reason(PayloadType::Sa, PHASE1, &trailing), Reason::Trailing(1));
}

#[test]
fn sa_of_gdoi_is_refused_for_another_doi_and_for_two_saks_or_gaps() {
    let content = "00000001 00000000 0000 0000";
    assert_eq!(reason(PayloadType::Sa, PULL, content), Reason::Doi(1));
    let gaps = "00000002 00000000 0016 0000 16000004 00000004";
    assert_eq!(reason(PayloadType::Sa, PULL, gaps), Reason::Duplicate);
    let sak = "000029 11 01 0350 04 0a090001 01 0350 04 ef0a0101 114982b54a1a3172eb874c1d979812a4 00000000";
    let saks = format!("00000002 00000000 000f 0000 0f{sak} 00{sak}");
    assert_eq!(reason(PayloadType::Sa, PULL, &saks), Reason::Duplicate);
    let two_octets = "00000002 00000000 0110 0000";
    assert_eq!(reason(PayloadType::Sa, PULL, two_octets), Reason::TooLong(0x110));
}

#[test]
fn as_many_teks_as_fit_a_datagram_are_read_and_no_more_than_2048_payloads() {
    let unknown = SaAttribute::Unknown(PayloadType::Unknown(130), vec![]);
    let sa = |count: usize| {
        let sa = GdoiSa { situation: 0, attributes: vec![unknown.clone(); count] };
        encode_chain(&[Payload::GdoiSa(sa)], PayloadType::None, Compat::Standard).unwrap().octets
    };
    let decode = |octets: &[u8]| Body::decode(PayloadType::Sa, PULL, octets, Compat::Standard).map(|_| ());
    assert_eq!(decode(&sa(2048)), Ok(()));
    assert_eq!(decode(&sa(2049)).unwrap_err().reason, Reason::TooMany(2048));

    let packet = "c8 00 0005 00";
    let kd = |count: usize| format!("{count:04x} 0000 {}", packet.repeat(count));
    let decode = |content: &str| {
        Payload::decode(PayloadType::KeyDownload, PULL, &hex(content), Compat::Standard).map(|_| ())
    };
    assert_eq!(decode(&kd(2048)), Ok(()));
    assert_eq!(reason(PayloadType::KeyDownload, PULL, &kd(2049)), Reason::TooMany(2048));
}

#[test]
fn kd_is_refused_for_a_wrong_count_and_length() {
    let count = "0002 0000 01 00 0009 04 00000001";
    assert_eq!(reason(PayloadType::KeyDownload, PULL, count), Reason::Count { counted: 2, found: 1 });
    let count = "0000 0000 01 00 0009 04 00000001";
    assert_eq!(reason(PayloadType::KeyDownload, PULL, count), Reason::Count { counted: 0, found: 1 });
    let short = "0001 0000 01 00 0003";
    assert_eq!(reason(PayloadType::KeyDownload, PULL, short), Reason::Length(3));
    let spi = "0001 0000 01 00 0008 04 000000";
    assert_eq!(reason(PayloadType::KeyDownload, PULL, spi), Reason::Truncated { needed: 4, left: 3 });
}

#[test]
fn delete_is_refused_for_a_wrong_count_and_for_many_spis_of_no_octets() {
    let delete = |content| reason(PayloadType::Delete, PULL, content);
    assert_eq!(delete("00000002 01 04 0002 00000001"), Reason::Count { counted: 2, found: 1 });
    assert_eq!(delete("00000002 01 04 0001 00000001 00"), Reason::Count { counted: 1, found: 1 });
    assert_eq!(delete("00000002 01 00 ffff"), Reason::Length(0));
}

#[test]
fn nonce_has_8_to_256_octets() {
    for len in [8, 256] {
        let content = vec![7; len];
        let read = Payload::decode(PayloadType::Nonce, PHASE1, &content, Compat::Standard);
        assert_eq!(read, Ok(Payload::Nonce(content)));
    }
    for len in [0, 7, 257] {
        assert_eq!(reason(PayloadType::Nonce, PHASE1, &"07".repeat(len)), Reason::Length(len));
        let chain = encode_chain(&[Payload::Nonce(vec![7; len])], PayloadType::None, Compat::Standard);
        assert_eq!(chain.unwrap_err().reason, Reason::Length(len));
    }
}

#[test]
fn seq_has_four_octets() {
    assert_eq!(reason(PayloadType::Sequence, PULL, "0000000100"), Reason::Trailing(1));
    assert_eq!(reason(PayloadType::Sequence, PULL, "000001"), Reason::Truncated { needed: 4, left: 3 });
}

#[test]
fn what_does_not_fit_its_length_field_is_not_written() {
    let long = |payload| {
        let chain = encode_chain(&[payload], PayloadType::None, Compat::Standard);
        chain.unwrap_err().reason
    };
    assert_eq!(long(Payload::Hash(vec![0; 65_532])), Reason::TooLong(65_536));
    let chain = encode_chain(&[Payload::Hash(vec![0; 65_531])], PayloadType::None, Compat::Standard);
    assert_eq!(chain.unwrap().octets.len(), 65_535);

    let spi = Spi::from(vec![0; 256].as_slice());
    let notify = Notify {
        doi: Doi::Gdoi,
        protocol: 1,
        notify_type: NotifyType::InvalidSpi,
        spi: spi.clone(),
        data: vec![],
    };
    assert_eq!(long(Payload::Notify(notify)), Reason::TooLong(256));
    let delete = |spis| Payload::Delete(Delete { doi: Doi::Gdoi, protocol: 1, spis });
    assert_eq!(long(delete(vec![spi])), Reason::TooLong(256));
    assert_eq!(long(delete(vec![1.into(), CookiePair::default().into()])), Reason::Length(16));

    let gap = |attributes| Payload::Gap(Gap { attributes });
    let class = Attributes::new().with(GapAttribute::Unknown(0x8000), 0u16);
    assert_eq!(long(gap(class)), Reason::TooLong(0x8000));
    let value = Attributes::new().with_octets(GapAttribute::Unknown(200), vec![0; 65_536].as_slice());
    assert_eq!(long(gap(value)), Reason::TooLong(65_536));

    let sa = |proposals| Payload::Sa(Sa { doi: Doi::Ipsec, situation: 1, proposals });
    assert_eq!(long(sa(vec![])), Reason::Missing);
    let proposal =
        Proposal { number: 1, protocol: ProtocolId::Isakmp, spi: Spi::default(), transforms: vec![] };
    assert_eq!(long(sa(vec![proposal])), Reason::Missing);
}

#[test]
fn errors_say_what_where_and_why() {
    let body = hex("0b00000c 0100000a 7f000001 00000008 00000002");
    let error = Body::decode(PayloadType::VendorId, PULL, &body, Compat::Standard).unwrap_err();
    assert_eq!(error.to_string(), "Notification payload, octet 20: 1 octets are needed and 0 are left");
    assert_eq!(error.notify(), NotifyType::PayloadMalformed);
}
