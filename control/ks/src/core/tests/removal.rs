use super::world::*;
use crate::core::*;
use getvpn_gdoi::group::*;
use std::collections::HashSet;
use std::time::Duration;

/// Everything that a member has ever been given.
fn secrets(world: &World, member: u8) -> HashSet<Vec<u8>> {
    world.members[&member].teks.values().map(|sa| sa.cipher.clone()).collect()
}

fn remove(world: &mut World, member: u8) {
    let id = world.member_id(member);
    world.authority.remove_member(world.now(), GROUP, id, &mut world.random).unwrap();
    world.settle();
}

#[test]
fn a_removed_member_gets_no_key_any_more_and_is_told_to_delete_what_it_has() {
    let mut world = World::new(group());
    (1..=4).for_each(|member| world.register(member));
    let before = secrets(&world, 1);
    let old = world.newest();
    remove(&mut world, 1);
    assert!(world.members[&1].teks.is_empty() && world.members[&1].keks.is_empty());
    for round in 0..200 {
        world.pass(Duration::from_millis(500));
        assert!(secrets(&world, 1).is_subset(&before));
        let others = world.members.iter().filter(|(id, _)| **id != 1);
        assert!(others.into_iter().all(|(_, member)| member.can_send(world.now)), "round {round}");
    }
    assert!(world.members[&2].teks.len() > 1);
    assert!(!world.members[&2].live(world.now).contains(&old));
    world.register(1);
    assert_eq!(world.members[&1].refused, [Refusal::Removed]);
    assert_eq!(world.count(Count::Registrations), 4);
}

#[test]
fn the_old_sas_end_as_soon_as_all_others_can_have_the_new_ones_and_are_deleted_by_name() {
    let mut settings = group();
    settings.teks[0].lifetime = seconds(3600);
    let mut world = World::new(settings);
    (1..=3).for_each(|member| world.register(member));
    let old = world.newest();
    remove(&mut world, 1);
    let ends = world.group().teks().find(|tek| tek.spi == old).unwrap().ends;
    assert!(ends.since(world.authority.time(world.now)) <= seconds(15));
    world.pass(seconds(16));
    assert!(!world.members[&2].teks.contains_key(&old), "deleted, not only ended");
    assert!(world.events.iter().any(|e| matches!(e, What::RekeyBegun { why: Why::Withdrawal, .. })));
}

#[test]
fn by_multicast_all_others_register_again_because_the_removed_one_hears_every_rekey() {
    let mut settings = multicast();
    settings.teks[0].lifetime = seconds(600);
    let mut world = World::new(settings);
    (1..=4).for_each(|member| world.register(member));
    let before = secrets(&world, 1);
    remove(&mut world, 1);
    assert!(world.members.values().all(|member| member.told_to_register));
    for _ in 0..100 {
        world.pass(Duration::from_millis(300));
        let told: Vec<_> =
            world.members.iter().filter(|(_, member)| member.told_to_register).map(|(id, _)| *id).collect();
        told.into_iter().for_each(|member| world.register(member));
        assert!(secrets(&world, 1).is_subset(&before));
        assert!((2..=4).all(|member| world.members[&member].can_send(world.now)));
    }
    assert!(world.members[&1].refused.iter().all(|why| *why == Refusal::Removed));
    assert!(!world.members[&1].refused.is_empty());
    assert!(world.members[&2].live(world.now).contains(&world.newest()));
    assert!(!secrets(&world, 1).contains(&world.members[&2].teks[&world.newest()].cipher));
}

#[test]
fn a_member_removed_between_messages_2_and_4_is_refused() {
    let mut world = World::new(group());
    world.register(1);
    let pull = world.request(1);
    remove(&mut world, 1);
    world.confirm(pull, None);
    assert_eq!(world.members[&1].refused, [Refusal::Removed]);
}

#[test]
fn a_removal_survives_a_restart_until_the_member_is_readmitted() {
    let mut world = World::new(group());
    world.register(1);
    world.register(2);
    remove(&mut world, 1);
    world.restart();
    world.register(1);
    assert_eq!(world.members[&1].refused, [Refusal::Removed]);
    let name = world.group().barred().iter().next().unwrap().to_string();
    assert_eq!(world.authority.readmit_member(GROUP, "nobody"), Err(CommandError::NoSuchMember));
    world.authority.readmit_member(GROUP, &name).unwrap();
    world.settle();
    world.restart();
    world.register(1);
    assert!(world.members[&1].live(world.now).contains(&world.newest()));
}

#[test]
fn who_is_no_longer_authorised_is_removed_by_a_reload_and_by_a_restart() {
    for restart in [false, true] {
        let mut world = World::new(group());
        (1..=3).for_each(|member| world.register(member));
        let hosts = [2, 3].map(|host| PeerSettings {
            who: Who::Address(format!("10.0.1.{host}/32").parse().unwrap()),
            groups: vec![GROUP],
        });
        world.settings.access = Access::new(&hosts);
        let settings = world.settings.clone();
        assert_eq!(world.authority.plan(&settings).members_removed, [("finance".into(), "10.0.1.1".into())]);
        if restart {
            world.restart();
        } else {
            world.authority.reload(world.now(), settings, &mut world.random);
            world.settle();
        }
        assert!(world.members[&1].teks.is_empty());
        assert!(world.members[&2].live(world.now).contains(&world.newest()));
        world.register(1);
        assert_eq!(world.members[&1].refused, [Refusal::UnknownPeer]);
    }
}

#[test]
fn an_invalid_spi_from_a_removed_member_gets_nothing() {
    let mut world = World::new(group());
    world.register(1);
    world.register(2);
    remove(&mut world, 1);
    assert_eq!(world.ask(1, world.newest()), AskOutcome::Foreign);
    assert_eq!(world.ask(1, EspSpi(1)), AskOutcome::NoSuchSa);
}
