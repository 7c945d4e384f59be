//! No IV twice, whatever happens: real senders, a real directory, crashes at every step.

use super::*;
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{Direction, Mode, ReplayPolicy, SaParams};
use proptest::prelude::*;
use std::collections::HashSet;
use std::fs;
use zeroize::Zeroizing;

const KEY: [u8; 20] = [7; 20];

fn sa(first: u64, sid: u32, workers: usize, replay: ReplayPolicy) -> Arc<Sa> {
    let params = SaParams {
        spi: 0x0001_0001,
        group: 0,
        transform: Transform::Aes128Gcm,
        key: Zeroizing::new(KEY.to_vec()),
        integrity_key: Zeroizing::default(),
        mode: Mode::Tunnel,
        direction: Direction::Both,
        replay,
        sid,
        sid_bits: 16,
        first_counter: first,
        reserved: first,
        selectors: Vec::new(),
    };
    Sa::new(&params, workers).unwrap()
}

/// A member from its start to its end, clean or not.
struct Run {
    reservations: Reservations,
    sa: Arc<Sa>,
}

impl Run {
    fn start(directory: &Path, workers: u32) -> Self {
        let mut reservations = Reservations::open(directory).unwrap();
        let key = Fingerprint::of(&KEY);
        let first = reservations.first(&key, 0..workers);
        let sa = sa(first, 0, workers as usize, ReplayPolicy::None);
        reservations.follow(&sa, &key, 0);
        Self { reservations, sa }
    }

    fn reserve(&mut self, now: Instant) -> bool {
        let Some(pending) = self.reservations.plan(now) else { return false };
        let result = pending.write();
        assert!(result.is_ok());
        self.reservations.done(pending, &result, now);
        true
    }

    fn take(&self, worker: usize, n: usize) -> Vec<u64> {
        self.sa.senders().nth(worker).unwrap().take(n).map(|number| number.iv).collect()
    }
}

#[test]
fn nothing_is_sealed_before_its_reservation_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut run = Run::start(dir.path(), 1);
    assert!(run.take(0, 32).is_empty());
    let pending = run.reservations.plan(now).unwrap();
    assert!(run.take(0, 32).is_empty());
    assert!(run.reservations.plan(now).is_none(), "one write at a time");
    let result = pending.write();
    assert!(run.take(0, 32).is_empty());
    run.reservations.done(pending, &result, now);
    assert_eq!(run.take(0, 32).len(), 32);
    assert_eq!(run.reservations.limit(0x0001_0001, 0), Some(1 + SMALLEST));
}

#[test]
fn a_clean_stop_loses_no_counter_and_a_crash_skips_what_was_reserved() {
    let dir = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut run = Run::start(dir.path(), 1);
    run.reserve(now);
    assert_eq!(run.take(0, 3), [1, 2, 3]);
    run.reservations.finish().unwrap();

    let mut run = Run::start(dir.path(), 1);
    run.reserve(now);
    assert_eq!(run.take(0, 2), [4, 5]);
    drop(run);

    let mut run = Run::start(dir.path(), 1);
    run.reserve(now);
    assert_eq!(run.take(0, 1), [4 + SMALLEST]);
}

#[test]
fn reservations_follow_the_rate() {
    let dir = tempfile::tempdir().unwrap();
    let mut now = Instant::now();
    let mut run = Run::start(dir.path(), 1);
    run.reserve(now);
    let mut writes = 0;
    // 15 million packets a second for 20 seconds, in ticks of a millisecond, with a slow disk.
    let mut under_way: Option<(Pending, u32)> = None;
    for _ in 0..20_000 {
        now += Duration::from_millis(1);
        let wanted = 15_000;
        let sender = run.sa.senders().next().unwrap();
        assert_eq!(sender.take(wanted).count(), wanted, "sealing had to wait for the disk");
        match under_way.take() {
            Some((pending, 0)) => run.reservations.done(pending, &Ok(()), now),
            Some((pending, ticks)) => under_way = Some((pending, ticks - 1)),
            None => {
                under_way = run.reservations.plan(now).map(|pending| (pending, 250));
                writes += u32::from(under_way.is_some());
            }
        }
    }
    assert!(writes <= 10, "{writes} writes in 20 s");
    // A quiet time makes the blocks small again.
    for _ in 0..8 {
        now += Duration::from_secs(120);
        let sender = run.sa.senders().next().unwrap();
        let left = usize::try_from(run.reservations.limit(0x0001_0001, 0).unwrap() - sender.next_counter());
        sender.take(left.unwrap());
        if let Some((pending, _)) = under_way.take() {
            run.reservations.done(pending, &Ok(()), now);
        }
        run.reserve(now);
    }
    let sender = run.sa.senders().next().unwrap();
    let left = run.reservations.limit(0x0001_0001, 0).unwrap() - sender.next_counter();
    assert!(left <= SMALLEST, "{left}");
}

#[test]
fn a_disk_that_fails_is_tried_again_later_and_gives_no_counters() {
    let dir = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut run = Run::start(dir.path(), 1);
    fs::create_dir(dir.path().join("counters.json.new")).unwrap();
    let pending = run.reservations.plan(now).unwrap();
    let result = pending.write();
    let error = result.as_ref().unwrap_err().to_string();
    assert!(error.contains("cannot be written") && error.contains("[control] state"), "{error}");
    run.reservations.done(pending, &result, now);
    assert!(run.take(0, 1).is_empty());
    assert!(run.reservations.plan(now).is_none());
    fs::remove_dir(dir.path().join("counters.json.new")).unwrap();
    assert!(run.reserve(now + RETRY));
    assert_eq!(run.take(0, 1), [1]);
}

#[test]
fn a_sender_at_its_end_is_told_once_and_reserves_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut reservations = Reservations::open(dir.path()).unwrap();
    let key = Fingerprint::of(&KEY);
    // With replay protection the sequence number may not wrap.
    let sa = sa((1 << 32) - 2, 5, 1, ReplayPolicy::Counter { window: 64 });
    reservations.follow(&sa, &key, 5);
    let mut run = Run { reservations, sa };
    run.reserve(now);
    assert_eq!(run.reservations.exhausted(), []);
    assert_eq!(run.take(0, 9).len(), 2);
    let told = Exhausted { spi: 0x0001_0001, worker: 0, sid: 5 };
    assert_eq!(run.reservations.exhausted(), [told]);
    assert_eq!(run.reservations.exhausted(), []);
    assert!(run.reservations.plan(now).is_none());
    run.reservations.finish().unwrap();
    let next = Reservations::open(dir.path()).unwrap();
    assert_eq!(next.first(&key, 5..6), 1 << 32);
    assert_eq!(next.first(&key, 4..5), 1, "another sender has its own counters");
    assert_eq!(next.first(&Fingerprint::of(b"another key"), 5..6), 1);
}

#[test]
fn an_sa_that_is_gone_keeps_its_reservation_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let now = Instant::now();
    let mut run = Run::start(dir.path(), 1);
    run.reserve(now);
    run.take(0, 3);
    run.reservations.forget(0x0001_0001);
    assert_eq!(run.reservations.limit(0x0001_0001, 0), None);
    run.reservations.finish().unwrap();
    let again = Reservations::open(dir.path()).unwrap();
    assert_eq!(again.first(&Fingerprint::of(&KEY), 0..1), 1 + SMALLEST);
}

/// What can happen to a member, in any order.
#[derive(Clone, Debug)]
enum Step {
    Seal(usize, usize),
    Reserve,
    /// Killed after the file was written and before anyone knew.
    KillAfterWrite,
    /// Killed while the temporary file was written.
    KillWhileWriting,
    Kill,
    Stop,
    /// Started with another number of workers.
    Restart(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, prop_oneof![1..100_usize, 4_000_000..9_000_000_usize])
            .prop_map(|(worker, n)| Step::Seal(worker, n)),
        3 => Just(Step::Reserve),
        1 => Just(Step::KillAfterWrite),
        1 => Just(Step::KillWhileWriting),
        1 => Just(Step::Kill),
        1 => Just(Step::Stop),
        1 => (1..5_u32).prop_map(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_iv_is_used_twice_across_stops_and_crashes(steps in prop::collection::vec(step(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut workers = 2;
        let mut run = Run::start(dir.path(), workers);
        // The ranges that were handed out, as (first, past); an IV holds its sender.
        let mut used: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Seal(worker, n) => {
                    let worker = worker % workers as usize;
                    let sender = run.sa.senders().nth(worker).unwrap();
                    let before = sender.next_counter();
                    let mut numbers = sender.take(n);
                    if let Some(first) = numbers.next() {
                        let past = first.iv + (sender.next_counter() - before);
                        prop_assert!(
                            used.iter().all(|&(a, b)| past <= a || b <= first.iv),
                            "{:?} again in {:?}", (first.iv, past), used
                        );
                        used.push((first.iv, past));
                    }
                }
                Step::Reserve => {
                    run.reserve(now);
                }
                Step::KillAfterWrite => {
                    if let Some(pending) = run.reservations.plan(now) {
                        pending.write().unwrap();
                    }
                    drop(run);
                    run = Run::start(dir.path(), workers);
                }
                Step::KillWhileWriting => {
                    fs::write(dir.path().join("counters.json.new"), "{\"version\":1,\"keys\":{").unwrap();
                    drop(run);
                    run = Run::start(dir.path(), workers);
                }
                Step::Kill => {
                    drop(run);
                    run = Run::start(dir.path(), workers);
                }
                Step::Stop => {
                    run.reservations.finish().unwrap();
                    run = Run::start(dir.path(), workers);
                }
                Step::Restart(n) => {
                    run.reservations.finish().unwrap();
                    workers = n;
                    run = Run::start(dir.path(), workers);
                }
            }
        }
        let starts: HashSet<u64> = used.iter().map(|&(first, _)| first).collect();
        prop_assert_eq!(starts.len(), used.len());
    }
}
