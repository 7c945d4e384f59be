//! A few runs of the simulation for every build; `make simulate` does many more, and larger ones.

use getvpn_simulation::{Options, Report, run};

fn done(options: &Options) -> Report {
    run(options).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn a_run_can_be_replayed_from_its_seed() {
    let options = Options::new(7, 5, 0.25);
    let (first, second) = (done(&options), done(&options));
    assert_eq!(first.digest, second.digest);
    assert_eq!(first.faults, second.faults);
    assert_eq!(first.work, second.work);
    assert_eq!(first.after_change, second.after_change);
    assert_ne!(first.digest, done(&Options::new(8, 5, 0.25)).digest);
}

#[test]
fn members_are_in_step_again_within_the_bound_after_whatever_happens() {
    let mut all = Report::default();
    for seed in 100..108 {
        all.add(done(&Options::new(seed, 6, 0.5)));
    }
    assert_eq!(all.runs, 8);
    // Otherwise nothing has been tried.
    for kind in ["key server dies before a commit", "member restarts", "partition: some members"] {
        assert!(all.faults[kind] > 0, "{kind}: {all}");
    }
    assert!(all.after_disturbance.len() > 20 && all.after_change.len() > 100, "{all}");
    assert!(all.after_disturbance.permille(1000) <= all.bound, "{all}");
}

#[test]
fn without_loss_or_faults_between_them_a_change_is_everywhere_within_a_second() {
    let mut all = Report::default();
    for seed in 200..204 {
        all.add(done(&Options { loss: Some(0.0), ..Options::new(seed, 6, 0.5) }));
    }
    assert!(all.after_change.permille(500) <= std::time::Duration::from_secs(1), "{all}");
}
