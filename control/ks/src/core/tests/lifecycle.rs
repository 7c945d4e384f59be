use super::world::*;
use crate::core::*;
use crate::store::Fault;
use getvpn_gdoi::group::*;
use std::time::Duration;

#[test]
fn a_registration_gets_policy_keys_and_one_sender_id_and_seq_0() {
    let mut world = World::new(group());
    world.register(1);
    world.register(2);
    let sids: Vec<_> = world.members.values().map(|member| member.sids.clone()).collect();
    assert_eq!(sids, [[0], [1]]);
    assert!(world.members.values().all(|member| member.can_send(world.now)));
    assert_eq!(world.members[&1].keks.values().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(world.count(Count::Registrations), 2);
}

#[test]
fn spis_bear_a_mark_whose_key_goes_to_members_of_this_make_only_and_outlives_a_restart() {
    let mut world = World::new(group());
    let offered = |world: &World, is_getvpn| {
        let time = world.authority.time(world.now);
        let peer = Peer { is_getvpn, ..peer(1) };
        world.group().offer(time, &peer).unwrap().1
    };
    let policy = offered(&world, true);
    let key = policy.spi_key.clone().unwrap();
    assert!(policy.teks.iter().all(|tek| key.marks(tek.spi)));
    let other = offered(&world, false);
    assert_eq!((other.spi_key, other.teks), (None, policy.teks));
    world.restart();
    world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
    world.settle();
    let policy = offered(&world, true);
    assert_eq!(policy.spi_key, Some(key.clone()));
    assert!(policy.teks.len() > 1 && policy.teks.iter().all(|tek| key.marks(tek.spi)));
}

#[test]
fn members_are_never_without_an_sa_over_many_generations_of_teks_and_keks() {
    for (tek_lifetime, kek_lifetime) in [(10, 25), (30, 30), (60, 600)] {
        let mut settings = group();
        settings.teks[0].lifetime = seconds(tek_lifetime);
        settings.kek.lifetime = seconds(kek_lifetime);
        let timing = Timing::new(&settings, 3);
        assert!(timing.least_lifetime() <= seconds(tek_lifetime), "the schedule can hold");
        let mut world = World::new(settings);
        (1..=3).for_each(|member| world.register(member));
        for _ in 0..600 {
            world.pass(Duration::from_millis(500));
            for member in world.members.values() {
                assert!(member.can_send(world.now) && !member.told_to_register);
            }
            let live = world.members[&1].live(world.now);
            assert!(world.members.values().all(|member| !member.live(world.now).is_disjoint(&live)));
        }
        assert!(world.members[&1].keks.len() >= 300 / usize::try_from(kek_lifetime).unwrap());
        assert!(world.members[&1].teks.len() >= 300 / usize::try_from(tek_lifetime).unwrap());
        assert_eq!(world.count(Count::MissedRekeys), 0);
        assert_eq!(world.count(Count::Registrations), 3);
    }
}

#[test]
fn a_successor_is_there_before_members_would_register_again() {
    for (lifetime, registers_again) in [(3600, 60), (600, 60), (100, 25)] {
        let mut settings = group();
        settings.teks[0].lifetime = seconds(lifetime);
        let mut world = World::new(settings);
        (1..=3).for_each(|member| world.register(member));
        for _ in 0..2 * lifetime {
            world.pass(seconds(1));
            for member in world.members.values() {
                let last = member.teks.values().map(|sa| sa.ends).max().unwrap();
                let left = last.saturating_duration_since(world.now);
                assert!(left > seconds(registers_again), "{left:?} of {lifetime} s");
            }
        }
        assert!(world.members[&1].teks.len() >= 3);
    }
}

#[test]
fn a_member_that_hears_only_the_last_retransmission_is_never_without_an_sa_either() {
    let mut settings = group();
    settings.teks[0].lifetime = seconds(10);
    let mut world = World::new(settings);
    world.register(1);
    for _ in 0..20 {
        let generations = world.members[&1].teks.len();
        world.members.get_mut(&1).unwrap().deaf = true;
        let sent = world.sent;
        while world.sent < sent + 2 {
            world.pass(Duration::from_millis(100));
            assert!(world.members[&1].can_send(world.now));
        }
        world.members.get_mut(&1).unwrap().deaf = false;
        while world.members[&1].teks.len() == generations {
            world.pass(Duration::from_millis(100));
            assert!(world.members[&1].can_send(world.now));
        }
    }
    assert_eq!(world.count(Count::MissedRekeys), 0);
}

#[test]
fn sync_03_a_change_between_messages_2_and_4_follows_as_a_rekey_at_once() {
    for settings in [group(), multicast()] {
        let mut world = World::new(settings);
        world.register(9);
        world.pass(seconds(2));
        let pull = world.request(1);
        world.authority.rekey(world.now(), GROUP, RekeyWhat::TeksAndKek, &mut world.random).unwrap();
        world.settle();
        let newest = world.newest();
        world.confirm(pull, None);
        // The world has checked that message 4 keyed what message 2 offered, which is not the newest.
        assert!(world.members[&1].pushes >= 1);
        assert!(world.members[&1].live(world.now).contains(&newest));
        assert_eq!(world.count(Count::SnapshotsMoved), 1);
    }
}

#[test]
fn a_rekey_is_one_message_for_all_and_goes_again_only_to_those_that_did_not_acknowledge() {
    let mut world = World::new(group());
    (1..=20).for_each(|member| world.register(member));
    world.members.get_mut(&7).unwrap().mute = true;
    world.pass(seconds(1));
    let (sent, made) = (world.sent, world.count(Count::PushesMade));
    world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
    world.pass(seconds(5));
    assert_eq!(world.count(Count::PushesMade) - made, 1);
    assert_eq!(world.sent - sent, 22);
    assert_eq!(world.members[&7].pushes, 1, "what is sent again is the same datagram");
    let ended = world.events.iter().find_map(|event| match event {
        What::RekeyEnded { why: Why::OnDemand, acknowledged, missed } => Some((*acknowledged, *missed)),
        _ => None,
    });
    assert_eq!(ended, Some((19, 1)));
    assert_eq!(world.known(7).missed, 1);
}

#[test]
fn how_far_behind_members_are_is_known_until_they_acknowledge_or_are_given_up() {
    let mut world = World::new(group());
    (1..=3).for_each(|member| world.register(member));
    world.pass(seconds(1));
    let lag = |world: &World| {
        let group = world.authority.group(GROUP).unwrap();
        let (waiting, lag) = group.unacknowledged(world.authority.time(world.now));
        (waiting, lag, group.acknowledged_after().count())
    };
    let (waiting, _, before) = lag(&world);
    assert_eq!(waiting, 0);
    world.members.get_mut(&2).unwrap().mute = true;
    world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
    world.pass(Duration::from_millis(1_500));
    let (waiting, behind, acknowledged) = lag(&world);
    assert_eq!((waiting, acknowledged - before), (1, 2));
    assert!((seconds(1)..seconds(2)).contains(&behind), "{behind:?}");
    world.pass(seconds(10));
    assert_eq!(lag(&world).0, 0);
}

#[test]
fn unicast_rekeys_are_paced() {
    let mut settings = group();
    settings.rekey.rate = 10;
    settings.teks[0].lifetime = seconds(3600);
    let mut world = World::new(settings);
    (1..=50).for_each(|member| world.register(member));
    let sent = world.sent;
    world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
    world.pass(seconds(1));
    assert!((9..=12).contains(&(world.sent - sent)), "{}", world.sent - sent);
    world.pass(seconds(6));
    assert_eq!(world.sent - sent, 50);
}

#[test]
fn a_multicast_rekey_goes_to_the_group_address_as_often_as_configured() {
    let mut world = World::new(multicast());
    (1..=5).for_each(|member| world.register(member));
    let sent = world.sent;
    world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
    world.settle();
    assert_eq!(world.sent - sent, 1);
    world.pass(seconds(10));
    assert_eq!(world.sent - sent, 3);
    assert!(world.members.values().all(|member| member.pushes == 1));
    assert_eq!(world.count(Count::MissedRekeys), 0);
}

#[test]
fn three_missed_rekeys_make_a_member_silent_until_it_is_heard_from() {
    let mut world = World::new(group());
    world.register(1);
    world.register(2);
    world.members.get_mut(&1).unwrap().deaf = true;
    for missed in 1..=3 {
        world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
        world.pass(seconds(5));
        assert_eq!(world.known(1).missed, missed);
    }
    assert!(world.known(1).is_silent());
    assert!(world.events.iter().any(|event| matches!(event, What::Silent { .. })));
    world.members.get_mut(&1).unwrap().deaf = false;
    let pushes = world.members[&1].pushes;
    world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
    world.pass(seconds(5));
    assert_eq!(world.members[&1].pushes, pushes, "a silent member gets none");
    assert_eq!(world.ask(1, world.newest()), AskOutcome::Answered);
    assert!(world.members[&1].live(world.now).contains(&world.newest()));
    world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
    world.pass(seconds(5));
    assert_eq!(world.members[&1].pushes, pushes + 2);
}

#[test]
fn a_member_that_missed_a_kek_rollover_is_still_reached_under_the_old_one() {
    let mut world = World::new(group());
    world.register(1);
    let old = world.known(1).kek;
    world.members.get_mut(&1).unwrap().deaf = true;
    world.authority.rekey(world.now(), GROUP, RekeyWhat::TeksAndKek, &mut world.random).unwrap();
    world.pass(seconds(10));
    assert_eq!(world.known(1).kek, old);
    world.members.get_mut(&1).unwrap().deaf = false;
    assert_eq!(world.ask(1, world.newest()), AskOutcome::Answered);
    assert_ne!(world.known(1).kek, old);
    assert_eq!(world.known(1).kek, world.group().keks().last().unwrap().kek.spi);
}

#[test]
fn sync_04_an_spi_without_a_live_sa_or_of_another_group_changes_nothing_and_is_counted() {
    let mut world = World::new(group());
    world.register(1);
    let (sent, newest) = (world.sent, world.newest());
    let groups = format!("{:?}", world.group().teks().map(|tek| tek.spi).collect::<Vec<_>>());
    assert_eq!(world.ask(1, EspSpi(0xdead_beef)), AskOutcome::NoSuchSa);
    assert_eq!(world.ask(2, newest), AskOutcome::Foreign);
    assert_eq!(world.sent, sent);
    assert_eq!(world.count(Count::AskedNoSuchSa), 1);
    assert_eq!(world.count(Count::AskedForeign), 1);
    let last = world.known(1).asked.last.unwrap();
    assert_eq!((last.spi, last.outcome), (EspSpi(0xdead_beef), Some(AskOutcome::NoSuchSa)));
    assert_eq!(world.known(1).asked.count(AskOutcome::NoSuchSa), 1);
    assert_eq!(format!("{:?}", world.group().teks().map(|tek| tek.spi).collect::<Vec<_>>()), groups);
}

#[test]
fn sync_04_many_that_ask_at_once_cost_one_signature_and_one_that_asks_again_gets_a_newer_rekey() {
    let mut world = World::new(group());
    (1..=100).for_each(|member| world.register(member));
    let (made, newest) = (world.count(Count::PushesMade), world.newest());
    for member in 1..=100 {
        world.members.get_mut(&member).unwrap().teks.clear();
        assert_eq!(world.ask(member, newest), AskOutcome::Answered);
        assert!(world.members[&member].live(world.now).contains(&newest));
    }
    assert_eq!(world.count(Count::PushesMade) - made, 1);
    world.members.get_mut(&1).unwrap().teks.clear();
    assert_eq!(world.ask(1, newest), AskOutcome::Answered);
    assert!(world.members[&1].live(world.now).contains(&newest));
    assert_eq!(world.count(Count::PushesMade) - made, 2);
}

#[test]
fn sync_04_a_flood_from_one_member_is_limited_and_others_are_still_answered() {
    let mut world = World::new(group());
    world.register(1);
    world.register(2);
    let newest = world.newest();
    let answered = (0..1000).filter(|_| world.ask(1, newest) == AskOutcome::Answered).count();
    assert_eq!(answered, 10);
    assert_eq!(world.count(Count::AskedMemberLimit), 990);
    let asked = world.known(1).asked;
    assert_eq!((asked.count(AskOutcome::Answered), asked.count(AskOutcome::MemberLimit)), (10, 990));
    assert_eq!(world.known(2).asked, Asked::default());
    // One line each for people, not one for each that came.
    let told = world.events.iter().filter(|what| matches!(what, What::Asked { again: false, .. }));
    assert_eq!(told.count(), 2);
    assert_eq!(world.ask(2, newest), AskOutcome::Answered);
}

#[test]
fn sync_04_multicast_answers_many_with_one_rekey() {
    let mut world = World::new(multicast());
    (1..=50).for_each(|member| world.register(member));
    let newest = world.newest();
    world.members.values_mut().for_each(|member| member.teks.clear());
    let made = world.count(Count::PushesMade);
    (1..=50).for_each(|member| _ = world.ask(member, newest));
    world.pass(seconds(1));
    assert!(world.count(Count::PushesMade) - made <= 4);
    assert!(world.members.values().all(|member| member.live(world.now).contains(&newest)));
}

#[test]
fn sync_04_a_member_that_multicast_does_not_reach_is_answered_itself() {
    let mut world = World::new(multicast());
    (1..=2).for_each(|member| world.register(member));
    world.members.get_mut(&1).unwrap().without_multicast = true;
    world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
    world.pass(seconds(5));
    let newest = world.newest();
    assert!(!world.members[&1].live(world.now).contains(&newest));
    assert_eq!(world.ask(1, newest), AskOutcome::Answered);
    assert!(world.members[&1].live(world.now).contains(&newest));
}

#[test]
fn a_policy_change_makes_what_is_new_and_ends_what_is_old_soon() {
    let mut world = World::new(group());
    world.register(1);
    let old = world.newest();
    let mut changed = world.settings.clone();
    changed.groups[0].teks = vec![
        tek(EspTransform::Aes256Gcm, "10.0.0.0/8", 3600),
        tek(EspTransform::Aes128CbcHmacSha256, "192.168.0.0/16", 3600),
    ];
    let plan = world.authority.plan(&changed);
    let shown: Vec<_> = plan.changed[0].1.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown[0].starts_with("SA removed: aes-128-gcm tunnel: 10.0.0.0/8 -> 10.0.0.0/8"), "{shown:?}");
    assert!(shown[1].starts_with("SA added: aes-256-gcm"), "{shown:?}");
    assert_eq!(world.newest(), old, "a plan changes nothing");
    world.settings = changed.clone();
    world.authority.reload(world.now(), changed.clone(), &mut world.random);
    world.settle();
    assert_eq!(world.group().teks().filter(|tek| !tek.replaced).count(), 2);
    assert_eq!(world.members[&1].live(world.now).len(), 3);
    world.pass(seconds(70));
    assert!(!world.members[&1].live(world.now).contains(&old));
    assert!(world.authority.plan(&changed).is_empty());
}

#[test]
fn a_group_that_is_no_longer_configured_is_deleted_at_its_members_and_then_forgotten() {
    let mut world = World::new(group());
    world.register(1);
    let mut changed = world.settings.clone();
    changed.groups.clear();
    world.authority.reload(world.now(), changed, &mut world.random);
    world.settle();
    assert!(world.members[&1].teks.is_empty() && world.members[&1].told_to_register);
    world.pass(seconds(15));
    assert!(world.authority.group(GROUP).is_none());
    world.register(1);
    assert_eq!(world.members[&1].refused, [Refusal::UnknownGroup]);
    // There is no name any longer, so the log has the number.
    assert_eq!(world.last_group, GROUP.to_string());
}

#[test]
fn registrations_wait_for_the_first_signing_key() {
    let mut world = World::new(group());
    world.store = crate::store::MemoryStore::default();
    world.make_keys = false;
    world.restart();
    let pull = world.request(1);
    assert!(!world.group().is_ready());
    world.make_keys = true;
    world.settle();
    assert!(world.group().is_ready());
    world.confirm(pull, None);
    assert!(world.members[&1].can_send(world.now));
}

#[test]
fn after_a_restart_members_carry_on_without_registering_and_lives_are_not_prolonged() {
    let mut world = World::new(group());
    (1..=3).for_each(|member| world.register(member));
    world.pass(seconds(5));
    let ends: Vec<_> = world.group().teks().map(|tek| tek.ends).collect();
    world.crash(Fault::Refused, seconds(3));
    let after: Vec<_> = world.group().teks().map(|tek| tek.ends).collect();
    assert_eq!(ends[0], after[0]);
    assert_eq!(world.group().members().len(), 3);
    world.authority.rekey(world.now(), GROUP, RekeyWhat::TeksAndKek, &mut world.random).unwrap();
    world.settle();
    assert!(world.members.values().all(|member| member.live(world.now).contains(&world.newest())));
    assert_eq!(world.members[&1].sids, [0]);
    world.register(4);
    assert!(world.members[&4].sids[0] > 2, "SIDs that may have been handed out are not again");
}

#[test]
fn a_wall_clock_put_back_over_a_restart_of_the_machine_prolongs_no_life() {
    let mut world = World::new(group());
    world.register(1);
    world.pass(seconds(20));
    let left = |world: &World| {
        let tek = world.group().teks().next().unwrap();
        tek.ends.since(world.authority.time(world.now))
    };
    let before = left(&world);
    world.boot = 2;
    world.up = seconds(1);
    world.unix -= seconds(7200);
    world.restart();
    assert!(left(&world) <= before + seconds(10), "at most what was left at the last checkpoint");
}

#[test]
fn sender_ids_that_run_out_start_again_with_new_sas_and_nobody_is_without_one() {
    let mut settings = group();
    settings.sid_bits = 8;
    settings.teks[0].lifetime = seconds(600);
    let mut world = World::new(settings);
    // The world checks that no SID comes twice under one SA.
    for round in 0..600u32 {
        world.register(u8::try_from(round % 5).unwrap() + 1);
        world.pass(Duration::from_millis(700));
        let told: Vec<_> =
            world.members.iter().filter(|(_, member)| member.told_to_register).map(|(id, _)| *id).collect();
        told.into_iter().for_each(|member| world.register(member));
        assert!(world.members.values().all(|member| member.can_send(world.now)), "round {round}");
    }
    let again =
        world.events.iter().filter(|e| matches!(e, What::AllRegisterAgain { why: Why::SenderIds, .. }));
    assert!(again.count() >= 2);
    assert!(world.members.values().all(|member| member.refused.is_empty()));
}

#[test]
fn a_member_takes_at_most_two_kibibytes() {
    let name = 2 * 512 + std::mem::size_of::<Member>() + 4 * std::mem::size_of::<MemberKey>() + 256;
    assert!(name <= 2048, "{name}");
}

#[test]
fn registrations_beyond_what_a_second_allows_are_told_to_come_again() {
    let mut world = World::new(group());
    world.settings.limits.registrations_per_s = 3;
    let settings = world.settings.clone();
    world.authority.reload(world.now(), settings, &mut world.random);
    (1..=5).for_each(|member| world.register(member));
    assert_eq!((world.count(Count::Registrations), world.count(Count::RefusedBusy)), (3, 2));
    world.pass(seconds(1));
    world.register(4);
    assert!(world.members[&4].registered);
}
