use super::*;
use crate::crypto::SeededRandom;
use crate::member::budget::Rate;
use proptest::prelude::*;

const SPI: EspSpi = EspSpi(0x0001_0001);

struct Ladder {
    recovery: Recovery,
    now: Instant,
    random: SeededRandom,
}

impl Ladder {
    fn new() -> Self {
        Self::with(RecoveryConfig::default())
    }

    fn with(config: RecoveryConfig) -> Self {
        let now = Instant::now();
        let shared = SharedBudget::new(SharedBudget::DEFAULT, now);
        Self { recovery: Recovery::new(config, shared, now), now, random: SeededRandom::new(1) }
    }

    fn packets(&mut self, spi: EspSpi, plausibility: Plausibility) {
        self.recovery.packets(spi, plausibility, self.now);
    }

    /// All that is due now.
    fn due(&mut self) -> Vec<Due> {
        std::iter::from_fn(|| self.recovery.poll(self.now, &mut self.random)).collect()
    }

    /// Goes from one thing that is due to the next, for so long. With the milliseconds since now.
    fn run(&mut self, span: Duration) -> Vec<(u128, Due)> {
        let start = self.now;
        let mut all = Vec::new();
        loop {
            let due = self.due();
            all.extend(due.into_iter().map(|due| ((self.now - start).as_millis(), due)));
            match self.recovery.next(self.now) {
                Some(at) if at <= start + span => {
                    assert!(at > self.now, "stuck at {:?}", self.now - start);
                    self.now = at;
                }
                _ => break,
            }
        }
        self.now = start + span;
        all
    }

    fn ended(&mut self) -> Vec<Ended> {
        std::iter::from_fn(|| self.recovery.poll_ended()).collect()
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn sync_08_packets_with_an_unknown_spi_are_a_reason_to_ask_once() {
    let mut ladder = Ladder::new();
    for _ in 0..1000 {
        ladder.packets(SPI, Plausibility::Plausible);
    }
    assert_eq!(ladder.due(), [Due::Ask(SPI, 1)]);
    for _ in 0..1000 {
        ladder.packets(SPI, Plausibility::Plausible);
    }
    assert_eq!(ladder.due(), []);
    assert_eq!(ladder.recovery.statistics().already_asked, 1000);
    ladder.now += ms(4);
    ladder.recovery.installed(SPI, ladder.now);
    let [ended] = ladder.ended()[..] else { panic!() };
    assert_eq!((ended.end, ended.after, ended.tries), (End::Recovered, ms(4), 1));
    assert_eq!(ladder.recovery.statistics().times.percentile(50), Some(ms(4)));
    assert_eq!(ladder.recovery.next(ladder.now), None);
}

#[test]
fn sync_05_no_rekey_in_time_asks_again_up_to_the_count_then_registers() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Plausible);
    let expected =
        [(0, Due::Ask(SPI, 1)), (200, Due::Ask(SPI, 2)), (600, Due::Ask(SPI, 3)), (1400, Due::Register)];
    assert_eq!(ladder.run(ms(3000)), expected);
    // The registration brings it.
    ladder.recovery.installed(SPI, ladder.now);
    ladder.recovery.registered(ladder.now - ms(100), ladder.now);
    let [ended] = ladder.ended()[..] else { panic!() };
    assert_eq!((ended.end, ended.after, ended.tries), (End::Recovered, ms(3000), 3));
}

#[test]
fn sync_05_count_and_interval_are_configurable() {
    let mut ladder = Ladder::with(RecoveryConfig { tries: 2, interval: ms(50), ..RecoveryConfig::default() });
    ladder.packets(SPI, Plausibility::Unverifiable);
    let expected = [(0, Due::Ask(SPI, 1)), (50, Due::Ask(SPI, 2)), (150, Due::Register)];
    assert_eq!(ladder.run(ms(3000)), expected);
}

#[test]
fn sync_05_a_rekey_stops_the_repetitions() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Plausible);
    assert_eq!(ladder.run(ms(300)).len(), 2);
    ladder.recovery.installed(SPI, ladder.now);
    assert_eq!(ladder.run(ms(10_000)), []);
}

#[test]
fn sync_05_registrations_of_the_ladder_back_off_to_a_minute_with_jitter() {
    let mut ladder = Ladder::with(RecoveryConfig { unknown_for: ms(1), ..RecoveryConfig::default() });
    let start = ladder.now;
    let mut registrations = Vec::new();
    // Packets of an SPI that no registration brings, all the time.
    while ladder.now < start + Duration::from_secs(1200) {
        ladder.packets(SPI, Plausibility::Plausible);
        for (at, due) in ladder.run(ms(100)) {
            if due == Due::Register {
                let at = ladder.now - ms(100) + ms(u64::try_from(at).unwrap());
                registrations.push(at);
                ladder.recovery.registered(at, ladder.now);
            }
        }
    }
    let gaps: Vec<Duration> = registrations.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[0] < ms(4000), "{gaps:?}");
    assert!(gaps.iter().skip(8).all(|gap| (ms(44_000)..ms(78_000)).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().skip(8).any(|gap| gap.abs_diff(gaps[8]) > ms(2000)), "no jitter: {gaps:?}");
}

#[test]
fn an_spi_that_no_registration_brings_costs_nothing_for_a_while() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Plausible);
    ladder.run(ms(1400));
    ladder.recovery.registered(ladder.now, ladder.now);
    assert_eq!(ladder.ended()[0].end, End::Unknown);
    for _ in 0..59 {
        ladder.packets(SPI, Plausibility::Plausible);
        assert_eq!(ladder.run(ms(1000)), []);
    }
    assert_eq!((ladder.recovery.statistics().remembered, ladder.recovery.remembered()), (59, 1));
    ladder.now += ms(1000);
    ladder.packets(SPI, Plausibility::Plausible);
    assert_eq!(ladder.due(), [Due::Ask(SPI, 1)]);
}

#[test]
fn sync_05_an_spi_that_is_asked_for_in_vain_too_soon_after_a_registration_has_its_turn_after_the_pause() {
    let config = RecoveryConfig { interval: ms(50), ..RecoveryConfig::default() };
    let mut ladder = Ladder::with(config);
    ladder.packets(SPI, Plausibility::Plausible);
    assert_eq!(ladder.run(ms(350)).last(), Some(&(350, Due::Register)));
    ladder.recovery.installed(SPI, ladder.now);
    ladder.recovery.registered(ladder.now, ladder.now);
    // It is lost again at once, and again nobody answers.
    let (lost, mut registered) = (ladder.now, None);
    while registered.is_none() && ladder.now < lost + ms(10_000) {
        ladder.packets(SPI, Plausibility::Plausible);
        let due = ladder.run(ms(10));
        registered = due.iter().any(|(_, due)| *due == Due::Register).then_some(ladder.now - lost);
    }
    assert!(registered.is_some_and(|after| after < ms(1_250 + 2 * 350)), "{registered:?}");
}

#[test]
fn sync_03_an_spi_that_the_key_server_names_is_asked_for_though_it_was_unknown() {
    let mut ladder = Ladder::new();
    ladder.recovery.gone(SPI, ladder.now);
    ladder.packets(SPI, Plausibility::Plausible);
    assert_eq!(ladder.due(), []);
    ladder.recovery.told(SPI, Cause::KeysWithoutPolicy, ladder.now);
    assert_eq!(ladder.due(), [Due::Ask(SPI, 1)]);
}

#[test]
fn sync_03_a_policy_without_keys_is_asked_for_and_given_up_without_a_registration() {
    let mut ladder = Ladder::new();
    ladder.recovery.told(SPI, Cause::PolicyWithoutKeys, ladder.now);
    let due = ladder.run(ms(5000));
    assert_eq!(due.len(), 3);
    let [ended] = ladder.ended()[..] else { panic!() };
    assert_eq!((ended.end, ended.cause), (End::Unknown, Cause::PolicyWithoutKeys));
}

#[test]
fn what_cannot_be_used_is_not_asked_for_until_its_life_is_over() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Plausible);
    ladder.due();
    ladder.recovery.refused(SPI, ladder.now + ms(3_600_000), ladder.now);
    assert_eq!(ladder.ended()[0].end, End::Refused);
    ladder.now += ms(3_599_000);
    ladder.packets(SPI, Plausibility::Plausible);
    assert_eq!(ladder.due(), []);
}

#[test]
fn when_no_key_server_answers_the_spi_waits_for_the_registration_while_packets_come() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Plausible);
    assert_eq!(ladder.run(ms(100_000)).last().unwrap().1, Due::Register);
    assert!(ladder.recovery.asking().next().unwrap().awaits_registration);
    assert_eq!(ladder.run(ms(400_000)), []);
    assert_eq!(ladder.ended()[0].end, End::Abandoned);
}

#[test]
fn phase_1_that_was_lost_and_is_back_asks_again_at_once() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Plausible);
    ladder.run(ms(650));
    ladder.recovery.ask_again(ladder.now);
    assert_eq!(ladder.due(), [Due::Ask(SPI, 4)]);
}

#[test]
fn sync_05_asking_again_over_a_new_phase_1_leads_to_the_registration_all_the_same() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Unverifiable);
    assert_eq!(ladder.run(ms(880)).len(), 3);
    ladder.recovery.ask_again(ladder.now);
    assert_eq!(ladder.run(ms(1000)), [(0, Due::Ask(SPI, 4)), (800, Due::Register)]);
    ladder.recovery.registered(ladder.now, ladder.now);
    assert_eq!((ladder.ended()[0].end, ladder.recovery.remembered()), (End::Unknown, 1));
}

#[test]
fn sync_05_a_phase_1_that_is_made_anew_time_and_again_does_not_put_off_the_registration_for_ever() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Plausible);
    let mut due = Vec::new();
    for _ in 0..10 {
        due.extend(ladder.run(ms(500)).into_iter().map(|(_, due)| due));
        ladder.recovery.ask_again(ladder.now);
    }
    assert_eq!(due.iter().filter(|due| **due == Due::Register).count(), 1, "{due:?}");
    assert!((4..=7).contains(&due.len()), "{due:?}");
}

/// Random SPIs at a high rate for a while, with a real one among them from half a second on.
fn flood(plausibility: Plausibility, real: Plausibility) -> (Ladder, u64, Duration) {
    let mut ladder = Ladder::new();
    let start = ladder.now;
    let mut asked_real = None;
    let (mut sent, mut spi) = (0_u64, 0x4000_0000_u32);
    while ladder.now < start + ms(10_000) {
        for _ in 0..300 {
            spi = spi.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ladder.packets(EspSpi(spi | 256), plausibility);
        }
        if ladder.now >= start + ms(500) && asked_real.is_none() {
            (0..10).for_each(|_| ladder.packets(SPI, real));
        }
        for (_, due) in ladder.run(ms(10)) {
            match due {
                Due::Ask(asked, _) => {
                    sent += 1;
                    if asked == SPI {
                        asked_real.get_or_insert(ladder.now - start - ms(500));
                    }
                }
                Due::Register => ladder.recovery.registered(ladder.now, ladder.now),
            }
        }
    }
    (ladder, sent, asked_real.expect("the real one is asked for"))
}

#[test]
fn a_flood_of_unverifiable_spis_stays_within_the_limit_and_does_not_hide_a_real_one() {
    let (ladder, sent, after) = flood(Plausibility::Unverifiable, Plausibility::Unverifiable);
    assert!(sent <= 32 + 20 * 10, "{sent}");
    assert!(after <= ms(300), "{after:?}");
    assert!(ladder.recovery.episodes.len() <= 256);
    assert!(ladder.recovery.statistics().registrations <= 5);
}

#[test]
fn a_flood_of_spis_that_the_key_server_might_have_drawn_does_not_hide_the_one_that_most_packets_have() {
    let mut ladder = Ladder::new();
    let start = ladder.now;
    let (mut sent, mut number, mut asked_real) = (0, 0_u32, None);
    while ladder.now < start + ms(10_000) {
        // As a worker tells of them: each at most once in a tenth of a second, with how many packets came.
        for _ in 0..1_000 {
            number = (number + 1) % 30_000;
            ladder.packets(EspSpi(0x4000_0000 + number), Plausibility::Plausible);
        }
        if ladder.now >= start + ms(5_000) && asked_real.is_none() {
            ladder.recovery.many_packets(SPI, Plausibility::Plausible, 500, ladder.now);
        }
        for (_, due) in ladder.run(ms(100)) {
            match due {
                Due::Ask(SPI, _) => {
                    asked_real.get_or_insert(ladder.now - start - ms(5_000));
                    sent += 1;
                }
                Due::Ask(..) => sent += 1,
                Due::Register => ladder.recovery.registered(ladder.now, ladder.now),
            }
        }
    }
    assert!(asked_real.is_some_and(|after| after <= ms(200)), "{asked_real:?}");
    assert!(sent <= 32 + 20 * 10, "{sent}");
}

#[test]
fn a_flood_of_implausible_spis_is_asked_for_at_a_trickle_and_hides_nothing() {
    let (ladder, sent, after) = flood(Plausibility::Implausible, Plausibility::Plausible);
    assert!(sent <= 2 + 10 + 3, "{sent}");
    assert!(after <= ms(20), "{after:?}");
    // Only the real one leads to a registration.
    assert!(ladder.recovery.statistics().registrations <= 1);
}

#[test]
fn an_implausible_spi_gets_through_when_there_is_no_flood() {
    let mut ladder = Ladder::new();
    ladder.packets(SPI, Plausibility::Implausible);
    assert_eq!(ladder.due(), [Due::Ask(SPI, 1)]);
}

#[test]
fn one_spi_that_is_lost_again_and_again_has_a_budget_of_its_own() {
    let mut ladder = Ladder::new();
    let mut asked = 0;
    for _ in 0..1000 {
        ladder.packets(SPI, Plausibility::Plausible);
        asked += ladder.run(ms(10)).iter().filter(|(_, due)| matches!(due, Due::Ask(..))).count();
        ladder.recovery.installed(SPI, ladder.now);
    }
    assert!((20..=6 + 2 * 10).contains(&asked), "{asked}");
}

#[test]
fn all_groups_together_have_a_budget() {
    let now = Instant::now();
    let shared = SharedBudget::new(Rate { burst: 3, per_second: 1 }, now);
    let mut asked = 0;
    for _ in 0..2 {
        let mut recovery = Recovery::new(RecoveryConfig::default(), shared.clone(), now);
        for spi in 0..5 {
            recovery.told(EspSpi(1000 + spi), Cause::RoomAppeared, now);
        }
        while recovery.poll(now, &mut SeededRandom::new(1)).is_some() {
            asked += 1;
        }
    }
    assert_eq!(asked, 3);
}

proptest! {
    #[test]
    fn whatever_happens_the_tables_are_bounded_and_the_ladder_ends(
        steps in prop::collection::vec((0..5_u8, 0..40_u32, 0..3_u8, 0..400_u64), 1..300),
    ) {
        let config = RecoveryConfig { episodes: 16, remembered: 8, ..RecoveryConfig::default() };
        let mut ladder = Ladder::with(config);
        let start = ladder.now;
        let mut asked = 0_u64;
        for (what, spi, plausibility, wait) in steps {
            let (spi, now) = (EspSpi(1000 + spi), ladder.now);
            match what {
                0 => drop(ladder.recovery.installed(spi, now)),
                1 => ladder.recovery.told(spi, Cause::KeysWithoutPolicy, now),
                2 => ladder.recovery.registered(now, now),
                _ => ladder.packets(spi, [Plausibility::Plausible, Plausibility::Implausible, Plausibility::Unverifiable][usize::from(plausibility)]),
            }
            asked += ladder.run(ms(wait)).iter().filter(|(_, due)| matches!(due, Due::Ask(..))).count() as u64;
            prop_assert!(ladder.recovery.episodes.len() <= 32 && ladder.recovery.remembered() <= 8);
        }
        let most = 32.0 + 2.0 + 64.0 + (ladder.now - start).as_secs_f64() * 53.0;
        prop_assert!(asked as f64 <= most + 1.0);
        prop_assert_eq!(asked, ladder.recovery.statistics().asked);
        // Left alone, and with a registration that works, everything comes to its end.
        ladder.run(ms(60_000));
        ladder.recovery.registered(ladder.now, ladder.now);
        prop_assert!(!ladder.recovery.is_asking());
        prop_assert_eq!(ladder.recovery.next(ladder.now), None);
    }
}
