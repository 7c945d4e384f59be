//! What the lock-free modules cost, beside what they could have been: `cargo bench --bench lockfree`.
//! Runs on one thread; each figure is the median of several runs, in nanoseconds.

use crossbeam::epoch::{self, Atomic};
use getvpn_dataplane::{
    Plausibility,
    counters::{SharedTally, Tally},
    publish, punt,
    replay::{Replay, SenderWindows, Window},
    sender::Sender,
    spi_table::SpiTable,
};
use hashbrown::HashMap;
use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

const BURST: usize = 32;
const RUNS: usize = 7;

fn main() {
    println!("{:<58} {:>9}", "operation", "ns");
    for entries in [10, 1_000, 100_000] {
        spi_lookups(entries);
    }
    replaying();
    punting();
    publishing();
    counting();
    sending();
}

/// Bursts of 32 SPIs in random order, all known and all unknown. Beside hashbrown as it comes, to show
/// what the hash is worth.
fn spi_lookups(entries: u32) {
    let spis: Vec<u32> = (0..entries).map(|n| scramble(n) | 0x100).collect();
    let pick = |n: u32| spis[(scramble(n ^ 0x5a5a_5a5a) % entries) as usize];
    let known: Vec<u32> = (0..1 << 17).map(pick).collect();
    let unknown: Vec<u32> = (0..1 << 17).map(scramble).collect();
    let value = Arc::new(0_u8);
    let table = SpiTable::build(spis.iter().map(|&spi| (spi, Arc::clone(&value))));
    let map: HashMap<u32, Arc<u8>> = spis.iter().map(|&spi| (spi, Arc::clone(&value))).collect();
    for (what, spis) in [("known", &known), ("unknown", &unknown)] {
        report(&format!("SPI lookup, {entries} SAs, {what}"), spis.len(), || {
            for burst in spis.chunks_exact(BURST) {
                let mut out = [None; BURST];
                table.get_burst(burst, &mut out);
                black_box(&out);
            }
        });
        report(&format!("SPI lookup, {entries} SAs, {what}, hashbrown's hash"), spis.len(), || {
            for burst in spis.chunks_exact(BURST) {
                let mut out = [None; BURST];
                for (spi, out) in burst.iter().zip(&mut out) {
                    *out = map.get(spi);
                }
                black_box(&out);
            }
        });
    }
}

/// Fresh numbers in bursts, as a worker does it: check each, open (not here), commit.
fn replaying() {
    for size in [64, 1024, 65_536] {
        let replay = Replay::Counter(Window::new(size).expect("a valid size"));
        replay_bursts(&format!("replay check and commit, window of {size}"), &replay, |_| 0);
    }
    let make = || Replay::Sender(SenderWindows::new(16, 1000, 1024).expect("valid sizes"));
    replay_bursts("replay check and commit, one of 1,000 senders", &make(), |_| 77);
    replay_bursts("replay check and commit, 1,000 senders at random", &make(), |seq| scramble(seq) % 1000);
}

fn replay_bursts(what: &str, replay: &Replay, sid: impl Fn(u32) -> u32) {
    const PACKETS: u32 = 1 << 18;
    let mut next = 1;
    report(what, PACKETS as usize, || {
        for _ in 0..PACKETS / 32 {
            let mut seqs = [0; BURST];
            seqs.iter_mut().zip(next..).for_each(|(seq, n)| *seq = n);
            let ivs = seqs.map(|seq| u64::from(sid(seq)) << 48);
            next += 32;
            let mut out = [Ok(()); BURST];
            for ((iv, seq), out) in ivs.iter().zip(seqs).zip(&mut out) {
                *out = replay.check(*iv, seq);
            }
            black_box(&out);
            replay.commit_burst(&ivs, &seqs, &mut out);
            assert_eq!(black_box(&out), &[Ok(()); BURST]);
        }
    });
}

/// A flood: every packet with another SPI, the control thread far behind.
fn punting() {
    const PACKETS: u32 = 1 << 20;
    let (mut senders, receiver) = punt::channel(1, 4096, 1 << 40);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    report("unknown SPI in a flood", PACKETS as usize, || {
        for n in 0..PACKETS {
            black_box(senders[0].unknown_spi(
                scramble(n),
                Plausibility::Unverifiable,
                0,
                u64::from(n),
                || (here, here),
            ));
        }
    });
    drop(receiver);
}

fn publishing() {
    const READS: usize = 1 << 20;
    let (publisher, mut subscribers) = publish::channel(&Arc::new(7_u64), 1);
    let subscriber = &mut subscribers[0];
    report("current value, publish.rs", READS, || {
        for _ in 0..READS {
            black_box(subscriber.current());
        }
    });
    let shared = Atomic::new(7_u64);
    report("current value, crossbeam-epoch pin + load", READS, || {
        for _ in 0..READS {
            let guard = epoch::pin();
            black_box(shared.load(Ordering::Acquire, &guard));
        }
    });
    drop(publisher);
}

fn counting() {
    const CALLS: usize = 1 << 18;
    let (shared, mut tally) = (SharedTally::new(), Tally::default());
    report("tally published, no new drops", CALLS, || {
        for _ in 0..CALLS {
            tally.rx += 1;
            shared.publish(black_box(&tally));
        }
    });
}

fn sending() {
    const CALLS: usize = 1 << 18;
    let make = || Sender::new(1, 16, 1, u64::MAX, true).expect("fits");
    let sender = make();
    report("IV and sequence number, one at a time", CALLS, || {
        for _ in 0..CALLS {
            black_box(sender.take(1).next());
        }
    });
    let sender = make();
    report("IV and sequence number, 32 at a time, each", CALLS, || {
        for _ in 0..CALLS / 32 {
            for number in sender.take(32) {
                black_box(number);
            }
        }
    });
}

/// Runs `work`, which does `operations`, and prints the median of the cost of one.
fn report(what: &str, operations: usize, mut work: impl FnMut()) {
    work();
    let mut runs: Vec<f64> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e9 / operations as f64
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    println!("{what:<58} {:>9.2}", runs[RUNS / 2]);
}

/// A bijection of 32-bit numbers that leaves no order in them.
fn scramble(n: u32) -> u32 {
    let n = (n ^ (n >> 16)).wrapping_mul(0x85eb_ca6b);
    let n = (n ^ (n >> 13)).wrapping_mul(0xc2b2_ae35);
    n ^ (n >> 16)
}
