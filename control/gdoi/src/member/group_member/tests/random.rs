//! Hours of rekeys, loss, restarts and mishaps in any order: the member comes back into step.

use super::*;

fn pick(random: &mut SeededRandom, below: u32) -> u32 {
    let mut octets = [0; 4];
    random.fill(&mut octets);
    u32::from_be_bytes(octets) % below
}

/// One thing that happens.
fn happen(world: &mut World, random: &mut SeededRandom, next_spi: &mut u32) {
    let now = world.now;
    let push = |world: &mut World| {
        let push = world.ks().push(now);
        world.deliver(0, push);
    };
    match pick(random, 9) {
        0 => {
            world.ks().add(*next_spi, 600 + u64::from(pick(random, 3000)), now);
            *next_spi += 1;
            push(world);
        }
        1 => {
            world.ks().roll_kek(86_400, now);
            let push = world.ks().push_rollover(now);
            world.deliver(0, push);
        }
        2 => push(world),
        3 => world.ks().restart(),
        4 => world.ks().up = !world.ks().up,
        5 => {
            let spis = world.spis();
            if !spis.is_empty() {
                let at = pick(random, u32::try_from(spis.len()).unwrap());
                let spi = EspSpi(spis[usize::try_from(at).unwrap()]);
                world.call(|m, now, random| m.delete_sa(now, spi, random));
            }
        }
        6 => {
            let spis: Vec<u32> = world.ks().teks.iter().map(|(tek, _)| tek.spi.0).collect();
            spis.into_iter().for_each(|spi| world.packets(spi));
        }
        7 => world.packets(0x7000_0000 + pick(random, 1000)),
        _ => world.run(secs(u64::from(pick(random, 900)))),
    }
}

/// What must hold at any time.
fn check(world: &World) {
    for sa in world.member.sas() {
        assert!(sa.expires > world.now, "{} outlives its life", sa.spi());
    }
    let can_send = |sa: &SaEntry| sa.can_send();
    assert_eq!(
        world.senders().len(),
        usize::from(world.member.sas().iter().any(can_send)),
        "one of the SAs that can send does: {:?}",
        world.spis()
    );
}

fn story(seed: u64) {
    let mut world = World::new(1);
    let mut random = SeededRandom::new(seed);
    let mut loss = SeededRandom::new(seed + 1_000_000);
    let share = pick(&mut random, 80);
    world.loses = Box::new(move |_, _| pick(&mut loss, 256) < share);
    let mut next_spi = 0x1002;
    for _ in 0..60 {
        happen(&mut world, &mut random, &mut next_spi);
        world.run(Duration::from_millis(u64::from(pick(&mut random, 3000))));
        check(&world);
    }
    // The network and the key server are well again, and there is traffic under its newest SA.
    world.loses = Box::new(|_, _| false);
    world.ks().up = true;
    let now = world.now;
    let spi = 0x9999;
    world.ks().add(spi, 3600, now);
    let mut waited = 0;
    while !world.has(spi) {
        assert!(waited < 120, "seed {seed}: {:?}", world.member.status(world.now));
        world.packets(spi);
        world.run(secs(1));
        waited += 1;
    }
    world.run(secs(120));
    check(&world);
    assert_eq!(world.member.state(), MemberState::InStep, "seed {seed}");
    assert_eq!(world.senders(), [spi], "seed {seed}");
}

#[test]
fn a_member_comes_back_into_step_whatever_happened() {
    (0..150).for_each(story);
}
