//! Policies and keys for tests: any that a key server may have, and one that is always the same.

use super::*;
use crate::crypto::{KeyKind, SeededRandom, SigningKey};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use std::sync::OnceLock;

/// Signing keys, made once: an RSA key takes a while.
pub(crate) fn signing_key(signature: KekSignature) -> &'static SigningKey {
    static KEYS: OnceLock<[SigningKey; 3]> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        [KeyKind::Rsa { bits: 2048 }, KeyKind::EcdsaP256, KeyKind::EcdsaP384]
            .map(|kind| SigningKey::generate(kind, &mut SeededRandom::new(1)).unwrap())
    });
    match signature {
        KekSignature::Rsa(_) => &keys[0],
        KekSignature::EcdsaP256 => &keys[1],
        KekSignature::EcdsaP384 => &keys[2],
    }
}

/// A Rekey SA that is always the same.
pub(crate) fn kek(signature: KekSignature) -> (KekPolicy, KekKeys) {
    let policy = KekPolicy {
        spi: KekSpi(*b"cookie_ 1cookie2"),
        cipher: KekCipher::Aes128Cbc,
        signature,
        lifetime: Duration::from_secs(86_400),
        source: "192.0.2.1:848".parse().unwrap(),
        destination: "239.10.1.1:848".parse().unwrap(),
        acknowledge: Some(AckRequest::KekSha256),
    };
    let keys = kek_keys(&policy, 2);
    (policy, keys)
}

/// Keys of a Rekey SA by a seed.
pub(crate) fn kek_keys(policy: &KekPolicy, seed: u64) -> KekKeys {
    let mut random = SeededRandom::new(seed);
    let iv = Secret::random(16, &mut random);
    KekKeys {
        iv: iv.as_slice().try_into().unwrap(),
        cipher: Secret::random(policy.cipher.key_len(), &mut random),
        verifying: signing_key(policy.signature).verifying_key().clone(),
    }
}

/// An SA from 10/8 to 239.1.1.0/24 in tunnel mode.
pub(crate) fn tek(spi: u32, transform: EspTransform) -> TekPolicy {
    let selector = Selector {
        src: "10.0.0.0/8".parse().unwrap(),
        dst: "239.1.1.0/24".parse().unwrap(),
        protocol: None,
        src_port: None,
        dst_port: None,
    };
    TekPolicy {
        spi: EspSpi(spi),
        transform,
        mode: Mode::Tunnel,
        direction: Direction::Symmetric,
        selectors: vec![selector],
        lifetime: Duration::from_secs(3600),
    }
}

/// Keys for all of a policy, by a seed.
pub(crate) fn keys_for(policy: &GroupPolicy, seed: u64) -> GroupKeys {
    let mut random = SeededRandom::new(seed);
    let teks = policy.teks.iter().map(|tek| {
        let cipher = Secret::random(tek.transform.key_len(), &mut random);
        let integrity = Secret::random(tek.transform.integrity_key_len(), &mut random);
        (tek.spi, TekKeys { cipher, integrity })
    });
    GroupKeys {
        teks: teks.collect(),
        kek: policy.kek.as_ref().map(|kek| (kek.spi, kek_keys(kek, seed))),
        sender_ids: None,
    }
}

fn prefix(v6: bool) -> BoxedStrategy<IpNet> {
    if v6 {
        let net = |(ip, len): (u128, u8)| IpNet::V6(Ipv6Net::new(ip.into(), len).unwrap().trunc());
        (any::<u128>(), 0..=128u8).prop_map(net).boxed()
    } else {
        let net = |(ip, len): (u32, u8)| IpNet::V4(Ipv4Net::new(ip.into(), len).unwrap().trunc());
        (any::<u32>(), 0..=32u8).prop_map(net).boxed()
    }
}

fn selector() -> impl Strategy<Value = Selector> {
    let fields = |v6| {
        let port = || proptest::option::of(1..=u16::MAX);
        (prefix(v6), prefix(v6), proptest::option::of(1..=u8::MAX), port(), port())
    };
    any::<bool>().prop_flat_map(fields).prop_map(|(src, dst, protocol, src_port, dst_port)| Selector {
        src,
        dst,
        protocol,
        src_port,
        dst_port,
    })
}

fn seconds(range: std::ops::RangeInclusive<u32>) -> impl Strategy<Value = Duration> {
    range.prop_map(|seconds| Duration::from_secs(seconds.into()))
}

fn any_tek() -> impl Strategy<Value = TekPolicy> {
    (
        256..=u32::MAX,
        proptest::sample::select(EspTransform::ALL.to_vec()),
        prop_oneof![Just(Mode::Tunnel), Just(Mode::Transport)],
        prop_oneof![Just(Direction::Symmetric), Just(Direction::SenderOnly), Just(Direction::ReceiverOnly)],
        proptest::collection::hash_set(selector(), 1..5),
        seconds(1..=u32::MAX),
    )
        .prop_map(|(spi, transform, mode, direction, selectors, lifetime)| TekPolicy {
            spi: EspSpi(spi),
            transform,
            mode,
            direction,
            selectors: selectors.into_iter().collect(),
            lifetime,
        })
}

pub(crate) fn any_kek() -> impl Strategy<Value = KekPolicy> {
    let address =
        || (any::<std::net::IpAddr>(), 1..=u16::MAX).prop_map(|(ip, port)| SocketAddr::new(ip, port));
    let hash = proptest::sample::select(HashAlgorithm::ALL.to_vec());
    (
        any::<[u8; 16]>(),
        prop_oneof![Just(KekCipher::Aes128Cbc), Just(KekCipher::Aes192Cbc), Just(KekCipher::Aes256Cbc)],
        prop_oneof![
            hash.prop_map(KekSignature::Rsa),
            Just(KekSignature::EcdsaP256),
            Just(KekSignature::EcdsaP384)
        ],
        seconds(1..=u32::MAX),
        address(),
        address(),
        proptest::option::of(prop_oneof![Just(AckRequest::KekSha256), Just(AckRequest::KekSha512)]),
    )
        .prop_map(|(spi, cipher, signature, lifetime, source, destination, acknowledge)| KekPolicy {
            spi: KekSpi(spi),
            cipher,
            signature,
            lifetime,
            source,
            destination,
            acknowledge,
        })
}

/// Any policy that a key server may have.
pub(crate) fn any_policy() -> impl Strategy<Value = GroupPolicy> {
    let gap =
        (seconds(0..=65_535), seconds(0..=65_535)).prop_map(|(activation_delay, deactivation_delay)| {
            GroupAssociatedPolicy { activation_delay, deactivation_delay }
        });
    let spi_key = proptest::option::of(any::<[u8; 16]>().prop_map(|octets| SpiKey::new(&octets).unwrap()));
    (proptest::option::of(any_kek()), gap, spi_key, proptest::collection::vec(any_tek(), 0..5)).prop_map(
        |(kek, gap, spi_key, mut teks)| {
            // No SPI twice.
            let mut seen = std::collections::BTreeSet::new();
            teks.retain(|tek| seen.insert(tek.spi));
            GroupPolicy { kek, gap, spi_key, teks }
        },
    )
}

/// Any sender IDs that a registration may bring.
pub(crate) fn any_sender_ids() -> impl Strategy<Value = SenderIds> {
    let values = |bits: u8| {
        let values = proptest::collection::btree_set(0..1u32 << bits, 1..=usize::from(bits) * 8);
        (Just(bits), values)
    };
    proptest::sample::select(vec![8u8, 12, 16])
        .prop_flat_map(values)
        .prop_map(|(bits, values)| SenderIds { bits, values: values.into_iter().collect() })
}
