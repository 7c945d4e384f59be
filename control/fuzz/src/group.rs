//! A group with its keys, and what must hold of any policy and keys that are read from the wire.

use std::sync::LazyLock;
use std::time::Duration;

use getvpn_gdoi::crypto::{Secret, SigningKey};
use getvpn_gdoi::group::{
    Direction, EspSpi, EspTransform, GroupAssociatedPolicy, GroupId, GroupKeys, GroupPolicy, KekCipher,
    KekKeys, KekPolicy, KekSignature, KekSpi, MAX_SELECTORS, MAX_SENDER_IDS, MAX_TEKS, MAX_TOTAL_SELECTORS,
    Mode, Selector, SenderIds, SpiKey, TekKeys, TekPolicy, from_sa_payload, to_key_download, to_sa_payload,
};
use getvpn_gdoi::wire::Compat;

use crate::handshake::server_address;

/// The group's number.
pub const GROUP: GroupId = GroupId(1234);

/// The key that signs its rekeys.
pub static SIGNING: LazyLock<SigningKey> = LazyLock::new(|| {
    SigningKey::from_pem(include_bytes!("../../gdoi/src/ike/testdata/p256.key.pem")).unwrap()
});

/// Its policy: a Rekey SA and two data SAs.
#[must_use]
pub fn policy() -> GroupPolicy {
    let tek = |spi, transform| TekPolicy {
        spi: EspSpi(spi),
        transform,
        mode: Mode::Tunnel,
        direction: Direction::Symmetric,
        selectors: vec![Selector {
            src: "10.0.0.0/8".parse().unwrap(),
            dst: "10.0.0.0/8".parse().unwrap(),
            protocol: None,
            src_port: None,
            dst_port: None,
        }],
        lifetime: Duration::from_secs(3600),
    };
    GroupPolicy {
        kek: Some(KekPolicy {
            spi: KekSpi([0x4b; 16]),
            cipher: KekCipher::Aes128Cbc,
            signature: KekSignature::EcdsaP256,
            lifetime: Duration::from_secs(7200),
            source: server_address(),
            destination: ([0, 0, 0, 0], 848).into(),
            acknowledge: None,
        }),
        gap: GroupAssociatedPolicy {
            activation_delay: Duration::from_secs(3),
            deactivation_delay: Duration::from_secs(5),
        },
        spi_key: SpiKey::new(&[0x53; 16]),
        teks: vec![tek(0x1001, EspTransform::Aes128Gcm), tek(0x1002, EspTransform::Aes128CbcHmacSha256)],
    }
}

/// Its keys, with two sender IDs.
#[must_use]
pub fn keys() -> GroupKeys {
    let key = |len| Secret::new(vec![0x6b; len]);
    let kek = KekKeys { iv: [0x69; 16], cipher: key(16), verifying: SIGNING.verifying_key().clone() };
    GroupKeys {
        teks: policy()
            .teks
            .iter()
            .map(|tek| {
                let cipher = key(tek.transform.key_len());
                (tek.spi, TekKeys { cipher, integrity: key(tek.transform.integrity_key_len()) })
            })
            .collect(),
        kek: Some((KekSpi([0x4b; 16]), kek)),
        sender_ids: Some(SenderIds { bits: 16, values: vec![1, 2] }),
    }
}

/// A policy that was read is bounded, and where it can be sent it reads as it was.
pub fn check_policy(policy: &GroupPolicy) {
    assert!(policy.teks.len() <= MAX_TEKS);
    let selectors = policy.teks.iter().map(|tek| tek.selectors.len());
    assert!(selectors.clone().sum::<usize>() <= MAX_TOTAL_SELECTORS);
    assert!(selectors.clone().all(|count| (1..=MAX_SELECTORS).contains(&count)));
    for (at, tek) in policy.teks.iter().enumerate() {
        assert!(tek.spi.0 > 255 && policy.teks[..at].iter().all(|other| other.spi != tek.spi));
    }
    for compat in [Compat::Standard, Compat::Reference] {
        if let Ok(sa) = to_sa_payload(policy, compat) {
            let (again, refused) = from_sa_payload(&sa);
            assert_eq!((&again, refused.as_slice()), (policy, &[][..]));
        }
    }
}

/// Keys that were read are bounded, and can be sent with their policy.
pub fn check_keys(keys: &GroupKeys, policy: &GroupPolicy) {
    assert!(keys.teks.len() <= MAX_TEKS);
    assert!(keys.sender_ids.as_ref().is_none_or(|ids| ids.values.len() <= MAX_SENDER_IDS));
    to_key_download(keys, policy).unwrap();
}
