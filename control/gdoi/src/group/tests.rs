mod hostile_keys;
mod hostile_policy;
mod selectors;

use super::testing::*;
use super::*;
use crate::wire::{Compat, ExchangeType, GdoiSa, KeyDownload, Payload, PayloadType, Reader, encode_chain};
use proptest::prelude::*;

/// The SA payload as the peer reads it.
fn over_the_wire(sa: GdoiSa, compat: Compat) -> GdoiSa {
    match transmit(Payload::GdoiSa(sa), compat) {
        Payload::GdoiSa(sa) => sa,
        other => panic!("{other:?}"),
    }
}

fn transmit(payload: Payload, compat: Compat) -> Payload {
    let payload_type = payload.payload_type();
    let chain = encode_chain(&[payload], PayloadType::None, compat).unwrap();
    Payload::decode(payload_type, ExchangeType::GroupkeyPull, &chain.octets[4..], compat).unwrap()
}

fn download(keys: &GroupKeys, policy: &GroupPolicy, compat: Compat) -> KeyDownload {
    match transmit(Payload::KeyDownload(to_key_download(keys, policy).unwrap()), compat) {
        Payload::KeyDownload(download) => download,
        other => panic!("{other:?}"),
    }
}

fn compat() -> impl Strategy<Value = Compat> {
    prop_oneof![Just(Compat::Standard), Just(Compat::Reference)]
}

proptest! {
    #[test]
    fn a_policy_arrives_as_it_was_sent(policy in any_policy(), compat in compat()) {
        let sa = over_the_wire(to_sa_payload(&policy, compat).unwrap(), compat);
        prop_assert_eq!(from_sa_payload(&sa), (policy, vec![]));
    }

    #[test]
    fn keys_arrive_as_they_were_sent(
        policy in any_policy(),
        compat in compat(),
        sender_ids in proptest::option::of(any_sender_ids()),
        seed in any::<u64>(),
    ) {
        let keys = GroupKeys { sender_ids, ..keys_for(&policy, seed) };
        let known = Known { policy: &policy, refused: &[], kek: None };
        let download = download(&keys, &policy, compat);
        prop_assert_eq!(from_key_download(&download, known, compat), (keys, vec![]));
    }

    #[test]
    fn group_numbers_arrive_as_they_were_sent(id in any::<u32>(), compat in compat()) {
        let named = NamedGroup::from_identification(&GroupId(id).to_identification(compat));
        prop_assert_eq!(named.unwrap().id(compat), GroupId(id));
    }

    /// Whatever decodes is judged without a panic, and within the bounds.
    #[test]
    fn any_sa_payload_is_judged(octets in proptest::collection::vec(any::<u8>(), 0..400), compat in compat()) {
        let head = [0, 0, 0, 2, 0, 0, 0, 0, 0, 16, 0, 0];
        let mut sat = vec![0, 0];
        sat.extend(u16::try_from(octets.len() + 5).unwrap().to_be_bytes());
        sat.push(1);
        let content = [&head[..], &sat, &octets].concat();
        if let Ok(sa) = GdoiSa::read(&mut Reader::new(&content, "SA"), compat) {
            let (policy, refused) = from_sa_payload(&sa);
            prop_assert_eq!(policy.teks.len() + refused.len(), 1);
        }
    }
}

/// RFC 6407 sections 5.2, 5.3, 5.4 and 5.5, octet by octet.
#[test]
fn a_policy_looks_like_the_rfc_draws_it() {
    let (kek, _) = kek(KekSignature::Rsa(HashAlgorithm::Sha256));
    let policy = GroupPolicy {
        kek: Some(kek),
        gap: GroupAssociatedPolicy {
            activation_delay: Duration::from_secs(15),
            deactivation_delay: Duration::from_secs(30),
        },
        teks: vec![tek(0x1000_0001, EspTransform::Aes128CbcHmacSha256)],
        ..Default::default()
    };
    let sa = Payload::GdoiSa(to_sa_payload(&policy, Compat::Standard).unwrap());
    let chain = encode_chain(&[sa], PayloadType::None, Compat::Standard).unwrap();
    let expected = concat!(
        "00 00 00a4  00000002 00000000 000f 0000", // SA: DOI 2, situation 0, first SAK (15)
        "16 00 0045  11",                          // SAK, next GAP (22), UDP
        "01 0350 04 c0000201",                     // from 192.0.2.1 port 848
        "01 0350 04 ef0a0101",                     // to 239.10.1.1 port 848
        "636f6f6b69655f20 31636f6f6b696532",       // SPI
        "00000000",                                // RESERVED2
        "8002 0003  8003 0080",                    // KEK_ALG_AES, 128 bits
        "0004 0004 00015180",                      // KEK_KEY_LIFETIME 86400, variable
        "8005 0003  8006 0001  8009 0001",         // SHA256, RSA, acknowledged by SHA256
        "10 00 000c  8001 000f  8002 001e",        // GAP, next SAT (16): ATD 15, DTD 30
        "00 00 0043  01 00",                       // SAT: ESP, any protocol
        "04 0000 08 0a000000 ff000000",            // from 10.0.0.0/8
        "04 0000 08 ef010100 ffffff00",            // to 239.1.1.0/24
        "0c 10000001",                             // ESP_AES-CBC, SPI
        "8001 0001  0002 0004 00000e10",           // 3600 seconds
        "8004 0001  8006 0080  8005 0005",         // tunnel, 128 bits, HMAC-SHA2-256
        "800e 0004  800f 0003",                    // both addresses kept, symmetric
    );
    assert_eq!(hex(&chain.octets), expected.replace(' ', ""));
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// RFC 6407 section 5.6, octet by octet.
#[test]
fn keys_look_like_the_rfc_draws_them() {
    let policy = GroupPolicy { teks: vec![tek(0x1000_0001, EspTransform::Aes128Gcm)], ..Default::default() };
    let keys = GroupKeys {
        teks: vec![(
            EspSpi(0x1000_0001),
            TekKeys { cipher: Secret::new((1..=20).collect()), integrity: Secret::default() },
        )],
        kek: None,
        sender_ids: Some(SenderIds { bits: 16, values: vec![0, 0x1234] }),
    };
    let download = Payload::KeyDownload(to_key_download(&keys, &policy).unwrap());
    for (compat, second) in [(Compat::Standard, "00001234"), (Compat::Reference, "34120000")] {
        let chain = encode_chain(std::slice::from_ref(&download), PayloadType::None, compat).unwrap();
        let expected = [
            "00 00 0042  0002 0000",                              // KD: two packets
            "01 00 0021  04 10000001",                            // TEK, its SPI
            "0001 0014 0102030405060708090a0b0c0d0e0f1011121314", // TEK_ALGORITHM_KEY with the salt
            "04 00 0019  00",                                     // SID, no SPI
            "8001 0010",                                          // 16 bits
            "0002 0004 00000000  0002 0004",                      // the first, the second
            second,
        ];
        assert_eq!(hex(&chain.octets), expected.concat().replace(' ', ""));
    }
}

#[test]
fn what_cannot_be_said_on_the_wire_is_not_sent() {
    let send = |change: &dyn Fn(&mut GroupPolicy)| {
        let (kek, _) = kek(KekSignature::EcdsaP256);
        let mut policy = GroupPolicy {
            kek: Some(kek),
            teks: vec![tek(256, EspTransform::Aes128Gcm)],
            ..Default::default()
        };
        change(&mut policy);
        to_sa_payload(&policy, Compat::Standard).unwrap_err()
    };
    let spi = EspSpi(256);
    let of = RefusedSpi::Esp(spi);
    let moment = Duration::from_millis(999);
    let v6 = "2001:db8::/32".parse().unwrap();
    let selector = tek(256, EspTransform::Aes128Gcm).selectors[0];
    assert_eq!(send(&|p| p.teks[0].lifetime = moment), CannotSend::Expired(of));
    assert_eq!(send(&|p| p.teks[0].lifetime = Duration::MAX), CannotSend::Lifetime(of));
    assert_eq!(send(&|p| p.teks[0].spi = EspSpi(255)), CannotSend::ReservedSpi(EspSpi(255)));
    assert_eq!(send(&|p| p.teks[0].selectors.clear()), CannotSend::NoSelectors(spi));
    assert_eq!(send(&|p| p.teks[0].selectors[0].src = v6), CannotSend::MixedFamilies(spi));
    let many = CannotSend::TooMany { what: "selectors", limit: MAX_SELECTORS };
    assert_eq!(send(&|p| p.teks[0].selectors = vec![selector; MAX_SELECTORS + 1]), many);
    let many = CannotSend::TooMany { what: "SAs", limit: MAX_TEKS };
    assert_eq!(send(&|p| p.teks = vec![p.teks[0].clone(); MAX_TEKS + 1]), many);
    assert_eq!(send(&|p| p.gap.activation_delay = Duration::from_secs(65_536)), CannotSend::Delay("ATD"));
    assert!(matches!(
        send(&|p| p.kek.as_mut().unwrap().lifetime = moment),
        CannotSend::Expired(RefusedSpi::Kek(_))
    ));
}

#[test]
fn keys_that_do_not_fit_their_policy_are_not_sent() {
    let policy = GroupPolicy { teks: vec![tek(256, EspTransform::Aes256Gcm)], ..Default::default() };
    let mut keys = keys_for(&policy, 1);
    keys.teks[0].1.cipher = Secret::new(vec![0; 32]);
    let why =
        CannotSend::Key { what: "the cipher's key", of: RefusedSpi::Esp(EspSpi(256)), found: 32, wanted: 36 };
    assert_eq!(to_key_download(&keys, &policy), Err(why));

    for (bits, values) in [(9, vec![1]), (8, vec![256]), (16, vec![0; MAX_SENDER_IDS + 1])] {
        let count = values.len();
        let keys = GroupKeys { sender_ids: Some(SenderIds { bits, values }), ..Default::default() };
        assert_eq!(to_key_download(&keys, &policy), Err(CannotSend::SenderIds { bits, count }));
    }
}

#[test]
fn lifetimes_are_whole_seconds_rounded_down_and_delays_rounded_up() {
    let mut policy = GroupPolicy { teks: vec![tek(256, EspTransform::Aes128Gcm)], ..Default::default() };
    policy.teks[0].lifetime = Duration::from_millis(2_999);
    policy.gap.activation_delay = Duration::from_millis(2_001);
    let (read, _) = from_sa_payload(&to_sa_payload(&policy, Compat::Standard).unwrap());
    assert_eq!(read.teks[0].lifetime, Duration::from_secs(2));
    assert_eq!(read.gap.activation_delay, Duration::from_secs(3));
}
