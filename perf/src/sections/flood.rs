//! Good traffic beside a flood of unknown SPIs. The worker is offered good packets at half of what it
//! can do, and forged ones at the rate of a 10 Gbit/s link full of the smallest frames; both wait in one
//! receive queue, and what arrives while it is full is lost, as with a NIC. Arrivals are computed in
//! a time that only the worker's own work moves on, so that preparing packets costs none of it.

use std::collections::VecDeque;

use anyhow::Result;
use dpdk::{BURST, Burst, Mbuf, cycles_hz};
use getvpn_dataplane::transform::Transform;
use getvpn_dataplane::{PolicyState, Snapshot, SpiKey, SpiTest};

use super::{Rig, Section};
use crate::core::{Slice, timed};
use crate::member::Member;
use crate::workload::{Random, SIZES, Side, Workload};
use getvpn_perf_figures::{Figures, Row, Verdict, median, shown};

pub const NAME: &str = "flood";

/// The smallest frames that fill 10 Gbit/s: 64 octets, and 20 between them.
const LINE_RATE: f64 = 10e9 / (84.0 * 8.0);
/// Of what the worker can do without a flood.
const GOOD_LOAD: f64 = 0.5;
const BUDGET: f64 = 95.0;
/// Packets that a receive queue holds.
const QUEUE: usize = 1024;
/// The flood is simulated this often ...
const PIECES: usize = 21;
/// ... for so many seconds of the worker's time, many times what fills the queue. What the worker can do is taken
/// anew before each, and the median counts: a virtual machine's processor changes its pace, and stops now and then.
const PIECE: f64 = 0.02;
/// Whether the key server marks its SPIs, so that forged ones fail a test, or any SPI may be one of its.
const CASES: [(&str, bool); 2] = [("marked SPIs", true), ("unmarked SPIs", false)];

pub struct Flood {
    benches: Vec<Option<Box<Bench>>>,
}

struct Bench {
    member: Member,
    workload: Workload,
    snapshot: Snapshot,
    key: SpiKey,
    burst: Burst,
    random: Random,
}

/// Nanoseconds a packet, and percent of the good packets that were opened.
struct Outcome {
    good: f64,
    forged: f64,
    kept: f64,
    kept_without: f64,
}

impl Flood {
    pub fn new(rig: &mut Rig) -> Result<Flood> {
        let benches = CASES.iter().map(|&(_, marked)| {
            let workload = Workload::new(Transform::Aes128Gcm, 1)?;
            let key = SpiKey::new(b"sixteen octets!!");
            let spi_test = SpiTest::new(marked.then(|| key.clone()), !marked);
            let state = PolicyState { spi_test, ..workload.state.clone() };
            let snapshot = Snapshot::build(&state, None)?;
            let (member, burst) = (Member::new(&mut rig.buffers)?, Burst::new());
            anyhow::Ok(Some(Box::new(Bench {
                member,
                workload,
                snapshot,
                key,
                burst,
                random: Random(0x00f1_00d5),
            })))
        });
        Ok(Flood { benches: benches.collect::<Result<_>>()? })
    }
}

impl Section for Flood {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &mut Rig, figures: &mut Figures) -> Result<()> {
        let slice = rig.slice;
        let pieces = if rig.quick { 1 } else { PIECES };
        for ((case, _), bench) in CASES.iter().zip(&mut self.benches) {
            let outcome = rig.core.with(bench, move |bench| bench.measure(slice, pieces))?;
            figures.add(NAME, case, "good", "ns", outcome.good);
            figures.add(NAME, case, "forged", "ns", outcome.forged);
            figures.add(NAME, case, "kept", "%", outcome.kept);
            figures.add(NAME, case, "kept without", "%", outcome.kept_without);
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        CASES.iter().flat_map(|(case, _)| rows(figures, case)).collect()
    }
}

fn rows(figures: &Figures, case: &str) -> Vec<Row> {
    let [good, forged, kept, without] =
        ["good", "forged", "kept", "kept without"].map(|figure| figures.median(NAME, case, figure));
    let bearable = (1.0 - GOOD_LOAD) / forged * 1e3;
    vec![
        Row {
            what: format!("flood of unknown SPIs at {:.1} Mpps, {case}: good packets kept", LINE_RATE / 1e6),
            ours: shown(kept, 1, "%"),
            reference: format!("{} without a flood", shown(without, 1, "%")),
            against: format!("good: {} Mpps", shown(GOOD_LOAD * 1e3 / good, 1, "")).replace("  ", " "),
            budget: format!("at least {BUDGET} %"),
            verdict: Verdict::at_least(kept, BUDGET, " %"),
        },
        Row {
            what: format!("a packet with an unknown SPI, {case}"),
            ours: shown(forged, 1, "ns"),
            reference: format!("{} a good one, P = 64", shown(good, 1, "ns")),
            against: format!("a flood of {} costs no good packet", shown(bearable, 1, "Mpps")),
            budget: String::new(),
            verdict: Verdict::None,
        },
    ]
}

impl Bench {
    fn measure(&mut self, Slice(slice): Slice, pieces: usize) -> Outcome {
        let slice = Slice(slice / pieces as u64);
        let pieces: Vec<Outcome> = (0..pieces).map(|_| self.piece(slice)).collect();
        let middle =
            |figure: fn(&Outcome) -> f64| median(&mut pieces.iter().map(figure).collect::<Vec<f64>>());
        Outcome {
            good: middle(|piece| piece.good),
            forged: middle(|piece| piece.forged),
            kept: middle(|piece| piece.kept),
            kept_without: middle(|piece| piece.kept_without),
        }
    }

    fn piece(&mut self, slice: Slice) -> Outcome {
        let good = slice.cost(BURST, || self.turn(BURST, 0));
        let forged = slice.cost(BURST, || self.turn(0, BURST));
        let rate = GOOD_LOAD * 1e9 / good;
        let kept_without = self.simulate(rate, 0.0, PIECE);
        let kept = self.simulate(rate, LINE_RATE, PIECE);
        Outcome { good, forged, kept, kept_without }
    }

    /// The percentage of good packets that got through, at these packets a second.
    fn simulate(&mut self, good_rate: f64, forged_rate: f64, seconds: f64) -> f64 {
        let hz = cycles_hz() as f64;
        let (good_gap, forged_gap) = (hz / good_rate, hz / forged_rate);
        let (mut next_good, mut next_forged): (f64, f64) = (0.0, forged_gap);
        let (mut now, end) = (0.0, seconds * hz);
        let (mut offered, mut opened) = (0_u32, 0_u32);
        let mut queue: VecDeque<bool> = VecDeque::with_capacity(QUEUE);
        while now < end {
            while next_good.min(next_forged) <= now {
                let is_good = next_good <= next_forged;
                let next = if is_good { (&mut next_good, good_gap) } else { (&mut next_forged, forged_gap) };
                *next.0 += next.1;
                offered += u32::from(is_good);
                if queue.len() < QUEUE {
                    queue.push_back(is_good);
                }
            }
            if queue.is_empty() {
                now = next_good.min(next_forged);
                continue;
            }
            let received = queue.drain(..queue.len().min(BURST));
            let (good, forged): (Vec<bool>, Vec<bool>) = received.partition(|&is_good| is_good);
            now += self.turn(good.len(), forged.len()) as f64;
            opened += u32::try_from(good.len()).unwrap_or(0);
        }
        // What still waits is not lost.
        opened += u32::try_from(queue.iter().filter(|&&is_good| is_good).count()).unwrap_or(0);
        100.0 * f64::from(opened) / f64::from(offered)
    }

    /// The cycles that a burst of so many good and forged packets takes the worker.
    fn turn(&mut self, good: usize, forged: usize) -> u64 {
        let before = self.member.tally.clone();
        let mut picks = self.workload.picks(SIZES[0], 1);
        for _ in 0..good {
            let frame = self.workload.frame(Side::Inbound, picks.next());
            self.burst.push(Mbuf::copy_from(self.member.pool(), frame).expect("an mbuf"));
        }
        for _ in 0..forged {
            let mut mbuf =
                Mbuf::copy_from(self.member.pool(), self.workload.frame(Side::Inbound, picks.next()))
                    .expect("an mbuf");
            let spi = self.forged_spi().to_be_bytes();
            mbuf.data_mut()[Workload::ESP_AT..Workload::ESP_AT + spi.len()].copy_from_slice(&spi);
            self.burst.push(mbuf);
        }
        let Bench { member, snapshot, burst, .. } = self;
        let cycles = timed(|| member.turn(Side::Inbound, snapshot, burst));
        member.punts.drain().for_each(drop);
        let now = &member.tally;
        assert_eq!(now.decrypted - before.decrypted, good as u64, "good packets were not opened");
        let ended = now.dropped() + now.parked - before.dropped() - before.parked;
        assert_eq!(ended, forged as u64, "forged packets were neither dropped nor parked");
        cycles
    }

    /// A random SPI that is none of the workload's and bears no mark.
    fn forged_spi(&mut self) -> u32 {
        loop {
            // Bit 31 set and bit 8 not: none of the workload's.
            let [a, b, c, d, ..] = self.random.next().to_be_bytes();
            let spi = u32::from_be_bytes([a | 0x80, b, c & 0xfe, d]);
            if !self.key.marks(spi) {
                return spi;
            }
        }
    }
}
