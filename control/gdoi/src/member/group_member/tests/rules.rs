//! Rules S1 to S9 with a key server at the other end.

use super::*;

#[test]
fn sync_01_02_a_registration_installs_what_was_offered_and_keyed() {
    let mut world = World::new(1);
    let took = world.until(secs(1), |w| w.has(0x1001));
    // Six messages of phase 1 and four of GROUPKEY-PULL.
    assert_eq!(took, 10 * LATENCY);
    assert_eq!((world.spis(), world.senders()), (vec![0x1001], vec![0x1001]));
    let sa = &world.member.sas()[0];
    assert_eq!(sa.keys, keys_of(0x1001));
    assert_eq!(sa.sender, SenderUse::Fresh(sender_ids(&[1, 2])));
    assert_eq!(sa.expires, world.now + secs(3599));
    assert_eq!(world.member.state(), MemberState::InStep);
    assert_eq!(count(&world.events, |e| *e == MemberEvent::SasChanged), 1);
    assert!(
        matches!(
            world.events[..],
            [
                MemberEvent::Phase1 { .. },
                MemberEvent::KekInstalled(_),
                MemberEvent::Registered { installed: 1, sender_ids: 2, .. },
                MemberEvent::SasChanged
            ]
        ),
        "{:?}",
        world.events
    );
}

#[test]
fn sync_01_nothing_is_installed_between_messages_2_and_4() {
    let mut world = World::new(1);
    world.until(secs(1), |w| w.member.status(w.now).pending == 1);
    assert!(world.spis().is_empty());
    world.until(secs(1), |w| w.has(0x1001));
    assert_eq!(world.member.status(world.now).pending, 0);
}

#[test]
fn sync_03_an_spi_added_between_messages_2_and_4_is_asked_for_at_once() {
    let mut world = World::new(1);
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    world.ks().hidden = vec![0x1002];
    world.ks().keyed = Some(vec![0x1001, 0x1002]);
    world.until(secs(1), |w| w.has(0x1001));
    assert!(!world.has(0x1002));
    let took = world.until(secs(1), |w| w.has(0x1002));
    assert_eq!(took, RTT);
    assert_eq!(world.ks().asked, [0x1002]);
    assert!(
        world.events.contains(&MemberEvent::Mismatch { unmatched: vec![EspSpi(0x1002)], unkeyed: vec![] })
    );
    assert_eq!(world.recovered(), [0x1002]);
}

#[test]
fn sync_03_an_spi_removed_between_messages_2_and_4_stays_pending_and_ends_quietly() {
    let mut world = World::new(1);
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    world.ks().keyed = Some(vec![0x1001]);
    world.until(secs(1), |w| w.has(0x1001));
    assert_eq!(world.member.status(world.now).pending, 1);
    world.ks().remove(0x1002);
    world.run(secs(5));
    assert_eq!(world.ks().asked, [0x1002; 3]);
    assert_eq!((world.member.status(world.now).pending, world.spis()), (0, vec![0x1001]));
    assert_eq!((world.ks().registrations, world.member.state()), (1, MemberState::InStep));
}

#[test]
fn sync_03_an_sa_that_a_registration_offers_and_does_not_key_is_not_sent_with_any_more() {
    let mut world = World::registered(1);
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    let push = world.ks().push(now);
    world.deliver(0, push);
    world.run(ATD + RTT);
    assert_eq!(world.senders(), [0x1002]);
    // Removed between messages 2 and 4: the others are told to delete it.
    world.ks().keyed = Some(vec![0x1001]);
    world.call(|m, now, random| m.resync(now, random));
    world.until(secs(1), |w| w.key_servers[0].registrations == 1);
    world.ks().remove(0x1002);
    world.run(RTT);
    assert_eq!((world.spis(), world.senders()), (vec![0x1001, 0x1002], vec![0x1001]));
    world.run(secs(5));
    assert_eq!(world.ks().asked, [0x1002; 3]);
    assert_eq!((world.senders(), world.member.state()), (vec![0x1001], MemberState::InStep));
}

#[test]
fn sync_03_an_sa_whose_keys_were_lost_on_the_way_is_sent_with_again_when_the_answer_confirms_it() {
    let mut world = World::registered(1);
    world.ks().keyed = Some(vec![]);
    world.call(|m, now, random| m.resync(now, random));
    world.until(secs(1), |w| w.member.sas()[0].withheld);
    assert_eq!(world.senders(), [0x1001], "there is nothing else");
    world.until(secs(1), |w| !w.member.sas()[0].withheld);
    assert_eq!(world.ks().asked, [0x1001]);
    assert_eq!(world.recovered(), [0x1001]);
}

#[test]
fn sync_03_keys_that_were_lost_on_the_way_come_by_the_answer() {
    let mut world = World::new(1);
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    world.ks().keyed = Some(vec![0x1001]);
    let took = world.until(secs(1), |w| w.has(0x1002));
    assert_eq!(took, 12 * LATENCY);
    assert_eq!(world.member.status(world.now).pending, 0);
}

#[test]
fn sync_05_without_an_answer_it_asks_again_then_registers() {
    let mut world = World::registered(1);
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    world.ks().answers = false;
    world.packets(0x1002);
    let took = world.until(secs(5), |w| w.has(0x1002));
    assert_eq!(world.ks().asked, [0x1002; 3]);
    assert_eq!(world.ks().registrations, 1);
    // 200, 400 and 800 ms, then the registration over the same phase 1.
    assert_eq!(took, Duration::from_millis(1400) + 2 * RTT);
    assert_eq!(world.ks().established, 0);
    assert_eq!(world.recovered(), [0x1002]);
}

#[test]
fn sync_05_a_rekey_that_is_lost_is_made_good_by_the_second_try() {
    let mut world = World::registered(1);
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    let mut lost = false;
    world.loses = Box::new(move |_, exchange| {
        exchange == ExchangeType::GroupkeyPush && !std::mem::replace(&mut lost, true)
    });
    world.packets(0x1002);
    assert_eq!(world.until(secs(5), |w| w.has(0x1002)), Duration::from_millis(200) + RTT);
}

#[test]
fn sync_05_a_key_server_that_never_answers_ends_in_back_off_that_status_shows() {
    let mut world = World::registered(1);
    world.ks().answers = false;
    for _ in 0..60 {
        world.packets(0x7777);
        world.run(secs(1));
    }
    // It is remembered, and costs nothing more.
    let status = world.member.status(world.now);
    assert_eq!((world.ks().asked.len(), world.ks().registrations), (3, 1));
    assert_eq!((status.remembered, status.asking.len(), status.state), (1, 0, MemberState::InStep));
    assert!(status.recovery.remembered > 50);
    // Without any key server the member pauses.
    world.ks().up = false;
    world.packets(0x8888);
    world.run(secs(60));
    let status = world.member.status(world.now);
    assert_eq!(status.state, MemberState::BackingOff);
    assert!(status.last_failure.is_some() && status.asking[0].awaits_registration);
    world.until(secs(60), |w| w.member.status(w.now).backs_off_until.is_some());
    assert_eq!(world.member.state(), MemberState::BackingOff);
}

#[test]
fn sync_06_07_a_rekey_refreshes_and_stores_and_what_is_over_goes() {
    let mut world = World::registered(1);
    world.run(secs(1800));
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    let push = world.ks().push(now);
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!((world.spis(), world.senders()), (vec![0x1001, 0x1002], vec![0x1001]));
    world.run(ATD);
    assert_eq!(world.senders(), [0x1002]);
    world.run(DTD);
    assert_eq!(world.spis(), [0x1002]);
    assert_eq!(world.ks().registrations, 0);
    assert_eq!(world.ks().acks, [1]);
}

#[test]
fn sync_08_packets_with_an_unknown_spi_bring_the_sa_in_one_round_trip() {
    let mut world = World::registered(1);
    assert!(world.call(|m, now, random| m.delete_sa(now, EspSpi(0x1001), random)));
    assert!(world.spis().is_empty());
    world.run(secs(100));
    assert!(world.spis().is_empty());
    for _ in 0..100 {
        world.packets(0x1001);
    }
    assert_eq!(world.until(secs(1), |w| w.has(0x1001)), RTT);
    assert_eq!((world.ks().asked.len(), world.recovered()), (1, vec![0x1001]));
    // No IV comes twice.
    assert_eq!(world.member.sas()[0].sender, SenderUse::Resumed(sender_ids(&[1, 2])));
    assert_eq!(world.member.status(world.now).recovery.times.percentile(99), Some(RTT));
}

#[test]
fn sync_09_a_key_server_that_knows_only_rfc_6407_will_do() {
    let mut world = World::new(1);
    let now = world.now;
    world.ks().acknowledge = None;
    world.ks().roll_kek(86_400, now);
    world.ks().gap = Default::default();
    world.run(secs(1));
    // A PUSH that holds nothing but what is new, without a Rekey SA; deletes are explicit.
    let delta = GroupPolicy { teks: vec![tek(0x1002, 3600)], ..Default::default() };
    let push = world.ks().push_of(delta, &[], false);
    world.deliver(0, push);
    world.run(secs(1));
    assert_eq!((world.spis(), world.senders()), (vec![0x1001, 0x1002], vec![0x1002]));
    let push = world.ks().push_of(GroupPolicy::default(), &[Deletion::Tek(EspSpi(0x1001))], false);
    world.deliver(0, push);
    world.run(secs(1));
    assert_eq!(world.spis(), [0x1002]);
    assert!(world.ks().acks.is_empty());
    assert!(world.ks().asked.is_empty());
}

#[test]
fn sync_09_a_key_server_without_rekeys_is_registered_with_again_before_the_sas_end() {
    let mut world = World::new(1);
    world.ks().kek = None;
    world.run(secs(3000));
    assert_eq!((world.ks().registrations, world.spis()), (1, vec![0x1001]));
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    let took = world.until(secs(600), |w| w.has(0x1002));
    assert!((secs(540)..secs(561)).contains(&took), "{took:?}");
    assert_eq!((world.ks().registrations, world.senders()), (2, vec![0x1001]));
    world.run(secs(30));
    assert_eq!((world.spis(), world.senders()), (vec![0x1002], vec![0x1002]));
}

#[test]
fn sync_09_a_key_server_that_gives_no_sender_ids_leaves_the_member_receiving() {
    let mut world = World::new(1);
    world.ks().gives_sender_ids = false;
    world.run(secs(600));
    assert_eq!((world.spis(), world.senders()), (vec![0x1001], vec![]));
    // It does not ask for them more than once a minute.
    assert!((2..=12).contains(&world.ks().registrations), "{}", world.ks().registrations);
}
