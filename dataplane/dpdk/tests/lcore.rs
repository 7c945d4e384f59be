//! Functions on EAL's worker lcores.

#![allow(clippy::unwrap_used)] // in helpers, too

use std::sync::mpsc;
use std::time::Instant;

use dpdk::{LaunchError, Mbuf, Mempool, cycles, cycles_hz, testing};

#[test]
fn lcores_run_what_they_are_given_and_are_free_again_after() {
    let eal = testing::eal();
    let lcores = eal.worker_lcores();
    assert_eq!(lcores.iter().map(|lcore| lcore.index()).collect::<Vec<_>>(), [1, 2, 3]);

    // One after the other and all at once, with results.
    for round in 0..3u32 {
        let jobs: Vec<_> = lcores
            .iter()
            .map(|&lcore| eal.launch(lcore, move || lcore.index() * 10 + round).unwrap())
            .collect();
        let results: Vec<u32> = jobs.into_iter().map(|job| job.join().unwrap()).collect();
        assert_eq!(results, [10 + round, 20 + round, 30 + round]);
    }

    // A busy one says so.
    let (release, wait) = mpsc::channel::<()>();
    let job = eal.launch(lcores[0], move || wait.recv()).unwrap();
    assert_eq!(eal.launch(lcores[0], || ()).unwrap_err(), LaunchError::Busy(lcores[0]));
    release.send(()).unwrap();
    job.join().unwrap().unwrap();

    // A panic stays in its job.
    let job = eal.launch(lcores[1], || panic!("oh no")).unwrap();
    let panic = job.join().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"oh no"));
    assert_eq!(eal.launch(lcores[1], || 7).unwrap().join().unwrap(), 7);

    // What nobody waits for ends on its own, and its packets go back.
    let pool = Mempool::new("lcore", 255, 32, 64, None).unwrap();
    let (started, running) = mpsc::channel();
    let (release, wait) = mpsc::channel::<()>();
    let of_lcore = pool.clone();
    drop(
        eal.launch(lcores[2], move || {
            let packet = Mbuf::copy_from(&of_lcore, b"x");
            started.send(()).unwrap();
            wait.recv().unwrap();
            packet
        })
        .unwrap(),
    );
    running.recv().unwrap();
    assert_eq!(pool.in_use(), 1);
    release.send(()).unwrap();
    while eal.launch(lcores[2], || ()).is_err() {
        std::thread::yield_now();
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn the_cycle_counter_runs_at_its_rate() {
    testing::eal();
    let start = Instant::now();
    let before = cycles();
    let started = Instant::now();
    while started.elapsed().as_millis() < 20 {
        std::hint::spin_loop();
    }
    let ended = Instant::now();
    let passed = (cycles() - before) as f64 / cycles_hz() as f64;
    let end = Instant::now();
    // However long this thread was kept waiting between two readings.
    assert!(passed > 0.99 * (ended - started).as_secs_f64(), "{passed} s");
    assert!(passed < 1.01 * (end - start).as_secs_f64(), "{passed} s");
}
