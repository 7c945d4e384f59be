use super::*;
use getvpn_ks::core::Transport;
use std::collections::BTreeSet;

/// One kind of SA that lives eight hours, rekeys by multicast; nothing is lost, and no fault is drawn.
fn calm_world(members: usize) -> World {
    let mut world = World::new(Options { loss: Some(0.0), ..Options::new(1, members, 1.0) });
    let group = &mut world.settings.groups[0];
    group.teks.truncate(1);
    group.teks[0].lifetime = Duration::from_secs(8 * 3600);
    group.rekey.transport = Transport::Multicast(crate::scenario::MULTICAST);
    world.scenario.group = group.clone();
    world.begin();
    world
}

/// Lets this much time pass, or a little more.
fn pass(world: &mut World, seconds: u64) -> Result<(), String> {
    let until = world.now + Duration::from_secs(seconds);
    while world.now < until {
        let (at, event) = world.queue.pop().expect("it never ends");
        world.now = at;
        if !matches!(event, Event::Fault) {
            world.handle(event)?;
        }
    }
    Ok(())
}

#[test]
fn a_refused_sa_is_a_disturbance_from_when_it_is_refused_and_is_there_within_the_bound() {
    let mut world = calm_world(1);
    pass(&mut world, 600).unwrap();
    assert!(world.members[0].sends && world.members[0].out_of_step.is_none());
    // The member misses a rekey, and nobody is there who would send it packets of the new SA.
    let partition = world.network.cut(&BTreeSet::from([Node::Member(0)])).unwrap();
    world.members[0].refuses_next = true;
    let before = world.required.teks.clone();
    world.rekey(false).unwrap();
    let missed = world.required.teks.iter().copied().find(|spi| !before.contains(spi)).unwrap();
    pass(&mut world, 60).unwrap();
    world.heal(partition);
    let healed = world.now;
    // It is told at the end of the old SA, by the same PUSH that deletes it.
    while world.members[0].refuses_next {
        pass(&mut world, 1).unwrap();
    }
    assert!(world.now - healed > world.bound, "{:?}", world.now - healed);
    let control = world.members[0].control.as_ref().unwrap();
    assert!(control.sas().is_empty() && !world.members[0].sends);
    // It asks for the one that was refused.
    let bound = world.bound.as_secs();
    pass(&mut world, bound).unwrap();
    let control = world.members[0].control.as_ref().unwrap();
    assert!(control.sas().iter().any(|sa| sa.spi() == missed && sa.sends));
}
