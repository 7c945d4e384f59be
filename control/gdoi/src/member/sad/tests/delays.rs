//! ATD and DTD.

use super::*;

#[test]
fn at_first_the_newest_sends_at_once() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 600), tek(0x1002, 3600)], now);
    assert_eq!(senders(&sad), [0x1002]);
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().retires, Some(now + DTD));
}

#[test]
fn a_rekeyed_sa_receives_at_once_sends_after_atd_and_the_old_one_receives_until_dtd() {
    let (mut sad, start) = new();
    register(&mut sad, &[tek(0x1001, 3600)], start);
    let now = start + secs(3000);
    sad.rekey(&rekey(&[tek(0x1001, 600), tek(0x1002, 3600)]), &[], 0, now);
    assert_eq!(senders(&sad), [0x1001]);
    assert_eq!(sad.find(EspSpi(0x1002)).unwrap().state(now), SaState::Waiting);
    assert!(sad.entries().iter().all(SaEntry::receives));
    assert_eq!(sad.next_change(now), Some(now + ATD));
    sad.take_changed();
    assert_eq!(sad.advance(now + ATD), []);
    assert!(sad.take_changed());
    assert_eq!(senders(&sad), [0x1002]);
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().state(now + ATD), SaState::Retiring);
    assert_eq!(sad.next_change(now + ATD), Some(now + DTD));
    assert_eq!(sad.advance(now + DTD), [(EspSpi(0x1001), Left::Replaced)]);
    assert_eq!(senders(&sad), [0x1002]);
}

#[test]
fn an_old_sa_does_not_outlive_its_life_for_the_sake_of_dtd() {
    let (mut sad, start) = new();
    register(&mut sad, &[tek(0x1001, 20)], start);
    sad.rekey(&rekey(&[tek(0x1002, 3600)]), &[], 0, start);
    assert_eq!(sad.advance(start + secs(20)), [(EspSpi(0x1001), Left::Expired)]);
}

#[test]
fn atd_is_waived_when_the_old_one_ends_before_it_is_over() {
    let (mut sad, start) = new();
    register(&mut sad, &[tek(0x1001, 10)], start);
    sad.rekey(&rekey(&[tek(0x1002, 3600)]), &[], 0, start + secs(5));
    assert_eq!(senders(&sad), [0x1001]);
    sad.advance(start + secs(10));
    assert_eq!(senders(&sad), [0x1002]);
}

#[test]
fn without_a_dtd_the_old_one_receives_to_the_end_of_its_life() {
    let (mut sad, start) = new();
    let mut plain = rekey(&[tek(0x1001, 100)]);
    plain.policy.gap = GroupAssociatedPolicy::default();
    sad.rekey(&plain, &[], 0, start);
    let mut next = rekey(&[tek(0x1002, 3600)]);
    next.policy.gap = GroupAssociatedPolicy::default();
    sad.rekey(&next, &[], 0, start + secs(1));
    assert_eq!(senders(&sad), [0x1002]);
    assert_eq!(sad.advance(start + secs(99)), []);
    assert_eq!(sad.advance(start + secs(100)), [(EspSpi(0x1001), Left::Expired)]);
}

#[test]
fn a_dtd_shorter_than_atd_is_stretched_to_it() {
    let (mut sad, start) = new();
    register(&mut sad, &[tek(0x1001, 3600)], start);
    let mut odd = rekey(&[tek(0x1002, 3600)]);
    odd.policy.gap.deactivation_delay = secs(1);
    sad.rekey(&odd, &[], 0, start);
    assert_eq!(sad.advance(start + secs(14)), []);
    assert_eq!(sad.advance(start + ATD), [(EspSpi(0x1001), Left::Replaced)]);
    assert_eq!(senders(&sad), [0x1002]);
}

#[test]
fn an_old_sa_that_was_lost_takes_its_old_place_and_stays_for_dtd() {
    let (mut sad, start) = new();
    register(&mut sad, &[tek(0x1001, 3600), tek(0x1002, 3600)], start);
    assert_eq!(sad.advance(start + DTD), [(EspSpi(0x1001), Left::Replaced)]);
    let now = start + secs(100);
    // A straggler still sends with it; the answer lists all that live, oldest first.
    sad.rekey(&rekey(&[tek(0x1001, 3500), tek(0x1002, 3500)]), &[], 0, now);
    assert_eq!((spis(&sad), senders(&sad)), (vec![0x1001, 0x1002], vec![0x1002]));
    assert_eq!(sad.advance(now + ATD), []);
    assert_eq!(senders(&sad), [0x1002]);
    assert_eq!(sad.advance(now + DTD), [(EspSpi(0x1001), Left::Replaced)]);
}

#[test]
fn when_the_replacement_is_lost_the_old_one_sends_again_and_stays() {
    let (mut sad, start) = new();
    register(&mut sad, &[tek(0x1001, 3600)], start);
    sad.rekey(&rekey(&[tek(0x1002, 3600)]), &[], 0, start);
    sad.advance(start + ATD);
    assert_eq!(senders(&sad), [0x1002]);
    assert!(sad.delete(EspSpi(0x1002), start + secs(20)));
    assert_eq!(senders(&sad), [0x1001]);
    assert_eq!(sad.advance(start + secs(3599)), []);
}

#[test]
fn an_sa_of_another_key_server_lives_to_its_own_end() {
    let (mut sad, start) = new();
    register(&mut sad, &[tek(0x1001, 120)], start);
    sad.set_sender_ids(1, sender_ids(&[1, 2]), start).unwrap();
    sad.offer(&policy(&[tek(0x2001, 3600)]), &[], start);
    sad.download(&keys(&[0x2001]), 1, start);
    assert_eq!(sad.advance(start + ATD), []);
    assert_eq!(senders(&sad), [0x2001]);
    assert_eq!(sad.advance(start + secs(119)), []);
    assert_eq!(sad.advance(start + secs(120)), [(EspSpi(0x1001), Left::Expired)]);
}

#[test]
fn an_sa_that_covers_only_part_of_another_does_not_silence_it() {
    let (mut sad, start) = new();
    let both = TekPolicy { selectors: vec![selector(1), selector(2)], ..tek(0x1001, 3600) };
    register(&mut sad, &[both], start);
    let part = TekPolicy { selectors: vec![selector(1)], ..tek(0x1002, 3600) };
    sad.rekey(&rekey(&[part]), &[], 0, start);
    sad.advance(start + DTD);
    assert_eq!((spis(&sad), senders(&sad)), (vec![0x1001, 0x1002], vec![0x1001, 0x1002]));
    // The rest is covered too: the first one goes.
    let rest = TekPolicy { selectors: vec![selector(2)], ..tek(0x1003, 3600) };
    sad.rekey(&rekey(&[rest]), &[], 0, start + secs(100));
    sad.advance(start + secs(115));
    assert_eq!(senders(&sad), [0x1002, 0x1003]);
    assert_eq!(sad.advance(start + secs(130)), [(EspSpi(0x1001), Left::Replaced)]);
}

#[test]
fn an_sa_for_receiving_only_never_sends_and_is_not_replaced() {
    let (mut sad, start) = new();
    let inbound = TekPolicy { direction: Direction::ReceiverOnly, ..tek(0x1001, 100) };
    register(&mut sad, &[inbound, tek(0x1002, 3600)], start);
    assert_eq!(sad.find(EspSpi(0x1001)).unwrap().state(start), SaState::ReceiveOnly);
    assert_eq!(senders(&sad), [0x1002]);
    assert_eq!(sad.advance(start + secs(99)), []);
}
