//! Rules S1, S2, S3, S6 and S7, by their numbers.

use super::*;

#[test]
fn sync_01_an_offer_installs_nothing_and_its_lifetime_does_not_run() {
    let (mut sad, now) = new();
    assert_eq!(sad.offer(&policy(&[tek(0x1001, 3600)]), &[], now), []);
    assert_eq!((spis(&sad), sad.pending().len()), (vec![], 1));
    assert!(!sad.take_changed());
    // The keys come late; the SA lives its whole life from then on.
    let later = now + secs(20);
    sad.download(&keys(&[0x1001]), 0, later);
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, later + secs(3600));
}

#[test]
fn sync_01_what_cannot_be_served_is_refused_by_name_and_the_rest_stays_pending() {
    let limits =
        SadLimits { selectors_per_sa: 2, transforms: vec![EspTransform::Aes128Gcm], ..SadLimits::default() };
    let (mut sad, now) = with(limits);
    let cbc = TekPolicy { transform: EspTransform::NullHmacSha1, ..tek(0x1002, 60) };
    let wide = TekPolicy { selectors: (0..3).map(selector).collect(), ..tek(0x1003, 60) };
    let empty = TekPolicy { selectors: Vec::new(), ..tek(0x1004, 60) };
    let limit = SadLimits::default().lifetime;
    let teks = [tek(0x1001, 60), cbc, wide, empty, tek(0x1005, 0), tek(0x1006, 31 * 86_400), tek(255, 60)];
    let refused = sad.offer(&policy(&teks), &[], now);
    let expected = [
        (0x1002, Refusal::Transform(EspTransform::NullHmacSha1)),
        (0x1003, Refusal::TooManySelectors { has: 3, limit: 2 }),
        (0x1004, Refusal::NoSelector),
        (0x1005, Refusal::LifeOver),
        (0x1006, Refusal::LivesTooLong { has: secs(31 * 86_400), limit }),
        (255, Refusal::ReservedSpi),
    ];
    assert_eq!(whys(&refused), expected);
    assert_eq!(refused[0].to_string(), "SA 0x00001002 is refused: this member cannot do null-hmac-sha1");
    // Keys for what was refused, or could not be read at all, are no reason to ask.
    sad.offer(&policy(&teks), &[EspSpi(0x1007)], now);
    let outcome = sad.download(&keys(&[0x1001, 0x1002, 0x1006, 0x1007]), 0, now);
    assert_eq!((spis(&sad), outcome.unmatched), (vec![0x1001], vec![]));
}

#[test]
fn sync_01_a_registration_that_fails_leaves_nothing_pending() {
    let (mut sad, now) = new();
    sad.offer(&policy(&[tek(0x1001, 3600)]), &[], now);
    sad.withdraw_offer();
    assert_eq!(sad.pending().len(), 0);
    assert_eq!(sad.download(&keys(&[0x1001]), 0, now).unmatched, [EspSpi(0x1001)]);
}

#[test]
fn sync_01_an_offer_that_is_never_keyed_ends_with_the_life_it_would_have_had() {
    let (mut sad, now) = new();
    sad.offer(&policy(&[tek(0x1001, 60)]), &[], now);
    assert_eq!(sad.next_change(now), Some(now + secs(60)));
    sad.advance(now + secs(60));
    assert_eq!((sad.pending().len(), sad.next_change(now)), (0, None));
}

#[test]
fn sync_02_matching_spis_become_sas_with_the_offered_policy_in_the_offered_order() {
    let (mut sad, now) = new();
    let outbound = TekPolicy { direction: Direction::SenderOnly, ..tek(0x1001, 60) };
    sad.offer(&policy(&[tek(0x1002, 3600), outbound.clone()]), &[], now);
    let outcome = sad.download(&keys(&[0x1001, 0x1002]), 3, now);
    assert_eq!(outcome.installed, [EspSpi(0x1002), EspSpi(0x1001)]);
    assert_eq!((spis(&sad), sad.pending().len()), (vec![0x1002, 0x1001], 0));
    let entry = sad.find(EspSpi(0x1001)).unwrap();
    assert_eq!((&entry.policy, entry.keys.clone(), entry.key_server), (&outbound, keys_of(0x1001), 3));
    assert!(!entry.receives());
    assert!(sad.take_changed());
    assert!(!sad.take_changed());
}

#[test]
fn sync_02_keys_that_do_not_fit_the_policy_make_no_sa() {
    let (mut sad, now) = new();
    sad.offer(&policy(&[tek(0x1001, 60), tek(0x1002, 60)]), &[], now);
    let mut keys = keys(&[0x1001, 0x1002]);
    keys.teks[0].1.cipher = crate::crypto::Secret::new(vec![7; 16]);
    let outcome = sad.download(&keys, 0, now);
    let why = Refusal::KeyLength { transform: EspTransform::Aes128Gcm, cipher: 16, integrity: 0 };
    assert_eq!(whys(&outcome.refused), [(0x1001, why)]);
    assert_eq!((spis(&sad), sad.pending().len()), (vec![0x1002], 0));
}

#[test]
fn sync_03_kd_spi_not_in_policy_is_to_be_asked_for_and_the_others_are_installed() {
    let (mut sad, now) = new();
    sad.offer(&policy(&[tek(0x1001, 60)]), &[], now);
    let outcome = sad.download(&keys(&[0x1001, 0x1002]), 0, now);
    assert_eq!((outcome.installed, outcome.unmatched), (vec![EspSpi(0x1001)], vec![EspSpi(0x1002)]));
    assert_eq!(spis(&sad), [0x1001]);
}

#[test]
fn sync_03_a_policy_whose_keys_are_missing_stays_pending_and_is_asked_for() {
    let (mut sad, now) = new();
    sad.offer(&policy(&[tek(0x1001, 60), tek(0x1002, 60)]), &[], now);
    let outcome = sad.download(&keys(&[0x1001]), 0, now);
    assert_eq!(outcome.unkeyed, [EspSpi(0x1002)]);
    assert_eq!((spis(&sad), sad.pending().len()), (vec![0x1001], 1));
    // The rekey that answers brings the keys; the policy may be repeated in it or not.
    let mut answer = rekey(&[]);
    answer.keys = keys(&[0x1002]);
    assert_eq!(sad.rekey(&answer, &[], 0, now).installed, [EspSpi(0x1002)]);
    assert_eq!((spis(&sad), sad.pending().len()), (vec![0x1001, 0x1002], 0));
}

#[test]
fn sync_03_a_rekey_with_keys_and_no_policy_is_a_reason_to_ask_too() {
    let (mut sad, now) = new();
    let mut odd = rekey(&[tek(0x1001, 60)]);
    odd.keys = keys(&[0x1001, 0x1002]);
    assert_eq!(sad.rekey(&odd, &[], 0, now).unmatched, [EspSpi(0x1002)]);
}

#[test]
fn sync_06_a_rekey_refreshes_what_is_here_and_stores_what_is_not() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 100)], now);
    let later = now + secs(50);
    let outcome = sad.rekey(&rekey(&[tek(0x1001, 70), tek(0x1002, 3600)]), &[], 0, later);
    assert_eq!(outcome.refreshed, [EspSpi(0x1001)]);
    assert_eq!(outcome.installed, [EspSpi(0x1002)]);
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, later + secs(70));
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().installed, now);
}

#[test]
fn sync_06_a_rekey_that_shortens_a_life_shortens_it() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 3600)], now);
    sad.rekey(&rekey(&[tek(0x1001, 5)]), &[], 0, now);
    assert_eq!(sad.advance(now + secs(5)), [(EspSpi(0x1001), Left::Expired)]);
}

#[test]
fn sync_06_07_a_rekey_that_was_held_back_puts_off_no_end_that_is_firm_and_a_registration_does() {
    let (mut sad, now) = new();
    sad.set_firm_ends(0, true);
    register(&mut sad, &[tek(0x1001, 3600)], now);
    let made_at_once = rekey(&[tek(0x1001, 3600)]);
    sad.rekey(&made_at_once, &[], 0, now + secs(3000));
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, now + secs(3600));
    register(&mut sad, &[tek(0x1001, 900)], now + secs(3000));
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, now + secs(3900));
}

#[test]
fn sync_06_07_a_rekey_that_was_held_back_brings_no_sa_back_beyond_its_end_and_a_registration_does() {
    let (mut sad, now) = new();
    sad.set_firm_ends(0, true);
    register(&mut sad, &[tek(0x1001, 3600)], now);
    let made_at_once = rekey(&[tek(0x1001, 3600)]);
    assert!(sad.delete(EspSpi(0x1001), now));
    sad.rekey(&made_at_once, &[], 0, now + secs(600));
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, now + secs(3600));
    // Once it is over it stays so, unless the key server itself says otherwise.
    sad.advance(now + secs(3600));
    let late = sad.rekey(&made_at_once, &[], 0, now + secs(70_000));
    assert_eq!(whys(&late.refused), [(0x1001, Refusal::LifeOver)]);
    assert!(spis(&sad).is_empty() && late.installed.is_empty());
    register(&mut sad, &[tek(0x1001, 60)], now + secs(70_000));
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, now + secs(70_060));
}

#[test]
fn sync_06_a_key_server_of_another_make_may_put_off_an_end_by_rekey() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 60)], now);
    sad.advance(now + secs(60));
    sad.rekey(&rekey(&[tek(0x1001, 60)]), &[], 0, now + secs(90));
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, now + secs(150));
}

#[test]
fn sync_06_a_rekey_without_an_sa_does_not_delete_it() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 3600)], now);
    sad.rekey(&rekey(&[tek(0x1002, 3600)]), &[], 0, now);
    assert_eq!(spis(&sad), [0x1001, 0x1002]);
}

#[test]
fn sync_06_a_rekey_removes_the_pending_record() {
    let (mut sad, now) = new();
    sad.offer(&policy(&[tek(0x1001, 60)]), &[], now);
    sad.download(&keys(&[]), 0, now);
    assert_eq!(sad.pending().len(), 1);
    sad.rekey(&rekey(&[tek(0x1001, 40)]), &[], 0, now);
    assert_eq!(sad.pending().len(), 0);
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, now + secs(40));
}

#[test]
fn sync_06_other_keys_or_policy_for_a_known_spi_are_refused_and_nothing_is_replaced() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 100)], now);
    let mut hostile = rekey(&[tek(0x1001, 3600)]);
    hostile.keys.teks[0].1 = keys_of(0x6666);
    let outcome = sad.rekey(&hostile, &[], 0, now);
    assert_eq!(whys(&outcome.refused), [(0x1001, Refusal::KeysDiffer)]);
    let entry = sad.find(EspSpi(0x1001)).unwrap();
    assert_eq!((&entry.keys, entry.expires), (&keys_of(0x1001), now + secs(100)));
    // The same by registration, and by keys without policy.
    sad.offer(&hostile.policy, &[], now);
    assert_eq!(whys(&sad.download(&hostile.keys, 0, now).refused), [(0x1001, Refusal::KeysDiffer)]);
    hostile.policy.teks.clear();
    assert_eq!(whys(&sad.rekey(&hostile, &[], 0, now).refused), [(0x1001, Refusal::KeysDiffer)]);
    let other = TekPolicy { selectors: vec![selector(9)], ..tek(0x1001, 200) };
    assert_eq!(whys(&sad.rekey(&rekey(&[other]), &[], 0, now).refused), [(0x1001, Refusal::PolicyDiffers)]);
    let entry = sad.find(EspSpi(0x1001)).unwrap();
    assert_eq!((&entry.keys, &entry.policy.selectors), (&keys_of(0x1001), &vec![selector(0)]));
}

#[test]
fn sync_06_two_keys_for_one_spi_are_no_key() {
    let (mut sad, now) = new();
    let mut odd = rekey(&[tek(0x1001, 60)]);
    odd.keys.teks.push((EspSpi(0x1001), keys_of(0x6666)));
    assert_eq!(whys(&sad.rekey(&odd, &[], 0, now).refused), [(0x1001, Refusal::KeysDiffer)]);
    assert!(spis(&sad).is_empty());
}

#[test]
fn sync_06_deletes_come_before_what_is_added() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 60), tek(0x1002, 60)], now);
    let mut one = rekey(&[tek(0x1003, 60)]);
    one.deletions = vec![Deletion::Tek(EspSpi(0x1001)), Deletion::Tek(EspSpi(0x1009))];
    assert_eq!(sad.rekey(&one, &[], 0, now).deleted, [EspSpi(0x1001)]);
    assert_eq!(spis(&sad), [0x1002, 0x1003]);
    let mut all = rekey(&[tek(0x1004, 60)]);
    all.deletions = vec![Deletion::AllTeks];
    assert_eq!(sad.rekey(&all, &[], 0, now).deleted, [EspSpi(0x1002), EspSpi(0x1003)]);
    assert_eq!((spis(&sad), senders(&sad)), (vec![0x1004], vec![0x1004]));
}

#[test]
fn sync_07_an_sa_goes_when_its_life_ends_and_not_before() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 60), tek(0x1002, 90)], now);
    assert_eq!(sad.next_change(now), Some(now + DTD));
    let (mut sad, _) = new();
    register(
        &mut sad,
        &[tek(0x1001, 60), TekPolicy { selectors: vec![selector(1)], ..tek(0x1002, 90) }],
        now,
    );
    assert_eq!(sad.next_change(now), Some(now + secs(60)));
    assert_eq!(sad.advance(now + Duration::from_millis(59_999)), []);
    assert_eq!(sad.advance(now + secs(60)), [(EspSpi(0x1001), Left::Expired)]);
    assert!(!sad.contains(EspSpi(0x1001)) && sad.contains(EspSpi(0x1002)));
    assert_eq!(sad.advance(now + secs(1000)), [(EspSpi(0x1002), Left::Expired)]);
    assert_eq!(sad.next_change(now), None);
}

#[test]
fn sync_09_a_repeated_registration_changes_nothing_but_lifetimes() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 60)], now);
    sad.take_changed();
    let outcome = register(&mut sad, &[tek(0x1001, 50)], now + secs(5));
    assert_eq!((outcome.refreshed, outcome.installed), (vec![EspSpi(0x1001)], vec![]));
    assert_eq!((spis(&sad), sad.take_changed()), (vec![0x1001], false));
    // Message 2 alone is no news either, when message 4 has no keys for it.
    sad.offer(&policy(&[tek(0x1001, 3000)]), &[], now);
    sad.download(&keys(&[]), 0, now);
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().expires, now + secs(55));
}

#[test]
fn an_sad_that_is_full_refuses_the_oldest_and_asks_when_room_appears() {
    let (mut sad, now) = with(SadLimits { sas: 2, ..SadLimits::default() });
    let teks: Vec<_> = (1..=4)
        .map(|n| TekPolicy { selectors: vec![selector(n)], ..tek(0x1000 + u32::from(n), 60 * u64::from(n)) })
        .collect();
    sad.offer(&policy(&teks[..2]), &[], now);
    sad.download(&keys(&[0x1001, 0x1002]), 0, now);
    let outcome = sad.rekey(&rekey(&teks), &[], 0, now);
    assert_eq!(whys(&outcome.refused), [(0x1003, Refusal::NoRoom(2)), (0x1004, Refusal::NoRoom(2))]);
    assert!(sad.waits_for_room(EspSpi(0x1004)));
    assert_eq!((sad.take_retries(now), sad.next_retry()), (vec![], None));
    sad.advance(now + secs(60));
    assert_eq!(sad.next_retry(), Some(now));
    assert_eq!(sad.take_retries(now + secs(60)), [EspSpi(0x1003)]);
    assert_eq!(sad.take_retries(now + secs(60)), [EspSpi(0x1004)]);
    assert_eq!(sad.take_retries(now + secs(60)), []);
    // Of three new ones for two places the newest get them.
    sad.advance(now + secs(120));
    let outcome = sad.rekey(&rekey(&teks[1..]), &[], 0, now + secs(120));
    assert_eq!(whys(&outcome.refused), [(0x1002, Refusal::NoRoom(2))]);
    assert_eq!(spis(&sad), [0x1003, 0x1004]);
}

#[test]
fn selectors_in_all_are_bounded() {
    let (mut sad, now) = with(SadLimits { selectors: 3, ..SadLimits::default() });
    let two = |spi, n| TekPolicy { selectors: vec![selector(n), selector(n + 1)], ..tek(spi, 60) };
    let outcome = sad.rekey(&rekey(&[two(0x1001, 1), two(0x1002, 3)]), &[], 0, now);
    assert_eq!(whys(&outcome.refused), [(0x1002, Refusal::NoRoomForSelectors(3))]);
    // There is room for an SA, and none for its selectors: it would be refused again.
    assert_eq!((sad.next_retry(), sad.take_retries(now + secs(59))), (None, vec![]));
    sad.advance(now + secs(60));
    assert_eq!(sad.next_retry(), Some(now));
    assert_eq!(sad.take_retries(now + secs(60)), [EspSpi(0x1002)]);
}

#[test]
fn of_those_that_wait_for_room_no_more_are_asked_for_than_their_selectors_have_room() {
    let (mut sad, now) = with(SadLimits { selectors: 3, ..SadLimits::default() });
    let two = |spi, n, life| TekPolicy { selectors: vec![selector(n), selector(n + 1)], ..tek(spi, life) };
    let one = TekPolicy { selectors: vec![selector(9)], ..tek(0x1004, 90) };
    sad.rekey(&rekey(&[two(0x1001, 1, 60)]), &[], 0, now);
    sad.rekey(&rekey(&[two(0x1002, 3, 90), two(0x1003, 5, 90)]), &[], 0, now);
    assert!(sad.delete(EspSpi(0x1001), now));
    assert_eq!(sad.take_retries(now), [EspSpi(0x1002)]);
    sad.rekey(&rekey(&[two(0x1002, 3, 90), two(0x1003, 5, 90), one]), &[], 0, now);
    assert_eq!((spis(&sad), sad.take_retries(now)), (vec![0x1002, 0x1004], vec![]));
}

#[test]
fn what_the_data_plane_could_not_create_is_asked_for_again_after_a_while() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 60)], now);
    let refused = sad.refuse(EspSpi(0x1001), "no memory", now).unwrap();
    assert_eq!(
        refused.to_string(),
        "SA 0x00001001 is refused: the data plane could not create it: no memory"
    );
    assert_eq!((sad.take_retries(now), sad.next_retry()), (vec![], Some(now + secs(10))));
    assert_eq!(sad.take_retries(now + secs(10)), [EspSpi(0x1001)]);
    // It never sealed, so its sender IDs are as good as new.
    sad.rekey(&rekey(&[tek(0x1001, 60)]), &[], 0, now);
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().sender, SenderUse::Fresh(sender_ids(&[1, 2])));
}

#[test]
fn an_endless_offer_is_cut_at_the_limit() {
    let (mut sad, now) = with(SadLimits { policy_sas: 3, ..SadLimits::default() });
    let teks: Vec<_> = (0..50).map(|n| tek(0x1000 + n, 60)).collect();
    let refused = sad.offer(&policy(&teks), &[], now);
    assert_eq!(refused.len(), 47);
    assert!(refused.iter().all(|refused| refused.why == Refusal::TooManySas(3)));
    let outcome = sad.rekey(&rekey(&teks[10..]), &[], 0, now);
    assert_eq!((outcome.installed.len(), outcome.refused.len()), (3, 37));
    assert_eq!(sad.pending().len(), 3);
    let all: Vec<u32> = (0x1000..0x1032).collect();
    let outcome = sad.download(&keys(&all), 0, now);
    assert_eq!((outcome.installed.len(), outcome.unmatched.len()), (3, 0));
}
