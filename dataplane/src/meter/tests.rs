use super::*;

#[test]
fn a_stage_is_its_own_index_and_told_apart_by_side_and_name() {
    let mut names = std::collections::HashSet::new();
    for (i, stage) in Stage::ALL.iter().enumerate() {
        assert_eq!(*stage as usize, i);
        assert!(names.insert((stage.origin() == Origin::Wan, stage.name())), "{}", stage.name());
    }
}

#[test]
fn time_is_busy_or_idle_as_the_turn_was() {
    let mut meter = Meter::new(1000, 4_000_000, false);
    meter.begin(1100, false);
    meter.received(Origin::Wan, 32);
    meter.begin(1400, true);
    meter.begin(1500, false);
    meter.publish();
    let runtime = meter.shared().read();
    assert_eq!((runtime.busy, runtime.idle, runtime.at), (300, 200, 1500));
    assert_eq!((runtime.busy_turns, runtime.idle_turns, runtime.bursts, runtime.packets), (1, 2, 1, 32));
}

#[test]
fn a_turn_is_too_long_after_a_millisecond_unless_the_worker_slept_in_it() {
    for (spins, stalls, stalled) in [(true, 2, 3001), (false, 1, 1001)] {
        let mut meter = Meter::new(1000, 1_000_000, spins);
        meter.begin(2000, true);
        meter.begin(3001, true);
        meter.begin(5001, false);
        meter.publish();
        let runtime = meter.shared().read();
        assert_eq!((runtime.stalls, runtime.stalled), (stalls, stalled));
    }
}

#[test]
fn one_turn_an_interval_is_timed_and_what_is_shown_is_what_was_timed() {
    // As many cycles a second as make the interval longer than the test.
    let mut meter = Meter::new(0, u64::MAX / 2, true);
    meter.begin(cycles(), false);
    meter.received(Origin::Lan, 8);
    meter.lap(Stage::LanParse, 8);
    meter.begin(cycles(), true);
    meter.received(Origin::Lan, 8);
    meter.lap(Stage::LanParse, 8);
    meter.publish();
    let runtime = meter.shared().read();
    let parse = runtime.stages[Stage::LanParse as usize];
    assert_eq!((parse.bursts, parse.packets, runtime.bursts), (1, 8, 2));
    assert_eq!(runtime.stages[Stage::Seal as usize], Timed::default());
    assert_eq!(&runtime - &runtime, Runtime { at: runtime.at, ..Runtime::default() });
}
