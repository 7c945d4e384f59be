//! PUSH, its acknowledgement, the Rekey SA, Deletes, room and sender IDs.

use super::*;

#[test]
fn a_kek_rollover_is_followed_and_the_previous_one_still_opens_late_messages() {
    let mut world = World::registered(1);
    let now = world.now;
    let late = world.ks().push(now);
    world.ks().roll_kek(86_400, now);
    let rollover = world.ks().push_rollover(now);
    world.deliver(0, rollover);
    world.run(RTT);
    let kek = world.ks().kek.as_ref().unwrap().policy.spi;
    assert_eq!(world.member.status(world.now).kek.unwrap().spi, kek);
    assert!(world.events.contains(&MemberEvent::KekInstalled(kek)));
    // What comes late has a lower number.
    world.deliver(0, late);
    world.ks().add(0x1002, 3600, now);
    let late = world.ks().push_of(policy(&[tek(0x1002, 3600)]), &[], true);
    world.deliver(0, late);
    world.run(RTT);
    assert!(world.has(0x1002));
    assert_eq!(world.member.status(world.now).kek.unwrap().spi, kek);
    world.ks().add(0x1003, 3600, now);
    let push = world.ks().push(now);
    world.deliver(0, push);
    world.run(RTT);
    assert!(world.has(0x1003));
    assert_eq!(world.ks().acks, [2, 3, 1]);
    assert_eq!(world.member.status(world.now).counters.replayed_pushes, 1);
}

#[test]
fn a_kek_rollover_that_was_missed_heals_with_the_first_unknown_packet() {
    let mut world = World::registered(1);
    let now = world.now;
    world.ks().roll_kek(86_400, now);
    world.ks().add(0x1002, 3600, now);
    world.packets(0x1002);
    // INVALID-SPI, a PUSH under the new KEK, and a registration over the same phase 1.
    assert_eq!(world.until(secs(1), |w| w.has(0x1002)), 3 * RTT);
    assert_eq!((world.ks().registrations, world.ks().established), (1, 0));
    // The key server goes on where it was, so the sender IDs stay.
    assert_eq!(world.ks().wanted_sender_ids, [Some(2), None]);
    assert_eq!(world.member.sas()[1].sender, SenderUse::Fresh(sender_ids(&[1, 2])));
}

#[test]
fn when_the_key_server_deletes_the_kek_the_member_registers_again() {
    let mut world = World::registered(1);
    let now = world.now;
    let push = world.ks().push_with(now, &[Deletion::Kek]);
    world.ks().roll_kek(86_400, now);
    world.deliver(0, push);
    world.run(secs(1));
    assert_eq!((world.ks().registrations, world.spis()), (1, vec![0x1001]));
    let kek = world.ks().kek.as_ref().unwrap().policy.spi;
    assert_eq!(world.member.status(world.now).kek.unwrap().spi, kek);
}

#[test]
fn a_kek_that_ends_without_a_successor_is_a_reason_to_register() {
    let mut world = World::new(1);
    let now = world.now;
    world.ks().roll_kek(600, now);
    world.run(secs(500));
    assert_eq!(world.ks().registrations, 1);
    let now = world.now;
    world.ks().roll_kek(600, now);
    world.run(secs(95));
    assert_eq!(world.ks().registrations, 2);
}

#[test]
fn a_push_that_was_held_back_puts_off_no_end_of_the_kek() {
    let mut world = World::registered(1);
    let ends = |world: &World| world.member.status(world.now).kek.unwrap().expires;
    let before = ends(&world);
    let now = world.now;
    let held_back = world.ks().push(now);
    world.run(secs(3000));
    world.deliver(0, held_back);
    world.run(RTT);
    assert_eq!(count(&world.events, |e| matches!(e, MemberEvent::Rekeyed { .. })), 1);
    assert_eq!(ends(&world), before);
}

#[test]
fn a_push_that_comes_again_is_acknowledged_again_and_not_carried_out() {
    let mut world = World::registered(1);
    let now = world.now;
    let push = world.ks().push(now);
    for _ in 0..3 {
        world.deliver(0, push.clone());
        world.run(RTT);
    }
    assert_eq!(world.ks().acks, [1, 1, 1]);
    assert_eq!(count(&world.events, |e| matches!(e, MemberEvent::Rekeyed { .. })), 1);
    for _ in 0..100 {
        world.deliver(0, push.clone());
    }
    world.run(RTT);
    assert!(world.ks().acks.len() <= 6, "{:?}", world.ks().acks);
}

#[test]
fn reordered_pushes_end_in_the_newest_state() {
    let mut world = World::registered(1);
    let now = world.now;
    let first = world.ks().push(now);
    world.ks().add(0x1002, 3600, now);
    let second = world.ks().push(now);
    world.deliver(0, second);
    world.deliver(0, first);
    world.run(secs(1));
    assert_eq!(world.spis(), [0x1001, 0x1002]);
    assert_eq!(world.ks().acks, [2]);
}

#[test]
fn a_rekey_of_many_sas_is_one_change() {
    let mut world = World::registered(1);
    let teks: Vec<_> = (0..200).map(|n| tek(0x2000 + n, 3600)).collect();
    let push = world.ks().push_of(policy(&teks), &[], false);
    world.deliver(0, push);
    world.run(Duration::from_millis(500));
    assert_eq!(world.spis().len(), 201);
    assert_eq!(count(&world.events, |e| *e == MemberEvent::SasChanged), 1);
}

#[test]
fn a_deleted_sa_of_the_key_server_is_gone_and_its_packets_cost_nothing() {
    let mut world = World::registered(1);
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    world.ks().remove(0x1001);
    let push = world.ks().push_with(now, &[Deletion::Tek(EspSpi(0x1001))]);
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!((world.spis(), world.senders()), (vec![0x1002], vec![0x1002]));
    world.packets(0x1001);
    world.run(secs(10));
    assert!(world.ks().asked.is_empty());
}

#[test]
fn an_sad_that_is_full_asks_for_what_was_refused_once_there_is_room() {
    let now = Instant::now();
    let mut config = member_config(1, now);
    config.limits = SadLimits { sas: 1, ..SadLimits::default() };
    let mut world = World::with(config, now);
    world.run(secs(1));
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    let push = world.ks().push(now);
    world.deliver(0, push);
    world.run(RTT);
    let refused = |e: &MemberEvent| matches!(e, MemberEvent::SaRefused(r) if r.why == Refusal::NoRoom(1));
    assert_eq!((world.spis(), count(&world.events, refused)), (vec![0x1001], 1));
    world.packets(0x1002);
    world.run(secs(5));
    assert!(world.ks().asked.is_empty());
    // Room appears.
    world.ks().remove(0x1001);
    world.call(|m, now, random| m.delete_sa(now, EspSpi(0x1001), random));
    assert_eq!(world.until(secs(1), |w| w.has(0x1002)), RTT);
}

#[test]
fn what_the_data_plane_cannot_create_is_asked_for_again() {
    let mut world = World::registered(1);
    world.call(|m, now, random| m.refuse_sa(now, EspSpi(0x1001), "no memory", random));
    assert!(world.spis().is_empty());
    assert_eq!(world.until(secs(20), |w| w.has(0x1001)), secs(10) + RTT);
}

#[test]
fn sender_ids_that_are_used_up_are_replaced_by_a_registration() {
    let mut world = World::registered(1);
    world.call(|m, now, random| m.sender_ids_exhausted(now, EspSpi(0x1001), random));
    assert!(world.senders().is_empty());
    world.until(secs(1), |w| !w.senders().is_empty());
    assert_eq!(world.member.sas()[0].sender, SenderUse::Fresh(sender_ids(&[3, 4])));
    assert_eq!(world.ks().registrations, 1);
}

#[test]
fn the_owner_is_told_where_rekeys_are_multicast_to() {
    let mut world = World::registered(1);
    assert!(world.member.multicast_groups().is_empty());
    let group: SocketAddr = "239.10.1.1:848".parse().unwrap();
    let now = world.now;
    world.ks().roll_kek(86_400, now);
    world.ks().kek.as_mut().unwrap().policy.destination = group;
    let push = world.ks().push_rollover(now);
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!(world.member.multicast_groups(), [group]);
}

#[test]
fn the_operator_can_ask_for_a_registration_and_end_it_all() {
    let mut world = World::registered(1);
    world.call(|m, now, random| m.resync(now, random));
    world.run(secs(1));
    assert_eq!(world.ks().registrations, 1);
    world.forget();
    world.call(|m, now, random| m.stop(now, random));
    assert_eq!((world.member.state(), world.member.poll_timeout()), (MemberState::Stopped, None));
    world.run(secs(7200));
    assert_eq!(world.sent, 1);
}

#[test]
fn sync_08_an_sa_that_others_send_with_already_is_sent_with_as_soon_as_it_is_here() {
    let mut world = World::registered(1);
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    // The rekey and its copies were lost; the others had theirs, and their ATD is over.
    world.run(ATD);
    world.packets(0x1002);
    world.until(secs(1), |w| w.has(0x1002));
    assert_eq!(world.senders(), [0x1002]);
    // One that nobody sends with yet waits for ATD.
    let now = world.now;
    world.ks().add(0x1003, 3600, now);
    let push = world.ks().push(now);
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!((world.has(0x1003), world.senders()), (true, vec![0x1002]));
}
