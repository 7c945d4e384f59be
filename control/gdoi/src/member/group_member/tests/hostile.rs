//! What others can do to a member.

use super::*;
use crate::crypto::{KeyKind, SigningKey};
use crate::group::SpiKey;
use crate::push::{self, KekSigner};
use crate::wire::Compat;
use proptest::prelude::*;

/// A PUSH that another member makes: it has the KEK, but not the signing key.
fn forged(world: &mut World, sequence: u32) -> Vec<u8> {
    let signing = SigningKey::generate(KeyKind::EcdsaP256, &mut SeededRandom::new(666)).unwrap();
    let kek = world.ks().kek.as_ref().unwrap();
    let signer = KekSigner { policy: &kek.policy, keys: &kek.keys, signing: &signing };
    let mut rekey = rekey(&[tek(0x6666, 3600)]);
    (rekey.kek, rekey.sequence) = (kek.policy.spi, sequence);
    rekey.deletions = vec![Deletion::AllTeks, Deletion::Kek];
    push::build(signer, &rekey, Compat::Standard, &mut SeededRandom::new(1)).unwrap()
}

#[test]
fn a_forged_push_changes_nothing_and_a_right_one_of_the_same_number_still_counts() {
    let mut world = World::registered(1);
    let push = forged(&mut world, 1);
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!(world.spis(), [0x1001]);
    let status = world.member.status(world.now);
    assert_eq!((status.counters.bad_pushes, status.kek.unwrap().sequence), (1, 0));
    let now = world.now;
    let push = world.ks().push(now);
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!(world.ks().acks, [1]);
}

#[test]
fn forged_pushes_cost_a_bounded_number_of_verifications() {
    let mut world = World::registered(1);
    let push = forged(&mut world, 1);
    for _ in 0..1000 {
        world.deliver(0, push.clone());
    }
    world.run(RTT);
    let counters = world.member.status(world.now).counters;
    assert_eq!((counters.bad_pushes, counters.unread_pushes), (64, 936));
    assert!(count(&world.events, |e| matches!(e, MemberEvent::PushRefused(_))) == 1);
    world.run(secs(1));
    let now = world.now;
    let push = world.ks().push(now);
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!(world.ks().acks, [1]);
}

#[test]
fn who_knows_only_the_cookies_cannot_keep_a_real_push_from_being_read() {
    let mut world = World::registered(1);
    let now = world.now;
    let push = world.ks().push(now);
    for n in 0..1000_u32 {
        let mut garbage = push.clone();
        let end = garbage.len().min(60);
        garbage[28..end]
            .iter_mut()
            .zip(n.to_be_bytes().iter().cycle())
            .for_each(|(octet, n)| *octet ^= n | 0x80);
        world.deliver(0, garbage);
    }
    world.deliver(0, push);
    world.run(RTT);
    let counters = world.member.status(world.now).counters;
    assert_eq!((counters.bad_pushes, counters.unread_pushes, counters.pushes), (1000, 0, 1));
    assert_eq!(world.ks().acks, [1]);
}

#[test]
fn a_replayed_push_is_refused_before_its_signature() {
    let mut world = World::registered(1);
    let now = world.now;
    let first = world.ks().push(now);
    let second = world.ks().push(now);
    for push in [&first, &second] {
        world.deliver(0, push.clone());
        world.run(RTT);
    }
    for _ in 0..1000 {
        world.deliver(0, first.clone());
    }
    world.run(RTT);
    let counters = world.member.status(world.now).counters;
    assert_eq!((counters.replayed_pushes, counters.bad_pushes, counters.unread_pushes), (1000, 0, 0));
    assert_eq!(world.ks().acks, [1, 2]);
}

#[test]
fn hints_in_the_clear_lead_to_a_question_now_and_then_and_to_nothing_more() {
    let mut world = World::registered(1);
    let cookies = world.ks().cookies();
    let hint = unprotected_notify(cookies, NotifyType::InvalidCookie).unwrap();
    for _ in 0..600 {
        for _ in 0..10 {
            world.deliver(0, hint.clone());
        }
        world.run(Duration::from_millis(100));
    }
    assert_eq!(world.member.status(world.now).counters.hints, 6000);
    assert!(world.sent <= 13, "{}", world.sent);
    assert_eq!((world.ks().established, world.ks().registrations), (0, 0));
    assert!(world.member.status(world.now).phase1);
}

#[test]
fn a_push_under_an_unknown_kek_counts_only_while_something_is_missing() {
    let mut world = World::registered(1);
    let now = world.now;
    let mut other = KeyServer::new("192.0.2.1:848", 9, now);
    for _ in 0..100 {
        let push = other.push(now);
        world.deliver(0, push);
    }
    world.run(secs(1));
    assert_eq!(world.ks().registrations, 0);
    world.ks().answers = false;
    for n in 0..100_u32 {
        world.packets(0x7000 + n);
        let now = world.now;
        let push = other.push(now);
        world.deliver(0, push);
        world.run(Duration::from_millis(100));
    }
    assert!(world.ks().registrations <= 5, "{}", world.ks().registrations);
}

#[test]
fn other_keys_for_a_known_spi_are_refused_even_from_the_key_server() {
    let mut world = World::registered(1);
    let kek = world.ks().kek.as_ref().unwrap();
    let signer = KekSigner { policy: &kek.policy, keys: &kek.keys, signing: &kek.signing };
    let mut rekey = rekey(&[tek(0x1001, 3600)]);
    (rekey.kek, rekey.sequence) = (kek.policy.spi, 1);
    rekey.keys.teks[0].1 = keys_of(0x9999);
    let push = push::build(signer, &rekey, Compat::Standard, &mut SeededRandom::new(1)).unwrap();
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!(world.member.sas()[0].keys, keys_of(0x1001));
    let refused = |e: &MemberEvent| matches!(e, MemberEvent::SaRefused(r) if r.why == Refusal::KeysDiffer);
    assert_eq!(count(&world.events, refused), 1);
}

/// A member that has the key of the marks, and two of the SPIs that bear them.
fn marked() -> (World, EspSpi, EspSpi) {
    let mut world = World::new(1);
    let key = SpiKey::draw(&mut SeededRandom::new(3));
    world.ks().spi_key = Some(key.clone());
    world.run(secs(1));
    world.forget();
    assert_eq!(world.member.spi_key(), Some(&key));
    (world, key.spi(1).unwrap(), key.spi(2).unwrap())
}

#[test]
fn a_flood_of_implausible_spis_does_not_delay_a_real_one() {
    let (mut world, real, _) = marked();
    world.run(secs(5));
    let now = world.now;
    world.ks().add(real.0, 3600, now);
    let mut spi = 0x2000_0000_u32;
    for round in 0..100 {
        for _ in 0..200 {
            spi = spi.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            world.call(|m, now, _| m.unknown_spi(now, EspSpi(spi)));
        }
        if round == 50 {
            world.packets(real.0);
        }
        world.run(Duration::from_millis(10));
    }
    let [recovered] = world.ended().into_iter().filter(|e| e.spi == real).collect::<Vec<_>>()[..] else {
        panic!("{:?}", world.ended())
    };
    assert_eq!(recovered.after, RTT);
    assert!(world.ks().asked.len() <= 5, "{:?}", world.ks().asked);
    assert_eq!((world.ks().registrations, world.ks().established), (0, 0));
}

#[test]
fn an_spi_without_the_mark_is_asked_for_too_if_it_keeps_coming() {
    let (mut world, ..) = marked();
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    for _ in 0..100 {
        world.packets(0x1002);
        world.run(Duration::from_millis(100));
    }
    assert!(world.has(0x1002));
}

#[test]
fn a_rekey_with_an_spi_that_the_key_does_not_mark_ends_the_key() {
    let (mut world, real, other) = marked();
    let push = |world: &mut World, spi: u32| {
        let now = world.now;
        world.ks().add(spi, 3600, now);
        let push = world.ks().push(now);
        world.deliver(0, push);
        world.run(RTT);
    };
    push(&mut world, real.0);
    assert!(world.member.spi_key().is_some());
    assert_eq!(count(&world.events, |e| *e == MemberEvent::SpiKeyChanged), 0);
    push(&mut world, other.0 ^ 1);
    assert!(world.has(other.0 ^ 1) && world.member.spi_key().is_none());
    assert_eq!(count(&world.events, |e| *e == MemberEvent::SpiKeyChanged), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever octets arrive, and whatever of the key server's datagrams is altered: nothing breaks, and
    /// what the key server says afterwards still counts.
    #[test]
    fn no_datagram_breaks_a_member(
        garbage in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        flips in prop::collection::vec((0..2000_usize, any::<u8>()), 0..20),
    ) {
        let mut world = World::registered(1);
        let now = world.now;
        let from = world.ks().address;
        let push = world.ks().push(now);
        let answer = world.ks().say(crate::ike::Notice::RUThere(5));
        let mut all = garbage;
        for (at, flip) in flips {
            for datagram in [&push, &answer] {
                let mut altered = datagram.clone();
                let at = at % altered.len();
                altered[at] ^= flip | 1;
                all.push(altered);
            }
        }
        for datagram in all {
            world.call(|m, now, random| m.handle_datagram(now, 0, from, &datagram, random));
        }
        prop_assert_eq!(world.spis(), [0x1001]);
        world.run(secs(3));
        world.ks().add(0x1002, 3600, now);
        let now = world.now;
        let push = world.ks().push(now);
        world.deliver(0, push);
        world.run(RTT);
        prop_assert!(world.has(0x1002));
        prop_assert_eq!(&world.ks().acks, &[2]);
    }
}
