//! What members get that register, and how many may.

use super::world::*;
use crate::core::*;
use getvpn_gdoi::group::*;

#[test]
fn a_member_gets_as_many_sender_ids_as_it_wants_within_reason() {
    let mut settings = group();
    settings.sid_bits = 8;
    let mut world = World::new(settings);
    for (member, wanted, got) in [(1, Some(0), 1), (2, Some(4), 4), (3, None, 1)] {
        let pull = world.request(member);
        world.confirm(pull, wanted);
        assert_eq!(world.members[&member].sids.len(), got);
    }
    let pull = world.request(4);
    world.confirm(pull, Some(65));
    assert_eq!(world.members[&4].refused, [Refusal::TooManySenderIds]);
}

#[test]
fn a_third_message_that_comes_again_gets_nothing_and_it_is_known_whose_it_was() {
    let mut world = World::new(group());
    let pull = world.request(1);
    world.confirm(pull, None);
    let sids = world.members[&1].sids.clone();
    let now = world.now();
    world.authority.pull_confirmed(now, pull, peer(1).address, None, &mut world.random);
    world.settle();
    assert_eq!((world.members[&1].sids.clone(), world.count(Count::UnknownPull)), (sids, 1));
    let last = world.authority.counters().last(Count::UnknownPull).unwrap();
    assert_eq!((last.from, last.at), (peer(1).address, now.instant));
}

#[test]
fn without_counter_modes_there_are_no_sender_ids() {
    let mut settings = group();
    settings.teks = vec![tek(EspTransform::Aes128CbcHmacSha256, "10.0.0.0/8", 60)];
    let mut world = World::new(settings);
    let pull = world.request(1);
    world.confirm(pull, Some(3));
    assert!(world.members[&1].sids.is_empty() && world.members[&1].can_send(world.now));
}

#[test]
fn a_full_server_refuses_and_gives_a_silent_members_place_to_a_new_one() {
    let mut world = World::new(group());
    world.settings.limits.members = 2;
    let settings = world.settings.clone();
    world.authority.reload(world.now(), settings, &mut world.random);
    (1..=3).for_each(|member| world.register(member));
    assert_eq!(world.members[&3].refused, [Refusal::GroupFull]);
    world.members.get_mut(&1).unwrap().deaf = true;
    for _ in 0..3 {
        world.authority.rekey(world.now(), GROUP, RekeyWhat::Teks, &mut world.random).unwrap();
        world.pass(seconds(5));
    }
    world.register(3);
    assert!(world.members[&3].registered);
    assert!(world.group().members().at(peer(1).address).is_none());
}
