//! Random sequences of everything that can happen, with the server dying at any point. The world checks
//! SIDs, SPIs, SEQs, lives and snapshots at every message; here it is checked that the server always has
//! something to offer.

use super::world::*;
use crate::core::*;
use crate::store::Fault;
use proptest::prelude::*;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Register(u8),
    Request(u8),
    ConfirmOldest(Option<u16>),
    Pass(u64),
    Rekey(bool),
    Remove(u8),
    Readmit,
    Ask(u8),
    Deaf(u8, bool),
    /// Dies before a commit, after it and before sending, or without anything pending.
    Crash(u8, u64, i64, bool),
    /// Does something that is still uncommitted when it dies.
    DieWithin(u8, u8),
    SlowKeys(bool),
    Reload(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let member = 1u8..6;
    prop_oneof![
        4 => member.clone().prop_map(Step::Register),
        2 => member.clone().prop_map(Step::Request),
        2 => prop::option::of(0u16..5).prop_map(Step::ConfirmOldest),
        6 => (1u64..20_000).prop_map(Step::Pass),
        2 => any::<bool>().prop_map(Step::Rekey),
        1 => member.clone().prop_map(Step::Remove),
        1 => Just(Step::Readmit),
        2 => member.clone().prop_map(Step::Ask),
        1 => (member.clone(), any::<bool>()).prop_map(|(member, deaf)| Step::Deaf(member, deaf)),
        2 => (0u8..3, 0u64..30, -7200i64..7200, any::<bool>())
            .prop_map(|(kind, away, step, reboot)| Step::Crash(kind, away, step, reboot)),
        2 => (member, 0u8..4).prop_map(|(member, what)| Step::DieWithin(member, what)),
        1 => any::<bool>().prop_map(Step::SlowKeys),
        1 => (0u8..6).prop_map(Step::Reload),
    ]
}

fn reloaded(settings: &GroupSettings, variant: u8) -> GroupSettings {
    let base = if variant.is_multiple_of(2) { group() } else { multicast() };
    let mut new = GroupSettings { sid_bits: settings.sid_bits, kek: settings.kek, ..base };
    new.teks[0].lifetime = seconds(if variant < 3 { 20 } else { 40 });
    if variant == 4 {
        new.teks.push(tek(getvpn_gdoi::group::EspTransform::Aes256Gcm, "192.168.0.0/16", 25));
    }
    if variant == 5 {
        new.sid_bits = 12;
    }
    new
}

fn run(seed: u64, first: GroupSettings, in_file: bool, steps: Vec<Step>) {
    let mut world = World::seeded(first, seed);
    if in_file {
        world.write_to_file();
    }
    let mut pulls = Vec::new();
    for step in steps {
        match step {
            Step::Register(member) => world.register(member),
            Step::Request(member) => pulls.push(world.request(member)),
            Step::ConfirmOldest(wanted) => {
                if !pulls.is_empty() {
                    world.confirm(pulls.remove(0), wanted);
                }
            }
            Step::Pass(ms) => world.pass(Duration::from_millis(ms)),
            Step::Rekey(kek) => {
                let what = if kek { RekeyWhat::TeksAndKek } else { RekeyWhat::Teks };
                let _ = world.authority.rekey(world.now(), GROUP, what, &mut world.random);
                world.settle();
            }
            Step::Remove(member) => {
                if let Some(id) = world.group().members().at(peer(member).address) {
                    world.authority.remove_member(world.now(), GROUP, id, &mut world.random).unwrap();
                    world.settle();
                    assert!(world.group().members().get(id).is_none());
                }
            }
            Step::Readmit => {
                let name = world.group().barred().iter().next().map(ToString::to_string);
                if let Some(name) = name {
                    world.authority.readmit_member(GROUP, &name).unwrap();
                    world.settle();
                }
            }
            Step::Ask(member) => {
                let spi = world.group().teks().next().map(|tek| tek.spi);
                if let Some(spi) = spi {
                    world.ask(member, spi);
                }
            }
            Step::Deaf(member, deaf) => world.members.entry(member).or_default().deaf = deaf,
            Step::Crash(kind, away, clock, reboot) => {
                if reboot {
                    world.boot += 1;
                    world.up = seconds(1);
                }
                let by = seconds(clock.unsigned_abs());
                if reboot && clock > 0 {
                    world.gained += by;
                }
                world.unix = if clock < 0 { world.unix - by } else { world.unix + by };
                let fault = [Fault::None, Fault::Refused, Fault::WrittenUnnoticed][usize::from(kind)];
                world.crash(fault, seconds(away));
                pulls.clear();
            }
            Step::DieWithin(member, what) => {
                let now = world.now();
                match what {
                    0 => {
                        let _ = world.authority.rekey(now, GROUP, RekeyWhat::TeksAndKek, &mut world.random);
                    }
                    1 => {
                        if let Some(pull) = pulls.pop() {
                            let from = peer(member).address;
                            world.authority.pull_confirmed(now, pull, from, None, &mut world.random);
                        }
                    }
                    2 => {
                        let spi = world.group().teks().next().map(|tek| tek.spi);
                        if let Some(spi) = spi {
                            world.authority.invalid_spi(now, &peer(member), spi, &mut world.random);
                        }
                    }
                    _ => world.authority.handle_timeout(now, &mut world.random),
                }
                let fault = if world.draw(2) == 0 { Fault::Refused } else { Fault::WrittenUnnoticed };
                world.crash(fault, seconds(1));
                pulls.clear();
            }
            Step::SlowKeys(slow) => {
                world.make_keys = !slow;
                world.settle();
            }
            Step::Reload(variant) => {
                let mut settings = world.settings.clone();
                settings.groups[0] = reloaded(&settings.groups[0], variant);
                world.settings = settings.clone();
                world.authority.reload(world.now(), settings, &mut world.random);
                world.settle();
            }
        }
        check(&mut world);
    }
}

/// Once signing keys come at once, the group always has a live SA of each kind and a Rekey SA.
fn check(world: &mut World) {
    let now = world.now();
    world.authority.handle_timeout(now, &mut world.random);
    world.settle();
    if !world.make_keys {
        return;
    }
    let time = world.authority.time(world.now);
    let group = world.group();
    assert!(group.is_ready());
    for settings in &group.settings().teks {
        let live = group.teks().any(|tek| *tek.shape == settings.shape && tek.ends > time && !tek.replaced);
        assert!(live, "no live SA");
    }
    assert!(group.teks().count() < 64, "SAs are bounded: {}", group.teks().count());
    assert!(group.keks().len() < 64, "Rekey SAs are bounded: {}", group.keks().len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_handed_out_twice_and_nobody_is_without_an_sa_whatever_happens(
        seed in any::<u64>(),
        by_multicast in any::<bool>(),
        narrow in any::<bool>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut settings = if by_multicast { multicast() } else { group() };
        settings.teks[0].lifetime = seconds(20);
        settings.kek.lifetime = seconds(45);
        if narrow {
            settings.sid_bits = 8;
        }
        run(seed, settings, false, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn the_same_holds_with_the_store_in_a_file(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut settings = group();
        settings.teks[0].lifetime = seconds(20);
        settings.kek.lifetime = seconds(45);
        run(seed, settings, true, steps);
    }
}
