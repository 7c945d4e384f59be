//! Publishing 1,000 SAs while a worker opens packets: what is lost, and how long a burst takes longer.
//! Beside it the same traffic without publishing, since the machine interrupts the worker too. And
//! what a look at the current value costs, beside crossbeam-epoch.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossbeam::epoch::{self, Atomic};
use dpdk::{Burst, cycles};
use getvpn_dataplane::publish::{self, Publisher, Subscriber};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{PolicyState, ReplayPolicy, Snapshot};

use super::{Rig, Section};
use crate::core::{Slice, nanoseconds, timed};
use crate::member::Member;
use crate::workload::{SIZES, Side, Workload, policy};
use getvpn_perf_figures::median;
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

pub const NAME: &str = "publish";

/// SAs that carry the traffic and stay, and SAs that each publish replaces.
const SAS: usize = 1000;
const INTERVAL: Duration = Duration::from_millis(2);
const BUDGET_US: f64 = 20.0;

const QUIET: &str = "quiet";
const PUBLISHING: &str = "publishing";
const LOOK: &str = "look";

pub struct Publish {
    worker: Option<Box<Worker>>,
    publisher: Publisher<Snapshot>,
    current: Arc<Snapshot>,
    /// What takes turns with what.
    states: [PolicyState; 2],
}

struct Worker {
    member: Member,
    workload: Workload,
    subscriber: Subscriber<Snapshot>,
    burst: Vec<Burst>,
    /// Cycles of every burst.
    took: Vec<f64>,
}

/// What a worker saw.
struct Seen {
    bursts: usize,
    lost: u64,
    /// Of a burst, in microseconds.
    usual: f64,
    /// The longest delay of any burst, in microseconds.
    longest: f64,
    /// Bursts delayed by more than the budget.
    late: usize,
    /// The longest delay of a burst that found a new snapshot, in microseconds, and how many there were.
    adopting: f64,
    adopted: usize,
}

impl Publish {
    pub fn new(rig: &mut Rig) -> Result<Publish> {
        let workload = Workload::new(Transform::Aes128Gcm, SAS)?;
        let with_others = |generation| {
            let others = policy(workload.transform, generation, SAS, ReplayPolicy::None)?;
            let mut state = workload.state.clone();
            state.sas.extend(others.sas);
            anyhow::Ok(state)
        };
        let states = [with_others(1)?, with_others(2)?];
        let current = Arc::new(Snapshot::build(&states[0], None)?);
        let (publisher, mut subscribers) = publish::channel(&current, 1);
        let worker = Worker {
            member: Member::new(&mut rig.buffers)?,
            workload,
            subscriber: subscribers.pop().context("a subscriber")?,
            burst: vec![Burst::new()],
            took: Vec::with_capacity(1 << 20),
        };
        Ok(Publish { worker: Some(Box::new(worker)), publisher, current, states })
    }

    /// Lets the worker work while this thread does `meanwhile`.
    fn phase<T>(&mut self, rig: &Rig, meanwhile: impl FnOnce(&mut Self) -> Result<T>) -> Result<(Seen, T)> {
        let mut worker = self.worker.take().context("this section has failed before")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let running = rig.core.launch(move || {
            let seen = worker.work(&stopped);
            (worker, seen)
        })?;
        let answer = meanwhile(self);
        stop.store(true, Ordering::Relaxed);
        let (worker, seen) = running.join()?;
        self.worker = Some(worker);
        Ok((seen, answer?))
    }

    /// Publishes over and over; the median time from decision to publication, in microseconds.
    fn publish_for(&mut self, time: Duration) -> Result<f64> {
        let end = Instant::now() + time;
        let mut took = Vec::new();
        for state in [1, 0].into_iter().cycle() {
            let start = Instant::now();
            if start >= end {
                break;
            }
            let next = Arc::new(Snapshot::build(&self.states[state], Some(&self.current))?);
            self.publisher.publish(&next);
            self.current = next;
            took.push(start.elapsed().as_secs_f64() * 1e6);
            thread::sleep(INTERVAL);
            self.publisher.reap();
        }
        Ok(median(&mut took))
    }
}

impl Section for Publish {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &mut Rig, figures: &mut Figures) -> Result<()> {
        let time = Duration::from_millis(if rig.quick { 50 } else { 1000 });
        let (quiet, ()) = self.phase(rig, |_| {
            thread::sleep(time);
            Ok(())
        })?;
        let (publishing, took) = self.phase(rig, |section| section.publish_for(time))?;
        figures.add(NAME, PUBLISHING, "build and publish", "us", took);
        for (case, seen) in [(QUIET, quiet), (PUBLISHING, publishing)] {
            figures.add(NAME, case, "bursts", "", seen.bursts as f64);
            figures.add(NAME, case, "lost", "packets", seen.lost as f64);
            figures.add(NAME, case, "usual", "us", seen.usual);
            figures.add(NAME, case, "longest", "us", seen.longest);
            figures.add(NAME, case, "late", "bursts", seen.late as f64);
            if case == PUBLISHING {
                figures.add(NAME, case, "adopting", "us", seen.adopting);
                figures.add(NAME, case, "adopted", "", seen.adopted as f64);
            }
        }
        let slice = rig.slice;
        let (ours, epoch) = rig.core.with(&mut self.worker, move |worker| worker.looks(slice))?;
        figures.add(NAME, LOOK, "current", "ns", ours);
        figures.add(NAME, LOOK, "crossbeam-epoch", "ns", epoch);
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let median = |case, figure| figures.median(NAME, case, figure);
        let sum = |case, figure| figures.sum(NAME, case, figure);
        let lost = sum(PUBLISHING, "lost");
        let adopting = median(PUBLISHING, "adopting");
        let burst = dpdk::BURST as f64;
        let (ours, epoch) = (median(LOOK, "current"), median(LOOK, "crossbeam-epoch"));
        let late = |case| sum(case, "late") * 1e6 / sum(case, "bursts");
        vec![
            Row {
                what: format!("publish of {SAS} SAs: packets lost"),
                ours: format!("{lost} of {}", sum(PUBLISHING, "bursts") * burst),
                reference: format!("{} without publishing", sum(QUIET, "lost")),
                against: format!("{} publishes", sum(PUBLISHING, "adopted")),
                budget: "none".into(),
                verdict: Verdict::at_most(lost, 0.0, " packets"),
            },
            Row {
                what: format!("publish of {SAS} SAs: longest delay of a burst that finds a new table"),
                ours: shown(adopting, 1, "us"),
                reference: format!("{} a burst", shown(median(PUBLISHING, "usual"), 1, "us")),
                against: format!(
                    "{} in the worst run",
                    shown(figures.greatest(NAME, PUBLISHING, "adopting"), 1, "us")
                ),
                budget: format!("at most {BUDGET_US} us"),
                verdict: Verdict::at_most(adopting, BUDGET_US, " us"),
            },
            Row {
                what: format!("publish of {SAS} SAs: longest delay of any burst"),
                ours: shown(median(PUBLISHING, "longest"), 1, "us"),
                reference: format!("{} without publishing", shown(median(QUIET, "longest"), 1, "us")),
                against: format!(
                    "later than {BUDGET_US} us: {:.0} in a million, {:.0} without",
                    late(PUBLISHING),
                    late(QUIET)
                ),
                budget: String::new(),
                verdict: Verdict::None,
            },
            Row {
                what: format!("publish of {SAS} SAs: time of the control thread"),
                ours: shown(median(PUBLISHING, "build and publish"), 0, "us"),
                reference: String::new(),
                against: String::new(),
                budget: String::new(),
                verdict: Verdict::None,
            },
            Row {
                what: "a worker's look at the current table".into(),
                ours: shown(ours, 1, "ns"),
                reference: format!("{} crossbeam-epoch pin and load", shown(epoch, 1, "ns")),
                against: shown(epoch / ours, 1, "times as fast"),
                budget: String::new(),
                verdict: Verdict::None,
            },
        ]
    }
}

impl Worker {
    /// Opens packets of random SAs until told to stop.
    fn work(&mut self, stop: &AtomicBool) -> Seen {
        let mut picks = self.workload.picks(SIZES[0], 1);
        let (mut longest_adopting, mut adopted) = (0.0_f64, 0);
        let mut known = std::ptr::from_ref(self.subscriber.current());
        let lost_before = self.member.tally.dropped();
        self.took.clear();
        while !stop.load(Ordering::Relaxed) && self.took.len() < self.took.capacity() {
            self.workload.fill(Side::Inbound, &mut self.burst, self.member.pool(), &mut picks);
            let start = cycles();
            let snapshot = self.subscriber.current();
            self.member.turn(Side::Inbound, snapshot, &mut self.burst[0]);
            let took = (cycles() - start) as f64;
            self.took.push(took);
            if !std::ptr::eq(known, snapshot) {
                known = snapshot;
                adopted += 1;
                longest_adopting = longest_adopting.max(took);
            }
        }
        let usual = median(&mut self.took);
        let delay = |took: f64| nanoseconds(took - usual) / 1e3;
        Seen {
            bursts: self.took.len(),
            lost: self.member.tally.dropped() - lost_before,
            usual: nanoseconds(usual) / 1e3,
            longest: delay(self.took.last().copied().unwrap_or(f64::NAN)),
            late: self.took.iter().rev().take_while(|&&took| delay(took) > BUDGET_US).count(),
            adopting: if adopted == 0 { f64::NAN } else { delay(longest_adopting) },
            adopted,
        }
    }

    /// Nanoseconds of a look at the current value: ours, and crossbeam-epoch's.
    fn looks(&mut self, slice: Slice) -> (f64, f64) {
        const LOOKS: usize = 1024;
        let subscriber = &mut self.subscriber;
        let ours = slice.cost(LOOKS, || {
            timed(|| {
                for _ in 0..LOOKS {
                    black_box(subscriber.current());
                }
            })
        });
        let shared = Atomic::new(7_u64);
        let epoch = slice.cost(LOOKS, || {
            timed(|| {
                for _ in 0..LOOKS {
                    let guard = epoch::pin();
                    black_box(shared.load(Ordering::Acquire, &guard));
                }
            })
        });
        (ours, epoch)
    }
}
