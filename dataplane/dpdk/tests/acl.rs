//! The classifier against the obvious one: rules tried in order.

#![allow(clippy::unwrap_used)] // in helpers, too

use dpdk::acl::{Acl4, Acl6, AclError, Key4, Key6, Rule4, Rule6};
use dpdk::testing;
use proptest::prelude::*;
use proptest::sample::select;

const ANY: (u16, u16) = (0, u16::MAX);

fn prefix_matches(address: &[u8], (prefix, length): (&[u8], u8)) -> bool {
    (0..usize::from(length)).all(|bit| (address[bit / 8] ^ prefix[bit / 8]) & (0x80 >> (bit % 8)) == 0)
}

fn port_matches(port: [u8; 2], (low, high): (u16, u16)) -> bool {
    (low..=high).contains(&u16::from_be_bytes(port))
}

macro_rules! naive {
    ($name:ident, $rule:ty, $key:ty) => {
        fn $name(rules: &[$rule], key: &$key) -> u32 {
            let found = rules.iter().position(|rule| {
                rule.protocol.is_none_or(|protocol| protocol == key.protocol)
                    && prefix_matches(&key.src, (&rule.src.0, rule.src.1))
                    && prefix_matches(&key.dst, (&rule.dst.0, rule.dst.1))
                    && port_matches(key.src_port, rule.src_port)
                    && port_matches(key.dst_port, rule.dst_port)
            });
            found.map_or(0, |index| u32::try_from(index).unwrap() + 1)
        }
    };
}
naive!(naive4, Rule4, Key4);
naive!(naive6, Rule6, Key6);

/// Few values, so that rules and keys meet often.
fn octet() -> impl Strategy<Value = u8> {
    select(vec![0u8, 1, 10, 127, 128, 192, 255])
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![select(vec![0u16, 1, 53, 80, 255, 256, 443, 1023, 1024, 65534, 65535]), any::<u16>()]
}

fn ports() -> impl Strategy<Value = (u16, u16)> {
    prop_oneof![Just(ANY), (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)))]
}

fn protocol() -> impl Strategy<Value = u8> {
    select(vec![0u8, 1, 6, 17, 50, 255])
}

prop_compose! {
    fn rule4()(
        protocol in prop::option::of(protocol()),
        src in (prop::array::uniform4(octet()), 0..=32u8),
        dst in (prop::array::uniform4(octet()), 0..=32u8),
        src_port in ports(),
        dst_port in ports(),
    ) -> Rule4 {
        Rule4 { protocol, src, dst, src_port, dst_port }
    }
}

prop_compose! {
    fn rule6()(
        protocol in prop::option::of(protocol()),
        src in (prop::array::uniform16(octet()), 0..=128u8),
        dst in (prop::array::uniform16(octet()), 0..=128u8),
        src_port in ports(),
        dst_port in ports(),
    ) -> Rule6 {
        Rule6 { protocol, src, dst, src_port, dst_port }
    }
}

prop_compose! {
    fn key4()(
        protocol in protocol(),
        src in prop::array::uniform4(octet()),
        dst in prop::array::uniform4(octet()),
        src_port in port(),
        dst_port in port(),
    ) -> Key4 {
        Key4 {
            protocol, src, dst, pad: [0; 3],
            src_port: src_port.to_be_bytes(), dst_port: dst_port.to_be_bytes(),
        }
    }
}

prop_compose! {
    fn key6()(
        protocol in protocol(),
        src in prop::array::uniform16(octet()),
        dst in prop::array::uniform16(octet()),
        src_port in port(),
        dst_port in port(),
    ) -> Key6 {
        Key6 {
            protocol, src, dst, pad: [0; 3],
            src_port: src_port.to_be_bytes(), dst_port: dst_port.to_be_bytes(),
        }
    }
}

/// A key made to satisfy a rule as far as its prefixes go, so that long prefixes are met at all.
fn within<const N: usize>(mut address: [u8; N], (prefix, length): ([u8; N], u8)) -> [u8; N] {
    for bit in 0..usize::from(length) {
        let mask = 0x80u8 >> (bit % 8);
        address[bit / 8] = address[bit / 8] & !mask | prefix[bit / 8] & mask;
    }
    address
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn acl4_finds_the_first_rule_that_matches(
        rules in prop::collection::vec(rule4(), 0..60),
        keys in prop::collection::vec((key4(), any::<prop::sample::Index>()), 1..80),
    ) {
        testing::eal();
        let acl = Acl4::build(&rules).unwrap();
        let keys: Vec<Key4> = keys.into_iter().map(|(mut key, index)| {
            if !rules.is_empty() {
                let rule = index.get(&rules);
                key.src = within(key.src, rule.src);
                key.dst = within(key.dst, rule.dst);
                key.src_port = if key.protocol > 6 { rule.src_port.0.to_be_bytes() } else { key.src_port };
                key.dst_port = rule.dst_port.1.to_be_bytes();
            }
            key
        }).collect();
        let mut out = vec![u32::MAX; keys.len()];
        acl.classify(&keys, &mut out);
        let expected: Vec<u32> = keys.iter().map(|key| naive4(&rules, key)).collect();
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn acl6_finds_the_first_rule_that_matches(
        rules in prop::collection::vec(rule6(), 0..60),
        keys in prop::collection::vec((key6(), any::<prop::sample::Index>()), 1..80),
    ) {
        testing::eal();
        let acl = Acl6::build(&rules).unwrap();
        let keys: Vec<Key6> = keys.into_iter().map(|(mut key, index)| {
            if !rules.is_empty() {
                let rule = index.get(&rules);
                key.src = within(key.src, rule.src);
                key.dst = within(key.dst, rule.dst);
                key.src_port = if key.protocol > 6 { rule.src_port.0.to_be_bytes() } else { key.src_port };
                key.dst_port = rule.dst_port.1.to_be_bytes();
            }
            key
        }).collect();
        let mut out = vec![u32::MAX; keys.len()];
        acl.classify(&keys, &mut out);
        let expected: Vec<u32> = keys.iter().map(|key| naive6(&rules, key)).collect();
        prop_assert_eq!(out, expected);
    }
}

const ALL: Rule4 = Rule4 { protocol: None, src: ([0; 4], 0), dst: ([0; 4], 0), src_port: ANY, dst_port: ANY };

#[test]
fn no_rules_match_nothing() {
    testing::eal();
    let mut out = [7; 3];
    Acl4::build(&[]).unwrap().classify(&[Key4::default(); 2], &mut out);
    assert_eq!(out, [0, 0, 7]);
    Acl6::build(&[]).unwrap().classify(&[Key6::default(); 3], &mut out);
    assert_eq!(out, [0; 3]);
}

#[test]
fn only_the_shorter_of_both_slices_is_classified() {
    testing::eal();
    let acl = Acl4::build(&[ALL]).unwrap();
    let keys = [Key4::default(); 100];
    let mut out = [0; 70];
    acl.classify(&keys, &mut out);
    assert_eq!(out, [1; 70]);
    let mut out = [9; 100];
    acl.classify(&keys[..33], &mut out);
    assert!(out[..33] == [1; 33] && out[33..].iter().all(|&result| result == 9));
    acl.classify(&[], &mut out);
}

#[test]
fn rules_that_cannot_be_are_named_by_their_index() {
    testing::eal();
    let prefix = Rule4 { dst: ([10, 0, 0, 0], 33), ..ALL };
    assert!(matches!(Acl4::build(&[ALL, prefix]), Err(AclError::Prefix { rule: 1, length: 33 })));
    let ports = Rule4 { dst_port: (5, 4), ..ALL };
    let error = Acl4::build(&[ALL, ALL, ports]).unwrap_err();
    assert_eq!(error.to_string(), "rule 2: the ports 5 to 4 are no range");
}

#[test]
fn many_sets_can_live_and_be_replaced_while_others_classify() {
    testing::eal();
    let rules: Vec<Rule4> =
        (0..200u8).map(|n| Rule4 { src: ([10, n, 0, 0], 16), protocol: Some(17), ..ALL }).collect();
    let acl = Acl4::build(&rules).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let keys: Vec<Key4> =
                (0..=255u8).map(|n| Key4 { protocol: 17, src: [10, n, 1, 1], ..Key4::default() }).collect();
            let mut out = [0; 256];
            for _ in 0..100 {
                acl.classify(&keys, &mut out);
                assert!((0..256).all(|n| out[n as usize] == if n < 200 { n + 1 } else { 0 }));
            }
        });
        for _ in 0..20 {
            drop(Acl4::build(&rules).unwrap());
        }
    });
}
