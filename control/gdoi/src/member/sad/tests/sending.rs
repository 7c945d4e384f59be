//! Sender IDs: no IV twice.

use super::*;

fn sender(sad: &Sad, spi: u32) -> SenderUse {
    sad.find(EspSpi(spi)).unwrap().sender.clone()
}

#[test]
fn an_sa_keeps_its_sender_ids_and_later_ones_get_the_new_ones() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 3600)], now);
    sad.set_sender_ids(0, sender_ids(&[8, 9]), now).unwrap();
    sad.rekey(&rekey(&[tek(0x1001, 3600), tek(0x1002, 3600)]), &[], 0, now);
    assert_eq!(sender(&sad, 0x1001), SenderUse::Fresh(sender_ids(&[1, 2])));
    assert_eq!(sender(&sad, 0x1002), SenderUse::Fresh(sender_ids(&[8, 9])));
}

#[test]
fn without_sender_ids_a_counter_mode_sa_receives_only_until_there_are_some() {
    let now = Instant::now();
    let mut sad = Sad::new(SadLimits::default());
    let cbc = TekPolicy {
        transform: EspTransform::NullHmacSha256,
        selectors: vec![selector(1)],
        ..tek(0x1002, 60)
    };
    sad.offer(&policy(&[tek(0x1001, 60), cbc]), &[], now);
    let hmac = TekKeys {
        cipher: crate::crypto::Secret::default(),
        integrity: crate::crypto::Secret::new(vec![1; 32]),
    };
    let mut keys = keys(&[0x1001]);
    keys.teks.push((EspSpi(0x1002), hmac));
    sad.download(&keys, 0, now);
    assert_eq!(senders(&sad), [0x1002]);
    assert_eq!(sender(&sad, 0x1001), SenderUse::Missing);
    assert!(sad.lacks_sender_ids());
    let before = sad.find(EspSpi(0x1001)).unwrap().revision;
    sad.set_sender_ids(0, sender_ids(&[5]), now).unwrap();
    assert_eq!(senders(&sad), [0x1001, 0x1002]);
    assert_ne!(sad.find(EspSpi(0x1001)).unwrap().revision, before);
    assert!(!sad.lacks_sender_ids());
}

#[test]
fn an_sa_whose_sender_ids_are_used_up_gives_way_and_is_made_anew_with_others() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 3600)], now);
    sad.rekey(&rekey(&[tek(0x1002, 3600)]), &[], 0, now);
    sad.advance(now + ATD);
    assert_eq!(senders(&sad), [0x1002]);
    assert!(sad.sender_ids_exhausted(EspSpi(0x1002), now + ATD));
    assert!(sad.lacks_sender_ids());
    assert_eq!(senders(&sad), [0x1001]);
    // The same ones again, or some of them, are no help.
    sad.set_sender_ids(0, sender_ids(&[2, 3]), now + ATD).unwrap();
    assert_eq!(sender(&sad, 0x1002), SenderUse::Missing);
    sad.set_sender_ids(0, sender_ids(&[3, 4]), now + ATD).unwrap();
    assert_eq!(sender(&sad, 0x1002), SenderUse::Fresh(sender_ids(&[3, 4])));
    assert_eq!(senders(&sad), [0x1002]);
    assert_eq!(sender(&sad, 0x1001), SenderUse::Fresh(sender_ids(&[1, 2])));
}

#[test]
fn an_sa_that_was_deleted_and_comes_back_goes_on_behind_its_last_iv() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 3600)], now);
    sad.delete(EspSpi(0x1001), now);
    sad.rekey(&rekey(&[tek(0x1001, 3600)]), &[], 0, now);
    assert_eq!(sender(&sad, 0x1001), SenderUse::Resumed(sender_ids(&[1, 2])));
    // Also when it had expired here and the key server prolongs it.
    sad.advance(now + secs(3600));
    sad.rekey(&rekey(&[tek(0x1001, 3600)]), &[], 0, now + secs(4000));
    assert_eq!(sender(&sad, 0x1001), SenderUse::Resumed(sender_ids(&[1, 2])));
}

#[test]
fn a_replaced_sa_that_comes_back_without_its_sender_ids_needs_no_others() {
    let (mut sad, now) = new();
    register(&mut sad, &[tek(0x1001, 3600)], now);
    sad.rekey(&rekey(&[tek(0x1002, 3600)]), &[], 0, now);
    let later = now + ATD + DTD;
    assert_eq!(sad.advance(now + ATD), []);
    assert_eq!(sad.advance(later), [(EspSpi(0x1001), Left::Replaced)]);
    sad.rekey(&rekey(&[tek(0x1001, 3600), tek(0x1002, 3600)]), &[], 0, later);
    assert!(sad.sender_ids_exhausted(EspSpi(0x1001), later), "how far it was is forgotten");
    assert_eq!(senders(&sad), [0x1002]);
    assert!(!sad.lacks_sender_ids(), "it is there to receive with");
    // Unless it is all that there is to send with.
    sad.delete(EspSpi(0x1002), later);
    assert!(sad.lacks_sender_ids());
}

#[test]
fn sender_ids_that_would_repeat_an_iv_are_not_taken() {
    let (mut sad, now) = new();
    assert_eq!(sad.set_sender_ids(0, sender_ids(&[4, 4]), now), Err(SenderIdsError::Twice(4)));
    register(&mut sad, &[tek(0x1001, 3600)], now);
    assert_eq!(sender(&sad, 0x1001), SenderUse::Fresh(sender_ids(&[1, 2])));
}

#[test]
fn sender_ids_of_one_key_server_are_not_used_with_keys_of_another() {
    let (mut sad, now) = new();
    sad.offer(&policy(&[tek(0x2001, 3600)]), &[], now);
    sad.download(&keys(&[0x2001]), 1, now);
    assert_eq!(sender(&sad, 0x2001), SenderUse::Missing);
    sad.set_sender_ids(1, sender_ids(&[1, 2]), now).unwrap();
    assert_eq!(sender(&sad, 0x2001), SenderUse::Fresh(sender_ids(&[1, 2])));
    // The first one has lost its memory.
    sad.forget_sender_ids(0);
    register(&mut sad, &[tek(0x1001, 3600)], now);
    assert_eq!(sender(&sad, 0x1001), SenderUse::Missing);
}

#[test]
fn an_sa_that_is_not_offered_to_send_with_gets_none_of_the_sender_ids_that_come_with_the_offer() {
    for offered in [true, false] {
        let (mut sad, now) = new();
        register(&mut sad, &[tek(0x1001, 3600)], now);
        sad.sender_ids_exhausted(EspSpi(0x1001), now);
        // The key server has begun to give sender IDs from the start.
        let old = TekPolicy { direction: Direction::ReceiverOnly, ..tek(0x1001, 3600) };
        let teks = if offered { vec![old, tek(0x1002, 3600)] } else { vec![tek(0x1002, 3600)] };
        sad.offer(&policy(&teks), &[], now);
        sad.keep_senders(0, &policy(&teks));
        sad.set_sender_ids(0, sender_ids(&[5, 6]), now).unwrap();
        sad.download(&keys(&[0x1001, 0x1002][usize::from(!offered)..]), 0, now);
        assert_eq!(sender(&sad, 0x1001), SenderUse::Missing);
        assert_eq!(sender(&sad, 0x1002), SenderUse::Fresh(sender_ids(&[5, 6])));
        assert!(!sad.lacks_sender_ids());
        assert!(sad.find(EspSpi(0x1001)).unwrap().receives());
    }
}
