//! Key servers that restart, vanish, refuse, or are several.

use super::*;
use crate::group::Direction;
use crate::ike::Notice;
use crate::member::{Phase1Loss, RegistrationError};

#[test]
fn a_key_server_restarted_with_its_store_is_found_out_by_the_first_unknown_packet() {
    let mut world = World::registered(1);
    world.run(secs(5));
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    world.ks().restart();
    world.packets(0x1002);
    let took = world.until(secs(5), |w| w.has(0x1002));
    // Silence for 200 ms, then phase 1 anew, then INVALID-SPI over it.
    assert_eq!(took, Duration::from_millis(200) + 4 * RTT);
    assert_eq!((world.ks().established, world.ks().registrations), (1, 0));
    assert_eq!(world.recovered(), [0x1002]);
}

#[test]
fn a_key_server_that_loses_phase_1_just_after_it_was_heard_is_found_out_by_the_second_try() {
    let mut world = World::new(1);
    world.run(Duration::from_millis(500));
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    world.ks().restart();
    world.packets(0x1002);
    let took = world.until(secs(5), |w| w.has(0x1002));
    // Phase 1 is made anew a second after it was made, not before.
    assert!(took < Duration::from_millis(550), "{took:?}");
    assert_eq!((world.ks().established, world.ks().registrations), (2, 1));
}

#[test]
fn a_key_server_restarted_with_its_store_goes_on_pushing_and_nothing_else_happens() {
    let mut world = World::registered(1);
    world.ks().restart();
    let now = world.now;
    world.ks().add(0x1002, 3600, now);
    let push = world.ks().push(now);
    world.deliver(0, push);
    world.run(RTT);
    assert_eq!((world.spis(), world.ks().acks.clone()), (vec![0x1001, 0x1002], vec![1]));
    // DPD finds out in its own time.
    world.run(secs(120));
    assert_eq!((world.ks().established, world.ks().registrations), (1, 0));
}

#[test]
fn a_key_server_restarted_with_an_empty_store_gives_new_sas_and_sender_ids() {
    let mut world = World::registered(1);
    world.run(secs(5));
    let now = world.now;
    let mut fresh = KeyServer::new("192.0.2.1:848", 7, now);
    fresh.add(0x5001, 3600, now);
    world.key_servers[0] = fresh;
    world.packets(0x5001);
    let took = world.until(secs(5), |w| w.has(0x5001));
    // Its answer is under a KEK that the member does not have.
    assert!(took < Duration::from_millis(250), "{took:?}");
    assert_eq!(world.ks().wanted_sender_ids, [Some(2)]);
    assert_eq!(world.member.sas()[1].sender, SenderUse::Fresh(sender_ids(&[1, 2])));
    // Others send with the new SA already, so this one does.
    assert_eq!((world.spis(), world.senders()), (vec![0x1001, 0x5001], vec![0x5001]));
}

#[test]
fn a_key_server_with_an_empty_store_is_registered_with_although_its_spis_look_like_a_forgers() {
    let mut world = World::new(1);
    let key = |seed| SpiKey::draw(&mut SeededRandom::new(seed));
    world.ks().spi_key = Some(key(1));
    world.run(secs(5));
    let now = world.now;
    let spi = key(2).spi(77).unwrap().0;
    let mut fresh = KeyServer::new("192.0.2.1:848", 7, now);
    fresh.add(spi, 3600, now);
    fresh.spi_key = Some(key(2));
    // The member is none of its own, so it does not answer INVALID-SPI.
    fresh.answers = false;
    world.key_servers[0] = fresh;
    world.packets(spi);
    let took = world.until(secs(5), |w| w.has(spi));
    assert!(took < Duration::from_millis(250), "{took:?}");
    assert_eq!((world.recovered(), world.senders()), (vec![spi], vec![spi]));
    // What fails the test otherwise leads to no registration, however long it comes.
    for _ in 0..600 {
        world.packets(0x6666_0000);
        world.run(Duration::from_millis(100));
    }
    assert_eq!((world.ks().registrations, world.ks().established), (1, 1));
}

#[test]
fn a_key_server_that_gives_sender_ids_from_the_start_again_takes_its_old_sas_back() {
    let mut world = World::registered(1);
    let now = world.now;
    // The old SA is offered to receive with only, and there is another Rekey SA: what was given with the
    // old SA is somebody else's under the new one.
    world.ks().teks[0].0.direction = Direction::ReceiverOnly;
    world.ks().add(0x1002, 3600, now);
    world.ks().roll_kek(86_400, now);
    world.call(|member, now, random| member.resync(now, random));
    world.until(secs(5), |w| w.has(0x1002));
    assert_eq!(world.ks().wanted_sender_ids, [Some(2), Some(2)]);
    let use_of = |world: &World, at: usize| world.member.sas()[at].sender.clone();
    assert_eq!(use_of(&world, 0), SenderUse::Fresh(sender_ids(&[1, 2])));
    assert_eq!(use_of(&world, 1), SenderUse::Fresh(sender_ids(&[3, 4])));
}

#[test]
fn the_next_key_server_takes_over_before_the_sas_end_and_they_stay() {
    let mut world = World::registered(2);
    world.ks().up = false;
    world.run(secs(3400));
    assert_eq!((world.spis(), world.key_servers[1].registrations), (vec![0x1001], 0));
    let now = world.now;
    world.key_servers[1].add(0x2002, 3600, now);
    world.until(secs(190), |w| w.has(0x2002));
    assert!(world.has(0x1001), "its life is not over");
    assert_eq!(world.senders(), [0x1001]);
    assert_eq!(world.member.status(world.now).key_server, world.key_servers[1].address);
    world.run(secs(200));
    assert_eq!(world.senders(), [0x2002]);
    assert!(!world.has(0x1001));
}

#[test]
fn an_unknown_spi_and_a_silent_key_server_lead_to_the_next() {
    let mut world = World::registered(2);
    world.run(secs(5));
    world.ks().up = false;
    world.packets(0x2001);
    let took = world.until(secs(30), |w| w.has(0x2001));
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert_eq!(world.spis(), [0x1001, 0x2001]);
    // Sender IDs of the second one, not of the first.
    assert_eq!(world.member.sas()[1].sender, SenderUse::Fresh(sender_ids(&[1, 2])));
    assert_eq!(world.recovered(), [0x2001]);
}

#[test]
fn an_unknown_spi_does_not_drive_a_member_from_a_key_server_that_answers() {
    let mut world = World::registered(2);
    world.run(secs(5));
    for _ in 0..600 {
        world.packets(0x7777);
        world.run(secs(1));
    }
    assert_eq!(world.key_servers[1].registrations, 0);
    assert_eq!(world.key_servers[1].established, 0);
    assert_eq!(world.ks().established, 0);
    assert!(world.ks().registrations <= 12);
}

#[test]
fn a_member_that_starts_while_no_key_server_is_there_pauses_and_gets_in_later() {
    let mut world = World::new(2);
    world.key_servers.iter_mut().for_each(|ks| ks.up = false);
    world.run(secs(300));
    assert_eq!(world.member.state(), MemberState::BackingOff);
    assert!(world.sent < 200, "{}", world.sent);
    world.key_servers[1].up = true;
    world.until(secs(120), |w| w.has(0x2001));
    assert_eq!(world.member.state(), MemberState::InStep);
}

#[test]
fn a_refusal_is_told_and_the_next_key_server_is_tried() {
    let mut world = World::new(2);
    world.ks().refuses = Some(NotifyType::InvalidIdInformation);
    world.until(secs(1), |w| w.has(0x2001));
    let why = RegistrationError::Refused(NotifyType::InvalidIdInformation);
    assert_eq!(world.member.status(world.now).last_failure.unwrap().2, why);
    assert_eq!(why.to_string(), "the key server refuses: INVALID-ID-INFORMATION (18)");
}

#[test]
fn a_phase_1_that_the_key_server_deletes_is_made_again() {
    let mut world = World::registered(1);
    let cookies = world.ks().cookies();
    let delete = world.ks().say(Notice::DeleteIkeSa(cookies));
    world.ks().restart();
    world.deliver(0, delete);
    world.run(secs(3));
    assert!(
        world.events.iter().any(|e| matches!(e, MemberEvent::Phase1Lost { why: Phase1Loss::Deleted, .. }))
    );
    assert_eq!((world.ks().established, world.ks().registrations), (1, 0));
    assert_eq!(world.spis(), [0x1001]);
}

#[test]
fn a_registration_survives_loss() {
    for seed in 0..40 {
        let mut world = World::new(1);
        let mut random = SeededRandom::new(seed);
        world.loses = Box::new(move |_, _| {
            let mut octet = [0];
            random.fill(&mut octet);
            octet[0] < 77
        });
        world.until(secs(180), |w| w.has(0x1001));
    }
}

#[test]
fn a_member_that_slept_longer_than_its_sas_live_starts_anew() {
    let mut world = World::registered(1);
    let now = world.now + secs(10_000);
    world.now = now;
    world.ks().restart();
    world.ks().roll_kek(86_400, now);
    world.ks().add(0x1002, 3600, now);
    world.until(secs(2), |w| w.has(0x1002));
    assert_eq!((world.spis(), world.senders()), (vec![0x1002], vec![0x1002]));
}

#[test]
fn a_phase_1_that_ends_has_a_successor_before() {
    let mut world = World::registered(1);
    let mut spi = 0x1001;
    for _ in 0..30 {
        world.run(secs(3000));
        spi += 1;
        let now = world.now;
        world.ks().add(spi, 3600, now);
        let push = world.ks().push(now);
        world.deliver(0, push);
        if world.ks().kek.as_ref().unwrap().expires < now + secs(6000) {
            world.ks().roll_kek(86_400, now);
            let push = world.ks().push_rollover(now);
            world.deliver(0, push);
        }
    }
    assert_eq!((world.ks().established, world.ks().registrations), (1, 0));
    assert!(world.member.status(world.now).phase1);
    assert!(!world.events.iter().any(|e| matches!(e, MemberEvent::Phase1Lost { .. })));
}
